//! JSON as terms of Erlang, the way RabbitMQ's tools show them: as far as their output needs it.

use serde_json::{Map, Value};

use super::Row;

/// A value as a term; texts are strings in quotes.
pub(in crate::ctl) fn term(value: &Value) -> String {
    match value {
        Value::Null => "undefined".to_owned(),
        Value::String(text) => string(text),
        Value::Array(items) => format!("[{}]", items.iter().map(term).collect::<Vec<_>>().join(",")),
        Value::Object(map) => table(map),
        other => other.to_string(),
    }
}

/// A table as a list of pairs.
pub(super) fn table(map: &Map<String, Value>) -> String {
    let pairs: Vec<_> = map.iter().map(|(key, value)| format!("{{{},{}}}", string(key), term(value))).collect();
    format!("[{}]", pairs.join(","))
}

/// Rows as a list of lists of pairs.
pub(super) fn rows(rows: &[Row]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let pairs: Vec<_> = row.iter().map(|(name, cell)| format!("{{{name},{}}}", binary(&cell.json()))).collect();
            format!("[{}]", pairs.join(","))
        })
        .collect();
    format!("[{}]", rows.join(",\n "))
}

/// A value of a row: texts are binaries there.
fn binary(value: &Value) -> String {
    match value {
        Value::String(text) => format!("<<{}>>", string(text)),
        Value::Array(items) => format!("[{}]", items.iter().map(binary).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let pairs: Vec<_> =
                map.iter().map(|(key, value)| format!("{{<<{}>>,{}}}", string(key), binary(value))).collect();
            format!("[{}]", pairs.join(","))
        }
        other => term(other),
    }
}

fn string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::output::Cell;
    use serde_json::json;

    #[test]
    fn terms() {
        assert_eq!(term(&json!({"b": [1, null, true], "a": "x\"y"})), r#"[{"a","x\"y"},{"b",[1,undefined,true]}]"#);
        let row: Row = vec![("name", Cell::text("q")), ("messages", Cell::Plain(json!(3)))];
        assert_eq!(rows(&[row.clone(), row]), "[[{name,<<\"q\">>},{messages,3}],\n [{name,<<\"q\">>},{messages,3}]]");
    }
}
