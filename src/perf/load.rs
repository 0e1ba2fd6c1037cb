//! One load: opens the connections, lets them run, reads the counts at each interval and at the ends of the window.
//!
//! Invariants: consumers subscribe before publishers begin; the figures of a timed run are those between warm-up and end;
//! the first client that fails ends the run with its error.

use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::PerfError;
use super::connection::{Connection, nanos};
use super::consumer::Consumer;
use super::latency::Percentiles;
use super::meter::{Meter, Outcome, Point, Reading, a_message, seconds};
use super::plan;
use super::plot;
use super::process::Process;
use super::publisher::Publisher;
use super::summary;
use super::tally::{Counts, Event, Run, Tally};
use super::target::Target;
use crate::clock::Clock;
use crate::config::perf::Load;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Warm-up of a timed run, in seconds, unless another is asked for.
const WARMUP: u64 = 1;
/// A run that ends by the publishers' counts ends when consumers have been idle for so long.
const IDLE: Duration = Duration::from_secs(1);
/// How often the main thread looks up between lines.
const LOOK: Duration = Duration::from_millis(50);
/// Notices that may wait to be read.
const NOTICES: usize = 64;

/// News of a run that goes on.
pub(super) enum News<'a> {
    /// An interval is over.
    Point(&'a Point),
    /// Something people may want to know.
    Notice(&'a str),
}

/// `leveret perf load`: runs it, prints what happens and what it came to, and writes the files that were asked for.
pub(super) fn command(load: &Load, interrupted: &AtomicBool, out: &mut dyn Write) -> Result<(), PerfError> {
    let mut unwritten = None;
    let outcome = run(load, interrupted, &mut |news| {
        if !load.whom.quiet {
            unwritten = summary::news(&news, out).err();
        }
    })?;
    unwritten.map_or(Ok(()), Err)?;
    summary::print(load, &outcome, out)?;
    if let Some(file) = &load.svg {
        super::write(file, &plot::svg(&outcome)?)?;
    }
    super::write_json(load.whom.json.as_deref(), &summary::json(load, &outcome))
}

/// Runs a load to its end, or until it is interrupted.
pub(super) fn run(load: &Load, interrupted: &AtomicBool, tell: &mut dyn FnMut(News<'_>)) -> Result<Outcome, PerfError> {
    plan::check(load)?;
    let target = Target::parse(&load.whom.uri)?;
    let (clock, tally) = (Clock::system(), Tally::default());
    let mut meter = Meter::new(&clock, &tally, load.whom.pid.map(Process))?;
    let mut first = Connection::open_with_channel(&target, &clock)?;
    let broker = first.server.clone();
    let queues = plan::declare(load, &mut first)?;
    let mut consumers = Vec::new();
    for index in 0..load.consumers {
        let recorder = meter.end_to_end.recorder(index, load.latency)?;
        consumers.push(Consumer::open(&target, &clock, plan::consuming(load, &queues, index), recorder)?);
    }
    let mut publishers = Vec::new();
    for index in 0..load.producers {
        let recorder = meter.confirm.recorder(index, load.latency && load.confirm.is_some())?;
        publishers.push(Publisher::open(&target, &clock, plan::publishing(load, &queues, index), recorder)?);
    }
    first.close();
    // Everybody's last word fits without waiting, whoever still listens.
    let (events, told) = sync_channel(NOTICES + publishers.len() + consumers.len());
    // Read before anybody moves: what is counted from the beginning is counted whole.
    let start = meter.read()?;
    let (total, window) = std::thread::scope(|scope| {
        let mut going = Going { publishers: publishers.len(), consumers: consumers.len() };
        let clients = Run { clock: &clock, tally: &tally, events };
        // Connecting many takes a while: what would have been due meanwhile is not.
        let begin = clock.nanos();
        for consumer in consumers {
            let run = clients.clone();
            scope.spawn(move || run.events.send(Event::Consumed(consumer.run(&run))));
        }
        for mut publisher in publishers {
            let run = clients.clone();
            publisher.begin(begin);
            scope.spawn(move || run.events.send(Event::Published(publisher.run(&run))));
        }
        drop(clients);
        let watched = watch(load, &mut meter, start, &mut going, &told, interrupted, tell);
        tally.stop();
        watched
    })?;
    let seconds = seconds(window.0.at, window.1.at);
    let counts = window.1.counts.since(window.0.counts);
    let share = (total.published > 0).then(|| total.consumed as f64 / total.published as f64);
    Ok(Outcome {
        broker,
        warmup: window.0.at.saturating_sub(start.at) as f64 / 1e9,
        seconds,
        total,
        window: counts,
        published_rate: counts.published as f64 / seconds,
        consumed_rate: counts.consumed as f64 / seconds,
        consumed_share: share,
        broker_cpu: a_message(window.0.broker_cpu, window.1.broker_cpu, counts),
        broker_memory: meter.points.last().and_then(|point| point.broker_memory),
        own_cpu: a_message(Some(window.0.own_cpu), Some(window.1.own_cpu), counts).unwrap_or_default(),
        end_to_end: Percentiles::of(&meter.end_to_end.window),
        confirm: Percentiles::of(&meter.confirm.window),
        points: meter.points,
    })
}

/// Clients that have not come to an end.
struct Going {
    publishers: usize,
    consumers: usize,
}

/// Waits for the end of a run that begins now; total counts, and the readings at both ends of the window.
fn watch(
    load: &Load,
    meter: &mut Meter<'_>,
    begun: Reading,
    going: &mut Going,
    told: &Receiver<Event>,
    interrupted: &AtomicBool,
    tell: &mut dyn FnMut(News<'_>),
) -> Result<(Counts, (Reading, Reading)), PerfError> {
    let counted = load.pmessages.is_some() || load.cmessages.is_some();
    let warmup = load.warmup.unwrap_or(if counted || load.time.is_none() { 0 } else { WARMUP });
    let (warmup, interval) = (nanos(Duration::from_secs(warmup)), nanos(Duration::from_secs(load.interval)));
    let mut from = (warmup == 0).then_some(begun);
    let end = load.time.map(|time| begun.at + warmup + nanos(Duration::from_secs(time)));
    let (mut last, mut next) = (begun, begun.at + interval);
    let mut busy = begun;
    let mut noticed = String::new();
    loop {
        let now = meter.clock.nanos();
        let next_event = [Some(next), end, from.is_none().then_some(begun.at + warmup)].into_iter().flatten().min();
        let pause = Duration::from_nanos(next_event.unwrap_or(next).saturating_sub(now)).min(LOOK);
        match told.recv_timeout(pause) {
            Ok(Event::Published(done)) => {
                done?;
                going.publishers -= 1;
            }
            Ok(Event::Consumed(done)) => {
                done?;
                going.consumers -= 1;
            }
            // All connections are told the same.
            Ok(Event::Notice(notice)) if notice == noticed => {}
            Ok(Event::Notice(notice)) => {
                tell(News::Notice(&notice));
                noticed = notice;
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        let now = meter.clock.nanos();
        if meter.tally.counts() != busy.counts {
            busy = meter.read()?;
        }
        let idle = going.publishers == 0
            && load.cmessages.is_none()
            && load.producers > 0
            && now.saturating_sub(busy.at) >= nanos(IDLE);
        // With a count of their own, consumers end the run: publishers without one would go on for ever.
        let sated = load.consumers > 0 && going.consumers == 0 && load.pmessages.is_none();
        let done = idle || sated || (going.publishers == 0 && going.consumers == 0);
        let over = done || end.is_some_and(|end| now >= end) || interrupted.load(Ordering::Relaxed);
        if now >= next || over {
            last = meter.point(begun.at, last)?;
            next += interval;
            if let Some(point) = meter.points.last() {
                tell(News::Point(point));
            }
        }
        if from.is_none() && now >= begun.at + warmup {
            from = Some(meter.read()?);
            meter.forget();
        }
        if over {
            // What ends by itself ended when the last message moved. What was interrupted while it warmed up has no
            // other figures.
            return Ok((last.counts, (from.unwrap_or(begun), if done { busy } else { last })));
        }
    }
}
