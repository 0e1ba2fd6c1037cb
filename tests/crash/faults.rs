//! Ways for a broker to end, and when.

use std::time::Duration;

use crate::invariants::{Circumstances, i12_no_errors};
use crate::ledger::Violation;
use crate::process::Process;
use crate::settings::Random;

/// What happens to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Killed after so many milliseconds.
    Kill(u64),
    /// Paused after so many milliseconds, for so many, and killed so many later.
    Pause(u64, u64, u64),
    /// Asked to stop after so many milliseconds, and killed so many later.
    Shutdown(u64, u64),
    /// Asked to stop after so many milliseconds, and left alone.
    Stop(u64),
}

/// How a life of the broker ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) how: Circumstances,
    pub(crate) wrong: Vec<Violation>,
    /// In words.
    pub(crate) what: String,
}

impl Fault {
    pub(crate) fn choose(random: &mut Random) -> Self {
        let early = random.percent(70);
        let after = if early { random.within(20, 500) } else { random.within(500, 2_000) };
        match random.below(100) {
            0..65 => Self::Kill(after),
            65..80 => Self::Pause(after, random.within(50, 500), random.below(300)),
            80..94 => Self::Shutdown(after, random.below(120)),
            _ => Self::Stop(after),
        }
    }

    /// Lets it happen.
    pub(crate) async fn strike(self, process: Process) -> Ended {
        let wait = |millis| tokio::time::sleep(Duration::from_millis(millis));
        let log = match self {
            Self::Kill(after) => {
                wait(after).await;
                process.kill().await
            }
            Self::Pause(after, pause, later) => {
                wait(after).await;
                process.pause();
                wait(pause).await;
                process.resume();
                wait(later).await;
                process.kill().await
            }
            Self::Shutdown(after, later) => {
                wait(after).await;
                process.terminate();
                wait(later).await;
                process.kill().await
            }
            Self::Stop(after) => {
                wait(after).await;
                process.terminate();
                let (status, log) = process.ended().await;
                let mut wrong = i12_no_errors(&log);
                if !status.success() {
                    wrong.push(Violation::new("I12", format!("an orderly stop ends with {status}")));
                }
                let how = Circumstances { marked: false };
                return Ended { how, wrong, what: format!("{self:?}") };
            }
        };
        // It may have been done with its shutdown.
        let marked = !matches!(self, Self::Shutdown(..));
        let how = Circumstances { marked };
        Ended { how, wrong: i12_no_errors(&log), what: format!("{self:?}") }
    }
}
