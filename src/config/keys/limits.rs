//! The section `[limits]`.

use super::super::{DiskFreeLimit, MemoryWatermark};
use super::{GIB, KIB, Key, LIMIT, MIB, Set, TIB, bytes, limit, ms, show, time};
use std::time::Duration;

/// Rows of the section.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "limits.handshake_timeout",
        default: r#""10s""#,
        doc: "Time a client has from connecting to the end of its login.",
        accepts: "a duration from 100ms to 1h",
        set: Set::Text(|config, text| {
            config.handshake_timeout = time(text, ms(100)..=ms(3_600_000))?;
            Ok(())
        }),
        get: |config| show::time(config.handshake_timeout),
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
        get: |config| show::size(config.handshake_bytes),
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
        get: |config| show::limit(config.login_failures),
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
        get: |config| show::time(Duration::from_secs(config.heartbeat.into())),
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
        get: |config| show::size(config.frame_max),
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
        get: |config| show::plain(config.channel_max),
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
        get: |config| show::size(config.max_message_size),
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
        get: |config| show::limit(config.connection_max),
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
        get: |config| show::limit(config.channel_max_per_node),
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
        get: |config| show::limit(config.consumer_max_per_channel),
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
        get: |config| show::limit(config.unacked_max_per_channel),
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
        get: |config| show::limit(config.vhost_max),
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
        get: |config| show::limit(config.cluster_queue_limit),
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
        get: |config| show::limit(config.cluster_exchange_limit),
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
        get: |config| show::limit(config.binding_max_per_vhost),
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
        get: |config| show::size(config.outbox_bytes),
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
        get: |config| show::size(config.delivery_bytes),
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
        get: |config| show::plain(config.publisher_floor),
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
        get: |config| show::size(config.control_bytes),
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
        get: |config| show::size(config.transaction_bytes),
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
        get: |config| show::memory(config.memory_watermark),
    },
    Key {
        name: "limits.disk_free_limit",
        default: r#""auto""#,
        doc: "Room for messages below which publishers are blocked; auto is 5 % of the file system, at most 1GiB.",
        accepts: "auto, a size, or mem_relative with a multiple of the memory",
        set: Set::Text(|config, text| {
            config.disk_free_limit = DiskFreeLimit::parse(text).ok_or_else(|| format!("{text:?} is neither"))?;
            Ok(())
        }),
        get: |config| show::disk(config.disk_free_limit),
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
        get: |config| show::time(config.consumer_timeout),
    },
];
