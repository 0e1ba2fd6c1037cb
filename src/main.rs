//! The `leveret` command: settings, runtime, exit status. Nothing else.

use std::process::ExitCode;

use clap::Parser;
use leveret::config::{self, Args, Command};
use leveret::server::{Builder, ServerError};
use leveret::{perf, telemetry, tools};
use tokio::signal::unix::{SignalKind, signal};

/// Messages are allocated by the publisher's thread and freed by the consumer's; this allocator takes them back without
/// a lock between the two.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status for settings that cannot be used (`EX_USAGE`).
const BAD_SETTINGS: u8 = 64;
/// Exit status when the broker cannot start or its store fails.
const FAILED: u8 = 1;

/// How many tasks a busy thread runs before it asks the system what else has come. A turn of a session takes up to half a
/// millisecond: tokio's 61 would leave a client whose octets are there unheard for 30 ms beside others that flood (p99 of a
/// quiet pair beside four loud ones: 66 ms, with 2 it is 11), and a call for every two turns costs nothing measurable.
const EVENT_INTERVAL: u32 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Perf(command)) = &args.command {
        // A client: the settings of a broker on this machine are none of its business.
        raise_file_limit();
        let interrupted = perf::until_interrupted();
        let status = perf::run(command, &interrupted, &mut std::io::stdout(), &mut std::io::stderr());
        return ExitCode::from(status);
    }
    let config = match config::load(&args) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    if let Some(Command::Tool(tool)) = &args.command {
        return ExitCode::from(tools::run(tool, &config, &mut std::io::stdout(), &mut std::io::stderr()));
    }
    if let Err(error) = telemetry::start(config.log_format, &config.log_level) {
        eprintln!("{error}");
        return ExitCode::from(BAD_SETTINGS);
    }
    raise_file_limit();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.threads > 0 {
        builder.worker_threads(config.threads);
    }
    let runtime = match builder.event_interval(EVENT_INTERVAL).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::from(FAILED);
        }
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

async fn serve(config: config::Config) -> Result<(), ServerError> {
    // Caught before anything is opened: a signal during the start is not lost.
    let signals = signal(SignalKind::terminate()).and_then(|t| Ok((t, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = signals.map_err(|error| ServerError::Failed(error.to_string()))?;
    let data_dir = config.data_dir.clone();
    let server = Builder::new(config).start()?;
    for address in server.addresses() {
        tracing::info!("listening for AMQP 0-9-1 on {address}");
    }
    for address in server.management_addresses() {
        tracing::info!("listening for the management API on {address}");
    }
    tracing::info!("messages are kept in {}", data_dir.display());
    tracing::info!("threads that serve clients: {}", tokio::runtime::Handle::current().metrics().num_workers());
    announce();
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
        _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
        () = server.broker().node.stop_requested() => tracing::info!("asked to stop: shutting down"),
        why = server.failed() => {
            // Clients must not take silence for patience: end at once, the next start recovers.
            return Err(ServerError::Failed(why));
        }
    }
    server.stop().await?;
    tracing::info!("stopped, everything confirmed is on disk");
    Ok(())
}

/// The line that Testcontainers modules and scripts wait for.
#[allow(clippy::print_stdout)]
fn announce() {
    println!("Server startup complete");
}

/// Every connection is a descriptor: take as many as the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!("cannot raise the limit of open files above {:?}: {error}", limit.current);
    }
}
