//! The one table of keys.
//!
//! Every setting is one row of [`KEYS`]; the file, the environment and the documentation are read from it. A setter
//! gets text, whatever the origin (a TOML integer arrives as its digits), and answers with what is wrong. Invariant:
//! setters accept exactly the range their row's `accepts` names. Deliberately absent: `[[users]]` and other lists of
//! tables field by field, see [`super::users`] and [`super::tables`].

use super::tables;
use super::units::{self, DURATION, SIZE};
use super::users::Wrong;
use super::{Compatibility, Config, DiskFreeLimit, LogFormat, MemoryWatermark, UserEntry};
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeArray;
use tracing_subscriber::EnvFilter;

/// One setting.
pub(super) struct Key {
    /// Dotted name: section and key as in the file.
    pub name: &'static str,
    /// The default, as TOML.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the test that holds the file to this table"))]
    pub default: &'static str,
    /// One sentence for people: the comment above the key in `config/leveret.toml`.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the test that holds the file to this table"))]
    pub doc: &'static str,
    /// What is accepted, for error messages.
    pub accepts: &'static str,
    /// How the value is taken over.
    pub set: Set,
}

/// A setter, by the shape of value it takes.
#[derive(Clone, Copy)]
pub(super) enum Set {
    /// A string or integer.
    Text(fn(&mut Config, &str) -> Result<(), String>),
    /// A string, integer or fraction.
    Number(fn(&mut Config, &str) -> Result<(), String>),
    /// True or false.
    Choice(fn(&mut Config, &str) -> Result<(), String>),
    /// A list of strings; in the environment and on the command line, separated by commas.
    List(fn(&mut Config, &[String]) -> Result<(), String>),
    /// A list of tables that may be empty.
    Tables(fn(&mut Config, &DeArray<'_>) -> Result<(), Vec<Wrong>>),
    /// The list of users.
    Users(fn(&mut Config, Vec<UserEntry>)),
}

impl Key {
    /// The environment variable of this key: `limits.frame_max` is `LEVERET_LIMITS__FRAME_MAX`.
    pub(super) fn env(&self) -> String {
        format!("LEVERET_{}", self.name.to_ascii_uppercase().replace('.', "__"))
    }
}

/// The row named `name`.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether `name` is a section of the file.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.split_once('.').is_some_and(|(section, _)| section == name))
}

const LIMIT: &str = "a number from 0 to 9007199254740991, or infinity";
const QUEUE_TYPE: &str = "classic or quorum";
const POLICIES: &str = "tables with name, vhost, pattern, definition (a table), priority and apply_to";
const ADDRESS: &str = "ADDRESS:PORT, such as 127.0.0.1:5672 or [::1]:5672";

/// Every setting, in the order of `config/leveret.toml`.
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
        doc: "Addresses to accept AMQP connections on; port 0 takes any free port.",
        accepts: ADDRESS,
        set: Set::List(|config, items| {
            if items.is_empty() {
                return Err("the list is empty".to_owned());
            }
            let mut listen = Vec::new();
            for item in items {
                listen.push(item.trim().parse().map_err(|_| format!("{item:?} is not an address with a port"))?);
            }
            config.listen = listen;
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
    Key {
        name: "log.format",
        default: r#""human""#,
        doc: "Shape of a log line: human or json.",
        accepts: "human or json",
        set: Set::Text(|config, text| {
            config.log_format = match text {
                "human" => LogFormat::Human,
                "json" => LogFormat::Json,
                _ => return Err(format!("{text:?} is not a format")),
            };
            Ok(())
        }),
    },
    Key {
        name: "log.level",
        default: r#""info""#,
        doc: "Least severe level that is logged, or a filter such as info,leveret::session=debug.",
        accepts: "error, warn, info, debug, trace, off, or a filter of these by module",
        set: Set::Text(|config, text| {
            if text.is_empty() || EnvFilter::try_new(text).is_err() {
                return Err(format!("{text:?} is not a level"));
            }
            text.clone_into(&mut config.log_level);
            Ok(())
        }),
    },
    Key {
        name: "limits.handshake_timeout",
        default: r#""10s""#,
        doc: "Time a client has from connecting to the end of its login.",
        accepts: "a duration from 100ms to 1h",
        set: Set::Text(|config, text| {
            config.handshake_timeout = time(text, ms(100)..=ms(3_600_000))?;
            Ok(())
        }),
    },
    Key {
        name: "limits.handshake_bytes",
        default: r#""16KiB""#,
        doc: "Octets a client may send before its connection is open.",
        accepts: "a size from 16KiB to 1MiB",
        set: Set::Text(|config, text| {
            config.handshake_bytes = bytes(text, 16 * KIB..=MIB)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.login_failures",
        default: "100",
        doc: "Refused logins of one address within ten seconds after which its further logins are slowed down.",
        accepts: LIMIT,
        set: Set::Text(|config, text| {
            config.login_failures = limit(text)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.heartbeat",
        default: r#""60s""#,
        doc: "Heartbeat interval suggested to clients; 0s suggests none.",
        accepts: "a duration of whole seconds from 0s to 65535s",
        set: Set::Text(|config, text| {
            let given = time(text, ms(0)..=ms(65_535_000))?;
            if given.subsec_millis() != 0 {
                return Err(format!("{text:?} is not a whole number of seconds"));
            }
            config.heartbeat = u16::try_from(given.as_secs()).map_err(|_| format!("{text:?} is too long"))?;
            Ok(())
        }),
    },
    Key {
        name: "limits.frame_max",
        default: r#""128KiB""#,
        doc: "Largest frame offered to clients.",
        accepts: "a size from 4KiB to 128MiB",
        set: Set::Text(|config, text| {
            config.frame_max = bytes(text, 4 * KIB..=128 * MIB)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.channel_max",
        default: "2047",
        doc: "Channels a client may have open on one connection.",
        accepts: "a number from 1 to 65535",
        set: Set::Text(|config, text| {
            config.channel_max = match text.parse() {
                Ok(channels) if channels > 0 => channels,
                _ => return Err(format!("{text:?} is not a number of channels")),
            };
            Ok(())
        }),
    },
    Key {
        name: "limits.max_message_size",
        default: "0",
        doc: "Largest message body accepted; 0 takes what the compatibility chosen above takes, 128MiB if lenient.",
        accepts: "0, or a size from 1B to 512MiB",
        set: Set::Text(|config, text| {
            config.max_message_size = bytes(text, 0..=512 * MIB)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.connection_max",
        default: r#""infinity""#,
        doc: "Connections open at a time.",
        accepts: LIMIT,
        set: Set::Text(|config, text| {
            config.connection_max = limit(text)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.channel_max_per_node",
        default: r#""infinity""#,
        doc: "Channels open at a time, of all connections together.",
        accepts: LIMIT,
        set: Set::Text(|config, text| {
            config.channel_max_per_node = limit(text)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.consumer_max_per_channel",
        default: r#""infinity""#,
        doc: "Consumers of one channel.",
        accepts: LIMIT,
        set: Set::Text(|config, text| {
            config.consumer_max_per_channel = limit(text)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.unacked_max_per_channel",
        default: "1000000",
        doc: "Unacknowledged deliveries of one channel at which its consumers pause.",
        accepts: "a number from 1 to 4294967295, or infinity",
        set: Set::Text(|config, text| {
            let given = limit(text)?;
            if given.is_some_and(|max| max == 0 || u32::try_from(max).is_err()) {
                return Err(format!("{text:?} is out of range"));
            }
            config.unacked_max_per_channel = given;
            Ok(())
        }),
    },
    Key {
        name: "limits.vhost_max",
        default: r#""infinity""#,
        doc: "Virtual hosts.",
        accepts: LIMIT,
        set: Set::Text(|config, text| {
            config.vhost_max = limit(text)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.cluster_queue_limit",
        default: r#""infinity""#,
        doc: "Queues of all virtual hosts together.",
        accepts: LIMIT,
        set: Set::Text(|config, text| {
            config.cluster_queue_limit = limit(text)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.cluster_exchange_limit",
        default: r#""infinity""#,
        doc: "Exchanges of all virtual hosts together; each has seven or eight from its beginning.",
        accepts: LIMIT,
        set: Set::Text(|config, text| {
            config.cluster_exchange_limit = limit(text)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.binding_max_per_vhost",
        default: r#""infinity""#,
        doc: "Bindings of one virtual host.",
        accepts: LIMIT,
        set: Set::Text(|config, text| {
            config.binding_max_per_vhost = limit(text)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.outbox_bytes",
        default: r#""1MiB""#,
        doc: "Deliveries that may wait for one connection before its consumers are passed over.",
        accepts: "a size from 64KiB to 1GiB",
        set: Set::Text(|config, text| {
            config.outbox_bytes = bytes(text, 64 * KIB..=GIB)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.delivery_bytes",
        default: r#""256MiB""#,
        doc: "Deliveries that may wait for all connections together; above that, 16KiB may wait for each.",
        accepts: "a size from 1MiB to 1TiB",
        set: Set::Text(|config, text| {
            config.delivery_bytes = bytes(text, MIB..=TIB)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.publisher_floor",
        default: "20000",
        doc: "Messages a second below which no publisher is slowed down for consumers that are behind; 0: none ever is.",
        accepts: "a number from 0 to 4294967295",
        set: Set::Text(|config, text| {
            config.publisher_floor = text.parse().map_err(|_| format!("{text:?} is not a number of messages"))?;
            Ok(())
        }),
    },
    Key {
        name: "limits.control_bytes",
        default: r#""16MiB""#,
        doc: "Replies a client may leave unread before its connection is closed.",
        accepts: "a size from 64KiB to 1GiB",
        set: Set::Text(|config, text| {
            config.control_bytes = bytes(text, 64 * KIB..=GIB)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.transaction_bytes",
        default: r#""256MiB""#,
        doc: "Messages that the uncommitted transactions of one connection may hold; one message always fits.",
        accepts: "a size from 64KiB to 16GiB",
        set: Set::Text(|config, text| {
            config.transaction_bytes = bytes(text, 64 * KIB..=16 * GIB)?;
            Ok(())
        }),
    },
    Key {
        name: "limits.vm_memory_high_watermark",
        default: "0.6",
        doc: "Memory in use above which publishers are blocked: a share of the machine's or cgroup's, or a size.",
        accepts: "a fraction from 0 to 1, or a size",
        set: Set::Number(|config, text| {
            let watermark = MemoryWatermark::parse(text);
            config.memory_watermark = watermark.ok_or_else(|| format!("{text:?} is neither"))?;
            Ok(())
        }),
    },
    Key {
        name: "limits.disk_free_limit",
        default: r#""auto""#,
        doc: "Room for messages below which publishers are blocked; auto is 5 % of the file system, at most 1GiB.",
        accepts: "auto, or a size",
        set: Set::Text(|config, text| {
            config.disk_free_limit = DiskFreeLimit::parse(text).ok_or_else(|| format!("{text:?} is neither"))?;
            Ok(())
        }),
    },
    Key {
        name: "limits.consumer_timeout",
        default: r#""30m""#,
        doc: "Time a client has to acknowledge a delivery, where the compatibility has such a limit; 0s is none.",
        accepts: "a duration from 0s to 365d",
        set: Set::Text(|config, text| {
            config.consumer_timeout = time(text, ms(0)..=ms(365 * 86_400_000))?;
            Ok(())
        }),
    },
    Key {
        name: "store.map_size",
        default: "0",
        doc: "Upper bound of the store's file; 0 lets the broker choose.",
        accepts: "0, or a size from 16MiB to 64TiB that is a multiple of 64KiB",
        set: Set::Text(|config, text| {
            config.map_size = match bytes(text, 0..=64 * TIB)? {
                0 => 0,
                // A multiple of 64 KiB is a multiple of the page size on every machine, which LMDB insists on.
                size if size >= 16 * MIB && size % (64 * KIB) == 0 => size,
                _ => return Err(format!("{text:?} is too small or not a multiple of 64KiB")),
            };
            Ok(())
        }),
    },
    Key {
        name: "store.compact_at_start",
        default: "false",
        doc: "Whether unused space of the store is given back to the file system at each start, before clients get in.",
        accepts: "true or false",
        set: Set::Choice(|config, text| {
            config.compact_at_start = text.parse().map_err(|_| format!("{text:?} is neither"))?;
            Ok(())
        }),
    },
    Key {
        name: "store.redo_log",
        default: "true",
        doc: "Whether small commits go to a redo log of 4MiB first, which costs less than writing to the store at once.",
        accepts: "true or false",
        set: Set::Choice(|config, text| {
            config.redo_log = text.parse().map_err(|_| format!("{text:?} is neither"))?;
            Ok(())
        }),
    },
    Key {
        name: "store.resident_bytes",
        default: r#""64MiB""#,
        doc: "Messages kept in memory above which backlogs are left to the disk; queues share half of it.",
        accepts: "a size from 1MiB to 16TiB",
        set: Set::Text(|config, text| {
            config.resident_bytes = bytes(text, MIB..=16 * 1024 * GIB)?;
            Ok(())
        }),
    },
    Key {
        name: "store.journal_bytes",
        default: r#""64MiB""#,
        doc: "Messages waiting to be written above which publishers are made to wait.",
        accepts: "a size from 1MiB to 16GiB",
        set: Set::Text(|config, text| {
            config.journal_bytes = bytes(text, MIB..=16 * GIB)?;
            Ok(())
        }),
    },
    Key {
        name: "store.ack_flush",
        default: r#""50ms""#,
        doc: "Longest time an acknowledgement stays unwritten; a crash repeats at most the deliveries of that time.",
        accepts: "a duration from 1ms to 1m",
        set: Set::Text(|config, text| {
            config.ack_flush = time(text, ms(1)..=ms(60_000))?;
            Ok(())
        }),
    },
    Key {
        name: "server.shutdown_grace",
        default: r#""3s""#,
        doc: "Time clients have to say goodbye when the broker stops.",
        accepts: "a duration from 0s to 10m",
        set: Set::Text(|config, text| {
            config.shutdown_grace = time(text, ms(0)..=ms(600_000))?;
            Ok(())
        }),
    },
    Key {
        name: "server.accept_pause",
        default: r#""100ms""#,
        doc: "Pause in accepting connections after the process ran out of file descriptors.",
        accepts: "a duration from 1ms to 1m",
        set: Set::Text(|config, text| {
            config.accept_pause = time(text, ms(1)..=ms(60_000))?;
            Ok(())
        }),
    },
    Key {
        name: "server.threads",
        default: "0",
        doc: "Threads that serve clients; 0 is one for each processor the broker may use.",
        accepts: "a number from 0 to 1024",
        set: Set::Text(|config, text| {
            config.threads = match text.parse() {
                Ok(threads) if threads <= 1_024 => threads,
                _ => return Err(format!("{text:?} is not a number of threads")),
            };
            Ok(())
        }),
    },
    Key {
        name: "users",
        default: r#"[{ name = "guest", password = "guest", tags = ["administrator"] }]"#,
        doc: "Users that exist from the first start on; guest may log in from this machine only.",
        accepts: "tables with name, password, tags (a list) and loopback_only (true or false)",
        set: Set::Users(|config, users| config.users = users),
    },
];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Largest limit: what every language's numbers hold exactly.
const LIMIT_MAX: u64 = (1 << 53) - 1;

fn limit(text: &str) -> Result<Option<u64>, String> {
    if text == "infinity" {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|n| *n <= LIMIT_MAX);
    number.map(Some).ok_or_else(|| format!("{text:?} is not a limit"))
}

fn time(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let given = units::duration(text).ok_or_else(|| format!("{text:?} is not {DURATION}"))?;
    if range.contains(&given) { Ok(given) } else { Err(format!("{text:?} is out of range")) }
}

fn bytes<N: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<N, String> {
    let given = units::size(text).ok_or_else(|| format!("{text:?} is not {SIZE}"))?;
    let in_range = if range.contains(&given) { N::try_from(given).ok() } else { None };
    in_range.ok_or_else(|| format!("{text:?} is out of range"))
}
