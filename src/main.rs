//! The `leveret` command: settings, runtime, exit status. Nothing else.

use std::process::ExitCode;

use clap::Parser;
use leveret::config::{self, Args, Changes, Command, Config, Environment, Line, Notes, Reason};
use leveret::ctl::{self, Role};
use leveret::server::{Builder, Server, ServerError, systemd};
use leveret::{perf, telemetry, tools};
use tokio::signal::unix::{SignalKind, signal};

/// Messages are allocated by the publisher's thread and freed by the consumer's; this allocator takes them back without
/// a lock between the two.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status for settings that cannot be used (`EX_USAGE`); `leveret config check` has one of its own.
const BAD_SETTINGS: u8 = 64;
/// Exit status when the broker cannot start or its store fails.
const FAILED: u8 = 1;

/// How many tasks a busy thread runs before it asks the system what else has come. A turn of a session takes up to half a
/// millisecond: tokio's 61 would leave a client whose octets are there unheard for 30 ms beside others that flood. Each time
/// costs a call to the system, also between a client's question and the answer. p99 of a quiet pair beside four loud ones,
/// and bindings a second of a client that waits for each: 2: 0.9 ms, 40,000; 4: 1.6 ms, 44,000; 8: 2.8 ms, 47,000; 16: 6 ms.
const EVENT_INTERVAL: u32 = 4;

fn main() -> ExitCode {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    if let Some((role, program)) = words.next().as_deref().and_then(ctl::role) {
        return ExitCode::from(ctl::run(role, program, &words.collect::<Vec<_>>(), &Args::default()));
    }
    let args = Args::parse();
    if let Some(status) = client(&args) {
        return ExitCode::from(status);
    }
    if let Some(Command::Perf(command)) = &args.command {
        // A client: the settings of a broker on this machine are none of its business.
        raise_file_limit();
        let interrupted = perf::until_interrupted();
        let status = perf::run(command, &interrupted, &mut std::io::stdout(), &mut std::io::stderr());
        return ExitCode::from(status);
    }
    if let Some(Command::Config(command)) = &args.command {
        return ExitCode::from(tools::settings(command, &args, &mut std::io::stdout(), &mut std::io::stderr()));
    }
    let (config, notes) = match config::load_noted(&args, &Environment::of_process(), &[]) {
        Ok(read) => read,
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
    if let Err(error) = telemetry::start(&config) {
        eprintln!("{error}");
        return ExitCode::from(BAD_SETTINGS);
    }
    tell(&notes);
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
    match runtime.block_on(serve(args, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Carries out a command that needs no settings of a broker, or finds them itself.
fn client(args: &Args) -> Option<u8> {
    let run = |role, program, line: &Line| ctl::run(role, program, &line.words, args);
    Some(match args.command.as_ref()? {
        Command::Ctl(line) => run(Role::Tool(ctl::Tool::Leveret), "leveret ctl", line),
        Command::Plugins(line) => run(Role::Tool(ctl::Tool::Plugins), "leveret plugins", line),
        Command::Admin(line) => run(Role::Admin, "rabbitmqadmin", line),
        Command::Completions { shell, program } => {
            ctl::complete(*shell, program, &mut std::io::stdout(), &mut std::io::stderr())
        }
        Command::Man => ctl::manual(&mut std::io::stdout(), &mut std::io::stderr()),
        Command::Tool(_) | Command::Perf(_) | Command::Config(_) => return None,
    })
}

/// What was read without effect.
fn tell(notes: &Notes) {
    for file in &notes.files {
        tracing::info!("settings are read from {}", file.display());
    }
    for (reason, line) in notes.lines() {
        if reason == Reason::Missing {
            tracing::warn!("{line}");
        } else {
            tracing::info!("{line}");
        }
    }
    for remark in &notes.remarks {
        tracing::info!("{remark}");
    }
}

async fn serve(args: Args, mut config: Config) -> Result<(), ServerError> {
    // Caught before anything is opened: a signal during the start is not lost.
    let caught = |kind| signal(kind).map_err(|error| ServerError::Failed(error.to_string()));
    let mut terminate = caught(SignalKind::terminate())?;
    let mut interrupt = caught(SignalKind::interrupt())?;
    let mut hangup = caught(SignalKind::hangup())?;
    let data_dir = config.data_dir.clone();
    let server = Builder::new(config.clone()).handed(systemd::sockets()).start()?;
    // RabbitMQ's words and order, which scripts wait for.
    for address in server.management_addresses() {
        let port = address.port();
        tracing::info!("Management plugin: HTTP (non-TLS) listener started on port {port} at {address}");
    }
    for address in server.management_tls_addresses() {
        let port = address.port();
        tracing::info!("Management plugin: HTTPS (TLS) listener started on port {port} at {address}");
    }
    for address in server.addresses() {
        tracing::info!("started TCP listener on {address}");
    }
    for address in server.tls_addresses() {
        tracing::info!("started TLS (SSL) listener on {address}");
    }
    if let Some(path) = &server.broker().config.unix_socket {
        tracing::info!("started listener at {}", path.display());
    }
    tracing::info!("messages are kept in {}", data_dir.display());
    tracing::info!("threads that serve clients: {}", tokio::runtime::Handle::current().metrics().num_workers());
    announce(&config);
    systemd::ready();
    loop {
        tokio::select! {
            () = systemd::live() => {}
            _ = hangup.recv() => {
                systemd::reloading();
                reload(&args, &mut config, &server);
                // What is wrong with the files has been logged.
                let _ = server.broker().reload_tls().await;
                systemd::ready();
            }
            _ = terminate.recv() => {
                tracing::info!("SIGTERM: shutting down");
                break;
            }
            _ = interrupt.recv() => {
                tracing::info!("SIGINT: shutting down");
                break;
            }
            () = server.broker().node.stop_requested() => {
                tracing::info!("asked to stop: shutting down");
                break;
            }
            why = server.failed() => {
                // Clients must not take silence for patience: end at once, the next start recovers.
                return Err(ServerError::Failed(why));
            }
        }
    }
    systemd::stopping();
    server.stop().await?;
    tracing::info!("stopped, everything confirmed is on disk");
    Ok(())
}

/// Reads the settings again and applies what may change, or nothing at all if anything is wrong.
fn reload(args: &Args, config: &mut Config, server: &Server) {
    tracing::info!("SIGHUP: reading the settings again");
    let new = match config::load_noted(args, &Environment::of_process(), &[]) {
        Ok((new, _)) => new,
        Err(problems) => {
            for problem in problems {
                tracing::error!("{problem}");
            }
            tracing::error!("the settings stay as they were");
            return;
        }
    };
    if let Err(error) = telemetry::apply(&new) {
        tracing::error!("the settings stay as they were: {error}");
        return;
    }
    let merged = config::merged(config, &new);
    server.apply(&merged);
    let Changes { live, waiting } = Changes::between(config, &new);
    tracing::info!("applied: {}", if live.is_empty() { "nothing has changed".to_owned() } else { live.join(", ") });
    if !waiting.is_empty() {
        tracing::warn!("changed, and in force after a restart only: {}", waiting.join(", "));
    }
    *config = merged;
}

/// The line that Testcontainers modules and scripts wait for; the plugins are RabbitMQ's names for what is built in.
fn announce(config: &Config) {
    use std::io::Write;
    let management = ["rabbitmq_management", "rabbitmq_management_agent", "rabbitmq_web_dispatch"];
    let mut plugins: Vec<&str> = Vec::new();
    if !config.management_listen.is_empty() || !config.management_tls.listen.is_empty() {
        plugins.extend(management);
    }
    if !config.metrics_listen.is_empty() || !config.metrics_tls.listen.is_empty() {
        plugins.push("rabbitmq_prometheus");
    }
    let mut text = format!("Server startup complete; {} plugins started.\n", plugins.len());
    for plugin in plugins {
        text += " * ";
        text += plugin;
        text.push('\n');
    }
    // Whoever waited for the first line may have gone with it: no reason not to serve.
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
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
