//! Backup, restore and compaction by the real command: beside a running broker, refused where they would destroy
//! something, and interrupted at every moment.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use lapin::options::BasicGetOptions;
use lapin::options::QueuePurgeOptions;

use crate::client::{none, persistent};
use crate::disk::{Disk, Luck};
use crate::in_time;
use crate::process::{Process, command, plain};
use crate::script::{Book, Notes, work};
use crate::settings::Random;
use crate::shim::{now, read_log, scratch, watched};
use crate::store::{findings, reopen};

async fn run(arguments: &[&str], data_dir: &Path) -> (Option<i32>, String) {
    said(&plain().args(arguments).arg("--data-dir").arg(data_dir).output().await.unwrap())
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A store with messages, whose broker was killed, and what is known of it.
async fn store(directory: &Path) -> Notes {
    let book = Book::default();
    let broker = Process::start(directory).await;
    work(broker.address(), book.clone(), 7, 1, 60).await.expect("the broker works");
    broker.kill().await;
    book.lock().clone()
}

#[test]
fn a_backup_beside_a_running_broker_is_one_moment_of_it_and_can_be_restored() {
    in_time(Duration::from_secs(120), async {
        let (directory, elsewhere) = (scratch(), scratch());
        let book = Book::default();
        let broker = Process::start(directory.path()).await;
        work(broker.address(), book.clone(), 1, 1, 40).await.expect("the broker works");
        for n in 0..3 {
            let target = elsewhere.path().join(format!("backup-{n}"));
            let mut backup = plain();
            backup.arg("backup").arg(&target).arg("--data-dir").arg(directory.path());
            let since = now();
            let (worked, done) =
                tokio::join!(work(broker.address(), book.clone(), n, (n + 1) * 1_000_000, 60), backup.output());
            worked.expect("the broker goes on");
            let (until, done) = (now(), said(&done.unwrap()));
            assert_eq!(done.0, Some(0), "{}", done.1);
            assert!(done.1.contains("nothing is wrong"), "{}", done.1);
            let names: Vec<_> = std::fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["data.mdb"], "nothing else is needed");
            let notes = book.lock().clone();
            let restored = elsewhere.path().join(format!("restored-{n}"));
            let done = run(&["restore", text(&target)], &restored).await;
            assert_eq!(done.0, Some(0), "{}", done.1);
            findings(&restored).unwrap();
            notes.audit_between(since, until, &reopen(&restored).unwrap()).unwrap();
        }
        let check = run(&["check"], directory.path()).await;
        assert_eq!(check.0, Some(0), "{}", check.1);
        assert!(check.1.contains("a broker runs on it"), "{}", check.1);
        for arguments in [&["compact"][..], &["restore", text(&elsewhere.path().join("backup-0")), "--force"][..]] {
            let refused = run(arguments, directory.path()).await;
            assert_eq!(refused.0, Some(1), "{}", refused.1);
            assert!(refused.1.contains("in use"), "{}", refused.1);
        }
        broker.kill().await;
    });
}

#[test]
fn a_restored_store_is_served_as_after_a_crash() {
    in_time(Duration::from_secs(60), async {
        let (directory, elsewhere) = (scratch(), scratch());
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        client.durable("q", none()).await;
        client.put_as("q", "kept", persistent()).await;
        broker.terminate();
        assert!(broker.ended().await.0.success());
        let backup = elsewhere.path().join("backup");
        assert_eq!(run(&["backup", text(&backup)], directory.path()).await.0, Some(0));
        let again = run(&["backup", text(&backup)], directory.path()).await;
        assert_eq!(again.0, Some(1), "a backup is not overwritten");
        assert!(again.1.contains("not empty"), "{}", again.1);
        let taken = run(&["restore", text(&backup)], directory.path()).await;
        assert_eq!(taken.0, Some(1), "a store is not overwritten");
        assert!(taken.1.contains("--force"), "{}", taken.1);
        let nothing = run(&["restore", text(elsewhere.path())], directory.path()).await;
        assert_eq!(nothing.0, Some(1));
        assert!(nothing.1.contains("there is no store"), "{}", nothing.1);

        // The store goes on, and is then replaced by what it was.
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        client.put_as("q", "later", persistent()).await;
        broker.kill().await;
        let done = run(&["restore", text(&backup), "--force"], directory.path()).await;
        assert_eq!(done.0, Some(0), "{}", done.1);
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        let kept = client.channel.basic_get("q".into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
        assert_eq!((&kept.delivery.data[..], kept.delivery.redelivered), (&b"kept"[..], true));
        assert!(client.get("q").await.is_none());
        broker.kill().await;
        let aside = elsewhere.path().join("aside");
        std::fs::create_dir(&aside).unwrap();
        for name in ["data.mdb", "redo"] {
            let kept = directory.path().join(format!("{name}.before-restore-1"));
            assert!(kept.exists() || name == "redo", "{}", done.1);
            if kept.exists() {
                std::fs::rename(kept, aside.join(name)).unwrap();
            }
        }
        let broker = Process::start(&aside).await;
        assert_eq!(broker.client().await.ready("q").await, 2, "what was set aside is whole");
        broker.kill().await;
    });
}

#[test]
fn compacting_gives_space_back_and_changes_nothing_else() {
    in_time(Duration::from_secs(60), async {
        let directory = scratch();
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        client.durable("q", none()).await;
        client.durable("gone", none()).await;
        for n in 0..50 {
            client.put_as("gone", &"x".repeat(100_000), persistent()).await;
            client.put_as("q", &n.to_string(), persistent()).await;
        }
        client.channel.queue_purge("gone".into(), QueuePurgeOptions::default()).await.unwrap();
        broker.terminate();
        assert!(broker.ended().await.0.success());
        let file = directory.path().join("data.mdb");
        let before = file.metadata().unwrap().len();
        let done = run(&["compact"], directory.path()).await;
        assert_eq!(done.0, Some(0), "{}", done.1);
        let after = file.metadata().unwrap().len();
        assert!(before > 5_000_000 && after < 200_000, "{before} and {after} octets; {}", done.1);
        let broker = Process::start(directory.path()).await;
        let client = broker.client().await;
        for n in 0..50 {
            let kept = client.channel.basic_get("q".into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
            assert_eq!((kept.delivery.data, kept.delivery.redelivered), (n.to_string().into_bytes(), false));
        }
        for _ in 0..50 {
            client.put_as("gone", &"x".repeat(100_000), persistent()).await;
        }
        client.channel.queue_purge("gone".into(), QueuePurgeOptions::default()).await.unwrap();
        broker.kill().await;
        let mut compacting = command(directory.path());
        compacting.arg("--compact");
        let broker = Process::run(compacting).await;
        assert!(file.metadata().unwrap().len() < 200_000, "at a start too");
        assert_eq!(broker.client().await.counts("gone").await.0, 0);
        broker.kill().await;
    });
}

/// Runs a command on a copy of a store: with power cuts at every call, and with every call failing. `is_whole` judges
/// what is left. Says how much was tried.
async fn interrupt(origin: &Path, arguments: &[&str], is_whole: impl Fn(&Path) -> Result<(), String>) -> String {
    let fresh = || {
        let directory = scratch();
        // The ballast and the spill are made anew by whoever needs them.
        let is_kept = |name: std::ffi::OsString| name == "data.mdb" || name == "redo";
        for entry in std::fs::read_dir(origin).unwrap().map(Result::unwrap).filter(|e| is_kept(e.file_name())) {
            std::fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
        }
        directory
    };
    let (directory, outside) = (fresh(), scratch());
    let log = outside.path().join("log");
    let on = |directory: &Path| {
        let mut command = plain();
        command.args(arguments).arg("--data-dir").arg(directory);
        command
    };
    let mut disk = Disk::of(directory.path());
    let done = said(&watched(on(directory.path()), directory.path(), &log, None).output().await.unwrap());
    assert_eq!(done.0, Some(0), "{}", done.1);
    let events = read_log(&log);
    assert!(events.len() > 10, "{events:?}");
    let mut random = Random::new(1);
    for (number, event) in events.iter().enumerate() {
        for luck in [Luck::Nothing, Luck::Everything, Luck::Writes, Luck::Sectors] {
            let image = scratch();
            disk.cut(event, luck, &mut random, image.path());
            let verdict = is_whole(image.path());
            assert_eq!(verdict, Ok(()), "power cut at call {number}, {:.60?}, {luck:?}", event.act);
        }
        disk.apply(event);
    }
    // There may be more calls than records: files that are only read.
    let (mut failures, mut number) = (0, 0);
    loop {
        number += 1;
        let (directory, outside) = (fresh(), scratch());
        let (log, kind) = (outside.path().join("log"), ["eio", "enospc", "short"][number % 3]);
        let command = watched(on(directory.path()), directory.path(), &log, Some((number as u64, kind)));
        let (mut command, was_hit) = (command, || std::fs::metadata(&log).is_ok());
        let done = said(&command.output().await.unwrap());
        let hit = was_hit() && read_log(&log).iter().any(|e| matches!(e.act, crate::shim::Act::Failed { .. }));
        assert!(matches!(done.0, Some(0 | 1)), "call {number} fails with {kind}: {done:?}");
        assert_eq!(is_whole(directory.path()), Ok(()), "call {number} fails with {kind}: {}", done.1);
        if !hit {
            break;
        }
        failures += 1;
    }
    format!("{}: {} calls cut, {failures} failed", arguments[0], events.len())
}

#[test]
fn compacting_may_be_interrupted_at_any_moment() {
    in_time(Duration::from_secs(300), async {
        let origin = scratch();
        let notes = store(origin.path()).await;
        let tried = interrupt(origin.path(), &["compact"], |left| {
            findings(left)?;
            notes.audit(u64::MAX, &reopen(left)?)
        })
        .await;
        println!("{tried}");
    });
}

#[test]
fn restoring_may_be_interrupted_at_any_moment() {
    in_time(Duration::from_secs(300), async {
        let (origin, other, outside) = (scratch(), scratch(), scratch());
        let old = store(origin.path()).await;
        let book = Book::default();
        let broker = Process::start(other.path()).await;
        work(broker.address(), book.clone(), 8, 500_000, 60).await.expect("the broker works");
        broker.kill().await;
        let backup = outside.path().join("backup");
        assert_eq!(run(&["backup", text(&backup)], other.path()).await.0, Some(0));
        let new = book.lock().clone();
        let tried = interrupt(origin.path(), &["restore", text(&backup), "--force"], |left| {
            findings(left)?;
            let found = reopen(left)?;
            new.audit(u64::MAX, &found).or_else(|_| old.audit(u64::MAX, &found))
        })
        .await;
        println!("{tried}");
    });
}
