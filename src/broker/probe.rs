//! What matchers of exchanges answer, without a broker around them, for tests that compare them with a definition.
//!
//! Deliberately absent: anything a broker could use.

use std::sync::Arc;

use super::binding::{Binding, Destination};
use super::exchange::{Index, Kind};
use super::route::Routing;
use crate::message::{Draft, Facts, address};
use crate::wire::properties::Properties;
use crate::wire::table::Table;

/// A binding to be made.
#[derive(Clone, Debug)]
pub struct Bind {
    /// The binding key.
    pub key: String,
    /// Arguments.
    pub arguments: Table,
    /// It is removed again after all have been made.
    pub removed: bool,
}

/// Which of these bindings of one exchange a message with this routing key and these headers goes along: their places
/// in the list, ascending. `None` if the exchange type or a message of this size does not exist.
pub fn matched(kind: &str, bound: &[Bind], key: &[u8], headers: Option<&[u8]>) -> Option<Vec<u64>> {
    let mut index = Index::new(Kind::parse(kind, true)?, &Table::new());
    let bindings: Vec<Arc<Binding>> = (0u64..).zip(bound).map(|(id, bind)| Arc::new(binding(id, bind))).collect();
    for binding in &bindings {
        index.insert(binding);
    }
    for (binding, _) in bindings.iter().zip(bound).filter(|(_, bind)| bind.removed) {
        index.remove(binding);
    }
    let properties = Properties { headers, ..Properties::default() };
    let message = Draft::new(&address(b"x", key)?, &properties.encode(), 0, Facts::default()).finish()?;
    let routing = Routing { message: &message, keys: &[key], properties: &properties, now: 0 };
    let mut found = Vec::new();
    index.route(&routing, &mut |binding| found.push(binding.id));
    found.sort_unstable();
    Some(found)
}

fn binding(id: u64, bind: &Bind) -> Binding {
    Binding {
        id,
        source: "x".into(),
        destination: Destination::Queue("q".into()),
        routing_key: bind.key.as_str().into(),
        arguments: bind.arguments.clone(),
        queue: None,
    }
}
