//! What is to be written to the client: small things copied into one buffer, large bodies spliced in by reference.
//!
//! Copying a body of up to 2 KiB costs less than handing it to the kernel separately; from 4 KiB on it is the other way
//! round (measured: see ARCHITECTURE). The buffer gives its memory back when it has been idle.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::message::Message;
use crate::wire::encode;
use crate::wire::frame::FRAME_END;

/// Bodies longer than this, in octets, are spliced.
const SPLICE_FROM: usize = 4 * 1024;

/// Pieces handed to the kernel at once.
const MAX_PIECES: usize = 64;

/// Memory kept while there is nothing to write, in octets.
const KEPT: usize = 4 * 1024;

/// Output on its way to the socket.
#[derive(Debug, Default)]
pub(super) struct Output {
    flat: Vec<u8>,
    /// Octets of `flat` written already.
    written: usize,
    /// Bodies, each with the position in `flat` before which it stands.
    splices: VecDeque<(usize, Bytes)>,
    spliced: usize,
    /// Length of the longest body among what is not yet written.
    longest: usize,
}

impl Output {
    /// Where frames are appended.
    #[inline]
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.flat
    }

    /// Octets not yet written.
    #[inline]
    pub(super) fn pending(&self) -> usize {
        self.flat.len() - self.written + self.spliced
    }

    /// Octets not yet written beyond the longest body: one message always fits, however small the limits.
    pub(super) fn backlog(&self) -> usize {
        self.pending().saturating_sub(self.longest)
    }

    /// Appends content header and body of a message.
    #[inline]
    pub(super) fn content(&mut self, channel: u16, message: &Message, frame_max: u32) {
        self.content_with(channel, message, message.properties(), frame_max);
    }

    /// The same with other properties than the message's.
    #[inline]
    pub(super) fn content_with(&mut self, channel: u16, message: &Message, properties: &[u8], frame_max: u32) {
        let body = message.body();
        encode::content_header(&mut self.flat, channel, body.len() as u64, properties);
        if body.len() <= SPLICE_FROM {
            encode::body(&mut self.flat, channel, body, frame_max);
        } else {
            self.splice(channel, &message.body_bytes(), frame_max);
        }
    }

    fn splice(&mut self, channel: u16, body: &Bytes, frame_max: u32) {
        let limit = if frame_max == 0 { u32::MAX } else { frame_max - 8 };
        self.longest = self.longest.max(body.len());
        let mut rest = body.clone();
        while !rest.is_empty() {
            let len = u32::try_from(rest.len()).unwrap_or(u32::MAX).min(limit);
            let piece = rest.split_to(len as usize);
            self.flat.extend_from_slice(&encode::body_frame_prefix(channel, len));
            self.spliced += piece.len();
            self.splices.push_back((self.flat.len(), piece));
            self.flat.push(FRAME_END);
        }
    }

    /// The next pieces to write, in order.
    pub(super) fn pieces<'a>(&'a self, pieces: &mut Vec<IoSlice<'a>>) {
        let mut at = self.written;
        for (before, body) in &self.splices {
            if pieces.len() + 2 > MAX_PIECES {
                return;
            }
            if *before > at {
                pieces.push(IoSlice::new(&self.flat[at..*before]));
            }
            pieces.push(IoSlice::new(body));
            at = *before;
        }
        if self.flat.len() > at {
            pieces.push(IoSlice::new(&self.flat[at..]));
        }
    }

    /// What to write if nothing is spliced.
    pub(super) fn plain(&self) -> Option<&[u8]> {
        self.splices.is_empty().then(|| &self.flat[self.written..])
    }

    /// Notes that the first `n` octets were written.
    pub(super) fn advance(&mut self, mut n: usize) {
        while n > 0 {
            let next = self.splices.front().map_or(self.flat.len(), |(before, _)| *before);
            let flat = (next - self.written).min(n);
            self.written += flat;
            n -= flat;
            if n == 0 {
                break;
            }
            let Some((_, body)) = self.splices.front_mut() else { break };
            let part = body.len().min(n);
            n -= part;
            self.spliced -= part;
            if part == body.len() {
                self.splices.pop_front();
            } else {
                *body = body.slice(part..);
            }
        }
        if self.written == self.flat.len() && self.splices.is_empty() {
            self.flat.clear();
            self.written = 0;
            self.longest = 0;
        }
    }

    /// Gives memory back, if there is nothing to write.
    pub(super) fn relax(&mut self) {
        if self.flat.is_empty() {
            self.flat.shrink_to(KEPT);
            self.splices.shrink_to(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Draft, Facts, address};

    fn written(output: &mut Output, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while output.pending() > 0 {
            let mut pieces = Vec::new();
            output.pieces(&mut pieces);
            let mut all: Vec<u8> = pieces.iter().flat_map(|p| p.to_vec()).collect();
            all.truncate(step);
            output.advance(all.len());
            out.extend(all);
        }
        out
    }

    #[test]
    fn spliced_and_copied_bodies_come_out_the_same_however_they_are_cut() {
        let body: Vec<u8> = (0..20_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut draft = Draft::new(&address(b"", b"q").unwrap(), &[0, 0], body.len() as u64, Facts::default());
        assert!(draft.try_extend(&body));
        let message = draft.finish().unwrap();
        let mut expected = Vec::new();
        encode::heartbeat(&mut expected);
        encode::content_header(&mut expected, 7, body.len() as u64, &[0, 0]);
        encode::body(&mut expected, 7, &body, 4096);
        encode::heartbeat(&mut expected);
        for step in [1, 7, 4088, 5000, 100_000] {
            let mut output = Output::default();
            encode::heartbeat(output.buffer());
            output.content(7, &message, 4096);
            encode::heartbeat(output.buffer());
            assert_eq!(output.pending(), expected.len());
            assert_eq!(written(&mut output, step), expected, "cut every {step}");
        }
    }
}
