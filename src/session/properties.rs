//! The properties of a publish: what the broker must know of them, and what RabbitMQ refuses them for.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::assembly::{Late, PUBLISH};
use super::context::Context;
use crate::broker::{REPLY_TO, expiration};
use crate::message::Facts;
use crate::wire::properties::Properties;
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::table::{self, Malformed, RawTable};

/// Properties that could be read.
pub(super) struct Checked {
    pub(super) facts: Facts,
    /// Why the publish will be refused, once its exchange is known to be good.
    pub(super) refusal: Option<Late>,
    /// The properties to keep, where they are not those received: `reply-to` replaced by the secret name, `BCC` removed.
    pub(super) rewritten: Option<Vec<u8>>,
    /// Routing keys beside the publish's own, from the headers `CC` and `BCC`.
    pub(super) copies: Vec<Vec<u8>>,
    /// How many of them, at the end, are from `BCC`.
    pub(super) blind: usize,
}

/// Walks the properties once: what the broker must know of them, and what RabbitMQ refuses them for.
pub(super) fn check(context: &Context, reply: Option<&str>, raw: &[u8]) -> Result<Checked, Refusal> {
    let properties = Properties::parse(raw).map_err(|malformed| match malformed {
        Malformed::TooDeep => Refusal::new(ReplyCode::FrameError, "headers are nested too deeply"),
        Malformed::Undecodable => Refusal::new(ReplyCode::InternalError, ""),
    })?;
    let mut facts = Facts {
        persistent: properties.delivery_mode == Some(2),
        priority: properties.priority.unwrap_or(0),
        ..Facts::default()
    };
    let (mut refusal, mut copies, mut blind) = (None, Vec::new(), 0);
    let mut kept = properties;
    let without_bcc: Vec<u8>;
    let first = context.broker.config.profile().checks_user_id_first;
    let mut refuse = |text: String| {
        refusal.get_or_insert_with(|| refused_for(text));
    };
    if properties.reply_to == Some(REPLY_TO.as_bytes()) {
        match reply {
            None => refuse("fast reply consumer does not exist".to_owned()),
            Some(name) => kept.reply_to = Some(name.as_bytes()),
        }
    }
    let borrowed = borrowed_name(context, &properties);
    if let Some(text) = borrowed.as_ref().filter(|_| first) {
        refuse(text.clone());
    }
    if let Some(text) = properties.expiration {
        match expiration(text) {
            Ok(millis) => facts.expiration = millis,
            Err(error) => refuse(format!("invalid expiration '{}': {error}", String::from_utf8_lossy(text))),
        }
    }
    if let Some(headers) = properties.headers {
        for key in ["CC", "BCC"] {
            blind = 0;
            let Some(value) = RawTable::new(headers).get(key) else { continue };
            if let Some(keys) = value.as_array() {
                // Other elements than strings are ignored, as RabbitMQ does.
                let before = copies.len();
                copies.extend(keys.iter().filter_map(|key| key.as_bytes().map(<[u8]>::to_vec)));
                blind = copies.len().saturating_sub(before);
            } else {
                let kind = value.to_value().map_or("unknown", |value| value.type_name());
                refuse(format!("invalid message: {{unacceptable_type_in_header,\"{key}\",{kind}}}"));
            }
        }
        if RawTable::new(headers).get("BCC").is_some() {
            without_bcc = table::without(headers, &["BCC"]);
            kept.headers = Some(&without_bcc);
        }
    }
    // Rights to routing keys are looked at right before the user-id, wherever that comes.
    let after_keys = first || refusal.is_none();
    let refusal = refusal.or_else(|| borrowed.map(refused_for)).map(|refusal| Late { refusal, after_keys });
    let rewritten = (kept != properties).then(|| kept.encode());
    Ok(Checked { facts, refusal, rewritten, copies, blind })
}

fn refused_for(text: String) -> Refusal {
    Refusal::new(ReplyCode::PreconditionFailed, text).at(PUBLISH.0, PUBLISH.1)
}

/// Nobody publishes in the name of another, unless allowed to; what is said to who does.
fn borrowed_name(context: &Context, properties: &Properties<'_>) -> Option<String> {
    let claimed = properties.user_id.filter(|claimed| *claimed != context.user.name.as_bytes())?;
    if context.user.has_tag("impersonator") {
        return None;
    }
    let claimed = String::from_utf8_lossy(claimed);
    Some(format!("user_id property set to '{claimed}' but authenticated user was '{}'", context.user.name))
}
