//! Documents that are not as they should be, and where they say so.

use super::*;

fn refused(document: &str) -> String {
    Definitions::parse(document.as_bytes()).unwrap_err().to_string()
}

#[test]
fn the_error_names_the_item_and_the_key() {
    for (document, error) in [
        (r#"{"queues": {}}"#, "queues: should be a list"),
        (r#"{"queues": [1]}"#, "queues[0]: should be an object"),
        (r#"{"queues": [{"name": "a", "vhost": "/"}, {"vhost": "/"}]}"#, "queues[1].name: is missing"),
        (r#"{"queues": [{"name": 1, "vhost": "/"}]}"#, "queues[0].name: should be text"),
        (r#"{"queues": [{"name": "", "vhost": "/"}]}"#, "queues[0].name: is empty"),
        (
            r#"{"queues": [{"name": "a", "vhost": "/", "durable": "yes"}]}"#,
            "queues[0].durable: should be true or false",
        ),
        (
            r#"{"queues": [{"name": "a", "vhost": "/", "arguments": {"x-expires": null}}]}"#,
            "queues[0].arguments.x-expires: null_not_allowed",
        ),
        (r#"{"queues": [{"name": "a", "vhost": "/", "arguments": 1}]}"#, "queues[0].arguments: should be an object"),
        (r#"{"users": [{"name": "a"}]}"#, "users[0].tags: is missing"),
        (r#"{"users": [{"name": "a", "tags": [1]}]}"#, "users[0].tags: should be a list of text"),
        (
            r#"{"users": [{"name": "a", "tags": "", "password": "x", "password_hash": "y"}]}"#,
            "users[0].password: stands beside a password_hash",
        ),
        (
            r#"{"bindings": [{"source": "a", "vhost": "/", "destination": "b", "destination_type": "x"}]}"#,
            "bindings[0].destination_type: should be queue or exchange",
        ),
        (r#"{"policies": [{"name": "a", "vhost": "/", "pattern": "."}]}"#, "policies[0].definition: is missing"),
        (r#"{"vhosts": [{"name": "a", "limits": {"max-queues": "1"}}]}"#, "vhosts[0].limits: Validation failed"),
        (r"[]", "definitions are an object"),
    ] {
        let found = refused(document);
        assert!(found.starts_with(error), "{document}: {found}");
    }
    assert!(refused("{").starts_with("failed_to_parse_json"), "{}", refused("{"));
}

#[test]
fn a_document_of_one_virtual_host_needs_to_be_told_which() {
    let document = br#"{"queues": [{"name": "a", "durable": true}]}"#;
    assert!(refused(std::str::from_utf8(document).unwrap()).starts_with("queues[0].vhost: is missing"));
    let read = Definitions::parse_for_vhost(document, "shop").unwrap();
    assert_eq!(read.queues[0].vhost, "shop");
}

#[test]
fn what_is_left_out_has_rabbitmqs_defaults() {
    let document = br#"{"queues": [{"name": "a", "vhost": "/"}], "exchanges": [{"name": "x", "vhost": "/",
        "type": "topic"}], "vhosts": [{"name": "v"}]}"#;
    let read = Definitions::parse(document).unwrap();
    assert!(read.queues[0].durable && !read.queues[0].auto_delete);
    assert!(read.exchanges[0].durable && !read.exchanges[0].internal);
    assert_eq!(read.vhosts[0].settings, VhostSettings::default());
    assert_eq!(Definitions::parse(b"").unwrap(), Definitions::default());
    assert_eq!(Definitions::parse(b"\xef\xbb\xbf{}").unwrap(), Definitions::default());
}

#[test]
fn hashes_without_an_algorithm_are_as_old_as_the_document() {
    // Twenty octets are a salt and an MD5.
    let user = r#"{"name": "a", "tags": "", "password_hash": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#;
    assert!(Definitions::parse(format!(r#"{{"rabbit_version": "3.5.7", "users": [{user}]}}"#).as_bytes()).is_ok());
    let found = refused(&format!(r#"{{"rabbit_version": "3.13.0", "users": [{user}]}}"#));
    assert!(found.starts_with("users[0].password_hash: "), "{found}");
    assert!(!found.contains("AAAA"), "a hash is not quoted: {found}");
}
