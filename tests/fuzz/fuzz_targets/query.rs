//! Queries of lists of the management API.
#![no_main]

#[path = "../choices.rs"]
mod choices;
#[path = "../http.rs"]
mod http;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| http::query(octets));
