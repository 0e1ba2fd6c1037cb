//! The header that a proxy puts before a connection: the PROXY protocol, versions 1 (text) and 2 (binary).
//!
//! [`decode`] is pure: it looks at what has come so far and says how many octets surely belong to the header too, so
//! that whoever reads never takes an octet of what follows. Source: the specification of `HAProxy`, sections 2.1 and 2.2.
//! Invariant: the octets to be kept are at most [`LONGEST`]; the fields behind the addresses (TLVs) are only counted.
//! Deliberately absent: reading, trust, the contents of TLVs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The most octets of a header that are to be kept: the longest line of version 1. Version 2 needs half of it.
pub const LONGEST: usize = 107;

/// The most octets that may stand behind the addresses of version 2. A proxy that hands on a client's certificate needs
/// a few thousand.
pub const TRAILER_MAX: usize = 16 * 1024;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// The shortest line of version 1: `PROXY UNKNOWN` and the end of the line.
const SHORTEST_LINE: usize = 15;
const BEGINNING: &[u8; 6] = b"PROXY ";
const LINE_END: &[u8; 2] = b"\r\n";

/// Octets of the addresses and ports of the families.
const INET: usize = 12;
const INET6: usize = 36;

/// What is known of a header so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// At least so many octets more belong to it.
    Need(usize),
    /// It is read.
    Done {
        /// Where the client is and where it connected to; `None` for the proxy's own connections and for clients of
        /// which it knows nothing: then the connection's own addresses hold.
        addresses: Option<(SocketAddr, SocketAddr)>,
        /// Octets that still belong to it and say nothing that is of use.
        skip: usize,
    },
}

/// Why octets are no header; for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoHeader(&'static str);

/// Looks at the octets that have come, from the first on.
pub fn decode(octets: &[u8]) -> Result<Step, NoHeader> {
    if octets.is_empty() {
        return Ok(Step::Need(SHORTEST_LINE));
    }
    if agrees(octets, SIGNATURE) {
        return binary(octets);
    }
    if agrees(octets, BEGINNING) {
        return line(octets);
    }
    Err(NoHeader("it does not begin with a header of the PROXY protocol"))
}

/// Whether the octets begin with the pattern, as far as there are any.
fn agrees(octets: &[u8], pattern: &[u8]) -> bool {
    octets.iter().zip(pattern).all(|(octet, expected)| octet == expected)
}

fn line(octets: &[u8]) -> Result<Step, NoHeader> {
    let Some(text) = octets.strip_suffix(LINE_END) else {
        if octets.len() >= LONGEST || octets.contains(&b'\n') {
            return Err(NoHeader("the PROXY line does not end"));
        }
        let least = if octets.last() == Some(&b'\r') { 1 } else { LINE_END.len() };
        return Ok(Step::Need(SHORTEST_LINE.saturating_sub(octets.len()).max(least)));
    };
    let text = std::str::from_utf8(text).map_err(|_| NoHeader("the PROXY line is not text"))?;
    let mut words = text.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Step::Done { addresses: None, skip: 0 });
    }
    let mut address = || words.next()?.parse::<IpAddr>().ok();
    let (from, to) = (address(), address());
    let mut port = || words.next().filter(|word| word.bytes().all(|b| b.is_ascii_digit()))?.parse::<u16>().ok();
    let (from_port, to_port) = (port(), port());
    let (Some(from), Some(to), Some(from_port), Some(to_port), None) = (from, to, from_port, to_port, words.next())
    else {
        return Err(NoHeader("the PROXY line cannot be read"));
    };
    let fits = match family {
        Some("TCP4") => from.is_ipv4() && to.is_ipv4(),
        Some("TCP6") => from.is_ipv6() && to.is_ipv6(),
        _ => false,
    };
    if !fits {
        return Err(NoHeader("the PROXY line names another family than its addresses have"));
    }
    let addresses = (SocketAddr::new(from, from_port), SocketAddr::new(to, to_port));
    Ok(Step::Done { addresses: Some(addresses), skip: 0 })
}

fn binary(octets: &[u8]) -> Result<Step, NoHeader> {
    let Some((fixed, rest)) = octets.split_first_chunk::<FIXED>() else {
        return Ok(Step::Need(FIXED.saturating_sub(octets.len())));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > TRAILER_MAX {
        return Err(NoHeader("the PROXY header is too long"));
    }
    let direct = Ok(Step::Done { addresses: None, skip: length.saturating_sub(rest.len()) });
    match command {
        0x20 => return direct,
        0x21 => {}
        _ => return Err(NoHeader("the PROXY header has an unknown version or command")),
    }
    let size = match family {
        0x11 => INET,
        0x21 => INET6,
        // Unspecified, or a Unix socket: nothing that could stand for a peer.
        0x00 | 0x31 => return direct,
        _ => return Err(NoHeader("the PROXY header is of something else than a stream")),
    };
    if length < size {
        return Err(NoHeader("the PROXY header is too short for its addresses"));
    }
    let Some((addresses, _)) = rest.split_at_checked(size) else {
        return Ok(Step::Need(size.saturating_sub(rest.len())));
    };
    let addresses = if size == INET { inet(addresses) } else { inet6(addresses) };
    Ok(Step::Done { addresses, skip: length.saturating_sub(rest.len()) })
}

fn inet(octets: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (from, rest) = octets.split_first_chunk::<4>()?;
    let (to, ports) = rest.split_first_chunk::<4>()?;
    let (from_port, to_port) = two_ports(ports)?;
    let at = |address: [u8; 4], port| SocketAddr::new(Ipv4Addr::from(address).into(), port);
    Some((at(*from, from_port), at(*to, to_port)))
}

fn inet6(octets: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (from, rest) = octets.split_first_chunk::<16>()?;
    let (to, ports) = rest.split_first_chunk::<16>()?;
    let (from_port, to_port) = two_ports(ports)?;
    let at = |address: [u8; 16], port| SocketAddr::new(Ipv6Addr::from(address).into(), port);
    Some((at(*from, from_port), at(*to, to_port)))
}

fn two_ports(octets: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *octets.first_chunk::<4>()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads as a server does: no more than is needed at a time, `step` octets at most. Octets taken, or the refusal.
    fn read(octets: &[u8], step: usize) -> Result<(Option<(SocketAddr, SocketAddr)>, usize), NoHeader> {
        let (mut kept, mut at) = (Vec::new(), 0);
        loop {
            match decode(&kept)? {
                Step::Done { addresses, skip } => return Ok((addresses, at + skip)),
                Step::Need(n) => {
                    assert!(n > 0 && kept.len() + n <= LONGEST, "{n} more than {}", kept.len());
                    let n = n.min(step).min(octets.len() - at);
                    if n == 0 {
                        return Err(NoHeader("the end"));
                    }
                    kept.extend_from_slice(&octets[at..at + n]);
                    at += n;
                }
            }
        }
    }

    fn v2(command: u8, family: u8, contents: &[u8]) -> Vec<u8> {
        let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, contents].concat()
    }

    fn addresses(from: &str, to: &str) -> (SocketAddr, SocketAddr) {
        (from.parse().unwrap(), to.parse().unwrap())
    }

    #[test]
    fn headers_are_read_to_their_last_octet_and_no_further() {
        let inet6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1], &[0x30, 0x39, 0x16, 0x28]].concat();
        let inet = [192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0x16, 0x28];
        let with_fields = [&inet[..], &[0xee; 300]].concat();
        let ipv4 = Some(addresses("192.0.2.7:12345", "198.51.100.1:5672"));
        let ipv6 = Some(addresses("[2001:db8::1]:12345", "[::1]:5672"));
        let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
        assert_eq!(longest.len(), LONGEST);
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 5672\r\n".to_vec(), ipv4),
            (b"PROXY TCP6 2001:db8::1 ::1 12345 5672\r\n".to_vec(), ipv6),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (longest.into_bytes(), None),
            (v2(0x21, 0x11, &inet), ipv4),
            (v2(0x21, 0x21, &inet6), ipv6),
            (v2(0x21, 0x11, &with_fields), ipv4),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &inet), None),
            (v2(0x21, 0x00, &[1, 2, 3]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let followed = [&header[..], b"AMQP\0\0\x09\x01"].concat();
            for step in [1, 2, 7, 1000] {
                assert_eq!(read(&followed, step), Ok((expected, header.len())), "{:?}", header.escape_ascii());
            }
        }
    }

    #[test]
    fn anything_else_is_refused_as_soon_as_it_shows() {
        for octets in [
            &b"AMQP\0\0\x09\x01"[..],
            b"\x16\x03\x01\x02\0",
            b"GET / HTTP/1.1\r\n",
            b"P0",
            b"\r\n\r\nQ",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 12345\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 5672 1\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 65536\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +1234 5672\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 12345 5672\r\n",
            b"PROXY TCP6 192.0.2.7 198.51.100.1 12345 5672\r\n",
            b"PROXY TCP4  192.0.2.7 198.51.100.1 12345 5672\r\n",
            b"PROXY tcp4 192.0.2.7 198.51.100.1 12345 5672\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 5672\n",
            b"PROXY TCP4 \xff\xfe 198.51.100.1 12345 5672\r\n",
        ] {
            let end = NoHeader("the end");
            assert!(read(octets, 1000).is_err_and(|why| why != end), "{:?}", octets.escape_ascii());
        }
        assert!(read(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(), 1000).is_err());
        for wrong in [v2(0x11, 0x11, &[0; 12]), v2(0x22, 0x11, &[0; 12]), v2(0x21, 0x12, &[0; 12])] {
            assert!(decode(&wrong).is_err());
        }
        assert!(decode(&v2(0x21, 0x11, &[0; 11])).is_err() && decode(&v2(0x21, 0x21, &[0; 35])).is_err());
        assert!(decode(&v2(0x20, 0x00, &vec![0; TRAILER_MAX + 1])).is_err());
    }

    proptest! {
        #[test]
        fn any_octets_are_safe(octets: Vec<u8>, version in 0..3usize, step in 1..64usize) {
            let begun = [&b""[..], BEGINNING, SIGNATURE][version];
            let _ = decode(&octets);
            let _ = read(&[begun, &octets].concat(), step);
        }
    }
}
