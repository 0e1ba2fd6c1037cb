//! The command-line tools against a broker that is not there: a small HTTP server on a control socket, or on a port,
//! that answers what a table says and keeps what it was asked.

mod admin_first;
mod admin_second;
mod commands;
mod fake;
mod headings;
mod line;
mod real;
mod refused;
mod run;
mod transcript;
