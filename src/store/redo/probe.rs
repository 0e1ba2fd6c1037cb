//! Octets as a log could hold them, for fuzzing.
//!
//! Deliberately absent: anything a broker could use.

use bytes::Bytes;

use super::{log, record};
use crate::store::{Batch, Generation};

/// The batches that the octets of a log hold of a generation, and how many lines of damage.
pub fn scan(octets: &[u8], generation: u64) -> (Vec<Batch>, usize) {
    let found = log::scan(&Bytes::copy_from_slice(octets), Generation(generation));
    (found.batches, found.damage.len())
}

/// A batch as the payload of a record.
pub fn decode(payload: &[u8]) -> Option<Batch> {
    record::decode(Bytes::copy_from_slice(payload))
}

/// A record of a batch; `None` if it has no form or more than `most` octets.
pub fn encode(batch: &Batch, generation: u64, index: u32, most: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let fits = record::has_form(batch) && record::encode(batch, Generation(generation), index, most, &mut out);
    fits.then_some(out)
}
