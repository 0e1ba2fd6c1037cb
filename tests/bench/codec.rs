//! Nanoseconds per operation of the codec's hot path; run with `cargo bench --bench codec`.
#![allow(clippy::disallowed_methods, clippy::print_stdout)] // a benchmark measures the machine and reports

use std::hint::black_box;
use std::time::Instant;

use leveret::wire::properties::Properties;
use leveret::wire::{encode, frame, method};

/// Runs of each operation, enough for a steady mean on any machine.
const RUNS: u32 = 2_000_000;

/// The negotiated default of clients.
const FRAME_MAX: u32 = 131_072;

fn measure(name: &str, mut operation: impl FnMut()) {
    for _ in 0..RUNS / 10 {
        operation();
    }
    let start = Instant::now();
    for _ in 0..RUNS {
        operation();
    }
    let nanos = start.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS);
    println!("{name:<44} {nanos:8.1} ns");
}

/// A publish as a client sends it: method, header and body frame.
fn publish(properties: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = vec![1, 0, 1, 0, 0, 0, 0, 0, 60, 0, 40, 0, 0, 0, 13];
    out.extend_from_slice(b"order.created");
    out.push(0);
    // The payload's length, now that it is known: all but the seven octets of prefix.
    out[6] = u8::try_from(out.len() - 7).expect("a short method");
    out.push(frame::FRAME_END);
    encode::content_header(&mut out, 1, body.len() as u64, properties);
    encode::body(&mut out, 1, body, FRAME_MAX);
    out
}

fn decode_all(mut octets: &[u8]) {
    while let Ok(Some((frame, used))) = frame::decode(octets, FRAME_MAX) {
        match frame.kind {
            frame::FrameKind::Method => drop(black_box(method::decode(frame.payload))),
            frame::FrameKind::Header => {
                let properties =
                    method::decode_header(frame.payload).map(|header| Properties::parse(header.properties));
                drop(black_box(properties));
            }
            frame::FrameKind::Body | frame::FrameKind::Heartbeat => drop(black_box(frame)),
        }
        octets = octets.get(used..).unwrap_or_default();
    }
}

fn main() {
    let plain = publish(&[0x10, 0, 2], &[b'x'; 16]);
    measure("decode publish+header+body, 16 B", || decode_all(black_box(&plain)));
    let full = Properties {
        content_type: Some(b"application/json"),
        headers: Some(b"\x07attemptI\0\0\0\x03\x06sourceS\0\0\0\x03web"),
        delivery_mode: Some(2),
        message_id: Some(b"5f3759df-0000-4000-8000-000000000000"),
        timestamp: Some(1_700_000_000),
        ..Properties::default()
    };
    let rich = publish(&full.encode(), &[b'x'; 1024]);
    measure("decode publish+header+body, 5 properties, 1 KiB", || decode_all(black_box(&rich)));

    let mut ack = Vec::new();
    encode::ack(&mut ack, 1, 7, false);
    measure("decode ack", || decode_all(black_box(&ack)));

    let mut out = Vec::with_capacity(64 * 1024);
    for (name, size) in [("encode deliver+header+body, 16 B", 16), ("encode deliver+header+body, 1 KiB", 1024)] {
        let body = vec![b'x'; size];
        measure(name, || {
            out.clear();
            let address = black_box(b"\0\x0dorder.created");
            encode::deliver(&mut out, 1, b"ctag-1", 7, false, address);
            encode::content_header(&mut out, 1, body.len() as u64, &[0x10, 0, 2]);
            encode::body(&mut out, 1, black_box(&body), FRAME_MAX);
            black_box(&out);
        });
    }
    measure("encode ack", || {
        out.clear();
        encode::ack(&mut out, 1, black_box(7), false);
        black_box(&out);
    });
}
