//! The sections `[store]` and `[server]`, and the users.

use super::{GIB, KIB, Key, MIB, Set, TIB, bytes, ms, show, time};

/// Rows of the sections, and of the list that ends the file.
pub(super) const KEYS: &[Key] = &[
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
        get: |config| show::size(config.map_size),
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
        get: |config| show::plain(config.compact_at_start),
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
        get: |config| show::plain(config.redo_log),
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
        get: |config| show::size(config.resident_bytes),
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
        get: |config| show::size(config.journal_bytes),
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
        get: |config| show::time(config.ack_flush),
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
        get: |config| show::time(config.shutdown_grace),
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
        get: |config| show::time(config.accept_pause),
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
        get: |config| show::plain(config.threads),
    },
    Key {
        name: "users",
        default: r#"[{ name = "guest", password = "guest", tags = ["administrator"] }]"#,
        doc: "Users that exist from the first start on; guest may log in from this machine only.",
        accepts: "tables with name, password, tags (a list) and loopback_only (true or false)",
        set: Set::Users(|config, users| config.users = users),
        get: |config| show::users(&config.users),
    },
];
