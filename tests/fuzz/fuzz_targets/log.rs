//! Octets of the redo log.
#![no_main]

#[path = "../choices.rs"]
mod choices;
#[path = "../log.rs"]
mod log;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| log::replay(octets));
