//! Definitions that are loaded at the start.

use std::path::Path;

use leveret::server::{Builder, ServerError};

use crate::api::{Api, builder};
use crate::definitions::{FIXTURE, plain};
use crate::server::{Broker, in_time};

fn loading(path: &Path) -> Builder {
    let path = path.to_owned();
    builder().configure(|config| config.load_definitions = Some(path))
}

fn problem(path: &Path) -> String {
    match loading(path).start() {
        Err(error @ ServerError::Definitions { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn they_are_there_before_the_first_client() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("definitions.json");
        std::fs::write(&file, FIXTURE).unwrap();
        let broker = Broker::start(loading(&file));
        let document = Api::new(&broker).get("/api/definitions").await.ok();
        assert_eq!(plain(&document), plain(&serde_json::from_str(FIXTURE).unwrap()));
        broker.stop().await;
    });
}

#[test]
fn files_of_a_directory_are_loaded_in_the_order_of_their_names() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("10-vhosts.json", r#"{"vhosts": [{"name": "v"}]}"#);
        write("20-users.json", r#"{"users": [{"name": "guest", "password": "guest", "tags": "administrator"}]}"#);
        write("30-queues.json", r#"{"queues": [{"name": "q", "vhost": "v"}]}"#);
        write("README", "not definitions");
        let broker = Broker::start(loading(directory.path()));
        assert!(broker.inside().vhost("v").unwrap().queue("q").is_some());
        broker.stop().await;
        write("05-queues.json", r#"{"queues": [{"name": "q", "vhost": "v"}]}"#);
        assert!(
            problem(directory.path()).contains("05-queues.json: queues[0].vhost: "),
            "{}",
            problem(directory.path())
        );
    });
}

#[test]
fn a_bad_file_stops_the_start_with_its_name_and_the_item() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bad.json");
        assert!(problem(&file).contains("bad.json"), "a file that is not there");
        std::fs::write(&file, r#"{"queues": [{"name": "q", "vhost": "/", "durable": 1}]}"#).unwrap();
        let problem = problem(&file);
        assert!(problem.ends_with("bad.json: queues[0].durable: should be true or false"), "{problem}");
    });
}

#[test]
fn the_default_user_is_not_made_beside_those_of_a_document() {
    in_time(async {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("definitions.json");
        let document =
            r#"{"vhosts": [{"name": "shop"}], "users": [{"name": "boss", "password": "x", "tags": "administrator"}]}"#;
        std::fs::write(&file, document).unwrap();
        let broker = Broker::start(loading(&file).data_dir(directory.path().join("data")));
        let api = Api::new(&broker);
        api.get("/api/whoami").await.is(401);
        let vhosts = api.user("boss", "x").get("/api/vhosts?columns=name").await.ok();
        assert_eq!(vhosts, serde_json::json!([{"name": "shop"}]));
        broker.stop().await;
        // Once more, on what is there.
        let broker = Broker::start(loading(&file).data_dir(directory.path().join("data")));
        Api::new(&broker).get("/api/whoami").await.is(401);
        broker.stop().await;
    });
}
