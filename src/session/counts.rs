//! The headers in which a quorum queue tells how often it has delivered a message before.
//!
//! They are put into what is sent, never into the message: a dead letter starts anew. Deliberately absent: counting.

use crate::config::Profile;
use crate::queue::{Entry, Queue};
use crate::wire::properties::Properties;
use crate::wire::table::{self, Value};

/// Failed deliveries.
const FAILURES: &str = "x-delivery-count";

/// Times handed out before.
const ACQUIRED: &str = "x-acquired-count";

/// Whose headers the deliveries from `queue` have; none if it does not count.
pub(super) fn counting(queue: Option<&Queue>) -> Option<&'static Profile> {
    let options = &queue?.definition().options;
    options.is_quorum().then_some(options.profile)
}

/// The properties with which `entry` is sent, if they are not those of its message.
pub(super) fn properties(profile: Option<&Profile>, entry: &Entry) -> Option<Vec<u8>> {
    let profile = profile?;
    let mut headers = Vec::new();
    if entry.acquired > 0 && profile.acquired_count {
        headers.push((ACQUIRED, entry.acquired));
    }
    if entry.failures > 0 {
        headers.push((FAILURES, entry.failures));
    }
    if headers.is_empty() {
        return None;
    }
    // What cannot be parsed was refused when it was published.
    let mut properties = Properties::parse(entry.message.properties()).ok()?;
    let mut raw = properties.headers.unwrap_or_default().to_vec();
    for (key, count) in headers {
        raw = table::set(&raw, key, &Value::I64(i64::from(count)));
    }
    properties.headers = Some(&raw);
    Some(properties.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Compatibility;
    use crate::message::{Draft, Facts, address};
    use crate::wire::table::RawTable;

    fn sent(version: Option<Compatibility>, failures: u32, acquired: u32) -> Vec<(String, i64)> {
        let raw = Properties { headers: Some(b"\x01kl\0\0\0\0\0\0\0\x09"), ..Properties::default() }.encode();
        let message = Draft::new(&address(b"", b"q").unwrap(), &raw, 0, Facts::default()).finish().unwrap();
        let entry = Entry { failures, acquired, ..Entry::unqueued(message) };
        let Some(edited) = properties(version.map(Compatibility::profile), &entry) else { return Vec::new() };
        let headers = Properties::parse(&edited).unwrap().headers.unwrap();
        let entries = RawTable::new(headers).iter().map(|(key, value)| {
            assert_eq!(value.tag, b'l');
            (String::from_utf8(key.to_vec()).unwrap(), value.as_int().unwrap())
        });
        entries.collect()
    }

    #[test]
    fn each_version_tells_what_it_tells() {
        let expected = |counts: &[(&str, i64)]| {
            let own = std::iter::once(("k", 9));
            own.chain(counts.iter().copied()).map(|(key, n)| (key.to_owned(), n)).collect::<Vec<_>>()
        };
        assert_eq!(sent(None, 3, 3), []);
        assert_eq!(sent(Some(Compatibility::V3_13), 0, 0), []);
        assert_eq!(sent(Some(Compatibility::V3_13), 2, 2), expected(&[(FAILURES, 2)]));
        assert_eq!(sent(Some(Compatibility::V4_2), 0, 0), []);
        assert_eq!(sent(Some(Compatibility::V4_2), 1, 1), expected(&[(FAILURES, 1)]));
        assert_eq!(sent(Some(Compatibility::V4_3), 0, 2), expected(&[(ACQUIRED, 2)]));
        assert_eq!(sent(Some(Compatibility::V4_3), 1, 2), expected(&[(ACQUIRED, 2), (FAILURES, 1)]));
    }
}
