//! A text that must not appear in logs.
//!
//! Its characters leave only through [`Secret::expose`], a word that is easy to search for. Invariant: neither `Debug`
//! nor any other trait shows them. Deliberately absent: `Display`, serialisation, and wiping of memory, which the
//! copies made by parsers and allocators would undo.

use std::fmt;

/// A password in the clear, which prints as `[secret]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Takes a text into custody; the empty one stands for none.
    pub fn unless_empty(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::new(text))
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        let shown = format!("{:?} {:#?}", Secret::new("hunter2"), Some(Secret::new("hunter2")));
        assert!(shown.contains("[secret]"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
