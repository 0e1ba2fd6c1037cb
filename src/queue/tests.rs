//! The queue's state machine by example. The model test in `tests/model` covers what nobody thought of; here stands what
//! somebody did.

use std::sync::Arc;

use super::{
    Cause, ChannelCredit, Consumer, Definition, Drained, Effects, Intake, Lease, Options, Outbox, Queue, State,
    Subscription,
};
use crate::clock::{Millis, NEVER};
use crate::message::{Draft, Facts, Message, address};
use crate::store::{Page, QueueId, RecoveredLane, RecoveredQueue, Stored};
use crate::sync::Bell;
use crate::wire::table::Table;

const NOW: Millis = 1_000;

fn message(body: &[u8], facts: Facts) -> Message {
    let mut draft = Draft::new(&address(b"", b"q").unwrap(), &[0, 0], body.len() as u64, facts);
    assert!(draft.try_extend(body));
    draft.finish().unwrap()
}

fn with_priority(body: &[u8], priority: u8) -> Message {
    message(body, Facts { priority, ..Facts::default() })
}

fn state(options: Options) -> State {
    State::new(Arc::new(options), true, false, NOW)
}

fn push(state: &mut State, messages: Vec<Message>, fx: &mut Effects) {
    assert!(state.push(messages.into_iter(), NOW, &mut Vec::new(), fx));
}

/// A consumer with its session's outbox.
fn subscriber(prefetch: u16) -> (Arc<Consumer>, Arc<Outbox>) {
    let outbox = Arc::new(Outbox::new(1 << 20));
    let subscription = Subscription {
        id: 1,
        tag: Box::from(&b"c"[..]),
        channel: 1,
        no_ack: false,
        exclusive: false,
        priority: 0,
        prefetch,
        ..Subscription::default()
    };
    (subscription.connect(outbox.clone(), None, Some(Arc::new(ChannelCredit::default()))), outbox)
}

fn bodies(outbox: &Outbox) -> Vec<Vec<u8>> {
    let mut drained = Drained::default();
    outbox.drain(&mut drained);
    drained.entries.iter().map(|entry| entry.message.body().to_vec()).collect()
}

/// A queue with `count` messages on disk that expired long ago.
fn recovered_expired(count: u64) -> State {
    let mut state = state(Options::default());
    let lane = RecoveredLane { lane: 0, count, bytes: count, first: 1, last: count, head_expiry: 5 };
    let kept = RecoveredQueue { lanes: vec![lane], next_seq: count + 1, ..RecoveredQueue::default() };
    state.recover(&kept, true);
    state
}

#[test]
fn a_free_consumer_gets_the_first_of_a_burst_not_the_highest() {
    let (mut state, mut fx) = (state(Options { max_priority: 9, ..Options::default() }), Effects::default());
    let (consumer, outbox) = subscriber(1);
    state.subscribe(consumer, NOW, &mut fx);
    push(&mut state, vec![with_priority(b"low", 1), with_priority(b"high", 9)], &mut fx);
    assert_eq!(bodies(&outbox), [b"low"], "it was free when the first came");
}

#[test]
fn a_burst_into_a_limited_priority_queue_drops_what_one_by_one_would_drop() {
    let options = Options { max_priority: 1, max_length_bytes: Some(10), ..Options::default() };
    let (mut state, mut fx) = (state(options), Effects::default());
    let burst = vec![with_priority(&[b'a'; 4], 0), with_priority(&[b'b'; 7], 0), with_priority(&[b'c'; 3], 1)];
    push(&mut state, burst, &mut fx);
    assert_eq!((state.ready(), state.ready_bytes()), (2, 10), "only the first had to make room");
}

#[test]
fn a_message_with_no_time_to_live_meets_the_queue_its_predecessors_left() {
    let options = Options { max_length: Some(1), dead_letter_exchange: Some("dlx".into()), ..Options::default() };
    let (mut state, mut fx) = (state(options), Effects::default());
    let fleeting = |body: &[u8]| message(body, Facts { expiration: 0, ..Facts::default() });
    push(&mut state, vec![message(b"a", Facts::default()), fleeting(b"b"), fleeting(b"c")], &mut fx);
    let deaths: Vec<_> = fx.dead.iter().map(|d| (d.entry.message.body().to_vec(), d.reason.as_str())).collect();
    let expected = [(&b"a"[..], "maxlen"), (b"b", "expired"), (b"c", "expired")];
    assert_eq!(deaths, expected.map(|(body, reason)| (body.to_vec(), reason)));
}

#[test]
fn a_load_under_way_does_not_keep_the_janitor_busy() {
    let (mut state, mut fx) = (recovered_expired(3), Effects::default());
    state.touch(NOW, &mut fx);
    assert!(fx.deadline <= NOW);
    fx.deadline = NEVER;
    state.tick(NOW, &mut fx);
    assert!(fx.load.is_some());
    assert_eq!(fx.deadline, NEVER, "nothing can be done before the load has come");
}

#[test]
fn a_backlog_longer_than_one_page_expires_to_its_end() {
    let (mut state, mut fx) = (recovered_expired(3), Effects::default());
    state.tick(NOW, &mut fx);
    for seq in 1..=3 {
        let load = fx.load.take().expect("the next page is asked for");
        assert_eq!(load.from, seq);
        let messages = vec![Stored { seq, expires_at: 5, message: message(b"x", Facts::default()) }];
        let next = (seq < 3).then_some(seq + 1);
        state.loaded(load, Page { messages, next, damaged: 0 }, Page::default(), NOW, &mut fx);
        // As the janitor does, if it was told to look.
        if fx.deadline <= NOW {
            state.tick(NOW, &mut fx);
        }
    }
    assert_eq!((state.ready(), fx.load.take()), (0, None));
}

#[test]
fn a_returned_message_without_time_left_expires_although_a_consumer_waits() {
    let options = Options { message_ttl: Some(0), ..Options::default() };
    let (mut state, mut fx) = (state(options), Effects::default());
    let (consumer, outbox) = subscriber(1);
    state.subscribe(consumer.clone(), NOW, &mut fx);
    push(&mut state, vec![message(b"now or never", Facts::default())], &mut fx);
    let mut drained = Drained::default();
    outbox.drain(&mut drained);
    let mut leases: Vec<_> = drained.entries.drain(..).map(|entry| Lease::new(consumer.clone(), entry)).collect();
    assert_eq!(leases.len(), 1, "the consumer was free");
    state.requeue(&mut leases, Cause::Nack, NOW, &mut fx);
    assert_eq!((bodies(&outbox).len(), state.ready()), (0, 0));
}

#[test]
fn publishers_outrun_consumers_that_are_not_served_fast_enough() {
    let (mut state, mut fx) = (state(Options::default()), Effects::default());
    let (consumer, outbox) = subscriber(0);
    state.subscribe(consumer, NOW, &mut fx);
    let burst = || vec![message(b"x", Facts::default()); 20_000];
    push(&mut state, burst(), &mut fx);
    assert!(state.outrun(false), "its outbox is full, and many wait behind it");
    let mut drained = Drained::default();
    while state.outrun(true) {
        outbox.drain(&mut drained);
        drained.items.clear();
        drained.entries.clear();
        for consumer in drained.starved.drain(..) {
            state.resume(&consumer, NOW, &mut fx);
        }
    }
    assert!(state.ready() < 8_192 / 2, "{} still wait", state.ready());
    assert!(!state.outrun(false));
}

#[test]
fn publishers_do_not_outrun_consumers_that_have_used_up_their_prefetch() {
    let (mut state, mut fx) = (state(Options::default()), Effects::default());
    push(&mut state, vec![message(b"x", Facts::default()); 20_000], &mut fx);
    assert!(!state.outrun(false), "there is no consumer");
    let (consumer, _outbox) = subscriber(10);
    state.subscribe(consumer, NOW, &mut fx);
    assert_eq!((state.ready(), state.outrun(false)), (19_990, false), "a spike is what a queue is for");
}

#[test]
fn publishers_outrun_consumers_that_wait_for_the_disk() {
    let (mut state, mut fx) = (recovered_expired(10_000), Effects::default());
    let (consumer, _outbox) = subscriber(0);
    state.subscribe(consumer.clone(), NOW, &mut fx);
    assert!(state.outrun(false));
    state.unsubscribe(&consumer, NOW, &mut fx);
    assert!(!state.outrun(false), "nobody waits any more");
    let (consumer, _outbox) = subscriber(10);
    state.subscribe(consumer, NOW, &mut fx);
    assert!(!state.outrun(false), "who has a prefetch limit says by acknowledging how much is wanted");
}

#[test]
fn publishers_that_wait_again_and_again_are_remembered_once() {
    let definition = Definition {
        id: QueueId(1),
        name: "q".into(),
        vhost: "/".into(),
        durable: false,
        auto_delete: false,
        exclusive_to: None,
        arguments: Table::default(),
        options: Arc::new(Options::default()),
    };
    let queue = Queue::new(definition, Arc::new(Intake::default()), NOW, None);
    let (consumer, _outbox) = subscriber(0);
    let mut fx = Effects::default();
    queue.subscribe(consumer, NOW, &mut fx);
    queue.push(vec![message(b"x", Facts::default()); 20_000].into_iter(), false, NOW, &mut Vec::new(), &mut fx);
    assert!(queue.is_outrun());
    let (stays, goes) = (Arc::new(Bell::new()), Arc::new(Bell::new()));
    queue.ring_when_caught_up(&goes);
    drop(goes);
    for _ in 0..3 {
        queue.ring_when_caught_up(&stays);
    }
    assert_eq!(queue.held_back(), 1, "neither the one that is gone, nor the other three times");
    queue.purge(&mut fx);
    assert_eq!((queue.is_outrun(), queue.held_back()), (false, 0));
}
