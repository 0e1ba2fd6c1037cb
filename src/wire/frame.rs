//! Frames: type, channel, payload and the end octet around them.
//!
//! A frame's seven leading octets are judged before its payload arrives, so that no announced size is waited for that
//! the connection did not agree to. Texts are RabbitMQ's. Deliberately absent: what a payload means, and which frame
//! may come when.

use super::erlang;
use super::refusal::{Refusal, ReplyCode};

/// Octets of a frame around its payload: seven before it, one after.
pub const FRAME_OVERHEAD: usize = 8;

/// The octet that ends every frame.
pub const FRAME_END: u8 = 0xCE;

/// Octets before a frame's payload: type, channel, size.
const PREFIX: usize = 7;

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    /// A method and its arguments.
    Method,
    /// A content header: class, body size, properties.
    Header,
    /// A piece of a body.
    Body,
    /// A sign of life.
    Heartbeat,
}

impl FrameKind {
    /// The type octet on the wire.
    #[inline]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Method => 1,
            Self::Header => 2,
            Self::Body => 3,
            Self::Heartbeat => 8,
        }
    }

    #[inline]
    fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// One frame, borrowing its payload from the read buffer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameKind,
    /// The channel it belongs to; 0 is the connection itself.
    pub channel: u16,
    /// The octets between prefix and end octet.
    pub payload: &'a [u8],
}

/// Decodes the first frame of `input` and the octets it takes; `None` while it is incomplete.
///
/// `frame_max` bounds the payload alone, 0 meaning no limit: RabbitMQ leaves eight octets of slack because clients get
/// the frame's overhead wrong. Refuses with 501 an oversized frame as soon as its prefix is complete; a wrong end octet
/// and an unknown type once the frame is, so that the answer does not depend on how the octets arrived.
#[inline]
pub fn decode(input: &[u8], frame_max: u32) -> Result<Option<(Frame<'_>, usize)>, Refusal> {
    let Some((&[kind, c1, c0, s3, s2, s1, s0], rest)) = input.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes([s3, s2, s1, s0]);
    if frame_max != 0 && size > frame_max {
        return Err(too_large(kind, size, frame_max));
    }
    let len = usize::try_from(size).unwrap_or(usize::MAX);
    let Some((payload, after)) = rest.split_at_checked(len) else {
        return Ok(None);
    };
    match after.first() {
        None => Ok(None),
        Some(&FRAME_END) => {
            let known = FrameKind::from_octet(kind).filter(|&known| known != FrameKind::Heartbeat || size == 0);
            let kind = known.ok_or_else(|| unknown(kind, payload))?;
            let frame = Frame { kind, channel: u16::from_be_bytes([c1, c0]), payload };
            Ok(Some((frame, len.saturating_add(FRAME_OVERHEAD))))
        }
        Some(&end) => Err(bad_end(kind, payload, end)),
    }
}

/// 505 for a frame that is well-formed but not allowed on its channel: a heartbeat outside channel 0, content on it.
#[cold]
pub fn unexpected(frame: Frame<'_>) -> Refusal {
    let explanation = format!("type {}, {}", frame.kind.octet(), erlang::snippet(frame.payload));
    Refusal::new(ReplyCode::UnexpectedFrame, explanation)
}

/// 501 for a frame of no known type, or whose payload is too short (or, for a heartbeat, too long) for its type.
#[cold]
pub(super) fn unknown(kind: u8, payload: &[u8]) -> Refusal {
    frame_error(kind, payload, "unknown_frame")
}

#[cold]
fn bad_end(kind: u8, payload: &[u8], end: u8) -> Refusal {
    frame_error(kind, payload, &format!("{{invalid_frame_end_marker,{end}}}"))
}

#[cold]
fn too_large(kind: u8, size: u32, frame_max: u32) -> Refusal {
    // RabbitMQ names the payload that would have kept to the specification.
    let allowed = i64::from(frame_max).saturating_sub(8);
    frame_error(kind, &[], &format!("{{frame_too_large,{size},{allowed}}}"))
}

fn frame_error(kind: u8, payload: &[u8], reason: &str) -> Refusal {
    let explanation = format!("type {kind}, {}: {reason}", erlang::snippet(payload));
    Refusal::new(ReplyCode::FrameError, explanation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend_from_slice(&channel.to_be_bytes());
        out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        out.extend_from_slice(payload);
        out.push(FRAME_END);
        out
    }

    fn refusal(input: &[u8], frame_max: u32) -> String {
        let refusal = decode(input, frame_max).unwrap_err();
        assert_eq!((refusal.class_id, refusal.method_id), (0, 0));
        refusal.reply_text()
    }

    #[test]
    fn a_stream_split_at_every_octet_yields_the_same_frames() {
        let mut stream = frame(1, 7, b"\0\x14\0\x0a\0");
        stream.extend(frame(2, 7, &[9; 14]));
        stream.extend(frame(3, 7, b"body"));
        stream.extend(frame(3, 65535, b""));
        stream.extend(frame(8, 0, b""));
        let expected = [
            (FrameKind::Method, 7, 5),
            (FrameKind::Header, 7, 14),
            (FrameKind::Body, 7, 4),
            (FrameKind::Body, 65535, 0),
            (FrameKind::Heartbeat, 0, 0),
        ];
        for split in 0..=stream.len() {
            let mut seen = Vec::new();
            let mut start = 0;
            for end in [split, stream.len()] {
                while let Some((frame, used)) = decode(&stream[start..end], 131_072).unwrap() {
                    seen.push((frame.kind, frame.channel, frame.payload.len()));
                    start += used;
                }
            }
            assert_eq!(seen, expected, "split at {split}");
            assert_eq!(start, stream.len());
        }
    }

    #[test]
    fn an_oversized_frame_is_refused_from_its_prefix() {
        let text = "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}";
        assert_eq!(refusal(&[3, 0, 1, 0, 2, 0, 1], 131_072), text);
        assert!(decode(&[3, 0, 1, 0, 2, 0], 131_072).unwrap().is_none(), "six octets decide nothing");
        assert!(decode(&[3, 0, 1, 0, 2, 0, 0], 131_072).unwrap().is_none(), "frame-max itself is allowed");
        assert!(decode(&[3, 0, 1, 255, 255, 255, 255], 0).unwrap().is_none(), "0 is no limit");
    }

    #[test]
    fn a_wrong_end_octet_is_refused_with_the_payload() {
        let mut input = frame(1, 1, &[0, 20, 0, 10, 0]);
        *input.last_mut().unwrap() = 0;
        let text = "FRAME_ERROR - type 1, all octets = <<0,20,0,10,0>>: {invalid_frame_end_marker,0}";
        assert_eq!(refusal(&input, 8192), text);
        let mut input = frame(3, 1, &[150; 17]);
        *input.last_mut().unwrap() = 205;
        assert!(refusal(&input, 8192).starts_with("FRAME_ERROR - type 3, first 16 octets = <<150,150,"));
    }

    #[test]
    fn an_unknown_type_is_refused_with_its_payload() {
        let text = "FRAME_ERROR - type 9, all octets = <<\"abc\">>: unknown_frame";
        assert_eq!(refusal(&frame(9, 1, b"abc"), 8192), text);
        for len in 0..10 {
            assert!(decode(&frame(9, 1, b"abc")[..len], 8192).unwrap().is_none(), "cut at {len}");
        }
        assert_eq!(refusal(&frame(8, 0, b"abc"), 8192), text.replace('9', "8"), "a heartbeat has no payload");
    }

    #[test]
    fn frames_on_the_wrong_channel_are_named() {
        let heartbeat = Frame { kind: FrameKind::Heartbeat, channel: 1, payload: &[] };
        assert_eq!(unexpected(heartbeat).reply_text(), "UNEXPECTED_FRAME - type 8, all octets = <<>>");
        let header = Frame { kind: FrameKind::Header, channel: 0, payload: &[0, 60, 0] };
        assert_eq!(unexpected(header).reply_text(), "UNEXPECTED_FRAME - type 2, all octets = <<0,60,0>>");
    }
}
