//! Metrics that RabbitMQ lacks: ages, times in queue and to acknowledgement, what was lost and why, commits, memory.
//!
//! Their names begin with `leveret_`.

use super::objects::{QueueView, Views, process};
use super::text::{Kind, Page, seconds};
use crate::broker::Broker;
use crate::broker::stats::Event;
use crate::clock::Millis;
use crate::message::ledger;
use crate::queue::CAUSES;

/// Causes of death, in the order in which they are counted.
const CAUSE: [&str; CAUSES] = ["rejected", "expired", "maxlen", "delivery_limit"];

fn age(now: Millis, since: Millis) -> f64 {
    seconds(now.saturating_sub(since), 1_000.0)
}

fn oldest_ready(queue: &QueueView) -> Option<Millis> {
    queue.figures.oldest
}

/// The same for everything together.
pub(super) fn summed(page: &mut Page, broker: &Broker, views: &Views) {
    let now = broker.clock.now();
    page.begin_with("leveret_");
    let name = "queue_oldest_ready_message_age_seconds";
    page.family(name, Kind::Gauge, "Age of the oldest ready message of all queues; 0 if there is none");
    page.float(name, &[], views.queues.iter().filter_map(oldest_ready).min().map_or(0.0, |since| age(now, since)));
    let name = "channel_oldest_unacked_age_seconds";
    page.family(name, Kind::Gauge, "Time since the oldest unacknowledged delivery; 0 if there is none");
    let unacked = views.channels.iter().map(|channel| channel.oldest.0).filter(|since| *since > 0);
    page.float(name, &[], unacked.min().map_or(0.0, |since| age(now, since)));
    let mut in_queue = views.gone.times.clone();
    views.queues.iter().for_each(|queue| in_queue.add(&queue.times));
    page.family("message_time_in_queue_seconds", Kind::Histogram, "How long messages were ready before they went out");
    page.seconds("message_time_in_queue_seconds", &[], &in_queue, 1_000.0);
    page.family("message_time_to_ack_seconds", Kind::Histogram, "How long deliveries waited for their acknowledgement");
    page.seconds("message_time_to_ack_seconds", &[], &views.sums.times_to_ack, 1_000.0);
    page.one(
        "messages_redelivered_total",
        Kind::Counter,
        "Messages handed out not for the first time",
        views.sums.event(Event::Redeliver),
    );
    let name = "messages_dead_lettered_total";
    page.family(name, Kind::Counter, "Messages that died, dead-lettered or not");
    let both = [broker.stats.deaths(false), broker.stats.deaths(true)];
    for (place, cause) in CAUSE.into_iter().enumerate() {
        let of = both.iter().flatten().filter_map(|causes| causes.get(place)).sum();
        page.sample(name, &[("cause", cause)], of);
    }
    let name = "messages_unroutable_total";
    page.family(name, Kind::Counter, "Messages for which there was no queue");
    for (cause, value) in [
        ("dropped", views.sums.event(Event::DropUnroutable)),
        ("returned", views.sums.event(Event::ReturnUnroutable)),
        ("dead_letter", broker.stats.letters_unroutable.get()),
    ] {
        page.sample(name, &[("cause", cause)], value);
    }
    let commits = &broker.stats.commits;
    page.family("commit_size_bytes", Kind::Histogram, "Octets of messages a commit");
    page.histogram("commit_size_bytes", &[], &commits.sizes.spread());
    page.family("commit_duration_seconds", Kind::Histogram, "Time until a commit was on disk");
    page.seconds("commit_duration_seconds", &[], &commits.times.spread(), 1_000_000.0);
    memory(page, broker);
    page.begin_with(super::PREFIX);
}

/// What memory is held for.
pub(super) fn memory(page: &mut Page, broker: &Broker) {
    page.family(
        "memory_bytes",
        Kind::Gauge,
        "Octets of memory held for messages, for deliveries on their way, for the disk",
    );
    for (used_for, octets) in ledger_rows(broker) {
        page.sample("memory_bytes", &[("use", used_for)], octets);
    }
}

/// The memory ledger.
pub(super) fn ledger_rows(broker: &Broker) -> [(&'static str, u64); 3] {
    [
        ("messages", ledger::resident() as u64),
        ("deliveries", broker.deliveries.held() as u64),
        ("journals", broker.intake.bytes() as u64),
    ]
}

/// One by one.
pub(super) fn listed(page: &mut Page, broker: &Broker, views: &Views) {
    let now = broker.clock.now();
    page.begin_with("leveret_");
    let name = "queue_oldest_ready_message_age_seconds";
    page.family(name, Kind::Gauge, "Age of the oldest ready message");
    for queue in &views.queues {
        if let Some(since) = oldest_ready(queue) {
            page.float(name, &[("vhost", &queue.vhost), ("queue", &queue.name)], age(now, since));
        }
    }
    let name = "channel_oldest_unacked_age_seconds";
    page.family(name, Kind::Gauge, "Time since the oldest unacknowledged delivery");
    for channel in views.channels.iter().filter(|channel| channel.oldest.0 > 0) {
        page.float(name, &[("channel", &process(channel.id()))], age(now, channel.oldest.0));
    }
    let name = "queue_oldest_unacked_age_seconds";
    page.family(name, Kind::Gauge, "Time since the oldest unacknowledged delivery, where it is its channel's oldest");
    for queue in &views.queues {
        let of_queue = views.channels.iter().filter(|channel| channel.oldest.0 > 0 && channel.oldest.1 == queue.id);
        if let Some(since) = of_queue.map(|channel| channel.oldest.0).min() {
            page.float(name, &[("vhost", &queue.vhost), ("queue", &queue.name)], age(now, since));
        }
    }
    let name = "queue_messages_dead_lettered_total";
    page.family(name, Kind::Counter, "Messages that died, dead-lettered or not");
    for queue in &views.queues {
        for (cause, value) in CAUSE.into_iter().zip(queue.figures.tally.dead) {
            if value > 0 {
                page.sample(name, &[("vhost", &queue.vhost), ("queue", &queue.name), ("cause", cause)], value);
            }
        }
    }
    let name = "queue_message_time_in_queue_seconds";
    page.family(name, Kind::Histogram, "How long messages were ready before they went out");
    for queue in views.queues.iter().filter(|queue| queue.times.count() > 0) {
        page.seconds(name, &[("vhost", &queue.vhost), ("queue", &queue.name)], &queue.times, 1_000.0);
    }
    page.begin_with(super::PREFIX);
}
