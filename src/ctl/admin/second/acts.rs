//! The table of acts. Many stand in it twice, as in RabbitMQ's program: `declare queue` and `queues declare`.

use super::objects as o;
use super::readings as r;
use super::{Doing, Shown, Wrong};

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Flag,
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Truth,
    /// A text that stands without a name.
    Word,
    /// Texts, separated by commas or given again.
    Many,
}

/// One option of an act.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opt {
    pub name: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    pub default: Option<&'static str>,
    pub required: bool,
}

/// One act.
pub(super) struct Act {
    pub group: &'static str,
    pub name: &'static str,
    pub about: &'static str,
    pub options: &'static [Opt],
    pub run: Run,
}

type Run = fn(&mut Doing<'_, '_>) -> Result<Shown, Wrong>;

const fn must(name: &'static str) -> Opt {
    Opt { name, short: None, kind: Kind::Text, default: None, required: true }
}

const fn may(name: &'static str) -> Opt {
    Opt { required: false, ..must(name) }
}

const fn flag(name: &'static str) -> Opt {
    Opt { kind: Kind::Flag, ..may(name) }
}

const fn truth(name: &'static str) -> Opt {
    Opt { kind: Kind::Truth, ..may(name) }
}

const fn number(name: &'static str) -> Opt {
    Opt { kind: Kind::Number, ..may(name) }
}

const fn needed(name: &'static str, kind: Kind) -> Opt {
    Opt { kind, ..must(name) }
}

const fn or(name: &'static str, default: &'static str) -> Opt {
    Opt { default: Some(default), ..may(name) }
}

const fn short(option: Opt, letter: char) -> Opt {
    Opt { short: Some(letter), ..option }
}

const fn act(group: &'static str, name: &'static str, about: &'static str, options: &'static [Opt], run: Run) -> Act {
    Act { group, name, about, options, run }
}

const NONE: &[Opt] = &[];
const NAME: &[Opt] = &[must("name")];
const GONE: &[Opt] = &[must("name"), flag("idempotently")];
const PAGED: &[Opt] = &[number("page"), number("page-size")];
const PAGED_COLUMNS: &[Opt] = &[number("page"), number("page-size"), may("columns")];
const NAMED_COLUMNS: &[Opt] = &[must("name"), may("columns")];
const USER: &[Opt] = &[must("username")];
const USER_GONE: &[Opt] = &[must("username"), flag("idempotently")];
const LIMIT: &[Opt] = &[must("name"), needed("value", Kind::Number)];
const USER_LIMIT: &[Opt] = &[must("username"), must("name"), needed("value", Kind::Number)];
const USER_LIMIT_NAME: &[Opt] = &[must("username"), must("name")];
const QUEUE: &[Opt] =
    &[must("name"), or("type", "classic"), truth("durable"), truth("auto-delete"), or("arguments", "{}")];
const EXCHANGE: &[Opt] =
    &[must("name"), or("type", "direct"), truth("durable"), truth("auto-delete"), or("arguments", "{}")];
const BINDING: &[Opt] = &[
    must("source"),
    must("destination-type"),
    must("destination"),
    must("routing-key"),
    or("arguments", "{}"),
    flag("idempotently"),
];
const NEW_USER: &[Opt] =
    &[must("name"), or("password", ""), or("password-hash", ""), or("hashing-algorithm", "SHA256"), or("tags", "")];
const NEW_VHOST: &[Opt] = &[must("name"), may("default-queue-type"), may("description"), flag("tracing")];
const GRANT: &[Opt] = &[must("username"), must("configure"), must("read"), must("write")];
const POLICY: &[Opt] = &[
    must("name"),
    must("pattern"),
    must("apply-to"),
    Opt { kind: Kind::Number, ..or("priority", "0") },
    must("definition"),
];
const PATCH: &[Opt] = &[must("name"), must("definition")];
const UPDATE: &[Opt] = &[must("name"), must("definition-key"), must("new-value")];
const KEYS: &[Opt] = &[must("name"), needed("definition-keys", Kind::Many)];
const APPLY: &[Opt] = &[may("apply-to")];
const PARAMETER: &[Opt] = &[must("name"), must("component"), must("value")];
const PARAMETER_GONE: &[Opt] = &[must("name"), must("component"), flag("idempotently")];
const COMPONENT: &[Opt] = &[may("component")];
const GLOBAL: &[Opt] = &[must("name"), must("value")];
const EXPORT: &[Opt] = &[may("file"), flag("stdout")];
const IMPORT: &[Opt] = &[may("file"), flag("stdin")];
const PUBLISH: &[Opt] = &[
    short(or("routing-key", ""), 'k'),
    short(or("exchange", ""), 'e'),
    short(may("payload"), 'm'),
    may("payload-file"),
    short(or("properties", "{}"), 'p'),
];
const GET: &[Opt] = &[
    short(must("queue"), 'q'),
    short(Opt { kind: Kind::Number, ..or("count", "1") }, 'c'),
    short(or("ack-mode", "ack_requeue_false"), 'a'),
];
const NODE: &[Opt] = &[must("node")];
const PORT: &[Opt] = &[needed("port", Kind::Number)];
const PROTOCOL: &[Opt] = &[must("protocol")];
const HASH: &[Opt] = &[needed("password", Kind::Word), or("hashing-algorithm", "SHA256")];

/// What a group is about.
pub(super) fn about(group: &str) -> &'static str {
    match group {
        "declare" => "Declare objects",
        "delete" => "Delete objects",
        "list" => "List objects",
        "show" => "Show the broker",
        "definitions" => "Export and import definitions",
        "health_check" => "Check health",
        "close" => "Close connections",
        "get" => "Get messages from a queue",
        "publish" => "Publish a message",
        "export" => "See definitions export",
        "import" => "See definitions import",
        _ => "Work on objects of this kind",
    }
}

/// Every act.
pub(super) const ACTS: &[Act] = &[
    act("auth_attempts", "stats", "Logins of a node, by protocol", NODE, r::attempts),
    act("bindings", "declare", "Declare a binding", BINDING, o::bind),
    act("bindings", "delete", "Delete a binding", BINDING, o::unbind),
    act("bindings", "list", "List bindings", NONE, r::bindings),
    act("channels", "list", "List channels", PAGED, r::channels),
    act("close", "connection", "Close a connection", GONE, o::close_connection),
    act("close", "user_connections", "Close the connections of a user", USER_GONE, o::close_of_user),
    act("connections", "close", "Close a connection", GONE, o::close_connection),
    act("connections", "close_of_user", "Close the connections of a user", USER_GONE, o::close_of_user),
    act("connections", "list", "List connections", PAGED, r::connections),
    act("connections", "list_of_user", "List the connections of a user", USER, r::user_connections),
    act("declare", "binding", "Declare a binding", BINDING, o::bind),
    act("declare", "exchange", "Declare an exchange", EXCHANGE, o::exchange),
    act("declare", "operator_policy", "Set an operator's policy", POLICY, o::operator_policy),
    act("declare", "parameter", "Set a parameter", PARAMETER, o::parameter),
    act("declare", "permissions", "Grant permissions", GRANT, o::permissions),
    act("declare", "policy", "Set a policy", POLICY, o::policy),
    act("declare", "queue", "Declare a queue", QUEUE, o::queue),
    act("declare", "user", "Add a user, or change one", NEW_USER, o::user),
    act("declare", "user_limit", "Set a limit of a user", USER_LIMIT, o::user_limit),
    act("declare", "vhost", "Add a virtual host", NEW_VHOST, o::vhost),
    act("declare", "vhost_limit", "Set a limit of a virtual host", LIMIT, o::vhost_limit),
    act("definitions", "export", "Write all definitions", EXPORT, o::export),
    act("definitions", "export_from_vhost", "Write the definitions of a virtual host", EXPORT, o::export_vhost),
    act("definitions", "import", "Read definitions", IMPORT, o::import),
    act("definitions", "import_into_vhost", "Read definitions into a virtual host", IMPORT, o::import_vhost),
    act("delete", "binding", "Delete a binding", BINDING, o::unbind),
    act("delete", "exchange", "Delete an exchange", GONE, o::delete_exchange),
    act("delete", "operator_policy", "Clear an operator's policy", GONE, o::delete_operator_policy),
    act("delete", "parameter", "Clear a parameter", PARAMETER_GONE, o::delete_parameter),
    act("delete", "permissions", "Take permissions away", USER_GONE, o::delete_permissions),
    act("delete", "policy", "Clear a policy", GONE, o::delete_policy),
    act("delete", "queue", "Delete a queue", GONE, o::delete_queue),
    act("delete", "user", "Delete a user", GONE, o::delete_user),
    act("delete", "user_limit", "Clear a limit of a user", USER_LIMIT_NAME, o::delete_user_limit),
    act("delete", "vhost", "Delete a virtual host", GONE, o::delete_vhost),
    act("delete", "vhost_limit", "Clear a limit of a virtual host", NAME, o::delete_vhost_limit),
    act("deprecated_features", "list", "List what RabbitMQ is about to drop", NONE, r::deprecated),
    act("deprecated_features", "list_used", "List what of that is in use", NONE, r::deprecated_used),
    act("exchanges", "bind", "Declare a binding", BINDING, o::bind),
    act("exchanges", "declare", "Declare an exchange", EXCHANGE, o::exchange),
    act("exchanges", "delete", "Delete an exchange", GONE, o::delete_exchange),
    act("exchanges", "list", "List exchanges", PAGED, r::exchanges),
    act("exchanges", "unbind", "Delete a binding", BINDING, o::unbind),
    act("export", "definitions", "Write all definitions", EXPORT, o::export),
    act("feature_flags", "enable", "Enable a feature flag", NAME, o::enable_flag),
    act("feature_flags", "enable_all", "Enable all feature flags", NONE, o::enable_flags),
    act("feature_flags", "list", "List feature flags", NONE, r::feature_flags),
    act("get", "messages", "Get messages from a queue", GET, r::messages),
    act("global_parameters", "clear", "Clear a global parameter", GONE, o::delete_global),
    act("global_parameters", "list", "List global parameters", NONE, r::global_parameters),
    act("global_parameters", "set", "Set a global parameter", GLOBAL, o::global),
    act("health_check", "cluster_wide_alarms", "Fails if there are alarms", NONE, r::alarms),
    act("health_check", "deprecated_features_in_use", "Fails if such features are used", NONE, r::no_deprecated),
    act("health_check", "local_alarms", "Fails if there are alarms", NONE, r::local_alarms),
    act("health_check", "node_is_quorum_critical", "Fails if queues need this node", NONE, r::quorum_critical),
    act("health_check", "port_listener", "Fails unless a port is listened on", PORT, r::port_listener),
    act("health_check", "protocol_listener", "Fails unless a protocol is listened for", PROTOCOL, r::protocol_listener),
    act("import", "definitions", "Read definitions", IMPORT, o::import),
    act("list", "bindings", "List bindings", NONE, r::bindings),
    act("list", "channels", "List channels", PAGED, r::channels),
    act("list", "connections", "List connections", PAGED, r::connections),
    act("list", "consumers", "List consumers", NONE, r::consumers),
    act("list", "deprecated_features", "List what RabbitMQ is about to drop", NONE, r::deprecated),
    act("list", "deprecated_features_in_use", "List what of that is in use", NONE, r::deprecated_used),
    act("list", "exchanges", "List exchanges", PAGED, r::exchanges),
    act("list", "feature_flags", "List feature flags", NONE, r::feature_flags),
    act("list", "nodes", "List nodes", NONE, r::nodes),
    act("list", "operator_policies", "List operators' policies", NONE, r::operator_policies),
    act("list", "parameters", "List parameters", COMPONENT, r::parameters),
    act("list", "permissions", "List permissions", NONE, r::permissions),
    act("list", "policies", "List policies", NONE, r::policies),
    act("list", "queues", "List queues", PAGED_COLUMNS, r::queues),
    act("list", "user_connections", "List the connections of a user", USER, r::user_connections),
    act("list", "user_limits", "List limits of users", NONE, r::user_limits),
    act("list", "users", "List users", PAGED, r::users),
    act("list", "vhost_limits", "List limits of virtual hosts", NONE, r::vhost_limits),
    act("list", "vhosts", "List virtual hosts", NONE, r::vhosts),
    act("nodes", "list", "List nodes", NONE, r::nodes),
    act("nodes", "memory_breakdown_in_bytes", "Show what memory is used for", NODE, r::memory_bytes),
    act("nodes", "memory_breakdown_in_percent", "Show what memory is used for", NODE, r::memory_percent),
    act("operator_policies", "declare", "Set an operator's policy", POLICY, o::operator_policy),
    act("operator_policies", "delete", "Clear an operator's policy", GONE, o::delete_operator_policy),
    act("operator_policies", "delete_definition_keys", "Take keys out", KEYS, o::operator_policy_keys),
    act("operator_policies", "list", "List operators' policies", NONE, r::operator_policies),
    act("operator_policies", "list_in", "List those of a virtual host", APPLY, r::operator_policies_in),
    act("operator_policies", "patch", "Merge keys in", PATCH, o::operator_policy_patch),
    act("operator_policies", "update_definition", "Change one key", UPDATE, o::operator_policy_update),
    act("parameters", "clear", "Clear a parameter", PARAMETER_GONE, o::delete_parameter),
    act("parameters", "list", "List parameters of a virtual host", COMPONENT, r::parameters),
    act("parameters", "list_all", "List parameters", NONE, r::all_parameters),
    act("parameters", "list_in", "List parameters of a component", COMPONENT, r::parameters),
    act("parameters", "set", "Set a parameter", PARAMETER, o::parameter),
    act("passwords", "salt_and_hash", "Hash a password with a fresh salt", HASH, o::hash),
    act("permissions", "declare", "Grant permissions", GRANT, o::permissions),
    act("permissions", "delete", "Take permissions away", USER_GONE, o::delete_permissions),
    act("permissions", "list", "List permissions", NONE, r::permissions),
    act("plugins", "list_all", "List enabled plugins", NONE, r::plugins),
    act("plugins", "list_on_node", "List enabled plugins of a node", NODE, r::plugins_on_node),
    act("policies", "declare", "Set a policy", POLICY, o::policy),
    act("policies", "delete", "Clear a policy", GONE, o::delete_policy),
    act("policies", "delete_definition_keys", "Take keys out", KEYS, o::policy_keys),
    act("policies", "list", "List policies", NONE, r::policies),
    act("policies", "list_in", "List those of a virtual host", APPLY, r::policies_in),
    act("policies", "patch", "Merge keys in", PATCH, o::policy_patch),
    act("policies", "update_definition", "Change one key", UPDATE, o::policy_update),
    act("publish", "message", "Publish a message", PUBLISH, o::publish),
    act("purge", "queue", "Drop the messages of a queue", NAME, o::purge),
    act("queues", "declare", "Declare a queue", QUEUE, o::queue),
    act("queues", "delete", "Delete a queue", GONE, o::delete_queue),
    act("queues", "list", "List queues", PAGED_COLUMNS, r::queues),
    act("queues", "purge", "Drop the messages of a queue", NAME, o::purge),
    act("queues", "rebalance", "Spread leaders of queues", NONE, o::rebalance),
    act("queues", "show", "Show a queue", NAMED_COLUMNS, r::queue),
    act("rebalance", "queues", "Spread leaders of queues", NONE, o::rebalance),
    act("show", "churn", "Show what comes and goes", NONE, r::churn),
    act("show", "endpoint", "Show the address of the API", NONE, r::endpoint),
    act("show", "memory_breakdown_in_bytes", "Show what memory is used for", NODE, r::memory_bytes),
    act("show", "memory_breakdown_in_percent", "Show what memory is used for", NODE, r::memory_percent),
    act("show", "overview", "Show the broker", NONE, r::overview),
    act("user_limits", "declare", "Set a limit of a user", USER_LIMIT, o::user_limit),
    act("user_limits", "delete", "Clear a limit of a user", USER_LIMIT_NAME, o::delete_user_limit),
    act("user_limits", "list", "List limits of users", NONE, r::user_limits),
    act("users", "connections", "List the connections of a user", USER, r::user_connections),
    act("users", "declare", "Add a user, or change one", NEW_USER, o::user),
    act("users", "delete", "Delete a user", GONE, o::delete_user),
    act("users", "limits", "List limits of users", NONE, r::user_limits),
    act("users", "list", "List users", PAGED, r::users),
    act("users", "permissions", "List permissions", NONE, r::permissions),
    act("vhost_limits", "declare", "Set a limit of a virtual host", LIMIT, o::vhost_limit),
    act("vhost_limits", "delete", "Clear a limit of a virtual host", NAME, o::delete_vhost_limit),
    act("vhost_limits", "list", "List limits of virtual hosts", NONE, r::vhost_limits),
    act("vhosts", "declare", "Add a virtual host", NEW_VHOST, o::vhost),
    act("vhosts", "delete", "Delete a virtual host", GONE, o::delete_vhost),
    act("vhosts", "disable_deletion_protection", "Let it be deleted", NAME, o::unprotect),
    act("vhosts", "enable_deletion_protection", "Protect it from being deleted", NAME, o::protect),
    act("vhosts", "list", "List virtual hosts", NONE, r::vhosts),
];
