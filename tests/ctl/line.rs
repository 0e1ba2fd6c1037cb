//! How command lines come in: by the name of the program, and behind `leveret ctl`.

use clap::Parser;
use leveret::config::{Args, Command};
use leveret::ctl::{Role, Tool, role};

use crate::run::words;

#[test]
fn the_name_of_the_program_is_its_role() {
    for (program, expected) in [
        ("rabbitmqctl", Some(Role::Tool(Tool::Ctl))),
        ("/usr/sbin/rabbitmq-diagnostics", Some(Role::Tool(Tool::Diagnostics))),
        ("./rabbitmq-queues", Some(Role::Tool(Tool::Queues))),
        ("rabbitmq-plugins", Some(Role::Tool(Tool::Plugins))),
        ("rabbitmq-upgrade", Some(Role::Tool(Tool::Upgrade))),
        ("rabbitmqadmin", Some(Role::Admin)),
        ("rabbitmq-server", None),
        ("leveret", None),
        ("", None),
    ] {
        assert_eq!(role(program).map(|(role, _)| role), expected, "{program}");
    }
}

#[test]
fn what_stands_behind_ctl_is_the_tools() {
    let behind = |line: &str| {
        let args = Args::try_parse_from(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
        match args.command {
            Some(Command::Ctl(line) | Command::Plugins(line) | Command::Admin(line)) => (args.data_dir, line.words),
            other => panic!("{line}: {other:?}"),
        }
    };
    for (line, expected) in [
        ("leveret ctl list_queues -p shop --formatter json name", "list_queues -p shop --formatter json name"),
        ("leveret ctl -q list_queues --help", "-q list_queues --help"),
        ("leveret ctl help list_queues", "help list_queues"),
        ("leveret ctl set_policy --priority -1 p -- -x {}", "set_policy --priority -1 p -- -x {}"),
        ("leveret plugins list -e -m", "list -e -m"),
        ("leveret admin -u guest --non-interactive queues list", "-u guest --non-interactive queues list"),
    ] {
        assert_eq!(behind(line).1, words(expected), "{line}");
    }
    let (dir, line) = behind("leveret --data-dir /d ctl status");
    assert_eq!((dir.as_deref(), line), (Some(std::path::Path::new("/d")), words("status")));
    let (dir, line) = behind("leveret ctl --data-dir /d status");
    assert!(dir.is_some() || line == words("--data-dir /d status"), "{dir:?} {line:?}");
}
