//! Definitions in a store, and policies.
#![no_main]

#[path = "../choices.rs"]
mod choices;
#[path = "../definitions.rs"]
mod definitions;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| definitions::start(octets));
