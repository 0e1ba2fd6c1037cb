//! RabbitMQ's files and variables.
#![no_main]

#[path = "../rabbitmq.rs"]
mod rabbitmq;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| rabbitmq::read(octets));
