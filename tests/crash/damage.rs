//! Files that have rotted: bits flipped, pages zeroed or exchanged, the end cut off.
//!
//! `leveret check` and the broker may refuse such a store, in words; they may not crash, hang, serve what nobody sent,
//! or lose messages without saying so. `LEVERET_DAMAGE_ROUNDS` sets how many files are looked at.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::disk::index;
use crate::in_time;
use crate::power::served;
use crate::process::{Process, command, plain};
use crate::script::{Book, Copy, Found, Notes, work};
use crate::settings::{Random, setting};
use crate::shim::scratch;

/// Files unless `LEVERET_DAMAGE_ROUNDS` says otherwise.
const ROUNDS: u64 = 24;

const PAGE: usize = 4096;

/// Longer than a round takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does something to a file. Says what, and which pages it touched.
fn harm(file: &mut Vec<u8>, random: &mut Random) -> (String, Vec<usize>) {
    let pages = file.len() / PAGE;
    let page = index(random, pages);
    let at = page * PAGE;
    match random.below(8) {
        0..4 => {
            let mut flips = Vec::new();
            for _ in 0..=random.below(3) {
                // Half of them among the numbers at the beginning of a page, where they hurt most.
                let within = if random.below(2) == 0 { index(random, 48) } else { index(random, PAGE) };
                let bit = 1u8 << random.below(8);
                file[at + within] ^= bit;
                flips.push(within);
            }
            (format!("page {page}: bits flipped at {flips:?}"), vec![page])
        }
        4 => {
            file[at..at + PAGE].fill(0);
            (format!("page {page}: zeroed"), vec![page])
        }
        5 => {
            let other = index(random, pages);
            let copy = file[other * PAGE..(other + 1) * PAGE].to_vec();
            file[at..at + PAGE].copy_from_slice(&copy);
            (format!("page {page}: overwritten with page {other}"), vec![page])
        }
        6 => {
            (at..at + PAGE).for_each(|at| file[at] = u8::try_from(random.below(256)).unwrap());
            (format!("page {page}: noise"), vec![page])
        }
        _ => {
            let len = index(random, file.len());
            file.truncate(len);
            (format!("cut short to {len} octets"), (len / PAGE..pages).collect())
        }
    }
}

fn copies(found: &Found) -> BTreeSet<Copy> {
    found.iter().flat_map(|(name, queue)| queue.keys().map(|id| (*id, name.clone()))).collect()
}

/// Runs check and the broker on a harmed store. Says how it went, or what is wrong.
async fn judge(
    directory: &Path,
    notes: &Notes,
    owed: &BTreeSet<Copy>,
    unnoticed: bool,
) -> Result<&'static str, String> {
    let mut check = plain();
    let output = check.arg("check").arg("--data-dir").arg(directory).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let clean = match output.status.code() {
        Some(0) => true,
        Some(1 | 66) if !said.is_empty() => false,
        _ => return Err(format!("check: {}, {said}", output.status)),
    };
    match Process::try_run(command(directory)).await {
        Err((status, log)) if status.code() == Some(1) && !log.is_empty() && !clean => return Ok("refused"),
        Err((status, log)) => return Err(format!("start: {status}; check said {said}\n{}", log.join("\n"))),
        Ok(broker) => {
            let client = broker.client().await;
            client.put("", "nobody's").await;
            broker.kill().await;
        }
    }
    // What is served is recognised by its body, or this panics.
    let (found, log) = served(directory, notes).await;
    let found = copies(&found);
    let told = log.iter().any(|line| line.contains("ERROR") && (line.contains("damaged") || line.contains("store:")));
    let lost: Vec<&Copy> = owed.difference(&found).collect();
    match (lost.as_slice(), clean) {
        ([], true) => Ok("harmless"),
        ([], false) => Ok("found and served"),
        (_, false) if told => Ok("set aside"),
        (lost, false) => {
            Err(format!("the log does not tell that {lost:?} are lost; check said {said}\n{}", log.join("\n")))
        }
        (_, true) if unnoticed => Ok("not to be noticed"),
        (lost, true) => Err(format!("check finds nothing, but {lost:?} are lost")),
    }
}

#[test]
fn a_rotten_file_is_refused_or_served_but_never_crashed_on() {
    let rounds = setting("LEVERET_DAMAGE_ROUNDS").unwrap_or(ROUNDS);
    let seed = setting("LEVERET_CRASH_SEED").unwrap_or_else(|| getrandom::u64().unwrap() >> 1);
    println!("LEVERET_CRASH_SEED={seed}, {rounds} files");
    in_time(PATIENCE * u32::try_from(rounds + 1).unwrap(), async move {
        let (origin, book) = (scratch(), Book::default());
        let broker = Process::start(origin.path()).await;
        work(broker.address(), book.clone(), seed, 1, 120).await.expect("the broker works");
        broker.kill().await;
        let whole = std::fs::read(origin.path().join("data.mdb")).unwrap();
        let notes = book.lock().clone();
        let kept = notes.messages.iter().filter(|(_, sent)| sent.promised.is_some() && sent.removed.is_none());
        let owed: BTreeSet<Copy> = kept.map(|(copy, _)| copy.clone()).collect();
        let mut random = Random::new(seed);
        let mut outcomes = std::collections::BTreeMap::<&str, u64>::new();
        for round in 1..=rounds {
            let (mut file, copy) = (whole.clone(), scratch());
            let (what, pages) = harm(&mut file, &mut random);
            // Definitions have no checksum: a name that has rotted is another name.
            let defines = |page: &usize| {
                whole[page * PAGE..].chunks(PAGE).next().unwrap().windows(8).any(|w| w == b"\"name\":\"")
            };
            let unnoticed = pages.iter().any(defines);
            std::fs::write(copy.path().join("data.mdb"), file).unwrap();
            std::fs::copy(origin.path().join("redo"), copy.path().join("redo")).unwrap();
            let verdict = tokio::time::timeout(PATIENCE, judge(copy.path(), &notes, &owed, unnoticed)).await;
            match verdict.unwrap_or_else(|_| Err("it hangs".to_owned())) {
                Ok(outcome) => *outcomes.entry(outcome).or_default() += 1,
                Err(why) => panic!("round {round}, seed {seed}: {what}, in {}:\n{why}", copy.keep().display()),
            }
        }
        println!("{outcomes:?}");
    });
}
