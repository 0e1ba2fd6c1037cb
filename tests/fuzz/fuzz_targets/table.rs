//! Any octets as the content of a field table.
#![no_main]

#[path = "../agreement.rs"]
mod agreement;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| agreement::table(octets));
