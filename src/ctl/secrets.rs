//! Passwords from standard input: one line, which a terminal does not show.

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::command::Streams;

/// Reads a line after asking for it; `None` if there is none.
pub(super) fn read(streams: &mut Streams<'_>, prompt: &str) -> Option<String> {
    if !streams.terminal {
        return line(streams);
    }
    // To standard error, which is not what a script keeps.
    let _ = write!(streams.err, "{prompt}").and_then(|()| streams.err.flush());
    let secret = {
        let _hidden = Hidden::new();
        line(streams)
    };
    let _ = writeln!(streams.err);
    secret
}

fn line(streams: &mut Streams<'_>) -> Option<String> {
    let mut line = String::new();
    match streams.input.read_line(&mut line) {
        Ok(read) if read > 0 => Some(line.trim_end_matches(['\n', '\r']).to_owned()),
        _ => None,
    }
}

/// While it lives, the terminal does not show what is typed.
struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    fn new() -> Self {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(&stdin, OptionalActions::Now, &silent);
        }
        Self(before)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
