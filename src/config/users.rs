//! The `[[users]]` tables of the configuration.
//!
//! Turns parsed TOML into [`UserEntry`] values. Invariant: no problem found here quotes a value, since the value may be
//! a password. Deliberately absent: permissions, which belong to definitions.

use super::{Secret, UserEntry};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// RabbitMQ's default user, which may log in from this machine only unless told otherwise.
pub(super) const GUEST: &str = "guest";

/// Longest user name: it travels as an AMQP short string in the user-id property.
const NAME_MAX: usize = 255;

/// Something wrong, and where in the text.
pub(super) struct Wrong {
    pub at: Range<usize>,
    pub what: String,
}

/// Whether nobody has named a user: there is guest with the password guest, from wherever.
pub(super) fn are_the_default(users: &[UserEntry]) -> bool {
    matches!(users, [only] if only.name == GUEST && only.password.expose() == GUEST)
}

/// Reads all entries, or finds all mistakes in them.
pub(super) fn read(list: &DeArray<'_>, at: &Range<usize>) -> Result<Vec<UserEntry>, Vec<Wrong>> {
    let mut users: Vec<UserEntry> = Vec::new();
    let mut wrongs = Vec::new();
    if list.is_empty() {
        wrongs.push(Wrong { at: at.clone(), what: "the list is empty: nobody could log in".to_owned() });
    }
    for item in list {
        let DeValue::Table(table) = item.get_ref() else {
            wrongs.push(Wrong { at: item.span(), what: "is not a table".to_owned() });
            continue;
        };
        if let Some(user) = entry(table, &item.span(), &mut wrongs) {
            if users.iter().any(|known| known.name == user.name) {
                wrongs.push(Wrong { at: item.span(), what: format!("{:?} is named twice", user.name) });
            }
            users.push(user);
        }
    }
    if wrongs.is_empty() { Ok(users) } else { Err(wrongs) }
}

fn entry(table: &DeTable<'_>, at: &Range<usize>, wrongs: &mut Vec<Wrong>) -> Option<UserEntry> {
    let before = wrongs.len();
    let (mut name, mut password, mut tags, mut loopback_only) = (None, None, Vec::new(), None);
    for (key, value) in table {
        let accepted = match (key.get_ref().as_ref(), value.get_ref()) {
            ("name", DeValue::String(text)) if !text.is_empty() && text.len() <= NAME_MAX => {
                name = Some(text.to_string());
                true
            }
            ("password", DeValue::String(text)) if !text.is_empty() => {
                password = Some(Secret::new(text.as_ref()));
                true
            }
            ("tags", DeValue::Array(list)) => match list.iter().map(text).collect() {
                Some(list) => {
                    tags = list;
                    true
                }
                None => false,
            },
            ("loopback_only", DeValue::Boolean(flag)) => {
                loopback_only = Some(*flag);
                true
            }
            ("name" | "password" | "tags" | "loopback_only", _) => false,
            (unknown, _) => {
                wrongs.push(Wrong { at: key.span(), what: format!("unknown key {unknown:?}") });
                continue;
            }
        };
        if !accepted {
            wrongs.push(Wrong { at: value.span(), what: format!("{} is empty or of the wrong type", key.get_ref()) });
        }
    }
    for (field, missing) in [("name", name.is_none()), ("password", password.is_none())] {
        if missing && wrongs.len() == before {
            wrongs.push(Wrong { at: at.clone(), what: format!("{field} is missing") });
        }
    }
    let (name, password) = (name?, password?);
    let loopback_only = loopback_only.unwrap_or(name == GUEST);
    Some(UserEntry { name, password, tags, loopback_only })
}

fn text(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        _ => None,
    }
}
