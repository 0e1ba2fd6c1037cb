//! A publish under assembly: the method has come, header and body have not, or not all of them.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::message::Draft;
use crate::wire::refusal::{Refusal, ReplyCode};

/// Class and method of basic.publish, for refusals.
pub(super) const PUBLISH: (u16, u16) = (60, 40);

/// A publish whose content has not fully arrived.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) address: Vec<u8>,
    pub(super) mandatory: bool,
    pub(super) immediate: bool,
    pub(super) content: Content,
}

/// A refusal for the properties of a publish, which counts only once its exchange is known to be good.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) refusal: Refusal,
    /// Whether the routing keys are judged before it.
    pub(super) after_keys: bool,
}

/// Which part is due.
#[derive(Debug)]
pub(super) enum Content {
    /// The header is due.
    Header,
    /// The body is due.
    Body {
        /// What has come of it.
        draft: Draft,
        /// What the properties will be refused for once it is complete.
        refusal: Option<Late>,
        /// Routing keys beside the publish's own.
        copies: Vec<Vec<u8>>,
    },
    /// The body is too large: it is counted, not kept.
    TooLarge { size: u64, remaining: u64 },
}

/// A frame that came out of turn.
pub(super) fn unexpected(text: &str) -> Refusal {
    Refusal::new(ReplyCode::UnexpectedFrame, text)
}

/// The refusal for a frame that is neither the header nor the body that is due.
pub(super) fn out_of_order(assembly: &Assembly) -> Refusal {
    match assembly.content {
        Content::Header => unexpected("expected content header for class 60, got non content header frame instead")
            .at(PUBLISH.0, PUBLISH.1),
        _ => unexpected("expected content body, got non content body frame instead").at(PUBLISH.0, PUBLISH.1),
    }
}

/// The refusal for content that no publish announces.
pub(super) fn no_content_due() -> Refusal {
    unexpected("expected method frame, got non method frame instead")
}
