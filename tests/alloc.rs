//! Pins what a transient message costs in allocations on its way from draft through push and pump to the outbox drain:
//! a regression here is a test failure, not a line in a benchmark.
//!
//! The counting allocator comes from a crate because this one allows `unsafe` in a single file of the store. One test
//! only: another one would allocate beside it.

use std::alloc::System;
use std::sync::Arc;

use leveret::message::{Draft, Facts, address};
use leveret::queue::{ChannelCredit, Drained, Effects, Lease, Options, Outbox, State, Subscription};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Messages in one read of a publisher.
const BURST: usize = 64;

/// Reads measured.
const ROUNDS: usize = 500;

/// Allocations a message may cost: its record and the reference count around it.
const PER_MESSAGE: usize = 2;

/// Allocations that all rounds together may cost beside, for buffers that still grow.
const AMORTISED: usize = 16;

#[test]
fn a_transient_message_costs_two_allocations() {
    let outbox = Arc::new(Outbox::new(1 << 20));
    let subscription = Subscription {
        id: 1,
        tag: Box::from(&b"c"[..]),
        channel: 1,
        no_ack: false,
        exclusive: false,
        priority: 0,
        prefetch: 0,
        timeout: None,
    };
    let consumer = subscription.connect(outbox.clone(), None, Some(Arc::new(ChannelCredit::default())));
    let mut state = State::new(Arc::new(Options::default()), true, false, 0);
    let (mut fx, mut refused, mut drained) = (Effects::default(), Vec::new(), Drained::default());
    let mut leases: Vec<Lease> = Vec::new();
    state.subscribe(consumer.clone(), 0, &mut fx);
    let address = address(b"exchange", b"routing.key").unwrap();
    let body = [b'b'; 128];
    let mut round = |rounds: usize| {
        let region = Region::new(ALLOCATOR);
        for _ in 0..rounds {
            let messages = (0..BURST).map(|_| {
                let mut draft = Draft::new(&address, &[0x10, 0, 1], body.len() as u64, Facts::default());
                assert!(draft.try_extend(&body));
                draft.finish().unwrap()
            });
            assert!(state.push(messages, 1, &mut refused, &mut fx));
            fx.ring();
            outbox.drain(&mut drained);
            assert_eq!(drained.entries.len(), BURST);
            drained.items.clear();
            leases.extend(drained.entries.drain(..).map(|entry| Lease::new(consumer.clone(), entry)));
            state.settle(&mut leases, 1, &mut fx);
            leases.clear();
        }
        region.change()
    };
    round(8);
    let change = round(ROUNDS);
    let (messages, taken) = (ROUNDS * BURST, change.allocations + change.reallocations);
    println!("{taken} allocations for {messages} messages");
    assert!(taken <= PER_MESSAGE * messages + AMORTISED, "{taken} allocations for {messages} messages");
    assert!(taken >= messages, "the allocator counts");
}
