//! A whole session, from the header on.
#![no_main]

#[path = "../conversation.rs"]
mod conversation;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| conversation::converse(octets));
