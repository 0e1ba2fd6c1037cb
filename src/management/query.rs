//! The query string: names and values, decoded once.
//!
//! Of equal names the first counts. Deliberately absent: what a name means to a list, see [`super::list`].

/// Most names in a query that are looked at; more are ignored, as if the rest were not there.
const NAMES_MAX: usize = 64;

/// A decoded query string.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes what stands after the question mark.
    pub(super) fn parse(raw: &str) -> Self {
        let pairs = url::form_urlencoded::parse(raw.as_bytes()).take(NAMES_MAX);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The value under `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every value under `name`.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the value under `name` is `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// The number under `name`; `Err` if it is none.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, NotANumber> {
        self.get(name).map(|text| text.parse().map_err(|_| NotANumber)).transpose()
    }
}

/// A value that had to be a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotANumber;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_names_counts_and_values_are_decoded() {
        let query = Query::parse("name=a%2Fb+c&name=d&page=2&page_size=x&if-unused=true");
        assert_eq!(query.get("name"), Some("a/b c"));
        assert_eq!(query.number("page"), Ok(Some(2)));
        assert_eq!((query.number("page_size"), query.number("none")), (Err(NotANumber), Ok(None)));
        assert!(query.is_true("if-unused") && !query.is_true("page"));
    }
}
