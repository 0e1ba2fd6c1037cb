//! How clients come in: TLS, certificates, proxies, Unix sockets, sockets of the service manager, and doors that close.
//!
//! Certificates are made by `openssl` when the tests begin, so they are such as people have. lapin speaks neither TLS nor
//! the PROXY protocol here: a bridge in the test does, and hands its octets on.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

#[path = "../support/client.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod client;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod server;

mod bridge;
mod certificates;
mod doors;
mod external;
mod files;
mod hostile;
mod local;
mod names;
mod proxy;
mod swap;
mod tls;
mod web;
