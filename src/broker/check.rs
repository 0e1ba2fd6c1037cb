//! Do the definitions of a store agree with each other, and with the queues that hold messages?
//!
//! Pure: reads what [`examine`](crate::store::lmdb::examine) collected and adds to its report. A finding is what a
//! broker would refuse, leave out or mix up; a note is what it puts right by itself. Deliberately absent: repair.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::VirtualHost;
use super::binding::{Destination, Identity};
use super::definitions::{
    self, BindingRecord, ExchangeRecord, PermissionRecord, PolicyRecord, QueueRecord, Record, TopicPermissionRecord,
};
use super::policy::Policy;
use crate::auth::Pattern;
use crate::config::Profile;
use crate::store::QueueId;
use crate::store::lmdb::Report;
use crate::telemetry::printable;

/// What is known of one virtual host.
struct Host {
    name: Arc<str>,
    exchanges: BTreeSet<Arc<str>>,
    queues: BTreeMap<String, QueueId>,
}

/// Judges the definitions of a report.
pub fn check(report: &mut Report, profile: &Profile) {
    let mut check = Check { report, hosts: BTreeMap::new(), owners: BTreeMap::new(), users: BTreeSet::new() };
    let all = std::mem::take(&mut check.report.definitions);
    let mut bindings = Vec::new();
    for (key, value) in &all {
        match definitions::parse(key, value) {
            Err(damage) => check.find(damage.to_string()),
            Ok(Record::Vhost(record)) => {
                let name: Arc<str> = record.name.into();
                if check.hosts.values().any(|host| host.name == name) {
                    check.find(format!("virtual host {}: exists twice", printable(&*name)));
                }
                let fresh = VirtualHost::new(record.id, name.clone(), record.settings, profile);
                let exchanges = fresh.topology().exchanges.keys().cloned().collect();
                let host = Host { name, exchanges, queues: BTreeMap::new() };
                check.hosts.insert(record.id, host);
            }
            Ok(Record::User(user)) => {
                check.users.insert(user.name);
            }
            Ok(Record::Exchange(vhost, record)) => check.exchange(vhost, record),
            Ok(Record::Queue(vhost, record)) => check.queue(vhost, record),
            Ok(Record::Policy(vhost, _, record)) => check.policy(vhost, record),
            Ok(Record::Parameter(vhost, record)) => {
                check.host(vhost, &format!("parameter {}", printable(&*record.name)));
            }
            Ok(Record::Binding(vhost, record)) => bindings.push((key, vhost, record)),
            Ok(Record::PermissionsKept | Record::Global(_)) => {}
            // Kinds are in order: users come before.
            Ok(Record::Permission(vhost, PermissionRecord { user, configure, write, read })) => {
                check.permission(vhost, &user, &[configure, write, read]);
            }
            Ok(Record::TopicPermission(vhost, TopicPermissionRecord { user, write, read, .. })) => {
                check.permission(vhost, &user, &[write, read]);
            }
        }
    }
    for (key, vhost, record) in bindings {
        check.binding(key, vhost, &record);
    }
    check.identities(!all.is_empty());
    check.report.definitions = all;
}

struct Check<'a> {
    report: &'a mut Report,
    hosts: BTreeMap<u32, Host>,
    /// Who a queue id belongs to.
    owners: BTreeMap<QueueId, String>,
    users: BTreeSet<Arc<str>>,
}

impl Check<'_> {
    fn find(&mut self, line: String) {
        self.report.find(|| line);
    }

    fn host(&mut self, vhost: u32, what: &str) -> Option<&mut Host> {
        if !self.hosts.contains_key(&vhost) {
            self.find(format!("{what}: there is no virtual host {vhost}"));
        }
        self.hosts.get_mut(&vhost)
    }

    fn own(&mut self, id: u64, owner: String) {
        if let Some(other) = self.owners.get(&QueueId(id)) {
            let line = format!("{owner}: has the queue id {id} of {other}");
            self.find(line);
        }
        self.owners.insert(QueueId(id), owner);
    }

    fn exchange(&mut self, vhost: u32, record: ExchangeRecord) {
        let what = format!("exchange {}", printable(&*record.name));
        if let Some(holder) = record.holder {
            self.own(holder, what.clone());
        }
        if let Some(host) = self.host(vhost, &what) {
            host.exchanges.insert(record.name.into());
        }
    }

    fn queue(&mut self, vhost: u32, record: QueueRecord) {
        let what = format!("queue {}", printable(&*record.name));
        self.own(record.id, what.clone());
        let Some(host) = self.host(vhost, &what) else { return };
        if host.queues.insert(record.name, QueueId(record.id)).is_some() {
            self.find(format!("{what}: exists twice in virtual host {vhost}"));
        }
    }

    fn policy(&mut self, vhost: u32, record: PolicyRecord) {
        let what = format!("policy {}", printable(&*record.name));
        let Some(host) = self.host(vhost, &what) else { return };
        let vhost = host.name.clone();
        if let Err(problem) = Policy::read(&vhost, &record.name, record.ask) {
            self.find(format!("{what}: {problem}"));
        }
    }

    fn permission(&mut self, vhost: u32, user: &str, patterns: &[String]) {
        let what = format!("permission of {}", printable(user));
        self.host(vhost, &what);
        if !self.users.contains(user) {
            self.report.notes.push(format!("{what}: there is no such user, it will be removed"));
        }
        for bad in patterns.iter().filter_map(|pattern| Pattern::new(pattern).err()) {
            self.find(format!("{what}: the pattern {} cannot be used: {bad}", printable(&bad.pattern)));
        }
    }

    fn binding(&mut self, key: &[u8], vhost: u32, record: &BindingRecord) {
        let (source, destination) = (record.source.as_str(), record.destination.as_str());
        let what = format!("binding from {} to {}", printable(source), printable(destination));
        let name = destination.into();
        let to = if record.to_exchange { Destination::Exchange(name) } else { Destination::Queue(name) };
        let identity = Identity::new(source, to, &record.routing_key, &record.arguments);
        if definitions::binding_key(vhost, &identity) != key {
            self.find(format!("{what}: stands under the key of another"));
        }
        let Some(host) = self.host(vhost, &what) else { return };
        let to_exists = if record.to_exchange {
            host.exchanges.contains(destination)
        } else {
            host.queues.contains_key(destination)
        };
        let from_exists = host.exchanges.contains(source);
        for (exists, end) in [(from_exists, "source"), (to_exists, "destination")] {
            if !exists {
                self.find(format!("{what}: its {end} does not exist"));
            }
        }
    }

    /// Queue ids with messages have an owner, and none is handed out again.
    fn identities(&mut self, defined: bool) {
        let dropped: Vec<QueueId> = self.report.dropped.clone();
        for (id, owner) in self.owners.clone() {
            if dropped.binary_search(&id).is_ok() {
                self.find(format!("{owner}: its messages are being removed"));
            }
        }
        let orphans = self.report.queues.iter().filter(|(id, _)| !self.owners.contains_key(id));
        let orphans: Vec<String> = orphans
            .map(|(id, holding)| {
                format!("queue id {}: {} messages without a queue, to be removed", id.0, holding.messages)
            })
            .collect();
        self.report.notes.extend(orphans);
        let highest = self.owners.keys().chain(self.report.queues.keys()).chain(&dropped).max().copied();
        let next = self.report.next_queue_id;
        if let Some(QueueId(highest)) = highest.filter(|id| id.0 >= next) {
            self.find(format!("the next queue id is {next}, but there is a queue {highest}"));
        }
        if defined && self.hosts.is_empty() {
            self.find("there is no virtual host".to_owned());
        }
        if defined && self.users.is_empty() {
            self.report.notes.push("there is no user: the configured ones come at the next start".to_owned());
        }
    }
}
