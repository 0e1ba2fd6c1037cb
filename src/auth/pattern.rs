//! The regular expressions of permissions, with the meaning they have in RabbitMQ.
//!
//! A pattern is looked for anywhere in a name; the empty one matches the empty name only. RabbitMQ's are PCRE, so what
//! is written differently in Rust's dialect is rewritten before. Invariants: a pattern without look-around and back
//! references takes time linear in the name, any other at most [`STEPS_MAX`] steps, after which it has not matched; no
//! text of a client ever becomes part of a pattern, but as the letters it is made of. Deliberately absent: flags of
//! PCRE's own (`(*UTF8)` and the like), which are refused.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::fmt::Write as _;
use std::sync::OnceLock;

/// Steps a pattern with look-around or back references may take for one name; RabbitMQ's limit.
pub const STEPS_MAX: usize = 50_000;

/// Longest pattern, in octets. RabbitMQ 4.3 takes 1,024, earlier versions any.
pub const PATTERN_MAX: usize = 16_384;

/// What a compiled pattern may take, in octets: a short pattern can ask for a large one.
const COMPILED_MAX: usize = 1024 * 1024;

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct BadPattern {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What looking for a pattern came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there.
    Yes,
    /// It is not.
    No,
    /// It was given up after [`STEPS_MAX`] steps: to be taken for no.
    Unknown,
}

#[derive(Clone, Debug)]
enum Engine {
    /// Matches every name.
    Everything,
    /// Matches the empty name.
    Empty,
    Linear(regex::Regex),
    Stepping(Box<fancy_regex::Regex>),
    /// It was good once, and is no longer.
    Unusable,
}

/// A pattern, compiled when it is first used.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    /// What it stands for if that is not the text itself.
    expanded: Option<Box<str>>,
    engine: OnceLock<Engine>,
}

impl Pattern {
    /// A pattern that can be used.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        Self::kept(text).checked()
    }

    /// A pattern that was good when it was stored. Should it not be good any more, it matches nothing.
    pub fn kept(text: &str) -> Self {
        Self { text: text.into(), expanded: None, engine: OnceLock::new() }
    }

    /// Replaces `{name}` by the letters of a value, for each of the `variables`.
    #[must_use]
    pub fn with(mut self, variables: &[(&str, &str)]) -> Self {
        let mut expanded = self.text.to_string();
        for (name, value) in variables {
            expanded = expanded.replace(&format!("{{{name}}}"), &literally(value));
        }
        self.expanded = (*expanded != *self.text).then(|| expanded.into());
        self.engine = OnceLock::new();
        self
    }

    /// The same, if it can be used.
    pub fn checked(self) -> Result<Self, BadPattern> {
        let engine =
            compile(self.meaning()).map_err(|problem| BadPattern { pattern: self.text.to_string(), problem })?;
        Ok(Self { engine: engine.into(), ..self })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn meaning(&self) -> &str {
        self.expanded.as_deref().unwrap_or(&self.text)
    }

    /// Looks for the pattern in `name`.
    pub fn find(&self, name: &str) -> Found {
        let yes = |found: bool| if found { Found::Yes } else { Found::No };
        match self.engine.get_or_init(|| compile(self.meaning()).unwrap_or(Engine::Unusable)) {
            Engine::Everything => Found::Yes,
            Engine::Empty => yes(name.is_empty()),
            Engine::Linear(regex) => yes(regex.is_match(name)),
            Engine::Stepping(regex) => regex.is_match(name).map_or(Found::Unknown, yes),
            Engine::Unusable => Found::Unknown,
        }
    }
}

fn compile(text: &str) -> Result<Engine, String> {
    match text {
        "" => return Ok(Engine::Empty),
        ".*" | "^.*" => return Ok(Engine::Everything),
        _ if text.len() > PATTERN_MAX => return Err(format!("is longer than {PATTERN_MAX} octets")),
        _ => {}
    }
    let text = translated(text);
    let error = match regex::RegexBuilder::new(&text).size_limit(COMPILED_MAX).build() {
        Ok(regex) => return Ok(Engine::Linear(regex)),
        Err(regex::Error::CompiledTooBig(_)) => return Err("the pattern is too large".to_owned()),
        Err(error) => error.to_string(),
    };
    let mut builder = fancy_regex::RegexBuilder::new(&text);
    let regex = builder.backtrack_limit(STEPS_MAX).delegate_size_limit(COMPILED_MAX).build();
    // What the first has to say is better, if on many lines: it draws a picture.
    let problem = error.lines().find_map(|line| line.strip_prefix("error: "));
    regex.map(|regex| Engine::Stepping(Box::new(regex))).map_err(|other| {
        let problem = problem.filter(|problem| !problem.contains("not supported"));
        problem.map_or_else(|| other.to_string(), str::to_owned)
    })
}

/// A pattern for these very letters.
fn literally(text: &str) -> String {
    regex::escape(text)
}

/// A pattern of PCRE in the dialect of the crates used here. What both write alike is left as it is.
fn translated(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => rest = escape(rest.as_str(), false, &mut out).chars(),
            '[' => rest = class(rest.as_str(), &mut out).chars(),
            // In PCRE a brace that begins no repetition stands for itself.
            '{' if !repeats(rest.as_str()) => out.push_str("\\{"),
            c => out.push(c),
        }
    }
    out
}

/// Whether what follows a brace makes it a repetition: `3}`, `3,}` or `3,5}`.
fn repeats(rest: &str) -> bool {
    let Some((inner, _)) = rest.split_once('}') else { return false };
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
    !least.is_empty() && digits(least) && digits(most)
}

/// Takes what follows a backslash; returns what follows that.
fn escape<'a>(rest: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let mut after = rest.chars();
    match after.next() {
        None => out.push('\\'),
        Some('Q') => {
            let (quoted, after) = after.as_str().split_once("\\E").unwrap_or((after.as_str(), ""));
            out.push_str(&literally(quoted));
            return after;
        }
        // The end of a quotation that has not begun.
        Some('E') => {}
        // Horizontal blanks, which others take for digits.
        Some('h') => out.push_str(if in_class { " \\t" } else { "[ \\t]" }),
        // The name of a character or a property: its braces are no repetition.
        Some(c @ ('x' | 'p' | 'P' | 'k' | 'g' | 'o')) if after.as_str().starts_with('{') => {
            let (name, after) = after.as_str().split_once('}').unwrap_or((after.as_str(), ""));
            let _ = write!(out, "\\{c}{name}}}");
            return after;
        }
        Some(c) if c.is_ascii_alphanumeric() => {
            out.push('\\');
            out.push(c);
        }
        Some(c) => out.push_str(&literally(c.encode_utf8(&mut [0; 4]))),
    }
    after.as_str()
}

/// Takes a class behind its opening bracket; returns what follows it.
fn class<'a>(rest: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = rest;
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    // A bracket that comes first is one of the class.
    if let Some(after) = rest.strip_prefix(']') {
        out.push_str("\\]");
        rest = after;
    }
    loop {
        let mut after = rest.chars();
        match after.next() {
            None => return "",
            Some(']') => {
                out.push(']');
                return after.as_str();
            }
            Some('\\') => rest = escape(after.as_str(), true, out),
            Some('[') => {
                let named = after.as_str().strip_prefix(':').and_then(|named| named.split_once(":]"));
                if let Some((name, after)) = named.filter(|(name, _)| !name.contains(']')) {
                    let _ = write!(out, "[:{name}:]");
                    rest = after;
                } else {
                    out.push_str("\\[");
                    rest = after.as_str();
                }
            }
            // Doubled, they would be operations on sets.
            Some(c @ ('&' | '~')) => {
                out.push('\\');
                out.push(c);
                rest = after.as_str();
            }
            Some(c) => {
                out.push(c);
                rest = after.as_str();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(pattern: &str, name: &str) -> Found {
        Pattern::new(pattern).unwrap_or_else(|bad| panic!("{pattern}: {bad}")).find(name)
    }

    #[test]
    fn patterns_mean_what_they_mean_in_rabbitmq() {
        for (pattern, matching, others) in [
            (".*", &["", "a", "amq.default"][..], &[][..]),
            ("", &[""], &["a", "amq.default"]),
            // Not anchored.
            ("orders", &["orders", "my orders"], &["order", ""]),
            ("^orders$", &["orders"], &["orders2", "my orders"]),
            ("^(?!amq\\.).*", &["orders", "", "amq"], &["amq.direct"]),
            ("^(?!amq\\.)(?!secret).+$", &["orders"], &["amq.direct", "secret", ""]),
            ("(?<=a)b", &["ab"], &["b"]),
            ("^(a|b)\\1$", &["aa", "bb"], &["ab"]),
            ("^amq\\.gen.*|^app$", &["amq.gen-x", "app"], &["application"]),
            ("^a{2}$", &["aa"], &["a", "a{2}"]),
            ("^{user}$", &["{user}"], &["user"]),
            ("a{,2", &["a{,2"], &["aa"]),
            ("^[[]$", &["["], &["[[]", ""]),
            ("^[]a]$", &["]", "a"], &["b"]),
            ("^[^]a]$", &["b"], &["]", "a"]),
            ("^[a&&b]$", &["a", "&", "b"], &["c"]),
            ("^[[:digit:]_]+$", &["1_2"], &["a"]),
            ("^\\Qa.b\\E$", &["a.b"], &["axb"]),
            ("^\\<a\\>\\-\\_\\/$", &["<a>-_/"], &["a-_/"]),
            ("^a\\hb$", &["a b", "a\tb"], &["aab", "ab"]),
            ("^\\x{41}$", &["A"], &["x{41}"]),
        ] {
            for name in matching {
                assert_eq!(found(pattern, name), Found::Yes, "{pattern:?} in {name:?}");
            }
            for name in others {
                assert_eq!(found(pattern, name), Found::No, "{pattern:?} in {name:?}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in ["(", "[a", "*", "a**b(", "(?<n>", "\\", "[z-a]", "(*UTF8)a"] {
            let refused = Pattern::new(bad).map(|pattern| pattern.text().to_owned());
            assert_eq!(refused.as_ref().map_err(|bad| &*bad.pattern), Err(bad), "{refused:?}");
            assert_eq!(Pattern::kept(bad).find(bad), Found::Unknown, "and matches nothing if it was kept");
        }
        assert!(Pattern::new(&"a".repeat(PATTERN_MAX)).is_ok());
        assert!(Pattern::new(&"a".repeat(PATTERN_MAX + 1)).unwrap_err().problem.contains("longer"));
        // Small to write, and huge.
        assert!(Pattern::new("(?:(?:\\w{100}){100}){100}").is_err());
        // Deep.
        assert!(Pattern::new(&["(".repeat(4_000), ")".repeat(4_000)].concat()).is_err());
    }

    #[test]
    fn patterns_that_blow_up_are_given_up() {
        let name = "a".repeat(200);
        // Linear, however nested.
        assert_eq!(found("^(a+)+$", &format!("{name}!")), Found::No);
        assert_eq!(found("^(?=(a+)+$).*!$", &format!("{name}!")), Found::No, "the inside of a look-around is linear");
        assert_eq!(found("^(?:(a*)\\1)+b$", &name), Found::Unknown);
    }

    #[test]
    fn variables_are_letters_and_never_patterns() {
        let pattern = |user: &str| {
            Pattern::kept("^{vhost}[{username}]\\.{username}$").with(&[("vhost", "/"), ("username", user)]).checked()
        };
        assert_eq!(pattern("app").unwrap().find("/p.app"), Found::Yes);
        assert_eq!(pattern(".*").unwrap().find("/*..*"), Found::Yes);
        assert_eq!(pattern(".*").unwrap().find("/*.other"), Found::No);
        for hostile in ["a|.*", "(", "]", "[", "\\", "$|^", "{vhost}", "\\E.*", "^", "-", "a-z", "{2}"] {
            let pattern = pattern(hostile).unwrap_or_else(|bad| panic!("{hostile}: {bad}"));
            assert_eq!(pattern.find("/x.anything"), Found::No, "{hostile}");
            let first = hostile.chars().next().unwrap();
            assert_eq!(pattern.find(&format!("/{first}.{hostile}")), Found::Yes, "{hostile}");
        }
        assert_eq!(pattern("app").unwrap().text(), "^{vhost}[{username}]\\.{username}$");
    }

    proptest! {
        #[test]
        fn any_text_is_safe(pattern in "[a-z.*+?()\\[\\]{}|^$\\\\:&~QEhx0-9<>!=-]{0,24}", name in "[a-z.]{0,12}") {
            if let Ok(pattern) = Pattern::new(&pattern) {
                let _ = pattern.find(&name);
            }
        }

        #[test]
        fn any_letters_find_themselves(text: String) {
            let pattern = Pattern::kept("^{it}$").with(&[("it", &text)]).checked().unwrap();
            prop_assert_eq!(pattern.find(&text), Found::Yes);
        }
    }
}
