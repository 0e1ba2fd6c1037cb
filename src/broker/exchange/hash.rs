//! The fixed hash function of the hashing exchanges, and jump consistent hashing.
//!
//! The same value goes to the same place on every machine, in every version and after every restart: nothing here may
//! ever change. The hash is the start of SHA-256: no publisher can make up values that crowd one queue. It is only
//! computed where a route is not remembered.

use sha2::{Digest, Sha256};

/// The hash of some octets.
pub(super) fn hash(octets: &[u8]) -> u64 {
    Sha256::digest(octets).first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// The bucket of `key` among `buckets`, of which there is at least one. One bucket more moves one key in `buckets`,
/// and only to the new bucket. (Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm".)
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // far below 2^53
pub(super) fn jump(mut key: u64, buckets: u64) -> u64 {
    let (mut bucket, mut next) = (0, 0);
    while next < buckets {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let divisor = ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * ((1u64 << 31) as f64 / divisor)) as u64;
    }
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_stay_what_they_are() {
        assert_eq!(hash(b""), 0xe3b0_c442_98fc_1c14);
        let buckets: Vec<u64> = (0..8).map(|n| jump(hash(&[n]), 1_000)).collect();
        assert_eq!(buckets, [452, 712, 81, 847, 861, 315, 178, 202]);
    }

    #[test]
    fn another_bucket_takes_its_share_and_moves_nothing_else() {
        for buckets in 1..40 {
            let mut moved = 0;
            for n in 0..2_000u64 {
                let (before, after) =
                    (jump(hash(&n.to_be_bytes()), buckets), jump(hash(&n.to_be_bytes()), buckets + 1));
                assert!(before < buckets);
                if before != after {
                    assert_eq!(after, buckets);
                    moved += 1;
                }
            }
            let share = 2_000 / (buckets + 1);
            assert!((share / 2..share * 2).contains(&moved), "{moved} of 2000 moved to bucket {buckets}");
        }
    }
}
