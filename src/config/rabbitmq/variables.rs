//! The variables `RABBITMQ_*` of the environment.
//!
//! Those that RabbitMQ reads, and those of the official container image, the ones it refuses by now included. Each is
//! another way to say what keys say. Deliberately absent: variables that are not RabbitMQ's; whoever's they are, they are
//! passed over in silence.

use super::super::{MemoryWatermark, Origin, Parts, names};
use super::draft::Draft;
use super::files::read_text;
use super::logging::File;
use super::notes::Reason;
use super::values;
use std::path::{Path, PathBuf};

/// Variables that say what one key says.
const KEYS: [(&str, &str); 9] = [
    ("RABBITMQ_DEFAULT_USER", "default_user"),
    ("RABBITMQ_DEFAULT_PASS", "default_pass"),
    ("RABBITMQ_DEFAULT_VHOST", "default_vhost"),
    ("RABBITMQ_SSL_CACERTFILE", "ssl_options.cacertfile"),
    ("RABBITMQ_SSL_CERTFILE", "ssl_options.certfile"),
    ("RABBITMQ_SSL_KEYFILE", "ssl_options.keyfile"),
    ("RABBITMQ_SSL_VERIFY", "ssl_options.verify"),
    ("RABBITMQ_SSL_FAIL_IF_NO_PEER_CERT", "ssl_options.fail_if_no_peer_cert"),
    ("RABBITMQ_SSL_DEPTH", "ssl_options.depth"),
];

/// Variables that name a file which holds what a key says.
const IN_FILES: [(&str, &str, &str); 2] = [
    ("RABBITMQ_DEFAULT_USER_FILE", "RABBITMQ_DEFAULT_USER", "default_user"),
    ("RABBITMQ_DEFAULT_PASS_FILE", "RABBITMQ_DEFAULT_PASS", "default_pass"),
];

/// Variables without effect, by how they begin.
const IGNORED: [(&str, Reason); 22] = [
    ("RABBITMQ_MANAGEMENT_SSL_", Reason::Missing),
    ("RABBITMQ_PID_FILE", Reason::Missing),
    ("RABBITMQ_ERLANG_COOKIE", Reason::Machine),
    ("RABBITMQ_SERVER_ERL_ARGS", Reason::Machine),
    ("RABBITMQ_SERVER_START_ARGS", Reason::Machine),
    ("RABBITMQ_SERVER_CODE_PATH", Reason::Machine),
    ("RABBITMQ_CTL_", Reason::Machine),
    ("RABBITMQ_DIST", Reason::Cluster),
    ("RABBITMQ_SCHEDULER_", Reason::Machine),
    ("RABBITMQ_MAX_NUMBER_OF_", Reason::Machine),
    ("RABBITMQ_IO_THREAD_POOL_SIZE", Reason::Machine),
    ("RABBITMQ_DEFAULT_ALLOC_ARGS", Reason::Machine),
    ("RABBITMQ_FEATURE_FLAGS", Reason::Machine),
    ("RABBITMQ_QUORUM_DIR", Reason::Machine),
    ("RABBITMQ_STREAM_DIR", Reason::Plugin),
    ("RABBITMQ_PLUGINS_DIR", Reason::Plugin),
    ("RABBITMQ_PLUGINS_EXPAND_DIR", Reason::Plugin),
    ("RABBITMQ_SCHEMA_DIR", Reason::Machine),
    ("RABBITMQ_GENERATED_CONFIG_DIR", Reason::Machine),
    ("RABBITMQ_PRODUCT_", Reason::Always),
    ("RABBITMQ_MOTD_FILE", Reason::Always),
    ("RABBITMQ_UPGRADE_LOG", Reason::Machine),
];

/// Port of AMQP with TLS.
const AMQPS_PORT: u16 = 5671;

impl Draft<'_> {
    /// Reads what the environment says.
    pub(super) fn variables(&mut self) {
        let env = self.env;
        self.places();
        for (variable, key) in KEYS {
            if let Some(value) = env.text(variable) {
                let key: Vec<&str> = key.split('.').collect();
                self.set(&key, &value, &Origin::Variable(variable.to_owned()));
            }
        }
        for (variable, plain, key) in IN_FILES {
            if let (Some(path), None) = (env.text(variable), env.text(plain)) {
                let origin = Origin::Variable(variable.to_owned());
                match read_text(Path::new(&path)) {
                    Ok(text) => {
                        self.set(&[key], text.trim_end_matches(['\n', '\r']), &origin);
                    }
                    Err(error) => self.report(origin, "", format!("{path:?} cannot be read: {error}"), ""),
                }
            }
        }
        if env.text("RABBITMQ_SSL_CERTFILE").is_some() && self.listeners.tls.is_empty() {
            self.listeners.tls.insert("environment".to_owned(), values::Listener::Port(AMQPS_PORT));
        }
        self.watermark();
        self.log();
        if let Some(text) = env.text("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS") {
            self.erlang_arguments(&text, &Origin::Variable("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS".to_owned()));
        }
        for name in env.names() {
            if let Some((_, reason)) = IGNORED.iter().find(|(begin, _)| name.starts_with(begin)) {
                self.notes.ignore(&name, *reason);
            }
        }
    }

    /// Names, addresses and directories.
    fn places(&mut self) {
        let env = self.env;
        let wrong = |name: &str| Origin::Variable(name.to_owned());
        if env.text("RABBITMQ_USE_LONGNAME").is_some_and(|text| is_yes(&text)) {
            self.config.node_name = names::long_node_name();
        }
        if let Some(text) = env.text("RABBITMQ_NODENAME") {
            match names::node_name(&text) {
                Some(name) => self.config.node_name = name,
                None => self.report(wrong("RABBITMQ_NODENAME"), "", format!("{text:?} is not a name of a node"), ""),
            }
        }
        if let Some(text) = env.text("RABBITMQ_NODE_PORT") {
            match text.parse() {
                Ok(port) => self.listeners.port = Some(port),
                Err(_) => self.report(wrong("RABBITMQ_NODE_PORT"), "", format!("{text:?} is not a port"), ""),
            }
        }
        // What RabbitMQ takes for every address.
        if let Some(text) = env.text("RABBITMQ_NODE_IP_ADDRESS").filter(|text| text != "auto") {
            match text.parse() {
                Ok(address) => self.listeners.address = Some(address),
                Err(_) => self.report(wrong("RABBITMQ_NODE_IP_ADDRESS"), "", format!("{text:?} is not an address"), ""),
            }
        }
        if let Some(dir) = env.get("RABBITMQ_MNESIA_DIR") {
            self.config.data_dir = dir.into();
        } else if let Some(base) = env.get("RABBITMQ_MNESIA_BASE") {
            self.config.data_dir = Path::new(base).join(&self.config.node_name);
        }
    }

    /// The image took a fraction, a percentage or a size.
    fn watermark(&mut self) {
        const VARIABLE: &str = "RABBITMQ_VM_MEMORY_HIGH_WATERMARK";
        const HUNDRED: f64 = 100.0;
        let Some(text) = self.env.text(VARIABLE) else { return };
        let percentage = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        let fraction = percentage.map(|percent| percent / HUNDRED).or_else(|| text.parse().ok());
        let relative = fraction.filter(|fraction| *fraction <= 1.0).and_then(Parts::new).map(MemoryWatermark::Relative);
        let watermark = relative.or_else(|| values::information(&text).ok().map(MemoryWatermark::Absolute));
        match watermark {
            Some(watermark) => self.config.memory_watermark = watermark,
            None => self.report(
                Origin::Variable(VARIABLE.to_owned()),
                "",
                format!("{text:?} is neither a fraction nor a size"),
                "0.4, 40% or 2GiB",
            ),
        }
    }

    fn log(&mut self) {
        let env = self.env;
        if let Some(dir) = env.get("RABBITMQ_LOG_BASE") {
            self.logging.dir = Some(dir.into());
        }
        match env.text("RABBITMQ_LOGS").as_deref() {
            Some("-") => {
                self.logging.console = Some(true);
                self.logging.file = Some(File::None);
            }
            Some("-stderr") => {
                self.logging.console = Some(true);
                self.logging.stderr = true;
                self.logging.file = Some(File::None);
            }
            Some(path) => self.logging.file = Some(File::Named(path.to_owned())),
            None => {}
        }
        let Some(text) = env.text("RABBITMQ_LOG") else { return };
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let said = match item.split_once('=') {
                // How lines look.
                None if item.starts_with(['+', '-']) => Ok(()),
                None => values::level(item).map(|level| self.logging.level = Some(level)),
                Some(("connection", level)) => {
                    values::level(level).map(|level| self.logging.connection_level = Some(level))
                }
                Some((category, level)) => values::level(level).map(|_| {
                    self.notes.ignore(&format!("RABBITMQ_LOG {category}"), Reason::Missing);
                }),
            };
            if let Err(wrong) = said {
                self.report(Origin::Variable("RABBITMQ_LOG".to_owned()), "", wrong, "");
            }
        }
    }

    /// What the enabled plugins say about listeners: RabbitMQ's management listens on every address once it is enabled.
    pub(super) fn plugins(&mut self, beside: Option<PathBuf>) {
        let text = if let Some(text) = self.env.text("RABBITMQ_ENABLED_PLUGINS") {
            text
        } else {
            let Some(path) = self.env.get("RABBITMQ_ENABLED_PLUGINS_FILE").map(PathBuf::from).or(beside) else {
                return;
            };
            // Without the file no plugin is enabled.
            let Ok(text) = read_text(&path) else { return };
            self.notes.files.push(path);
            text
        };
        let names: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        self.listeners.management.enabled = names.contains(&"rabbitmq_management");
        self.listeners.metrics.enabled = names.contains(&"rabbitmq_prometheus");
    }
}

fn is_yes(text: &str) -> bool {
    matches!(text, "1" | "yes" | "true")
}

/// Assignments of a `rabbitmq-env.conf`, which is a shell script; what needs a shell is named in the second list.
pub(in super::super) fn assignments(text: &str) -> (Vec<(String, String)>, Vec<String>) {
    let (mut found, mut odd) = (Vec::new(), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let statement = line.strip_prefix("export ").unwrap_or(line);
        let plain = statement.split_once('=').and_then(|(name, value)| {
            let name = name.trim();
            let is_name =
                !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            let value = match quote {
                Some(quote) => value.get(1..)?.strip_suffix(quote)?,
                None => value.split([' ', '\t', '#']).next()?,
            };
            let simple = is_name && (quote == Some('\'') || !value.contains(['$', '`', '\\']));
            simple.then(|| (format!("RABBITMQ_{}", name.trim_start_matches("RABBITMQ_")), value.to_owned()))
        });
        match plain {
            Some(pair) => found.push(pair),
            None => odd.push(statement.split('=').next().unwrap_or_default().to_owned()),
        }
    }
    (found, odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_assignments_are_read() {
        let (found, odd) = assignments(
            "# NODENAME=x\nNODENAME=hare@field\nexport RABBITMQ_NODE_PORT='5673'\nLOGS=\"-\"\nMNESIA_BASE=$HOME/x\nif true\n",
        );
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            found,
            [pair("RABBITMQ_NODENAME", "hare@field"), pair("RABBITMQ_NODE_PORT", "5673"), pair("RABBITMQ_LOGS", "-")]
        );
        assert_eq!(odd, ["MNESIA_BASE", "if true"]);
    }
}
