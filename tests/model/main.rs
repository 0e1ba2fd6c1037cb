//! Tests against models: the queue beside a naive twin, commits under faults, routing beside a naive matcher, and one
//! named test for each sharp edge of the design that concerns queues, broker and store.

mod edges;
mod epochs;
mod machine;
mod messages;
mod node;
mod queue;
mod rng;
mod room;
mod shelf;
mod topology;
mod transactions;
mod twin;
