//! Which broker `rabbitmqadmin` talks to, and as whom.
//!
//! Precedence: the command line, then the variables of the second grammar, then the file, then the defaults.

use std::path::PathBuf;
use std::time::Duration;

use super::config::{self, Section};
use crate::config::{MANAGEMENT_PORT, Secret};
use crate::ctl::api::Api;
use crate::ctl::http::{Address, Client, Endpoint, Tls, TlsFiles};

/// RabbitMQ's port of the management API under TLS.
const TLS_PORT: u16 = 15671;

/// The file read unless another is named, in the home directory.
const FILE: &str = ".rabbitmqadmin.conf";

/// What the command line says; the rest is looked for elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    pub file: Option<String>,
    pub node: Option<String>,
    pub host: Option<String>,
    pub port: Option<String>,
    pub prefix: Option<String>,
    pub vhost: Option<String>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub base_uri: Option<String>,
    pub tls: bool,
    pub files: TlsFiles,
    pub timeout: Option<u64>,
}

/// The settings in force.
#[derive(Debug)]
pub(super) struct Settings {
    /// The broker.
    pub api: Api,
    /// Its address, for messages.
    pub place: String,
    /// Its host alone.
    pub host: String,
    /// The virtual host named, if any is.
    pub vhost: Option<String>,
    /// The virtual host of declarations that name none.
    pub declare_vhost: String,
    /// Whatever else the file says.
    pub file: Section,
}

/// The section of the file that applies.
fn section(given: &Given, variable: &dyn Fn(&str) -> Option<String>) -> Result<Section, String> {
    let named = given.file.clone().or_else(|| variable("RABBITMQADMIN_CONFIG_FILE_PATH"));
    let node = given.node.clone().or_else(|| variable("RABBITMQADMIN_NODE_ALIAS"));
    let section = node.clone().unwrap_or_else(|| "default".to_owned());
    let home = variable("HOME").unwrap_or_default();
    let path = match &named {
        Some(file) => PathBuf::from(match file.strip_prefix("~/") {
            Some(rest) => format!("{home}/{rest}"),
            None => file.clone(),
        }),
        None => PathBuf::from(home).join(FILE),
    };
    match config::read(&path, &section) {
        Ok(Some(found)) => Ok(found),
        // A section that nobody asked for need not be there.
        Ok(None) if node.is_none() => Ok(Section::new()),
        Ok(None) => Err(format!("Could not read section '{section}' in config file '{}'", path.display())),
        Err(_) if named.is_none() => Ok(Section::new()),
        Err(error) => Err(format!("Could not read config file '{}': {error}", path.display())),
    }
}

/// Puts the settings together; `variable` reads the environment.
pub(super) fn settle(given: &Given, variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings, String> {
    let file = section(given, variable)?;
    let pick = |own: &Option<String>, name: &str, keys: &[&str]| {
        own.clone()
            .or_else(|| variable(&format!("RABBITMQADMIN_{name}")))
            .or_else(|| keys.iter().find_map(|key| file.get(*key).cloned()))
    };
    let truth = |key: &str| file.get(key).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let mut tls = given.tls
        || variable("RABBITMQADMIN_USE_TLS").is_some_and(|text| text != "false")
        || truth("ssl")
        || truth("tls");
    let mut host = pick(&given.host, "TARGET_HOST", &["hostname"]).unwrap_or_else(|| "localhost".to_owned());
    let mut port = pick(&given.port, "TARGET_PORT", &["port"]);
    let mut user = pick(&given.user, "USERNAME", &["username"]);
    let password = given.password.as_ref().map(|secret| secret.expose().to_owned());
    let mut password = pick(&password, "PASSWORD", &["password"]);
    if let Some(uri) = pick(&given.base_uri, "BASE_URI", &["base_uri"]) {
        let url = url::Url::parse(&uri).map_err(|error| format!("Invalid base URI '{uri}': {error}"))?;
        tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(format!("Invalid base URI '{uri}': unsupported URI scheme")),
        };
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        url.host_str().unwrap_or("localhost").trim_matches(['[', ']']).clone_into(&mut host);
        port = url.port().map(|port| port.to_string()).or(port);
        if !url.username().is_empty() {
            user = Some(decode(url.username()));
        }
        password = url.password().map(decode).or(password);
    }
    let port = match port {
        None => {
            if tls {
                TLS_PORT
            } else {
                MANAGEMENT_PORT
            }
        }
        Some(text) => text.parse().map_err(|_| format!("'{text}' is not a port"))?,
    };
    let path = |own: &Option<PathBuf>, keys: &[&str]| {
        own.clone().or_else(|| keys.iter().find_map(|key| file.get(*key)).map(PathBuf::from))
    };
    let files = TlsFiles {
        ca: path(&given.files.ca, &["ssl_ca_cert_file", "ca_certificate_bundle_path"]),
        certificate: path(&given.files.certificate, &["ssl_cert_file", "client_certificate_file_path"]),
        key: path(&given.files.key, &["ssl_key_file", "client_private_key_file_path"]),
        insecure: given.files.insecure || truth("ssl_insecure"),
        any_host: given.files.any_host || truth("ssl_disable_hostname_verification"),
    };
    let prefix = pick(&given.prefix, "API_PATH_PREFIX", &["path_prefix"]).unwrap_or_default();
    // The second grammar counts `/api` to the prefix, the first does not.
    let prefix = prefix.trim_end_matches('/').trim_end_matches("/api").trim_end_matches('/').to_owned();
    let login =
        (user.unwrap_or_else(|| "guest".to_owned()), Secret::new(password.unwrap_or_else(|| "guest".to_owned())));
    let scheme = if tls { "https" } else { "http" };
    let place = format!("{scheme}://{host}:{port}{prefix}");
    let tls = if tls { Some(Tls::new(&files)?) } else { None };
    let endpoint = Endpoint {
        address: Address::Tcp { host: host.clone(), port, tls },
        prefix,
        login: Some(login),
        timeout: given.timeout.map(Duration::from_secs),
    };
    let vhost = pick(&given.vhost, "TARGET_VHOST", &["vhost", "virtual_host"]);
    let declare_vhost = vhost.clone().or_else(|| file.get("declare_vhost").cloned()).unwrap_or_else(|| "/".to_owned());
    let client = Client::new(endpoint).map_err(|error| error.to_string())?;
    Ok(Settings { api: Api { client }, place, host, vhost, declare_vhost, file })
}

/// The environment of this process; an empty variable counts as unset.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_given_goes_before_the_environment_and_that_before_the_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(
            file,
            "[default]\nhostname = filed\nport = 1\nusername = one\nvhost = shop\n[b]\nhostname = \"other\""
        )
        .unwrap();
        let name = file.path().to_str().unwrap().to_owned();
        let given = Given { file: Some(name.clone()), port: Some("3".to_owned()), ..Given::default() };
        let variable = |name: &str| {
            (name == "RABBITMQADMIN_TARGET_PORT" || name == "RABBITMQADMIN_USERNAME").then(|| "2".to_owned())
        };
        let settings = settle(&given, &variable).unwrap();
        assert_eq!((settings.place.as_str(), settings.vhost.as_deref()), ("http://filed:3", Some("shop")));
        let (user, password) = settings.api.client.endpoint.login.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("2", "guest"));
        let given = Given { file: Some(name.clone()), node: Some("b".to_owned()), ..Given::default() };
        assert_eq!(settle(&given, &|_| None).unwrap().place, "http://other:15672");
        let given = Given { file: Some(name), node: Some("c".to_owned()), ..Given::default() };
        assert!(settle(&given, &|_| None).unwrap_err().contains("section 'c'"));
    }

    #[test]
    fn a_base_uri_says_it_all() {
        let given = Given { base_uri: Some("http://u:p%20w@h:99/x".to_owned()), ..Given::default() };
        let settings = settle(&given, &|_| None).unwrap();
        assert_eq!(settings.place, "http://h:99");
        let (user, password) = settings.api.client.endpoint.login.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("u", "p w"));
        let given = Given { base_uri: Some("ftp://h".to_owned()), ..Given::default() };
        assert!(settle(&given, &|_| None).is_err());
    }
}
