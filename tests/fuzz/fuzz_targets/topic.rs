//! Topic exchanges against their definition.
#![no_main]

#[path = "../choices.rs"]
mod choices;
#[path = "../routing.rs"]
mod routing;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| routing::topic(octets));
