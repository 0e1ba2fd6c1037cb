//! All that the clients of the mixed load know together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::plan::{Compatibility, LINES, Spot, Style};
use crate::stamp::Stamp;
use crate::story::{Event, Story};

/// Lives of the broker after which a message that is over is forgotten.
const MEMORY: u32 = 30;

/// Shared by the clients: a client library may never answer again once its broker is gone.
pub(crate) type Book = Arc<Mutex<Ledger>>;

/// A broken promise.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// The messages of one line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Messages {
    pub(crate) stories: BTreeMap<u32, Story>,
    /// Number of the next one.
    pub(crate) next: u32,
    /// Of each branch and priority, the highest number delivered for the first time.
    firsts: HashMap<(usize, u8), u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    began: Instant,
    pub(crate) compatibility: Compatibility,
    /// Counts the broker's processes.
    pub(crate) life: u32,
    pub(crate) lines: Vec<Messages>,
    /// What the clients found wrong while they worked.
    pub(crate) wrong: Vec<Violation>,
    /// Messages confirmed, and deliveries settled for good, in all.
    pub(crate) confirmed: u64,
    pub(crate) settled: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let lines = vec![Messages::default(); LINES.len()];
        let compatibility = Compatibility::Lenient;
        Self { began: Instant::now(), compatibility, life: 0, lines, wrong: Vec::new(), confirmed: 0, settled: 0 }
    }

    /// The stamp of a message about to be sent.
    pub(crate) fn send(&mut self, line: usize) -> Stamp {
        let messages = &mut self.lines[line];
        let stamp = Stamp { line, seq: messages.next };
        messages.next += 1;
        messages.stories.insert(stamp.seq, Story::new(stamp, self.life));
        self.note(stamp, Event::Sent);
        stamp
    }

    /// Notes an event of a message that was sent.
    pub(crate) fn note(&mut self, stamp: Stamp, event: Event) {
        let millis = u32::try_from(self.began.elapsed().as_millis()).unwrap_or(u32::MAX);
        self.confirmed += u64::from(event == Event::Confirmed);
        self.settled += u64::from(matches!(event, Event::SettledForGood(_)));
        if event == Event::Returned {
            self.wrong.push(Violation::new("I7", format!("{stamp} was returned: a queue or a binding is missing")));
        }
        if let Some(story) = self.lines[stamp.line].stories.get_mut(&stamp.seq) {
            story.apply(stamp, event);
            story.note(self.life, millis, event);
        }
    }

    /// Notes a delivery and checks what can be checked at once. `returns` is what its header `x-delivery-count` says.
    pub(crate) fn deliver(&mut self, stamp: Stamp, spot: Spot, redelivered: bool, intact: bool, returns: i64) {
        let mut wrong = Vec::new();
        let messages = &mut self.lines[stamp.line];
        match messages.stories.get(&stamp.seq) {
            None if stamp.seq < messages.next => wrong.push(("I2", "came again long after it was gone")),
            None => wrong.push(("I4", "was never sent")),
            Some(story) => {
                let branch = story.branches[spot.branch];
                if !intact || stamp.line != spot.line {
                    wrong.push(("I4", "is not what was sent"));
                }
                if branch.gone {
                    let acked =
                        story.has(|event| matches!(event, Event::SettledForGood(at) if at.branch == spot.branch));
                    wrong.push((if acked { "I2" } else { "I9" }, "came again after it was gone"));
                }
                if branch.must_be_marked(spot.at, self.compatibility.letters_keep_marks()) && !redelivered {
                    wrong.push(("I3", "came again without a mark"));
                }
                let counts = stamp.line().counted && self.compatibility.returns_are_failures();
                if counts && spot.at == 0 && returns < branch.returns {
                    wrong.push(("I9", "is said to have returned fewer times than it has"));
                }
                // Two clients read at their own pace.
                let alone = stamp.line().style != Style::Single;
                if branch.seen == 0 && spot.at == 0 && stamp.line().ordered && alone {
                    let last = messages.firsts.entry((spot.branch, story.priority)).or_insert(stamp.seq);
                    if *last > stamp.seq {
                        wrong.push(("I5", "came after a later one"));
                    }
                    *last = stamp.seq.max(*last);
                }
            }
        }
        self.note(stamp, Event::Delivered(spot, redelivered));
        for (invariant, what) in wrong {
            let what = format!("{stamp} {what} from {} in life {}", spot.place().name, self.life);
            self.wrong.push(Violation { invariant, what: format!("{what}{}", self.story_of(stamp)) });
        }
    }

    pub(crate) fn story_of(&self, stamp: Stamp) -> String {
        self.lines[stamp.line].stories.get(&stamp.seq).map_or_else(String::new, ToString::to_string)
    }

    /// Messages that may be in the line's queues.
    pub(crate) fn waiting(&self, line: usize) -> usize {
        self.lines[line].stories.values().filter(|story| !story.is_over()).count()
    }

    /// Forgets what was over long ago.
    pub(crate) fn forget(&mut self) {
        let until = self.life.saturating_sub(MEMORY);
        for messages in &mut self.lines {
            messages.stories.retain(|_, story| {
                let last = story.events.last().map_or(0, |(life, _, _)| *life);
                last >= until || !story.is_over()
            });
        }
    }
}
