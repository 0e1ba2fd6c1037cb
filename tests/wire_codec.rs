//! The hand-written codec against `amq-protocol`, in both directions, for arbitrary values and arbitrary octets.

#[path = "fuzz/agreement.rs"]
#[allow(dead_code, clippy::ref_option)] // shared with the fuzz targets; the crate's getters return references
mod agreement;

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::basic::{self, AMQPMethod as Basic};
use amq_protocol::protocol::{AMQPClass, BasicProperties, channel, connection, exchange, queue};
use amq_protocol::types::{FieldTable, ShortString};
use leveret::message;
use leveret::wire::frame::{self, Frame};
use leveret::wire::method::{self, Method};
use leveret::wire::properties::Properties;
use leveret::wire::table::{self, RawTable, Table, Value};
use leveret::wire::{Refusal, ReplyCode, encode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn generate(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(WriteContext::from(Vec::new())).expect("writing to memory").into_inner().0
}

fn only(octets: &[u8]) -> Frame<'_> {
    let (frame, used) = frame::decode(octets, 0).expect("a good frame").expect("a complete frame");
    assert_eq!(used, octets.len());
    frame
}

fn theirs(octets: &[u8]) -> AMQPFrame {
    let (rest, frame) = parse_frame(octets).expect("our frames are theirs");
    assert!(rest.is_empty(), "exactly one frame");
    frame
}

/// A text within a short string.
fn short() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z.*#-]{1,30}", "\\PC{0,60}", "x{255}"].prop_map(|text| {
        let mut text = text;
        while text.len() > 255 {
            text.pop();
        }
        text
    })
}

fn float() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("NaN does not equal itself", |n| !n.is_nan())
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        #[allow(clippy::cast_possible_truncation)] // any float will do
        float().prop_map(|n| Value::F32(n as f32)),
        float().prop_map(Value::F64),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| Value::Decimal { scale, value }),
        vec(any::<u8>(), 0..40).prop_map(|octets| Value::LongStr(octets.into())),
        "\\PC{0,20}".prop_map(|text| Value::from(text.as_str())),
        vec(any::<u8>(), 0..40).prop_map(|octets| Value::Bytes(octets.into())),
        any::<u64>().prop_map(Value::Timestamp),
        Just(Value::Void),
    ];
    scalar.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            vec((short(), inner), 0..5).prop_map(|entries| Value::Table(collect(&entries))),
        ]
    })
}

fn collect(entries: &[(String, Value)]) -> Table {
    entries.iter().map(|(key, value)| (key.as_str(), value.clone())).collect()
}

fn field_table() -> impl Strategy<Value = Table> {
    vec((short(), value()), 0..8).prop_map(|entries| collect(&entries))
}

fn basic_properties() -> impl Strategy<Value = BasicProperties> {
    let texts = || vec(option::of(short()), 5);
    let numbers = (option::of(any::<u8>()), option::of(any::<u8>()), option::of(any::<u64>()));
    (texts(), texts(), numbers, option::of(field_table())).prop_map(
        |(first, second, (mode, priority, timestamp), headers)| {
            let texts: Vec<Option<ShortString>> =
                first.iter().chain(&second).map(|text| text.as_deref().map(ShortString::from)).collect();
            let mut properties = BasicProperties::default();
            let setters: [fn(BasicProperties, ShortString) -> BasicProperties; 10] = [
                BasicProperties::with_content_type,
                BasicProperties::with_content_encoding,
                BasicProperties::with_correlation_id,
                BasicProperties::with_reply_to,
                BasicProperties::with_expiration,
                BasicProperties::with_message_id,
                BasicProperties::with_type,
                BasicProperties::with_user_id,
                BasicProperties::with_app_id,
                BasicProperties::with_cluster_id,
            ];
            for (set, text) in setters.into_iter().zip(texts) {
                properties = match text {
                    Some(text) => set(properties, text),
                    None => properties,
                };
            }
            if let Some(mode) = mode {
                properties = properties.with_delivery_mode(mode);
            }
            if let Some(priority) = priority {
                properties = properties.with_priority(priority);
            }
            if let Some(timestamp) = timestamp {
                properties = properties.with_timestamp(timestamp);
            }
            if let Some(headers) = headers {
                properties = properties.with_headers(FieldTable::from(&headers));
            }
            properties
        },
    )
}

/// Methods outside the hot path, with every type of argument among them.
fn other_method() -> impl Strategy<Value = AMQPClass> {
    let named = (short(), short(), short(), field_table(), any::<[bool; 5]>(), any::<u32>());
    (0..8_u8, named).prop_map(|(which, (a, b, c, table, bits, number))| {
        let (a, b, c) = (ShortString::from(a), ShortString::from(b), ShortString::from(c));
        let arguments = FieldTable::from(&table);
        match which {
            0 => AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
                queue: a,
                passive: bits[0],
                durable: bits[1],
                exclusive: bits[2],
                auto_delete: bits[3],
                nowait: bits[4],
                arguments,
            })),
            1 => AMQPClass::Exchange(exchange::AMQPMethod::Declare(exchange::Declare {
                exchange: a,
                kind: b,
                passive: bits[0],
                durable: bits[1],
                auto_delete: bits[2],
                internal: bits[3],
                nowait: bits[4],
                arguments,
            })),
            2 => AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
                queue: a,
                exchange: b,
                routing_key: c,
                nowait: bits[0],
                arguments,
            })),
            3 => AMQPClass::Basic(Basic::Consume(basic::Consume {
                queue: a,
                consumer_tag: b,
                no_local: bits[0],
                no_ack: bits[1],
                exclusive: bits[2],
                nowait: bits[3],
                arguments,
            })),
            4 => AMQPClass::Connection(connection::AMQPMethod::StartOk(connection::StartOk {
                client_properties: arguments,
                mechanism: a,
                response: b.as_str().into(),
                locale: c,
            })),
            5 => AMQPClass::Queue(queue::AMQPMethod::DeclareOk(queue::DeclareOk {
                queue: a,
                message_count: number,
                consumer_count: !number,
            })),
            6 => AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})),
            _ => AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(connection::UpdateSecret {
                new_secret: a.as_str().into(),
                reason: b,
            })),
        }
    })
}

proptest! {
    #[test]
    fn their_hot_methods_are_ours(
        channel in any::<u16>(), exchange in short(), routing_key in short(), a in any::<bool>(), b in any::<bool>(),
        delivery_tag in any::<u64>(),
    ) {
        let publish = basic::Publish {
            exchange: exchange.as_str().into(),
            routing_key: routing_key.as_str().into(),
            mandatory: a,
            immediate: b,
        };
        let methods = [
            Basic::Publish(publish),
            Basic::Ack(basic::Ack { delivery_tag, multiple: a }),
            Basic::Nack(basic::Nack { delivery_tag, multiple: a, requeue: b }),
            Basic::Reject(basic::Reject { delivery_tag, requeue: a }),
        ];
        for (which, method) in methods.into_iter().enumerate() {
            let octets = generate(&AMQPFrame::Method(channel, AMQPClass::Basic(method)));
            let frame = only(&octets);
            prop_assert_eq!(frame.channel, channel);
            match (which, method::decode(frame.payload).expect("their methods are ours")) {
                (0, Method::Publish(publish)) => {
                    prop_assert_eq!(publish.exchange, exchange.as_bytes());
                    prop_assert_eq!(publish.routing_key, routing_key.as_bytes());
                    let address = message::address(exchange.as_bytes(), routing_key.as_bytes());
                    prop_assert_eq!(Some(publish.address), address.as_deref());
                    prop_assert_eq!((publish.mandatory, publish.immediate), (a, b));
                }
                (1, Method::Ack { delivery_tag: tag, multiple }) => {
                    prop_assert_eq!((tag, multiple), (delivery_tag, a));
                }
                (2, Method::Nack { delivery_tag: tag, multiple, requeue }) => {
                    prop_assert_eq!((tag, multiple, requeue), (delivery_tag, a, b));
                }
                (3, Method::Reject { delivery_tag: tag, requeue }) => {
                    prop_assert_eq!((tag, requeue), (delivery_tag, a));
                }
                (_, other) => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn their_content_headers_are_ours(
        channel in any::<u16>(), body_size in any::<u64>(), properties in basic_properties(),
    ) {
        let header = AMQPContentHeader { class_id: 60, body_size, properties: properties.clone() };
        let octets = generate(&AMQPFrame::Header(channel, header));
        let header = method::decode_header(only(&octets).payload).expect("their headers are ours");
        prop_assert_eq!((header.class_id, header.body_size), (60, body_size));
        let ours = Properties::parse(header.properties).expect("their properties are ours");
        agreement::agrees(&ours, &properties);
        prop_assert_eq!(ours.encode(), header.properties);

        let mut out = Vec::new();
        encode::content_header(&mut out, channel, body_size, header.properties);
        prop_assert_eq!(out, octets);
    }

    #[test]
    fn our_deliveries_are_theirs(
        channel in any::<u16>(), consumer_tag in short(), delivery_tag in any::<u64>(), redelivered in any::<bool>(),
        exchange in short(), routing_key in short(), count in any::<u32>(), text in short(), code in any::<u16>(),
    ) {
        let address = message::address(exchange.as_bytes(), routing_key.as_bytes()).expect("short strings");
        let (exchange, routing_key) = (ShortString::from(exchange), ShortString::from(routing_key));
        let mut out = Vec::new();
        encode::deliver(&mut out, channel, consumer_tag.as_bytes(), delivery_tag, redelivered, &address);
        let deliver = basic::Deliver {
            consumer_tag: consumer_tag.into(), delivery_tag, redelivered,
            exchange: exchange.clone(), routing_key: routing_key.clone(),
        };
        prop_assert_eq!(theirs(&out), AMQPFrame::Method(channel, AMQPClass::Basic(Basic::Deliver(deliver))));

        out.clear();
        encode::get_ok(&mut out, channel, delivery_tag, redelivered, &address, count);
        let get_ok = basic::GetOk {
            delivery_tag, redelivered, exchange: exchange.clone(), routing_key: routing_key.clone(),
            message_count: count,
        };
        prop_assert_eq!(theirs(&out), AMQPFrame::Method(channel, AMQPClass::Basic(Basic::GetOk(get_ok))));

        out.clear();
        encode::basic_return(&mut out, channel, code, &text, &address);
        let reply = basic::Return { reply_code: code, reply_text: text.into(), exchange, routing_key };
        prop_assert_eq!(theirs(&out), AMQPFrame::Method(channel, AMQPClass::Basic(Basic::Return(reply))));
    }

    #[test]
    fn our_confirms_are_theirs(channel in any::<u16>(), delivery_tag in any::<u64>(), multiple in any::<bool>()) {
        let mut out = Vec::new();
        encode::ack(&mut out, channel, delivery_tag, multiple);
        let ack = Basic::Ack(basic::Ack { delivery_tag, multiple });
        prop_assert_eq!(theirs(&out), AMQPFrame::Method(channel, AMQPClass::Basic(ack)));
        out.clear();
        encode::nack(&mut out, channel, delivery_tag, multiple);
        let nack = Basic::Nack(basic::Nack { delivery_tag, multiple, requeue: false });
        prop_assert_eq!(theirs(&out), AMQPFrame::Method(channel, AMQPClass::Basic(nack)));
    }

    #[test]
    fn our_closing_is_theirs(channel in any::<u16>(), text in "\\PC{0,400}", ids in any::<(u16, u16)>()) {
        let refusal = Refusal::new(ReplyCode::PreconditionFailed, text).at(ids.0, ids.1);
        let (reply_code, reply_text) = (406, ShortString::from(refusal.reply_text()));
        let mut out = Vec::new();
        encode::close_channel(&mut out, channel, &refusal);
        let close = channel::Close { reply_code, reply_text: reply_text.clone(), class_id: ids.0, method_id: ids.1 };
        let close = AMQPClass::Channel(channel::AMQPMethod::Close(close));
        prop_assert_eq!(theirs(&out), AMQPFrame::Method(channel, close));
        out.clear();
        encode::close_connection(&mut out, &refusal);
        let close = connection::Close { reply_code, reply_text, class_id: ids.0, method_id: ids.1 };
        let close = AMQPClass::Connection(connection::AMQPMethod::Close(close));
        prop_assert_eq!(theirs(&out), AMQPFrame::Method(0, close));
    }

    #[test]
    fn bodies_come_back_whole(body in vec(any::<u8>(), 0..300), frame_max in 0..64_u32) {
        let mut out = Vec::new();
        encode::body(&mut out, 5, &body, frame_max);
        let (mut octets, mut joined) = (&out[..], Vec::new());
        while !octets.is_empty() {
            let (rest, frame) = parse_frame(octets).expect("our frames are theirs");
            let AMQPFrame::Body(5, piece) = frame else { panic!("not a body") };
            prop_assert!(frame_max < 9 || piece.len() + frame::FRAME_OVERHEAD <= frame_max as usize);
            joined.extend(piece);
            octets = rest;
        }
        prop_assert_eq!(joined, body);
    }

    #[test]
    fn other_methods_go_through_unchanged(channel in any::<u16>(), class in other_method()) {
        let mut out = Vec::new();
        encode::method(&mut out, channel, class.clone());
        prop_assert_eq!(&out, &generate(&AMQPFrame::Method(channel, class.clone())));
        match method::decode(only(&out).payload) {
            Ok(Method::Other(decoded)) => prop_assert_eq!(decoded, class),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_stream_split_anywhere_is_the_same_stream(
        methods in vec(other_method(), 1..4), body in vec(any::<u8>(), 0..40),
    ) {
        let mut stream = Vec::new();
        for class in methods {
            encode::method(&mut stream, 1, class);
        }
        encode::content_header(&mut stream, 1, body.len() as u64, &[0, 0]);
        encode::body(&mut stream, 1, &body, 16);
        encode::heartbeat(&mut stream);
        let read = |end: usize, from: usize| {
            let (mut start, mut lengths) = (from, Vec::new());
            while let Some((frame, used)) = frame::decode(&stream[start..end], 0).expect("good frames") {
                lengths.push((frame.kind, used));
                start += used;
            }
            (start, lengths)
        };
        let (end, whole) = read(stream.len(), 0);
        prop_assert_eq!(end, stream.len());
        for split in 0..stream.len() {
            let (start, mut seen) = read(split, 0);
            seen.extend(read(stream.len(), start).1);
            prop_assert_eq!(&seen, &whole);
        }
    }

    #[test]
    fn tables_are_the_same_on_both_sides(ours in field_table()) {
        let mut raw = Vec::new();
        ours.encode_into(&mut raw);
        prop_assert_eq!(&Table::parse(&raw).expect("our octets are read back"), &ours);
        prop_assert_eq!(&Table::from(&FieldTable::from(&ours)), &ours);
        agreement::table(&raw);
        prop_assert!(ours.same(&ours));
        for (key, value) in ours.iter() {
            let seen = RawTable::new(&raw).get(key).expect("every key is found");
            prop_assert!(seen.same(value));
            prop_assert_eq!(&seen.to_value().expect("a valid value"), value);
        }
    }

    #[test]
    fn editing_raw_tables_is_editing_tables(mut table in field_table(), key in short(), new in value()) {
        let mut raw = Vec::new();
        table.encode_into(&mut raw);
        let raw = table::set(&raw, &key, &new);
        table.insert(&key, new);
        prop_assert_eq!(&Table::parse(&raw).expect("a valid table"), &table);
        let raw = table::without(&raw, &[key.as_str()]);
        table.remove(&key);
        prop_assert_eq!(Table::parse(&raw), Ok(table));
    }

    #[test]
    fn equality_by_value_is_symmetric(a in value(), b in value()) {
        prop_assert!(a.same(&a));
        prop_assert_eq!(a.same(&b), b.same(&a));
        prop_assert!(a != b || a.same(&b));
    }

    #[test]
    fn damaged_methods_are_judged_as_the_crate_does(
        class in other_method(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in 0..6_usize,
    ) {
        let mut out = Vec::new();
        encode::method(&mut out, 1, class);
        let mut payload = only(&out).payload.to_vec();
        for (at, octet) in damage {
            let at = at.index(payload.len());
            payload[at] = octet;
        }
        agreement::method(&payload[..payload.len() - cut.min(payload.len())]);
        agreement::stream(&out, 8192);
    }

    #[test]
    fn damaged_properties_are_judged_as_the_crate_does(
        properties in basic_properties(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let header = AMQPContentHeader { class_id: 60, body_size: 0, properties };
        let octets = generate(&AMQPFrame::Header(1, header));
        let mut raw = only(&octets).payload[12..].to_vec();
        for (at, octet) in damage {
            let at = at.index(raw.len());
            raw[at] = octet;
        }
        agreement::properties(&raw);
    }

    #[test]
    fn no_octets_do_harm(octets in vec(any::<u8>(), 0..200), class in 0..100_u8, id in 0..130_u8) {
        agreement::stream(&octets, 8192);
        agreement::header(&octets);
        agreement::properties(&octets);
        agreement::table(&octets);
        agreement::method(&[&[0, class, 0, id][..], &octets].concat());
    }
}
