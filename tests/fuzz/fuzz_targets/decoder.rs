//! Any octets as a stream of frames, and as the payload of each kind of frame.
#![no_main]

#[path = "../agreement.rs"]
mod agreement;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    agreement::stream(octets, 131_072);
    agreement::method(octets);
    agreement::header(octets);
    agreement::properties(octets);
});
