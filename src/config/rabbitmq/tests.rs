//! Tests of RabbitMQ's configuration as a whole: files, variables, what comes of them, and the page that shows the keys.

use super::super::{
    Args, Config, DiskFreeLimit, Environment, LogConsole, LogFormat, LogRotation, LoginFrom, MemoryWatermark, Parts,
    Secret, TlsVerify, TlsVersion, load_from, load_noted,
};
use super::notes::{Notes, Reason};
use super::table::{self, Does};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

struct Files(tempfile::TempDir);

impl Files {
    fn of(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn args(&self, name: &str) -> Args {
        Args { config: Some(self.0.path().join(name)), ..Args::default() }
    }
}

fn env(pairs: &[(&str, &str)]) -> Environment {
    [("HOME", "/home/hare"), ("SECRET", "from-env")].iter().chain(pairs).copied().collect()
}

fn conf(text: &str) -> (Config, Notes) {
    let files = Files::of(&[("rabbitmq.conf", text)]);
    load_noted(&files.args("rabbitmq.conf"), &env(&[]), &[]).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn problems(text: &str) -> Vec<String> {
    let files = Files::of(&[("rabbitmq.conf", text)]);
    let problems = load_from(&files.args("rabbitmq.conf"), &env(&[])).expect_err("the text has mistakes");
    problems.iter().map(|problem| problem.to_string().replace(&files.path("rabbitmq.conf"), "F")).collect()
}

fn of_variables(pairs: &[(&str, &str)]) -> Config {
    load_from(&Args::default(), &env(pairs)).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn an_ordinary_file_takes_effect() {
    let (config, notes) = conf(
        "## An ordinary file\n\
         listeners.tcp.default = 5673\nlisteners.tcp.local = 127.0.0.1:5674\nlisteners.ssl.1 = 5671\n\
         ssl_options.cacertfile = /ca.pem\nssl_options.certfile = /cert.pem\nssl_options.keyfile = /key.pem\n\
         ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n\
         ssl_options.versions.1 = tlsv1.3\nssl_cert_login_from = common_name\n\
         heartbeat = 30\nframe_max = 128KB\nchannel_max = 0\nconnection_max = 100\nhandshake_timeout = 2000\n\
         max_message_size = 134217728\nconsumer_timeout = 3600000\ndefault_queue_type = quorum\n\
         vm_memory_high_watermark.relative = 0.4\nvm_memory_high_watermark.absolute = 2GiB\n\
         disk_free_limit.relative = 1.5\ncluster_name = burrow\n\
         default_user = app\ndefault_pass = '$(SECRET)#1'\ndefault_vhost = shop\ndefault_user_tags.monitoring = true\n\
         default_user_tags.administrator = false\ndefault_permissions.configure = ^x\nloopback_users.guest = false\n\
         management.tcp.port = 15673\nprometheus.tcp.ip = 127.0.0.1\nproxy_protocol = true\n\
         log.console = true\nlog.console.level = warning\nlog.connection.level = error\nlog.console.formatter = json\n\
         log.file = /var/log/x.log\nlog.file.level = debug\nlog.file.rotation.date = $D0\nlog.file.rotation.count = 5\n\
         auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n",
    );
    assert_eq!(notes.ignored, []);
    assert_eq!(config.listen, addresses(&["0.0.0.0:5673", "[::]:5673", "127.0.0.1:5674"]));
    assert_eq!(config.tls.listen, addresses(&["0.0.0.0:5671", "[::]:5671"]));
    let tls = &config.tls;
    let files = [&tls.ca, &tls.certificate, &tls.key].map(|path| path.as_deref().unwrap().to_str().unwrap().to_owned());
    assert_eq!(files, ["/ca.pem", "/cert.pem", "/key.pem"]);
    assert_eq!((tls.verify, tls.require_client_certificate), (TlsVerify::Peer, true));
    assert_eq!((&tls.versions[..], tls.login_from), (&[TlsVersion::V1_3][..], LoginFrom::CommonName));
    assert_eq!((config.heartbeat, config.frame_max, config.channel_max), (30, 131_072, 65_535));
    assert_eq!((config.connection_max, config.handshake_timeout), (Some(100), Duration::from_secs(2)));
    assert_eq!((config.max_message_size, config.consumer_timeout), (134_217_728, Duration::from_secs(3_600)));
    assert_eq!((config.default_queue_type.as_str(), config.cluster_name.as_str()), ("quorum", "burrow"));
    assert_eq!(config.memory_watermark, MemoryWatermark::Absolute(2 << 30));
    assert_eq!(config.disk_free_limit, DiskFreeLimit::OfMemory(Parts::new(1.5).unwrap()));
    let [user] = &config.users[..] else { panic!("{:?}", config.users) };
    assert_eq!((user.name.as_str(), user.password.expose(), user.loopback_only), ("app", "from-env#1", false));
    assert_eq!((&user.tags[..], config.default_vhost.as_str()), (&["monitoring".to_owned()][..], "shop"));
    let [permission] = &config.permissions[..] else { panic!("{:?}", config.permissions) };
    assert_eq!((permission.user.as_str(), permission.vhosts.as_str()), ("app", "^shop$"));
    assert_eq!((permission.configure.as_str(), permission.write.as_str()), ("^x", ".*"));
    assert_eq!(config.management_listen, addresses(&["0.0.0.0:15673", "[::]:15673"]));
    assert_eq!(config.metrics_listen, addresses(&["127.0.0.1:15692"]));
    assert!(config.proxy_protocol.iter().any(|network| network.contains("203.0.113.5".parse().unwrap())));
    assert_eq!((config.log_console, config.log_format), (LogConsole::Stdout, LogFormat::Json));
    assert_eq!(config.log_level, "warn,leveret::session=error");
    assert_eq!(config.log_file_level.as_deref(), Some("debug,leveret::session=error"));
    assert_eq!(config.log_file.as_deref(), Some(Path::new("/var/log/x.log")));
    assert_eq!((config.log_rotation, config.log_rotation_count), (LogRotation::Daily, 5));
    assert_eq!(config.mechanisms, ["PLAIN", "EXTERNAL"]);
}

#[test]
fn an_empty_file_means_what_it_means_to_rabbitmq() {
    let (config, notes) = conf("# nothing\n");
    assert_eq!(config.listen, addresses(&["0.0.0.0:5672", "[::]:5672"]), "every address");
    assert_eq!(config.management_listen, Config::default().management_listen, "no plugin is enabled");
    assert_eq!(config.users, Config::default().users);
    assert!(config.users[0].loopback_only, "guest comes from this machine only");
    assert_eq!((notes.files.len(), notes.ignored.len()), (1, 0));
    let ours = load_from(&Args::default(), &env(&[])).unwrap();
    assert_eq!(ours.listen, Config::default().listen, "without the file nothing is opened to the network");
}

#[test]
fn what_is_the_images_lets_guest_in_from_everywhere() {
    let (config, _) = conf("loopback_users.guest = false\nlog.console = true");
    assert!(!config.users[0].loopback_only);
    let (config, _) = conf("loopback_users = none");
    assert!(!config.users[0].loopback_only);
    let (config, _) = conf("loopback_users.other = true");
    assert!(!config.users[0].loopback_only, "whoever names others has not named guest");
    assert_eq!(config.loopback_users, ["other"]);
    let (config, _) = conf("loopback_users.guest = false\nload_definitions = /d.json");
    assert_eq!(config.users, [], "with definitions there is no guest at all");
}

#[test]
fn keys_without_meaning_are_named_once_with_their_reason() {
    let (_, notes) = conf(
        "cluster_formation.peer_discovery_backend = k8s\ncluster_partition_handling = autoheal\n\
         cluster_partition_handling = ignore\ncollect_statistics_interval = 5000\nmqtt.listeners.tcp.default = 1883\n\
         auth_backends.1 = internal\nauth_backends.2 = ldap\ndeprecated_features.permit.global_qos = true\n\
         quorum_queue.initial_cluster_size = 3\ntcp_listen_options.backlog = 128\nmanagement.http_log_dir = /x\n",
    );
    let expected = [
        ("cluster_formation.peer_discovery_backend", Reason::Cluster),
        ("cluster_partition_handling", Reason::Cluster),
        ("collect_statistics_interval", Reason::Always),
        ("mqtt.listeners.tcp.default", Reason::Plugin),
        ("auth_backends.2", Reason::Missing),
        ("deprecated_features.permit.global_qos", Reason::Compatibility),
        ("quorum_queue.initial_cluster_size", Reason::Cluster),
        ("tcp_listen_options.backlog", Reason::Always),
        ("management.http_log_dir", Reason::Missing),
    ];
    assert_eq!(notes.ignored, expected.map(|(key, reason)| (key.to_owned(), reason)));
    let lines = notes.lines();
    assert_eq!(lines[0].0, Reason::Missing, "what somebody relies on comes first");
    assert!(lines[0].1.ends_with(": auth_backends.2, management.http_log_dir"), "{}", lines[0].1);
}

#[test]
fn the_management_api_and_the_metrics_have_their_own_tls() {
    let (config, _) = conf(
        "management.ssl.port = 15671\nmanagement.ssl.ip = 127.0.0.1\nmanagement.ssl.certfile = /c\n\
         management.ssl.keyfile = /k\nmanagement.ssl.password = hunter2\nmanagement.ssl.cacertfile = /a\n\
         management.ssl.verify = verify_peer\nmanagement.ssl.fail_if_no_peer_cert = true\n\
         management.path_prefix = /mq/\nmanagement.cors.allow_origins.1 = https://A.example\n\
         management.cors.allow_origins.2 = https://b.example:8080\n\
         prometheus.ssl.port = 15691\nprometheus.ssl.cacertfile = /a\nprometheus.tcp.port = 15692\n\
         ssl_options.certfile = /own\nssl_options.keyfile = /own.key\nssl_options.password = hunter3\n\
         anonymous_login_user = app\nanonymous_login_pass = hunter4\n",
    );
    let [management, metrics] = config.web_tls();
    assert_eq!(management.listen, addresses(&["127.0.0.1:15671"]));
    assert_eq!((management.certificate, management.key), (Some("/c".into()), Some("/k".into())));
    assert_eq!(management.key_password, Some(Secret::new("hunter2")));
    assert_eq!((management.ca, management.verify), (Some("/a".into()), TlsVerify::Peer));
    assert!(management.require_client_certificate);
    assert_eq!(config.management_listen, [], "who asks for TLS and nothing else gets nothing else");
    assert_eq!(metrics.listen, addresses(&["0.0.0.0:15691", "[::]:15691"]));
    assert_eq!((metrics.ca, metrics.certificate, metrics.key), (None, Some("/own".into()), Some("/own.key".into())));
    assert_eq!(metrics.key_password, Some(Secret::new("hunter3")));
    assert_eq!(config.metrics_listen, addresses(&["0.0.0.0:15692", "[::]:15692"]));
    assert_eq!(config.management_prefix, "/mq");
    let mut origins = config.cors_origins.clone();
    origins.sort();
    assert_eq!(origins, ["https://a.example", "https://b.example:8080"]);
    assert_eq!((config.anonymous_user.as_str(), config.anonymous_password.expose()), ("app", "hunter4"));
    let shown = super::super::shown(&config);
    assert!(!shown.contains("hunter") && shown.contains("key_password = \"[hidden]\""), "{shown}");
    for wrong in [
        "management.path_prefix = mq",
        "management.path_prefix = /a/../b",
        "management.cors.allow_origins.1 = x",
        "management.ssl.port = x",
        "management.ssl.verify = yes",
    ] {
        assert_eq!(problems(&format!("{wrong}\n")).len(), 1, "{wrong}");
    }
    assert!(problems("prometheus.ssl.port = 1\n")[0].contains("metrics.tls.listen: needs a certificate"));
}

#[test]
fn mistakes_are_found_all_at_once_with_their_lines() {
    let found = problems(
        "heartbeat = soon\nhartbeat = 60\nlisteners.tcp.1 = localhost:5672\nframe_max = 99GB\n\
         this is no setting\nvm_memory_high_watermark.relative = 1.5\ndefault_pass = $(UNSET)\n\
         default_pass = encrypted:aHVudGVyMg==\nssl_options.verify = yes\nlog.console.level = loud\n\
         default_queue_type = stream\nmax_message_size = 1TB\ndefault_users.a.tags = x\n\
         default_limits.vhosts.1.pattern = (\ndisk_free_limit.absolute = lots\nauth_mechanisms.1 = CRAM-MD5\n\
         default_policies.operator.p.vhost_pattern = .*\nproxy_protocol = maybe\n\
         definitions.import_backend = https\nlisteners.tcp = some\n",
    );
    let starts = [
        "F:1: heartbeat: \"soon\" is not a number",
        "F:2: hartbeat: unknown key (accepted: heartbeat)",
        "F:3: listeners.tcp.1: \"localhost:5672\" is neither a port nor ADDRESS:PORT",
        "F:4: frame_max: \"106300440576\" is out of range (accepted: a size from 4KiB to 128MiB)",
        "F:5: is not of the form KEY = VALUE",
        "F:6: vm_memory_high_watermark.relative: \"1.5\" is not a fraction from 0 to 1",
        "F:7: default_pass: the variable \"UNSET\" is not set",
        "F:8: default_pass: is encrypted, which only RabbitMQ can read",
        "F:9: ssl_options.verify: \"yes\" is neither verify_none nor verify_peer",
        "F:10: log.console.level: \"loud\" is not debug, info",
        "F:11: default_queue_type: \"stream\" is not a type of queue known here",
        "F:12: max_message_size: \"1000000000000\" is out of range",
        "F:14: default_limits.vhosts.1.pattern: \"(\" is not a regular expression",
        "F:15: disk_free_limit.absolute: \"lots\" is not",
        "F:16: auth_mechanisms.1: \"CRAM-MD5\" is not PLAIN",
        "F:18: proxy_protocol: \"maybe\" is neither true nor false",
        "F:19: definitions.import_backend: \"https\" is no place",
        "F:20: listeners.tcp: \"some\" is not none",
        "default_users: \"a\" has no password",
        "default_policies.operator: \"p\" sets nothing",
    ];
    for start in starts {
        assert!(found.iter().any(|problem| problem.starts_with(start)), "missing {start}\nin {found:#?}");
    }
    assert_eq!(found.len(), starts.len(), "{found:#?}");
}

#[test]
fn no_problem_quotes_a_password() {
    let found = problems(
        "default_pass = 'hunter2\ndefault_pass = 'x' hunter2\ndefault_pas = hunter2\nhunter2\n\
         default_users.a.passwort = hunter2\nssl_options.password = hunter2\n",
    );
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(!found.concat().contains("hunter2"), "{found:#?}");
}

#[test]
fn later_files_win() {
    let files = Files::of(&[
        ("etc/rabbitmq/rabbitmq.conf", "heartbeat = 1\nframe_max = 5000\nchannel_max = 1\ninclude more/*.conf\n"),
        ("etc/rabbitmq/more/a.conf", "channel_max = 2\nconnection_max = 2\n"),
        ("etc/rabbitmq/conf.d/20-b.conf", "heartbeat = 3"),
        ("etc/rabbitmq/conf.d/10-a.conf", "heartbeat = 2\nframe_max = 6000"),
        ("etc/rabbitmq/conf.d/note.txt", "not a setting"),
        ("etc/rabbitmq/advanced.config", "[{rabbit, [{frame_max, 7000}]}]."),
        ("etc/rabbitmq/enabled_plugins", "[rabbitmq_management,rabbitmq_prometheus].\n"),
        ("etc/rabbitmq/rabbitmq-env.conf", "NODENAME=hare@field\nNODE_PORT=5677\n"),
        ("etc/leveret/leveret.toml", "[limits]\nchannel_max_per_node = 9\nheartbeat = '9s'\n"),
    ]);
    let variables = env(&[("RABBITMQ_NODE_PORT", "5678"), ("LEVERET_LIMITS__CONNECTION_MAX", "4")]);
    let (config, notes) =
        load_noted(&Args::default(), &variables.clone().at(files.0.path(), "rabbitmq-server"), &[]).unwrap();
    assert_eq!((config.heartbeat, config.frame_max, config.channel_max), (3, 7_000, 2));
    assert_eq!((config.connection_max, config.channel_max_per_node), (Some(4), Some(9)));
    assert_eq!((config.node_name.as_str(), config.listen[0].port()), ("hare@field", 5_678));
    assert_eq!(config.management_listen, addresses(&["0.0.0.0:15672", "[::]:15672"]), "the plugin is enabled");
    assert_eq!(config.metrics_listen, addresses(&["0.0.0.0:15692", "[::]:15692"]));
    assert_eq!(notes.files.len(), 7, "{:?}", notes.files);

    let (config, notes) = load_noted(&Args::default(), &variables.at(files.0.path(), "leveret"), &[]).unwrap();
    assert_eq!((config.heartbeat, config.listen), (9, addresses(&["127.0.0.1:5678", "[::1]:5678"])));
    assert_eq!(notes.files.len(), 1, "what is RabbitMQ's is read for RabbitMQ's name only");
    assert!(notes.remarks.iter().any(|remark| remark.contains("rabbitmq.conf is there and is not read")));
}

#[test]
fn variables_name_files() {
    let files = Files::of(&[
        ("main.conf", "heartbeat = 1\nchannel_max = 5"),
        ("d/a.conf", "heartbeat = 2"),
        ("x.config", "[{rabbit, [{connection_max, 3}]}]."),
        ("plugins", "[rabbitmq_prometheus]."),
    ]);
    let main = files.path("main");
    let pairs = [
        ("RABBITMQ_CONFIG_FILE", main.as_str()),
        ("RABBITMQ_CONFIG_FILES", &files.path("d")),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", &files.path("x")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", &files.path("plugins")),
    ];
    let config = of_variables(&pairs);
    assert_eq!((config.heartbeat, config.channel_max, config.connection_max), (2, 5, Some(3)));
    assert_eq!(config.metrics_listen[0], "0.0.0.0:15692".parse().unwrap());
    let missing = load_from(&Args::default(), &env(&[("RABBITMQ_CONFIG_FILE", "/no/such")])).unwrap_err();
    assert!(missing[0].to_string().starts_with("/no/such.conf:1: cannot be read"), "{missing:?}");
    let (config, _) = load_noted(&Args::default(), &env(&[]), &[files.0.path().join("main.conf")]).unwrap();
    assert_eq!(config.heartbeat, 1);
}

#[test]
fn variables_of_the_image_take_effect_those_it_refuses_included() {
    let files = Files::of(&[("user", "app\n"), ("pass", "s3cret\n")]);
    let config = of_variables(&[
        ("RABBITMQ_DEFAULT_USER", "someone"),
        ("RABBITMQ_DEFAULT_PASS", "pass"),
        ("RABBITMQ_DEFAULT_VHOST", "v"),
        ("RABBITMQ_NODENAME", "hare@field"),
        ("RABBITMQ_NODE_PORT", "5673"),
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.2"),
        ("RABBITMQ_MNESIA_BASE", "/var/lib/rabbitmq/mnesia"),
        ("RABBITMQ_LOGS", "-"),
        ("RABBITMQ_LOG", "debug,connection=error,+color"),
        ("RABBITMQ_VM_MEMORY_HIGH_WATERMARK", "40%"),
        ("RABBITMQ_SSL_CERTFILE", "/c"),
        ("RABBITMQ_SSL_KEYFILE", "/k"),
        ("RABBITMQ_SSL_CACERTFILE", "/a"),
        ("RABBITMQ_SSL_VERIFY", "verify_peer"),
        ("RABBITMQ_SSL_FAIL_IF_NO_PEER_CERT", "true"),
        ("RABBITMQ_URL", "amqp://somebody-elses"),
        ("RABBITMQ_PORT_5672_TCP", "tcp://10.0.0.1:5672"),
    ]);
    let [user] = &config.users[..] else { panic!("{:?}", config.users) };
    assert_eq!((user.name.as_str(), user.password.expose(), user.loopback_only), ("someone", "pass", false));
    assert_eq!(user.tags, ["administrator"]);
    assert_eq!((config.default_vhost.as_str(), config.node_name.as_str()), ("v", "hare@field"));
    assert_eq!(config.listen, addresses(&["127.0.0.2:5673"]));
    assert_eq!(config.data_dir, Path::new("/var/lib/rabbitmq/mnesia/hare@field"));
    assert_eq!((config.log_console, config.log_file), (LogConsole::Stdout, None));
    assert_eq!(config.log_level, "debug,leveret::session=error");
    assert_eq!(config.memory_watermark, MemoryWatermark::Relative(Parts::new(0.4).unwrap()));
    assert_eq!(config.tls.listen, addresses(&["0.0.0.0:5671", "[::]:5671"]));
    assert_eq!((config.tls.verify, config.tls.require_client_certificate), (TlsVerify::Peer, true));

    let pairs =
        [("RABBITMQ_DEFAULT_USER_FILE", files.path("user")), ("RABBITMQ_DEFAULT_PASS_FILE", files.path("pass"))];
    let config = of_variables(&pairs.each_ref().map(|(name, path)| (*name, path.as_str())));
    assert_eq!((config.users[0].name.as_str(), config.users[0].password.expose()), ("app", "s3cret"));
    for (variable, value) in [
        ("RABBITMQ_NODE_PORT", "x"),
        ("RABBITMQ_NODE_IP_ADDRESS", "localhost"),
        ("RABBITMQ_NODENAME", "a b"),
        ("RABBITMQ_VM_MEMORY_HIGH_WATERMARK", "much"),
        ("RABBITMQ_LOG", "loud"),
        ("RABBITMQ_DEFAULT_PASS_FILE", "/no/such"),
        ("RABBITMQ_SSL_VERIFY", "yes"),
    ] {
        let wrong = load_from(&Args::default(), &env(&[(variable, value)])).expect_err(variable);
        assert!(wrong[0].to_string().starts_with(variable), "{wrong:?}");
    }
}

#[test]
fn arguments_of_the_erlang_machine_are_settings() {
    let config = of_variables(&[(
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
        "-rabbit consumer_timeout 36000000 heartbeat 7 -rabbitmq_management load_definitions \"/etc/d.json\" -kernel x y \
         -rabbit log_levels [{connection,error}, {default,info}]  loopback_users [] -rabbit frame_max '8192'",
    )]);
    assert_eq!((config.consumer_timeout, config.heartbeat), (Duration::from_secs(36_000), 7));
    assert_eq!(config.load_definitions.as_deref(), Some(Path::new("/etc/d.json")));
    assert_eq!(config.frame_max, 8_192);
    let config = of_variables(&[("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-rabbit consumer_timeout undefined")]);
    assert_eq!(config.consumer_timeout, Duration::ZERO);
    let path =
        of_variables(&[("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-rabbitmq_management load_definitions /etc/d.json")]);
    assert_eq!(path.load_definitions.as_deref(), Some(Path::new("/etc/d.json")));
    let variables = env(&[("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-rabbit heartbeat {1")]);
    let wrong = load_from(&Args::default(), &variables).unwrap_err();
    assert!(wrong[0].to_string().starts_with("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: heartbeat"), "{wrong:?}");
}

#[test]
fn advanced_config_is_read_as_far_as_it_means_something() {
    let files = Files::of(&[
        (
            "advanced.config",
            "[\n {rabbit, [{tcp_listeners, [5673, {\"127.0.0.1\", 5674}]},\n  {ssl_listeners, []},\n\
             {vm_memory_high_watermark, {absolute, \"1GiB\"}}, {disk_free_limit, {mem_relative, 2.0}},\n\
             {loopback_users, []}, {default_user, <<\"app\">>}, {default_pass, <<\"pw\">>},\n\
             {default_permissions, [<<\"a\">>, <<\"b\">>, <<\"c\">>]}, {default_user_tags, [management]},\n\
             {consumer_timeout, undefined}, {auth_backends, [rabbit_auth_backend_internal]},\n\
             {ssl_options, [{certfile, \"/c\"}, {versions, ['tlsv1.2']}]},\n\
             {some_internal, {a, [b]}}, {log, [{console, [{enabled, true}]}]}]},\n\
             {rabbitmq_management, [{listener, [{port, 15000}, {ip, \"127.0.0.1\"}]}]},\n {ra, [{x, 1}]}\n].\n",
        ),
        ("bad.config", "[{rabbit,\n [{heartbeat, soon},\n {frame_max, 1}]}].\n"),
        ("broken.config", "[{rabbit, [\n"),
    ]);
    let (config, notes) = load_noted(&files.args("advanced.config"), &env(&[]), &[]).unwrap();
    assert_eq!(config.listen, addresses(&["0.0.0.0:5673", "[::]:5673", "127.0.0.1:5674"]));
    assert_eq!(config.memory_watermark, MemoryWatermark::Absolute(1 << 30));
    assert_eq!(config.disk_free_limit, DiskFreeLimit::OfMemory(Parts::new(2.0).unwrap()));
    assert_eq!((config.users[0].name.as_str(), config.users[0].tags[0].as_str()), ("app", "management"));
    assert_eq!((config.permissions[0].configure.as_str(), config.permissions[0].read.as_str()), ("a", "c"));
    assert_eq!((config.consumer_timeout, &config.tls.versions[..]), (Duration::ZERO, &[TlsVersion::V1_2][..]));
    assert_eq!(config.management_listen, addresses(&["127.0.0.1:15000"]));
    let ignored: Vec<&str> = notes.ignored.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(ignored, ["rabbit.some_internal", "rabbit.log", "ra.x"]);
    let wrong = load_from(&files.args("bad.config"), &env(&[])).unwrap_err();
    let lines: Vec<_> =
        wrong.iter().map(|problem| problem.to_string().replace(&files.path("bad.config"), "F")).collect();
    assert!(lines[0].starts_with("F:2: heartbeat") && lines[1].starts_with("F:3: frame_max"), "{lines:?}");
    assert!(load_from(&files.args("broken.config"), &env(&[])).is_err());
}

#[test]
fn new_virtual_hosts_get_what_the_file_says() {
    let (config, _) = conf(
        "default_limits.vhosts.1.pattern = ^a\ndefault_limits.vhosts.1.max_queues = 10\n\
         default_policies.operator.p1.vhost_pattern = ^a\ndefault_policies.operator.p1.queue_pattern = ^q\n\
         default_policies.operator.p1.expires = 1h\ndefault_policies.operator.p1.max_length_bytes = 1MB\n\
         default_users.lo.vhost_pattern = ^l\ndefault_users.lo.password = pw\ndefault_users.lo.read = .*\n\
         default_users.lo.tags = monitoring, x\n",
    );
    assert_eq!((config.vhost_limits[0].vhosts.as_str(), config.vhost_limits[0].max_queues), ("^a", Some(10)));
    let policy = &config.operator_policies[0];
    assert_eq!((policy.name.as_str(), policy.vhosts.as_deref(), policy.pattern.as_str()), ("p1", Some("^a"), "^q"));
    let definition = serde_json::json!({"expires": 3_600_000, "max-length-bytes": 1_048_576});
    assert_eq!(serde_json::Value::Object(policy.definition.clone()), definition);
    let user = config.users.iter().find(|user| user.name == "lo").unwrap();
    assert_eq!(user.tags, ["monitoring", "x"]);
    let permission = &config.permissions[0];
    assert_eq!((permission.vhosts.as_str(), permission.read.as_str(), permission.write.as_str()), ("^l", ".*", ""));
    assert!(config.users.iter().any(|user| user.name == "guest"), "others do not replace guest");
}

#[test]
fn includes_end() {
    let files = Files::of(&[("a.conf", "include a.conf\n")]);
    let wrong = load_from(&files.args("a.conf"), &env(&[])).unwrap_err();
    assert!(wrong[0].to_string().ends_with("files include each other too deeply"), "{wrong:?}");
}

/// What `config/RABBITMQ_CONF.md` must say.
fn page() -> String {
    let mut text = String::from(
        "# Keys of rabbitmq.conf\n\nWhat each key of a `rabbitmq.conf` does in Leveret. In a key, `$name` is any word and `*` \
         any further words. A key\nthat is not here stops the start, with its line and the nearest key there is.\n\n\
         ## With an effect\n\n| key | setting of Leveret |\n|---|---|\n",
    );
    for row in table::rows() {
        if let Does::Key(leveret, _) | Does::Part(leveret, _) = row.does {
            writeln!(text, "| `{}` | `{leveret}` |", row.key).unwrap();
        }
    }
    text.push_str("\n## Without\n\nThey are named in the log at the start. The first kind is logged as a warning.\n");
    for (reason, sentence) in Reason::ALL.into_iter().filter(|(reason, _)| *reason != Reason::Unknown) {
        writeln!(text, "\n### What {sentence}\n").unwrap();
        for row in table::rows() {
            match row.does {
                Does::Nothing(why) if why == reason => writeln!(text, "- `{}`", row.key).unwrap(),
                Does::MissingUnless(usual) if reason == Reason::Missing => {
                    writeln!(text, "- `{}`, if it is not `{usual}`", row.key).unwrap();
                }
                _ => {}
            }
        }
    }
    text
}

#[test]
fn the_page_shows_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/RABBITMQ_CONF.md");
    if std::env::var_os("WRITE_TABLES").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), page(), "WRITE_TABLES=1 writes it anew");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    /// Whatever is written with quotes is read as it is, and never hides what follows.
    #[test]
    fn quoted_values_arrive_whole(value in "[^'\r\n]{1,40}") {
        let value = value.replace("$(", "$ (");
        let text = format!("default_pass = '{value}' # comment\nheartbeat = 17\n");
        if value.starts_with("encrypted:") {
            return Ok(());
        }
        let (config, _) = conf(&text);
        proptest::prop_assert_eq!(config.users[0].password.expose(), value);
        proptest::prop_assert_eq!(config.heartbeat, 17);
    }

    /// No text makes the reader panic, and what it refuses has a place within the text.
    #[test]
    fn any_text_is_read_or_refused(text in "([a-z_.$]{0,12}[ =#'\\[{]{0,3}[a-z0-9.'(){}\\[\\]\"<>,]{0,12}\n){0,6}") {
        for name in ["x.conf", "x.config"] {
            let files = Files::of(&[(name, &text)]);
            if let Err(problems) = load_from(&files.args(name), &env(&[])) {
                for problem in problems {
                    if let super::super::Origin::File(_, line) = problem.origin {
                        proptest::prop_assert!(line >= 1 && line <= text.lines().count().max(1) + 1);
                    }
                }
            }
        }
    }
}
