//! Sizes and durations as people write them: `16 MiB`, `128kB`, `10s`, `50 ms`.
//!
//! Pure functions from text to number. Deliberately absent: fractions and sums (`1.5h`, `1h30m`), which invite
//! rounding.

use std::time::Duration;

/// What [`size`] accepts, for error messages.
pub(super) const SIZE: &str = "a whole number of bytes, or one with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB";
/// What [`duration`] accepts, for error messages.
pub(super) const DURATION: &str = "a whole number with ms, s, m, h or d";

/// Octets named by a text such as `4096`, `16 MiB` or `1GB`; units are read without regard to case.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Time named by a text such as `50ms` or `10 s`. A number without unit is refused: seconds or milliseconds?
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// Leading digits and trailing unit, with blanks between them dropped.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("131072"), Some(131_072));
        assert_eq!(size("16 MiB"), Some(16 << 20));
        assert_eq!(size("128MiB"), Some(128 << 20));
        assert_eq!(size("3kb"), Some(3_000));
        assert_eq!(size(" 2 GiB "), Some(2 << 30));
        for wrong in ["", "MiB", "-1", "1.5GiB", "1 MiBs", "99999999999999999999", "18446744073709551615kB", "1 2"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("50ms"), Some(Duration::from_millis(50)));
        assert_eq!(duration("10 s"), Some(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("1d"), Some(Duration::from_secs(86_400)));
        for wrong in ["", "10", "s", "1.5s", "-1s", "1h30m", "18446744073709551615d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
