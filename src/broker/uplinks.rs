//! What parameters of shovels and federation must say of the brokers they lead to.
//!
//! They are kept for whoever will run them, so only the addresses are judged, in RabbitMQ's words: a tool that sets a
//! wrong one is told at once. Deliberately absent: every other key.

use serde_json::Value;

/// Judges the addresses in a parameter of a component; the problem, if there is one.
pub(super) fn check(component: &str, name: &str, value: &Value) -> Result<(), String> {
    let keys: &[&str] = match component {
        "federation-upstream" => &["uri"],
        "shovel" => &["dest-uri", "src-uri"],
        _ => return Ok(()),
    };
    for key in keys {
        let there = value.get(key).ok_or_else(|| format!("Key \"{key}\" not found in {name}"))?;
        match there {
            Value::Array(several) => several.iter().try_for_each(|one| uri(key, one))?,
            one => uri(key, one)?,
        }
    }
    Ok(())
}

fn uri(key: &str, value: &Value) -> Result<(), String> {
    let Some(uri) = value.as_str() else {
        return Err(format!("{key} should be list, actually was {value}"));
    };
    let problem = match uri.split_once(':') {
        Some(("amqp" | "amqps", _)) => return Ok(()),
        Some((scheme, _)) => format!("{{unexpected_uri_scheme,\"{scheme}\"}}"),
        None => "{unable_to_parse_uri,no_scheme}".to_owned(),
    };
    Err(format!("\"{uri}\" not a valid URI: {{{problem},\"{uri}\"}}"))
}

/// The first address of an upstream for everybody to see: without login and options.
pub fn public_uri(value: &Value) -> String {
    let first = value.get("uri").map(|uri| uri.get(0).unwrap_or(uri));
    let uri = first.and_then(Value::as_str).unwrap_or_default();
    let uri = uri.split_once('?').map_or(uri, |(uri, _)| uri);
    match (uri.split_once(':'), uri.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        _ => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{check, public_uri};

    #[test]
    fn addresses_are_asked_for_and_read() {
        let upstream = |value| check("federation-upstream", "up", &value);
        assert_eq!(upstream(json!({"uri": "amqp://a", "prefetch-count": 7})), Ok(()));
        assert_eq!(upstream(json!({"uri": ["amqps://a", "amqp://"]})), Ok(()));
        let refused = |value, problem: &str| assert_eq!(upstream(value), Err(problem.to_owned()));
        refused(json!({}), "Key \"uri\" not found in up");
        refused(json!([]), "Key \"uri\" not found in up");
        refused(json!({"uri": null}), "uri should be list, actually was null");
        refused(json!({"uri": ["amqp://a", 4]}), "uri should be list, actually was 4");
        refused(json!({"uri": "x"}), "\"x\" not a valid URI: {{unable_to_parse_uri,no_scheme},\"x\"}");
        let http = "\"http://x\" not a valid URI: {{unexpected_uri_scheme,\"http\"},\"http://x\"}";
        refused(json!({"uri": "http://x"}), http);
    }

    #[test]
    fn nobody_is_shown_a_password() {
        assert_eq!(public_uri(&json!({"uri": "amqp://u:p/@d@host/v?password=x"})), "amqp://host/v");
        assert_eq!(public_uri(&json!({"uri": ["amqps://host/%2f", "amqp://other"]})), "amqps://host/%2f");
        assert_eq!(public_uri(&json!({"uri": "amqp:u:p@host"})), "amqp://host");
        assert_eq!(public_uri(&json!({})), "");
    }

    #[test]
    fn a_shovel_has_two_ends_and_other_components_none() {
        let one_end = json!({"src-uri": "amqp://", "src-queue": "q"});
        assert_eq!(check("shovel", "s", &one_end), Err("Key \"dest-uri\" not found in s".to_owned()));
        assert_eq!(check("shovel", "s", &json!({"src-uri": "amqp://", "dest-uri": "amqp://"})), Ok(()));
        assert_eq!(check("federation-upstream-set", "all", &json!([{"upstream": "up"}])), Ok(()));
    }
}
