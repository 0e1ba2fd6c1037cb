//! Every input of the fuzz targets' corpora, and every input that once broke something, by name.
//!
//! The corpora (`tests/fuzz/corpus`) are small and minimised; what broke something is in `tests/fuzz/crashes`. Both have
//! a folder for each target. Further tests feed the same targets arbitrary octets.

#[path = "fuzz/agreement.rs"]
mod agreement;
#[path = "fuzz/choices.rs"]
mod choices;
#[path = "fuzz/conversation.rs"]
mod conversation;
#[path = "fuzz/definitions.rs"]
mod definitions;
#[path = "fuzz/http.rs"]
mod http;
#[path = "fuzz/letters.rs"]
mod letters;
#[path = "fuzz/log.rs"]
mod log;
#[path = "fuzz/proxy.rs"]
mod proxy;
#[path = "fuzz/rabbitmq.rs"]
mod rabbitmq;
#[path = "fuzz/recovery.rs"]
mod recovery;
#[path = "fuzz/routing.rs"]
mod routing;
#[path = "fuzz/settings.rs"]
mod settings;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

/// What a target does with an input.
type Run = fn(&[u8]);

/// Every target under its name; a test holds the list to what is there.
const TARGETS: [(&str, Run); 14] = [
    ("decoder", decoder),
    ("definitions", definitions::start),
    ("headers", routing::headers),
    ("import", http::document),
    ("letters", letters::travel),
    ("log", log::replay),
    ("proxy", proxy::header),
    ("query", http::query),
    ("rabbitmq", rabbitmq::read),
    ("recovery", recovery::damage),
    ("session", conversation::converse),
    ("settings", settings::load),
    ("table", agreement::table),
    ("topic", routing::topic),
];

fn decoder(octets: &[u8]) {
    agreement::stream(octets, 131_072);
    agreement::method(octets);
    agreement::header(octets);
    agreement::properties(octets);
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
}

/// Files of a folder, by name; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder can be listed").path()).collect();
    paths.sort();
    paths
}

/// Runs a target on every input kept for it; the number of inputs.
fn replay(target: &str) -> usize {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let inputs = [files(&folder("corpus").join(target)), files(&folder("crashes").join(target))].concat();
    for path in &inputs {
        let octets = std::fs::read(path).expect("a file");
        let done = catch_unwind(AssertUnwindSafe(|| run(&octets)));
        assert!(done.is_ok(), "{}", path.display());
    }
    inputs.len()
}

#[test]
fn every_target_has_inputs_and_every_folder_a_target() {
    let names = |paths: Vec<PathBuf>| -> Vec<String> {
        paths.iter().filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
    };
    let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names(files(&folder("fuzz_targets"))), known);
    assert_eq!(names(files(&folder("corpus"))), known);
    assert!(names(files(&folder("crashes"))).iter().all(|name| known.contains(&name.as_str())));
}

/// Fewer inputs than this are no corpus.
const FEWEST: usize = 5;

#[test]
fn decoder_takes_its_corpus() {
    assert!(replay("decoder") >= FEWEST);
}

#[test]
fn definitions_takes_its_corpus() {
    assert!(replay("definitions") >= FEWEST);
}

#[test]
fn headers_takes_its_corpus() {
    assert!(replay("headers") >= FEWEST);
}

#[test]
fn import_takes_its_corpus() {
    assert!(replay("import") >= FEWEST);
}

#[test]
fn letters_takes_its_corpus() {
    assert!(replay("letters") >= FEWEST);
}

#[test]
fn log_takes_its_corpus() {
    assert!(replay("log") >= FEWEST);
}

#[test]
fn proxy_takes_its_corpus() {
    assert!(replay("proxy") >= FEWEST);
}

#[test]
fn query_takes_its_corpus() {
    assert!(replay("query") >= FEWEST);
}

#[test]
fn rabbitmq_takes_its_corpus() {
    assert!(replay("rabbitmq") >= FEWEST);
}

#[test]
fn recovery_takes_its_corpus() {
    assert!(replay("recovery") >= FEWEST);
}

#[test]
fn session_takes_its_corpus() {
    assert!(replay("session") >= FEWEST);
}

#[test]
fn settings_takes_its_corpus() {
    assert!(replay("settings") >= FEWEST);
}

#[test]
fn table_takes_its_corpus() {
    assert!(replay("table") >= FEWEST);
}

#[test]
fn topic_takes_its_corpus() {
    assert!(replay("topic") >= FEWEST);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn targets_take_any_octets(at in 0..TARGETS.len(), octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (_, run) = TARGETS[at];
        run(&octets);
    }
}
