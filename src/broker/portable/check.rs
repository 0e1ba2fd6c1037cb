//! Do the items of a document fit each other and the broker? Looks at everything and changes nothing.
//!
//! What exists already and is left as it is needs no second look. Deliberately absent: types and names, see
//! [`super::read`].

use std::collections::{BTreeMap, BTreeSet};

use super::super::exchange::{Index, Kind};
use super::super::parameters::{VHOST_LIMITS, read_limits};
use super::super::policy::PolicyKind;
use super::super::queues::quorum_takes;
use super::super::{Broker, QueueDeclare, VhostLimits, print_exchange, print_queue, users, vhosts};
use super::{Binding, Definitions, Exchange, ImportError, Queue};
use crate::auth::{Right, TopicRight};
use crate::queue::{self, BadArgument, Options};

/// What the document and the broker have together.
struct Together<'a> {
    broker: &'a Broker,
    document: &'a Definitions,
    vhosts: BTreeSet<String>,
    /// Exchanges of the document that do not exist yet, by virtual host and name.
    exchanges: BTreeMap<(&'a str, &'a str), &'a Exchange>,
    /// Queues of the document, by virtual host and name.
    queues: BTreeMap<(&'a str, &'a str), &'a Queue>,
}

/// Whether RabbitMQ passes over a queue or exchange of that name.
pub(super) fn is_reserved(name: &str) -> bool {
    name.is_empty() || name.starts_with("amq.")
}

/// Judges a document.
pub(super) fn check(broker: &Broker, document: &Definitions) -> Result<(), ImportError> {
    let mut vhosts: BTreeSet<String> = broker.vhosts().iter().map(|vhost| vhost.name.to_string()).collect();
    vhosts.extend(document.vhosts.iter().map(|vhost| vhost.name.clone()));
    let exists = |vhost: &str, name: &str| {
        broker.vhost(vhost).is_some_and(|vhost| vhost.topology().exchanges.contains_key(name))
    };
    let exchanges =
        document.exchanges.iter().filter(|item| !is_reserved(&item.name) && !exists(&item.vhost, &item.name));
    let together = Together {
        broker,
        document,
        vhosts,
        exchanges: exchanges.map(|item| ((&*item.vhost, &*item.name), item)).collect(),
        queues: document.queues.iter().map(|item| ((&*item.vhost, &*item.name), item)).collect(),
    };
    together.people()?;
    together.settings()?;
    together.exchanges()?;
    together.queues()?;
    together.bindings()
}

impl Together<'_> {
    /// Users, virtual hosts and permissions.
    fn people(&self) -> Result<(), ImportError> {
        let Self { broker, document, .. } = self;
        for (index, user) in document.users.iter().enumerate() {
            users::check(user).map_err(|error| ImportError::at(format!("users[{index}]"), error))?;
        }
        for (index, vhost) in document.vhosts.iter().enumerate() {
            let wrong = |problem: String| ImportError::at(format!("vhosts[{index}]"), problem);
            vhosts::check(&vhost.name, &vhost.settings).map_err(|error| wrong(error.to_string()))?;
        }
        if let Some(max) = broker.live.vhost_max().filter(|max| self.vhosts.len() as u64 > *max) {
            return Err(ImportError::at("vhosts", format!("vhost limit of {max} would be exceeded")));
        }
        let named =
            |user: &str| broker.users.get(user).is_some() || document.users.iter().any(|new| *new.name == *user);
        for (index, item) in document.permissions.iter().enumerate() {
            let path = format!("permissions[{index}]");
            self.vhost(&item.vhost, &path)?;
            if !named(&item.user) {
                return Err(no_user(&path, &item.user));
            }
            Right::new(&item.what).map_err(|bad| ImportError::at(path, bad))?;
        }
        for (index, item) in document.topic_permissions.iter().enumerate() {
            let path = format!("topic_permissions[{index}]");
            self.vhost(&item.vhost, &path)?;
            if !named(&item.user) {
                return Err(no_user(&path, &item.user));
            }
            TopicRight::new(&item.vhost, &item.user, &item.what).map_err(|bad| ImportError::at(path, bad))?;
        }
        Ok(())
    }

    fn vhost(&self, name: &str, path: &str) -> Result<(), ImportError> {
        if self.vhosts.contains(name) {
            return Ok(());
        }
        let problem = format!("Please create virtual host \"{name}\" prior to importing definitions.");
        Err(ImportError::at(format!("{path}.vhost"), problem))
    }

    /// Parameters and policies.
    fn settings(&self) -> Result<(), ImportError> {
        for (index, item) in self.document.parameters.iter().enumerate() {
            let path = format!("parameters[{index}]");
            self.vhost(&item.vhost, &path)?;
            let judged = self.broker.check_parameter(&item.component, &item.name, &item.value);
            judged.map_err(|error| ImportError::at(path, error))?;
        }
        for (index, (name, value)) in self.document.global_parameters.iter().enumerate() {
            let judged = Broker::check_global(name, value);
            judged.map_err(|error| ImportError::at(format!("global_parameters[{index}]"), error))?;
        }
        for (index, item) in self.document.policies.iter().enumerate() {
            let path = format!("policies[{index}]");
            self.vhost(&item.vhost, &path)?;
            let judged = self.broker.judge_policy(PolicyKind::User, &item.name, item.ask.clone());
            judged.map_err(|error| ImportError::at(path, error))?;
        }
        Ok(())
    }

    fn exchanges(&self) -> Result<(), ImportError> {
        let profile = self.broker.config.profile();
        for (index, item) in self.document.exchanges.iter().enumerate() {
            let path = format!("exchanges[{index}]");
            self.vhost(&item.vhost, &path)?;
            if !self.exchanges.contains_key(&(&*item.vhost, &*item.name)) {
                continue;
            }
            let Some(kind) = Kind::parse(&item.kind, profile.local_random) else {
                let problem = format!("unknown exchange type '{}'", item.kind);
                return Err(ImportError::at(format!("{path}.type"), problem));
            };
            if item.arguments.get("alternate-exchange").is_some_and(|value| value.as_str().is_none()) {
                return Err(ImportError::at(format!("{path}.arguments.alternate-exchange"), "should be text"));
            }
            kind.check_arguments(&item.arguments, profile.local_random)
                .map_err(|problem| ImportError::at(format!("{path}.arguments"), problem))?;
        }
        let present: usize = self.broker.vhosts().iter().map(|vhost| vhost.exchange_count()).sum();
        let all = present.saturating_add(self.exchanges.len()) as u64;
        match self.broker.live.cluster_exchange_limit().filter(|limit| all > *limit) {
            Some(limit) => Err(ImportError::at("exchanges", format!("exchange limit of {limit} would be exceeded"))),
            None => Ok(()),
        }
    }

    fn queues(&self) -> Result<(), ImportError> {
        let mut new: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, item) in self.document.queues.iter().enumerate() {
            let path = format!("queues[{index}]");
            self.vhost(&item.vhost, &path)?;
            let exists = || self.broker.vhost(&item.vhost).is_some_and(|vhost| vhost.queue(&item.name).is_some());
            if is_reserved(&item.name) || item.is_unsupported() || exists() {
                continue;
            }
            self.queue(item, &path)?;
            let count = new.entry(&item.vhost).or_default();
            *count = count.saturating_add(1);
        }
        for (vhost, adding) in &new {
            self.room(vhost, *adding)?;
        }
        let present: usize = self.broker.vhosts().iter().map(|vhost| vhost.queue_count()).sum();
        let all = new.values().fold(present, |all, new| all.saturating_add(*new)) as u64;
        match self.broker.live.cluster_queue_limit().filter(|limit| all > *limit) {
            Some(limit) => {
                Err(ImportError::at("queues", format!("queue limit in cluster ({limit}) would be exceeded")))
            }
            None => Ok(()),
        }
    }

    fn queue(&self, item: &Queue, path: &str) -> Result<(), ImportError> {
        let resource = print_queue(&item.name, &item.vhost);
        let options = Options::parse(&item.arguments, self.broker.config.profile()).map_err(|bad| {
            let path = match bad {
                BadArgument::Invalid { key, .. }
                | BadArgument::Type { key, .. }
                | BadArgument::OfAnotherType { key, .. } => {
                    format!("{path}.arguments.{key}")
                }
                BadArgument::Deprecated { .. } => format!("{path}.arguments"),
            };
            ImportError::at(path, bad.explain(&resource))
        })?;
        if options.kind == queue::Kind::Quorum {
            let ask = ask(item);
            quorum_takes(&ask, &resource).map_err(|refusal| ImportError::at(path, refusal.explanation))?;
        }
        Ok(())
    }

    /// Whether the limit of a virtual host, as it will be, has room for so many more queues.
    fn room(&self, name: &str, adding: usize) -> Result<(), ImportError> {
        let present = self.broker.vhost(name);
        let mut limits = present.as_ref().map(|vhost| vhost.settings().limits).unwrap_or_default();
        if let Some(item) = self.document.vhosts.iter().find(|item| item.name == name)
            && item.settings.limits != VhostLimits::default()
        {
            limits = item.settings.limits;
        }
        for item in self.document.parameters.iter().filter(|item| item.vhost == name && item.component == VHOST_LIMITS)
        {
            limits = read_limits(&item.value).unwrap_or(limits);
        }
        let defined = present.map_or(0, |vhost| vhost.queue_count());
        match limits.queues().filter(|limit| defined.saturating_add(adding) as u64 > *limit) {
            None => Ok(()),
            Some(limit) => Err(ImportError::at(
                "queues",
                format!(
                    "Adding {adding} queue(s) to virtual host \"{name}\" would exceed the limit of {limit} queue(s).\
                     \n\nThis virtual host currently has {defined} queue(s) defined.\n\nImport aborted!"
                ),
            )),
        }
    }

    fn bindings(&self) -> Result<(), ImportError> {
        for (index, item) in self.document.bindings.iter().enumerate() {
            let path = format!("bindings[{index}]");
            self.vhost(&item.vhost, &path)?;
            if !item.source.is_empty() {
                self.binding(item, &path)?;
            }
        }
        Ok(())
    }

    fn binding(&self, item: &Binding, path: &str) -> Result<(), ImportError> {
        let vhost = item.vhost.as_str();
        let wrong = |key: &str, problem: String| Err(ImportError::at(format!("{path}.{key}"), problem));
        let present = self.broker.vhost(&item.vhost);
        let has_exchange = |name: &str| {
            let there = present.as_ref().is_some_and(|vhost| vhost.topology().exchanges.contains_key(name));
            there || self.exchanges.contains_key(&(vhost, name)) || is_built_in(name)
        };
        if !has_exchange(&item.source) {
            return wrong("source", format!("no {}", print_exchange(&item.source, &item.vhost)));
        }
        let queue_type = if item.to_exchange {
            if !has_exchange(&item.destination) {
                return wrong("destination", format!("no {}", print_exchange(&item.destination, &item.vhost)));
            }
            None
        } else {
            let there = present.as_ref().and_then(|vhost| vhost.queue(&item.destination));
            let new = self.queues.get(&(vhost, &*item.destination));
            match (there, new) {
                (Some(queue), _) => Some(queue.definition().options.kind.as_str()),
                (None, Some(new)) if new.is_unsupported() => return Ok(()),
                (None, Some(new)) => Some(Options::read(&new.arguments, self.broker.config.profile()).kind.as_str()),
                (None, None) => {
                    return wrong("destination", format!("no {}", print_queue(&item.destination, &item.vhost)));
                }
            }
        };
        let profile = self.broker.config.profile();
        let judge = |index: &Index| index.check(&item.routing_key, &item.arguments, queue_type, profile);
        let judged = match self.exchanges.get(&(vhost, &*item.source)) {
            Some(new) => Kind::parse(&new.kind, profile.local_random)
                .map_or(Ok(()), |kind| judge(&Index::new(kind, &new.arguments))),
            None => present.map_or(Ok(()), |vhost| {
                vhost.topology().exchanges.get(&*item.source).map_or(Ok(()), |source| judge(&source.index))
            }),
        };
        judged.map_err(|problem| ImportError::at(path, problem))
    }
}

/// Whether every virtual host has an exchange of that name from its first moment on.
fn is_built_in(name: &str) -> bool {
    matches!(name, "amq.direct" | "amq.fanout" | "amq.topic" | "amq.headers" | "amq.match" | "amq.rabbitmq.trace")
}

fn no_user(path: &str, name: &str) -> ImportError {
    ImportError::at(format!("{path}.user"), format!("there is no user '{name}'"))
}

/// What declaring the queue asks for.
pub(super) fn ask(item: &Queue) -> QueueDeclare {
    QueueDeclare {
        name: item.name.clone(),
        passive: false,
        durable: item.durable,
        exclusive: false,
        auto_delete: item.auto_delete,
        arguments: item.arguments.clone(),
    }
}
