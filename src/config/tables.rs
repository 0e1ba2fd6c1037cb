//! Lists of tables of the configuration: `[[vhosts]]`, `[[vhost_limits]]`, `[[permissions]]`, `[[policies]]` and
//! `[[operator_policies]]`.
//!
//! Turns parsed TOML into plain entries: names, numbers, strings. Deliberately absent: what a policy's keys mean, which
//! the broker judges when it starts, with RabbitMQ's words.

use super::users::Wrong;
use super::{PermissionEntry, PolicyEntry, VhostEntry, VhostLimitEntry, patterns};
use serde_json::{Map, Value};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// The virtual host meant where none is named.
const DEFAULT_VHOST: &str = "/";

/// A pattern that every name fits.
const EVERYTHING: &str = ".*";

/// Reads `[[vhosts]]`, or finds all mistakes in it.
pub(super) fn vhosts(list: &DeArray<'_>) -> Result<Vec<VhostEntry>, Vec<Wrong>> {
    entries(list, |fields| {
        let name = fields.name();
        Some(VhostEntry {
            max_connections: fields.number("max_connections"),
            max_queues: fields.number("max_queues"),
            default_queue_type: fields.text("default_queue_type"),
            name: name?,
        })
    })
}

/// Reads `[[vhost_limits]]`, or finds all mistakes in it.
pub(super) fn vhost_limits(list: &DeArray<'_>) -> Result<Vec<VhostLimitEntry>, Vec<Wrong>> {
    entries(list, |fields| {
        let name = fields.name();
        Some(VhostLimitEntry {
            vhosts: fields.pattern("vhosts").unwrap_or_else(|| EVERYTHING.to_owned()),
            max_connections: fields.number("max_connections"),
            max_queues: fields.number("max_queues"),
            name: name?,
        })
    })
}

/// Reads `[[permissions]]`, or finds all mistakes in it.
pub(super) fn permissions(list: &DeArray<'_>) -> Result<Vec<PermissionEntry>, Vec<Wrong>> {
    entries(list, |fields| {
        let user = fields.required("user");
        let mut pattern = |key| fields.pattern(key).unwrap_or_else(|| EVERYTHING.to_owned());
        Some(PermissionEntry {
            vhosts: pattern("vhosts"),
            configure: pattern("configure"),
            write: pattern("write"),
            read: pattern("read"),
            user: user?,
        })
    })
}

/// Reads `[[policies]]` or `[[operator_policies]]`, or finds all mistakes in it.
pub(super) fn policies(list: &DeArray<'_>) -> Result<Vec<PolicyEntry>, Vec<Wrong>> {
    entries(list, |fields| {
        let name = fields.name();
        Some(PolicyEntry {
            vhost: fields.text("vhost").unwrap_or_else(|| DEFAULT_VHOST.to_owned()),
            vhosts: fields.pattern("vhosts"),
            pattern: fields.text("pattern").unwrap_or_default(),
            definition: fields.object("definition").unwrap_or_default(),
            priority: fields.number("priority").unwrap_or(0),
            apply_to: fields.text("apply_to").unwrap_or_else(|| "all".to_owned()),
            // Last: without a name, too, everything else is looked at.
            name: name?,
        })
    })
}

fn entries<T>(list: &DeArray<'_>, read: impl Fn(&mut Fields<'_, '_>) -> Option<T>) -> Result<Vec<T>, Vec<Wrong>> {
    let (mut found, mut wrongs) = (Vec::new(), Vec::new());
    for item in list {
        let DeValue::Table(table) = item.get_ref() else {
            wrongs.push(Wrong { at: item.span(), what: "is not a table".to_owned() });
            continue;
        };
        let mut fields = Fields { table, at: item.span(), asked: Vec::new(), wrongs: &mut wrongs };
        found.extend(read(&mut fields));
        fields.end();
    }
    if wrongs.is_empty() { Ok(found) } else { Err(wrongs) }
}

/// The fields of one entry, and what is wrong with them.
struct Fields<'a, 'de> {
    table: &'a DeTable<'de>,
    at: Range<usize>,
    asked: Vec<&'static str>,
    wrongs: &'a mut Vec<Wrong>,
}

impl<'a, 'de> Fields<'a, 'de> {
    fn field(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'de>>> {
        self.asked.push(key);
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn wrong(&mut self, value: &Spanned<DeValue<'_>>, key: &str) {
        self.wrongs.push(Wrong { at: value.span(), what: format!("{key} is of the wrong type") });
    }

    fn name(&mut self) -> Option<String> {
        self.required("name")
    }

    fn required(&mut self, key: &'static str) -> Option<String> {
        let text = self.text(key).filter(|text| !text.is_empty());
        if text.is_none() {
            self.wrongs.push(Wrong { at: self.at.clone(), what: format!("{key} is missing") });
        }
        text
    }

    fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.field(key)?;
        if let DeValue::String(text) = value.get_ref() {
            return Some(text.to_string());
        }
        self.wrong(value, key);
        None
    }

    /// A regular expression.
    fn pattern(&mut self, key: &'static str) -> Option<String> {
        let text = self.text(key)?;
        match patterns::pattern(&text) {
            Ok(pattern) => Some(pattern),
            Err(wrong) => {
                self.wrongs.push(Wrong { at: self.at.clone(), what: format!("{key}: {wrong}") });
                None
            }
        }
    }

    fn number(&mut self, key: &'static str) -> Option<i64> {
        let value = self.field(key)?;
        let number = json(value.get_ref()).and_then(|number| number.as_i64());
        if number.is_none() {
            self.wrong(value, key);
        }
        number
    }

    fn object(&mut self, key: &'static str) -> Option<Map<String, Value>> {
        let value = self.field(key)?;
        if let Some(Value::Object(map)) = json(value.get_ref()) {
            return Some(map);
        }
        self.wrong(value, key);
        None
    }

    fn end(self) {
        for (key, _) in self.table {
            if !self.asked.contains(&key.get_ref().as_ref()) {
                self.wrongs.push(Wrong { at: key.span(), what: format!("unknown key {:?}", key.get_ref()) });
            }
        }
    }
}

/// A TOML value as JSON; dates, and numbers beyond 64 bits, have no counterpart. The parser bounds the nesting.
fn json(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::from(text.as_ref())),
        DeValue::Boolean(on) => Some(Value::from(*on)),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().map(Value::from),
        DeValue::Array(list) => {
            list.iter().map(|item| json(item.get_ref())).collect::<Option<Vec<_>>>().map(Value::from)
        }
        DeValue::Table(table) => {
            let pair = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                Some((AsRef::<str>::as_ref(key.get_ref()).to_owned(), json(value.get_ref())?))
            };
            table.iter().map(pair).collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        DeValue::Datetime(_) => None,
    }
}
