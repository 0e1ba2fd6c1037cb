//! Arbitrary octets read as choices, so that inputs of a fuzzer become well-formed things often enough.

/// The input, octet by octet; zeros when it is used up.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn number(&mut self) -> usize {
        usize::from(self.octet())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        let taken = self.take(8);
        taken.iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
    }

    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// At most 255 octets, as many as the next one says.
    pub(crate) fn short(&mut self) -> &'a [u8] {
        let count = self.number();
        self.take(count)
    }

    /// One of these.
    pub(crate) fn one_of<'b, T: ?Sized>(&mut self, all: &[&'b T]) -> &'b T {
        all[self.number() % all.len()]
    }
}
