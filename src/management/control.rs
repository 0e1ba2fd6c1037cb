//! The control socket: a Unix socket in the data directory, by which the command-line tools reach the broker.
//!
//! It serves the management API without a login, and what lies below `/api/leveret`, which the network does not get.
//! Whoever can open the file is an administrator: it can be read and written by the broker's own user only, who could
//! change the store itself as well. It takes the place of one that a broker has left behind, since the store's lock has
//! made sure that no other broker runs here.

use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::net::UnixListener;

use super::answer::{Answer, ApiError, Outcome};
use super::call::Call;
use super::route::{Access, Route, get, post};
use crate::auth::Login;
use crate::config::{DiskFreeLimit, MemoryWatermark};
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::{config, telemetry};

/// Name of the socket in the data directory.
pub const SOCKET: &str = "control.sock";

/// Listens on the control socket of a data directory, which must be this process's own. Fails if the file system takes
/// no sockets there, or the path is longer than a socket's may be.
pub fn listen(data_dir: &Path) -> io::Result<UnixListener> {
    let place = path(data_dir);
    // Made under another name and moved, so that nobody finds it while its permissions are still anybody's.
    let fresh = place.with_extension("new");
    remove(&fresh)?;
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, &place)?;
    Ok(listener)
}

/// The control socket of a data directory.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(SOCKET)
}

/// Removes the control socket; nobody can reach the broker by it any more.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/api/leveret/status", Access::Control, status),
        post("/api/leveret/stop", Access::Control, stop),
        post("/api/leveret/authenticate", Access::Control, authenticate),
        post("/api/leveret/close-connections", Access::Control, close_connections),
        post("/api/leveret/log-level", Access::Control, log_level),
        post("/api/leveret/alarm-limits", Access::Control, alarm_limits),
        get("/api/leveret/environment", Access::Control, environment),
        get("/api/config/effective", Access::Administrator, environment),
    ]
}

async fn status(call: Call) -> Outcome {
    let broker = &call.broker;
    Ok(Answer::json(&json!({
        "product_name": super::overview::PRODUCT,
        "product_version": env!("CARGO_PKG_VERSION"),
        "rabbitmq_version": broker.config.profile().version,
        "os_pid": std::process::id().to_string(),
        "uptime": broker.node.uptime(&broker.clock),
        "data_dir": broker.config.data_dir,
    })))
}

/// Whether a name and a password would let somebody in from this machine.
async fn authenticate(call: Call) -> Outcome {
    let body = call.object()?;
    let (name, password) = (body.required_text("username")?, body.required_text("password")?);
    let here = Ipv4Addr::LOCALHOST.into();
    let login = Login::password(name.as_bytes(), password.as_bytes());
    let verdict = call.broker.log_in_and_wait(None, login, here).await;
    verdict.map(|_| Answer::done()).map_err(|_| ApiError::bad_credentials())
}

/// Closes connections: of a virtual host, of a user, or all, and tells them why.
async fn close_connections(call: Call) -> Outcome {
    let body = call.object()?;
    let reason = body.text("reason")?.unwrap_or("Closed via management plugin");
    let vhosts = match body.text("vhost")? {
        Some(name) => vec![call.broker.vhost(name).ok_or_else(ApiError::no_vhost)?],
        None => call.broker.vhosts(),
    };
    let user = body.text("user")?;
    let mut closed = 0_usize;
    for connection in vhosts.iter().flat_map(|vhost| call.broker.connections.in_vhost(vhost)) {
        if user.is_none_or(|user| connection.user().is_some_and(|owner| *owner.name == *user)) {
            connection.kick(Refusal::new(ReplyCode::ConnectionForced, reason));
            closed = closed.saturating_add(1);
        }
    }
    Ok(Answer::json(&json!({"closed": closed})))
}

/// Every setting in force, as a file of settings; passwords are hidden.
async fn environment(call: Call) -> Outcome {
    Ok(Answer::text(config::shown(&call.broker.config), "text/plain; charset=utf-8"))
}

/// Changes what is logged until the end of the process, or the next change.
async fn log_level(call: Call) -> Outcome {
    let body = call.object()?;
    let given = body.required_text("level")?;
    // Any other word would be taken for the name of a module.
    let level = config::log_level(given).unwrap_or(given);
    telemetry::set_level(level, level).map_err(|error| ApiError::bad_request(error.to_string()))?;
    tracing::info!("the log level is changed on the control socket");
    Ok(Answer::done())
}

/// Changes from where on alarms go up, until the end of the process or the next change.
async fn alarm_limits(call: Call) -> Outcome {
    let body = call.object()?;
    let wrong = |name: &str, given: &str| ApiError::bad_request(format!("{name} cannot be {given}"));
    let memory = body.text("memory")?.map(|text| MemoryWatermark::parse(text).ok_or_else(|| wrong("memory", text)));
    let disk = body.text("disk")?.map(|text| DiskFreeLimit::parse(text).ok_or_else(|| wrong("disk", text)));
    let (memory, disk) = (memory.transpose()?, disk.transpose()?);
    if let Some(watermark) = memory {
        call.broker.alarms.set_memory_watermark(watermark);
    }
    if let Some(limit) = disk {
        call.broker.alarms.set_disk_free_limit(limit);
    }
    tracing::info!("the limits of the alarms are changed on the control socket");
    Ok(Answer::done())
}

/// Ends the broker in order. The answer comes first.
async fn stop(call: Call) -> Outcome {
    tracing::info!("asked to stop on the control socket");
    call.broker.node.request_stop();
    Ok(Answer::done())
}
