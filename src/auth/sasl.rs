//! What a client says in connection.start-ok: the responses of the mechanisms PLAIN and AMQPLAIN.
//!
//! Pure functions over untrusted octets from before authentication; they borrow, allocate nothing, do not recurse, and
//! answer `None` to anything out of the ordinary. Deliberately absent: EXTERNAL, where the
//! certificate counts and not what is said, and ANONYMOUS, which has nothing to read.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

/// User name and password, as sent.
pub type Credentials<'a> = (&'a [u8], &'a [u8]);

/// Reads a PLAIN response (RFC 4616): NUL, user, NUL, password. An authorization identity before the first NUL is
/// refused, as RabbitMQ does, and so is a NUL inside the password.
pub fn parse_plain(response: &[u8]) -> Option<Credentials<'_>> {
    let mut parts = response.split(|octet| *octet == 0);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some([]), Some(user), Some(password), None) => Some((user, password)),
        _ => None,
    }
}

/// Reads an AMQPLAIN response: a field table without its length, holding LOGIN and PASSWORD once each as long string
/// (`S`) or octets (`x`). Other fields are passed over if they are of a simple type; tables and arrays are refused.
pub fn parse_amqplain(response: &[u8]) -> Option<Credentials<'_>> {
    let (mut login, mut password) = (None, None);
    let mut rest = response;
    while !rest.is_empty() {
        let name = take_short(&mut rest)?;
        let (kind, value) = take_value(&mut rest)?;
        let slot = match name {
            b"LOGIN" => &mut login,
            b"PASSWORD" => &mut password,
            _ => continue,
        };
        let is_text = matches!(kind, b'S' | b'x');
        if !is_text || slot.replace(value).is_some() {
            return None;
        }
    }
    Some((login?, password?))
}

/// Takes a value of a simple type: its type octet and its contents.
fn take_value<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let kind = *take(rest, 1)?.first()?;
    let length = match kind {
        b'S' | b'x' => {
            let (length, after) = rest.split_first_chunk::<4>()?;
            *rest = after;
            usize::try_from(u32::from_be_bytes(*length)).ok()?
        }
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' | b'U' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        _ => return None,
    };
    Some((kind, take(rest, length)?))
}

fn take_short<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = *take(rest, 1)?.first()?;
    take(rest, usize::from(length))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain() {
        assert_eq!(parse_plain(b"\0guest\0secret"), Some((&b"guest"[..], &b"secret"[..])));
        assert_eq!(parse_plain(b"\0guest\0"), Some((&b"guest"[..], &b""[..])));
        for odd in [&b""[..], b"\0", b"\0guest", b"guest\0secret", b"admin\0guest\0secret", b"\0guest\0sec\0ret"] {
            assert_eq!(parse_plain(odd), None, "{odd:?}");
        }
    }

    fn long(name: &str, kind: u8, value: &[u8]) -> Vec<u8> {
        let length = u32::try_from(value.len()).unwrap().to_be_bytes();
        [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &[kind], &length, value].concat()
    }

    #[test]
    fn amqplain() {
        let both = [long("LOGIN", b'S', b"guest"), long("PASSWORD", b'x', b"secret")].concat();
        assert_eq!(parse_amqplain(&both), Some((&b"guest"[..], &b"secret"[..])));
        let with_others = [b"\x01at\x01".to_vec(), long("b", b'S', b"x"), b"\x01cV".to_vec(), both.clone()].concat();
        assert_eq!(parse_amqplain(&with_others), Some((&b"guest"[..], &b"secret"[..])));
    }

    #[test]
    fn odd_amqplain_is_refused() {
        let login = long("LOGIN", b'S', b"guest");
        let both = [login.clone(), long("PASSWORD", b'S', b"secret")].concat();
        for length in 0..both.len() {
            assert_eq!(parse_amqplain(&both[..length]), None, "cut at {length}");
        }
        for more in [login, b"\x01tF\0\0\0\0".to_vec(), b"\x01tA\0\0\0\0".to_vec(), b"\x01t?".to_vec(), vec![9]] {
            assert_eq!(parse_amqplain(&[both.clone(), more.clone()].concat()), None, "{more:?}");
        }
        assert_eq!(parse_amqplain(b"\x05LOGINt\x01\x08PASSWORDt\x01"), None);
        assert_eq!(parse_amqplain(b"\x05LOGINS\xff\xff\xff\xffguest"), None);
    }

    proptest! {
        #[test]
        fn any_octets_are_safe(response: Vec<u8>) {
            let _ = parse_plain(&response);
            let _ = parse_amqplain(&response);
        }

        #[test]
        fn what_clients_write_is_read(user: Vec<u8>, password: Vec<u8>) {
            let response = [long("PASSWORD", b'S', &password), long("LOGIN", b'S', &user)].concat();
            prop_assert_eq!(parse_amqplain(&response), Some((&user[..], &password[..])));
        }
    }
}
