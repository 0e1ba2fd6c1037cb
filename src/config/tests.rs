//! Tests of the configuration: the shown file, precedence, and the list of problems.

use super::keys::{self, Set};
use super::*;
use std::fmt::Write as _;
use std::path::Path;

const SHOWN: &str = include_str!("../../config/leveret.toml");

fn env(pairs: &[(&str, &str)]) -> Environment {
    [("HOME", "/home/hare")].iter().chain(pairs).copied().collect()
}

fn file(text: &str) -> (tempfile::NamedTempFile, Args) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let args = Args { config: Some(file.path().to_owned()), ..Args::default() };
    (file, args)
}

fn problems(text: &str) -> Vec<String> {
    let (file, args) = file(text);
    let name = format!("{}:", file.path().display());
    let problems = load_from(&args, &env(&[])).expect_err("the text has mistakes");
    problems.iter().map(|problem| problem.to_string().replace(&name, "F:")).collect()
}

/// What `config/leveret.toml` must say after its heading.
fn documented() -> String {
    let mut text = String::new();
    let mut section = "";
    for key in keys::all() {
        let (its_section, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        if its_section != section {
            section = its_section;
            if !section.is_empty() {
                writeln!(text, "[{section}]").unwrap();
            }
        }
        writeln!(text, "# {}", key.doc).unwrap();
        if let Set::Users(_) = key.set {
            let fields = key.default.trim_start_matches("[{ ").trim_end_matches(" }]");
            writeln!(text, "[[{name}]]").unwrap();
            // Commas between fields stand outside of the brackets of a list.
            writeln!(text, "{}", fields.replace(", ", "\n")).unwrap();
        } else {
            writeln!(text, "{name} = {}\n", key.default).unwrap();
        }
    }
    text
}

#[test]
fn the_shown_file_shows_every_key_with_its_default() {
    let (_, body) = SHOWN.split_once("\n\n").expect("a heading");
    assert_eq!(body, documented());
}

#[test]
fn the_shown_file_means_the_defaults() {
    let (_file, args) = file(SHOWN);
    let config = load_from(&args, &env(&[])).unwrap();
    assert_eq!(config, load_from(&Args::default(), &env(&[])).unwrap());
    let without_place = Config { data_dir: PathBuf::new(), ..config };
    assert_eq!(without_place, Config::default());
}

#[test]
fn every_default_is_what_its_setter_accepts() {
    // Read as environment variables, in which every key can be written.
    for key in keys::all() {
        let text = match key.set {
            Set::Text(_) | Set::Number(_) | Set::Choice(_) => key.default.trim_matches('"').to_owned(),
            Set::List(_) => key.default.trim_start_matches('[').trim_end_matches(']').replace('"', ""),
            Set::Users(_) | Set::Tables(_) => key.default.to_owned(),
        };
        let config = load_from(&Args::default(), &env(&[(key.env().as_str(), &text)])).unwrap();
        assert_eq!(Config { data_dir: PathBuf::new(), ..config }, Config::default(), "{}", key.name);
    }
}

#[test]
fn what_is_shown_is_what_is_in_force() {
    let text = "data_dir = '/d'\nunix_socket = '/s'\nproxy_protocol = ['10.0.0.0/8', '::1']\nlisten = ['[::1]:1']\n\
                node_name = 'hare@field'\nload_definitions = '/defs'\ncompatibility = '4.2'\nmechanisms = ['PLAIN']\n\
                loopback_users = ['a']\ndefault_vhost = 'v'\n[log]\nformat = 'json'\nconsole = 'stdout'\nfile = '/l'\n\
                file_level = 'warn'\nrotation = '1MiB'\nrotation_count = 3\n[management]\nlisten = ['none']\n\
                [tls]\nlisten = ['0.0.0.0:5671']\ncertificate = '/c'\nkey = '/k'\nca = '/a'\nverify = 'peer'\n\
                require_client_certificate = true\nlogin_from = 'common_name'\nversions = ['1.3']\n\
                handshake_timeout = '1500ms'\n[limits]\nheartbeat = '7s'\nframe_max = 5000\nconnection_max = 5\n\
                vm_memory_high_watermark = 0.25\ndisk_free_limit = 'mem_relative 1.5'\n[[vhosts]]\nname = 'v'\n\
                max_queues = 3\n[[vhost_limits]]\nname = 'l'\nvhosts = '^(?!x)'\nmax_connections = 4\n\
                [[permissions]]\nuser = 'guest'\nread = ''\n[[policies]]\nname = 'p'\npattern = '^a'\n\
                definition = { max-length = 5, x = [1, { y = 'z' }] }\n[[operator_policies]]\nname = 'o'\n\
                vhosts = '.*'\ndefinition = { expires = 9 }\n[[users]]\nname = 'hare'\npassword = 'guest'\n";
    for text in [text, ""] {
        let (_file, args) = file(text);
        let config = load_from(&args, &env(&[])).unwrap();
        let text = shown(&config);
        let (_file, args) = file(&text.replace("password = \"[hidden]\"", "password = \"guest\""));
        let again = load_from(&args, &env(&[])).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        let users = |config: &Config| {
            config.users.iter().map(|user| (user.name.clone(), user.loopback_only)).collect::<Vec<_>>()
        };
        assert_eq!(users(&again), users(&config));
        assert_eq!(Config { users: Vec::new(), ..again }, Config { users: Vec::new(), ..config }, "{text}");
    }
    let secret = Config {
        users: vec![UserEntry { password: Secret::new("hunter2"), ..Config::default().users[0].clone() }],
        ..Config::default()
    };
    assert!(!shown(&secret).contains("hunter2"));
}

#[test]
fn tls_is_set_as_a_whole() {
    let found = problems("[tls]\nlisten = ['0.0.0.0:5671']\nkey = '/k'\nverify = 'peer'");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("tls.certificate: is missing: tls.listen needs it"), "{found:?}");
    assert!(found[1].starts_with("tls.ca: is missing: tls.verify needs it"), "{found:?}");
    assert!(problems("[tls]\nrequire_client_certificate = true")[0].starts_with("tls.verify: is none, but"));
}

#[test]
fn somewhere_clients_must_get_in() {
    assert!(problems("listen = []")[0].contains("clients could not connect"));
    let (_file, mut args) = file("listen = []\nunix_socket = '/s'");
    assert!(load_from(&args, &env(&[])).unwrap().listen.is_empty());
    args.http_listen = vec!["none".to_owned()];
    args.metrics_listen = vec!["0.0.0.0:1".to_owned(), "[::]:1".to_owned()];
    let config = load_from(&args, &env(&[])).unwrap();
    assert_eq!((config.management_listen.len(), config.metrics_listen.len()), (0, 2));
}

#[test]
fn definitions_bring_their_own_users() {
    let (_file, args) = file("load_definitions = '/d.json'");
    assert_eq!(load_from(&args, &env(&[])).unwrap().users, []);
    let (_file, args) = file("load_definitions = '/d.json'\n[[users]]\nname = 'x'\npassword = 'y'");
    assert_eq!(load_from(&args, &env(&[])).unwrap().users.len(), 1);
}

#[test]
fn flags_win_over_environment_over_file() {
    let (_file, mut args) = file(
        "data_dir = '/file'\nlisten = ['10.0.0.1:1']\n[log]\nformat = 'json'\n[limits]\nheartbeat = '1s'\n\
         channel_max = 0x10",
    );
    let config = load_from(&args, &env(&[])).unwrap();
    assert_eq!((config.data_dir.as_path(), config.heartbeat, config.channel_max), (Path::new("/file"), 1, 16));
    assert_eq!(config.log_format, LogFormat::Json);

    let variables = env(&[
        ("LEVERET_DATA_DIR", "/variable"),
        ("LEVERET_LISTEN", "10.0.0.2:2, [::]:3"),
        ("LEVERET_LIMITS__HEARTBEAT", "2s"),
        ("LEVERET_LOG", "debug"),
        ("LEVERET_STORE__MAP_SIZE", ""),
    ]);
    let config = load_from(&args, &variables).unwrap();
    assert_eq!((config.data_dir.as_path(), config.heartbeat), (Path::new("/variable"), 2));
    assert_eq!(config.listen, ["10.0.0.2:2".parse().unwrap(), "[::]:3".parse().unwrap()]);
    assert_eq!((config.log_level.as_str(), config.log_format), ("debug", LogFormat::Json));

    args.data_dir = Some("/flag".into());
    args.listen = vec!["10.0.0.3:0".to_owned()];
    args.log_format = Some(LogFormat::Human);
    let config = load_from(&args, &variables).unwrap();
    assert_eq!((config.data_dir.as_path(), config.log_format), (Path::new("/flag"), LogFormat::Human));
    assert_eq!(config.listen, ["10.0.0.3:0".parse().unwrap()]);
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let (file, _) = file("[limits]\nchannel_max = 7");
    let config = load_from(&Args::default(), &env(&[("LEVERET_CONFIG", file.path().to_str().unwrap())])).unwrap();
    assert_eq!(config.channel_max, 7);
    let missing = load_from(&Args::default(), &env(&[("LEVERET_CONFIG", "/no/such/file.toml")])).unwrap_err();
    assert!(missing[0].to_string().starts_with("/no/such/file.toml:1: cannot be read: "), "{missing:?}");
}

#[test]
fn all_problems_are_reported_at_once_with_their_lines() {
    let found = problems(
        "data_dir = 7.5\nlistn = []\nlisten = ['localhost']\n\n[limits]\nframe_max = '1KiB'\nheartbeat = 60\n\
         framemax = 1\n[limit]\nx = 1\n[store]\nmap_size = 16777217\nack_flush = true\n[server]\n\
         shutdown_grace = '3 moons'\n",
    );
    let section = |name: &'static str| name.rsplit_once('.').map_or("", |(section, _)| section);
    let inside = |wanted: &str| {
        let names = keys::all().map(|key| key.name).filter(|name| section(name) == wanted);
        names.collect::<Vec<_>>().join(", ")
    };
    let expected = [
        "F:1: data_dir: is a TOML float (accepted: a path; ~ is not expanded)",
        "F:3: listen: \"localhost\" is not an address with a port (accepted: ADDRESS:PORT, such as \
         127.0.0.1:5672 or [::1]:5672; none for no address)",
        "F:6: limits.frame_max: \"1KiB\" is out of range (accepted: a size from 4KiB to 128MiB)",
        &format!("F:8: limits.framemax: unknown key (accepted: {})", inside("limits")),
        "F:7: limits.heartbeat: \"60\" is not a whole number with ms, s, m, h or d (accepted: a duration of whole \
         seconds from 0s to 65535s)",
        &format!("F:9: limit: unknown key (accepted: {})", inside("")),
        &format!("F:2: listn: unknown key (accepted: {})", inside("")),
        "F:12: store.map_size: \"16777217\" is too small or not a multiple of 64KiB (accepted: 0, or a size from 16MiB \
         to 64TiB that is a multiple of 64KiB)",
        "F:13: store.ack_flush: is a TOML boolean (accepted: a duration from 1ms to 1m)",
        "F:15: server.shutdown_grace: \"3 moons\" is not a whole number with ms, s, m, h or d (accepted: a duration \
         from 0s to 10m)",
    ];
    for line in expected {
        assert!(found.iter().any(|problem| problem == line), "missing {line}\nin {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    let lines: Vec<usize> = found.iter().map(|text| text.split(':').nth(1).unwrap().parse().unwrap()).collect();
    assert!(lines.is_sorted(), "{lines:?}");
}

#[test]
fn syntax_errors_carry_their_line_and_do_not_hide_the_rest() {
    let found = problems("data_dir = '/x'\nlisten = = 3\n[log]\nformat = 'yaml'\n");
    assert!(found.iter().any(|problem| problem.starts_with("F:2: TOML: ")), "{found:#?}");
    assert!(found.iter().any(|problem| problem.starts_with("F:4: log.format: \"yaml\" is not a format")), "{found:#?}");
}

#[test]
fn the_environments_problems_join_the_files() {
    let (_file, args) = file("listn = 1");
    let variables = env(&[
        ("LEVERET_LIMITS__FRAME_MAX", "huge"),
        ("LEVERET_DATADIR", "/x"),
        ("LEVERET_LIMITS__FRAMEMAX", "1"),
        ("LEVERET_USERS", "guest"),
        ("LEVERET_SERVICE_HOST", "10.0.0.1"),
        ("LEVERET_PORT", "tcp://10.0.0.1:5672"),
        ("LEVERET_PORT_5672_TCP_ADDR", "10.0.0.1"),
        ("LEVERET_BIN", "target/release/leveret"),
        ("OTHER_THING", "1"),
    ]);
    let args = Args { listen: vec!["nowhere".to_owned()], ..args };
    let found: Vec<_> = load_from(&args, &variables).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 6, "{found:#?}");
    for start in [
        "LEVERET_LIMITS__FRAME_MAX: limits.frame_max: \"huge\" is not a whole number of bytes",
        "LEVERET_DATADIR: unknown key",
        "LEVERET_LIMITS__FRAMEMAX: unknown key (accepted: limits.",
        "LEVERET_USERS: users: is not a TOML list of tables",
        "--listen: \"nowhere\" is not an address",
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(start)), "missing {start}\nin {found:#?}");
    }
}

#[test]
fn users_are_read_from_file_and_environment() {
    let (_file, args) = file(
        "[[users]]\nname = 'app'\npassword = 's3cret'\n[[users]]\nname = 'guest'\npassword = 'guest'\n\
         tags = ['administrator', 'x']\n[[users]]\nname='far'\npassword='p'\nloopback_only=true",
    );
    let config = load_from(&args, &env(&[])).unwrap();
    let facts: Vec<_> = config.users.iter().map(|u| (u.name.as_str(), u.tags.len(), u.loopback_only)).collect();
    assert_eq!(facts, [("app", 0, false), ("guest", 2, true), ("far", 0, true)]);
    assert_eq!(config.users[0].password.expose(), "s3cret");
    assert!(!format!("{config:?}").contains("s3cret"));

    let variables = env(&[("LEVERET_USERS", "[{ name = 'guest', password = 'guest', loopback_only = false }]")]);
    let config = load_from(&args, &variables).unwrap();
    assert_eq!(config.users.len(), 1);
    assert!(!config.users[0].loopback_only);
}

#[test]
fn wrong_users_are_named_by_line_and_no_password_is_quoted() {
    let found = problems(
        "[[users]]\nname = 'a'\npassword = 12345\n[[users]]\nname = 'b'\npasword = 'hunter2'\n[[users]]\n\
         password = 'hunter2'\n[[users]]\nname = ''\npassword = 'hunter2'\n[[users]]\nname = 'c'\n\
         password = 'x'\n[[users]]\nname = 'c'\npassword = 'x'\n",
    );
    let starts = [
        "F:3: users: password",
        "F:6: users: unknown key \"pasword\"",
        "F:7: users: name is missing",
        "F:10: users: name",
    ];
    for start in starts.into_iter().chain(["F:15: users: \"c\" is named twice"]) {
        assert!(found.iter().any(|problem| problem.starts_with(start)), "missing {start}\nin {found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(!found.concat().contains("hunter2") && !found.concat().contains("12345"));
    assert!(problems("users = []")[0].contains("the list is empty"));
}

#[test]
fn data_finds_its_place() {
    let place = |pairs: &[(&str, &str)]| load_from(&Args::default(), &pairs.iter().copied().collect());
    assert_eq!(place(&[("HOME", "/h")]).unwrap().data_dir, Path::new("/h/.local/state/leveret"));
    assert_eq!(place(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]).unwrap().data_dir, Path::new("/s/leveret"));
    let relative = place(&[("HOME", "/h"), ("XDG_STATE_HOME", "s")]).unwrap();
    assert_eq!(relative.data_dir, Path::new("/h/.local/state/leveret"));
    let homeless = place(&[]).unwrap_err();
    assert_eq!(homeless.len(), 1);
    assert!(homeless[0].to_string().contains("--data-dir DIR"), "{}", homeless[0]);
    assert!(place(&[("LEVERET_DATA_DIR", "~/x")]).is_err());
}

#[test]
fn the_command_line_is_well_formed() {
    use clap::{CommandFactory, Parser};
    Args::command().debug_assert();
    let args =
        Args::try_parse_from(["leveret", "--listen", "[::1]:0", "--listen", "1.2.3.4:5", "--log-format", "json"]);
    let args = args.unwrap();
    assert_eq!((args.listen.len(), args.log_format), (2, Some(LogFormat::Json)));
    assert!(Args::try_parse_from(["leveret", "--log-format", "yaml"]).is_err());
}

#[test]
fn the_compatibility_decides_the_largest_body_unless_that_is_set() {
    let (_file, args) = file("compatibility = '4.3'");
    let config = load_from(&args, &env(&[])).unwrap();
    assert_eq!((config.compatibility, config.largest_body()), (Compatibility::V4_3, 16 << 20));
    let config = load_from(&args, &env(&[("LEVERET_LIMITS__MAX_MESSAGE_SIZE", "1KiB")])).unwrap();
    assert_eq!(config.largest_body(), 1 << 10);
    assert_eq!(Config::default().largest_body(), 128 << 20);
    assert!(problems("compatibility = '5'")[0].starts_with("F:1: compatibility: \"5\" is not a version known here"));
}

#[test]
fn virtual_hosts_and_policies_are_lists_of_tables() {
    let (_file, args) = file(
        "default_queue_type = 'quorum'\n[limits]\nconnection_max = 10\nvhost_max = 'infinity'\n\
         [[vhosts]]\nname = 'v'\nmax_queues = -1\ndefault_queue_type = 'classic'\n[[vhosts]]\nname = 'w'\n\
         [[policies]]\nname = 'p'\nvhost = 'v'\npattern = '^a'\npriority = 3\napply_to = 'queues'\n\
         definition = { max-length = 0x10, overflow = 'reject-publish', x = [1.5, true, { y = 'z' }] }\n\
         [[operator_policies]]\nname = 'o'\ndefinition = { expires = 1 }",
    );
    let config = load_from(&args, &env(&[("LEVERET_LIMITS__CLUSTER_QUEUE_LIMIT", "0")])).unwrap();
    assert_eq!((config.connection_max, config.vhost_max, config.cluster_queue_limit), (Some(10), None, Some(0)));
    assert_eq!(config.default_queue_type, "quorum");
    let v = VhostEntry {
        name: "v".to_owned(),
        max_queues: Some(-1),
        default_queue_type: Some("classic".to_owned()),
        ..VhostEntry::default()
    };
    assert_eq!(config.vhosts, [v, VhostEntry { name: "w".to_owned(), ..VhostEntry::default() }]);
    let [policy] = &config.policies[..] else { panic!("one policy") };
    assert_eq!((&*policy.vhost, &*policy.pattern, policy.priority, &*policy.apply_to), ("v", "^a", 3, "queues"));
    let definition = serde_json::json!({"max-length": 16, "overflow": "reject-publish", "x": [1.5, true, {"y": "z"}]});
    assert_eq!(serde_json::Value::Object(policy.definition.clone()), definition);
    let [operator] = &config.operator_policies[..] else { panic!("one policy") };
    assert_eq!((&*operator.vhost, &*operator.pattern, operator.priority, &*operator.apply_to), ("/", "", 0, "all"));
    let config = load_from(&Args::default(), &env(&[("LEVERET_VHOSTS", "[{ name = 'x' }]")])).unwrap();
    assert_eq!(config.vhosts[0].name, "x");
}

#[test]
fn mistakes_in_lists_of_tables_are_found_where_they_are() {
    let found = problems(
        "vhosts = [1]\ndefault_queue_type = 'stream'\n[limits]\nconnection_max = -1\n[[policies]]\npattern = 5\n\
         colour = 'red'\n[[policies]]\nname = 'p'\ndefinition = 'x'\n[[operator_policies]]\nname = 'o'\n\
         definition = { expires = 1979-05-27 }\n",
    );
    let starts = [
        "F:1: vhosts: is not a table",
        "F:2: default_queue_type: \"stream\" is not a type of queue known here",
        "F:4: limits.connection_max: \"-1\" is not a limit",
        "F:5: policies: name is missing",
        "F:6: policies: pattern is of the wrong type",
        "F:7: policies: unknown key \"colour\"",
        "F:10: policies: definition is of the wrong type",
        "F:13: operator_policies: definition is of the wrong type",
    ];
    for (problem, start) in found.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}");
    }
    assert_eq!(found.len(), starts.len(), "{found:?}");
}
