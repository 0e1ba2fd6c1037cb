//! The commands, in groups; each group is a slice of the table.

mod access;
mod alarms;
mod connections;
mod definitions;
mod flags;
mod health;
mod inside;
mod listings;
mod memory;
mod node;
mod objects;
mod parameters;
mod plugins;
mod policies;
mod status;
mod unsupported;
mod users;
mod usual;
mod vhosts;

pub(super) use definitions::write as write_file;

use super::command::Command;

/// All groups.
pub(super) const GROUPS: &[&[Command]] = &[
    usual::COMMANDS,
    users::COMMANDS,
    access::COMMANDS,
    vhosts::COMMANDS,
    policies::COMMANDS,
    parameters::COMMANDS,
    objects::COMMANDS,
    listings::COMMANDS,
    connections::COMMANDS,
    definitions::COMMANDS,
    flags::COMMANDS,
    node::COMMANDS,
    alarms::COMMANDS,
    status::COMMANDS,
    memory::COMMANDS,
    inside::COMMANDS,
    health::COMMANDS,
    plugins::COMMANDS,
    unsupported::COMMANDS,
];
