//! The one table of RabbitMQ's keys: which Leveret setting each is, or why it has no effect.
//!
//! The rows stand with what they set, a file a subject; here they are found by key. `config/RABBITMQ_CONF.md` shows the
//! table to people, and a test holds it to this. Invariant: the first row that fits a key is the one meant.

use super::draft::Draft;
use super::notes::Reason;
use super::{access, ignored, listeners, logging, resources, simple};

/// A key of RabbitMQ.
pub(super) struct Row {
    /// The key: a word that begins with `$` stands for any word, a last word `*` for any further words.
    pub key: &'static str,
    /// What it does here.
    pub does: Does,
}

/// What a key does here.
#[derive(Clone, Copy)]
pub(super) enum Does {
    /// It is this setting of Leveret, whose text is made of the value.
    Key(&'static str, fn(&str) -> Result<String, String>),
    /// It takes part in these settings of Leveret, with the words that `$` stood for and the value.
    Part(
        #[cfg_attr(not(test), expect(dead_code, reason = "read by the test that holds the page to this table"))]
        &'static str,
        fn(&mut Draft<'_>, &[&str], &str) -> Result<(), String>,
    ),
    /// It is not done here, which only matters if the value is another than this one.
    MissingUnless(&'static str),
    /// Nothing.
    Nothing(Reason),
}

/// Shorter rows.
pub(super) const fn key(key: &'static str, leveret: &'static str, text: fn(&str) -> Result<String, String>) -> Row {
    Row { key, does: Does::Key(leveret, text) }
}

/// See [`Does::Part`].
pub(super) const fn part(
    key: &'static str,
    leveret: &'static str,
    set: fn(&mut Draft<'_>, &[&str], &str) -> Result<(), String>,
) -> Row {
    Row { key, does: Does::Part(leveret, set) }
}

/// Every row, in the order of search.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    [listeners::ROWS, access::ROWS, simple::ROWS, resources::ROWS, logging::ROWS, ignored::ROWS].into_iter().flatten()
}

/// The row for a key, and the words that `$` stands for.
pub(super) fn find<'a>(key: &[&'a str]) -> Option<(&'static Row, Vec<&'a str>)> {
    rows().find_map(|row| Some((row, fits(row.key, key)?)))
}

fn fits<'a>(pattern: &str, key: &[&'a str]) -> Option<Vec<&'a str>> {
    let mut names = Vec::new();
    let mut words = key.iter();
    for expected in pattern.split('.') {
        match (expected, words.next()) {
            ("*", Some(_)) => return Some(names),
            (expected, Some(word)) if expected.starts_with('$') => names.push(*word),
            (expected, Some(word)) if expected == *word => {}
            _ => return None,
        }
    }
    words.next().is_none().then_some(names)
}

/// Known keys that may have been meant by one that is not known, the likeliest first.
pub(super) fn nearby(key: &[&str]) -> String {
    const SHOWN: usize = 3;
    /// Further apart than a third of its letters, a key is another key.
    const APART: usize = 3;
    let whole = key.join(".");
    let mut near: Vec<(usize, String)> = rows()
        .filter(|row| !row.key.ends_with('*'))
        .map(|row| {
            // What `$` stands for is taken over, so that it counts for nothing.
            let expected: Vec<&str> = row.key.split('.').collect();
            let words = expected.iter().enumerate().map(|(at, word)| match key.get(at) {
                Some(given) if word.starts_with('$') && key.len() == expected.len() => *given,
                _ => *word,
            });
            let known = words.collect::<Vec<_>>().join(".");
            (strsim::damerau_levenshtein(&whole, &known), known)
        })
        .filter(|(distance, _)| distance.saturating_mul(APART) <= whole.len())
        .collect();
    near.sort();
    near.dedup();
    near.truncate(SHOWN);
    near.into_iter().map(|(_, known)| known).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_reached_and_names_a_setting() {
        for row in rows() {
            let key: Vec<&str> = row.key.split('.').map(|word| word.trim_start_matches('$')).collect();
            let (found, _) = find(&key).unwrap();
            // A row may be hidden only by one that names the same key with a word for `$`.
            assert!(found.key == row.key || row.key.contains('$'), "{} is hidden by {}", row.key, found.key);
            if let Does::Key(leveret, _) = row.does {
                assert!(super::super::super::keys::find(leveret).is_some(), "{leveret}");
            }
        }
    }

    #[test]
    fn keys_are_found_and_mistyped_ones_named() {
        let (row, names) = find(&["listeners", "tcp", "here"]).unwrap();
        assert_eq!((row.key, names), ("listeners.tcp.$name", vec!["here"]));
        assert!(find(&["listeners", "tcp", "a", "b"]).is_none() && find(&["heartbeats"]).is_none());
        assert!(find(&["cluster_formation", "k8s", "host"]).is_some() && find(&["cluster_formation"]).is_none());
        assert_eq!(nearby(&["hartbeat"]), "heartbeat");
        assert!(nearby(&["listener", "tcp", "default"]).starts_with("listeners.tcp.default"));
        assert_eq!(nearby(&["nothing_like_it_at_all"]), "");
    }
}
