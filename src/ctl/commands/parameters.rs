//! Runtime parameters, of a virtual host and global ones, and the cluster's name, which is one.

use serde_json::{Value, json};

use crate::ctl::api::path;
use crate::ctl::command::{BOTH, Call, Command, Section};
use crate::ctl::failure::{Failure, UNAVAILABLE};
use crate::ctl::output::{Cell, Output};

const PARAMETERS: Section = Section::Parameters;

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "set_parameter",
        PARAMETERS,
        "[--vhost <vhost>] <component_name> <name> <value>",
        "Sets a runtime parameter",
        set,
    )
    .words(3, 3)
    .banner(|call| {
        format!(
            "Setting runtime parameter \"{}\" for component \"{}\" to \"{}\" in vhost \"{}\" ...",
            call.word(1),
            call.word(0),
            call.word(2),
            call.vhost()
        )
    }),
    Command::new(
        "clear_parameter",
        PARAMETERS,
        "[--vhost <vhost>] <component_name> <name>",
        "Clears a runtime parameter",
        clear,
    )
    .words(2, 2)
    .banner(|call| {
        let (component, name, vhost) = (call.word(0), call.word(1), call.vhost());
        format!("Clearing runtime parameter \"{name}\" for component \"{component}\" on vhost \"{vhost}\" ...")
    }),
    Command::new(
        "list_parameters",
        PARAMETERS,
        "[--vhost <vhost>] [--no-table-headers]",
        "Lists runtime parameters",
        list,
    )
    .tools(BOTH)
    .table()
    .banner(|call| format!("Listing runtime parameters for vhost \"{}\" ...", call.vhost())),
    Command::new("set_global_parameter", PARAMETERS, "<name> <value>", "Sets a global runtime parameter", set_global)
        .words(2, 2)
        .banner(|call| format!("Setting global runtime parameter \"{}\" to \"{}\" ...", call.word(0), call.word(1))),
    Command::new("clear_global_parameter", PARAMETERS, "<name>", "Clears a global runtime parameter", clear_global)
        .words(1, 1)
        .banner(|call| format!("Clearing global runtime parameter \"{}\" ...", call.word(0))),
    Command::new(
        "list_global_parameters",
        PARAMETERS,
        "[--no-table-headers]",
        "Lists global runtime parameters",
        list_global,
    )
    .tools(BOTH)
    .table()
    .banner(|_| "Listing global runtime parameters ...".to_owned()),
    Command::new(
        "set_cluster_name",
        Section::Configuration,
        "<name>",
        "Sets the name that clients are shown",
        set_name,
    )
    .words(1, 1)
    .banner(|call| format!("Setting cluster name to {} ...", call.word(0))),
];

fn put(call: &Call<'_>, segments: &[&str], body: &Value) -> Result<Output, Failure> {
    call.api()?.put(&path(segments), body).map(|_| Output::Done).map_err(|error| call.fail(&error))
}

fn remove(call: &Call<'_>, segments: &[&str]) -> Result<Output, Failure> {
    match call.api()?.delete(&path(segments)) {
        Ok(()) => Ok(Output::Done),
        Err(error) if error.is_not_found() => Err(Failure::error(UNAVAILABLE, "Parameter does not exist")),
        Err(error) => Err(call.fail(&error)),
    }
}

fn set(call: &mut Call<'_>) -> Result<Output, Failure> {
    let (component, name, vhost) = (call.word(0), call.word(1), call.vhost());
    let body = json!({ "component": component, "name": name, "vhost": vhost, "value": call.json(2)? });
    put(call, &["parameters", component, vhost, name], &body)
}

fn clear(call: &mut Call<'_>) -> Result<Output, Failure> {
    remove(call, &["parameters", call.word(0), call.vhost(), call.word(1)])
}

fn list(call: &mut Call<'_>) -> Result<Output, Failure> {
    let found = call.list(&path(&["parameters"]))?;
    let rows = found
        .iter()
        .filter(|item| item["vhost"] == call.vhost())
        .map(|item| {
            vec![
                ("component", Cell::Plain(item["component"].clone())),
                ("name", Cell::Plain(item["name"].clone())),
                ("value", Cell::text(item["value"].to_string())),
            ]
        })
        .collect();
    Ok(Output::Rows { rows, streamed: false })
}

fn set_global(call: &mut Call<'_>) -> Result<Output, Failure> {
    let body = json!({ "name": call.word(0), "value": call.json(1)? });
    put(call, &["global-parameters", call.word(0)], &body)
}

fn clear_global(call: &mut Call<'_>) -> Result<Output, Failure> {
    remove(call, &["global-parameters", call.word(0)])
}

fn list_global(call: &mut Call<'_>) -> Result<Output, Failure> {
    let found = call.list(&path(&["global-parameters"]))?;
    let row = |item: &Value| {
        vec![("name", Cell::Plain(item["name"].clone())), ("value", Cell::text(item["value"].to_string()))]
    };
    Ok(Output::Rows { rows: found.iter().map(row).collect(), streamed: false })
}

fn set_name(call: &mut Call<'_>) -> Result<Output, Failure> {
    put(call, &["cluster-name"], &json!({ "name": call.word(0) }))
}
