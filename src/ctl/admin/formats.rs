//! The formats of the first grammar: tables, tab-separated, `name: value`, `name="value"`, JSON.
//!
//! Objects within objects become columns with dots in their names, as deep as is asked for.

use std::fmt::Write;

use serde_json::Value;

/// How a listing is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Table,
    Tsv,
    Long,
    Pairs,
    Bash,
    RawJson,
    PrettyJson,
}

impl Style {
    /// The style called so in `--format`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "table" => Self::Table,
            "tsv" => Self::Tsv,
            "long" => Self::Long,
            "kvp" => Self::Pairs,
            "bash" => Self::Bash,
            "raw_json" => Self::RawJson,
            "pretty_json" => Self::PrettyJson,
            _ => return None,
        })
    }

    /// Whether it shows everything, as the broker sent it.
    pub(super) fn is_json(self) -> bool {
        matches!(self, Self::RawJson | Self::PrettyJson)
    }
}

/// Columns that come first, in this order.
const PROMOTED: [&str; 7] = ["vhost", "name", "type", "source", "destination", "destination_type", "routing_key"];

/// The text of a listing.
pub(super) fn show(
    style: Style,
    items: &[Value],
    columns: &[String],
    json: &[&str],
    depth: usize,
    quiet: bool,
) -> String {
    match style {
        Style::RawJson => return format!("{}\n", Value::Array(items.to_vec())),
        Style::PrettyJson => {
            return format!("{}\n", serde_json::to_string_pretty(items).unwrap_or_default());
        }
        _ => {}
    }
    let cells: Vec<Vec<(String, String)>> = items
        .iter()
        .map(|item| {
            let mut cells = Vec::new();
            flatten("", item, json, depth, &mut cells);
            cells
        })
        .collect();
    let mut columns = columns.to_vec();
    if columns.is_empty() {
        for (name, _) in cells.iter().flatten() {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        columns.sort_by_key(|name| {
            let promoted = PROMOTED.iter().position(|known| known == name);
            (promoted.is_none(), promoted, name.clone())
        });
    }
    if items.is_empty() {
        return if quiet { String::new() } else { "No items\n".to_owned() };
    }
    let value = |row: &Vec<(String, String)>, name: &String| {
        row.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let rows: Vec<Vec<String>> =
        cells.iter().map(|row| columns.iter().map(|name| value(row, name)).collect()).collect();
    lay_out(style, &columns, &rows, quiet)
}

fn lay_out(style: Style, columns: &[String], rows: &[Vec<String>], quiet: bool) -> String {
    let mut text = String::new();
    match style {
        Style::Tsv => {
            if !quiet {
                let _ = writeln!(text, "{}", columns.join("\t"));
            }
            for row in rows {
                let _ = writeln!(text, "{}", row.join("\t"));
            }
        }
        Style::Long => {
            let rule = format!("\n{}\n\n", "-".repeat(80));
            let width = columns.iter().map(|name| name.chars().count()).max().unwrap_or_default();
            text.push_str(&rule);
            for row in rows {
                for (name, value) in columns.iter().zip(row) {
                    let _ = writeln!(text, "{name:>width$}: {value}");
                }
                text.push_str(&rule);
            }
        }
        Style::Pairs => {
            for row in rows {
                let pairs: Vec<_> =
                    columns.iter().zip(row).map(|(name, value)| format!("{name}=\"{value}\"")).collect();
                let _ = writeln!(text, "{}", pairs.join(" "));
            }
        }
        Style::Bash => {
            if let Some(at) = columns.iter().position(|name| name == "name") {
                let names: Vec<_> = rows.iter().filter_map(|row| row.get(at)).map(String::as_str).collect();
                let _ = writeln!(text, "{}", names.join(" "));
            }
        }
        _ => text = table(columns, rows),
    }
    text
}

fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| {
            let cells = std::iter::once(columns).chain(rows.iter().map(Vec::as_slice));
            cells.filter_map(|cells| cells.get(at)).map(|cell| cell.chars().count()).max().unwrap_or_default()
        })
        .collect();
    let dashes: Vec<_> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    let bar = format!("+{}+\n", dashes.join("+"));
    let mut text = bar.clone() + "|";
    for (name, width) in columns.iter().zip(&widths) {
        let _ = write!(text, " {name:^width$} |");
    }
    text += "\n";
    text += &bar;
    for row in rows {
        text += "|";
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, " {cell:<width$} |");
        }
        text += "\n";
    }
    text + &bar
}

/// The values of an object by the names of their columns.
fn flatten(prefix: &str, item: &Value, json: &[&str], depth: usize, cells: &mut Vec<(String, String)>) {
    for (key, value) in item.as_object().into_iter().flatten() {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(_) if json.contains(&key.as_str()) => cells.push((name, dumped(value))),
            Value::Object(_) if depth > 1 => flatten(&name, value, json, depth - 1, cells),
            Value::Object(_) => {}
            Value::Array(items) if items.iter().all(Value::is_string) => {
                let words: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                cells.push((name, words.join(" ")));
            }
            Value::Array(_) => cells.push((name, dumped(value))),
            Value::Null => cells.push((name, String::new())),
            Value::Bool(true) => cells.push((name, "True".to_owned())),
            Value::Bool(false) => cells.push((name, "False".to_owned())),
            Value::String(text) => cells.push((name, text.clone())),
            Value::Number(number) => cells.push((name, number.to_string())),
        }
    }
}

/// JSON with blanks where Python puts them.
fn dumped(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(dumped).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let pairs: Vec<_> =
                map.iter().map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), dumped(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn items() -> Vec<Value> {
        vec![
            json!({ "name": "q", "messages": 12, "durable": true, "policy": null,
                    "message_stats": { "publish": 3, "publish_details": { "rate": 0.0 } }, "members": ["a", "b"] }),
            json!({ "name": "longer", "messages": 0, "durable": false }),
        ]
    }

    #[test]
    fn tables_are_the_scripts() {
        let columns = ["name", "messages"].map(str::to_owned);
        let text = show(Style::Table, &items(), &columns, &[], 9, false);
        let expected = "+--------+----------+\n|  name  | messages |\n+--------+----------+\n\
                        | q      | 12       |\n| longer | 0        |\n+--------+----------+\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn columns_are_found_as_deep_as_is_asked_for() {
        let heading = |depth| show(Style::Tsv, &items(), &[], &[], depth, false).lines().next().unwrap().to_owned();
        assert_eq!(heading(1), "name\tdurable\tmembers\tmessages\tpolicy");
        assert_eq!(heading(2), "name\tdurable\tmembers\tmessage_stats.publish\tmessages\tpolicy");
        assert!(heading(3).contains("message_stats.publish_details.rate"));
        let rows = show(Style::Tsv, &items(), &[], &[], 3, true);
        assert_eq!(rows.lines().next(), Some("q\tTrue\ta b\t3\t0.0\t12\t"));
    }

    #[test]
    fn other_formats() {
        let columns = ["name", "messages"].map(str::to_owned);
        let shown = |style| show(style, &items(), &columns, &[], 9, false);
        assert_eq!(shown(Style::Pairs), "name=\"q\" messages=\"12\"\nname=\"longer\" messages=\"0\"\n");
        assert_eq!(shown(Style::Bash), "q longer\n");
        assert!(shown(Style::Long).contains("\n    name: q\nmessages: 12\n\n----"), "{}", shown(Style::Long));
        assert_eq!(show(Style::Table, &[], &columns, &[], 9, false), "No items\n");
        assert_eq!(show(Style::Table, &[], &columns, &[], 9, true), "");
        assert!(shown(Style::PrettyJson).starts_with("[\n  {\n    \"durable\": true"));
        let policy = [json!({ "name": "p", "definition": { "max-length": 1, "ha": [1, 2] } })];
        let text = show(Style::Tsv, &policy, &[], &["definition"], 1, true);
        assert_eq!(text, "p\t{\"ha\": [1, 2], \"max-length\": 1}\n");
    }
}
