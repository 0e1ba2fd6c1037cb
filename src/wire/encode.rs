//! Frames as octets, appended to a write buffer.
//!
//! Everything a consumer or publisher causes in numbers is written by hand in one pass into reserved memory; the rest
//! goes through `amq-protocol`'s generators. Invariant: what is appended is complete frames. Deliberately absent:
//! deciding what to send, and splitting anything but bodies.

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{AMQPClass, gen_class};

pub use super::frame::FRAME_END;
use super::frame::{FRAME_OVERHEAD, FrameKind};
use super::refusal::Refusal;
use super::short;

/// Appends any method that has no function of its own.
#[allow(clippy::needless_pass_by_value)] // callers build the method in place
pub fn method(out: &mut Vec<u8>, channel: u16, class: AMQPClass) {
    // Its own buffer, so that a generator that failed could not leave half a frame; writing to memory does not fail.
    let payload = gen_class(&class)(WriteContext::from(Vec::new())).map(|written| written.into_inner().0);
    debug_assert!(payload.is_ok(), "methods the broker builds can be written");
    let payload = payload.unwrap_or_default();
    if !payload.is_empty() {
        open(out, FrameKind::Method, channel, payload.len());
        out.extend_from_slice(&payload);
        out.push(FRAME_END);
    }
}

/// Appends connection.start (10,10) for AMQP 0-9-1; `server_properties` is a raw table, whose order is kept.
pub fn start(out: &mut Vec<u8>, server_properties: &[u8], mechanisms: &str, locales: &str) {
    let texts = [server_properties, mechanisms.as_bytes(), locales.as_bytes()];
    let len = texts.iter().fold(6, |len: usize, text| len.saturating_add(text.len()).saturating_add(4));
    open(out, FrameKind::Method, 0, len);
    out.extend_from_slice(&[0, 10, 0, 10, 0, 9]);
    for text in texts {
        out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(text);
    }
    out.push(FRAME_END);
}

/// Appends basic.deliver (60,60); `consumer_tag` is at most 255 octets, `address` two short strings.
#[inline]
pub fn deliver(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &[u8],
    delivery_tag: u64,
    redelivered: bool,
    address: &[u8],
) {
    let consumer_tag = consumer_tag.get(..short::MAX_LEN).unwrap_or(consumer_tag);
    let len = consumer_tag.len().saturating_add(address.len()).saturating_add(14);
    open_basic(out, channel, len, 60);
    short::put(out, consumer_tag);
    put_tag(out, delivery_tag, redelivered);
    out.extend_from_slice(address);
    out.push(FRAME_END);
}

/// Appends basic.get-ok (60,71); `message_count` is what remains in the queue.
#[inline]
pub fn get_ok(
    out: &mut Vec<u8>,
    channel: u16,
    delivery_tag: u64,
    redelivered: bool,
    address: &[u8],
    message_count: u32,
) {
    open_basic(out, channel, address.len().saturating_add(17), 71);
    put_tag(out, delivery_tag, redelivered);
    out.extend_from_slice(address);
    out.extend_from_slice(&message_count.to_be_bytes());
    out.push(FRAME_END);
}

/// Appends basic.return (60,50); `text` is cut to a short string.
pub fn basic_return(out: &mut Vec<u8>, channel: u16, code: u16, text: &str, address: &[u8]) {
    let text = short::cut(text, short::MAX_LEN);
    open_basic(out, channel, text.len().saturating_add(address.len()).saturating_add(7), 50);
    out.extend_from_slice(&code.to_be_bytes());
    short::put(out, text.as_bytes());
    out.extend_from_slice(address);
    out.push(FRAME_END);
}

/// Appends a content header for a body of `body_len` octets; `properties` are flags and values, raw.
#[inline]
pub fn content_header(out: &mut Vec<u8>, channel: u16, body_len: u64, properties: &[u8]) {
    open(out, FrameKind::Header, channel, properties.len().saturating_add(12));
    // Class basic, weight 0.
    out.extend_from_slice(&[0, 60, 0, 0]);
    out.extend_from_slice(&body_len.to_be_bytes());
    out.extend_from_slice(properties);
    out.push(FRAME_END);
}

/// Appends a body in frames of at most `frame_max` octets, overhead included; 0 is no limit. An empty body has none.
#[inline]
pub fn body(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_max: u32) {
    let chunk = if frame_max == 0 { u32::MAX } else { frame_max.saturating_sub(8).max(1) };
    for piece in body.chunks(usize::try_from(chunk).unwrap_or(usize::MAX)) {
        open(out, FrameKind::Body, channel, piece.len());
        out.extend_from_slice(piece);
        out.push(FRAME_END);
    }
}

/// What precedes a body frame's payload of `len` octets, for bodies that are written without a copy; [`FRAME_END`]
/// follows them.
#[inline]
pub fn body_frame_prefix(channel: u16, len: u32) -> [u8; 7] {
    prefix(FrameKind::Body, channel, len)
}

/// Appends basic.ack (60,80) to a publisher.
#[inline]
pub fn ack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    confirm(out, channel, 80, delivery_tag, multiple);
}

/// Appends basic.nack (60,120) to a publisher; requeue is 0.
#[inline]
pub fn nack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    confirm(out, channel, 120, delivery_tag, multiple);
}

/// Appends a heartbeat.
pub fn heartbeat(out: &mut Vec<u8>) {
    open(out, FrameKind::Heartbeat, 0, 0);
    out.push(FRAME_END);
}

/// Appends connection.close (10,50) with the refusal's code, text and ids.
pub fn close_connection(out: &mut Vec<u8>, refusal: &Refusal) {
    close(out, 0, [0, 10, 0, 50], refusal);
}

/// Appends channel.close (20,40) with the refusal's code, text and ids.
pub fn close_channel(out: &mut Vec<u8>, channel: u16, refusal: &Refusal) {
    close(out, channel, [0, 20, 0, 40], refusal);
}

fn close(out: &mut Vec<u8>, channel: u16, ids: [u8; 4], refusal: &Refusal) {
    let text = refusal.reply_text();
    open(out, FrameKind::Method, channel, text.len().saturating_add(11));
    out.extend_from_slice(&ids);
    out.extend_from_slice(&refusal.code.code().to_be_bytes());
    short::put(out, text.as_bytes());
    out.extend_from_slice(&refusal.class_id.to_be_bytes());
    out.extend_from_slice(&refusal.method_id.to_be_bytes());
    out.push(FRAME_END);
}

/// Appends all that precedes the arguments of a method of class basic, whose payload is `len` octets, ids included.
#[inline]
fn open_basic(out: &mut Vec<u8>, channel: u16, len: usize, method_id: u8) {
    out.reserve(len.saturating_add(FRAME_OVERHEAD));
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    let [kind, c1, c0, s3, s2, s1, s0] = prefix(FrameKind::Method, channel, len);
    out.extend_from_slice(&[kind, c1, c0, s3, s2, s1, s0, 0, 60, 0, method_id]);
}

/// Appends all that precedes a payload of `len` octets and reserves memory for the whole frame.
#[inline]
fn open(out: &mut Vec<u8>, kind: FrameKind, channel: u16, len: usize) {
    out.reserve(len.saturating_add(FRAME_OVERHEAD));
    out.extend_from_slice(&prefix(kind, channel, u32::try_from(len).unwrap_or(u32::MAX)));
}

#[inline]
fn prefix(kind: FrameKind, channel: u16, len: u32) -> [u8; 7] {
    let ([c1, c0], [s3, s2, s1, s0]) = (channel.to_be_bytes(), len.to_be_bytes());
    [kind.octet(), c1, c0, s3, s2, s1, s0]
}

/// Delivery tag and one octet of bits, of which only the first is used.
#[inline]
fn put_tag(out: &mut Vec<u8>, delivery_tag: u64, bit: bool) {
    let [t7, t6, t5, t4, t3, t2, t1, t0] = delivery_tag.to_be_bytes();
    out.extend_from_slice(&[t7, t6, t5, t4, t3, t2, t1, t0, u8::from(bit)]);
}

/// A whole frame of 21 octets, 13 of them payload, in one write: confirms come in long runs.
#[inline]
fn confirm(out: &mut Vec<u8>, channel: u16, method_id: u8, delivery_tag: u64, multiple: bool) {
    let (kind, [c1, c0]) = (FrameKind::Method.octet(), channel.to_be_bytes());
    let [t7, t6, t5, t4, t3, t2, t1, t0] = delivery_tag.to_be_bytes();
    let bits = u8::from(multiple);
    out.extend_from_slice(&[
        kind, c1, c0, 0, 0, 0, 13, 0, 60, 0, method_id, t7, t6, t5, t4, t3, t2, t1, t0, bits, FRAME_END,
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame;
    use crate::wire::refusal::ReplyCode;

    fn payloads(mut octets: &[u8]) -> Vec<(FrameKind, u16, Vec<u8>)> {
        let mut out = Vec::new();
        while let Some((frame, used)) = frame::decode(octets, 0).unwrap() {
            out.push((frame.kind, frame.channel, frame.payload.to_vec()));
            octets = &octets[used..];
        }
        assert!(octets.is_empty(), "only complete frames");
        out
    }

    #[test]
    fn bodies_are_split_below_the_frame_limit() {
        let mut out = Vec::new();
        body(&mut out, 3, b"", 4096);
        assert!(out.is_empty(), "an empty body has no frame");
        for (len, frame_max, frames) in [(1, 16, 1), (8, 16, 1), (9, 16, 2), (24, 16, 3), (100, 0, 1), (3, 8, 3)] {
            let octets: Vec<u8> = (0..len).collect();
            let mut out = Vec::new();
            body(&mut out, 3, &octets, frame_max);
            let pieces = payloads(&out);
            assert_eq!(pieces.len(), frames);
            assert_eq!(pieces.iter().flat_map(|(_, _, piece)| piece.clone()).collect::<Vec<_>>(), octets);
            assert!(pieces.iter().all(|(kind, channel, _)| (*kind, *channel) == (FrameKind::Body, 3)));
            assert_eq!(body_frame_prefix(3, pieces[0].2.len() as u32), out[..7]);
        }
    }

    #[test]
    fn confirms_and_heartbeats_are_what_the_wire_has() {
        let mut out = Vec::new();
        ack(&mut out, 258, 1, true);
        assert_eq!(out, [1, 1, 2, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0xCE]);
        out.clear();
        nack(&mut out, 1, 2, false);
        assert_eq!(out, [1, 0, 1, 0, 0, 0, 13, 0, 60, 0, 120, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0xCE]);
        out.clear();
        heartbeat(&mut out);
        assert_eq!(out, [8, 0, 0, 0, 0, 0, 0, 0xCE]);
    }

    #[test]
    fn closing_names_code_text_and_method() {
        let refusal = Refusal::new(ReplyCode::NotFound, "x".repeat(400)).at(50, 10);
        let mut out = Vec::new();
        close_channel(&mut out, 9, &refusal);
        close_connection(&mut out, &refusal);
        let frames = payloads(&out);
        for ((kind, channel, payload), (on, ids)) in frames.iter().zip([(9, [0, 20, 0, 40]), (0, [0, 10, 0, 50])]) {
            assert_eq!((*kind, *channel), (FrameKind::Method, on));
            assert_eq!(payload[..4], ids);
            assert_eq!(payload[4..7], [1, 148, 255]);
            assert_eq!(payload[7..262], *refusal.reply_text().as_bytes());
            assert_eq!(payload[262..], [0, 50, 0, 10]);
        }
        assert_eq!(frames.len(), 2);
    }

    #[test]
    fn over_long_tags_and_texts_are_cut() {
        let mut out = Vec::new();
        deliver(&mut out, 1, &[b't'; 300], 1, false, &[0, 0]);
        basic_return(&mut out, 1, 312, &"n".repeat(300), &[0, 0]);
        let frames = payloads(&out);
        assert_eq!((frames[0].2.len(), frames[1].2.len()), (4 + 256 + 9 + 2, 6 + 256 + 2));
    }
}
