//! What may change while the broker runs, and what has changed between two readings.

use super::{Config, Tls, keys};

/// Settings that take effect without a restart, by the names of their keys. The files named in `[tls]` are read again,
/// too.
pub const LIVE: &[&str] = &[
    "loopback_users",
    "tls.certificate",
    "tls.key",
    "tls.key_password",
    "tls.others",
    "tls.ca",
    "tls.crl",
    "management.tls.certificate",
    "management.tls.key",
    "management.tls.key_password",
    "metrics.tls.certificate",
    "metrics.tls.key",
    "metrics.tls.key_password",
    "log.level",
    "log.file_level",
    "limits.connection_max",
    "limits.channel_max_per_node",
    "limits.consumer_max_per_channel",
    "limits.vhost_max",
    "limits.cluster_queue_limit",
    "limits.cluster_exchange_limit",
    "limits.binding_max_per_vhost",
    "limits.heartbeat",
    "limits.vm_memory_high_watermark",
    "limits.disk_free_limit",
    "limits.consumer_timeout",
];

/// Keys that differ between two readings of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that take effect at once.
    pub live: Vec<&'static str>,
    /// Those that wait for a restart.
    pub waiting: Vec<&'static str>,
}

impl Changes {
    /// What differs between the settings in force and those newly read.
    pub fn between(old: &Config, new: &Config) -> Self {
        let differs = |key: &&keys::Key| match key.name {
            // What is shown of users hides their passwords.
            "users" => old.users != new.users,
            "anonymous_password" => old.anonymous_password != new.anonymous_password,
            "tls.key_password" => old.tls.key_password != new.tls.key_password,
            "management.tls.key_password" => old.management_tls.key_password != new.management_tls.key_password,
            "metrics.tls.key_password" => old.metrics_tls.key_password != new.metrics_tls.key_password,
            _ => (key.get)(old) != (key.get)(new),
        };
        let changed = keys::all().filter(differs).map(|key| key.name);
        let (live, waiting) = changed.partition(|name| LIVE.contains(name));
        Self { live, waiting }
    }
}

/// With another certificate and its key.
fn with_files(old: &Tls, new: &Tls) -> Tls {
    let (certificate, key, key_password) = (new.certificate.clone(), new.key.clone(), new.key_password.clone());
    Tls { certificate, key, key_password, ..old.clone() }
}

/// The settings in force after a reload: the old ones, with what may change taken from the new ones.
pub fn merged(old: &Config, new: &Config) -> Config {
    Config {
        loopback_users: new.loopback_users.clone(),
        tls: Tls {
            others: new.tls.others.clone(),
            ca: new.tls.ca.clone(),
            crl: new.tls.crl.clone(),
            ..with_files(&old.tls, &new.tls)
        },
        management_tls: with_files(&old.management_tls, &new.management_tls),
        metrics_tls: with_files(&old.metrics_tls, &new.metrics_tls),
        log_level: new.log_level.clone(),
        log_file_level: new.log_file_level.clone(),
        connection_max: new.connection_max,
        channel_max_per_node: new.channel_max_per_node,
        consumer_max_per_channel: new.consumer_max_per_channel,
        vhost_max: new.vhost_max,
        cluster_queue_limit: new.cluster_queue_limit,
        cluster_exchange_limit: new.cluster_exchange_limit,
        binding_max_per_vhost: new.binding_max_per_vhost,
        heartbeat: new.heartbeat,
        memory_watermark: new.memory_watermark,
        disk_free_limit: new.disk_free_limit,
        consumer_timeout: new.consumer_timeout,
        ..old.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, UserEntry};

    #[test]
    fn every_live_key_is_one_and_merging_takes_all_of_them_and_no_other() {
        assert!(LIVE.iter().all(|name| keys::find(name).is_some()));
        let old = Config::default();
        let user = UserEntry { password: Secret::new("other"), ..old.users[0].clone() };
        let (file, secret) = (Some("x.pem".into()), Some(Secret::new("x")));
        let files = Tls { certificate: file.clone(), key: file.clone(), key_password: secret, ..Tls::default() };
        let new = Config {
            management_tls: files.clone(),
            metrics_tls: files.clone(),
            tls: Tls { others: vec!["x.pem".into()], ca: file.clone(), crl: file, ..files },
            loopback_users: vec!["x".to_owned()],
            log_level: "debug".to_owned(),
            log_file_level: Some("warn".to_owned()),
            connection_max: Some(1),
            channel_max_per_node: Some(1),
            consumer_max_per_channel: Some(1),
            vhost_max: Some(1),
            cluster_queue_limit: Some(1),
            cluster_exchange_limit: Some(1),
            binding_max_per_vhost: Some(1),
            heartbeat: 1,
            memory_watermark: super::super::MemoryWatermark::Absolute(1),
            disk_free_limit: super::super::DiskFreeLimit::Absolute(1),
            consumer_timeout: std::time::Duration::from_secs(1),
            users: vec![user],
            threads: 7,
            ..old.clone()
        };
        let changes = Changes::between(&old, &new);
        assert_eq!(changes.waiting, ["server.threads", "users"]);
        let mut live = changes.live;
        let mut all = LIVE.to_vec();
        live.sort_unstable();
        all.sort_unstable();
        assert_eq!(live, all);
        assert_eq!(Changes::between(&merged(&old, &new), &new).live, [""; 0]);
        assert_eq!(Changes::between(&old, &old), Changes::default());
    }
}
