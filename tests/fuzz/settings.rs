//! Arbitrary settings: a file and variables. Whatever is accepted keeps its ranges, whatever is not names its place.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use leveret::config::{Args, Config, Environment, Origin, load_from};

/// Whole files, and variables of the environment behind a zero octet: pairs of name and value, each ended by another.
pub(crate) fn load(input: &[u8]) {
    thread_local! {
        static DIR: tempfile::TempDir = tempfile::tempdir().expect("a directory");
    }
    let mut parts = input.split(|octet| *octet == 0);
    let text = parts.next().unwrap_or_default();
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        // A variable that names another file would make the input depend on this machine.
        if name != b"LEVERET_CONFIG" {
            let own = [b"LEVERET_", name].concat();
            variables.push((OsString::from_vec(own), OsString::from_vec(value.to_vec())));
        }
    }
    variables.push(("HOME".into(), "/nowhere".into()));
    let environment: Environment = variables.into_iter().collect();
    let lines = text.split(|octet| *octet == b'\n').count();
    DIR.with(|dir| {
        let path = dir.path().join("leveret.toml");
        std::fs::write(&path, text).expect("a file");
        let args = Args { config: Some(path), ..Args::default() };
        match load_from(&args, &environment) {
            Ok(config) => judge(&config),
            Err(problems) => {
                assert!(!problems.is_empty(), "refused without a reason");
                for problem in problems {
                    assert!(!problem.to_string().is_empty());
                    if let Origin::File(_, line) = problem.origin {
                        assert!((1..=lines).contains(&line), "line {line} of {lines}");
                    }
                }
            }
        }
    });
}

fn judge(config: &Config) {
    assert!(!config.data_dir.as_os_str().is_empty() && !config.node_name.is_empty());
    for (at, user) in config.users.iter().enumerate() {
        assert!((1..=255).contains(&user.name.len()));
        assert!(config.users.iter().take(at).all(|other| other.name != user.name), "a user named twice");
    }
    assert!(config.vhosts.iter().all(|vhost| !vhost.name.is_empty()));
    assert!(config.policies.iter().chain(&config.operator_policies).all(|policy| !policy.name.is_empty()));
    assert!((4 << 10..=128 << 20).contains(&config.frame_max) && config.channel_max > 0);
    assert!(config.handshake_timeout.as_millis() >= 100 && config.largest_body() > 0);
    assert!((64 << 10..=1 << 30).contains(&config.outbox_bytes));
    assert!((64 << 10..=1 << 30).contains(&config.control_bytes));
    assert!(config.map_size.is_multiple_of(64 << 10));
}
