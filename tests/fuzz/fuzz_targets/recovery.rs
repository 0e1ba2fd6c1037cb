//! A store on disk, damaged.
#![no_main]

#[path = "../choices.rs"]
mod choices;
#[path = "../conversation.rs"]
mod conversation;
#[path = "../recovery.rs"]
mod recovery;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| recovery::damage(octets));
