//! The argument types of every method, and the guard that walks them.
//!
//! RabbitMQ tells an undecodable method, a short string that is not UTF-8 and an unknown method apart; `amq-protocol`
//! does not, and parses nested tables by recursion. The guard therefore reads the arguments first. Invariant: what
//! passes has exactly its declared shape and tables of bounded depth. Deliberately absent: the values.

use super::erlang;
use super::reader::Reader;
use super::refusal::{Refusal, ReplyCode};
use super::table::{self, MAX_TABLE_DEPTH, Malformed};

/// One argument, or a run of arguments of a fixed total length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Argument {
    /// Integers and packed bits: this many octets.
    Octets(usize),
    Short,
    Long,
    Table,
}

use Argument::{Long, Octets, Short, Table};

/// Most values in a method's table, at all levels: no client sends a hundredth of it. One value may take a single octet
/// of the frame, but some 60 of memory once it is read.
const MAX_VALUES: usize = 4_096;

/// One octet of packed bits; no method has more than eight.
const BITS: Argument = Octets(1);
const TICKET: Argument = Octets(2);

/// The arguments of a method, `None` when RabbitMQ knows no such method.
fn arguments(class_id: u16, method_id: u16) -> Option<&'static [Argument]> {
    Some(match (class_id, method_id) {
        // Methods without arguments: the plain "-ok" replies, unblocked, tx.
        (10, 51 | 61 | 71)
        | (20, 41)
        | (40, 11 | 21 | 31 | 51)
        | (50, 21 | 51)
        | (60, 11 | 111)
        | (85, 11)
        | (90, 10 | 11 | 20 | 21 | 30 | 31) => &[],
        // connection
        (10, 10) => &[Octets(2), Table, Long, Long],
        (10, 11) => &[Table, Short, Long, Short],
        (10, 20 | 21) | (20, 11) => &[Long],
        (10, 30 | 31) => &[Octets(8)],
        (10, 40) => &[Short, Short, BITS],
        (10, 41 | 60) | (20, 10) | (60, 21 | 31 | 72) => &[Short],
        (10, 50) | (20, 40) => &[Octets(2), Short, Octets(4)],
        (10, 70) => &[Long, Short],
        // channel, basic.recover and recover-async, confirm.select
        (20, 20 | 21) | (60, 100 | 110) | (85, 10) => &[BITS],
        // access
        (30, 10) | (60, 30) => &[Short, BITS],
        (30, 11) => &[TICKET],
        // exchange, queue
        (40, 10) | (60, 20) => &[TICKET, Short, Short, BITS, Table],
        (40, 20) | (50, 30 | 40) | (60, 70) => &[TICKET, Short, BITS],
        (40, 30 | 40) | (50, 20) => &[TICKET, Short, Short, Short, BITS, Table],
        (50, 10) => &[TICKET, Short, BITS, Table],
        (50, 11) => &[Short, Octets(8)],
        (50, 31 | 41) => &[Octets(4)],
        (50, 50) => &[TICKET, Short, Short, Short, Table],
        // basic
        (60, 10) => &[Octets(7)],
        (60, 40) => &[TICKET, Short, Short, BITS],
        (60, 50) => &[Octets(2), Short, Short, Short],
        (60, 60) => &[Short, Octets(9), Short, Short],
        (60, 71) => &[Octets(9), Short, Short, Octets(4)],
        (60, 80 | 90 | 120) => &[Octets(9)],
        _ => return None,
    })
}

/// Whether a method carries content: RabbitMQ does not check the UTF-8 of such methods' short strings.
fn carries_content(class_id: u16, method_id: u16) -> bool {
    class_id == 60 && matches!(method_id, 40 | 50 | 60 | 71)
}

/// Checks `octets` against the method's signature.
///
/// 503 for an unknown method; 501 for arguments that end early or leave octets over, for tables with unknown tags or
/// too deep or with too many values, and for short strings that are not UTF-8.
pub(super) fn guard(class_id: u16, method_id: u16, octets: &[u8]) -> Result<(), Refusal> {
    let Some(arguments) = arguments(class_id, method_id) else {
        let explanation = format!("unknown method class {class_id} method {method_id}");
        return Err(Refusal::new(ReplyCode::CommandInvalid, explanation).at(class_id, method_id));
    };
    match walk(arguments, octets) {
        Ok((_, values)) if values > MAX_VALUES => {
            let explanation = format!("more than {MAX_VALUES} values in a table");
            Err(Refusal::new(ReplyCode::FrameError, explanation).at(class_id, method_id))
        }
        Ok((utf8, _)) if utf8 || carries_content(class_id, method_id) => Ok(()),
        Ok(_) => Err(Refusal::new(ReplyCode::FrameError, "Malformed UTF-8 in shortstr")),
        Err(Malformed::Undecodable) => Err(cannot_decode(class_id, method_id, octets)),
        Err(Malformed::TooDeep) => {
            let explanation = format!("table nested deeper than {MAX_TABLE_DEPTH} levels");
            Err(Refusal::new(ReplyCode::FrameError, explanation).at(class_id, method_id))
        }
    }
}

/// Reads every argument; whether all short strings were UTF-8, and the number of values in tables.
fn walk(arguments: &[Argument], octets: &[u8]) -> Result<(bool, usize), Malformed> {
    let mut reader = Reader::new(octets);
    let mut utf8 = true;
    let mut values = 0usize;
    for argument in arguments {
        match *argument {
            Octets(count) => reader.take(count).map(drop),
            Short => reader.short().map(|text| utf8 &= std::str::from_utf8(text).is_ok()),
            Long => reader.long().map(drop),
            Table => {
                let content = reader.long().ok_or(Malformed::Undecodable)?;
                values = values.saturating_add(table::measure(content)?);
                Some(())
            }
        }
        .ok_or(Malformed::Undecodable)?;
    }
    if reader.is_empty() { Ok((utf8, values)) } else { Err(Malformed::Undecodable) }
}

/// 501 with the octets of the arguments, as RabbitMQ prints them.
#[cold]
pub(super) fn cannot_decode(class_id: u16, method_id: u16, octets: &[u8]) -> Refusal {
    let explanation = format!("cannot decode {}", erlang::numbers(octets));
    Refusal::new(ReplyCode::FrameError, explanation).at(class_id, method_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every method RabbitMQ's grammar has, as (class, methods).
    const KNOWN: [(u16, &[u16]); 8] = [
        (10, &[10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61, 70, 71]),
        (20, &[10, 11, 20, 21, 40, 41]),
        (30, &[10, 11]),
        (40, &[10, 11, 20, 21, 30, 31, 40, 51]),
        (50, &[10, 11, 20, 21, 30, 31, 40, 41, 50, 51]),
        (60, &[10, 11, 20, 21, 30, 31, 40, 50, 60, 70, 71, 72, 80, 90, 100, 110, 111, 120]),
        (85, &[10, 11]),
        (90, &[10, 11, 20, 21, 30, 31]),
    ];

    #[test]
    fn the_signatures_are_those_of_the_grammar() {
        for class in 0..=100 {
            let methods = KNOWN.iter().find(|(id, _)| *id == class).map_or(&[][..], |(_, methods)| methods);
            for method in 0..=250 {
                assert_eq!(arguments(class, method).is_some(), methods.contains(&method), "{class},{method}");
            }
        }
    }

    /// The shortest arguments of the signature: zeros, which are empty strings and tables.
    fn shortest(arguments: &[Argument]) -> Vec<u8> {
        let len = arguments.iter().map(|argument| match argument {
            Octets(count) => *count,
            Short => 1,
            Long | Table => 4,
        });
        vec![0; len.sum()]
    }

    #[test]
    fn every_signature_agrees_with_the_parser() {
        use amq_protocol::protocol::parse_class;
        for (class, methods) in KNOWN {
            for &method in methods {
                let args = shortest(arguments(class, method).unwrap());
                guard(class, method, &args).unwrap();
                let mut payload = [class.to_be_bytes(), method.to_be_bytes()].concat();
                payload.extend_from_slice(&args);
                let (rest, parsed) = parse_class(&payload[..]).unwrap();
                assert_eq!(rest, &[] as &[u8], "{class},{method}: the guard allows what the parser leaves over");
                assert_eq!((parsed.get_amqp_class_id(), parsed.get_amqp_method_id()), (class, method));
                for wrong in [&[&args[..], &[0]].concat()[..], args.split_last().map_or(&[1], |(_, head)| head)] {
                    let refusal = guard(class, method, wrong).unwrap_err();
                    assert_eq!(refusal, cannot_decode(class, method, wrong));
                }
            }
        }
    }

    #[test]
    fn each_fault_has_its_own_answer() {
        let refusal = guard(60, 200, &[]).unwrap_err();
        assert_eq!(refusal.reply_text(), "COMMAND_INVALID - unknown method class 60 method 200");
        let refusal = guard(50, 10, &[0, 0, 1, b'x', 9]).unwrap_err();
        assert_eq!(refusal.reply_text(), "FRAME_ERROR - cannot decode <<0,0,1,120,9>>");
        assert_eq!((refusal.class_id, refusal.method_id), (50, 10));
        let refusal = guard(50, 10, &[0, 0, 1, 0xff, 0, 0, 0, 0, 0]).unwrap_err();
        assert_eq!(refusal.reply_text(), "FRAME_ERROR - Malformed UTF-8 in shortstr");
        assert_eq!((refusal.class_id, refusal.method_id), (0, 0));
        let unknown_tag = [0, 0, 0, 0, 0, 0, 0, 3, 1, b'k', b'?'];
        assert!(guard(50, 10, &unknown_tag).unwrap_err().explanation.starts_with("cannot decode <<0,0,"));
        let voids = |n: u32| {
            [&[0, 0, 0, 0][..], &(n + 6).to_be_bytes(), &[0, b'A'], &n.to_be_bytes(), &vec![b'V'; n as usize]].concat()
        };
        guard(50, 10, &voids(4_095)).unwrap();
        let refusal = guard(50, 10, &voids(4_096)).unwrap_err();
        assert_eq!(refusal.reply_text(), "FRAME_ERROR - more than 4096 values in a table");
        guard(60, 50, &[1, 56, 1, 0xff, 0, 0]).expect("UTF-8 is not checked where content follows");
    }
}
