//! Power cuts: a broker's writes and syncs are recorded, crash images are built from them at random moments, and each
//! must open, keep every rule, and hold what had been promised by then.
//!
//! `LEVERET_POWER_IMAGES` sets how many images are looked at, `LEVERET_CRASH_SEED` repeats a run's choices. Every
//! hundredth image, and the first, is given to the real command instead.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;

use crate::client::none;
use crate::disk::{Disk, Luck, index};
use crate::in_time;
use crate::process::Process;
use crate::script::{Book, Found, Notes, recognise, work};
use crate::settings::{Random, setting};
use crate::shim::{Act, Event, read_log, scratch, shimmed};
use crate::store::{findings, reopen};

/// Images unless `LEVERET_POWER_IMAGES` says otherwise.
const IMAGES: usize = 50;

/// One image in so many is opened by the real command.
const BY_COMMAND: usize = 100;

/// Rounds of work in each run of the broker; a round is a commit or a few.
const ROUNDS: u64 = 120;

/// Two runs of a broker on one directory: the first is stopped in order, the second killed. What it did to its files,
/// and what its client knows.
async fn record(seed: u64) -> (Vec<Event>, Notes) {
    let (directory, outside) = (scratch(), scratch());
    let log = outside.path().join("log");
    let book = Book::default();
    let broker = Process::run(shimmed(directory.path(), &log, None)).await;
    work(broker.address(), book.clone(), seed, 1, ROUNDS).await.expect("the broker works");
    broker.terminate();
    let (status, said) = broker.ended().await;
    assert!(status.success(), "{}", said.join("\n"));
    let broker = Process::run(shimmed(directory.path(), &log, None)).await;
    work(broker.address(), book.clone(), seed + 1, 1_000_000, ROUNDS).await.expect("the broker works");
    broker.kill().await;
    let notes = book.lock().clone();
    (read_log(&log), notes)
}

/// Everything the real command serves from a directory, and its log.
pub(crate) async fn served(directory: &Path, notes: &Notes) -> (Found, Vec<String>) {
    let broker = Process::start(directory).await;
    let client = broker.client().await;
    let mut found = Found::new();
    for name in notes.queues.keys() {
        let channel = client.channel().await;
        let options = QueueDeclareOptions::default().passive();
        if channel.queue_declare(name.as_str().into(), options, none()).await.is_err() {
            continue;
        }
        let queue = found.entry(name.clone()).or_default();
        while let Some(delivery) = client.take(name).await {
            *queue.entry(recognise(&delivery.data).unwrap()).or_default() += 1;
        }
    }
    broker.terminate();
    (found, broker.ended().await.1)
}

/// Looks at an image of the moment `cut`.
fn judge(image: &Path, cut: u64, notes: &Notes) -> Result<(), String> {
    findings(image)?;
    notes.audit(cut, &reopen(image)?)?;
    findings(image).map_err(|what| format!("after it was written to: {what}"))
}

/// Moments to look at, in order.
fn moments(events: &[Event], images: usize, random: &mut Random) -> Vec<usize> {
    let mut at: Vec<usize> = (0..images).map(|_| index(random, events.len())).collect();
    at.sort_unstable();
    at
}

#[test]
fn a_power_cut_at_any_moment_leaves_everything_that_was_promised() {
    let images = setting("LEVERET_POWER_IMAGES").map_or(IMAGES, |n| usize::try_from(n).unwrap());
    let seed = setting("LEVERET_CRASH_SEED").unwrap_or_else(|| getrandom::u64().unwrap() >> 1);
    println!("LEVERET_CRASH_SEED={seed}, {images} images");
    let limit = Duration::from_secs(120 + u64::try_from(images).unwrap());
    in_time(limit, async move {
        let (events, notes) = record(seed).await;
        let syncs = events.iter().filter(|e| e.act == Act::Sync).count();
        println!("{} calls, {syncs} syncs, {} messages", events.len(), notes.messages.len());
        assert!(syncs > 100, "a recording without syncs proves nothing");
        let (mut random, mut disk, mut next) = (Random::new(seed), Disk::default(), 0);
        let (mut promised, mut by_command) = (BTreeSet::new(), 0);
        for (number, at) in moments(&events, images, &mut random).into_iter().enumerate() {
            while next < at {
                disk.apply(&events[next]);
                next += 1;
            }
            let image = scratch();
            let luck = Luck::any(&mut random);
            disk.cut(&events[at], luck, &mut random, image.path());
            let cut = events[at].start;
            let verdict = if number % BY_COMMAND == 0 {
                by_command += 1;
                let (found, _) = served(image.path(), &notes).await;
                notes.audit(cut, &found).and_then(|()| findings(image.path()))
            } else {
                judge(image.path(), cut, &notes)
            };
            if let Err(what) = verdict {
                let kept = image.keep();
                let (path, act) = (&events[at].path, format!("{:.60?}", events[at].act));
                panic!("image {number}, call {at} ({path}: {act}), {luck:?}, kept in {}:\n{what}", kept.display());
            }
            promised.insert(notes.messages.values().filter(|sent| sent.promised.is_some_and(|t| t < cut)).count());
        }
        println!("{images} images, {by_command} by the command, up to {:?} promised messages", promised.last());
        assert!(promised.len() > 5, "images of too few moments");
    });
}

/// A disk that lies: it forgets a write that it said was there. If that is not noticed, neither is anything else.
#[test]
fn a_lost_write_that_was_synced_is_noticed() {
    let seed = setting("LEVERET_CRASH_SEED").unwrap_or_else(|| getrandom::u64().unwrap() >> 1);
    println!("LEVERET_CRASH_SEED={seed}");
    in_time(Duration::from_secs(120), async move {
        let (events, notes) = record(seed).await;
        let is_root = |event: &Event| matches!(&event.act, Act::Write { synced: true, .. });
        let is_page =
            |event: &Event| event.path == "data.mdb" && matches!(&event.act, Act::Write { synced: false, .. });
        let is_record = |event: &Event| event.path == "redo" && matches!(&event.act, Act::Write { .. });
        let numbers = |of: &dyn Fn(&Event) -> bool| -> Vec<usize> {
            events.iter().enumerate().filter(|(_, event)| of(event)).map(|(number, _)| number).collect()
        };
        // The moment at which the log holds the most that the store does not.
        let (mut held, mut most, mut last) = (0, 0, 0);
        for (number, event) in events.iter().enumerate() {
            held = if is_root(event) { 0 } else { held + u32::from(event.path == "redo" && event.act == Act::Sync) };
            (most, last) = if held > most { (held, number) } else { (most, last) };
        }
        assert!(most >= 10, "the log holds {most} records at most");
        let before = |numbers: Vec<usize>, end: usize| -> Vec<usize> {
            numbers.into_iter().filter(|number| *number < end).collect()
        };
        let roots = before(numbers(&is_root), last);
        let last_root = roots[roots.len() - 1];
        let pages = before(numbers(&is_page), last_root);
        let records: Vec<usize> =
            before(numbers(&is_record), last).into_iter().filter(|number| *number > last_root).collect();
        let verdict = |lost: &[usize]| {
            let (mut disk, image, mut random) = (Disk::default(), scratch(), Random::new(seed));
            let kept = events[..=last].iter().enumerate().filter(|(number, _)| !lost.contains(number));
            kept.for_each(|(_, event)| disk.apply(event));
            let end = Event { start: u64::MAX, path: "none".to_owned(), act: Act::Sync };
            disk.cut(&end, Luck::Nothing, &mut random, image.path());
            // The recording ends here, so nothing was promised later.
            judge(image.path(), events[last].start, &notes)
        };
        assert_eq!(verdict(&[]), Ok(()), "nothing is lost");
        assert!(verdict(&roots[roots.len() - 2..]).is_err(), "the last commits of the store are lost");
        let noticed = |of: &[usize]| -> Vec<String> {
            of.iter().rev().take(20).filter_map(|lost| verdict(&[*lost]).err()).collect()
        };
        let told = noticed(&pages);
        println!("of 20 lost writes of pages {} were noticed, as {:.300}", told.len(), told.first().unwrap());
        assert!(told.len() >= 3, "the last pages are all in use");
        let told = noticed(&records);
        let tried = records.len().min(20);
        println!("of {tried} lost records of the log {} were noticed, as {:.300}", told.len(), told.first().unwrap());
        assert!(told.len() >= tried - 1, "each is missed by those behind it");
        assert!(verdict(&records[records.len() / 2..]).is_err(), "the last commits of the log are lost");
    });
}
