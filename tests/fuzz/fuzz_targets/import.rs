//! Documents of definitions, as they are imported.
#![no_main]

#[path = "../choices.rs"]
mod choices;
#[path = "../http.rs"]
mod http;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| http::document(octets));
