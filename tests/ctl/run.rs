//! Runs a tool as its caller would, and keeps what it printed.

use std::io::Cursor;

use leveret::config::Args;
use leveret::ctl::{Streams, role, run_with};

use crate::fake::Fake;

/// What became of a command line.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit status.
    pub(crate) status: u8,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ran {
    /// Standard output, once the status is what it should be.
    pub(crate) fn fine(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        assert_eq!(self.err, "", "{}", self.out);
        self.out
    }
}

/// Runs a command line; words are separated by blanks, `'` keeps blanks within one.
pub(crate) fn run(fake: &Fake, line: &str) -> Ran {
    run_typing(fake, line, "")
}

/// [`run`] with something on standard input.
pub(crate) fn run_typing(fake: &Fake, line: &str, typed: &str) -> Ran {
    let mut words = words(line);
    let program = words.remove(0);
    if program == "rabbitmqadmin" {
        // Nobody's configuration file may matter.
        words.splice(0..0, ["-c", "/dev/null", "-P", &fake.port().to_string(), "-H", "127.0.0.1"].map(str::to_owned));
    }
    let args = Args { data_dir: Some(fake.dir().to_owned()), ..Args::default() };
    run_words(&program, &words, &args, typed)
}

/// Runs words as they are.
pub(crate) fn run_words(program: &str, words: &[String], args: &Args, typed: &str) -> Ran {
    let (role, name) = role(program).expect("a tool");
    let (mut input, mut out, mut err) = (Cursor::new(typed.to_owned()), Vec::new(), Vec::new());
    let streams = Streams { input: &mut input, terminal: false, out: &mut out, err: &mut err };
    let status = run_with(role, name, words, args, streams);
    let text = |octets| String::from_utf8(octets).expect("UTF-8");
    Ran { status, out: text(out), err: text(err) }
}

/// The words of a command line.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("one word at least").push(c),
        }
    }
    words
}
