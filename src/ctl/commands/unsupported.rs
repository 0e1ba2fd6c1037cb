//! Commands of RabbitMQ that mean nothing here, each with the reason and what to do instead.

use crate::ctl::command::{BOTH, Call, Command, MANY, Section, Tool};
use crate::ctl::failure::{Failure, UNAVAILABLE};
use crate::ctl::output::Output;

const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];
const QUEUES: &[Tool] = &[Tool::Queues];
const UPGRADE: &[Tool] = &[Tool::Upgrade];

/// A row whose sentence is all that happens.
const fn refused(name: &'static str, why: &'static str) -> Command {
    Command::new(name, Section::Unsupported, "", why, refuse).words(0, MANY)
}

const ERLANG: &str = "Needs Erlang, which there is none of";
const ALONE: &str = "Needs a cluster, and there is one node";

pub(super) const COMMANDS: &[Command] = &[
    refused("eval", ERLANG),
    refused("eval_file", ERLANG),
    refused("exec", ERLANG),
    refused("stop_app", "The broker serves as long as it runs: use 'stop', or 'suspend_listeners' to let no client in"),
    refused("reset", "Stop the broker and remove its data directory"),
    refused("force_reset", "Stop the broker and remove its data directory"),
    refused("force_boot", ALONE),
    refused("force_standalone_khepri_boot", ALONE),
    refused("join_cluster", ALONE),
    refused("forget_cluster_node", ALONE),
    refused("rename_cluster_node", ALONE),
    refused("update_cluster_nodes", ALONE),
    refused("encode", "Settings are not encrypted here: give secrets in the environment"),
    refused("decode", "Settings are not encrypted here: give secrets in the environment"),
    refused("encrypt_conf_value", "Settings are not encrypted here: give secrets in the environment"),
    refused("decrypt_conf_value", "Settings are not encrypted here: give secrets in the environment"),
    refused("list_ciphers", ERLANG).tools(BOTH),
    refused("list_hashes", ERLANG).tools(BOTH),
    refused("cipher_suites", "The suites are those of rustls for TLS 1.2 and 1.3").tools(DIAGNOSTICS),
    refused("certificates", "Look at the certificate files with openssl").tools(DIAGNOSTICS),
    refused("command_line_arguments", "Look at the process with ps").tools(DIAGNOSTICS),
    refused("consume_event_stream", "There is no stream of internal events; see the log").tools(DIAGNOSTICS),
    refused("discover_peers", ALONE).tools(DIAGNOSTICS),
    refused("erlang_cookie_hash", ERLANG).tools(DIAGNOSTICS),
    refused("erlang_cookie_sources", ERLANG).tools(DIAGNOSTICS),
    refused("list_network_interfaces", "Use ip address").tools(DIAGNOSTICS),
    refused("log_tail_stream", "Use tail -f on what log_location names").tools(DIAGNOSTICS),
    refused("maybe_stuck", ERLANG).tools(DIAGNOSTICS),
    refused("message_size_stats", "See rabbitmq_message_size_bytes among the metrics").tools(DIAGNOSTICS),
    refused("metadata_store_status", ALONE).tools(DIAGNOSTICS),
    refused("observer", ERLANG).tools(DIAGNOSTICS),
    refused("os_env", "Look at the process with ps").tools(DIAGNOSTICS),
    refused("remote_shell", ERLANG).tools(DIAGNOSTICS),
    refused("resolve_hostname", "Use getent hosts").tools(DIAGNOSTICS),
    refused("resolver_info", ERLANG).tools(DIAGNOSTICS),
    refused("runtime_thread_stats", ERLANG).tools(DIAGNOSTICS),
    refused("add_member", ALONE).tools(QUEUES),
    refused("delete_member", ALONE).tools(QUEUES),
    refused("grow", ALONE).tools(QUEUES),
    refused("grow_to_count", ALONE).tools(QUEUES),
    refused("shrink", ALONE).tools(QUEUES),
    refused("transfer_leadership", ALONE).tools(QUEUES),
    refused("force_checkpoint", ALONE).tools(QUEUES),
    refused("reclaim_quorum_memory", ERLANG).tools(QUEUES),
    refused("peek", "Get a message and requeue it: rabbitmqadmin get queue=NAME").tools(QUEUES),
    refused("await_online_quorum_plus_one", ALONE).tools(UPGRADE),
    refused("post_upgrade", ALONE).tools(UPGRADE),
];

fn refuse(call: &mut Call<'_>) -> Result<Output, Failure> {
    let Command { name, about, .. } = call.command;
    Err(Failure::error(UNAVAILABLE, format!("{name} is not supported by Leveret. {about}.")))
}
