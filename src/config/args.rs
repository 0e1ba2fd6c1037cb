//! The command line.
//!
//! What clap parses and what `--help` says. Deliberately absent: options for every key; those live in the file and the
//! environment.

use super::LogFormat;
use super::perf::Perf;
use std::path::PathBuf;

/// Command line of the broker. Everything has a default, so `leveret` alone starts a broker for this machine.
#[derive(Clone, Debug, Default, clap::Parser)]
#[command(name = "leveret", version, about = "An AMQP 0-9-1 message broker that RabbitMQ clients connect to unchanged")]
#[command(after_help = "\
Without options the broker listens on 127.0.0.1:5672 and [::1]:5672, lets user guest in with password guest
from this machine, and keeps its data in $XDG_STATE_HOME/leveret or ~/.local/state/leveret.

LEVERET_CONFIG, LEVERET_DATA_DIR, LEVERET_LISTEN (addresses separated by commas) and LEVERET_LOG__FORMAT
in the environment do the same as the options, and every other key of the file has such a variable too:
[limits] heartbeat is LEVERET_LIMITS__HEARTBEAT. Options win over the environment, the environment over the file.
A rabbitmq.conf and the variables RABBITMQ_* are read as RabbitMQ reads them.")]
pub struct Args {
    /// Read settings from this file: TOML, or RabbitMQ's own if its name ends in .conf
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Keep queues and messages in this directory, which is created if missing
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Accept clients on this address; may be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<String>,
    /// Serve the management API on this address, or on none; may be given several times
    #[arg(long, value_name = "ADDR:PORT|none")]
    pub http_listen: Vec<String>,
    /// Let Prometheus read metrics on this address, or on none; may be given several times
    #[arg(long, value_name = "ADDR:PORT|none")]
    pub metrics_listen: Vec<String>,
    /// Write log lines for people or for log collectors
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Give unused space of the store back to the file system before clients get in
    #[arg(long)]
    pub compact: bool,
    /// Work on a data directory, or measure a broker, instead of starting one
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be done instead of running a broker.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Command {
    /// Work on the data directory.
    #[command(flatten)]
    Tool(Tool),
    /// Measure a broker, Leveret or any other that speaks AMQP 0-9-1
    #[command(subcommand)]
    Perf(Perf),
    /// Ask a running broker, or tell it, as rabbitmqctl, rabbitmq-diagnostics and rabbitmq-queues do
    #[command(disable_help_flag = true)]
    Ctl(Line),
    /// Show what RabbitMQ has as plugins and this broker has built in, as rabbitmq-plugins does
    #[command(disable_help_flag = true)]
    Plugins(Line),
    /// Talk to the management API of any broker, as rabbitmqadmin does
    #[command(disable_help_flag = true)]
    Admin(Line),
    /// Print what makes a shell complete command lines
    Completions {
        /// The shell
        shell: clap_complete::Shell,
        /// The name the program is called with
        #[arg(default_value = "leveret")]
        program: String,
    },
    /// Print the manual page, for man(1)
    Man,
    /// Look at the settings
    #[command(subcommand)]
    Config(Settings),
}

/// A command line with a grammar of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Line {
    /// A command and what it takes; `help` lists them
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// What can be done with the settings.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Settings {
    /// Read the settings as a start would, and say what is wrong, what has no effect, and what is in force
    #[command(after_help = "\
Without FILE the files that a start would read are read. A file whose name ends in .conf is read as RabbitMQ's,
one that ends in .config as its Erlang terms, any other as Leveret's own.
Exit status: 0 a broker would start with them, 78 it would not.")]
    Check {
        /// Files to read instead, in this order
        file: Vec<PathBuf>,
    },
    /// Print all settings in force as a file of Leveret's own kind; passwords are hidden
    Show {
        /// Files to read instead, in this order
        file: Vec<PathBuf>,
    },
}

/// What can be done with a data directory.
#[derive(Clone, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Tool {
    /// Verify every checksum and rule of the data directory; a broker may be running on it
    #[command(after_help = "Exit status: 0 nothing is wrong, 1 something is, 66 the store cannot be read.")]
    Check,
    /// Copy all definitions and messages, as they are at one moment, into a new directory; a broker may be running
    #[command(
        after_help = "Exit status: 0 done and verified, 1 not done, or what was copied is damaged (it says which)."
    )]
    Backup {
        /// Directory to create; it may exist if it is empty
        dir: PathBuf,
    },
    /// Put a backup into the data directory, on which no broker may be running
    #[command(after_help = "Exit status: 0 done, 1 not done: then the data directory is as it was.")]
    Restore {
        /// Directory that `leveret backup` wrote
        dir: PathBuf,
        /// Set aside the store that is there; otherwise the data directory must hold none
        #[arg(long)]
        force: bool,
    },
    /// Give unused space of the store back to the file system; no broker may be running
    #[command(after_help = "Exit status: 0 done, 1 not done: then the data directory is as it was.")]
    Compact,
}
