//! Policies, and operators' policies.

use serde_json::{Value, json};

use crate::ctl::api::{ApiError, path};
use crate::ctl::command::{BOTH, Call, Command, Section};
use crate::ctl::failure::{DATA, Failure, UNAVAILABLE};
use crate::ctl::options::{Switch, number, text};
use crate::ctl::output::{Cell, Output};

const POLICIES: Section = Section::Policies;
const SET: &str = "[--vhost <vhost>] [--priority <priority>] [--apply-to <apply-to>] <name> <pattern> <definition>";
const SWITCHES: &[Switch] = &[number("priority"), text("apply-to")];

pub(super) const COMMANDS: &[Command] = &[
    Command::new("set_policy", POLICIES, SET, "Sets a policy", set)
        .words(3, 3)
        .switches(SWITCHES)
        .banner(|call| announce(call, "policy")),
    Command::new("clear_policy", POLICIES, "[--vhost <vhost>] <name>", "Clears a policy", clear)
        .words(1, 1)
        .banner(|call| format!("Clearing policy \"{}\" on vhost \"{}\" ...", call.word(0), call.vhost())),
    Command::new("list_policies", POLICIES, "[--vhost <vhost>] [--no-table-headers]", "Lists policies", list)
        .tools(BOTH)
        .table()
        .banner(|call| format!("Listing policies for vhost \"{}\" ...", call.vhost())),
    Command::new(
        "set_operator_policy",
        POLICIES,
        SET,
        "Sets an operator's policy, which narrows what policies give",
        set_operator,
    )
    .words(3, 3)
    .switches(SWITCHES)
    .banner(|call| announce(call, "operator policy override")),
    Command::new(
        "clear_operator_policy",
        POLICIES,
        "[--vhost <vhost>] <name>",
        "Clears an operator's policy",
        clear_operator,
    )
    .words(1, 1)
    .banner(|call| format!("Clearing operator policy \"{}\" on vhost \"{}\" ...", call.word(0), call.vhost())),
    Command::new(
        "list_operator_policies",
        POLICIES,
        "[--vhost <vhost>] [--no-table-headers]",
        "Lists operators' policies",
        list_operator,
    )
    .tools(BOTH)
    .table()
    .banner(|call| format!("Listing operator policy overrides for vhost \"{}\" ...", call.vhost())),
];

const USERS: &str = "policies";
const OPERATORS: &str = "operator-policies";

fn announce(call: &Call<'_>, what: &str) -> String {
    format!(
        "Setting {what} \"{}\" for pattern \"{}\" to \"{}\" with priority \"{}\" for vhost \"{}\" ...",
        call.word(0),
        call.word(1),
        call.word(2),
        call.line.number("priority").unwrap_or(0),
        call.vhost()
    )
}

fn refused(call: &Call<'_>, error: &ApiError) -> Failure {
    if error.is_not_found() { Failure::no_vhost(call.vhost()) } else { call.fail(error) }
}

fn put(call: &Call<'_>, kind: &str, apply_to: &str) -> Result<Output, Failure> {
    let definition = call.json(2)?;
    if !definition.is_object() {
        return Err(Failure::error(DATA, "A policy's definition is a JSON object, such as {\"max-length\": 10}"));
    }
    let body = json!({
        "pattern": call.word(1),
        "definition": definition,
        "priority": call.line.number("priority").unwrap_or(0),
        "apply-to": call.line.text("apply-to").unwrap_or(apply_to),
    });
    let put = call.api()?.put(&path(&[kind, call.vhost(), call.word(0)]), &body);
    put.map(|_| Output::Done).map_err(|error| refused(call, &error))
}

fn set(call: &mut Call<'_>) -> Result<Output, Failure> {
    put(call, USERS, "all")
}

fn set_operator(call: &mut Call<'_>) -> Result<Output, Failure> {
    put(call, OPERATORS, "all")
}

fn remove(call: &Call<'_>, kind: &str) -> Result<Output, Failure> {
    match call.api()?.delete(&path(&[kind, call.vhost(), call.word(0)])) {
        Ok(()) => Ok(Output::Done),
        Err(error) if error.is_not_found() => Err(Failure::error(UNAVAILABLE, "Parameter does not exist")),
        Err(error) => Err(call.fail(&error)),
    }
}

fn clear(call: &mut Call<'_>) -> Result<Output, Failure> {
    remove(call, USERS)
}

fn clear_operator(call: &mut Call<'_>) -> Result<Output, Failure> {
    remove(call, OPERATORS)
}

fn rows(call: &Call<'_>, kind: &str) -> Result<Output, Failure> {
    let found = call.api()?.list(&path(&[kind, call.vhost()])).map_err(|error| refused(call, &error))?;
    let row = |policy: &Value| {
        let plain = |name: &'static str| (name, Cell::Plain(policy[name].clone()));
        vec![
            plain("vhost"),
            plain("name"),
            plain("pattern"),
            plain("apply-to"),
            ("definition", Cell::text(policy["definition"].to_string())),
            plain("priority"),
        ]
    };
    Ok(Output::Rows { rows: found.iter().map(row).collect(), streamed: false })
}

fn list(call: &mut Call<'_>) -> Result<Output, Failure> {
    rows(call, USERS)
}

fn list_operator(call: &mut Call<'_>) -> Result<Output, Failure> {
    rows(call, OPERATORS)
}
