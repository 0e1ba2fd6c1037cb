//! The lines of a `rabbitmq.conf`: `key = value`, comments, `include`.
//!
//! Pure functions from text to [`Item`]s; what a key means is not known here. Follows the grammar of the library that
//! RabbitMQ reads its file with: `#` ends a value unless that stands in single quotes, three of which hold several lines,
//! and `\.` is a dot within a word of a key. Invariant: what is wrong never quotes a value, which may be a password.

/// Something a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// `key = value`.
    Setting(Setting),
    /// `include FILES`, on this line.
    Include(usize, String),
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// Line of the file, counted from 1.
    pub line: usize,
    /// Words of the key: `listeners.tcp.default` has three.
    pub key: Vec<String>,
    /// The value, without quotes and without what is around it.
    pub value: String,
}

/// What is wrong, and on which line.
pub(super) type Wrong = (usize, String);

/// Reads a whole file; what is wrong does not hide the rest.
pub(super) fn read(text: &str) -> (Vec<Item>, Vec<Wrong>) {
    let (mut items, mut wrongs) = (Vec::new(), Vec::new());
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let line = trim(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(files) = include(line) {
            items.push(Item::Include(number, files.to_owned()));
            continue;
        }
        let Some((key, rest)) = line.split_once('=') else {
            wrongs.push((number, "is not of the form KEY = VALUE".to_owned()));
            continue;
        };
        let Some(key) = words(trim(key)) else {
            wrongs.push((number, format!("{:?} is not a key", trim(key))));
            continue;
        };
        match value(trim(rest), &mut lines) {
            Ok(value) => items.push(Item::Setting(Setting { line: number, key, value })),
            Err(wrong) => wrongs.push((number, format!("{}: {wrong}", key.join(".")))),
        }
    }
    (items, wrongs)
}

/// Blanks as the grammar has them, and what is left of a line's end.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r'])
}

/// The files of an `include` line.
fn include(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("include")?;
    let files = trim(without_comment(rest));
    (rest.starts_with([' ', '\t']) && !files.is_empty() && !files.starts_with('=')).then_some(files)
}

fn without_comment(text: &str) -> &str {
    text.split('#').next().unwrap_or_default()
}

/// Words of a key, if it is one.
fn words(key: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut chars = key.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next_if_eq(&'.').is_some() => words.last_mut()?.push('.'),
            '.' => words.push(String::new()),
            c if c.is_ascii_alphanumeric() || "_-".contains(c) => words.last_mut()?.push(c),
            _ => return None,
        }
    }
    words.iter().all(|word| !word.is_empty()).then_some(words)
}

fn value<'a>(text: &str, lines: &mut impl Iterator<Item = (&'a str, usize)>) -> Result<String, &'static str> {
    const QUOTES: &str = "'''";
    let value = if let Some(first) = text.strip_prefix(QUOTES) {
        let mut whole = first.to_owned();
        while !whole.contains(QUOTES) {
            let (next, _) = lines.next().ok_or("three quotes are opened and not closed")?;
            whole.push('\n');
            whole.push_str(next.trim_end_matches('\r'));
        }
        let (inside, rest) = whole.split_once(QUOTES).unwrap_or_default();
        nothing_but_a_comment(rest)?;
        inside.trim_matches('\n').to_owned()
    } else if let Some(rest) = text.strip_prefix('\'') {
        let (inside, rest) = rest.split_once('\'').ok_or("a quote is opened and not closed")?;
        nothing_but_a_comment(rest)?;
        inside.to_owned()
    } else {
        trim(without_comment(text)).to_owned()
    };
    if value.is_empty() { Err("has no value") } else { Ok(value) }
}

fn nothing_but_a_comment(text: &str) -> Result<(), &'static str> {
    match trim(text) {
        "" => Ok(()),
        rest if rest.starts_with('#') => Ok(()),
        _ => Err("something stands behind the closing quote"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Vec<(usize, String, String)> {
        let (items, wrongs) = read(text);
        assert_eq!(wrongs, [], "{text}");
        let setting = |item| match item {
            Item::Setting(s) => (s.line, s.key.join("/"), s.value),
            Item::Include(line, files) => (line, "include".to_owned(), files),
        };
        items.into_iter().map(setting).collect()
    }

    fn one(line: usize, key: &str, value: &str) -> (usize, String, String) {
        (line, key.to_owned(), value.to_owned())
    }

    #[test]
    fn lines_are_read_as_rabbitmq_reads_them() {
        let text = "# comment\n\n  \t\nheartbeat = 60\n listeners.tcp.1=127.0.0.1:5672   # here\r\n\
                    default_user_tags.a\\.b = true\ndefault_pass = 'a#b = c' # secret\nx = 'it' \n\
                    motd = '''\nfirst\n second # no comment\n'''\nlast = a b\t\ninclude conf.d/*.conf # more\n\
                    log.connection.level = error#not a word";
        assert_eq!(
            settings(text),
            [
                one(4, "heartbeat", "60"),
                one(5, "listeners/tcp/1", "127.0.0.1:5672"),
                one(6, "default_user_tags/a.b", "true"),
                one(7, "default_pass", "a#b = c"),
                one(8, "x", "it"),
                one(9, "motd", "first\n second # no comment"),
                one(13, "last", "a b"),
                one(14, "include", "conf.d/*.conf"),
                one(15, "log/connection/level", "error"),
            ]
        );
        assert_eq!(settings("include = 1"), [one(1, "include", "1")]);
        assert_eq!(settings("a = b\r\nc = d\r\n"), [one(1, "a", "b"), one(2, "c", "d")]);
        assert_eq!(settings("a = '''x'''"), [one(1, "a", "x")]);
    }

    #[test]
    fn mistakes_have_lines_and_hide_nothing() {
        let (items, wrongs) = read(
            "[{rabbit, []}].\na = 1\nb.. = 2\nc = 'hunter2\nd = \ne = 'x' hunter2\nf g = 1\n = 3\nh\n.i = 1\nj = # x\n\
             k = '''\nhunter2",
        );
        assert_eq!(items.len(), 1, "{items:?}");
        let lines: Vec<_> = wrongs.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], "{wrongs:?}");
        assert!(!format!("{wrongs:?}").contains("hunter2"), "{wrongs:?}");
    }
}
