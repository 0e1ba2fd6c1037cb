//! Where the broker is: its control socket, found as the broker finds its data directory, or the address of `--url`.
//!
//! Invariant: a command that names a node is not carried out on another one.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::api::{Api, ApiError, path};
use super::command::{Call, Command};
use super::failure::{CONFIG, DATA, Failure, UNAVAILABLE};
use super::http::{Address, Broken, Client, Endpoint, Tls, TlsFiles};
use super::options::Parsed;
use crate::config::{self, Args, MANAGEMENT_PORT, Secret};

/// The control socket, in the data directory.
pub const CONTROL_SOCKET: &str = "control.sock";

/// What the settings say about the broker of this machine.
#[derive(Clone, Debug)]
pub(super) struct Place {
    data_dir: Result<PathBuf, String>,
    node: String,
}

impl Place {
    /// Reads the settings the broker would read; mistakes in them matter when a broker is needed.
    pub(super) fn find(args: &Args, line: &Parsed) -> Self {
        let given = |name| line.text(name).map(PathBuf::from);
        let args = Args {
            config: given("config").or_else(|| args.config.clone()),
            data_dir: given("data-dir").or_else(|| given("mnesia-dir")).or_else(|| args.data_dir.clone()),
            ..Args::default()
        };
        match config::load(&args) {
            Ok(config) => Self { data_dir: Ok(config.data_dir), node: config.node_name },
            Err(problems) => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                let node = config::Config::default().node_name;
                // Where the directory is given, nothing else in the settings matters to a client.
                Self { data_dir: args.data_dir.ok_or_else(|| problems.join("\n")), node }
            }
        }
    }

    /// The node's name: the one asked for, with this host's where none is in it, or that of the settings.
    pub(super) fn node(&self, line: &Parsed) -> String {
        match line.text("node") {
            Some(given) if given.contains('@') => given.to_owned(),
            Some(given) => format!("{given}@{}", host(&self.node)),
            None => self.node.clone(),
        }
    }

    /// A client of the broker; whether there is one shows when it is used.
    pub(super) fn connect(&self, line: &Parsed, command: &Command) -> Result<Api, Failure> {
        let timeout = match line.number("timeout").filter(|_| !command.entrusted) {
            Some(seconds) => u64::try_from(seconds).ok().filter(|seconds| *seconds > 0),
            None => command.patience,
        }
        .map(Duration::from_secs);
        let endpoint = match line.text("url") {
            Some(url) => remote(url, timeout)?,
            None => Endpoint {
                address: Address::Socket(
                    self.data_dir.clone().map_err(|why| Failure::plain(CONFIG, why))?.join(CONTROL_SOCKET),
                ),
                prefix: String::new(),
                login: None,
                timeout,
            },
        };
        let client = Client::new(endpoint).map_err(|error| Failure::error(UNAVAILABLE, error.to_string()))?;
        Ok(Api { client })
    }

    /// Fails if the command names a node that this broker is not.
    pub(super) fn check(api: &Api, line: &Parsed, command: &Command, node: &str) -> Result<(), Failure> {
        if line.text("node").is_none() || line.text("url").is_some() {
            return Ok(());
        }
        let overview = api.get(&path(&["overview"])).map_err(|error| error.failure(command.name, node))?;
        match overview["node"].as_str() {
            Some(own) if !is_same(own, node) => {
                let why = format!("the broker of this data directory is node {own}");
                Err(ApiError::Broken(Broken::Unreachable(why)).failure(command.name, node))
            }
            _ => Ok(()),
        }
    }
}

/// Tries a login on a management listener, for brokers whose API has no word for it.
pub(super) fn log_in(call: &Call<'_>, user: &str, password: &str) -> Result<Value, ApiError> {
    let api = call.api().map_err(|failure| ApiError::Broken(Broken::Unreachable(failure.text)))?;
    let mut endpoint = api.client.endpoint.clone();
    if matches!(endpoint.address, Address::Socket(_)) {
        endpoint.address = listener(&api.get(&path(&["overview"]))?).ok_or_else(|| {
            ApiError::Broken(Broken::Unreachable("there is no management listener to log in on".to_owned()))
        })?;
    }
    endpoint.login = Some((user.to_owned(), Secret::new(password)));
    let client = Client::new(endpoint).map_err(|error| ApiError::Broken(Broken::Unreachable(error.to_string())))?;
    match (Api { client }).get(&path(&["whoami"])) {
        // Let in, and not allowed to look: the password was right.
        Err(ApiError::Refused { status: 401, reason, .. }) if reason == "Not management user" => Ok(Value::Null),
        answer => answer,
    }
}
/// A management listener without TLS that this machine reaches.
fn listener(overview: &Value) -> Option<Address> {
    let listeners = overview["listeners"].as_array()?;
    let listener = listeners.iter().find(|listener| listener["protocol"] == "http")?;
    let port = listener["port"].as_u64().and_then(|port| u16::try_from(port).ok())?;
    let host = match listener["ip_address"].as_str()? {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        address => address,
    };
    Some(Address::Tcp { host: host.to_owned(), port, tls: None })
}

/// The host in a node's name.
fn host(node: &str) -> &str {
    node.split_once('@').map_or(node, |(_, host)| host)
}

/// Whether two names mean one node: hosts may be written with or without their domain.
fn is_same(one: &str, other: &str) -> bool {
    let parts = |name: &str| {
        let (head, host) = name.split_once('@').unwrap_or((name, ""));
        (head.to_owned(), host.split('.').next().unwrap_or_default().to_ascii_lowercase())
    };
    parts(one) == parts(other)
}

/// The management API at an address such as `http://user:password@host:15672`.
fn remote(url: &str, timeout: Option<Duration>) -> Result<Endpoint, Failure> {
    let wrong = |why: String| Failure::error(DATA, format!("--url: {why}"));
    let url = url::Url::parse(url).map_err(|error| wrong(error.to_string()))?;
    let tls = match url.scheme() {
        "http" => None,
        "https" => Some(Tls::new(&TlsFiles::default()).map_err(wrong)?),
        other => return Err(wrong(format!("{other} is neither http nor https"))),
    };
    let host = url.host_str().ok_or_else(|| wrong("there is no host in it".to_owned()))?;
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let login = match (url.username(), url.password()) {
        ("", None) => ("guest".to_owned(), Secret::new("guest")),
        (user, password) => (decode(user), Secret::new(decode(password.unwrap_or_default()))),
    };
    Ok(Endpoint {
        address: Address::Tcp {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port_or_known_default().filter(|_| url.port().is_some()).unwrap_or(MANAGEMENT_PORT),
            tls,
        },
        prefix: url.path().trim_end_matches('/').to_owned(),
        login: Some(login),
        timeout,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_the_same_with_or_without_their_domain() {
        assert!(is_same("rabbit@host", "rabbit@HOST.example.org"));
        assert!(!is_same("rabbit@host", "hare@host") && !is_same("rabbit@host", "rabbit@other"));
    }

    #[test]
    fn urls_name_user_password_host_port_and_prefix() {
        let endpoint = remote("http://a%40b:p%3Aw@[::1]:8080/mq/", None).unwrap();
        let Address::Tcp { host, port, tls } = endpoint.address else { panic!("not TCP") };
        assert_eq!((host.as_str(), port, tls.is_none(), endpoint.prefix.as_str()), ("::1", 8080, true, "/mq"));
        let (user, password) = endpoint.login.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("a@b", "p:w"));
        assert!(remote("ftp://host", None).is_err() && remote("host", None).is_err());
    }
}
