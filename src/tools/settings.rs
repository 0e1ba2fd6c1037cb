//! `leveret config check` and `leveret config show`: the settings as a start would read them.

use std::io::{self, Write};

use super::{BAD_SETTINGS, FINE, WRONG};
use crate::config::{self, Args, Environment, Settings};

/// Carries out a command; returns the exit status.
pub fn settings(command: &Settings, args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let (Settings::Check { file } | Settings::Show { file }) = command;
    match config::load_noted(args, &Environment::of_process(), file) {
        Ok((config, notes)) => {
            let done = match command {
                Settings::Show { .. } => out.write_all(config::shown(&config).as_bytes()),
                Settings::Check { .. } => report(&config, &notes, out),
            };
            if done.is_ok() { FINE } else { WRONG }
        }
        Err(problems) => {
            for problem in problems {
                let _ = writeln!(err, "{problem}");
            }
            BAD_SETTINGS
        }
    }
}

/// What was read, what of it has no effect, and what is in force that is not the default.
fn report(config: &config::Config, notes: &config::Notes, out: &mut dyn Write) -> io::Result<()> {
    for file in &notes.files {
        writeln!(out, "read {}", file.display())?;
    }
    for (_, line) in notes.lines() {
        writeln!(out, "{line}")?;
    }
    for remark in &notes.remarks {
        writeln!(out, "{remark}")?;
    }
    let defaults = config::shown(&config::Config::default());
    let defaults: Vec<(&str, &str)> = lines(&defaults);
    writeln!(out, "in force, other than by default:")?;
    let shown = config::shown(config);
    for line in lines(&shown).into_iter().filter(|line| !defaults.contains(line)) {
        let (section, line) = line;
        let dot = if section.is_empty() { "" } else { "." };
        writeln!(out, "  {section}{dot}{line}")?;
    }
    Ok(())
}

/// The lines of a file of settings, each with its section.
fn lines(text: &str) -> Vec<(&str, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).filter(|name| !name.contains(['=', '['])) {
            Some(name) => section = name,
            None => found.push((section, line)),
        }
    }
    found
}
