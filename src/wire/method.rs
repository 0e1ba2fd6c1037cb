//! Methods: the payload of a method frame, and content headers.
//!
//! The methods of the hot path are borrowed views decoded in one pass; every other method is owned and comes from
//! `amq-protocol` behind a guard that knows their signatures. Names are given as received: removing CR and LF from them
//! is the session's work, as is refusing methods that only a server sends.

use amq_protocol::protocol::{AMQPClass, parse_class};

use super::frame::{self, FrameKind};
use super::reader::Reader;
use super::refusal::{Refusal, ReplyCode};
use super::signature::{cannot_decode, guard};

const BASIC: u16 = 60;
const PUBLISH: u16 = 40;
const ACK: u16 = 80;
const REJECT: u16 = 90;
const NACK: u16 = 120;

/// A method a client sent.
#[derive(Debug)]
pub enum Method<'a> {
    /// basic.publish (60,40).
    Publish(Publish<'a>),
    /// basic.ack (60,80).
    Ack {
        /// The delivery to acknowledge; 0 with `multiple` is all of them.
        delivery_tag: u64,
        /// All deliveries up to this one.
        multiple: bool,
    },
    /// basic.nack (60,120), RabbitMQ's extension.
    Nack {
        /// The delivery to give back; 0 with `multiple` is all of them.
        delivery_tag: u64,
        /// All deliveries up to this one.
        multiple: bool,
        /// Back to the queue rather than dropped or dead-lettered.
        requeue: bool,
    },
    /// basic.reject (60,90).
    Reject {
        /// The delivery to give back.
        delivery_tag: u64,
        /// Back to the queue rather than dropped or dead-lettered.
        requeue: bool,
    },
    /// Any other method of RabbitMQ's dialect, server-only ones included.
    Other(AMQPClass),
}

/// The arguments of basic.publish. Its short strings are not checked for UTF-8, as RabbitMQ's are not.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// Exchange and routing key as two short strings with their length octets, contiguous as received.
    pub address: &'a [u8],
    /// Name of the exchange; empty for the default one.
    pub exchange: &'a [u8],
    /// The routing key.
    pub routing_key: &'a [u8],
    /// Return the message when no queue takes it.
    pub mandatory: bool,
    /// Deliver at once or return; RabbitMQ refuses it.
    pub immediate: bool,
}

/// A content header: what follows a publish.
#[derive(Clone, Copy, Debug)]
pub struct ContentHeader<'a> {
    /// The class of the method it belongs to; 60 in a well-formed stream.
    pub class_id: u16,
    /// Octets of body to come.
    pub body_size: u64,
    /// Property flags and values, raw.
    pub properties: &'a [u8],
}

/// Decodes the payload of a method frame.
///
/// Refuses with 501 what cannot be decoded and with 503 what RabbitMQ does not know.
#[inline]
pub fn decode(payload: &[u8]) -> Result<Method<'_>, Refusal> {
    let Some((&[c1, c0, m1, m0], args)) = payload.split_first_chunk::<4>() else {
        return Err(frame::unknown(FrameKind::Method.octet(), payload));
    };
    let (class_id, method_id) = (u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0]));
    let hot = match (class_id, method_id) {
        (BASIC, PUBLISH) => publish(args).map(Method::Publish),
        (BASIC, ACK) => {
            tag_and_bits(args).map(|(delivery_tag, bits)| Method::Ack { delivery_tag, multiple: bits & 1 != 0 })
        }
        (BASIC, REJECT) => {
            tag_and_bits(args).map(|(delivery_tag, bits)| Method::Reject { delivery_tag, requeue: bits & 1 != 0 })
        }
        (BASIC, NACK) => tag_and_bits(args).map(|(delivery_tag, bits)| Method::Nack {
            delivery_tag,
            multiple: bits & 1 != 0,
            requeue: bits & 2 != 0,
        }),
        _ => return other(class_id, method_id, payload, args),
    };
    hot.ok_or_else(|| cannot_decode(class_id, method_id, args))
}

/// Class and method id of a method payload; 0 where it is too short to have them.
pub fn ids(payload: &[u8]) -> (u16, u16) {
    match payload.first_chunk::<4>() {
        Some(&[c1, c0, m1, m0]) => (u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0])),
        None => (0, 0),
    }
}

/// Decodes the payload of a header frame; the properties are not looked at.
///
/// Refuses with 501 a payload below 12 octets, and with RabbitMQ's 505 a weight other than 0.
#[inline]
pub fn decode_header(payload: &[u8]) -> Result<ContentHeader<'_>, Refusal> {
    let Some((&[c1, c0, w1, w0, ref size @ ..], properties)) = payload.split_first_chunk::<12>() else {
        return Err(frame::unknown(FrameKind::Header.octet(), payload));
    };
    if (w1, w0) != (0, 0) {
        return Err(weighted());
    }
    Ok(ContentHeader { class_id: u16::from_be_bytes([c1, c0]), body_size: u64::from_be_bytes(*size), properties })
}

#[cold]
fn weighted() -> Refusal {
    let explanation = "expected content header for class 60, got non content header frame instead";
    Refusal::new(ReplyCode::UnexpectedFrame, explanation).at(BASIC, PUBLISH)
}

#[inline]
fn publish(args: &[u8]) -> Option<Publish<'_>> {
    // A reserved ticket, the address, one octet of bits.
    let (_ticket, args) = args.split_first_chunk::<2>()?;
    let (bits, address) = args.split_last()?;
    let mut reader = Reader::new(address);
    let exchange = reader.short()?;
    let routing_key = reader.short()?;
    let whole = reader.is_empty();
    whole.then_some(Publish { address, exchange, routing_key, mandatory: bits & 1 != 0, immediate: bits & 2 != 0 })
}

#[inline]
fn tag_and_bits(args: &[u8]) -> Option<(u64, u8)> {
    let (tag, rest) = args.split_first_chunk::<8>()?;
    match *rest {
        [bits] => Some((u64::from_be_bytes(*tag), bits)),
        _ => None,
    }
}

#[inline(never)]
fn other<'a>(class_id: u16, method_id: u16, payload: &[u8], args: &[u8]) -> Result<Method<'a>, Refusal> {
    guard(class_id, method_id, args)?;
    match parse_class(payload) {
        Ok(([], class)) => Ok(Method::Other(class)),
        // The crate insists on UTF-8 where RabbitMQ does not: table keys, and methods only a server sends.
        _ => Err(cannot_decode(class_id, method_id, args)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_a_view_of_its_payload() {
        let payload = [&[0, 60, 0, 40, 0, 0, 2][..], b"ex", &[3], &[0xff, b'.', b'k'], &[0b11]].concat();
        let Ok(Method::Publish(publish)) = decode(&payload) else { panic!("not a publish") };
        assert_eq!((publish.exchange, publish.routing_key), (&b"ex"[..], &[0xff, b'.', b'k'][..]));
        assert_eq!(publish.address, &payload[6..13]);
        assert!(publish.mandatory && publish.immediate);
    }

    #[test]
    fn hot_methods_of_a_wrong_length_cannot_be_decoded() {
        let cases: [&[u8]; 7] = [
            &[0, 60, 0, 40],
            &[0, 60, 0, 40, 0, 0, 0],
            &[0, 60, 0, 40, 0, 0, 0, 0],
            &[0, 60, 0, 40, 0, 0, 0, 5, b'k', 0],
            &[0, 60, 0, 40, 0, 0, 0, 0, 0, 0],
            &[0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 60, 0, 120, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        ];
        for payload in cases {
            let refusal = decode(payload).unwrap_err();
            assert_eq!(refusal.code, ReplyCode::FrameError);
            assert_eq!((refusal.class_id, refusal.method_id), ids(payload));
            assert_eq!(refusal, cannot_decode(60, ids(payload).1, &payload[4..]));
        }
    }

    #[test]
    fn a_payload_without_ids_is_an_unknown_frame() {
        let text = "FRAME_ERROR - type 1, all octets = <<0,60,0>>: unknown_frame";
        assert_eq!(decode(&[0, 60, 0]).unwrap_err().reply_text(), text);
        assert_eq!(ids(&[0, 60, 0]), (0, 0));
    }

    #[test]
    fn methods_the_crate_knows_are_told_apart() {
        for (payload, known) in [
            (&[0, 10, 0, 70, 0, 0, 0, 1, b's', 0][..], true),
            (&[0, 10, 0, 71], true),
            (&[0, 30, 0, 10, 0, 0], true),
            (&[0, 60, 0, 100, 1], true),
            (&[0, 60, 0, 200, 1], false),
            (&[0, 61, 0, 10], false),
        ] {
            match decode(payload) {
                Ok(Method::Other(class)) => {
                    assert!(known);
                    assert_eq!((class.get_amqp_class_id(), class.get_amqp_method_id()), ids(payload));
                }
                Ok(hot) => panic!("{hot:?} is not for the crate"),
                Err(refusal) => {
                    assert!(!known, "{refusal}");
                    assert_eq!(refusal.code, ReplyCode::CommandInvalid);
                }
            }
        }
    }

    #[test]
    fn content_headers_keep_their_properties_raw() {
        let payload = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x10, 0, 2];
        let header = decode_header(&payload).unwrap();
        assert_eq!((header.class_id, header.body_size, header.properties), (60, 256, &[0x10, 0, 2][..]));
        let refusal = decode_header(&payload[..11]).unwrap_err().reply_text();
        assert_eq!(refusal, "FRAME_ERROR - type 2, all octets = <<0,60,0,0,0,0,0,0,0,0,1>>: unknown_frame");
        let weighted = decode_header(&[0, 60, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap_err();
        assert_eq!((weighted.code, weighted.class_id, weighted.method_id), (ReplyCode::UnexpectedFrame, 60, 40));
    }

    #[test]
    fn deep_tables_are_refused_before_the_crate_recurses() {
        for tag in [b'F', b'A'] {
            let key: &[u8] = if tag == b'F' { &[0] } else { &[] };
            let mut content: Vec<u8> = Vec::new();
            // Built from the outside in: each level announces what all inner levels will take.
            let levels = 100_000_usize;
            let step = key.len() + 5;
            content.extend_from_slice(&[0, tag]);
            content.extend_from_slice(&((levels * step) as u32).to_be_bytes());
            for inner in (0..levels).rev() {
                content.extend_from_slice(key);
                content.push(tag);
                content.extend_from_slice(&((inner * step) as u32).to_be_bytes());
            }
            let mut payload = vec![0, 50, 0, 10, 0, 0, 0, 0];
            payload.extend_from_slice(&(content.len() as u32).to_be_bytes());
            payload.extend_from_slice(&content);
            let refusal = decode(&payload).unwrap_err();
            assert_eq!(refusal.reply_text(), "FRAME_ERROR - table nested deeper than 64 levels");
            assert_eq!((refusal.class_id, refusal.method_id), (50, 10));
        }
    }
}
