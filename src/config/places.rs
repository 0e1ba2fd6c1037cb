//! Where settings are looked for.
//!
//! A file that is named is read, and has to be there: `--config` or `LEVERET_CONFIG`, `RABBITMQ_CONFIG_FILE` and its
//! like. The kind of a file is told by how its name ends: `.conf` as RabbitMQ's, `.config` as its file of Erlang terms,
//! anything else as Leveret's own. Unnamed are read `/etc/leveret/leveret.toml`, where a package puts it, and, only when
//! the program is called by a name of RabbitMQ's (`rabbitmq-server`), what is in `/etc/rabbitmq`: whoever has RabbitMQ
//! installed and tries `leveret` is not to get RabbitMQ's listeners. Deliberately absent: reading the files.

use super::rabbitmq::{self, Sources};
use super::{Args, Environment};
use std::path::{Path, PathBuf};

/// Leveret's own file.
const OWN: &str = "etc/leveret/leveret.toml";
/// RabbitMQ's files.
const MAIN: &str = "etc/rabbitmq/rabbitmq.conf";
const MORE: &str = "etc/rabbitmq/conf.d";
const ADVANCED: &str = "etc/rabbitmq/advanced.config";
const PLUGINS: &str = "etc/rabbitmq/enabled_plugins";
const ASSIGNMENTS: &str = "etc/rabbitmq/rabbitmq-env.conf";

/// Files to read.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Files of Leveret's own kind; later ones win.
    pub toml: Vec<PathBuf>,
    /// RabbitMQ's.
    pub rabbitmq: Sources,
    /// What should be known about the search.
    pub remarks: Vec<String>,
}

/// Files to read, and the environment with what a `rabbitmq-env.conf` adds. With `files`, those and no others.
pub(super) fn find(args: &Args, env: &Environment, files: &[PathBuf]) -> (Environment, Places) {
    let (mut env, mut places) = (env.clone(), Places::default());
    places.rabbitmq.like_rabbitmq = env.is_rabbitmq();
    if !files.is_empty() {
        for path in files {
            places.add(path.clone());
        }
        return (env, places);
    }
    places.assignments(&mut env);
    if let Some(path) = args.config.clone().or_else(|| env.get("LEVERET_CONFIG").map(PathBuf::from)) {
        places.add(path);
    } else if let Some(path) = env.place(OWN).filter(|path| is_readable(path)) {
        places.toml.push(path);
    }
    let (named, usual) = (!places.rabbitmq.conf.is_empty(), env.is_rabbitmq());
    let place = |path: &str| env.place(path).filter(|path| usual && path.exists());
    if !named {
        let main = env.get("RABBITMQ_CONFIG_FILE").map(|path| with_extension(path.into(), "conf"));
        places.rabbitmq.conf.extend(main.or_else(|| place(MAIN)));
    }
    if let Some(pattern) = env.get("RABBITMQ_CONFIG_FILES") {
        places.rabbitmq.conf.extend(rabbitmq::matching(Path::new(pattern)));
    } else if let Some(folder) = place(MORE).filter(|_| !named) {
        places.rabbitmq.conf.extend(rabbitmq::matching(&folder));
    }
    if places.rabbitmq.advanced.is_none() {
        let advanced = env.get("RABBITMQ_ADVANCED_CONFIG_FILE").map(|path| with_extension(path.into(), "config"));
        places.rabbitmq.advanced = advanced.or_else(|| place(ADVANCED));
    }
    places.rabbitmq.plugins = place(PLUGINS);
    if let Some(path) = env.place(MAIN).filter(|path| !usual && path.exists() && !places.rabbitmq.conf.contains(path)) {
        let path = path.display();
        places.remarks.push(format!("{path} is there and is not read: name it with --config to have it read"));
    }
    (env, places)
}

impl Places {
    fn add(&mut self, path: PathBuf) {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("conf") => self.rabbitmq.conf.push(path),
            Some("config") => self.rabbitmq.advanced = Some(path),
            _ => self.toml.push(path),
        }
    }

    fn assignments(&mut self, env: &mut Environment) {
        let named = env.get("RABBITMQ_CONF_ENV_FILE").map(PathBuf::from);
        let usual = || env.place(ASSIGNMENTS).filter(|_| env.is_rabbitmq());
        let Some(path) = named.or_else(usual) else { return };
        // RabbitMQ starts without it, too.
        let Ok(text) = std::fs::read_to_string(&path) else { return };
        let (found, odd) = rabbitmq::assignments(&text);
        for (name, value) in found {
            env.suggest(&name, &value);
        }
        if !odd.is_empty() {
            let text = format!(
                "{}: only simple assignments are read, which these are not: {}",
                path.display(),
                odd.join(", ")
            );
            self.remarks.push(text);
        }
    }
}

/// RabbitMQ takes the name of its file with or without the extension.
fn with_extension(path: PathBuf, extension: &str) -> PathBuf {
    if path.extension().is_some_and(|own| own == extension) || path.is_file() {
        return path;
    }
    let mut longer = path.into_os_string();
    longer.push(".");
    longer.push(extension);
    longer.into()
}

/// Whether somebody else's file is not in the way: one that a user may not read is not meant for that user.
fn is_readable(path: &Path) -> bool {
    std::fs::File::open(path).is_ok()
}
