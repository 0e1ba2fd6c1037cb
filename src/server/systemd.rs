//! What the broker and systemd say to each other: sockets at the start, and how it goes.
//!
//! All of it does nothing where the service manager has not asked for it by variables of the environment. Source:
//! `sd_notify(3)`, `sd_listen_fds(3)`. Deliberately absent: storing descriptors across restarts, since no connection would
//! survive without its session.

use std::time::Duration;

use sd_notify::NotifyState;

use super::entrance::{Handed, HandedSocket};

/// The variable with the names of the sockets, separated by colons.
const NAMES: &str = "LISTEN_FDNAMES";

/// The sockets that systemd has opened for this process (`LISTEN_FDS`), with the names of their units' file
/// descriptors. Sockets that do not listen for connections are left alone, with a warning.
pub fn sockets() -> Vec<Handed> {
    let names = std::env::var(NAMES).unwrap_or_default();
    let mut names = names.split(':');
    let mut given = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for at in 0..given.len() {
        let name = names.next().unwrap_or_default().to_owned();
        let tcp = given.take_tcp_listener(at).ok().flatten().map(HandedSocket::Tcp);
        let socket = tcp.or_else(|| given.take_unix_listener(at).ok().flatten().map(HandedSocket::Local));
        if let Some(socket) = socket {
            sockets.push(Handed { name, socket });
        } else {
            tracing::warn!("the socket number {at} that was handed over does not listen for connections");
        }
    }
    sockets
}

/// Tells that clients can connect, also after a reload.
pub fn ready() {
    say(&[NotifyState::Ready]);
}

/// Tells that the broker reads its settings anew; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("no monotonic clock: {error}"),
    }
}

/// Tells that the broker is about to end.
pub fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// A line for people, shown by `systemctl status`.
pub fn status(line: &str) {
    say(&[NotifyState::Status(line)]);
}

fn say(states: &[NotifyState<'_>]) {
    // Nobody may be listening; then there is nobody to tell.
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::debug!("the service manager cannot be told: {error}");
    }
}

/// Gives a sign of life as often as systemd has asked for (`WatchdogSec=`), for as long as it is polled: a runtime whose
/// threads hang gives none. Completes never.
pub async fn live() {
    let mut micros = 0;
    if !sd_notify::watchdog_enabled(false, &mut micros) || micros == 0 {
        return std::future::pending().await;
    }
    // Twice in the time allowed, as systemd recommends.
    let mut beat = tokio::time::interval(Duration::from_micros(micros) / 2);
    loop {
        beat.tick().await;
        say(&[NotifyState::Watchdog]);
    }
}
