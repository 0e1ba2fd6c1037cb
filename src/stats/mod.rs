//! Figures: what is counted all over the broker, in forms that cost next to nothing where messages pass.
//!
//! A [`Counter`] is changed by one task at a time (a session, or whoever holds a queue's lock) with a plain load and
//! store, and read by anybody: no read-modify-write, no lock. A [`Histogram`] is a row of them. [`Ages`] tell how old a
//! message is without a word in the message: positions ascend, so a few marks of when which position came are enough. A
//! [`History`] keeps the samples of a thing that has moved, from which rates are computed.
//!
//! Deliberately absent: what the figures are of, names, JSON.

mod ages;
mod counter;
mod histogram;
mod history;

pub use ages::{Ages, Marks};
pub use counter::Counter;
pub use histogram::{Histogram, Spread, TIMES, Times};
pub use history::{History, INTERVAL, Sample, Trend};
