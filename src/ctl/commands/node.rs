//! The node as a process: whether it is there, waiting for it, stopping it.

use std::time::Duration;

use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};

use super::connections::ask;
use crate::clock::Clock;
use crate::ctl::api::{ApiError, path};
use crate::ctl::command::{BOTH, Call, Command, Section};
use crate::ctl::failure::{DATA, Failure, TEMPORARY, UNAVAILABLE};
use crate::ctl::options::{flag, number};
use crate::ctl::output::Output;

const NODES: Section = Section::Nodes;

/// Time between two looks at something that is waited for.
const POLL: Duration = Duration::from_millis(100);
/// Seconds that `await_startup` and `stop` wait unless told otherwise.
const LONG: u64 = 300;
/// Seconds that `wait` waits unless told otherwise.
const SHORT: u64 = 10;

pub(super) const COMMANDS: &[Command] = &[
    Command::new("ping", Section::Monitoring, "", "Checks that the broker answers", ping).tools(BOTH).timed().banner(
        |call| {
            let patience = call.line.number("timeout").filter(|seconds| *seconds > 0).unwrap_or(60);
            format!(
                "Will ping {}. This only checks if the OS process is running and registered with epmd. Timeout: {} ms.",
                call.node,
                patience.saturating_mul(1000)
            )
        },
    ),
    Command::new("await_startup", NODES, "", "Waits until the broker has started", await_startup).timed(),
    Command::new("wait", NODES, "[<pidfile>] [--pid|-P <pid>]", "Waits until the process of a pid file serves", wait)
        .tools(BOTH)
        .words(0, 1)
        .timed()
        .switches(&[number("pid").short('P')]),
    Command::new("await_online_nodes", Section::Cluster, "<count>", "Waits for this many nodes; there is one", nodes)
        .words(1, 1)
        .banner(|call| format!("Will wait for at least {} nodes to join the cluster of {}.", call.word(0), call.node)),
    Command::new(
        "stop",
        NODES,
        "[--idempotent] [<pidfile>]",
        "Stops the broker in order, and waits until it has; with a pid file, until its process has ended",
        stop,
    )
    .words(0, 1)
    .switches(&[flag("idempotent")])
    .banner(|call| match call.words.first() {
        None => format!("Stopping and halting node {} ...", call.node),
        Some(file) => {
            format!("Stopping and halting node {} (will monitor pid file {file}) ...", call.node)
        }
    }),
    Command::new(
        "shutdown",
        NODES,
        "[--wait]",
        "Stops the broker in order, and waits for its process to end",
        shutdown,
    )
    .timed()
    .switches(&[flag("wait")]),
    Command::new("start_app", NODES, "", "Does nothing: the broker serves as long as it runs", start_app)
        .banner(|call| format!("Starting node {} ...", call.node)),
    Command::new("rotate_logs", NODES, "", "Does nothing: logs are rotated as the settings say", nothing)
        .banner(|call| format!("Rotating logs for node {} ...", call.node)),
    Command::new("force_gc", Section::Operations, "", "Does nothing: there is no garbage to collect", nothing),
    Command::new(
        "set_log_level",
        Section::Configuration,
        "<log_level>",
        "Sets the least severe level that is logged",
        level,
    )
    .words(1, 1)
    .banner(|call| format!("Setting log level to \"{}\" ...", call.word(0))),
];

fn overview(call: &Call<'_>) -> Result<Value, ApiError> {
    match call.any_api() {
        Ok(api) => api.get(&path(&["overview"])),
        Err(failure) => Err(ApiError::Broken(crate::ctl::http::Broken::Unreachable(failure.text))),
    }
}

fn ping(call: &mut Call<'_>) -> Result<Output, Failure> {
    match overview(call) {
        Ok(_) => {
            call.api()?;
            Ok(Output::message("Ping succeeded"))
        }
        Err(error @ ApiError::Refused { .. }) => Err(call.fail(&error)),
        Err(error) => {
            let patience = call.line.number("timeout").filter(|seconds| *seconds > 0).unwrap_or(60);
            let why = format!(
                "Failed to connect and authenticate to {} in {} ms\n{}",
                call.node,
                patience.saturating_mul(1000),
                error.reason()
            );
            Err(Failure::error(UNAVAILABLE, why))
        }
    }
}

/// Looks again and again until `done`, for as long as the command may take; whether it came to be.
fn until(call: &Call<'_>, seconds: u64, mut done: impl FnMut() -> bool) -> Result<bool, Failure> {
    let seconds = call.line.number("timeout").and_then(|s| u64::try_from(s).ok()).unwrap_or(seconds);
    let clock = Clock::system();
    let patience = Duration::from_secs(seconds).as_nanos();
    let began = clock.nanos();
    loop {
        if done() {
            return Ok(true);
        }
        // A look may itself take its time.
        if u128::from(clock.nanos().saturating_sub(began)) >= patience {
            return Ok(false);
        }
        call.any_api()?.client.pause(POLL);
    }
}

fn timed_out(call: &Call<'_>, seconds: u64) -> Failure {
    let seconds = call.line.number("timeout").and_then(|s| u64::try_from(s).ok()).unwrap_or(seconds);
    let (operation, node) = (call.command.name, &call.node);
    let value = seconds.saturating_mul(1000);
    Failure::plain(
        TEMPORARY,
        format!("Error: operation {operation} on node {node} timed out. Timeout value used: {value}"),
    )
}

fn await_startup(call: &mut Call<'_>) -> Result<Output, Failure> {
    if !until(call, LONG, || overview(call).is_ok())? {
        return Err(timed_out(call, LONG));
    }
    call.api()?;
    Ok(Output::Done)
}

/// The process a pid file names.
fn pid_in(file: &str) -> Option<Pid> {
    std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).and_then(Pid::from_raw)
}

/// Whether a process is there. One of another user is; one that has ended and whose parent has not looked yet is not.
fn runs(pid: Pid) -> bool {
    if cfg!(target_os = "linux")
        && let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        && stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    {
        return false;
    }
    !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

fn wait(call: &mut Call<'_>) -> Result<Output, Failure> {
    let quiet = call.is_quiet();
    let pid = match (call.line.number("pid"), call.words.first()) {
        (Some(number), _) => {
            let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
            pid.ok_or_else(|| Failure::error(DATA, format!("{number} is not the number of a process")))?
        }
        (None, Some(file)) => {
            if !quiet {
                let _ = writeln!(call.streams.out, "Waiting for pid file '{file}' to appear");
            }
            let mut found = None;
            if !until(call, SHORT, || {
                found = pid_in(file);
                found.is_some()
            })? {
                return Err(timed_out(call, SHORT));
            }
            found.ok_or_else(Failure::not_found)?
        }
        (None, None) => return Err(Failure::error(DATA, "a pid file or --pid is needed")),
    };
    if !quiet {
        let _ = writeln!(call.streams.out, "pid is {}", pid.as_raw_nonzero());
    }
    let mut gone = false;
    let served = until(call, SHORT, || {
        gone = !runs(pid);
        gone || overview(call).is_ok()
    })?;
    if gone {
        return Err(Failure::plain(UNAVAILABLE, "Error: process is not running."));
    }
    if !served {
        return Err(timed_out(call, SHORT));
    }
    let node = &call.node;
    Ok(Output::message(format!("Applications 'rabbit_and_plugins' are running on node '{node}'")))
}

fn nodes(call: &mut Call<'_>) -> Result<Output, Failure> {
    let count: u64 = call.word(0).parse().map_err(|_| Failure::error(DATA, "count is a number of nodes"))?;
    overview(call).map_err(|error| call.fail(&error))?;
    match count {
        0 | 1 => Ok(Output::Done),
        _ => Err(Failure::unsupported(call.command.name, "there is one node")),
    }
}

/// The broker's process, as it tells it.
fn process(call: &Call<'_>) -> Option<Pid> {
    let nodes = call.api().ok()?.list(&path(&["nodes"])).ok()?;
    let told = nodes.first()?.get("os_pid")?.clone();
    let number = told.as_str().map_or_else(|| told.as_i64(), |text| text.parse().ok())?;
    Pid::from_raw(i32::try_from(number).ok()?)
}

/// Asks the broker to stop and waits until it has: until its process has ended, or, where that is not known, its answers.
fn stop_and_wait(call: &Call<'_>, process: Option<Pid>) -> Result<(), Failure> {
    ask(call, "stop", &json!({}))?;
    let stopped = until(call, LONG, || process.map_or_else(|| overview(call).is_err(), |process| !runs(process)))?;
    if stopped { Ok(()) } else { Err(timed_out(call, LONG)) }
}

fn stop(call: &mut Call<'_>) -> Result<Output, Failure> {
    let own = match call.words.first() {
        None => None,
        Some(file) => match pid_in(file) {
            Some(pid) => Some(pid),
            None => return Err(Failure::error(UNAVAILABLE, format!("could not read pid from file {file}."))),
        },
    };
    if call.line.on("idempotent") && overview(call).is_err() {
        return Ok(Output::message(format!("Node {} is no longer running", call.node)));
    }
    // On another host's broker, nothing can be said about processes.
    let process = own.or_else(|| process(call).filter(|_| call.line.text("url").is_none()));
    stop_and_wait(call, process)?;
    Ok(match (own, call.words.first()) {
        (Some(pid), Some(file)) => Output::message(format!(
            "process {} (take from pid file {file}) is no longer running",
            pid.as_raw_nonzero()
        )),
        _ => Output::Done,
    })
}

fn shutdown(call: &mut Call<'_>) -> Result<Output, Failure> {
    let process = process(call).filter(|_| call.line.text("url").is_none());
    let node = call.node.clone();
    let number = process.map_or_else(String::new, |pid| format!(" running at PID {}", pid.as_raw_nonzero()));
    if !call.is_quiet() {
        let _ = writeln!(call.streams.out, "Shutting down RabbitMQ node {node}{number}");
    }
    stop_and_wait(call, process)?;
    Ok(Output::message(format!("RabbitMQ node {node}{number} successfully shut down")))
}

fn start_app(call: &mut Call<'_>) -> Result<Output, Failure> {
    call.api()?;
    overview(call).map(|_| Output::Done).map_err(|error| call.fail(&error))
}

fn nothing(call: &mut Call<'_>) -> Result<Output, Failure> {
    start_app(call)
}

fn level(call: &mut Call<'_>) -> Result<Output, Failure> {
    let known = ["debug", "info", "notice", "warning", "error", "critical", "none"];
    let level = call.word(0);
    if !known.contains(&level) {
        let why = format!("level {level} is not supported. Try one of debug, info, warning, error, critical, none");
        return Err(Failure::error(UNAVAILABLE, why));
    }
    ask(call, "log-level", &json!({ "level": level }))
}
