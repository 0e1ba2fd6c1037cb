//! `advanced.config`, and settings among the arguments of the Erlang machine.
//!
//! Both name the variables of Erlang applications: `{rabbit, [{heartbeat, 60}]}` is `heartbeat = 60`, and so is
//! `-rabbit heartbeat 60`. What has a meaning here is turned into the lines a `rabbitmq.conf` would have; all else is noted
//! as without effect, never refused, since RabbitMQ takes any name there.

use super::super::Origin;
use super::draft::Draft;
use super::erlang::{self, At, Term};
use super::notes::Reason;
use std::path::Path;

/// Applications whose variables are keys of a `rabbitmq.conf`, and the words those begin with.
const APPLICATIONS: [(&str, &[&str]); 4] = [
    ("rabbit", &[]),
    ("rabbitmq_management", &["management"]),
    ("rabbitmq_management_agent", &["management_agent"]),
    ("rabbitmq_prometheus", &["prometheus"]),
];

impl Draft<'_> {
    /// Reads an `advanced.config`.
    pub(super) fn advanced(&mut self, path: &Path) {
        let Some(text) = self.text_of(path) else { return };
        self.like_rabbitmq = true;
        let at = |line| Origin::File(path.to_owned(), line);
        let file = match erlang::file(&text) {
            Ok(file) => file,
            Err((line, wrong)) => return self.report(at(line), "", wrong, "Erlang terms: [{rabbit, [...]}]."),
        };
        let Some(applications) = file.term.list() else {
            return self.report(at(file.line), "", "is not a list of applications", "Erlang terms: [{rabbit, [...]}].");
        };
        for application in applications {
            let Some((name, settings)) = application.term.pair() else {
                self.report(at(application.line), "", "is not an application with its settings", "{NAME, [...]}");
                continue;
            };
            for setting in settings.term.list().unwrap_or_default() {
                match setting.term.pair() {
                    Some((key, value)) => self.variable(name, key, value, &at(setting.line)),
                    None => self.notes.ignore(name, Reason::Unknown),
                }
            }
        }
    }

    /// Reads `RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS`: among other arguments `-APPLICATION KEY TERM`.
    pub(super) fn erlang_arguments(&mut self, text: &str, origin: &Origin) {
        let words = words(text);
        let mut rest = words.iter().map(String::as_str).peekable();
        while let Some(word) = rest.next() {
            let Some(flag) = word.strip_prefix('-') else { continue };
            let Some((name, _)) = APPLICATIONS.iter().find(|(name, _)| *name == flag) else {
                self.notes.ignore(word, Reason::Machine);
                continue;
            };
            while let Some(key) = rest.next_if(|word| !word.starts_with('-')) {
                // Blanks within a term are no ends of it; a term that begins another flag ends.
                let mut text = String::new();
                let value = loop {
                    let Some(more) = rest.next() else { break None };
                    if !text.is_empty() {
                        text.push(' ');
                    }
                    text.push_str(more);
                    match erlang::term(&text) {
                        Ok(value) => break Some(value),
                        Err((line, _)) if rest.peek().is_none_or(|next| is_flag(next)) => {
                            // A path without quotes, say: what else it could be has brackets or quotes.
                            let plain = !text.contains(['[', '{', '<', '"']);
                            break plain.then(|| At { line, term: Term::Text(text.clone()) });
                        }
                        Err(_) => {}
                    }
                };
                match value {
                    Some(value) => self.variable(name, key, &value, origin),
                    None => self.report(origin.clone(), key, "its value is no Erlang term that is understood here", ""),
                }
            }
        }
    }

    /// One variable of an application.
    fn variable(&mut self, application: &str, key: &str, value: &At, origin: &Origin) {
        let Some((_, prefix)) = APPLICATIONS.iter().find(|(name, _)| *name == application) else {
            return self.notes.ignore(&format!("{application}.{key}"), Reason::Machine);
        };
        let lines = lines(key, &value.term).unwrap_or_default();
        let mut known = !lines.is_empty();
        for (words, text) in &lines {
            let key: Vec<&str> = prefix.iter().copied().chain(words.iter().map(String::as_str)).collect();
            known &= self.set(&key, text, origin);
        }
        if !known {
            self.notes.ignore(&format!("{application}.{key}"), Reason::Unknown);
        }
    }
}

fn is_flag(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}

type Line = (Vec<String>, String);

/// The lines that say the same; none if they cannot be told.
fn lines(key: &str, value: &Term) -> Option<Vec<Line>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let one = |key: &[&str], text: String| Some(vec![(words(key), text)]);
    let scalar = |value: &Term| value.scalar();
    match (key, value) {
        ("tcp_listeners" | "ssl_listeners", Term::List(items)) => {
            let kind = if key == "tcp_listeners" { "tcp" } else { "ssl" };
            if items.is_empty() {
                return one(&["listeners", kind], "none".to_owned());
            }
            let line = |(at, item): (usize, &At)| {
                let text = match &item.term {
                    Term::Tuple(pair) => {
                        pair.iter().map(|part| scalar(&part.term)).collect::<Option<Vec<_>>>()?.join(":")
                    }
                    term => scalar(term)?,
                };
                Some((words(&["listeners", kind, &format!("advanced{at}")]), text))
            };
            items.iter().enumerate().map(line).collect()
        }
        ("vm_memory_high_watermark" | "disk_free_limit", Term::Tuple(_)) => {
            let (form, value) = value.pair()?;
            let form = if form == "mem_relative" { "relative" } else { form };
            one(&[key, form], scalar(&value.term)?)
        }
        ("vm_memory_high_watermark", value) => one(&[key, "relative"], scalar(value)?),
        ("disk_free_limit", value) => one(&[key, "absolute"], scalar(value)?),
        ("loopback_users" | "default_user_tags", Term::List(items)) => {
            if items.is_empty() && key == "loopback_users" {
                return one(&[key], "none".to_owned());
            }
            items.iter().map(|item| Some((words(&[key, &scalar(&item.term)?]), "true".to_owned()))).collect()
        }
        ("default_permissions", Term::List(items)) => {
            let line = |(what, item): (&str, &At)| Some((words(&[key, what]), scalar(&item.term)?));
            ["configure", "write", "read"].into_iter().zip(items).map(line).collect()
        }
        ("auth_mechanisms" | "auth_backends", Term::List(items)) => {
            let line = |(at, item): (usize, &At)| {
                let text = scalar(&item.term)?;
                let text = if text == "rabbit_auth_backend_internal" { "internal".to_owned() } else { text };
                Some((words(&[key, &at.to_string()]), text))
            };
            items.iter().enumerate().map(line).collect()
        }
        ("ssl_options", Term::List(items)) => {
            let mut lines = Vec::new();
            for item in items {
                let (option, value) = item.term.pair()?;
                match (option, &value.term) {
                    ("versions" | "ciphers", Term::List(values)) => {
                        for (at, value) in values.iter().enumerate() {
                            lines.push((
                                words(&[key, option, &at.to_string()]),
                                scalar(&value.term).unwrap_or_default(),
                            ));
                        }
                    }
                    (option, value) => lines.push((words(&[key, option]), scalar(value).unwrap_or_default())),
                }
            }
            Some(lines)
        }
        // How the management plugin was told where to listen.
        ("listener" | "tcp_config", Term::List(items)) => items
            .iter()
            .map(|item| {
                let (option, value) = item.term.pair()?;
                Some((words(&["tcp", option]), scalar(&value.term)?))
            })
            .collect(),
        (key, value) => one(&[key], scalar(value)?),
    }
}

/// Words as a shell splits them: single quotes are gone, double ones stay, since they are those of Erlang's texts too.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.extend(chars.next()),
            (c, Some(open)) if c == open => {
                quote = None;
                word.extend((c == '"').then_some(c));
            }
            (c @ ('\'' | '"'), None) => {
                quote = Some(c);
                word.extend((c == '"').then_some(c));
            }
            (c, None) if c.is_whitespace() => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (c, _) => word.push(c),
        }
        begun = true;
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(
            words(r#" -rabbit  log_levels '[{connection,error}]' "a b" \"c\" "#),
            ["-rabbit", "log_levels", "[{connection,error}]", "\"a b\"", "\"c\""]
        );
        assert_eq!(words("'' x"), ["", "x"]);
        assert!(words("  ").is_empty());
    }
}
