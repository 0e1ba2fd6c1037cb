//! Tests of the command line of `leveret perf`.

use clap::Parser;

use super::super::{Args, Command};
use super::*;

fn parse(line: &str) -> Result<Perf, String> {
    let words = ["leveret", "perf"].into_iter().chain(line.split_whitespace());
    match Args::try_parse_from(words).map_err(|error| error.to_string())?.command {
        Some(Command::Perf(perf)) => Ok(perf),
        other => panic!("not perf: {other:?}"),
    }
}

fn load(line: &str) -> Load {
    match parse(&format!("load {line}")) {
        Ok(Perf::Load(load)) => *load,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_load_without_flags_is_one_to_one_on_this_machine() {
    let load = load("");
    assert_eq!(load.whom, Whom { uri: LOCAL.to_owned(), pid: None, json: None, quiet: false });
    assert_eq!((load.producers, load.consumers, load.size.as_slice()), (1, 1, &[Size(16)][..]));
    assert_eq!((load.time, load.warmup, load.pmessages, load.cmessages, load.rate), (None, None, None, None, None));
    assert_eq!((load.confirm, load.autoack, load.multi_ack_every, load.qos), (None, false, 1, 0));
    assert_eq!((load.queue.as_str(), load.exchange.as_str(), load.exchange_type.as_str()), ("perf-test", "", "direct"));
    assert!(load.auto_delete && !load.durable && !load.latency && load.flag.is_empty());
}

#[test]
fn flags_are_perf_tests() {
    let load = load(
        "-H amqp://h -x 2 -y 3 -s 0,16,64MiB -z 10 -C 5 -D 6 -c 100 -a -A 10 -q 50 -f persistent,mandatory -r 1000 -R 500 \
         -e ex -t topic -k key.1 --queue-args x-max-length=10,x-queue-mode=lazy --auto-delete false --durable --pid 7",
    );
    assert_eq!(load.size, [Size(0), Size(16), Size(64 << 20)]);
    assert_eq!((load.producers, load.consumers, load.time), (2, 3, Some(10)));
    assert_eq!((load.pmessages, load.cmessages, load.confirm), (Some(5), Some(6), Some(100)));
    assert_eq!((load.autoack, load.multi_ack_every, load.qos), (true, 10, 50));
    assert_eq!(load.flag, [Flag::Persistent, Flag::Mandatory]);
    assert_eq!((load.rate, load.consumer_rate), (Some(1000), Some(500)));
    assert_eq!((load.exchange.as_str(), load.exchange_type.as_str()), ("ex", "topic"));
    assert_eq!(load.routing_key.as_deref(), Some("key.1"));
    let arguments: Vec<_> = load.queue_args.iter().map(|a| (a.key.as_str(), a.value.as_str())).collect();
    assert_eq!(arguments, [("x-max-length", "10"), ("x-queue-mode", "lazy")]);
    assert!(!load.auto_delete && load.durable);
    assert_eq!((load.whom.uri.as_str(), load.whom.pid), ("amqp://h", Some(7)));
}

#[test]
fn rates_and_sizes_may_vary() {
    let load = load("--variable-rate 100:60 --variable-rate 0:10 --variable-size 1KiB:5 --variable-size 16:5");
    assert_eq!(load.variable_rate, [Phase { value: 100, seconds: 60 }, Phase { value: 0, seconds: 10 }]);
    assert_eq!(load.variable_size, [Phase { value: Size(1024), seconds: 5 }, Phase { value: Size(16), seconds: 5 }]);
}

#[test]
fn what_cannot_be_is_refused() {
    for (line, why) in [
        ("load -s 65MiB", "is more than 64MiB"),
        ("load -s big", "a whole number of bytes"),
        ("load -c 0", "0 is not in"),
        ("load -A 0", "0 is not in"),
        ("load -r 0", "0 is not in"),
        ("load -z 0", "0 is not in"),
        ("load -r 5 --variable-rate 5:5", "cannot be used with"),
        ("load -s 5 --variable-size 5:5", "cannot be used with"),
        ("load --variable-rate 100", "is not VALUE:SECONDS"),
        ("load --variable-rate 100:0", "is not VALUE:SECONDS"),
        ("load -u q --queue-pattern q-%d --queue-pattern-to 3", "cannot be used with"),
        ("load --queue-pattern q-%d", "--queue-pattern-to"),
        ("load -k key --random-routing-key", "cannot be used with"),
        ("load --queue-args x-max-length", "is not KEY=VALUE"),
        ("churn hares", "possible values: connections, channels, queues, bindings, consumers"),
        ("count connections 0", "0 is not in"),
        ("suite --broker rabbit", "is not NAME=URI,pid=N"),
        ("suite --broker rabbit=amqp://h,pid=x", "is not NAME=URI,pid=N"),
        ("", "Usage: leveret perf"),
    ] {
        let refused = parse(line).expect_err(line);
        assert!(refused.contains(why), "{line}: {refused}");
    }
}

#[test]
fn churn_count_and_suite() {
    let Ok(Perf::Churn(churn)) = parse("churn bindings --durable -x 3 -z 2") else { panic!("not churn") };
    assert_eq!((churn.what, churn.durable, churn.clients, churn.time), (Churned::Bindings, true, 3, 2));
    let Ok(Perf::Count(count)) = parse("count queues 1000 --pid 5") else { panic!("not count") };
    assert_eq!((count.what, count.number, count.whom.pid), (Counted::Queues, 1000, Some(5)));
    let Ok(Perf::Suite(suite)) = parse("suite --broker R=amqp://h:1,pid=5 --broker L=amqp://h:2 --only durable") else {
        panic!("not suite")
    };
    assert_eq!((suite.rounds, suite.seconds, suite.only.as_deref()), (3, 4, Some("durable")));
    let brokers: Vec<_> = suite.broker.iter().map(|b| (b.name.as_str(), b.uri.as_str(), b.pid)).collect();
    assert_eq!(brokers, [("R", "amqp://h:1", Some(5)), ("L", "amqp://h:2", None)]);
}
