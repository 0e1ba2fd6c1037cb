//! The environment a program is started in.
//!
//! Its variables, the name it was called by, and the root below which files have their usual places. Invariant: a
//! variable that is empty counts as unset, as container tools set what they do not know to nothing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The environment that [`super::load_from`] may see.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    program: String,
    root: Option<PathBuf>,
}

impl Environment {
    /// The variables of this process, the name it was called by, and the root of the file system.
    pub fn of_process() -> Self {
        let called = std::env::args_os().next().map(PathBuf::from);
        let program =
            called.as_deref().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default().to_owned();
        Self { variables: std::env::vars_os().collect(), program, root: Some(PathBuf::from("/")) }
    }

    /// With files at their usual places below `root`, for a program called by this name.
    #[must_use]
    pub fn at(mut self, root: impl Into<PathBuf>, program: &str) -> Self {
        (self.root, self.program) = (Some(root.into()), program.to_owned());
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.variables.get(OsStr::new(name)).filter(|value| !value.is_empty())
    }

    /// A variable's value, if it is UTF-8.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|value| value.to_str()).map(str::to_owned)
    }

    /// Names of all variables that are UTF-8.
    pub(super) fn names(&self) -> Vec<String> {
        let set = self.variables.iter().filter(|(_, value)| !value.is_empty());
        set.filter_map(|(name, _)| name.to_str()).map(str::to_owned).collect()
    }

    /// Sets a variable that is not set.
    pub(super) fn suggest(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.variables.insert(name.into(), value.into());
        }
    }

    /// Whether the program was called by a name of RabbitMQ's.
    pub(super) fn is_rabbitmq(&self) -> bool {
        self.program.starts_with("rabbitmq")
    }

    /// A usual place, if files are looked for there.
    pub(super) fn place(&self, below_root: &str) -> Option<PathBuf> {
        self.root.as_deref().map(|root| root.join(below_root))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let variables = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, ..Self::default() }
    }
}
