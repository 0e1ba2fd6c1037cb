//! Keys that stand before the first section: places, names, and what exists from the start on.

use super::super::{Compatibility, tables};
use super::{ADDRESSES, Key, NAME_MAX, NETWORKS, POLICIES, QUEUE_TYPE, Set, addresses, networks, node_name, path};

/// Rows of these keys.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "data_dir",
        default: r#""""#,
        doc: "Directory of the store; empty means $XDG_STATE_HOME/leveret, or else ~/.local/state/leveret.",
        accepts: "a path; ~ is not expanded",
        set: Set::Text(|config, text| {
            if text.starts_with('~') {
                return Err(format!("{text:?} starts with ~"));
            }
            config.data_dir = text.into();
            Ok(())
        }),
    },
    Key {
        name: "listen",
        default: r#"["127.0.0.1:5672", "[::1]:5672"]"#,
        doc: "Addresses to accept AMQP connections on; port 0 takes any free port, an empty list or \"none\" is no address.",
        accepts: ADDRESSES,
        set: Set::List(|config, items| {
            config.listen = addresses(items)?;
            Ok(())
        }),
    },
    Key {
        name: "unix_socket",
        default: r#""""#,
        doc: "Path of a Unix socket to accept AMQP connections on as well; empty is none.",
        accepts: "a path; ~ is not expanded",
        set: Set::Text(|config, text| {
            config.unix_socket = path(text)?;
            Ok(())
        }),
    },
    Key {
        name: "proxy_protocol",
        default: "[]",
        doc: "Proxies that say whom they speak for (PROXY protocol): addresses, or networks such as 10.0.0.0/8.",
        accepts: NETWORKS,
        set: Set::List(|config, items| {
            config.proxy_protocol = networks(items)?;
            Ok(())
        }),
    },
    Key {
        name: "node_name",
        default: r#""""#,
        doc: "Name of the node, as RabbitMQ has it; empty means rabbit@ and the short name of this host.",
        accepts: "NAME@HOST, or NAME alone",
        set: Set::Text(|config, text| {
            config.node_name = node_name(text)?;
            Ok(())
        }),
    },
    Key {
        name: "cluster_name",
        default: r#""""#,
        doc: "Name shown to clients and in the management API; empty means the name of the node.",
        accepts: "a text of at most 255 octets without control characters",
        set: Set::Text(|config, text| {
            if text.len() > NAME_MAX || text.chars().any(char::is_control) {
                return Err(format!("{text:?} is no name"));
            }
            text.clone_into(&mut config.cluster_name);
            Ok(())
        }),
    },
    Key {
        name: "load_definitions",
        default: r#""""#,
        doc: "File with definitions as RabbitMQ exports them, or a directory of such files, imported at each start; empty is none.",
        accepts: "a path; ~ is not expanded",
        set: Set::Text(|config, text| {
            config.load_definitions = path(text)?;
            Ok(())
        }),
    },
    Key {
        name: "compatibility",
        default: r#""lenient""#,
        doc: "Which RabbitMQ to answer as: 3.13, 4.2, 4.3, or lenient, which takes whatever any of them takes.",
        accepts: "3.13, 4.2, 4.3 or lenient",
        set: Set::Text(|config, text| {
            let known = Compatibility::ALL.iter().find(|(name, _)| *name == text);
            config.compatibility = known.ok_or_else(|| format!("{text:?} is not a version known here"))?.1;
            Ok(())
        }),
    },
    Key {
        name: "default_queue_type",
        default: r#""classic""#,
        doc: "Type of queues declared without one, in virtual hosts that have no default of their own.",
        accepts: QUEUE_TYPE,
        set: Set::Text(|config, text| {
            if !matches!(text, "classic" | "quorum") {
                return Err(format!("{text:?} is not a type of queue known here"));
            }
            text.clone_into(&mut config.default_queue_type);
            Ok(())
        }),
    },
    Key {
        name: "vhosts",
        default: "[]",
        doc: "Virtual hosts to create: [[vhosts]] with name, max_connections, max_queues, default_queue_type.",
        accepts: "tables with name, max_connections, max_queues and default_queue_type",
        set: Set::Tables(|config, list| tables::vhosts(list).map(|vhosts| config.vhosts = vhosts)),
    },
    Key {
        name: "policies",
        default: "[]",
        doc: "Policies to set: [[policies]] with name, vhost, pattern, definition, priority, apply_to.",
        accepts: POLICIES,
        set: Set::Tables(|config, list| tables::policies(list).map(|policies| config.policies = policies)),
    },
    Key {
        name: "operator_policies",
        default: "[]",
        doc: "Policies that limit what policies and queue arguments may ask for: [[operator_policies]], as above.",
        accepts: POLICIES,
        set: Set::Tables(|config, list| tables::policies(list).map(|policies| config.operator_policies = policies)),
    },
];
