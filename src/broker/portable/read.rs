//! A document becomes [`Definitions`]: names and types are right, or the error says where they are not.
//!
//! Keys that nobody asks for are ignored, as in RabbitMQ. Deliberately absent: whether the items fit each other and the
//! broker, see [`super::check`].

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::parameters::read_limits;
use super::super::policy::PolicyAsk;
use super::super::vhosts::{VhostLimits, VhostSettings};
use super::{Binding, Definitions, Exchange, Granted, ImportError, Parameter, Policy, Queue, Vhost, json};
use crate::auth::{PasswordHash, Permission, TopicPermission, User, UserLimits};
use crate::wire::table::Table;

/// Longest name, in octets: names travel as short strings.
const NAME_MAX: usize = 255;

/// The version from which a hash without the name of its algorithm is SHA-256; before it was MD5.
const SHA256_SINCE: (u32, u32) = (3, 6);

/// The mark of UTF-8 that some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One item of a document.
struct Item<'a> {
    path: String,
    map: &'a Map<String, Value>,
    /// The virtual host that everything in the document is of, if it is a document of one.
    scope: Option<&'a str>,
}

impl Item<'_> {
    fn wrong(&self, key: &str, problem: impl std::fmt::Display) -> ImportError {
        ImportError::at(format!("{}.{key}", self.path), problem)
    }

    fn optional_text(&self, key: &str) -> Result<Option<String>, ImportError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "should be text")),
        }
    }

    fn text(&self, key: &str) -> Result<String, ImportError> {
        self.optional_text(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// A name, which may be empty.
    fn any_name(&self, key: &str) -> Result<String, ImportError> {
        let name = self.text(key)?;
        if name.len() > NAME_MAX {
            return Err(self.wrong(key, format!("has more than {NAME_MAX} octets")));
        }
        Ok(name)
    }

    fn name(&self, key: &str) -> Result<String, ImportError> {
        let name = self.any_name(key)?;
        if name.is_empty() { Err(self.wrong(key, "is empty")) } else { Ok(name) }
    }

    fn vhost(&self) -> Result<String, ImportError> {
        match self.scope {
            Some(vhost) => Ok(vhost.to_owned()),
            None if self.map.contains_key("vhost") => self.name("vhost"),
            None => Err(self.wrong(
                "vhost",
                "is missing: definitions of a single virtual host are imported into a virtual host that is named",
            )),
        }
    }

    fn truth(&self, key: &str, default: bool) -> Result<bool, ImportError> {
        match self.map.get(key) {
            None => Ok(default),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(_) => Err(self.wrong(key, "should be true or false")),
        }
    }

    fn integer(&self, key: &str) -> Result<Option<i64>, ImportError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.wrong(key, "should be a whole number")),
        }
    }

    /// An object. RabbitMQ writes an empty one as an empty list at times.
    fn object(&self, key: &str) -> Result<Option<Map<String, Value>>, ImportError> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map.clone())),
            Some(Value::Array(list)) if list.is_empty() => Ok(Some(Map::new())),
            Some(_) => Err(self.wrong(key, "should be an object")),
        }
    }

    fn arguments(&self) -> Result<Table, ImportError> {
        let map = self.object("arguments")?.unwrap_or_default();
        json::read(&map).map_err(|unreadable| self.wrong(&format!("arguments.{}", unreadable.key), unreadable.problem))
    }

    /// Tags: a list, or text with commas.
    fn tags(&self, key: &str) -> Result<Option<Vec<String>>, ImportError> {
        let split =
            |text: &str| text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(split(text))),
            Some(Value::Array(list)) => {
                let tags: Option<Vec<String>> = list.iter().map(|tag| tag.as_str().map(str::to_owned)).collect();
                tags.map(Some).ok_or_else(|| self.wrong(key, "should be a list of text"))
            }
            Some(_) => Err(self.wrong(key, "should be a list of text")),
        }
    }
}

/// The items of one kind, read.
fn items<T>(
    document: &Map<String, Value>,
    kind: &str,
    scope: Option<&str>,
    read: impl Fn(&Item<'_>) -> Result<T, ImportError>,
) -> Result<Vec<T>, ImportError> {
    let list = match document.get(kind) {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(ImportError::at(kind, "should be a list")),
    };
    let read_item = |(index, value): (usize, &Value)| {
        let path = format!("{kind}[{index}]");
        match value {
            Value::Object(map) => read(&Item { path, map, scope }),
            _ => Err(ImportError::at(path, "should be an object")),
        }
    };
    list.iter().enumerate().map(read_item).collect()
}

/// Whether the document is of a version whose hashes without an algorithm are MD5.
fn is_ancient(document: &Map<String, Value>) -> bool {
    let version = document.get("rabbitmq_version").or_else(|| document.get("rabbit_version")).and_then(Value::as_str);
    let mut parts = version.unwrap_or_default().split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < SHA256_SINCE,
        _ => false,
    }
}

fn user(item: &Item<'_>, ancient: bool) -> Result<User, ImportError> {
    let default = if ancient { "rabbit_password_hashing_md5" } else { "rabbit_password_hashing_sha256" };
    let algorithm = item.optional_text("hashing_algorithm")?;
    let password_hash = match (item.optional_text("password_hash")?, item.optional_text("password")?) {
        (Some(_), Some(_)) => return Err(item.wrong("password", "stands beside a password_hash")),
        (Some(hash), None) => PasswordHash::from_export(&hash, algorithm.as_deref().unwrap_or(default))
            .map_err(|unusable| item.wrong("password_hash", unusable))?,
        (None, Some(password)) => {
            Some(PasswordHash::of(password.as_bytes()).map_err(|error| item.wrong("password", error))?)
        }
        (None, None) => None,
    };
    let tags = item.tags("tags")?.ok_or_else(|| item.wrong("tags", "is missing"))?;
    let limits = match item.object("limits")? {
        None => UserLimits::default(),
        Some(map) => serde_json::from_value(Value::Object(map)).map_err(|error| item.wrong("limits", error))?,
    };
    Ok(User {
        name: item.name("name")?.into(),
        tags: tags.into_iter().map(Into::into).collect(),
        password_hash,
        loopback_only: false,
        limits,
    })
}

fn vhost(item: &Item<'_>) -> Result<Vhost, ImportError> {
    let map = item.object("metadata")?.unwrap_or_default();
    let metadata = Item { path: format!("{}.metadata", item.path), map: &map, scope: None };
    let either = |found: Option<String>, other| found.map_or(other, |found| Ok(Some(found)));
    let description = either(item.optional_text("description")?, metadata.optional_text("description"))?;
    let tags = match item.tags("tags")? {
        Some(tags) => tags,
        None => metadata.tags("tags")?.unwrap_or_default(),
    };
    let default_queue_type =
        either(item.optional_text("default_queue_type")?, metadata.optional_text("default_queue_type"))?;
    let limits = match item.map.get("limits") {
        None => VhostLimits::default(),
        Some(value) => read_limits(value).map_err(|error| item.wrong("limits", error))?,
    };
    let settings = VhostSettings {
        description: description.unwrap_or_default(),
        tags,
        // RabbitMQ's word for none.
        default_queue_type: default_queue_type.filter(|kind| kind != "undefined"),
        limits,
        protected: metadata.truth("protected_from_deletion", false)?,
        tracing: item.truth("tracing", false)?,
    };
    Ok(Vhost { name: item.name("name")?, settings })
}

fn permission(item: &Item<'_>) -> Result<Granted<Permission>, ImportError> {
    let what = Permission { configure: item.text("configure")?, write: item.text("write")?, read: item.text("read")? };
    Ok(Granted { user: item.name("user")?, vhost: item.vhost()?, what })
}

fn topic_permission(item: &Item<'_>) -> Result<Granted<TopicPermission>, ImportError> {
    let what =
        TopicPermission { exchange: item.any_name("exchange")?, write: item.text("write")?, read: item.text("read")? };
    Ok(Granted { user: item.name("user")?, vhost: item.vhost()?, what })
}

fn parameter(item: &Item<'_>) -> Result<Parameter, ImportError> {
    let value = item.map.get("value").cloned().ok_or_else(|| item.wrong("value", "is missing"))?;
    Ok(Parameter { vhost: item.vhost()?, component: item.name("component")?, name: item.name("name")?, value })
}

fn global_parameter(item: &Item<'_>) -> Result<(String, Value), ImportError> {
    let value = item.map.get("value").cloned().ok_or_else(|| item.wrong("value", "is missing"))?;
    Ok((item.name("name")?, value))
}

fn policy(item: &Item<'_>) -> Result<Policy, ImportError> {
    let definition = item.object("definition")?.ok_or_else(|| item.wrong("definition", "is missing"))?;
    let ask = PolicyAsk {
        pattern: item.text("pattern")?,
        definition,
        priority: item.integer("priority")?.unwrap_or_default(),
        apply_to: item.optional_text("apply-to")?.unwrap_or_else(|| "all".to_owned()),
    };
    Ok(Policy { vhost: item.vhost()?, name: item.name("name")?, ask })
}

fn exchange(item: &Item<'_>) -> Result<Exchange, ImportError> {
    Ok(Exchange {
        vhost: item.vhost()?,
        name: item.any_name("name")?,
        kind: item.text("type")?,
        durable: item.truth("durable", true)?,
        auto_delete: item.truth("auto_delete", false)?,
        internal: item.truth("internal", false)?,
        arguments: item.arguments()?,
    })
}

fn queue(item: &Item<'_>) -> Result<Queue, ImportError> {
    let mut arguments = item.arguments()?;
    // The type beside the arguments is for people, unless they have none.
    if let Some(kind) = item.optional_text("type")?
        && arguments.get("x-queue-type").is_none()
        && matches!(kind.as_str(), "quorum" | "stream")
    {
        arguments.insert("x-queue-type", kind.as_str());
    }
    Ok(Queue {
        vhost: item.vhost()?,
        name: item.name("name")?,
        durable: item.truth("durable", true)?,
        auto_delete: item.truth("auto_delete", false)?,
        arguments,
        item: Arc::new(item.map.clone()),
    })
}

fn binding(item: &Item<'_>) -> Result<Binding, ImportError> {
    let to_exchange = match item.text("destination_type")?.as_str() {
        "queue" => false,
        "exchange" => true,
        _ => return Err(item.wrong("destination_type", "should be queue or exchange")),
    };
    Ok(Binding {
        vhost: item.vhost()?,
        source: item.any_name("source")?,
        destination: item.name("destination")?,
        to_exchange,
        routing_key: item.any_name("routing_key")?,
        arguments: item.arguments()?,
        item: Arc::new(item.map.clone()),
    })
}

impl Definitions {
    /// Reads a document of everything. Fails at the first item that is not as it should be.
    pub fn parse(text: &[u8]) -> Result<Self, ImportError> {
        Self::of(&document(text)?)
    }

    /// Reads a document of one virtual host, for the one of this name: users, virtual hosts and permissions in it are
    /// passed over.
    pub fn parse_for_vhost(text: &[u8], vhost: &str) -> Result<Self, ImportError> {
        let document = document(text)?;
        let scope = Some(vhost);
        Ok(Self {
            parameters: items(&document, "parameters", scope, parameter)?,
            policies: items(&document, "policies", scope, policy)?,
            exchanges: items(&document, "exchanges", scope, exchange)?,
            queues: items(&document, "queues", scope, queue)?,
            bindings: items(&document, "bindings", scope, binding)?,
            ..Self::default()
        })
    }

    fn of(document: &Map<String, Value>) -> Result<Self, ImportError> {
        let ancient = is_ancient(document);
        Ok(Self {
            users: items(document, "users", None, |item| user(item, ancient))?,
            vhosts: items(document, "vhosts", None, vhost)?,
            permissions: items(document, "permissions", None, permission)?,
            topic_permissions: items(document, "topic_permissions", None, topic_permission)?,
            parameters: items(document, "parameters", None, parameter)?,
            global_parameters: items(document, "global_parameters", None, global_parameter)?,
            policies: items(document, "policies", None, policy)?,
            exchanges: items(document, "exchanges", None, exchange)?,
            queues: items(document, "queues", None, queue)?,
            bindings: items(document, "bindings", None, binding)?,
        })
    }
}

/// A JSON object.
fn document(text: &[u8]) -> Result<Map<String, Value>, ImportError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ImportError::at("", "definitions are an object")),
        Err(error) => Err(ImportError::at("", format!("failed_to_parse_json: {error}"))),
    }
}
