//! From where on alarms go up: changed in the running broker, until it ends or the next change.

use serde_json::{Value, json};

use super::connections::ask;
use crate::ctl::command::{Call, Command, Section};
use crate::ctl::failure::{DATA, Failure};
use crate::ctl::output::Output;

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "set_vm_memory_high_watermark",
        Section::Configuration,
        "<fraction>  |  absolute <value>",
        "Sets how much memory the broker may hold before publishers are blocked",
        memory,
    )
    .words(1, 2)
    .banner(|call| match call.word(0) {
        "absolute" => format!("Setting memory threshold on {} to {} bytes ...", call.node, call.word(1)),
        fraction => format!("Setting memory threshold on {} to {fraction} ...", call.node),
    }),
    Command::new(
        "set_disk_free_limit",
        Section::Configuration,
        "<disk_limit>  |  mem_relative <fraction>",
        "Sets how much room there must be on disk for publishers not to be blocked",
        disk,
    )
    .words(1, 2)
    .banner(|call| match call.word(0) {
        "mem_relative" => {
            format!("Setting disk free limit on {} to {} times the total RAM ...", call.node, call.word(1))
        }
        limit => format!("Setting disk free limit on {} to {limit} bytes ...", call.node),
    }),
];

fn bad(what: &str) -> Failure {
    Failure::plain(DATA, format!("Error (argument validation): Bad argument: {what}"))
}

fn memory(call: &mut Call<'_>) -> Result<Output, Failure> {
    let given = match (call.word(0), call.word(1)) {
        // A whole number without this word would be a fraction.
        ("absolute", "") => return Err(bad("not enough arguments")),
        ("absolute", octets) => octets,
        (fraction, "") if fraction.parse().is_ok_and(|fraction: f64| (0.0..=1.0).contains(&fraction)) => fraction,
        _ => return Err(bad("The threshold should be a fraction between 0.0 and 1.0")),
    };
    change(call, &json!({ "memory": given }))
}

fn disk(call: &mut Call<'_>) -> Result<Output, Failure> {
    let given = match (call.word(0), call.word(1)) {
        ("mem_relative", multiple) if multiple.parse().is_ok_and(|multiple: f64| multiple >= 0.0) => {
            format!("mem_relative {multiple}")
        }
        (limit, "") if limit != "mem_relative" => limit.to_owned(),
        _ => return Err(bad("mem_relative takes the multiple of the memory, a size nothing besides")),
    };
    change(call, &json!({ "disk": given }))
}

fn change(call: &Call<'_>, limits: &Value) -> Result<Output, Failure> {
    ask(call, "alarm-limits", limits)
}
