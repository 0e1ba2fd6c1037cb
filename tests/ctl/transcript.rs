//! The everyday command lines with their exit statuses and the lines that scripts look at: banners, headings, verdicts.
//!
//! Each row is a command line, its exit status, the beginning of what it prints (`~` stands for the node's name) and of
//! what it complains of. Written after what RabbitMQ 4.3 does, from its behaviour; what differs is said at the row.

use crate::fake::Fake;
use crate::run::run;

/// A broker with a little of everything.
fn broker() -> Fake {
    let fake = Fake::new();
    let node = node();
    let overview = format!(
        r#"{{"node":"{node}","rabbitmq_version":"4.2.0","erlang_version":"27","erlang_full_version":"none","cluster_name":"c",
            "product_name":"Leveret","product_version":"1.0","listeners":[
            {{"node":"{node}","protocol":"amqp","ip_address":"::","port":5672}},
            {{"node":"{node}","protocol":"http","ip_address":"127.0.0.1","port":15672}}],
            "object_totals":{{"connections":1,"queues":2,"channels":1}}}}"#
    );
    let described = format!(
        r#"[{{"name":"{node}","uptime":41000,"os_pid":"77","processors":2,"mem_used":1000000,"mem_limit":2000000000,
            "mem_alarm":false,"disk_free_alarm":false,"enabled_plugins":["rabbitmq_management"],"log_files":[],
            "config_files":[],"db_dir":"/d","being_drained":false}}]"#
    );
    fake.on("GET /api/overview", 200, &overview)
        .on("GET /api/nodes", 200, &described)
        .on(&format!("GET /api/nodes/{}/memory", node.replace('@', "%40")), 200,
            r#"{"memory":{"code":24131079,"binary":1030032,"total":{"rss":172900352},"strategy":"rss"}}"#)
        .on("GET /api/queues/shop", 200,
            r#"[{"name":"q92","vhost":"shop","type":"classic","messages":0,"messages_ready":0,"messages_unacknowledged":0},
                {"name":"q1","vhost":"shop","type":"quorum","messages":3,"messages_ready":2,"messages_unacknowledged":1}]"#)
        .on("GET /api/exchanges/%2F", 200, r#"[{"name":"amq.topic","type":"topic"},{"name":"","type":"direct"}]"#)
        .on("GET /api/bindings/media", 200,
            r#"[{"source":"","destination":"q1","destination_type":"queue","routing_key":"q1","arguments":{}}]"#)
        .on("GET /api/connections", 200,
            r#"[{"name":"127.0.0.1:5 -> 127.0.0.1:5672","user":"guest","peer_host":"127.0.0.1","peer_port":5,"state":"running","channels":1}]"#)
        .on("GET /api/channels", 200,
            r#"[{"number":1,"name":"x (1)","user":"guest","consumer_count":0,"messages_unacknowledged":0,
                "connection_details":{"name":"127.0.0.1:5 -> 127.0.0.1:5672"}}]"#)
        .on("GET /api/consumers/shop", 200,
            r#"[{"queue":{"name":"q0"},"channel_details":{"connection_name":"c","number":1},"consumer_tag":"worker-1",
                "ack_required":true,"prefetch_count":10,"active":true,"arguments":{"x-priority":3}}]"#)
        .on("GET /api/users", 200, r#"[{"name":"guest","tags":["administrator"]},{"name":"svc","tags":[]}]"#)
        .on("GET /api/users/svc", 200, r#"{"name":"svc","tags":[],"password_hash":"aGFzaA==","hashing_algorithm":"a"}"#)
        .on("PUT /api/users/svc", 204, "")
        .on("PUT /api/users/bob", 201, "")
        .on("DELETE /api/users/svc", 204, "")
        .on("PUT /api/permissions/%2F/svc", 201, "")
        .on("GET /api/vhosts", 200, r#"[{"name":"media","tags":[]},{"name":"/","tags":[]}]"#)
        .on("GET /api/vhosts/shop/permissions", 200,
            r#"[{"user":"svc","vhost":"shop","configure":"^svc1\\..*","write":".*","read":"^(svc|amq).*"}]"#)
        .on("GET /api/users/svc/permissions", 200,
            r#"[{"user":"svc","vhost":"/","configure":"a","write":"b","read":"c"}]"#)
        .on("GET /api/policies/shop", 200,
            r#"[{"vhost":"shop","name":"ttl","pattern":"^q1","apply-to":"queues","definition":{"max-length":1},"priority":5}]"#)
        .on("GET /api/parameters", 200, "[]")
        .on("GET /api/feature-flags", 200, r#"[{"name":"quorum_queue","state":"enabled"}]"#)
        .on("POST /api/leveret/authenticate", 200, r#"{"name":"svc"}"#)
        .on("GET /api/health/checks/local-alarms", 200, r#"{"status":"ok"}"#)
        .on("GET /api/health/checks/virtual-hosts", 200, r#"{"status":"ok"}"#);
    fake
}

/// The node's name as the settings have it.
fn node() -> String {
    leveret::config::Config::default().node_name
}

/// A command line, its exit status, and the beginnings of standard output and standard error.
type Row = (&'static str, u8, &'static str, &'static str);

const LISTED: &str = "\nCommand 'nonsense' not found. \n\nUsage\n\nrabbitmqctl [--node <node>] [--timeout <timeout>] \
                      [--longnames] [--quiet] <command> [<command options>]\n\nAvailable commands:\n\nHelp:\n\n";

const ROWS: &[Row] = &[
    (
        "rabbitmqctl list_queues -p shop --limit 3 name messages consumers",
        64,
        "",
        "Error (argument validation): Invalid options for this command:\n--limit : \nArguments given:\n\
         \tlist_queues -p shop --limit 3 name messages consumers\n\nUsage\n\nrabbitmqctl [--node <node>] [--longnames] \
         [--quiet] list_queues [--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...] \
         [--timeout <timeout>]\n",
    ),
    (
        "rabbitmqctl list_queues -p shop name type messages_ready messages_unacknowledged --formatter json",
        0,
        "[\n{\"name\":\"q92\",\"type\":\"classic\",\"messages_ready\":0,\"messages_unacknowledged\":0}\n,{\"name\":\"q1\"",
        "",
    ),
    ("rabbitmqctl -q list_queues -p shop", 0, "name\tmessages\nq92\t0\nq1\t3\n", ""),
    (
        "rabbitmqctl list_exchanges -p /",
        0,
        "Listing exchanges for vhost / ...\nname\ttype\namq.topic\ttopic\n\tdirect\n",
        "",
    ),
    (
        "rabbitmqctl list_bindings -p media",
        0,
        "Listing bindings for vhost media...\n\
         source_name\tsource_kind\tdestination_name\tdestination_kind\trouting_key\targuments\n\
         \texchange\tq1\tqueue\tq1\t[]\n",
        "",
    ),
    (
        "rabbitmqctl list_connections",
        0,
        "Listing connections ...\nuser\tpeer_host\tpeer_port\tstate\nguest\t127.0.0.1\t5\trunning\n",
        "",
    ),
    (
        "rabbitmqctl list_connections --formatter json user peer_host state name channels",
        0,
        "[\n{\"user\":\"guest\",\"peer_host\":[127,0,0,1],\"state\":\"running\",\"name\":\"127.0.0.1:5 -> 127.0.0.1:5672\",\
         \"channels\":1}\n]\n",
        "",
    ),
    (
        "rabbitmqctl list_channels",
        0,
        "Listing channels ...\npid\tuser\tconsumer_count\tmessages_unacknowledged\n<~.",
        "",
    ),
    (
        "rabbitmqctl list_consumers -p shop",
        0,
        "Listing consumers in vhost shop ...\n\
         queue_name\tchannel_pid\tconsumer_tag\tack_required\tprefetch_count\tactive\targuments\nq0\t<~.",
        "",
    ),
    ("rabbitmqctl list_users", 0, "Listing users ...\nuser\ttags\nguest\t[administrator]\nsvc\t[]\n", ""),
    ("rabbitmqctl list_vhosts", 0, "Listing vhosts ...\nname\nmedia\n/\n", ""),
    (
        "rabbitmqctl list_permissions -p shop",
        0,
        "Listing permissions for vhost \"shop\" ...\nuser\tconfigure\twrite\tread\nsvc\t^svc1\\..*\t.*\t^(svc|amq).*\n",
        "",
    ),
    (
        "rabbitmqctl list_user_permissions svc",
        0,
        "Listing permissions for user \"svc\" ...\nvhost\tconfigure\twrite\tread\n/\ta\tb\tc\n",
        "",
    ),
    (
        "rabbitmqctl list_policies -p shop",
        0,
        "Listing policies for vhost \"shop\" ...\nvhost\tname\tpattern\tapply-to\tdefinition\tpriority\n\
         shop\tttl\t^q1\tqueues\t{\"max-length\":1}\t5\n",
        "",
    ),
    ("rabbitmqctl list_parameters", 0, "Listing runtime parameters for vhost \"/\" ...\n\n", ""),
    ("rabbitmqctl list_feature_flags", 0, "Listing feature flags ...\nname\tstate\nquorum_queue\tenabled\n", ""),
    ("rabbitmqctl status", 0, "Status of node ~ ...\nRuntime\n\nOS PID: 77\nOS: ", ""),
    ("rabbitmqctl status --formatter json", 0, "{", ""),
    (
        "rabbitmqctl cluster_status",
        0,
        "Cluster status of node ~ ...\nBasics\n\nCluster name: c\nTotal CPU cores available cluster-wide: 2\n\n\
         Cluster Tags\n\n(none)\n\nDisk Nodes\n\n~\n\nRunning Nodes\n\n~\n\nVersions\n\n~: Leveret 1.0 on Erlang 27\n\n\
         CPU Cores\n\nNode: ~, available CPU cores: 2\n\nMaintenance status\n\nNode: ~, status: not under maintenance\n\n\
         Alarms\n\n(none)\n\nNetwork Partitions\n\n(none)\n\nListeners\n\nNode: ~, interface: [::], port: 5672, protocol: amqp",
        "",
    ),
    ("rabbitmqctl version", 0, env!("CARGO_PKG_VERSION"), ""),
    (
        "rabbitmqctl add_user bob secret",
        0,
        "Adding user \"bob\" ...\nDone. Don't forget to grant the user permissions to some virtual hosts! See \
         'rabbitmqctl help set_permissions' to learn more.\n",
        "",
    ),
    ("rabbitmqctl add_user svc secret", 70, "Adding user \"svc\" ...\n", "Error:\nUser \"svc\" already exists\n"),
    (
        "rabbitmqctl set_permissions -p / svc .* .* .*",
        0,
        "Setting permissions for user \"svc\" in vhost \"/\" ...\n",
        "",
    ),
    ("rabbitmqctl set_user_tags svc administrator", 0, "Setting tags for user \"svc\" to [administrator] ...\n", ""),
    ("rabbitmqctl authenticate_user svc secret", 0, "Authenticating user \"svc\" ...\nSuccess\n", ""),
    ("rabbitmqctl delete_user svc", 0, "Deleting user \"svc\" ...\n", ""),
    ("rabbitmqctl delete_user nobody", 0, "Deleting user \"nobody\" ...\n", ""),
    ("rabbitmqctl list_queues -p nope", 0, "Timeout: 60.0 seconds ...\nListing queues for vhost nope ...\n", ""),
    ("rabbitmqctl nonsense", 64, "", LISTED),
    (
        "rabbitmqctl purge_queue -p shop nope",
        65,
        "Purging queue 'nope' in vhost 'shop' ...\n",
        "Object (queue, stream, exchange, etc) was not found\n",
    ),
    ("rabbitmqctl await_startup", 0, "", ""),
    // RabbitMQ evaluates it; there is no Erlang here.
    ("rabbitmqctl eval 1+1.", 69, "", "Error:\neval is not supported by Leveret."),
    (
        "rabbitmq-diagnostics ping",
        0,
        "Will ping ~. This only checks if the OS process is running and registered with epmd. Timeout: 60000 ms.\n\
         Ping succeeded\n",
        "",
    ),
    ("rabbitmq-diagnostics -q ping", 0, "Ping succeeded\n", ""),
    (
        "rabbitmq-diagnostics check_running",
        0,
        "Checking if RabbitMQ is running on node ~ ...\nRabbitMQ on node ~ is fully booted and running\n",
        "",
    ),
    // RabbitMQ 4.3 no longer looks, and says so first; here it does.
    (
        "rabbitmq-diagnostics check_local_alarms",
        0,
        "Asking node ~ to report any local resource alarm ...\nNode ~ reported no local alarms\n",
        "",
    ),
    (
        "rabbitmq-diagnostics check_port_listener 5672",
        0,
        "Asking node ~ if there's an active listener on port 5672 ...\nA listener for port 5672 is running on node ~.\n",
        "",
    ),
    (
        "rabbitmq-diagnostics check_port_listener 1",
        69,
        "Asking node ~ if there's an active listener on port 1 ...\n",
        "No listener for port 1 is active on node ~. Found listeners that use the following ports: 5672, 15672\n",
    ),
    (
        "rabbitmq-diagnostics check_virtual_hosts",
        0,
        "Checking if all vhosts are running on node ~ ...\nNode ~ reported all vhosts as running\n",
        "",
    ),
    (
        "rabbitmq-diagnostics listeners",
        0,
        "Asking node ~ to report its protocol listeners ...\n\
         Interface: [::], port: 5672, protocol: amqp, purpose: AMQP 0-9-1 and AMQP 1.0\n\
         Interface: 127.0.0.1, port: 15672, protocol: http, purpose: HTTP API\n",
        "",
    ),
    (
        "rabbitmq-diagnostics memory_breakdown",
        0,
        "Reporting memory breakdown on node ~...\ncode: 0.0241 gb (13.96%)\nbinary: 0.001 gb (0.6%)\n",
        "",
    ),
    ("rabbitmq-diagnostics server_version", 0, "Asking node ~ for its RabbitMQ version...\n4.2.0\n", ""),
    (
        "rabbitmq-plugins list",
        0,
        "Listing plugins with pattern \".*\" ...\n Configured: E = explicitly enabled; e = implicitly enabled\n \
         | Status: * = running on ~\n |/\n[",
        "",
    ),
    (
        "rabbitmq-plugins list -E -m 'consistent|management'",
        0,
        "Listing plugins with pattern \"consistent|management\" ...\nrabbitmq_consistent_hash_exchange\nrabbitmq_management\n",
        "",
    ),
    (
        "rabbitmq-plugins enable rabbitmq_management",
        0,
        "Enabling plugins on node ~:\nrabbitmq_management\nThe following plugins have been configured:\n  ",
        "",
    ),
    // RabbitMQ has shovels; here they are not built.
    (
        "rabbitmq-plugins enable rabbitmq_shovel",
        69,
        "Enabling plugins on node ~:\nrabbitmq_shovel\n",
        "Error:\nrabbitmq_shovel is not supported by Leveret",
    ),
    (
        "rabbitmq-plugins is_enabled rabbitmq_management",
        0,
        "Asking node ~ if plugin rabbitmq_management is enabled...\nPlugin rabbitmq_management is enabled on node ~\n",
        "",
    ),
];

#[test]
fn command_lines_end_and_print_as_rabbitmqs_do() {
    let broker = broker();
    let mut wrong = Vec::new();
    for (line, status, out, err) in ROWS {
        let ran = run(&broker, line);
        let (out, err) = (out.replace('~', &node()), err.replace('~', &node()));
        if ran.status != *status
            || !ran.out.starts_with(&out)
            || !ran.err.starts_with(&err)
            || (err.is_empty() && !ran.err.is_empty())
        {
            wrong.push(format!("{line}\n  expected {status} {out:?} {err:?}\n  got {ran:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_login_refused_is_said_so() {
    let broker = broker();
    broker.on("POST /api/leveret/authenticate", 401, r#"{"error":"not_authorized","reason":"Not_Authorized"}"#);
    let ran = run(&broker, "rabbitmqctl authenticate_user svc wrong");
    assert_eq!(ran.status, 65);
    assert_eq!(ran.out, "Authenticating user \"svc\" ...\n");
    assert_eq!(ran.err, "Error:\nError: failed to authenticate user \"svc\"\nuser 'svc' - invalid credentials\n");
}

#[test]
fn a_broker_without_a_word_for_logins_is_logged_in_to() {
    let broker = Fake::new();
    let listener = format!(r#"{{"protocol":"http","ip_address":"127.0.0.1","port":{}}}"#, broker.port());
    broker.on("GET /api/overview", 200, &format!(r#"{{"listeners":[{listener}]}}"#)).on(
        "GET /api/whoami",
        200,
        r#"{"name":"svc"}"#,
    );
    assert!(run(&broker, "rabbitmqctl authenticate_user svc secret").fine().ends_with("Success\n"));
    let asked = broker.asked().pop().expect("a request");
    // svc:secret
    assert_eq!((asked.line.as_str(), asked.login.as_str()), ("GET /api/whoami", "Basic c3ZjOnNlY3JldA=="));
    broker.on("GET /api/whoami", 401, r#"{"error":"not_authorised","reason":"Not management user"}"#);
    assert_eq!(run(&broker, "rabbitmqctl authenticate_user svc secret").status, 0);
    broker.on("GET /api/whoami", 401, r#"{"error":"not_authorized","reason":"Not_Authorized"}"#);
    assert_eq!(run(&broker, "rabbitmqctl authenticate_user svc wrong").status, 65);
}

#[test]
fn ports_are_tried() {
    let broker = Fake::new();
    let overview = format!(
        r#"{{"node":"{}","listeners":[{{"protocol":"http","ip_address":"127.0.0.1","port":{}}}]}}"#,
        node(),
        broker.port()
    );
    broker.on("GET /api/overview", 200, &overview);
    let out = run(&broker, "rabbitmq-diagnostics check_port_connectivity").fine();
    let (node, port) = (node(), broker.port());
    let expected = format!(
        "Testing TCP connections to all active listeners on node {node} using hostname resolution ...\n\
         Will connect to 127.0.0.1:{port}\n\
         Successfully connected to ports {port} on node {node} (using node hostname resolution)\n"
    );
    assert_eq!(out, expected);
    // Whoever has let go of a port has left nobody there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    broker.on("GET /api/overview", 200, &overview.replace(&port.to_string(), &closed.to_string()));
    let ran = run(&broker, "rabbitmq-diagnostics -q check_port_connectivity");
    assert_eq!(ran.status, 69, "{ran:?}");
    assert!(ran.err.contains(&format!("port: {closed}")), "{ran:?}");
}
