//! Erlang terms, as far as `advanced.config` and the arguments of the Erlang machine need them.
//!
//! Pure functions from text to [`Term`]. Invariants: nesting is bounded by [`DEPTH_MAX`], and what is wrong never quotes
//! the text, which may hold passwords. Deliberately absent: funs, maps, bit sizes, records, character escapes beyond the
//! usual ones; a text that holds them is not read.

/// Levels of lists and tuples; configurations have five or so.
const DEPTH_MAX: usize = 32;

/// A term.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    /// An atom, quoted or not.
    Atom(String),
    /// `"text"` or `<<"text">>`.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A fraction, as it was written.
    Fraction(String),
    /// `[...]`.
    List(Vec<At>),
    /// `{...}`.
    Tuple(Vec<At>),
}

/// A term and the line it begins on, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct At {
    /// The line.
    pub line: usize,
    /// The term.
    pub term: Term,
}

impl Term {
    /// The text of a single value: what would stand behind `=` in a `rabbitmq.conf`.
    pub(super) fn scalar(&self) -> Option<String> {
        match self {
            Self::Atom(text) | Self::Text(text) | Self::Fraction(text) => Some(text.clone()),
            Self::Integer(number) => Some(number.to_string()),
            Self::List(_) | Self::Tuple(_) => None,
        }
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> Option<&[At]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// A pair's key, if that is a word, and its value.
    pub(super) fn pair(&self) -> Option<(&str, &At)> {
        match self {
            Self::Tuple(items) => match &items[..] {
                [At { term: Self::Atom(key), .. }, value] => Some((key, value)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What is wrong, and on which line.
pub(super) type Wrong = (usize, &'static str);

/// Reads one term that ends with a dot, as in a file; a file without any is an empty list.
pub(super) fn file(text: &str) -> Result<At, Wrong> {
    let mut reader = Reader { rest: text, line: 1 };
    reader.skip();
    if reader.rest.is_empty() {
        return Ok(At { line: 1, term: Term::List(Vec::new()) });
    }
    let term = reader.term(0)?;
    reader.expect(".", "the term does not end with a dot")?;
    reader.end()?;
    Ok(term)
}

/// Reads one term that is the whole text.
pub(super) fn term(text: &str) -> Result<At, Wrong> {
    let mut reader = Reader { rest: text, line: 1 };
    let term = reader.term(0)?;
    reader.end()?;
    Ok(term)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    /// Passes blanks and comments.
    fn skip(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.rest.starts_with('%') {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.line = self.line.saturating_add(taken.matches('\n').count());
        self.rest = rest;
        taken
    }

    fn accept(&mut self, mark: &str) -> bool {
        self.skip();
        let Some(rest) = self.rest.strip_prefix(mark) else { return false };
        self.rest = rest;
        true
    }

    fn expect(&mut self, mark: &str, otherwise: &'static str) -> Result<(), Wrong> {
        if self.accept(mark) { Ok(()) } else { Err((self.line, otherwise)) }
    }

    fn end(&mut self) -> Result<(), Wrong> {
        self.skip();
        if self.rest.is_empty() { Ok(()) } else { Err((self.line, "something stands behind the term")) }
    }

    fn term(&mut self, depth: usize) -> Result<At, Wrong> {
        self.skip();
        let line = self.line;
        if depth > DEPTH_MAX {
            return Err((line, "terms are nested too deeply"));
        }
        let term = if self.accept("[") {
            Term::List(self.items("]", depth)?)
        } else if self.accept("{") {
            Term::Tuple(self.items("}", depth)?)
        } else if self.accept("<<") {
            let text = if self.accept("\"") { self.quoted('"')? } else { String::new() };
            self.take_while(char::is_whitespace);
            self.accept("/utf8");
            self.expect(">>", "a binary is not a text")?;
            Term::Text(text)
        } else if self.accept("\"") {
            let mut text = self.quoted('"')?;
            // Neighbours are one text.
            while self.accept("\"") {
                text.push_str(&self.quoted('"')?);
            }
            Term::Text(text)
        } else if self.accept("'") {
            Term::Atom(self.quoted('\'')?)
        } else if self.rest.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
            self.number()?
        } else if self.rest.starts_with(|c: char| c.is_ascii_lowercase()) {
            Term::Atom(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@').to_owned())
        } else {
            return Err((line, "this is no term that is understood here"));
        };
        Ok(At { line, term })
    }

    fn items(&mut self, end: &str, depth: usize) -> Result<Vec<At>, Wrong> {
        let mut items = Vec::new();
        if self.accept(end) {
            return Ok(items);
        }
        loop {
            items.push(self.term(depth.saturating_add(1))?);
            if self.accept(end) {
                return Ok(items);
            }
            self.expect(",", "a comma is missing, or a bracket is not closed")?;
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Wrong> {
        let (opened, mut text) = (self.line, String::new());
        let mut chars = self.rest.chars();
        while let Some(c) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = chars.as_str();
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('s') => text.push(' '),
                    Some(c) if c.is_ascii_alphanumeric() => {
                        return Err((self.line, "this escape is not understood here"));
                    }
                    Some(c) => text.push(c),
                    None => break,
                },
                c => {
                    self.line = self.line.saturating_add(usize::from(c == '\n'));
                    text.push(c);
                }
            }
        }
        Err((opened, "a quote is opened and not closed"))
    }

    fn number(&mut self) -> Result<Term, Wrong> {
        let line = self.line;
        let text = self.take_while(|c| c.is_ascii_digit() || "+-_".contains(c)).replace('_', "");
        // A dot that is not followed by a digit ends the file.
        let fraction = self.rest.strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(rest) = fraction {
            self.rest = rest;
            let digits = self.take_while(|c| c.is_ascii_digit() || "eE+-".contains(c));
            return Ok(Term::Fraction(format!("{text}.{digits}")));
        }
        text.parse().map(Term::Integer).map_err(|_| (line, "this is not a number that is understood here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(at: &At) -> String {
        match &at.term {
            Term::Atom(text) | Term::Fraction(text) => text.clone(),
            Term::Text(text) => format!("{text:?}"),
            Term::Integer(number) => number.to_string(),
            Term::List(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(",")),
            Term::Tuple(items) => format!("{{{}}}", items.iter().map(plain).collect::<Vec<_>>().join(",")),
        }
    }

    #[test]
    fn what_people_write_is_read() {
        let text = "%% comment\n[\n {rabbit, [{tcp_listeners, [5672, {\"127.0.0.1\", 5673}]},\n % more\n\
                    {default_pass, <<\"p%w\">>},{'a b',-1},{x, 0.4},{e,[]},{b,<<>>},{t,\"a\" \"b\\\"\"},{n,1_000}]}\n].\n";
        let at = file(text).unwrap();
        assert_eq!(
            plain(&at),
            r#"[{rabbit,[{tcp_listeners,[5672,{"127.0.0.1",5673}]},{default_pass,"p%w"},{a b,-1},{x,0.4},{e,[]},{b,""},{t,"ab\""},{n,1000}]}]"#
        );
        let (app, settings) = at.term.list().unwrap()[0].term.pair().unwrap();
        assert_eq!((app, at.line, settings.line), ("rabbit", 2, 3));
        assert_eq!(settings.term.list().unwrap()[1].line, 5);
        assert_eq!(plain(&file(" % nothing\n").unwrap()), "[]");
        assert_eq!(plain(&term("undefined").unwrap()), "undefined");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line) in [
            ("[{rabbit, []}]", 1),
            ("[{rabbit,\n [}].", 2),
            ("[a\n b].", 2),
            ("\n\"hunter2", 2),
            ("#{a => b}.", 1),
            ("[fun() -> ok end].", 1),
            ("[1].\n[2].", 2),
            ("99999999999999999999.", 1),
            ("Variable.", 1),
            ("<<1,2>>.", 1),
            ("\"\\x{41}\".", 1),
            ("1 + 1.", 1),
        ] {
            assert_eq!(file(text).map_err(|(line, _)| line), Err(line), "{text}");
        }
        assert!(file(&format!("{}.", "[".repeat(100_000))).is_err());
    }
}
