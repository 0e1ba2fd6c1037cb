//! Where Leveret's answers differ from a recording, and the committed lists of where they may.

use std::collections::BTreeMap;

use crate::files::{Section, folder, read_file};

/// The lines that only one of two transcripts has: `-` for the first, `+` for the second.
pub(crate) fn between(first: &[String], second: &[String]) -> Vec<String> {
    // Lengths of the longest common subsequences of all ends.
    let mut common = vec![vec![0_usize; second.len() + 1]; first.len() + 1];
    for i in (0..first.len()).rev() {
        for j in (0..second.len()).rev() {
            common[i][j] =
                if first[i] == second[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while i < first.len() || j < second.len() {
        if i < first.len() && j < second.len() && first[i] == second[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == second.len() || (i < first.len() && common[i + 1][j] >= common[i][j + 1]) {
            found.push(format!("- {}", first[i]));
            i += 1;
        } else {
            found.push(format!("+ {}", second[j]));
            j += 1;
        }
    }
    found
}

/// What may stand before the reason of a listed difference: it is meant; somebody else is at it; it follows from this
/// row of the compatibility table.
const KINDS: [&str; 3] = ["why: ", "pending: ", "row: "];

/// A listed difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) reason: String,
    pub(crate) lines: Vec<String>,
}

/// The list of this name. Every entry has a reason, or the test fails.
pub(crate) fn listed(name: &str) -> BTreeMap<String, Listed> {
    let mut all = BTreeMap::new();
    for Section { name, mut lines } in read_file(&folder("differences").join(format!("{name}.txt"))) {
        let reason = if lines.is_empty() { String::new() } else { lines.remove(0) };
        assert!(KINDS.iter().any(|kind| reason.starts_with(kind)), "differences of {name} without a reason: {reason}");
        assert!(all.insert(name.clone(), Listed { reason, lines }).is_none(), "{name} is listed twice");
    }
    all
}

/// Compares what differs with what may, conversation by conversation; returns every disagreement.
pub(crate) fn judge(found: &BTreeMap<String, Vec<String>>, listed: &BTreeMap<String, Listed>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, lines) in found {
        match listed.get(name) {
            Some(entry) if entry.lines == *lines => {}
            Some(entry) if lines.is_empty() => {
                complaints.push(format!("== {name}\nno longer differs: remove it from the list\n{}\n", entry.reason));
            }
            Some(_) => complaints.push(format!("== {name}\ndiffers otherwise than listed:\n{}\n", lines.join("\n"))),
            None if lines.is_empty() => {}
            None => complaints.push(format!("== {name}\n{}\n", lines.join("\n"))),
        }
    }
    let unknown = listed.keys().filter(|name| !found.contains_key(*name));
    complaints.extend(unknown.map(|name| format!("== {name}\nis listed but there is no such conversation\n")));
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn differences_are_the_lines_that_one_side_lacks() {
        assert_eq!(between(&lines("a b c"), &lines("a b c")), Vec::<String>::new());
        assert_eq!(between(&lines("a b c d"), &lines("a x c d e")), ["- b", "+ x", "+ e"]);
        assert_eq!(between(&lines("a b"), &lines("b a")), ["- a", "+ a"]);
    }

    #[test]
    fn a_list_is_held_to_exactly_what_differs() {
        let found = BTreeMap::from([("one".to_owned(), lines("x")), ("two".to_owned(), Vec::new())]);
        let entry = |text: &str| Listed { reason: "why: so".to_owned(), lines: lines(text) };
        assert_eq!(judge(&found, &BTreeMap::from([("one".to_owned(), entry("x"))])), Vec::<String>::new());
        assert_eq!(judge(&found, &BTreeMap::new()).len(), 1, "not listed");
        assert_eq!(judge(&found, &BTreeMap::from([("one".to_owned(), entry("y"))])).len(), 1, "otherwise");
        let stale = BTreeMap::from([("one".to_owned(), entry("x")), ("two".to_owned(), entry("x"))]);
        assert_eq!(judge(&found, &stale).len(), 1, "no longer differs");
        let unknown = BTreeMap::from([("one".to_owned(), entry("x")), ("three".to_owned(), entry("x"))]);
        assert_eq!(judge(&found, &unknown).len(), 1, "no such conversation");
    }
}
