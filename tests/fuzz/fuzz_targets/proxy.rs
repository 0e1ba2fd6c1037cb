//! Headers of the PROXY protocol.
#![no_main]

#[path = "../proxy.rs"]
mod proxy;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| proxy::header(octets));
