//! Pins that a large message in many queues is in memory once: through a real connection, session and routing, and again
//! when a broker has read it back from disk.
//!
//! The counting allocator comes from a crate because this one allows `unsafe` in a single file of the store. One test
//! only: another one would allocate beside it. The client is in the same process, and what it takes is counted, too.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

#[allow(dead_code, reason = "shared with other tests, which use more of it")]
#[path = "support/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
#[path = "support/server.rs"]
mod server;

use std::alloc::System;

use lapin::options::BasicGetOptions;
use lapin::{BasicProperties, ExchangeKind};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use client::{Client, none, persistent, plain};
use server::{Broker, in_time};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;

/// Queues of the message that is kept in memory alone.
const MANY: usize = 1_000;

/// Queues of the message that is read back.
const SOME: usize = 100;

/// Octets that may be allocated on the way of one message of 1 MiB, in all: client, socket buffers and record, and what
/// a push to each queue takes.
const ALLOCATED: usize = 16 * MIB;

/// Octets that may stay: the record, and a kilobyte a queue.
const HELD: usize = 2 * MIB;

async fn publish(client: &Client, exchange: &str, how: BasicProperties) {
    assert!(client.publish(exchange, "", &"x".repeat(MIB), how).await.is_ack());
}

async fn fan(client: &Client, exchange: &str, queues: usize, durable: bool) {
    client.exchange(exchange, ExchangeKind::Fanout, none()).await;
    for n in 0..queues {
        let queue = format!("{exchange} {n}");
        if durable {
            client.durable(&queue, none()).await;
        } else {
            client.queue(&queue, none()).await;
        }
        client.bind(&queue, exchange, "", none()).await;
    }
}

/// Octets allocated on the way of a transient message, and how many of them stay.
async fn transient(broker: &Broker) -> (usize, usize) {
    let client = broker.client().await;
    fan(&client, "many", MANY, false).await;
    publish(&client, "many", plain()).await;
    let region = Region::new(ALLOCATOR);
    publish(&client, "many", plain()).await;
    let change = region.change();
    client.close().await;
    (change.bytes_allocated, change.bytes_allocated.saturating_sub(change.bytes_deallocated))
}

/// Octets held for a message that was read back from every queue and not acknowledged.
async fn read_back(directory: &std::path::Path) -> usize {
    let broker = Broker::in_directory(directory);
    let client = broker.client().await;
    fan(&client, "some", SOME, true).await;
    publish(&client, "some", persistent()).await;
    client.close().await;
    broker.stop().await;

    let broker = Broker::in_directory(directory);
    let client = broker.client().await;
    let region = Region::new(ALLOCATOR);
    for n in 0..SOME {
        let queue = format!("some {n}");
        let got = client.channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.unwrap();
        // Dropped at once: what stays is what the broker holds for the acknowledgement that does not come.
        assert_eq!(got.unwrap().delivery.data.len(), MIB);
    }
    let change = region.change();
    client.close().await;
    broker.stop().await;
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}

#[test]
fn a_large_message_in_many_queues_is_in_memory_once() {
    in_time(async {
        let broker = Broker::in_memory();
        let (allocated, held) = transient(&broker).await;
        broker.stop().await;
        println!("1 MiB to {MANY} queues: {allocated} octets allocated, {held} held");
        assert!(allocated < ALLOCATED, "{allocated} octets");
        assert!((MIB..HELD).contains(&held), "{held} octets");
        let directory = tempfile::tempdir().unwrap();
        let held = read_back(directory.path()).await;
        println!("1 MiB read back by {SOME} queues: {held} held");
        assert!(held < SOME / 4 * MIB, "{held} octets");
    });
}
