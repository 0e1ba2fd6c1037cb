//! Slows down who guesses passwords: per address, since a guesser has many names and many connections but few addresses.
//!
//! Refused logins of an address fill its measure, which empties evenly over [`WINDOW`]. While it is full, logins from
//! there are looked at one by one, [`PACE`] apart, however many connections they come on; those for which the wait would
//! be too long are not looked at. Everybody else is let through at once, and nothing is done for who was never refused.
//! Deliberately absent: bans, which lock out neighbours behind the same address, and names, which would lock out users.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::clock::Millis;
use crate::sync::{Mutex, Rank};

/// Time in which a full measure empties, in milliseconds.
const WINDOW: Millis = 10_000;

/// Time between two logins from an address whose measure is full, in milliseconds.
const PACE: Millis = 100;

/// Longest wait, in milliseconds: no client waits longer for its login.
const PATIENCE: Millis = 10_000;

/// Addresses remembered; when there are more, those that are not slowed are forgotten.
const ADDRESSES: usize = 16_384;

/// When a login may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// At once.
    Now,
    /// At this moment.
    At(Millis),
    /// Not at all: too many wait already.
    Never,
}

#[derive(Debug)]
struct Measure {
    /// Refused logins, times [`WINDOW`], so that it empties evenly.
    level: u64,
    since: Millis,
    /// The next login that has to wait is looked at then.
    next: Millis,
}

/// The measures of all addresses.
#[derive(Debug)]
pub struct Throttle {
    /// Refused logins that fill a measure; `None` slows nobody.
    limit: Option<u64>,
    measures: Mutex<HashMap<IpAddr, Measure>>,
}

impl Measure {
    /// Lets out what has flowed out by `now`.
    fn settle(&mut self, limit: u64, now: Millis) {
        let out = now.saturating_sub(self.since).saturating_mul(limit);
        self.level = self.level.saturating_sub(out);
        self.since = now;
    }

    fn is_full(&self, limit: u64) -> bool {
        self.level > limit.saturating_sub(1).saturating_mul(WINDOW)
    }
}

/// Addresses that are told apart: of IPv6 the network, since a client has a whole one to choose from.
fn party(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.segments();
            IpAddr::V6(Ipv6Addr::new(network[0], network[1], network[2], network[3], 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Throttle {
    /// Slows an address after so many refused logins within ten seconds.
    pub fn new(limit: Option<u64>) -> Self {
        Self { limit, measures: Mutex::new(Rank::Leaf, HashMap::new()) }
    }

    /// When a login from this address may be looked at; it counts as looked at then.
    pub fn admit(&self, peer: IpAddr, now: Millis) -> Admission {
        let Some(limit) = self.limit else { return Admission::Now };
        let mut measures = self.measures.lock();
        let Some(measure) = measures.get_mut(&party(peer)) else { return Admission::Now };
        measure.settle(limit, now);
        if !measure.is_full(limit) && measure.next <= now {
            return Admission::Now;
        }
        let at = measure.next.max(now);
        if at.saturating_sub(now) > PATIENCE {
            return Admission::Never;
        }
        measure.next = at.saturating_add(PACE);
        if at == now { Admission::Now } else { Admission::At(at) }
    }

    /// A login from this address was refused.
    pub fn refused(&self, peer: IpAddr, now: Millis) {
        let Some(limit) = self.limit else { return };
        let mut measures = self.measures.lock();
        let party = party(peer);
        if measures.len() >= ADDRESSES && !measures.contains_key(&party) {
            measures.retain(|_, measure| {
                measure.settle(limit, now);
                measure.is_full(limit)
            });
            if measures.len() >= ADDRESSES {
                return;
            }
        }
        let measure = measures.entry(party).or_insert(Measure { level: 0, since: now, next: now });
        measure.settle(limit, now);
        // One refusal too many is as bad as a thousand: the address is free again a moment after it stops.
        measure.level = measure.level.saturating_add(WINDOW).min(limit.saturating_mul(WINDOW));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUESSER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 8));

    #[test]
    fn a_guesser_is_slowed_and_nobody_else() {
        let throttle = Throttle::new(Some(3));
        for _ in 0..3 {
            assert_eq!(throttle.admit(GUESSER, 1_000), Admission::Now);
            throttle.refused(GUESSER, 1_000);
        }
        assert_eq!(throttle.admit(GUESSER, 1_000), Admission::Now, "the first of those who are slowed");
        assert_eq!(throttle.admit(GUESSER, 1_000), Admission::At(1_100));
        assert_eq!(throttle.admit(GUESSER, 1_010), Admission::At(1_200));
        assert_eq!(throttle.admit(OTHER, 1_010), Admission::Now);
        let waiting = (0..1_000).map(|_| throttle.admit(GUESSER, 1_010)).filter(|a| *a != Admission::Never).count();
        assert_eq!(waiting, 98, "no more than fit the time that a client waits");
    }

    #[test]
    fn it_passes() {
        let throttle = Throttle::new(Some(2));
        for _ in 0..1_000 {
            throttle.refused(GUESSER, 0);
        }
        throttle.admit(GUESSER, 0);
        assert_eq!(throttle.admit(GUESSER, 50), Admission::At(100));
        assert_eq!(throttle.admit(GUESSER, 5_001), Admission::Now);
        assert_eq!(throttle.admit(GUESSER, 5_001), Admission::Now, "half of the window has passed: one more is free");
        throttle.refused(GUESSER, 5_001);
        throttle.admit(GUESSER, 5_001);
        assert_eq!(throttle.admit(GUESSER, 5_001), Admission::At(5_101));
    }

    #[test]
    fn none_is_no_limit() {
        let throttle = Throttle::new(None);
        for _ in 0..1_000 {
            throttle.refused(GUESSER, 0);
        }
        assert_eq!(throttle.admit(GUESSER, 0), Admission::Now);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let throttle = Throttle::new(Some(1));
        for n in 0..40_000_u32 {
            throttle.refused(IpAddr::V4(n.into()), u64::from(n));
        }
        assert!(throttle.measures.lock().len() <= ADDRESSES);
        // A network of IPv6 is one party, and an IPv4 address is the same however it is written.
        let throttle = Throttle::new(Some(1));
        for peer in ["2001:db8::1", "2001:db8::2", "::ffff:203.0.113.7", "203.0.113.7"] {
            throttle.refused(peer.parse().unwrap(), 0);
        }
        assert_eq!(throttle.measures.lock().len(), 2);
    }
}
