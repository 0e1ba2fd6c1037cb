//! Headers of a proxy, as they come: no step asks for more than can be kept, and cutting the octets changes nothing.

use leveret::wire::proxy::{LONGEST, Step, decode};

/// The first octet is how many come at a time.
pub(crate) fn header(input: &[u8]) {
    let Some((pace, octets)) = input.split_first() else { return };
    let whole = read(octets, usize::MAX);
    let paced = read(octets, usize::from(*pace).max(1));
    assert_eq!(whole, paced, "how the octets come makes a difference");
    let _ = decode(octets);
}

/// How a header is read: its addresses and its length, or `None` if it is refused or not complete.
fn read(octets: &[u8], pace: usize) -> Option<(Option<(std::net::SocketAddr, std::net::SocketAddr)>, usize)> {
    let mut kept = 0;
    loop {
        match decode(octets.get(..kept)?).ok()? {
            Step::Done { addresses, skip } => return Some((addresses, kept + skip)),
            Step::Need(more) => {
                assert!(more > 0 && kept + more <= LONGEST, "{more} more than {kept}");
                let there = (octets.len() - kept).min(more).min(pace);
                if there == 0 {
                    return None;
                }
                kept += there;
            }
        }
    }
}
