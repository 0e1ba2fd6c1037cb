//! A cursor over received octets: every read either succeeds in full or yields `None`.
//!
//! Invariant: what is returned borrows from the input; nothing is copied or allocated. Deliberately absent: errors with
//! reasons (the caller knows what it was decoding and answers as RabbitMQ does).

/// The octets not yet read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What has not been read.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    #[inline]
    pub(super) fn octet(&mut self) -> Option<u8> {
        let (head, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*head)
    }

    #[inline]
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    /// Content of a short string: one octet of length before it.
    #[inline]
    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        let len = self.octet()?;
        self.take(usize::from(len))
    }

    /// Content of a long string, table or array: four octets of length before it.
    #[inline]
    pub(super) fn long(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(len).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_all_or_nothing() {
        let mut reader = Reader::new(&[2, b'h', b'i', 0, 0, 0, 1, b'!', 9]);
        assert_eq!(reader.short(), Some(&b"hi"[..]));
        assert_eq!(reader.long(), Some(&b"!"[..]));
        assert_eq!(reader.u64(), None);
        assert_eq!(reader.rest(), &[9], "a failed read consumes nothing");
        assert_eq!(reader.short(), None);
    }

    #[test]
    fn a_declared_length_beyond_the_input_is_refused() {
        assert_eq!(Reader::new(&[255, 255, 255, 255, 1]).long(), None);
        assert_eq!(Reader::new(&[3, 1, 2]).short(), None);
        assert_eq!(Reader::new(&[]).octet(), None);
    }
}
