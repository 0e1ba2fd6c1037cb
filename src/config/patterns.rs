//! Regular expressions in settings.
//!
//! As RabbitMQ does, they are looked for anywhere in a name unless they are anchored, and may look around. Invariant: one
//! that does not end in time fits nothing.

use fancy_regex::Regex;

/// A regular expression, or what is wrong with it.
pub(super) fn pattern(text: &str) -> Result<String, String> {
    match Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} is not a regular expression: {}", error.to_string().replace('\n', " "))),
    }
}

/// Whether a name fits a pattern of the settings. For rare occasions: the pattern is read each time.
pub fn fits(pattern: &str, name: &str) -> bool {
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(name).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_or_do_not() {
        assert!(fits("^a", "ab") && fits("b", "ab") && fits("", "ab") && !fits("^b", "ab"));
        assert!(fits("^(?!amq\\.).*", "x") && !fits("^(?!amq\\.).*", "amq.x"));
        assert!(!fits("(", "(") && pattern("(").is_err() && pattern("^(?!a)").is_ok());
    }
}
