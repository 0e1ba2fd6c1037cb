//! Definitions as a store may hold them, and policies as administrators may want them, against a broker in memory.
//!
//! A broker either starts on what it finds, routes, and stops in order, or says what it cannot read. A policy is
//! either refused or governs.

use std::sync::Arc;

use leveret::broker::{PolicyAsk, Running, Start};
use leveret::clock::Clock;
use leveret::config::Config;
use leveret::store::memory::MemoryEngine;
use leveret::store::{Batch, Commit, Define, Engine, MAX_KEY};

use crate::choices::Choices;

/// Values of definitions, between which a fuzzer may choose and which it may splice.
const RECORDS: [(u8, &str); 15] = [
    (1, r#"{"id":1,"name":"/"}"#),
    (2, r#"{"name":"topics","kind":"topic","arguments":{}}"#),
    (2, r#"{"name":"later","kind":"x-delayed-message","arguments":{"x-delayed-type":"fanout"},"holder":7}"#),
    (2, r#"{"name":"hash","kind":"x-consistent-hash"}"#),
    (2, r#"{"name":"last","kind":"x-recent-history","arguments":{"x-recent-history-length":{"I":3}}}"#),
    (3, r#"{"id":1,"name":"q","arguments":{}}"#),
    (3, r#"{"id":2,"name":"p","arguments":{"x-max-priority":{"I":5}}}"#),
    (3, r#"{"id":3,"name":"quorum","arguments":{"x-queue-type":"quorum"}}"#),
    (4, r##"{"source":"topics","destination":"q","routing_key":"#.a.*","order":1}"##),
    (4, r#"{"source":"topics","destination":"later","to_exchange":true,"routing_key":"a","order":2}"#),
    (
        6,
        r#"{"name":"limit","pattern":"^q","definition":{"max-length":1,"message-ttl":0},"priority":1,"apply-to":"all"}"#,
    ),
    (7, r#"{"name":"limit","pattern":".","definition":{"expires":9,"delivery-limit":-1},"apply-to":"queues"}"#),
    (5, r#"{"name":"\u0000\u0000\u0000\u0001\u0001","tags":["x"],"limits":{"max-channels":-1}}"#),
    (8, r#"{"user":"\u0001","configure":".*","write":"^(?!a)","read":""}"#),
    (11, r#"{"user":"guest","exchange":"topics","write":"{username}","read":"("}"#),
];

/// Definitions of all kinds, then a policy.
pub(crate) fn start(input: &[u8]) {
    let mut choices = Choices(input);
    let mut definitions = vec![define(vec![1, 0, 0, 0, 1], RECORDS[0].1.into())];
    for _ in 0..choices.octet() % 10 {
        definitions.push(definition(&mut choices));
    }
    let engine = MemoryEngine::new();
    let batch = Batch { epoch: 1, definitions, ..Batch::default() };
    assert!(matches!(engine.commit(&batch), Commit::Done));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for _ in 0..2 {
            let start = Start {
                config: Arc::new(Config::default()),
                clock: Clock::system(),
                engine: Arc::new(engine.clone()),
                spill: None,
            };
            let running = match Running::start(start) {
                Ok(running) => running,
                Err(problem) => return assert!(!problem.to_string().is_empty()),
            };
            if let Ok(ask) = serde_json::from_slice::<PolicyAsk>(choices.0) {
                let name = "wanted";
                if let Err(problem) = running.broker.set_policy("/", name, ask.clone()).await {
                    assert!(!problem.to_string().is_empty());
                }
                let _ = running.broker.set_operator_policy("/", name, ask).await;
            }
            running.stop().await.expect("the broker stops in order");
            // The second start finds what the first one left.
        }
    });
}

fn define(key: Vec<u8>, value: Vec<u8>) -> Define {
    Define::Put { key, value }
}

/// A definition that stands above, some octets of it replaced; or one that the input spells out.
fn definition(choices: &mut Choices<'_>) -> Define {
    let choice = choices.number();
    if choice >= 224 {
        let key = choices.short();
        let key = if key.is_empty() { &[choices.octet()] } else { key };
        let long = choices.number() * 4;
        return define(key[..key.len().min(MAX_KEY)].to_vec(), choices.take(long).to_vec());
    }
    let (kind, value) = RECORDS[choice % RECORDS.len()];
    let mut value = value.as_bytes().to_vec();
    for _ in 0..choices.octet() % 3 {
        let at = choices.number() % (value.len() + 1);
        let upto = (at + choices.number() % 16).min(value.len());
        let count = choices.number() % 16;
        value.splice(at..upto, choices.take(count).iter().copied());
    }
    let vhost = if choice % 16 == 15 { choices.octet() } else { 1 };
    define([&[kind, 0, 0, 0, vhost][..], &[choices.octet() % 16]].concat(), value)
}
