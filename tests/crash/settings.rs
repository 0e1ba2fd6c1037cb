//! What a run of the harness chooses: how many rounds, from which seed, and the numbers that follow from it.

/// Rounds unless `LEVERET_CRASH_ROUNDS` says otherwise.
const ROUNDS: u64 = 5;

/// A number from the environment.
pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// How many rounds, and the seed of their choices; to be printed.
pub(crate) fn rounds_and_seed() -> (u64, u64) {
    let rounds = setting("LEVERET_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = setting("LEVERET_CRASH_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    (rounds, seed)
}

/// Which invariant is to be broken on purpose (`LEVERET_CRASH_MUTATE`), to see the audit fail.
pub(crate) fn mutation() -> Option<String> {
    std::env::var("LEVERET_CRASH_MUTATE").ok()
}

/// Numbers that look random and repeat with their seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// From `from` to before `until`.
    pub(crate) fn within(&mut self, from: u64, until: u64) -> u64 {
        from + self.below(until - from)
    }

    /// True in `n` of a hundred cases.
    pub(crate) fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    /// Another row of numbers, which follows from this one.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}
