//! Arbitrary configuration of RabbitMQ's kinds: whatever is accepted keeps its ranges, whatever is not names its place.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use leveret::config::{Args, Environment, Origin, load_noted, shown};

/// A `rabbitmq.conf`, an `advanced.config` and variables, each behind a zero octet: of the last, pairs of name and value.
pub(crate) fn read(input: &[u8]) {
    thread_local! {
        static DIR: tempfile::TempDir = tempfile::tempdir().expect("a directory");
    }
    let mut parts = input.split(|octet| *octet == 0);
    let conf = parts.next().unwrap_or_default();
    let advanced = parts.next().unwrap_or_default();
    // Another file would make the input depend on this machine.
    if conf.windows(b"include".len()).any(|word| word == b"include") {
        return;
    }
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        if !name.windows(b"_FILE".len()).any(|word| word == b"_FILE") {
            let own = [b"RABBITMQ_", name].concat();
            variables.push((OsString::from_vec(own), OsString::from_vec(value.to_vec())));
        }
    }
    variables.push(("HOME".into(), "/nowhere".into()));
    let environment: Environment = variables.into_iter().collect();
    let lines = |text: &[u8]| text.split(|octet| *octet == b'\n').count();
    let most = lines(conf).max(lines(advanced));
    DIR.with(|dir| {
        let files = [dir.path().join("fuzz.conf"), dir.path().join("fuzz.config")];
        std::fs::write(&files[0], conf).expect("a file");
        std::fs::write(&files[1], advanced).expect("a file");
        match load_noted(&Args::default(), &environment, &files) {
            Ok((config, notes)) => {
                assert!((4 << 10..=128 << 20).contains(&config.frame_max) && config.channel_max > 0);
                assert!(!config.node_name.is_empty() && !config.default_vhost.is_empty());
                assert!(config.users.iter().all(|user| (1..=255).contains(&user.name.len())));
                assert!(notes.lines().len() <= notes.ignored.len());
                assert!(shown(&config).contains("[limits]"));
            }
            Err(problems) => {
                assert!(!problems.is_empty(), "refused without a reason");
                for problem in problems {
                    assert!(!problem.to_string().is_empty());
                    if let Origin::File(_, line) = problem.origin {
                        assert!((1..=most).contains(&line), "line {line} of {most}");
                    }
                }
            }
        }
    });
}
