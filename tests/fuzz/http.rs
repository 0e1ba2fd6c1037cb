//! What the management API reads: queries of lists, and documents of definitions.
//!
//! Every query is answered with JSON or with text that says what is wrong. A document is refused whole, and then nothing
//! has changed; or it is applied, and what is exported then can be imported and changes nothing any more.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use leveret::broker::portable::{Definitions, export, import};
use leveret::broker::{Broker, Running, Start};
use leveret::clock::Clock;
use leveret::config::Config;
use leveret::management::{self, Origin};
use leveret::store::memory::MemoryEngine;

/// Lists that take every parameter there is.
const LISTS: [&str; 6] = ["queues", "exchanges", "vhosts", "connections", "channels", "queues/%2F"];

/// What a query may ask for, between which a fuzzer may choose.
const PARAMETERS: [&str; 12] = [
    "page=1&page_size=2",
    "page=0",
    "page_size=501",
    "name=a",
    "name=%28%3F%3Da%2B%29%2B",
    "use_regex=true",
    "sort=name",
    "sort=message_stats.publish_details.rate",
    "sort_reverse=true",
    "columns=name,messages,arguments.x",
    "msg_rates_age=60&msg_rates_incr=5",
    "pagination=true",
];

/// Documents to begin with.
const DOCUMENTS: [&str; 4] = [
    r#"{"vhosts":[{"name":"v"}],"users":[{"name":"u","password_hash":"","tags":["x"]}],"queues":[{"name":"q","vhost":"v","durable":true,"arguments":{"x-max-length":1}}]}"#,
    r#"{"permissions":[{"user":"guest","vhost":"/","configure":".*","write":".*","read":"^(?!a)"}],"topic_permissions":[{"user":"guest","vhost":"/","exchange":"amq.topic","write":"a","read":"b"}]}"#,
    r#"{"exchanges":[{"name":"x","vhost":"/","type":"topic","durable":true}],"bindings":[{"source":"x","vhost":"/","destination":"amq.fanout","destination_type":"exchange","routing_key":"a.#","arguments":{}}]}"#,
    r#"{"policies":[{"name":"p","vhost":"/","pattern":"^a","definition":{"max-length":1},"priority":0,"apply-to":"queues"}],"parameters":[],"global_parameters":[{"name":"n","value":[1]}]}"#,
];

fn with_broker<F: Future<Output = ()>>(test: impl FnOnce(Arc<Broker>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let start = Start {
            config: Arc::new(Config::default()),
            clock: Clock::system(),
            engine: Arc::new(MemoryEngine::new()),
            spill: None,
        };
        let running = Running::start(start).expect("an empty store");
        test(running.broker.clone()).await;
        running.stop().await.expect("the broker stops in order");
    });
}

/// A query, of which octets choose the list and the parameters; the rest is sent as it is.
pub(crate) fn query(input: &[u8]) {
    let mut choices = crate::choices::Choices(input);
    let list = choices.one_of(&LISTS);
    let mut query: Vec<String> = (0..choices.number() % 4).map(|_| choices.one_of(&PARAMETERS).to_owned()).collect();
    // What cannot stand in a request at all never gets here.
    query.push(String::from_utf8_lossy(choices.0).chars().filter(char::is_ascii_graphic).collect());
    let uri = format!("/api/{list}?{}", query.join("&").replace('#', "%23"));
    let Ok(request) = Request::builder().method(Method::GET).uri(uri).body(Body::empty()) else { return };
    with_broker(async |broker| {
        let service = TowerToHyperService::new(management::router(broker, Origin::Control));
        let answer = match service.call(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("a whole answer").to_bytes();
        assert!(!parts.status.is_server_error(), "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice::<serde_json::Value>(&body).expect("an answer in JSON");
    });
}

/// A document, some octets of it replaced; or one that the input spells out.
pub(crate) fn document(input: &[u8]) {
    let mut choices = crate::choices::Choices(input);
    let choice = choices.number();
    let mut text = Vec::new();
    if choice < 224 {
        text.extend_from_slice(DOCUMENTS[choice % DOCUMENTS.len()].as_bytes());
        for _ in 0..choices.octet() % 3 {
            let at = usize::from(choices.octet()) * 2 % (text.len() + 1);
            let upto = (at + choices.number() % 32).min(text.len());
            let count = choices.number() % 16;
            text.splice(at..upto, choices.take(count).iter().copied());
        }
    } else {
        text.extend_from_slice(choices.0);
    }
    let document = match Definitions::parse(&text) {
        Ok(document) => document,
        Err(problem) => return assert!(!problem.to_string().is_empty()),
    };
    with_broker(async |broker| {
        let before = export(&broker);
        if import(&broker, document).await.is_err() {
            assert_eq!(export(&broker), before, "refused, and nothing has changed");
            return;
        }
        let after = export(&broker);
        let again = serde_json::to_vec(&after).expect("an export is JSON");
        let again = Definitions::parse(&again).expect("an export can be read");
        import(&broker, again).await.expect("an export can be imported");
        assert_eq!(export(&broker), after, "importing what is there changes nothing");
    });
}
