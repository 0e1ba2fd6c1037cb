//! Keys that stand before the first section: places, names, and what exists from the start on.

use super::super::{Compatibility, MECHANISMS, Secret, tables};
use super::{
    ADDRESSES, Key, NAME_MAX, NETWORKS, POLICIES, QUEUE_TYPE, Set, addresses, hidden, networks, node_name, path, show,
};

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
        get: |config| show::text(config.data_dir.to_string_lossy()),
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
        get: |config| show::list(&config.listen),
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
        get: |config| show::place(config.unix_socket.as_ref()),
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
        get: |config| show::list(&config.proxy_protocol),
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
        get: |config| show::text(&config.node_name),
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
        get: |config| show::text(&config.cluster_name),
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
        get: |config| show::place(config.load_definitions.as_ref()),
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
        get: |config| show::text(config.compatibility.name()),
    },
    Key {
        name: "mechanisms",
        default: "[]",
        doc: "Login mechanisms to offer; an empty list offers what the compatibility chosen above does.",
        accepts: "PLAIN, AMQPLAIN, ANONYMOUS and EXTERNAL",
        set: Set::List(|config, items| {
            let known = |item: &String| MECHANISMS.contains(&item.trim()).then(|| item.trim().to_owned());
            let mechanisms = items.iter().map(|item| known(item).ok_or_else(|| format!("{item:?} is not known here")));
            config.mechanisms = mechanisms.collect::<Result<_, _>>()?;
            Ok(())
        }),
        get: |config| show::list(&config.mechanisms),
    },
    Key {
        name: "anonymous_user",
        default: r#""guest""#,
        doc: "User whom clients are that name nobody (ANONYMOUS); empty lets none of them in.",
        accepts: "a name of at most 255 octets",
        set: Set::Text(|config, text| {
            if text.len() > NAME_MAX {
                return Err("is too long".to_owned());
            }
            text.clone_into(&mut config.anonymous_user);
            Ok(())
        }),
        get: |config| show::text(&config.anonymous_user),
    },
    Key {
        name: "anonymous_password",
        default: r#""guest""#,
        doc: "Password that this user must have, or such clients are refused.",
        accepts: "a text",
        set: Set::Text(|config, text| {
            config.anonymous_password = Secret::new(text);
            Ok(())
        }),
        get: |config| hidden(Secret::unless_empty(config.anonymous_password.expose()).as_ref()),
    },
    Key {
        name: "loopback_users",
        default: "[]",
        doc: "Users, besides those named below, that may log in from this machine only, whenever they are created.",
        accepts: "names of users",
        set: Set::List(|config, items| {
            config.loopback_users = items.iter().map(|item| item.trim().to_owned()).collect();
            Ok(())
        }),
        get: |config| show::list(&config.loopback_users),
    },
    Key {
        name: "default_vhost",
        default: r#""/""#,
        doc: "Virtual host that the first start creates.",
        accepts: "a name of 1 to 255 octets",
        set: Set::Text(|config, text| {
            if text.is_empty() || text.len() > NAME_MAX {
                return Err("is empty or too long".to_owned());
            }
            text.clone_into(&mut config.default_vhost);
            Ok(())
        }),
        get: |config| show::text(&config.default_vhost),
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
        get: |config| show::text(&config.default_queue_type),
    },
    Key {
        name: "vhosts",
        default: "[]",
        doc: "Virtual hosts to create: [[vhosts]] with name, max_connections, max_queues, default_queue_type.",
        accepts: "tables with name, max_connections, max_queues and default_queue_type",
        set: Set::Tables(|config, list| tables::vhosts(list).map(|vhosts| config.vhosts = vhosts)),
        get: |config| show::vhosts(&config.vhosts),
    },
    Key {
        name: "vhost_limits",
        default: "[]",
        doc: "Limits of new virtual hosts: [[vhost_limits]] with name, vhosts (a pattern), max_connections, max_queues.",
        accepts: "tables with name, vhosts, max_connections and max_queues",
        set: Set::Tables(|config, list| tables::vhost_limits(list).map(|limits| config.vhost_limits = limits)),
        get: |config| show::vhost_limits(&config.vhost_limits),
    },
    Key {
        name: "permissions",
        default: "[]",
        doc: "Permissions in new virtual hosts: [[permissions]] with user, vhosts (a pattern), configure, write, read.",
        accepts: "tables with user, vhosts, configure, write and read",
        set: Set::Tables(|config, list| tables::permissions(list).map(|permissions| config.permissions = permissions)),
        get: |config| show::permissions(&config.permissions),
    },
    Key {
        name: "policies",
        default: "[]",
        doc: "Policies to set: [[policies]] with name, vhost (or vhosts, a pattern), pattern, definition, priority, apply_to.",
        accepts: POLICIES,
        set: Set::Tables(|config, list| tables::policies(list).map(|policies| config.policies = policies)),
        get: |config| show::policies(&config.policies),
    },
    Key {
        name: "operator_policies",
        default: "[]",
        doc: "Policies that limit what policies and queue arguments may ask for: [[operator_policies]], as above.",
        accepts: POLICIES,
        set: Set::Tables(|config, list| tables::policies(list).map(|policies| config.operator_policies = policies)),
        get: |config| show::policies(&config.operator_policies),
    },
];
