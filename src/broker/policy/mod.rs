//! Policies: settings for queues and exchanges by pattern of their names, set and cleared while those live.
//!
//! A virtual host has two lists, of users' and of operators' policies. Of each list exactly one policy governs an
//! object: of those whose target, pattern and keys all suit it, the one of highest priority. What the two come to
//! together with the object's own arguments is [`merge`]; what happens to living objects when a list changes is
//! [`apply`]. Everything here but [`apply`] is plain data, looked at under the topology's lock and replaced as a whole.
//! Patterns are those of permissions ([`crate::auth::Pattern`]), but for the empty one: of policies it matches every name.

pub(super) mod apply;
mod merge;
mod setting;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::auth::{Found, Pattern};
use crate::config::Profile;
use crate::queue::{self, Kind, Options};
use crate::wire::table::Table;

/// Longest name of a policy, in octets: a short string, as RabbitMQ's clients carry it.
const NAME_MAX: usize = 255;

/// Whose policy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// A user's.
    User,
    /// An operator's, which limits what users' policies and arguments may ask for.
    Operator,
}

/// Which objects a policy may govern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyTo {
    /// Queues and exchanges.
    #[default]
    All,
    /// Exchanges.
    Exchanges,
    /// Queues of any type.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams, of which there are none.
    Streams,
}

impl ApplyTo {
    const ALL: [(&'static str, Self); 6] = [
        ("all", Self::All),
        ("exchanges", Self::Exchanges),
        ("queues", Self::Queues),
        ("classic_queues", Self::ClassicQueues),
        ("quorum_queues", Self::QuorumQueues),
        ("streams", Self::Streams),
    ];

    /// RabbitMQ's word.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("all", |(name, _)| name)
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn covers(self, target: Target) -> bool {
        match target {
            Target::Exchange => matches!(self, Self::All | Self::Exchanges),
            Target::Queue(Kind::Classic) => matches!(self, Self::All | Self::Queues | Self::ClassicQueues),
            Target::Queue(Kind::Quorum) => matches!(self, Self::All | Self::Queues | Self::QuorumQueues),
        }
    }
}

/// What a policy is matched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Exchange,
    Queue(Kind),
}

/// A policy as somebody wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyAsk {
    /// Regular expression; an object whose name it matches anywhere is governed.
    pub pattern: String,
    /// Settings by key.
    pub definition: Map<String, Value>,
    /// Of several policies that match, the one with the highest counts.
    #[serde(default)]
    pub priority: i64,
    /// Which objects it may govern: `all`, `exchanges`, `queues`, `classic_queues`, `quorum_queues` or `streams`.
    #[serde(rename = "apply-to", default = "all")]
    pub apply_to: String,
}

fn all() -> String {
    ApplyTo::All.as_str().to_owned()
}

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its virtual host.
    pub vhost: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Which names it matches.
    pub pattern: Pattern,
    /// Settings by key, valid when they were set.
    pub definition: Map<String, Value>,
    /// Of several policies that match, the one with the highest counts; of equals, the first by name.
    pub priority: i64,
    /// Which objects it may govern.
    pub apply_to: ApplyTo,
}

impl Policy {
    /// Reads what somebody wants, or finds everything RabbitMQ would find wrong with it.
    pub(super) fn parse(
        kind: PolicyKind,
        vhost: &Arc<str>,
        name: &str,
        ask: PolicyAsk,
        profile: &Profile,
    ) -> Result<Self, String> {
        let mut wrong = Vec::new();
        if name.is_empty() || name.len() > NAME_MAX {
            wrong.push(format!("name should have 1 to {NAME_MAX} octets"));
        }
        let pattern = Pattern::new(&ask.pattern);
        if let Err(problem) = &pattern {
            wrong.push(format!("pattern should be regular expression but is invalid: {{\"{problem}\",0}}"));
        }
        let apply_to = ApplyTo::named(&ask.apply_to);
        if apply_to.is_none() {
            wrong.push(format!(
                "apply-to '{}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', \
                 'streams', 'exchanges', or 'all'",
                ask.apply_to
            ));
        }
        wrong.extend(setting::check(&ask.definition, kind == PolicyKind::Operator, profile).err());
        match (wrong.is_empty(), pattern, apply_to) {
            (true, Ok(pattern), Some(apply_to)) => Ok(Self {
                vhost: vhost.clone(),
                name: name.into(),
                pattern,
                definition: ask.definition,
                priority: ask.priority,
                apply_to,
            }),
            _ => Err(format!("Validation failed\n\n{}\n", wrong.join("\n"))),
        }
    }

    /// Reads a policy that was accepted when it was new, whatever the profile was then.
    pub(super) fn read(vhost: &Arc<str>, name: &str, ask: PolicyAsk) -> Result<Self, String> {
        let pattern = Pattern::new(&ask.pattern).map_err(|bad| bad.problem)?;
        let apply_to = ApplyTo::named(&ask.apply_to).unwrap_or_default();
        let (vhost, name) = (vhost.clone(), name.into());
        Ok(Self { vhost, name, pattern, definition: ask.definition, priority: ask.priority, apply_to })
    }

    /// The same as somebody wanted it.
    pub fn ask(&self) -> PolicyAsk {
        PolicyAsk {
            pattern: self.pattern.text().to_owned(),
            definition: self.definition.clone(),
            priority: self.priority,
            apply_to: self.apply_to.as_str().to_owned(),
        }
    }

    /// Keys that RabbitMQ 4 has no more.
    pub(super) fn outdated(&self) -> Vec<&str> {
        setting::outdated(&self.definition)
    }

    fn governs(&self, target: Target, name: &str) -> bool {
        let suits = |kind| self.definition.keys().all(|key| setting::find(key).is_none_or(|row| row.suits(kind)));
        self.apply_to.covers(target)
            && match target {
                Target::Exchange => true,
                Target::Queue(kind) => suits(kind),
            }
            && (self.pattern.text().is_empty() || self.pattern.find(name) == Found::Yes)
    }
}

/// The policies of a virtual host.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// Ascends with every change.
    pub(super) version: u64,
    /// Highest priority first.
    users: Vec<Arc<Policy>>,
    operators: Vec<Arc<Policy>>,
}

/// The policies that govern one object.
#[derive(Clone, Debug, Default)]
pub struct Governing {
    /// The user's.
    pub policy: Option<Arc<Policy>>,
    /// The operator's.
    pub operator_policy: Option<Arc<Policy>>,
}

impl Governing {
    /// What both come to together, by key.
    pub fn definition(&self) -> Map<String, Value> {
        let keys = self.both().flat_map(|policy| policy.definition.keys());
        keys.filter_map(|key| Some((key.clone(), self.value(key)?.clone()))).collect()
    }

    fn both(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policy.iter().chain(&self.operator_policy)
    }
}

impl Policies {
    fn list(&self, kind: PolicyKind) -> &Vec<Arc<Policy>> {
        match kind {
            PolicyKind::User => &self.users,
            PolicyKind::Operator => &self.operators,
        }
    }

    fn list_mut(&mut self, kind: PolicyKind) -> &mut Vec<Arc<Policy>> {
        match kind {
            PolicyKind::User => &mut self.users,
            PolicyKind::Operator => &mut self.operators,
        }
    }

    /// All of one kind, highest priority first.
    pub fn all(&self, kind: PolicyKind) -> &[Arc<Policy>] {
        self.list(kind)
    }

    /// The policy of that name.
    pub fn get(&self, kind: PolicyKind, name: &str) -> Option<&Arc<Policy>> {
        self.list(kind).iter().find(|policy| &*policy.name == name)
    }

    /// Adds a policy, or replaces the one of its name.
    pub(super) fn insert(&mut self, kind: PolicyKind, policy: Arc<Policy>) {
        let list = self.list_mut(kind);
        list.retain(|known| known.name != policy.name);
        list.push(policy);
        list.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
        self.version += 1;
    }

    /// Removes a policy; `false` if there is none of that name.
    pub(super) fn remove(&mut self, kind: PolicyKind, name: &str) -> bool {
        let list = self.list_mut(kind);
        let before = list.len();
        list.retain(|known| &*known.name != name);
        let removed = list.len() < before;
        self.version += u64::from(removed);
        removed
    }

    fn governing(&self, target: Target, name: &str) -> Governing {
        let first = |list: &[Arc<Policy>]| list.iter().find(|policy| policy.governs(target, name)).cloned();
        Governing { policy: first(&self.users), operator_policy: first(&self.operators) }
    }

    /// The policies that govern a queue.
    pub fn of_queue(&self, queue: &queue::Definition) -> Governing {
        self.governing(Target::Queue(queue.options.kind), &queue.name)
    }

    /// The policies that govern an exchange.
    pub fn of_exchange(&self, name: &str) -> Governing {
        self.governing(Target::Exchange, name)
    }

    /// What a queue's arguments and its policies come to.
    pub(super) fn options(&self, queue: &queue::Definition) -> Arc<Options> {
        let governing = self.of_queue(queue);
        if governing.both().next().is_none() {
            return queue.options.clone();
        }
        Arc::new(governing.options(&queue.options, &queue.arguments))
    }

    /// The alternate exchange of an exchange: its argument's, or else its policy's.
    pub(super) fn alternate(&self, exchange: &str, arguments: &Table) -> Option<Arc<str>> {
        const KEY: &str = "alternate-exchange";
        if let Some(value) = arguments.get(KEY) {
            return value.as_str().map(Arc::from);
        }
        // The default exchange has none.
        let governing = if exchange.is_empty() { Governing::default() } else { self.of_exchange(exchange) };
        governing.value(KEY).and_then(Value::as_str).map(Arc::from)
    }
}
