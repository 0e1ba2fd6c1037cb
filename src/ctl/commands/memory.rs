//! What memory is used for, and amounts of it in units.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::inside::node;
use crate::ctl::api::path;
use crate::ctl::command::{Call, Command, Section, Tool};
use crate::ctl::failure::{Failure, USAGE};
use crate::ctl::options::{Switch, text};
use crate::ctl::output::{Format, Output};

/// The switch of commands that show amounts.
pub(super) const UNIT: &[Switch] = &[text("unit")];

pub(super) const COMMANDS: &[Command] = &[Command::new(
    "memory_breakdown",
    Section::Monitoring,
    "[--unit <unit>]",
    "Shows what memory is used for",
    memory,
)
.tools(&[Tool::Diagnostics])
.timed()
.switches(UNIT)
.banner(|call| format!("Reporting memory breakdown on node {}...", call.node))];

/// A number of octets in a unit, rounded as RabbitMQ rounds; `None` for an unknown unit.
pub(super) fn in_unit(octets: f64, unit: &str) -> Option<String> {
    let divisor = match unit.to_ascii_lowercase().as_str() {
        "bytes" => return Some(format!("{octets:.0}")),
        "k" | "kb" | "kilobytes" => 1e3,
        "m" | "mb" | "megabytes" => 1e6,
        "g" | "gb" | "gigabytes" => 1e9,
        "t" | "tb" | "terabytes" => 1e12,
        "ki" | "kib" => 1024.0,
        "mi" | "mib" => 1024.0 * 1024.0,
        "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "ti" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(format!("{:?}", (octets / divisor * 1e4).round() / 1e4))
}

/// The unit asked for.
pub(super) fn unit<'c>(call: &'c Call<'_>) -> Result<&'c str, Failure> {
    let unit = call.line.text("unit").unwrap_or("gb");
    match in_unit(0.0, unit) {
        Some(_) => Ok(unit),
        None => Err(Failure::plain(
            USAGE,
            format!(
                "Error (argument validation): unit '{unit}' is not supported. \
                 Please use one of: bytes, mb, mib, gb, gib, tb, tib"
            ),
        )),
    }
}

pub(super) fn amount(value: &Value, unit: &str) -> String {
    let amount = value.as_f64().and_then(|octets| in_unit(octets, unit));
    amount.map_or_else(|| "(not available)".to_owned(), |amount| format!("{amount} {unit}"))
}

/// What memory is used for: name, octets and percent, most first.
pub(super) fn breakdown(memory: &Value) -> Vec<(String, f64, f64)> {
    let total = match &memory["total"] {
        Value::Object(totals) => totals.values().filter_map(Value::as_f64).fold(0.0, f64::max),
        other => other.as_f64().unwrap_or(0.0),
    };
    let mut parts: Vec<_> = memory
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "total")
        .filter_map(|(name, octets)| octets.as_f64().map(|octets| (name.clone(), octets)))
        .map(|(name, octets)| {
            let percent = if total > 0.0 { (octets / total * 1e4).round() / 1e2 } else { 0.0 };
            (name, octets, percent)
        })
        .collect();
    parts.sort_by(|one, other| other.1.total_cmp(&one.1));
    parts
}

pub(super) fn read_memory(call: &Call<'_>, node: &Value) -> Value {
    let name = node["name"].as_str().unwrap_or(&call.node);
    let memory = call.api().ok().and_then(|api| api.get(&path(&["nodes", name, "memory"])).ok());
    memory.map_or_else(|| json!({}), |answer| answer["memory"].clone())
}

fn memory(call: &mut Call<'_>) -> Result<Output, Failure> {
    let unit = unit(call)?;
    let node = node(call)?;
    let parts = breakdown(&read_memory(call, &node));
    if call.format == Format::Csv {
        let (names, values): (Vec<_>, Vec<_>) = parts
            .iter()
            .flat_map(|(name, octets, percent)| {
                [
                    (format!("{name}.percentage"), format!("{percent:?}")),
                    (format!("{name}.bytes"), format!("{octets:.0}")),
                ]
            })
            .unzip();
        return Ok(Output::Verbatim(format!("{}\n{}\n", names.join(","), values.join(","))));
    }
    let mut text = String::new();
    let mut document = Map::new();
    for (name, octets, percent) in parts {
        let amount = in_unit(octets, unit).unwrap_or_default();
        let _ = writeln!(text, "{name}: {amount} {} ({percent:?}%)", unit.to_ascii_lowercase());
        document.insert(name, json!({ "bytes": octets, "percentage": percent }));
    }
    Ok(Output::Said(text, Value::Object(document)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_as_rabbitmq_rounds_them() {
        assert_eq!(in_unit(74_800_000.0, "gb").as_deref(), Some("0.0748"));
        assert_eq!(in_unit(30_000.0, "GB").as_deref(), Some("0.0"));
        assert_eq!(in_unit(2_000_000.0, "mb").as_deref(), Some("2.0"));
        assert_eq!(in_unit(1024.0, "kib").as_deref(), Some("1.0"));
        assert_eq!(in_unit(7.0, "bytes").as_deref(), Some("7"));
        assert_eq!(in_unit(7.0, "stone"), None);
    }

    #[test]
    fn a_breakdown_is_relative_to_the_largest_total() {
        let memory = json!({ "code": 250, "binary": 750, "strategy": "rss", "total": { "rss": 1000, "erlang": 900 } });
        assert_eq!(breakdown(&memory), [("binary".to_owned(), 750.0, 75.0), ("code".to_owned(), 250.0, 25.0)]);
        assert_eq!(breakdown(&json!({})), []);
    }
}
