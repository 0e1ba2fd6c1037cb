//! Definitions in RabbitMQ's forms; here only how tables are written.

pub mod json;
