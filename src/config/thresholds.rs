//! Where the memory alarm and the disk alarm go up.
//!
//! Pure values and their texts. Deliberately absent: how much memory or disk there is.

use super::units;

/// Parts in a million: a fraction that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts(u32);

const WHOLE: u32 = 1_000_000;

impl Parts {
    /// The largest multiple.
    pub const MOST: f64 = 4_000.0;

    /// A fraction, or a multiple up to [`Parts::MOST`], to six digits.
    pub fn new(fraction: f64) -> Option<Self> {
        if !(0.0..=Self::MOST).contains(&fraction) {
            return None;
        }
        // At most four thousand millions, which fit.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let parts = (fraction * f64::from(WHOLE)).round() as u32;
        Some(Self(parts))
    }

    /// It as a number.
    pub(super) fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// This fraction of `whole`.
    pub fn of(self, whole: u64) -> u64 {
        let part = u128::from(whole).saturating_mul(self.0.into()).checked_div(WHOLE.into());
        part.and_then(|part| u64::try_from(part).ok()).unwrap_or(whole)
    }
}

/// How much memory the process may hold before publishers are blocked (RabbitMQ's `vm_memory_high_watermark`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryWatermark {
    /// This fraction of what the machine, or the process's cgroup, has.
    Relative(Parts),
    /// So many octets.
    Absolute(u64),
}

impl Default for MemoryWatermark {
    fn default() -> Self {
        Self::Relative(Parts(600_000))
    }
}

impl MemoryWatermark {
    /// Reads `0.6` as a fraction and `2GiB` as octets.
    pub fn parse(text: &str) -> Option<Self> {
        let fraction = text.parse().ok().filter(|fraction| *fraction <= 1.0).and_then(Parts::new).map(Self::Relative);
        fraction.or_else(|| units::size(text).map(Self::Absolute))
    }
}

/// How much room the store must have for publishers not to be blocked (RabbitMQ's `disk_free_limit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFreeLimit {
    /// A share of the file system.
    Automatic,
    /// So many octets.
    Absolute(u64),
    /// This multiple of the memory that the machine, or the process's cgroup, has.
    OfMemory(Parts),
}

/// Stands before a multiple of the memory, as in `rabbitmqctl set_disk_free_limit`.
const OF_MEMORY: &str = "mem_relative ";

impl DiskFreeLimit {
    /// Reads `auto`, sizes, and `mem_relative 1.5`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(OF_MEMORY) {
            Some(multiple) => multiple.trim().parse().ok().and_then(Parts::new).map(Self::OfMemory),
            None if text == "auto" => Some(Self::Automatic),
            None => units::size(text).map(Self::Absolute),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_and_sizes() {
        let relative = |parts| Some(MemoryWatermark::Relative(Parts(parts)));
        for (text, expected) in [
            ("0.6", relative(600_000)),
            ("0", relative(0)),
            ("1", relative(WHOLE)),
            ("2GiB", Some(MemoryWatermark::Absolute(2 << 30))),
            ("4096", Some(MemoryWatermark::Absolute(4_096))),
            ("1.5", None),
            ("-0.1", None),
            ("NaN", None),
            ("much", None),
        ] {
            assert_eq!(MemoryWatermark::parse(text), expected, "{text}");
        }
        assert_eq!(Parts(600_000).of(1_000), 600);
        assert_eq!(Parts(WHOLE).of(u64::MAX), u64::MAX);
        assert_eq!(DiskFreeLimit::parse("auto"), Some(DiskFreeLimit::Automatic));
        assert_eq!(DiskFreeLimit::parse("50MB"), Some(DiskFreeLimit::Absolute(50_000_000)));
        assert_eq!(DiskFreeLimit::parse("mem_relative 1.5"), Some(DiskFreeLimit::OfMemory(Parts(1_500_000))));
        for wrong in ["none", "mem_relative", "mem_relative x", "mem_relative -1", "mem_relative 99999"] {
            assert_eq!(DiskFreeLimit::parse(wrong), None, "{wrong}");
        }
    }
}
