//! `rabbitmqadmin`, in both of its grammars: that of the Python script RabbitMQ had until 4.2 (`declare queue name=q`),
//! and that of the program it has since (`declare queue --name q`).
//!
//! Which of the two a command line is written in shows in its words ([`speaks_second`]); one that is right in both is
//! taken for the first, which prints fewer columns. Reaches any broker with RabbitMQ's management API, over TCP.

mod config;
mod first;
mod formats;
mod frames;
mod second;
mod settings;

use super::command::Streams;

pub(in crate::ctl) use second::grammar;

/// Carries out a command line; returns the exit status.
pub(super) fn run(program: &'static str, line: &[String], streams: &mut Streams<'_>) -> u8 {
    if speaks_second(line) { second::run(program, line, streams) } else { first::run(program, line, streams) }
}

/// Switches only the first grammar has.
const FIRST_ONLY: &[&str] = &[
    "-f",
    "--format",
    "-S",
    "--sort",
    "-R",
    "--sort-reverse",
    "-d",
    "--depth",
    "-s",
    "--ssl",
    "--request-timeout",
    "--ssl-key-file",
    "--ssl-cert-file",
    "--ssl-ca-cert-file",
    "--ssl-disable-hostname-verification",
    "--ssl-insecure",
    "--bash-completion",
    "--version",
];

/// Switches only the second has.
const SECOND_ONLY: &[&str] = &[
    "--non-interactive",
    "--table-style",
    "--use-tls",
    "--tls-ca-cert-file",
    "--tls-cert-file",
    "--tls-key-file",
    "--timeout",
    "--insecure",
    "--verbose",
    "-v",
    "--page",
    "--page-size",
    "--columns",
];

/// Switches of either that take a value.
const VALUED: &[&str] = &[
    "-c",
    "--config",
    "-N",
    "--node",
    "-H",
    "--host",
    "-P",
    "--port",
    "--path-prefix",
    "-V",
    "--vhost",
    "-u",
    "--username",
    "-p",
    "--password",
    "-U",
    "--base-uri",
    "--url",
    "-t",
];

/// What the first grammar can list, declare or delete; all else is the second's.
const FIRST_LISTS: &[&str] = &[
    "connections",
    "channels",
    "consumers",
    "exchanges",
    "queues",
    "bindings",
    "users",
    "vhosts",
    "permissions",
    "nodes",
    "parameters",
    "policies",
    "operator_policies",
    "vhost_limits",
];

/// Whether a command line is one of the second grammar.
fn speaks_second(line: &[String]) -> bool {
    let name = |word: &String| word.split('=').next().unwrap_or_default().to_owned();
    if line.iter().any(|word| FIRST_ONLY.contains(&name(word).as_str())) {
        return false;
    }
    if line.iter().any(|word| SECOND_ONLY.contains(&name(word).as_str())) {
        return true;
    }
    let mut words = Vec::new();
    let mut rest = line.iter();
    while let Some(word) = rest.next() {
        if VALUED.contains(&word.as_str()) {
            rest.next();
        } else if words.len() == 2 || !word.starts_with('-') {
            words.push(word.as_str());
        }
    }
    let Some((verb, objects)) = words.split_first() else { return false };
    let object = objects.first().copied().unwrap_or_default();
    let arguments = objects.get(1..).unwrap_or_default();
    let switched = arguments.iter().any(|word| word.starts_with("--"));
    match *verb {
        "list" => switched || (!object.is_empty() && !FIRST_LISTS.contains(&object)),
        "show" => switched || (!object.is_empty() && object != "overview"),
        "declare" | "delete" | "close" | "purge" => {
            switched
                || ["stream", "permissions", "user_limit", "shovel", "user_connections"].contains(&object)
                    && !arguments.iter().any(|word| word.contains('='))
        }
        "export" | "import" => object == "definitions" || object.starts_with("--"),
        "get" => object == "messages",
        "publish" => object == "message",
        "help" => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammars_are_told_apart() {
        let first = [
            "list queues",
            "list queues name messages",
            "-f tsv -q list queues name",
            "-V shop list bindings",
            "declare queue name=q durable=true",
            "declare queue name=--odd",
            "delete binding source=x destination_type=queue destination=q properties_key=k",
            "publish routing_key=q payload=hello",
            "publish exchange=amq.default routing_key=q payload=--x",
            "get queue=q count=2",
            "purge queue name=q",
            "close connection name=c",
            "export file.json",
            "import file.json",
            "show overview",
            "help subcommands",
            "-H host -P 15672 -u a -p b list users",
            "--version",
            "",
        ];
        let second = [
            "queues list",
            "--non-interactive list queues",
            "list queues --page 1",
            "list user_limits",
            "declare queue --name q --type quorum",
            "--vhost shop delete queue --name q --idempotently",
            "definitions export --file f",
            "export definitions --file f",
            "publish message --routing-key q --payload p",
            "publish message -k q -m p",
            "get messages --queue q",
            "health_check local_alarms",
            "show churn",
            "declare permissions --username u --configure a --read b --write c",
            "vhosts declare --name v",
            "passwords salt_and_hash secret",
        ];
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for line in first {
            assert!(!speaks_second(&words(line)), "{line}");
        }
        for line in second {
            assert!(speaks_second(&words(line)), "{line}");
        }
    }
}
