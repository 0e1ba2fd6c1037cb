//! Queues: where messages wait, and how they reach consumers.
//!
//! **A message is always in exactly one place: ready, leased to a channel, or settled; and whoever holds it is
//! responsible for it.**
//!
//! [`State`] is a plain state machine: no clock (time is passed in), no async, no topology, no other queue. Whoever
//! changes a queue also *pumps* it: ready messages go to consumers with credit, into their session's [`Outbox`]. What
//! must happen outside the lock (bells, dead letters, loads, deadlines, deletion) is returned as [`Effects`].
//! [`Queue`] wraps the state in its lock and ties its journal to the [`Intake`] of the group commit.
//!
//! Deliberately absent: routing, the store engine (only the journal is kept here), frames, reply texts other than those
//! about arguments.

mod consumer;
mod delay;
mod effects;
mod entry;
mod handle;
mod intake;
mod journal;
mod lanes;
pub mod options;
mod outbox;
mod roster;
mod state;
mod strays;
mod tally;
#[cfg(test)]
mod tests;
mod unique;

pub use consumer::{ChannelCredit, Consumer, Subscription};
pub use effects::{CAUSES, DeadLetter, Effects, Load, Reason};
pub use entry::{Cause, Entry, Lease};
pub use handle::{Definition, Push, Queue};
pub use intake::{Closed, Intake, Pressure, Watermark};
pub use journal::Journal;
pub use lanes::{Chunk, Surplus};
pub use options::{BadArgument, Kind, Options, Overflow, Strategy};
pub use outbox::{Drained, Item, Outbox, Pool, SHARE};
pub use state::{Figures, Got, Listed, Room, State, Subscribed, Verdict};
pub use strays::Strays;
pub use tally::Tally;
