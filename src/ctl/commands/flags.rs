//! Feature flags and deprecated features.

use serde_json::{Value, json};

use crate::ctl::api::path;
use crate::ctl::command::{BOTH, Call, Command, Section, Tool};
use crate::ctl::failure::{DATA, Failure, UNAVAILABLE};
use crate::ctl::options::flag;
use crate::ctl::output::{Cell, Format, Output};

const FLAGS: Section = Section::FeatureFlags;

pub(super) const COMMANDS: &[Command] = &[
    Command::new("list_feature_flags", FLAGS, "[<column> ...]", "Lists feature flags", list)
        .tools(BOTH)
        .columns(&["name", "state", "stability", "provided_by", "desc", "doc_url"], &["name", "state"])
        .banner(|_| "Listing feature flags ...".to_owned()),
    Command::new(
        "enable_feature_flag",
        FLAGS,
        "[--opt-in] <all | feature_flag>",
        "Enables a feature flag, or all of them",
        enable,
    )
    .words(1, 1)
    .switches(&[flag("experimental").short('e'), flag("opt-in").short('o')])
    .banner(|call| match call.word(0) {
        "all" => "Enabling all feature flags ...".to_owned(),
        name => format!("Enabling feature flag \"{name}\" ..."),
    }),
    Command::new(
        "list_deprecated_features",
        FLAGS,
        "[--used] [<column> ...]",
        "Lists what RabbitMQ is about to drop",
        deprecated,
    )
    .tools(BOTH)
    .columns(&["name", "deprecation_phase", "provided_by", "desc", "doc_url"], &["name", "deprecation_phase"])
    .format(Format::Pretty)
    .switches(&[flag("used")])
    .banner(|call| {
        let used = if call.line.on("used") { " in use" } else { "" };
        format!("Listing deprecated features{used} ...")
    }),
    Command::new(
        "check_if_any_deprecated_features_are_used",
        Section::Monitoring,
        "",
        "Fails if something is in use that RabbitMQ is about to drop",
        check,
    )
    .tools(&[Tool::Ctl, Tool::Diagnostics])
    .banner(|_| "Checking if any deprecated features are used ...".to_owned()),
];

fn rows(call: &Call<'_>, items: &[Value], streamed: bool) -> Output {
    let columns = call.columns().unwrap_or_default();
    let row = |item: &Value| columns.iter().map(|name| (*name, Cell::Plain(item[*name].clone()))).collect();
    Output::Rows { rows: items.iter().map(row).collect(), streamed }
}

fn list(call: &mut Call<'_>) -> Result<Output, Failure> {
    Ok(rows(call, &call.list(&path(&["feature-flags"]))?, false))
}

fn enable(call: &mut Call<'_>) -> Result<Output, Failure> {
    let flags = call.list(&path(&["feature-flags"]))?;
    let wanted: Vec<_> = match call.word(0) {
        "all" => {
            flags.iter().filter(|flag| flag["state"] != "enabled").filter_map(|flag| flag["name"].as_str()).collect()
        }
        name if flags.iter().any(|flag| flag["name"] == name) => vec![name],
        "" => return Err(Failure::error(DATA, "feature_flag cannot be an empty string.")),
        _ => {
            let why = format!("This feature flag is not supported by node {}", call.node);
            return Err(Failure::error(UNAVAILABLE, why));
        }
    };
    for name in wanted {
        let enabled = call.api()?.put(&path(&["feature-flags", name, "enable"]), &json!({ "name": name }));
        enabled.map_err(|error| call.fail(&error))?;
    }
    Ok(Output::Done)
}

fn deprecated(call: &mut Call<'_>) -> Result<Output, Failure> {
    let place: &[&str] = if call.line.on("used") { &["deprecated-features", "used"] } else { &["deprecated-features"] };
    Ok(rows(call, &call.list(&path(place))?, true))
}

fn check(call: &mut Call<'_>) -> Result<Output, Failure> {
    let used = call.list(&path(&["deprecated-features", "used"]))?;
    if used.is_empty() {
        return Ok(Output::passed("Cluster reported no deprecated features in use"));
    }
    let names: Vec<_> = used.iter().filter_map(|feature| feature["name"].as_str()).collect();
    Err(Failure::plain(UNAVAILABLE, format!("Cluster reported deprecated features in use:\n{}", names.join("\n"))))
}
