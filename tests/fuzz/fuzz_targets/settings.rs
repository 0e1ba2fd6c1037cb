//! Files and variables of settings.
#![no_main]

#[path = "../settings.rs"]
mod settings;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| settings::load(octets));
