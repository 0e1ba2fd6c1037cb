//! A document that has been judged is applied, kind by kind, each after what it stands on.
//!
//! Nothing waits in between: everything is announced to the store, and one wait at the end covers it all. Policies reach
//! what lives by visits, as always. Deliberately absent: judgement, see [`super::check`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::binding::{Destination, Identity};
use super::super::parameters::{OPERATOR_POLICY, UNSUPPORTED_BINDING, UNSUPPORTED_QUEUE, VHOST_LIMITS, read_limits};
use super::super::policy::{PolicyAsk, PolicyKind, apply};
use super::super::{AdminError, Broker, Caller, ExchangeDeclare, VhostSettings, VirtualHost};
use super::check::{ask, check, is_reserved};
use super::{Definitions, ImportError, Summary};
use crate::queue::Effects;
use crate::store::Epoch;
use crate::wire::refusal::Refusal;

/// An administrator's document may declare whatever it likes, and owns nothing exclusively.
fn trusted() -> Caller<'static> {
    Caller::trusted(0)
}

/// Judges a document and applies it; answers once everything is on disk and in force.
pub async fn import(broker: &Arc<Broker>, document: Definitions) -> Result<Summary, ImportError> {
    let broker = broker.clone();
    // A task of its own: once begun it comes to its end, whether or not somebody waits.
    let import = tokio::spawn(async move { import_now(broker, document).await });
    import.await.unwrap_or_else(|error| Err(ImportError::at("", error)))
}

async fn import_now(broker: Arc<Broker>, document: Definitions) -> Result<Summary, ImportError> {
    let _one_at_a_time = broker.administration.lock().await;
    let applying = broker.clone();
    // Many thousand declarations in a row are not for a thread that serves clients.
    let applied = tokio::task::spawn_blocking(move || Applying::new(applying).all(&document)).await;
    let applied = applied.map_err(|error| ImportError::at("", error))??;
    let visits: Vec<_> =
        applied.governed.into_values().map(|vhost| tokio::spawn(apply::reapply(broker.clone(), vhost))).collect();
    broker.committed(applied.epoch).await.map_err(|error| ImportError::at("", error))?;
    for visit in visits {
        // It ends otherwise only with the runtime.
        let _ = visit.await;
    }
    tracing::info!("definitions imported: {}", applied.summary);
    Ok(applied.summary)
}

/// [`import`] before anybody can connect, and without waiting for the disk. Must be called inside a tokio runtime.
pub fn import_at_start(broker: &Arc<Broker>, document: &Definitions) -> Result<Summary, ImportError> {
    let applied = Applying::new(broker.clone()).all(document)?;
    for vhost in applied.governed.into_values() {
        tokio::spawn(apply::reapply(broker.clone(), vhost));
    }
    Ok(applied.summary)
}

/// A document on its way into the broker.
struct Applying {
    broker: Arc<Broker>,
    summary: Summary,
    epoch: Epoch,
    /// Virtual hosts whose policies have changed.
    governed: BTreeMap<String, Arc<VirtualHost>>,
}

impl Applying {
    fn new(broker: Arc<Broker>) -> Self {
        Self { broker, summary: Summary::default(), epoch: 0, governed: BTreeMap::new() }
    }

    fn all(mut self, document: &Definitions) -> Result<Self, ImportError> {
        check(&self.broker, document)?;
        self.users(document)?;
        self.vhosts(document)?;
        self.permissions(document)?;
        self.exchanges(document)?;
        self.topic_permissions(document)?;
        self.global_parameters(document)?;
        self.policies(document)?;
        self.parameters(document)?;
        self.queues(document)?;
        self.bindings(document)?;
        Ok(self)
    }

    /// Applies the items of one kind: each tells whether it is new.
    fn each<T>(
        &mut self,
        kind: &'static str,
        list: &[T],
        put: impl Fn(&mut Self, &T) -> Result<(bool, Epoch), Failure>,
    ) -> Result<(), ImportError> {
        let mut new = 0_usize;
        for (index, item) in list.iter().enumerate() {
            let (created, epoch) =
                put(self, item).map_err(|Failure(problem)| ImportError::at(format!("{kind}[{index}]"), problem))?;
            self.epoch = self.epoch.max(epoch);
            new = new.saturating_add(usize::from(created));
        }
        self.summary.kinds.push((kind, list.len(), new));
        Ok(())
    }

    fn vhost(&self, name: &str) -> Result<Arc<VirtualHost>, Failure> {
        Ok(self.broker.vhost_to_change(name)?)
    }

    fn users(&mut self, document: &Definitions) -> Result<(), ImportError> {
        self.each("users", &document.users, |this, item| {
            let mut user = item.clone();
            // Not part of a document, but of the configuration.
            user.loopback_only = match this.broker.users.get(&user.name) {
                Some(present) => present.loopback_only,
                None => this.broker.config.users.iter().any(|entry| entry.name == *user.name && entry.loopback_only),
            };
            Ok(this.broker.put_user_now(user)?)
        })
    }

    fn vhosts(&mut self, document: &Definitions) -> Result<(), ImportError> {
        self.each("vhosts", &document.vhosts, |this, item| {
            let mut settings = item.settings.clone();
            if settings.default_queue_type.is_none()
                && let Some(present) = this.broker.vhost(&item.name)
            {
                settings.default_queue_type.clone_from(&present.settings().default_queue_type);
            }
            Ok(this.broker.put_vhost(&item.name, settings)?)
        })
    }

    fn permissions(&mut self, document: &Definitions) -> Result<(), ImportError> {
        self.each("permissions", &document.permissions, |this, item| {
            Ok(this.broker.set_permission_now(&item.vhost, &item.user, &item.what)?)
        })
    }

    fn topic_permissions(&mut self, document: &Definitions) -> Result<(), ImportError> {
        self.each("topic_permissions", &document.topic_permissions, |this, item| {
            Ok(this.broker.set_topic_permission_now(&item.vhost, &item.user, &item.what)?)
        })
    }

    fn global_parameters(&mut self, document: &Definitions) -> Result<(), ImportError> {
        self.each("global_parameters", &document.global_parameters, |this, (name, value)| {
            if this.broker.globals.get(name).as_deref() == Some(value) {
                return Ok((false, 0));
            }
            Ok(this.broker.put_global(name, value.clone())?)
        })
    }

    fn policy(&mut self, kind: PolicyKind, vhost: &str, name: &str, ask: PolicyAsk) -> Result<(bool, Epoch), Failure> {
        let vhost = self.vhost(vhost)?;
        let policies = vhost.policies();
        let known = policies.get(kind, name);
        if known.is_some_and(|known| known.ask() == ask) {
            return Ok((false, 0));
        }
        let policy = self.broker.read_policy(kind, &vhost, name, ask)?;
        let epoch = vhost.put_policy(&self.broker, kind, policy)?;
        self.governed.insert(vhost.name.to_string(), vhost.clone());
        Ok((known.is_none(), epoch))
    }

    fn policies(&mut self, document: &Definitions) -> Result<(), ImportError> {
        self.each("policies", &document.policies, |this, item| {
            this.policy(PolicyKind::User, &item.vhost, &item.name, item.ask.clone())
        })
    }

    fn parameters(&mut self, document: &Definitions) -> Result<(), ImportError> {
        self.each("parameters", &document.parameters, |this, item| match item.component.as_str() {
            OPERATOR_POLICY => {
                let ask = serde_json::from_value(item.value.clone()).map_err(|error| Failure(error.to_string()))?;
                this.policy(PolicyKind::Operator, &item.vhost, &item.name, ask)
            }
            VHOST_LIMITS => {
                let limits = read_limits(&item.value)?;
                let present = this.vhost(&item.vhost)?.settings();
                if present.limits == limits {
                    return Ok((false, 0));
                }
                let epoch = this.vhost(&item.vhost)?.set_limits(&this.broker, limits)?;
                Ok((present.limits == VhostSettings::default().limits, epoch))
            }
            _ => this.keep(&item.vhost, &item.component, &item.name, item.value.clone()),
        })
    }

    /// Keeps a parameter, unless it is there already.
    fn keep(&self, vhost: &str, component: &str, name: &str, value: Value) -> Result<(bool, Epoch), Failure> {
        let vhost = self.vhost(vhost)?;
        let place = (component.into(), name.into());
        if vhost.topology().parameters.get(&place).is_some_and(|known| **known == value) {
            return Ok((false, 0));
        }
        Ok(vhost.keep_parameter(&self.broker, component, name, value)?)
    }

    fn exchanges(&mut self, document: &Definitions) -> Result<(), ImportError> {
        self.each("exchanges", &document.exchanges, |this, item| {
            let vhost = this.vhost(&item.vhost)?;
            if is_reserved(&item.name) || vhost.topology().exchanges.contains_key(&*item.name) {
                return Ok((false, 0));
            }
            let ask = ExchangeDeclare {
                name: item.name.clone(),
                kind: item.kind.clone(),
                passive: false,
                durable: item.durable,
                auto_delete: item.auto_delete,
                internal: item.internal,
                arguments: item.arguments.clone(),
            };
            Ok((true, vhost.declare_exchange(&this.broker, ask, trusted())?))
        })
    }

    fn queues(&mut self, document: &Definitions) -> Result<(), ImportError> {
        self.each("queues", &document.queues, |this, item| {
            let vhost = this.vhost(&item.vhost)?;
            if is_reserved(&item.name) || vhost.queue(&item.name).is_some() {
                return Ok((false, 0));
            }
            if item.is_unsupported() {
                this.summary.unsupported = this.summary.unsupported.saturating_add(1);
                return this.keep(&item.vhost, UNSUPPORTED_QUEUE, &item.name, Value::Object((*item.item).clone()));
            }
            let mut fx = Effects::default();
            let declared = vhost.declare_queue(&this.broker, ask(item), trusted(), &mut fx)?;
            this.broker.finish(&declared.queue, &mut fx);
            Ok((true, declared.epoch))
        })
    }

    fn bindings(&mut self, document: &Definitions) -> Result<(), ImportError> {
        let aside = document.queues.iter().filter(|item| item.is_unsupported());
        let aside: BTreeSet<(&str, &str)> = aside.map(|item| (&*item.vhost, &*item.name)).collect();
        self.each("bindings", &document.bindings, |this, item| {
            if item.source.is_empty() {
                return Ok((false, 0));
            }
            let vhost = this.vhost(&item.vhost)?;
            let (broker, to, key) = (&this.broker, &item.destination, &item.routing_key);
            let name = to.as_str().into();
            let end = if item.to_exchange { Destination::Exchange(name) } else { Destination::Queue(name) };
            let new = !vhost.topology().is_bound(&Identity::new(&item.source, end, key, &item.arguments));
            if item.to_exchange {
                let epoch = vhost.bind_exchange(broker, to, &item.source, key, item.arguments.clone(), trusted())?;
                return Ok((new, epoch));
            }
            if vhost.queue(to).is_none() && aside.contains(&(&*item.vhost, &**to)) {
                this.summary.unsupported = this.summary.unsupported.saturating_add(1);
                let value = Value::Object((*item.item).clone());
                let digest: [u8; 32] = Sha256::digest(value.to_string()).into();
                let (half, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
                let name = format!("{:032x}", u128::from_be_bytes(*half));
                return this.keep(&item.vhost, UNSUPPORTED_BINDING, &name, value);
            }
            let epoch = vhost.bind_queue(broker, to, &item.source, key, item.arguments.clone(), trusted())?;
            Ok((new, epoch))
        })
    }
}

/// Why an item is not applied after all.
struct Failure(String);

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        Self(error.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.explanation)
    }
}
