//! The invariants, one function each, over what the clients know and what a restarted broker holds.
//!
//! I4's bodies and the live halves of I2 to I5 are checked where messages arrive (`audit`, `ledger`); I7 and I11 where
//! definitions change (`define`).

use std::collections::BTreeMap;

use crate::audit::Sights;
use crate::ledger::{Ledger, Violation};
use crate::plan::{LINES, Spot, Style};
use crate::stamp::Stamp;
use crate::story::{Branch, Event, Story};

/// How the broker came to be looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    /// It had no time to note what it had delivered, so that everything is marked as redelivered.
    pub(crate) marked: bool,
}

/// One message in one branch, and where it was found there: positions in the chain, and marks.
struct Case<'a> {
    at: usize,
    branch: &'a Branch,
    story: &'a Story,
    found: &'a [(usize, bool)],
    life: u32,
    /// Dead letters keep their marks.
    letters: bool,
    how: Circumstances,
}

type Verdict = Option<String>;

/// Confirmed, persistent, in a durable queue, not acked: it is there.
fn i1_nothing_confirmed_is_lost(case: &Case<'_>) -> Verdict {
    let alone = case.story.branches.iter().filter(|branch| branch.owed).count() < 2;
    (is_lost(case) && alone).then(|| "is lost".to_owned())
}

fn is_lost(case: &Case<'_>) -> bool {
    case.branch.owed && case.found.is_empty() && !case.story.is_waiting()
}

/// Acked, and that committed: it stays away.
fn i2_what_was_acked_stays_away(case: &Case<'_>) -> Verdict {
    let acked = |event: &Event| matches!(event, Event::SettledForGood(spot) if spot.branch == case.at);
    (case.branch.gone && !case.found.is_empty() && case.story.has(acked)).then(|| "was acked, and is back".to_owned())
}

/// What comes a second time says so; after a crash everything says so, since nobody knows.
fn i3_repeats_are_marked(case: &Case<'_>) -> Verdict {
    let recovered = |at: usize| case.how.marked && at == 0 && case.story.due.is_none();
    let unmarked = case.found.iter().filter(|(_, mark)| !mark);
    let wrong = unmarked.filter(|(at, _)| case.branch.must_be_marked(*at, case.letters) || recovered(*at)).count();
    (wrong > 0).then(|| "is not marked as redelivered".to_owned())
}

/// Confirmed: in every queue it was routed to. A transaction: in all of them, or in none.
fn i6_routes_are_complete(case: &Case<'_>) -> Verdict {
    if is_lost(case) && case.story.branches.len() > 1 {
        return Some(format!("is missing in branch {}", case.at));
    }
    None
}

/// Routed in a transaction that nobody has answered: all or nothing. Over all branches of a message.
fn i6_transactions_are_whole(
    stamp: Stamp,
    story: &Story,
    found: &BTreeMap<(Stamp, usize), Vec<(usize, bool)>>,
) -> Verdict {
    if stamp.line().style != Style::Transactions || story.confirmed {
        return None;
    }
    let there = |branch: usize| found.contains_key(&(stamp, branch));
    let untouched = |branch: &Branch| !branch.settled && !branch.gone;
    let branches = || story.branches.iter().enumerate();
    let some = branches().any(|(at, _)| there(at));
    let missing = branches().any(|(at, branch)| !there(at) && untouched(branch));
    (some && missing).then(|| "is half of a transaction".to_owned())
}

/// In one place only: neither refused and there, nor twice (a dead letter leaves its queue in the commit that brings it to
/// the next), nor back where it had left; and what is not persistent is not there after a restart.
fn i9_each_is_in_one_place(case: &Case<'_>) -> Verdict {
    let Case { branch, found, story, .. } = case;
    if branch.gone && !found.is_empty() && i2_what_was_acked_stays_away(case).is_none() {
        return Some("was gone, and is back".to_owned());
    }
    if !story.persistent && story.life < case.life && !found.is_empty() {
        return Some("is not persistent, and has come back".to_owned());
    }
    if found.len() > branch.copies {
        return Some(format!("is there {} times", found.len()));
    }
    if found.iter().any(|(at, _)| *at < branch.from) {
        return Some("is back where it had left".to_owned());
    }
    None
}

/// Queues keep the order of publishing.
fn i5_order(sights: &Sights, ledger: &Ledger) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for (spot, messages) in &sights.queues {
        let line = &LINES[spot.line];
        if spot.at > 0 || !line.ordered || line.returns_first {
            continue;
        }
        let mut last: BTreeMap<u8, u32> = BTreeMap::new();
        for (stamp, _) in messages.iter().filter(|(stamp, _)| stamp.line == spot.line) {
            let priority = ledger.lines[spot.line].stories.get(&stamp.seq).map_or(0, |story| story.priority);
            if let Some(before) = last.insert(priority, stamp.seq).filter(|before| *before > stamp.seq) {
                let what = format!("{stamp} stands behind {before}{}", ledger.story_of(*stamp));
                wrong.push(Violation::new("I5", what));
            }
        }
    }
    wrong
}

/// A queue says how many messages it has, and keeps its limit.
fn i8_counts(sights: &Sights) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for (spot, count) in &sights.counts {
        let (place, found) = (spot.place(), sights.queues.get(spot).map_or(0, Vec::len));
        if spot.is_stable() && *count as usize != found {
            wrong.push(Violation::new("I8", format!("{} said it had {count} messages, and had {found}", place.name)));
        }
        if *count > place.limit {
            wrong.push(Violation::new("I8", format!("{} has {count} messages, at most {}", place.name, place.limit)));
        }
    }
    wrong
}

/// Nothing in a broker's log is an error.
pub(crate) fn i12_no_errors(log: &[String]) -> Vec<Violation> {
    let bad = |line: &&String| line.contains("ERROR") || line.contains("panicked at");
    log.iter().filter(bad).map(|line| Violation::new("I12", line.clone())).collect()
}

/// Compares all that is known with all that is there.
pub(crate) fn judge(ledger: &Ledger, sights: &Sights, how: Circumstances) -> Vec<Violation> {
    let mut wrong = sights.wrong.clone();
    wrong.extend(i5_order(sights, ledger));
    wrong.extend(i8_counts(sights));
    let found = sights.by_stamp();
    for (stamp, _) in found.keys() {
        let messages = &ledger.lines[stamp.line];
        if stamp.seq >= messages.next {
            wrong.push(Violation::new("I4", format!("{stamp} was never sent")));
        } else if !messages.stories.contains_key(&stamp.seq) {
            wrong.push(Violation::new("I2", format!("{stamp} is back long after it was gone")));
        }
    }
    for (line, messages) in ledger.lines.iter().enumerate() {
        for (seq, story) in &messages.stories {
            let stamp = Stamp { line, seq: *seq };
            let mut say = |invariant, verdict: Verdict| {
                wrong.extend(verdict.map(|what| Violation::new(invariant, format!("{stamp} {what}{story}"))));
            };
            say("I6", i6_transactions_are_whole(stamp, story, &found));
            for (at, branch) in story.branches.iter().enumerate() {
                let found = found.get(&(stamp, at)).map_or(&[][..], Vec::as_slice);
                let letters = ledger.compatibility.letters_keep_marks();
                let case = Case { at, branch, story, found, life: ledger.life, letters, how };
                say("I1", i1_nothing_confirmed_is_lost(&case));
                say("I2", i2_what_was_acked_stays_away(&case));
                say("I3", i3_repeats_are_marked(&case));
                say("I6", i6_routes_are_complete(&case));
                say("I9", i9_each_is_in_one_place(&case));
            }
        }
    }
    wrong
}

/// From now on what was found is what there is.
pub(crate) fn take_over(ledger: &mut Ledger, sights: &Sights) {
    let found = sights.by_stamp();
    for line in 0..ledger.lines.len() {
        let stories = ledger.lines[line].stories.iter().filter(|(_, story)| !story.is_over());
        let stamps: Vec<Stamp> = stories.map(|(seq, _)| Stamp { line, seq: *seq }).collect();
        for stamp in stamps {
            for branch in 0..stamp.line().branches.len() {
                let found = found.get(&(stamp, branch)).map_or(&[][..], Vec::as_slice);
                let Some(story) = ledger.lines[line].stories.get_mut(&stamp.seq) else { continue };
                let (waiting, known) = (story.is_waiting(), story.branches[branch].gone);
                story.found(stamp, branch, found, waiting);
                for (at, mark) in found {
                    ledger.note(stamp, Event::Found(Spot { line, branch, at: *at }, *mark));
                }
                if found.is_empty() && !waiting && !known {
                    ledger.note(stamp, Event::Missing(branch));
                }
            }
        }
    }
}
