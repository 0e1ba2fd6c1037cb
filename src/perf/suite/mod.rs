//! `leveret perf suite`: the table of benchmarks, against Leveret and any broker named.
//!
//! Invariants: brokers are measured in turn, row by row and round by round, so that whatever else happens on the machine
//! happens to all of them; a measurement that fails is shown as such and stops nothing. Deliberately absent: starting
//! other brokers, and comparing with figures of another day.

mod broker;
mod machine;
mod measure;
mod results;
mod rows;

use std::io::Write;

use regex::Regex;

use super::PerfError;
use super::summary::whole;
use crate::config::perf::Suite;
use crate::sync::atomic::{AtomicBool, Ordering};
use broker::Broker;
use machine::Machine;
use measure::{Bench, Figure};
use results::{Cell, Measured, Results, number};
use rows::{ROWS, Row};

/// Runs the suite, prints its table, and writes both files.
pub(super) fn command(suite: &Suite, interrupted: &AtomicBool, out: &mut dyn Write) -> Result<(), PerfError> {
    let mut measured = chosen(suite)?;
    let mut bench = Bench::new(suite, interrupted);
    let mut brokers = vec![Broker::Own];
    brokers.extend(suite.broker.iter().cloned().map(Broker::Peer));
    let mut versions = Vec::new();
    for broker in &brokers {
        versions.push((broker.name().to_owned(), measure::version(broker, &bench.clock)?));
    }
    for row in &mut measured {
        row.cells = vec![Cell::default(); brokers.len()];
    }
    let date = machine::date();
    for round in 1..=suite.rounds {
        for row in &mut measured {
            if row.row.must.needs_synced() {
                row.synced.push(bench.synced()?);
            }
            for (broker, cell) in brokers.iter().zip(&mut row.cells) {
                let figure = bench.measure(&row.row, broker);
                // What an interrupt cut short is no figure.
                if interrupted.load(Ordering::Relaxed) {
                    return Err(PerfError::Setting("interrupted".to_owned()));
                }
                if !suite.quiet {
                    let said = said(&row.row, &figure);
                    writeln!(out, "round {round} of {}, {}, {}: {said}", suite.rounds, row.row.name, broker.name())?;
                }
                match figure {
                    Ok(figure) => cell.figures.extend(figure),
                    Err(error) => cell.failures.push(error.to_string()),
                }
            }
        }
    }
    let results = Results {
        date,
        commit: suite.commit.clone().or_else(machine::commit).unwrap_or_else(|| "unknown".to_owned()),
        machine: Machine::this(&bench.scratch),
        rounds: suite.rounds,
        seconds: suite.seconds,
        stored: suite.stored,
        idle: suite.idle,
        brokers: versions,
        rows: measured,
    };
    writeln!(out, "{}", results.markdown())?;
    let page = results.write(&suite.results)?;
    writeln!(out, "written to {} and beside it as JSON", page.display())?;
    Ok(())
}

/// The rows that were asked for.
fn chosen(suite: &Suite) -> Result<Vec<Measured>, PerfError> {
    let only = suite.only.as_deref().unwrap_or_default();
    let only = Regex::new(only).map_err(|error| PerfError::Setting(format!("{only}: {error}")))?;
    let chosen = ROWS.into_iter().filter(|row| only.is_match(row.name));
    let rows: Vec<Measured> = chosen.map(|row| Measured { row, cells: Vec::new(), synced: Vec::new() }).collect();
    if rows.is_empty() {
        let names = ROWS.map(|row| row.name).join("\n");
        return Err(PerfError::Setting(format!("no row has a name like that; there are:\n{names}")));
    }
    Ok(rows)
}

fn said(row: &Row, figure: &Result<Option<Figure>, PerfError>) -> String {
    match figure {
        Ok(Some(Figure { value, rate, .. })) => {
            let rate = rate.map_or_else(String::new, |rate| format!(", {}/s", whole(rate)));
            format!("{} {}{rate}", number(*value), row.unit)
        }
        Ok(None) => "-".to_owned(),
        Err(error) => format!("failed: {error}"),
    }
}
