//! What a command found, and the shapes it is printed in: table, pretty table, CSV, JSON, Erlang terms.
//!
//! A command answers with an [`Output`]; which of the formats applies is the caller's choice. Invariants: the columns
//! of every row are those of the first; machine-readable formats print nothing else on standard output.

mod erlang;
mod pretty;

use serde_json::{Map, Value, json};

pub(super) use erlang::term;

/// One value of a row, with what JSON alone does not say.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// A JSON value: text, number, true or false; null is nothing.
    Plain(Value),
    /// The arguments of a queue or binding, a table of AMQP.
    Table(Map<String, Value>),
    /// A list of words that are not quoted.
    Words(Vec<String>),
    /// The address of a host; in JSON its octets, as RabbitMQ has them.
    Address(String),
}

impl Cell {
    /// A text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Plain(Value::String(text.into()))
    }

    /// As CSV has it: texts in quotes, numbers and truths bare, an empty table an empty text.
    fn field(&self) -> String {
        match self {
            Self::Plain(Value::Number(_) | Value::Bool(_)) => self.shown(),
            Self::Table(table) if table.is_empty() => quoted(""),
            _ => quoted(&self.shown()),
        }
    }

    /// As a table shows it.
    fn shown(&self) -> String {
        match self {
            Self::Plain(Value::Null) => String::new(),
            Self::Plain(Value::String(text)) => text.clone(),
            Self::Plain(Value::Object(map)) => map_shown(map),
            Self::Plain(other) => term(other),
            Self::Table(table) => erlang::table(table),
            Self::Words(words) => format!("[{}]", words.join(", ")),
            Self::Address(address) => address.clone(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Table(table) => Value::Object(table.clone()),
            Self::Words(words) => json!(words),
            Self::Address(address) => match address.parse() {
                Ok(std::net::IpAddr::V4(address)) => json!(address.octets()),
                Ok(std::net::IpAddr::V6(address)) => json!(address.segments()),
                Err(_) => json!(address),
            },
        }
    }
}

/// A map as RabbitMQ's tables show it.
fn map_shown(map: &Map<String, Value>) -> String {
    let shown: Vec<_> =
        map.iter().map(|(key, value)| format!("{key} => {}", Cell::Plain(value.clone()).shown())).collect();
    format!("#{{{}}}", shown.join(", "))
}

/// Values by column.
pub(super) type Row = Vec<(&'static str, Cell)>;

/// What a command found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    /// It is done, and there is nothing to say.
    Done,
    /// Nothing, in any format.
    Silent,
    /// A sentence; in JSON this document instead.
    Said(String, Value),
    /// Lines and documents that are the same in every format.
    Verbatim(String),
    /// Rows; an empty list of those commands that look at it as a whole is an empty line.
    Rows {
        /// The rows.
        rows: Vec<Row>,
        /// Whether RabbitMQ prints rows as they come, so that no rows are no line.
        streamed: bool,
    },
}

impl Output {
    /// A sentence, which JSON calls `message`.
    pub(super) fn message(text: impl Into<String>) -> Self {
        let text = text.into();
        let document = json!({ "message": text });
        Self::Said(text, document)
    }

    /// A sentence about a check that passed.
    pub(super) fn passed(text: impl Into<String>) -> Self {
        Self::Said(text.into(), json!({ "result": "ok" }))
    }

    /// A value somebody asked for.
    pub(super) fn value(text: impl Into<String>) -> Self {
        let text = text.into();
        let document = json!({ "result": "ok", "value": text });
        Self::Said(text, document)
    }
}

/// The shape of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Columns separated by tabs, with a heading.
    Table,
    /// Columns in a frame.
    Pretty,
    /// Comma-separated values with a heading.
    Csv,
    /// JSON, one row a line.
    Json,
    /// Terms of Erlang.
    Erlang,
    /// Values without a heading, one row a line.
    Plain,
}

impl Format {
    /// The format called so in `--formatter`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "table" => Self::Table,
            "pretty_table" | "prettytable" => Self::Pretty,
            "csv" => Self::Csv,
            "json" | "json_stream" => Self::Json,
            "erlang" | "inspect" => Self::Erlang,
            "plain" | "string" | "string_per_line" => Self::Plain,
            _ => return None,
        })
    }

    /// Whether programs read it, so that nothing may stand around it.
    pub(super) fn is_for_machines(self) -> bool {
        matches!(self, Self::Csv | Self::Json)
    }
}

/// The text of an output, every line ended.
pub(super) fn print(output: &Output, format: Format, headings: bool, node: &str) -> String {
    match output {
        Output::Done if format == Format::Json => line(&json!({ "result": "ok", "node": node }).to_string()),
        Output::Done | Output::Silent => String::new(),
        Output::Said(_, document) if format == Format::Json => line(&document.to_string()),
        Output::Said(text, _) if format == Format::Erlang => line(&term(&json!(text))),
        Output::Said(text, _) => line(text),
        Output::Verbatim(text) => text.clone(),
        Output::Rows { rows, streamed } => match format {
            Format::Table => table(rows, headings, *streamed),
            Format::Plain => table(rows, false, *streamed),
            Format::Pretty => pretty::table(rows),
            Format::Csv => csv(rows),
            Format::Json => json_rows(rows, *streamed),
            Format::Erlang => line(&erlang::rows(rows)),
        },
    }
}

fn line(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

fn table(rows: &[Row], headings: bool, streamed: bool) -> String {
    let mut text = String::new();
    let Some(first) = rows.first() else { return if streamed { text } else { "\n".to_owned() } };
    if headings {
        text.push_str(&line(&first.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("\t")));
    }
    for row in rows {
        text.push_str(&line(&row.iter().map(|(_, cell)| cell.shown()).collect::<Vec<_>>().join("\t")));
    }
    text
}

fn csv(rows: &[Row]) -> String {
    let mut text = String::new();
    if let Some(first) = rows.first() {
        text.push_str(&line(&first.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(",")));
    }
    for row in rows {
        text.push_str(&line(&row.iter().map(|(_, cell)| cell.field()).collect::<Vec<_>>().join(",")));
    }
    text
}

/// A text of CSV, in quotes as RFC 4180 has them.
fn quoted(field: &str) -> String {
    format!("\"{}\"", field.replace('"', "\"\""))
}

fn json_rows(rows: &[Row], streamed: bool) -> String {
    if rows.is_empty() && !streamed {
        return "[]\n".to_owned();
    }
    let mut text = String::from("[\n");
    for (index, row) in rows.iter().enumerate() {
        // By hand, so that the columns stay in the order they were asked for.
        let pairs: Vec<_> = row.iter().map(|(name, cell)| format!("{}:{}", json!(name), cell.json())).collect();
        text.push_str(if index == 0 { "{" } else { ",{" });
        text.push_str(&pairs.join(","));
        text.push_str("}\n");
    }
    text.push_str("]\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Output {
        let arguments: Map<String, Value> = serde_json::from_str(r#"{"x-priority":3,"x-a":"b"}"#).unwrap();
        let row = |name: &str, messages: u64| {
            vec![
                ("name", Cell::text(name)),
                ("messages", Cell::Plain(json!(messages))),
                ("arguments", Cell::Table(arguments.clone())),
                ("tags", Cell::Words(vec!["a".into(), "b".into()])),
                ("host", Cell::Address("127.0.0.1".into())),
                ("policy", Cell::Plain(Value::Null)),
            ]
        };
        Output::Rows { rows: vec![row("q,1", 0), row("q\"2", 7)], streamed: true }
    }

    #[test]
    fn tables() {
        let text = print(&rows(), Format::Table, true, "n");
        let expected = "name\tmessages\targuments\ttags\thost\tpolicy\n\
                        q,1\t0\t[{\"x-a\",\"b\"},{\"x-priority\",3}]\t[a, b]\t127.0.0.1\t\n\
                        q\"2\t7\t[{\"x-a\",\"b\"},{\"x-priority\",3}]\t[a, b]\t127.0.0.1\t\n";
        assert_eq!(text, expected);
        assert!(print(&rows(), Format::Table, false, "n").starts_with("q,1\t0"));
        let none = |streamed| print(&Output::Rows { rows: Vec::new(), streamed }, Format::Table, true, "n");
        assert_eq!((none(true).as_str(), none(false).as_str()), ("", "\n"));
    }

    #[test]
    fn json_has_a_row_a_line() {
        let text = print(&rows(), Format::Json, true, "n");
        assert!(text.starts_with("[\n{\"name\":\"q,1\",\"messages\":0,"), "{text}");
        assert!(text.contains("\n,{\"name\":\"q\\\"2\",\"messages\":7,"), "{text}");
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed[0]["host"], json!([127, 0, 0, 1]));
        assert_eq!(parsed[1]["tags"], json!(["a", "b"]));
        let none = |streamed| print(&Output::Rows { rows: Vec::new(), streamed }, Format::Json, true, "n");
        assert_eq!((none(true).as_str(), none(false).as_str()), ("[\n]\n", "[]\n"));
        assert_eq!(print(&Output::Done, Format::Json, true, "n"), "{\"node\":\"n\",\"result\":\"ok\"}\n");
    }

    #[test]
    fn csv_quotes_texts() {
        let text = print(&rows(), Format::Csv, true, "n");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "\"name\",\"messages\",\"arguments\",\"tags\",\"host\",\"policy\"");
        let first = "\"q,1\",0,\"[{\"\"x-a\"\",\"\"b\"\"},{\"\"x-priority\"\",3}]\",\"[a, b]\",\"127.0.0.1\",\"\"";
        assert_eq!(lines[1], first);
        assert!(lines[2].starts_with("\"q\"\"2\",7,"), "{text}");
    }

    #[test]
    fn frames() {
        let text = print(
            &Output::Rows {
                rows: vec![vec![("name", Cell::text("q")), ("n", Cell::Plain(json!(12)))]],
                streamed: true,
            },
            Format::Pretty,
            true,
            "n",
        );
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[1], "\u{2502} name \u{2502} n  \u{2502}");
        assert_eq!(lines[3], "\u{2502} q    \u{2502} 12 \u{2502}");
        assert!(lines[0].starts_with('\u{250c}') && lines[4].ends_with('\u{2518}'));
    }
}
