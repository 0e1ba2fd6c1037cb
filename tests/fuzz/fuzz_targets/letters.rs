//! What dying and waiting do to a message.
#![no_main]

#[path = "../choices.rs"]
mod choices;
#[path = "../letters.rs"]
mod letters;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| letters::travel(octets));
