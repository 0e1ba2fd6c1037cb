//! What the worst input costs, by counting octets allocated while a frame is read; and patterns of topics that a walk
//! through all ways would never come back from. No clock is looked at.
//!
//! The counting allocator comes from a crate because this one allows `unsafe` in a single file of the store. One test
//! only: another one would allocate beside it.

use std::alloc::System;

use leveret::broker::probe::{Bind, matched};
use leveret::wire::method;
use leveret::wire::properties::Properties;
use leveret::wire::table::Table;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The largest frame of a default connection, in octets.
const FRAME: usize = 128 << 10;

/// Octets that may be allocated for each of a frame, all that is freed meanwhile included.
const FACTOR: usize = 4;

/// Octets that may be allocated beside: the explanation of a refusal, the levels of a table, small first buffers.
const BESIDE: usize = 512 << 10;

fn allocated(run: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    run();
    region.change().bytes_allocated
}

fn length(octets: usize) -> [u8; 4] {
    u32::try_from(octets).expect("a length of four octets").to_be_bytes()
}

/// `queue.declare` with this content of its table.
fn declare(content: &[u8]) -> Vec<u8> {
    let len = length(content.len());
    [&[0, 50, 0, 10, 0, 0, 1, b'q', 0][..], &len, content].concat()
}

/// Tables as large as a frame that cost as much as can be, each by name.
fn worst_tables() -> Vec<(&'static str, Vec<u8>)> {
    let array = |item: &[u8]| {
        let items = item.repeat((FRAME - 64) / item.len());
        [&[0, b'A'][..], &length(items.len()), &items].concat()
    };
    let nested = |tag: u8, key: &[u8]| {
        let step = key.len() + 5;
        let levels = (FRAME - 64) / step;
        let level = |inner: usize| [key, &[tag], &length(inner * step)].concat();
        (0..levels).rev().flat_map(level).collect::<Vec<u8>>()
    };
    vec![
        ("voids", array(b"V")),
        ("truths", array(b"t\x01")),
        ("empty strings", array(b"S\0\0\0\0")),
        ("empty tables", array(b"F\0\0\0\0")),
        ("empty arrays", array(b"A\0\0\0\0")),
        ("empty keys", b"\0V".repeat(FRAME / 2 - 64)),
        ("one key", b"\x01kV".repeat(FRAME / 3 - 64)),
        ("tables in tables", nested(b'F', &[0])),
        ("arrays in arrays", [&[0][..], &nested(b'A', &[])].concat()),
        ("one long string", [&b"\0S\0\x01\0\0"[..], &[b'x'; 1 << 16]].concat()),
    ]
}

/// The walk from node to node takes each at most once a word, so that many `#` cost no more than few.
fn topics() {
    let patterns = ["#.a.#.a.#.a.#.a.#", "#.#.#.#.#.#.#.#", "*.#.*.#.*.#.*.#", "a.#.a.#.a.#.a.#.b"];
    let bound: Vec<Bind> = (0..1_000)
        .map(|n| Bind { key: format!("{}.x{}", patterns[n % 4], n / 4), arguments: Table::new(), removed: false })
        .collect();
    // The longest routing key there is. A walk that tries each `#` at each word would not come back from it.
    let key = ["a"; 127].join(".");
    let found = matched("topic", &bound, key.as_bytes(), None);
    assert_eq!(found, Some(Vec::new()));
    let all: Vec<Bind> = patterns.map(|key| Bind { key: key.into(), arguments: Table::new(), removed: false }).into();
    let found = matched("topic", &all, key.as_bytes(), None);
    assert_eq!(found, Some(vec![0, 1, 2]));
}

#[test]
fn the_worst_input_costs_what_it_may() {
    for (name, content) in worst_tables() {
        let frame = declare(&content);
        let most = FACTOR * frame.len() + BESIDE;
        let taken = allocated(|| drop(method::decode(&frame)));
        println!("{name}: {taken} octets for a method of {}", frame.len());
        assert!(taken <= most, "{name}: {taken} octets for a method of {}", frame.len());

        // As headers of a message they stay as they came.
        let len = length(content.len());
        let header = [&[0x20, 0][..], &len, &content].concat();
        let taken = allocated(|| _ = Properties::parse(&header));
        assert!(taken <= BESIDE / 64, "{name}: {taken} octets for headers of {}", header.len());
    }
    let taken = allocated(|| drop(method::decode(&declare(&b"\x01kV".repeat(4_000)))));
    assert!(taken > 10_000, "the allocator counts: {taken}");
    topics();
}
