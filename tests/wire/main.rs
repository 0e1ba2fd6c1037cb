//! The broker over raw sockets: exact frames in, exact frames out.
//!
//! Each test is a script of steps against a broker of its own in this process. The frames that clients and brokers
//! exchange are built by `amq-protocol`, not by the broker's own encoders. Texts, codes and ids are RabbitMQ's.

mod alarms;
mod bad_input;
mod bystander;
mod channels;
mod client;
mod confirm;
mod consume;
#[allow(dead_code)] // another target uses the rest of it
#[path = "../fuzz/conversation.rs"]
mod conversation; // shared with the fuzz targets
mod exchanges;
mod frames;
mod framing;
mod handshake;
mod heartbeat;
mod limits;
mod logins;
mod permissions;
mod publish;
mod queues;
mod quorum;
mod refused;
mod reply_to;
mod revocation;
mod script;
mod slow_reader;
mod tx;
mod weak_spots;
