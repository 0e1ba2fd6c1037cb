//! Runtime parameters: JSON values by component and name, of a virtual host or of the whole broker.
//!
//! Those of `vhost-limits` and `operator_policy` are views of limits and policies, which have verbs of their own. Those of
//! shovels and federation are kept for whoever will run them: nothing here does. What was imported and cannot exist here
//! (a stream and its bindings) is kept the same way, so that it can be exported again ([`UNSUPPORTED_QUEUE`]).
//! Source: RabbitMQ's runtime parameters. Deliberately absent: users' policies, which may not be set this way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};

use super::administration::AdminError;
use super::policy::{PolicyAsk, PolicyKind};
use super::topology::Topology;
use super::vhosts::VhostLimits;
use super::{Broker, VirtualHost, definitions, uplinks};
use crate::store::Epoch;
use crate::sync::{Mutex, Rank};
use crate::telemetry::printable;

/// Longest name, in octets.
const NAME_MAX: usize = 255;

/// Largest value as JSON, in octets: it is one row of the store.
const VALUE_MAX: usize = 1 << 20;

/// The component whose parameters are the limits of virtual hosts.
pub const VHOST_LIMITS: &str = "vhost-limits";

/// The name of that parameter.
const LIMITS: &str = "limits";

/// The component whose parameters are operators' policies.
pub const OPERATOR_POLICY: &str = "operator_policy";

/// The component whose parameters are users' policies; not one here.
const POLICY: &str = "policy";

/// Queues of a definitions file that cannot exist here, by name.
pub const UNSUPPORTED_QUEUE: &str = "unsupported-queue";

/// Bindings of such queues.
pub const UNSUPPORTED_BINDING: &str = "unsupported-binding";

/// Components whose parameters are kept and not acted upon.
const KEPT: [&str; 7] = [
    "shovel",
    "federation",
    "federation-upstream",
    "federation-upstream-set",
    "queue-leader-locator",
    UNSUPPORTED_QUEUE,
    UNSUPPORTED_BINDING,
];

/// The global parameter that holds the cluster's name, once somebody has chosen one.
const CLUSTER_NAME: &str = "cluster_name";

/// The global parameter that every cluster has.
const CLUSTER_TAGS: &str = "cluster_tags";

/// The global parameter that tells one cluster from all others.
pub const CLUSTER_ID: &str = "internal_cluster_id";

/// A parameter of a virtual host.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its virtual host.
    pub vhost: Arc<str>,
    /// What it is a parameter of.
    pub component: String,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// The kept parameters of a virtual host, by component and name.
pub(super) type Parameters = BTreeMap<(Arc<str>, Arc<str>), Arc<Value>>;

/// Parameters of the whole broker.
#[derive(Debug)]
pub(super) struct Globals {
    kept: Mutex<BTreeMap<Arc<str>, Arc<Value>>>,
    /// Somebody has removed the cluster's tags, which are there again after a start.
    untagged: AtomicBool,
}

impl Default for Globals {
    fn default() -> Self {
        Self { kept: Mutex::new(Rank::Leaf, BTreeMap::new()), untagged: AtomicBool::new(false) }
    }
}

impl Globals {
    /// Takes over what the store kept.
    pub(super) fn insert(&self, name: &str, value: Value) -> bool {
        self.kept.lock().insert(name.into(), Arc::new(value)).is_none()
    }

    /// The value under a name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Value>> {
        self.kept.lock().get(name).cloned()
    }

    fn remove(&self, name: &str) -> bool {
        self.kept.lock().remove(name).is_some()
    }
}

fn invalid(text: String) -> AdminError {
    AdminError::Invalid(text)
}

fn validation(problem: &str) -> AdminError {
    invalid(format!("Validation failed\n\n{problem}\n"))
}

fn check_size(name: &str, value: &Value) -> Result<(), AdminError> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(validation(&format!("name should have 1 to {NAME_MAX} octets")));
    }
    // Serialisation of a value to memory cannot fail.
    if serde_json::to_vec(value).map_or(0, |json| json.len()) > VALUE_MAX {
        return Err(validation(&format!("value should have at most {VALUE_MAX} octets")));
    }
    Ok(())
}

/// Judges a parameter that is kept.
fn check(component: &str, name: &str, value: &Value) -> Result<(), AdminError> {
    if !KEPT.contains(&component) {
        return Err(validation(&format!("component {component} not found")));
    }
    if !value.is_object() && !value.is_array() {
        return Err(validation(&format!("value of component {component} should be an object")));
    }
    uplinks::check(component, name, value).map_err(|problem| validation(&problem))?;
    check_size(name, value)
}

/// Reads limits, as RabbitMQ validates them.
pub fn read_limits(value: &Value) -> Result<VhostLimits, AdminError> {
    let mut limits = VhostLimits::default();
    // RabbitMQ writes an empty object as an empty list.
    let none = Map::new();
    let map = match value {
        Value::Object(map) => map,
        Value::Array(list) if list.is_empty() => &none,
        _ => return Err(validation(&format!("limits not a list {value}"))),
    };
    for (key, value) in map {
        let limit =
            value.as_i64().ok_or_else(|| validation(&format!("{key} should be a number, actually was {value}")));
        match key.as_str() {
            "max-connections" => limits.max_connections = Some(limit?),
            "max-queues" => limits.max_queues = Some(limit?),
            _ => return Err(validation(&format!("Unrecognised terms [{{<<\"{key}\">>,{value}}}] in limits"))),
        }
    }
    Ok(limits)
}

/// Reads a policy as a parameter of this name holds it.
fn read_policy(name: &str, value: Value) -> Result<PolicyAsk, AdminError> {
    if !value.is_object() {
        return Err(validation(&format!("{name} not a list {value}")));
    }
    serde_json::from_value(value).map_err(|error| validation(&error.to_string()))
}

fn written(value: &impl serde::Serialize) -> Value {
    // Plain data with string keys.
    serde_json::to_value(value).unwrap_or_default()
}

impl Topology {
    /// The kept parameters.
    pub fn parameters(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, &Arc<Value>)> {
        self.parameters.iter().map(|((component, name), value)| (component, name, value))
    }
}

impl VirtualHost {
    /// Keeps a parameter that has been judged; whether it is new, and the epoch that makes it durable.
    pub(super) fn keep_parameter(
        &self,
        broker: &Broker,
        component: &str,
        name: &str,
        value: Value,
    ) -> Result<(bool, Epoch), AdminError> {
        let mut topology = self.topology.write();
        if topology.deleted {
            return Err(AdminError::NoVhost(self.name.to_string()));
        }
        let row = definitions::put_parameter(self.id, component, name, &value);
        let new = topology.parameters.insert((component.into(), name.into()), Arc::new(value)).is_none();
        Ok((new, broker.intake.define([row])))
    }

    fn drop_parameter(&self, broker: &Broker, component: &str, name: &str) -> Result<Epoch, AdminError> {
        let mut topology = self.topology.write();
        match topology.parameters.remove(&(component.into(), name.into())) {
            None => Err(AdminError::NoParameter),
            Some(_) => Ok(broker.intake.define([definitions::delete_parameter(self.id, component, name)])),
        }
    }

    fn parameter(&self, component: &str, name: &str, value: Value) -> Parameter {
        Parameter { vhost: self.name.clone(), component: component.to_owned(), name: name.to_owned(), value }
    }

    /// Every parameter, by component and name.
    pub(super) fn all_parameters(&self) -> Vec<Parameter> {
        let mut all: Vec<Parameter> = {
            let topology = self.topology();
            let kept = topology.parameters();
            kept.map(|(component, name, value)| self.parameter(component, name, (**value).clone())).collect()
        };
        let limits = self.settings().limits;
        if limits != VhostLimits::default() {
            all.push(self.parameter(VHOST_LIMITS, LIMITS, written(&limits)));
        }
        let policies = self.policies();
        let operators = policies.all(PolicyKind::Operator).iter();
        all.extend(operators.map(|policy| self.parameter(OPERATOR_POLICY, &policy.name, written(&policy.ask()))));
        all.sort_by(|a, b| (&a.component, &a.name).cmp(&(&b.component, &b.name)));
        all
    }
}

impl Broker {
    /// Sets a parameter; answers once it is on disk, with whether it is new.
    pub async fn set_parameter(
        self: &Arc<Self>,
        vhost: &str,
        component: &str,
        name: &str,
        value: Value,
    ) -> Result<bool, AdminError> {
        let present = || self.parameters(Some(vhost), Some(component)).iter().any(|known| known.name == name);
        match component {
            POLICY => Err(invalid("policies may not be set using this method".to_owned())),
            VHOST_LIMITS => {
                let new = !present();
                self.set_vhost_limits(vhost, read_limits(&value)?).await.map(|()| new)
            }
            OPERATOR_POLICY => {
                let new = !present();
                self.set_operator_policy(vhost, name, read_policy(name, value)?).await.map(|()| new)
            }
            _ => {
                check(component, name, &value)?;
                let (new, epoch) = self.vhost_to_change(vhost)?.keep_parameter(self, component, name, value)?;
                tracing::info!(component, parameter = %printable(name), vhost = %printable(vhost), "parameter set");
                self.committed(epoch).await.map(|()| new)
            }
        }
    }

    /// Judges a parameter without setting it.
    pub(super) fn check_parameter(&self, component: &str, name: &str, value: &Value) -> Result<(), AdminError> {
        match component {
            POLICY => Err(invalid("policies may not be set using this method".to_owned())),
            VHOST_LIMITS => read_limits(value).map(|_| ()),
            OPERATOR_POLICY => {
                let ask = read_policy(name, value.clone())?;
                self.judge_policy(PolicyKind::Operator, name, ask)
            }
            _ => check(component, name, value),
        }
    }

    /// Removes a parameter; answers once that is on disk.
    pub async fn clear_parameter(self: &Arc<Self>, vhost: &str, component: &str, name: &str) -> Result<(), AdminError> {
        match component {
            POLICY => Err(invalid("policies may not be cleared using this method".to_owned())),
            VHOST_LIMITS => self.set_vhost_limits(vhost, VhostLimits::default()).await,
            OPERATOR_POLICY => self.clear_operator_policy(vhost, name).await,
            _ => {
                let epoch = self.vhost_to_change(vhost)?.drop_parameter(self, component, name)?;
                self.committed(epoch).await
            }
        }
    }

    /// The parameters of a virtual host or of all, of a component or of all, by virtual host, component and name.
    pub fn parameters(&self, vhost: Option<&str>, component: Option<&str>) -> Vec<Parameter> {
        let mut vhosts = self.vhosts();
        vhosts.retain(|known| vhost.is_none_or(|vhost| *known.name == *vhost));
        vhosts.sort_by(|a, b| a.name.cmp(&b.name));
        let all = vhosts.iter().flat_map(|vhost| vhost.all_parameters());
        all.filter(|known| component.is_none_or(|component| known.component == component)).collect()
    }

    /// Sets a global parameter; answers once it is on disk, with whether it is new.
    pub async fn set_global_parameter(&self, name: &str, value: Value) -> Result<bool, AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let (new, epoch) = self.put_global(name, value)?;
        self.committed(epoch).await.map(|()| new)
    }

    /// [`Broker::set_global_parameter`] without the wait; callers follow one another.
    pub(super) fn put_global(&self, name: &str, value: Value) -> Result<(bool, Epoch), AdminError> {
        check_size(name, &value)?;
        let row = definitions::put_global(name, &value);
        let new = self.globals.insert(name, value);
        Ok((new, self.intake.define([row])))
    }

    /// Judges a global parameter without setting it.
    pub(super) fn check_global(name: &str, value: &Value) -> Result<(), AdminError> {
        check_size(name, value)
    }

    /// Removes a global parameter; answers once that is on disk.
    pub async fn clear_global_parameter(&self, name: &str) -> Result<(), AdminError> {
        let _one_at_a_time = self.administration.lock().await;
        let was_shown = name == CLUSTER_TAGS && !self.globals.untagged.swap(true, Ordering::Relaxed);
        if !self.globals.remove(name) {
            return if was_shown { Ok(()) } else { Err(AdminError::NoParameter) };
        }
        let epoch = self.intake.define([definitions::delete_global(name)]);
        self.committed(epoch).await
    }

    /// Every global parameter, by name.
    pub fn global_parameters(&self) -> BTreeMap<Arc<str>, Arc<Value>> {
        let mut all = self.globals.kept.lock().clone();
        if !self.globals.untagged.load(Ordering::Relaxed) {
            all.entry(CLUSTER_TAGS.into()).or_insert_with(|| Arc::new(json!([])));
        }
        all
    }

    /// The name of the cluster: chosen by an administrator, or else configured.
    pub fn cluster_name(&self) -> String {
        let chosen = self.globals.get(CLUSTER_NAME);
        let chosen = chosen.as_deref().and_then(Value::as_str);
        chosen.unwrap_or(&self.config.cluster_name).to_owned()
    }

    /// Gives the cluster a name; answers once it is on disk.
    pub async fn set_cluster_name(&self, name: &str) -> Result<(), AdminError> {
        self.set_global_parameter(CLUSTER_NAME, name.into()).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_rabbitmq_validates_them() {
        assert_eq!(read_limits(&json!([])).unwrap(), VhostLimits::default());
        let limits = read_limits(&json!({"max-queues": 5, "max-connections": -1})).unwrap();
        assert_eq!((limits.max_queues, limits.max_connections), (Some(5), Some(-1)));
        for bad in
            [json!({"max-queues": "5"}), json!({"max-bytes": 1}), json!([1]), json!("x"), json!({"max-queues": 1.5})]
        {
            assert!(read_limits(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_components_that_somebody_knows_are_kept() {
        assert!(check("shovel", "s", &json!({"src-uri": "amqp://", "dest-uri": "amqp://"})).is_ok());
        let refused = check("foo", "s", &json!({})).unwrap_err().to_string();
        assert_eq!(refused, "Validation failed\n\ncomponent foo not found\n");
        assert!(
            check("federation", "", &json!({})).is_err() && check("federation", &"n".repeat(256), &json!({})).is_err()
        );
        assert!(check("shovel", "s", &json!("text")).is_err());
        assert!(check("federation", "s", &json!({"a": "b".repeat(VALUE_MAX)})).is_err());
    }
}
