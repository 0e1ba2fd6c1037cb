//! What must hold between our codec and `amq-protocol` for any octets whatever.
//!
//! Shared by the fuzz targets and the property tests. The crate parses tables by recursion, so it is only asked where
//! our validation has bounded the depth.

use amq_protocol::protocol::basic::{AMQPMethod as Basic, parse_properties};
use amq_protocol::protocol::{AMQPClass, BasicProperties, parse_class};
use amq_protocol::types::FieldTable;
use amq_protocol::types::ShortString;
use amq_protocol::types::parsing::parse_field_table;
use leveret::wire::frame::{self, FrameKind};
use leveret::wire::method::{self, Method};
use leveret::wire::properties::Properties;
use leveret::wire::refusal::ReplyCode;
use leveret::wire::table::{self, Malformed, RawTable, Table};

/// Any octets as a stream of frames, and each payload as what its frame says it is.
pub(crate) fn stream(mut octets: &[u8], frame_max: u32) {
    while let Ok(Some((frame, used))) = frame::decode(octets, frame_max) {
        assert_eq!(used, frame.payload.len() + frame::FRAME_OVERHEAD);
        match frame.kind {
            FrameKind::Method => method(frame.payload),
            FrameKind::Header => header(frame.payload),
            FrameKind::Body => {}
            FrameKind::Heartbeat => assert!(frame.payload.is_empty()),
        }
        assert_eq!(frame::unexpected(frame).code, ReplyCode::UnexpectedFrame);
        octets = &octets[used..];
    }
}

/// Any octets as a method.
pub(crate) fn method(payload: &[u8]) {
    match method::decode(payload) {
        Ok(Method::Publish(ours)) => {
            assert_eq!(ours.address.len(), ours.exchange.len() + ours.routing_key.len() + 2);
            if std::str::from_utf8(ours.exchange).is_err() || std::str::from_utf8(ours.routing_key).is_err() {
                // RabbitMQ accepts these and so do we; the crate does not.
                return;
            }
            let AMQPClass::Basic(Basic::Publish(theirs)) = whole(payload) else { panic!("not a publish") };
            assert_eq!(ours.exchange, theirs.exchange.as_str().as_bytes());
            assert_eq!(ours.routing_key, theirs.routing_key.as_str().as_bytes());
            assert_eq!((ours.mandatory, ours.immediate), (theirs.mandatory, theirs.immediate));
        }
        Ok(Method::Ack { delivery_tag, multiple }) => {
            let AMQPClass::Basic(Basic::Ack(theirs)) = whole(payload) else { panic!("not an ack") };
            assert_eq!((delivery_tag, multiple), (theirs.delivery_tag, theirs.multiple));
        }
        Ok(Method::Nack { delivery_tag, multiple, requeue }) => {
            let AMQPClass::Basic(Basic::Nack(theirs)) = whole(payload) else { panic!("not a nack") };
            assert_eq!((delivery_tag, multiple, requeue), (theirs.delivery_tag, theirs.multiple, theirs.requeue));
        }
        Ok(Method::Reject { delivery_tag, requeue }) => {
            let AMQPClass::Basic(Basic::Reject(theirs)) = whole(payload) else { panic!("not a reject") };
            assert_eq!((delivery_tag, requeue), (theirs.delivery_tag, theirs.requeue));
        }
        Ok(Method::Other(class)) => {
            assert_eq!((class.get_amqp_class_id(), class.get_amqp_method_id()), method::ids(payload));
        }
        Err(refusal) => {
            assert!(refusal.reply_text().len() <= 255);
            let deep = ["nested deeper", "more than"].iter().any(|text| refusal.explanation.contains(text));
            // The crate takes tag U for a 16-bit integer; RabbitMQ does not know it.
            if !deep && !payload.contains(&b'U') {
                assert!(!matches!(parse_class(payload), Ok(([], _))), "refused without need: {refusal}");
            }
        }
    }
}

fn whole(payload: &[u8]) -> AMQPClass {
    match parse_class(payload) {
        Ok(([], class)) => class,
        other => panic!("accepted what the crate refuses: {other:?}"),
    }
}

/// Any octets as a content header.
pub(crate) fn header(payload: &[u8]) {
    let Ok(header) = method::decode_header(payload) else { return };
    assert_eq!(header.properties.len() + 12, payload.len());
    properties(header.properties);
}

/// Any octets as a block of properties.
pub(crate) fn properties(raw: &[u8]) {
    let ours = match Properties::parse(raw) {
        Ok(ours) => ours,
        Err(Malformed::TooDeep) => return,
        Err(Malformed::Undecodable) => {
            let supported = raw.get(1).is_some_and(|flags| flags % 4 == 0);
            if supported && !raw.contains(&b'U') && within_depth(raw) {
                assert!(!matches!(parse_properties(raw), Ok(([], _))), "refused without need");
            }
            return;
        }
    };
    assert_eq!(ours.encode(), raw, "reading and writing is the identity");
    let Ok((rest, theirs)) = parse_properties(raw) else {
        let texts = short_texts(&ours);
        let texts_are = texts.iter().flatten().all(|text| std::str::from_utf8(text).is_ok());
        let keys_are = ours.headers.is_none_or(|headers| Table::parse(headers).is_ok());
        assert!(!(texts_are && keys_are), "only UTF-8 divides us");
        return;
    };
    assert!(rest.is_empty());
    agrees(&ours, &theirs);
}

fn short_texts<'a>(properties: &Properties<'a>) -> [Option<&'a [u8]>; 10] {
    [
        properties.content_type,
        properties.content_encoding,
        properties.correlation_id,
        properties.reply_to,
        properties.expiration,
        properties.message_id,
        properties.kind,
        properties.user_id,
        properties.app_id,
        properties.cluster_id,
    ]
}

/// The crate may only be asked where no octets can nest: its recursion has no limit.
fn within_depth(raw: &[u8]) -> bool {
    raw.iter().filter(|octet| matches!(octet, b'F' | b'A')).count() < 1000
}

/// Our view of properties against the crate's.
pub(crate) fn agrees(ours: &Properties<'_>, theirs: &BasicProperties) {
    let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().as_bytes().to_vec());
    let their_texts = [
        theirs.content_type(),
        theirs.content_encoding(),
        theirs.correlation_id(),
        theirs.reply_to(),
        theirs.expiration(),
        theirs.message_id(),
        theirs.kind(),
        theirs.user_id(),
        theirs.app_id(),
        theirs.cluster_id(),
    ];
    for (ours, theirs) in short_texts(ours).into_iter().zip(their_texts) {
        assert_eq!(ours.map(<[u8]>::to_vec), text(theirs));
    }
    assert_eq!(ours.delivery_mode, *theirs.delivery_mode());
    assert_eq!(ours.priority, *theirs.priority());
    assert_eq!(ours.timestamp, *theirs.timestamp());
    match (ours.headers, theirs.headers()) {
        (Some(raw), Some(theirs)) => same_table(raw, theirs),
        (None, None) => {}
        (ours, theirs) => panic!("{ours:?} against {theirs:?}"),
    }
}

fn same_table(raw: &[u8], theirs: &FieldTable) {
    let ours = Table::parse(raw).expect("the crate requires UTF-8 keys");
    // As text, since NaN does not equal itself.
    assert_eq!(format!("{ours:?}"), format!("{:?}", Table::from(theirs)));
}

/// Any octets as the content of a table: every reader of it must agree with the validation.
pub(crate) fn table(raw: &[u8]) {
    let valid = table::validate(raw);
    let seen = RawTable::new(raw).iter().count();
    let first = RawTable::new(raw).iter().next().map(|(key, _)| key.to_vec());
    let owned = Table::parse(raw);
    if let Err(malformed) = valid {
        assert_eq!(owned.err(), Some(malformed));
        return;
    }
    assert_eq!(first.is_none(), raw.is_empty());
    assert_eq!(table::without(raw, &[]), raw, "editing nothing changes nothing");
    let edited = table::set(raw, "x-death", &table::Value::from("edited"));
    assert_eq!(table::validate(&edited), Ok(()));
    let set = RawTable::new(&edited).get("x-death").and_then(|value| value.as_str().map(str::to_owned));
    assert_eq!(set.as_deref(), Some("edited"));
    let removed = table::without(&edited, &["x-death"]);
    assert_eq!(table::without(raw, &["x-death"]), removed);

    let counted = [&u32::try_from(raw.len()).expect("a small input").to_be_bytes()[..], raw].concat();
    let theirs = parse_field_table(&counted[..]);
    let Ok(owned) = owned else {
        assert!(theirs.is_err(), "keys that are not UTF-8");
        return;
    };
    assert!(owned.len() <= seen);
    assert!(owned.same(&owned));
    let Ok(([], theirs)) = theirs else { panic!("accepted what the crate refuses") };
    same_table(raw, &theirs);
    for (_, value) in RawTable::new(raw).iter() {
        // A nested table may still have keys that are not UTF-8; then Table::parse had failed.
        assert!(value.to_value().is_some_and(|owned| value.same(&owned)));
    }

    let json = serde_json::to_string(&owned).expect("any table is JSON");
    let back: Table = serde_json::from_str(&json).expect("our JSON is read back");
    assert_eq!(format!("{back:?}"), format!("{owned:?}"));
    let mut octets = Vec::new();
    owned.encode_into(&mut octets);
    let again = Table::parse(&octets).expect("our octets are read back");
    assert_eq!(format!("{again:?}"), format!("{owned:?}"));
}
