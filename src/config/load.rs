//! Reads flags, environment and files into one [`Config`].
//!
//! Precedence: flags, then `LEVERET_*`, then `RABBITMQ_*`, then files, then defaults. Invariant: one run reports every
//! problem of every origin. Deliberately absent: where files are looked for, see [`super::places`]; printing and exiting,
//! which `main` does (exit status 64).

use super::keys::{self, Key, Set};
use super::places::{self, Places};
use super::rabbitmq::{self, Notes};
use super::{Args, Config, Environment, Origin, Problem, users};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Settings from the command line, this process's environment and the files they name.
pub fn load(args: &Args) -> Result<Config, Vec<Problem>> {
    load_from(args, &Environment::of_process())
}

/// [`load`] with an environment of the caller's choice.
pub fn load_from(args: &Args, env: &Environment) -> Result<Config, Vec<Problem>> {
    load_noted(args, env, &[]).map(|(config, _)| config)
}

/// [`load_from`], with what has no effect. With `files`, those are read instead of all others, in this order.
pub fn load_noted(args: &Args, env: &Environment, files: &[PathBuf]) -> Result<(Config, Notes), Vec<Problem>> {
    let mut loader = Loader { config: Config::default(), problems: Vec::new(), notes: Notes::default() };
    let (env, places) = places::find(args, env, files);
    loader.files(places, &env);
    loader.environment(&env);
    loader.flags(args);
    loader.finish(&env);
    if loader.problems.is_empty() { Ok((loader.config, loader.notes)) } else { Err(loader.problems) }
}

/// Variables that begin like ours and are no settings: the path of the file, the binary under test, the commit measured.
const NOT_KEYS: [&str; 3] = ["LEVERET_CONFIG", "LEVERET_BIN", "LEVERET_PERF_COMMIT"];

/// The short form of `LEVERET_LOG__LEVEL`, after the custom of tracing programs.
const LOG: &str = "LEVERET_LOG";

struct Loader {
    config: Config,
    problems: Vec<Problem>,
    notes: Notes,
}

impl Loader {
    fn files(&mut self, places: Places, env: &Environment) {
        for path in &places.toml {
            self.file(path);
        }
        let config = std::mem::take(&mut self.config);
        let (config, notes, problems) = rabbitmq::read(config, places.rabbitmq, env);
        self.config = config;
        self.notes.remarks = places.remarks;
        self.notes.files = places.toml.into_iter().chain(notes.files).collect();
        self.notes.ignored = notes.ignored;
        self.notes.remarks.extend(notes.remarks);
        self.problems.extend(problems);
    }

    fn file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let accepts = "a readable TOML file in UTF-8";
                return self.report(Origin::File(path.to_owned(), 1), "", format!("cannot be read: {error}"), accepts);
            }
        };
        let at = |offset: usize| Origin::File(path.to_owned(), line(&text, offset));
        let (document, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            self.report(at(offset), "", format!("TOML: {}", error.message().replace('\n', ", ")), "");
        }
        for (name, value) in document.get_ref() {
            match value.get_ref() {
                DeValue::Table(section) if keys::is_section(name.get_ref()) => {
                    for (key, value) in section {
                        let name = format!("{}.{}", name.get_ref(), key.get_ref());
                        match value.get_ref() {
                            DeValue::Table(inner) if keys::is_section(&name) => {
                                for (key, value) in inner {
                                    let name = format!("{name}.{}", key.get_ref());
                                    self.entry(&name, key.span().start, value.get_ref(), &value.span(), &at);
                                }
                            }
                            _ => self.entry(&name, key.span().start, value.get_ref(), &value.span(), &at),
                        }
                    }
                }
                _ => self.entry(name.get_ref(), name.span().start, value.get_ref(), &value.span(), &at),
            }
        }
        // Tables do not keep the order of the file.
        self.problems.sort_by_key(|problem| match problem.origin {
            Origin::File(_, line) => line,
            Origin::Variable(_) | Origin::Flag(_) | Origin::Whole => 0,
        });
    }

    fn entry(
        &mut self,
        name: &str,
        named_at: usize,
        value: &DeValue<'_>,
        span: &std::ops::Range<usize>,
        at: &dyn Fn(usize) -> Origin,
    ) {
        let Some(key) = keys::find(name) else {
            let wrong = if keys::is_section(name) { "is not a section" } else { "unknown key" };
            return self.report(at(named_at), name, wrong.to_owned(), &nearby(name));
        };
        self.value(key, value, span, at);
    }

    /// Hands a TOML value to its setter.
    fn value(&mut self, key: &Key, value: &DeValue<'_>, span: &std::ops::Range<usize>, at: &dyn Fn(usize) -> Origin) {
        let result = match (key.set, value) {
            (Set::Text(set) | Set::Number(set), DeValue::String(text)) => set(&mut self.config, text),
            (Set::Text(set) | Set::Number(set), DeValue::Integer(number)) => {
                let digits = i128::from_str_radix(number.as_str(), number.radix());
                digits.map_or(Err("the number is too large".to_owned()), |n| set(&mut self.config, &n.to_string()))
            }
            (Set::Choice(set), DeValue::Boolean(choice)) => set(&mut self.config, &choice.to_string()),
            (Set::Number(set), DeValue::Float(number)) => set(&mut self.config, number.as_str()),
            (Set::List(set), DeValue::Array(list)) => {
                let texts: Option<Vec<String>> = list
                    .iter()
                    .map(|item| if let DeValue::String(text) = item.get_ref() { Some(text.to_string()) } else { None })
                    .collect();
                texts.map_or(Err("is not a list of strings".to_owned()), |texts| set(&mut self.config, &texts))
            }
            (Set::Tables(set), DeValue::Array(list)) => match set(&mut self.config, list) {
                Ok(()) => Ok(()),
                Err(wrongs) => return self.report_all(key, wrongs, at),
            },
            (Set::Users(set), DeValue::Array(list)) => match users::read(list, span) {
                Ok(users) => {
                    set(&mut self.config, users);
                    Ok(())
                }
                Err(wrongs) => return self.report_all(key, wrongs, at),
            },
            (_, other) => Err(format!("is a TOML {}", other.type_str())),
        };
        if let Err(wrong) = result {
            self.report(at(span.start), key.name, wrong, key.accepts);
        }
    }

    fn report_all(&mut self, key: &Key, wrongs: Vec<users::Wrong>, at: &dyn Fn(usize) -> Origin) {
        for wrong in wrongs {
            self.report(at(wrong.at.start), key.name, wrong.what, key.accepts);
        }
    }

    fn environment(&mut self, env: &Environment) {
        for key in keys::all() {
            let own = key.env();
            // The long form comes second in the search and first in rank.
            let short = (key.name == "log.level").then_some(LOG);
            let Some((name, value)) =
                [Some(own.as_str()), short].into_iter().flatten().find_map(|name| Some((name, env.get(name)?)))
            else {
                continue;
            };
            let origin = Origin::Variable(name.to_owned());
            match (key.name, value.to_str()) {
                // A path need not be UTF-8.
                ("data_dir", None) => self.config.data_dir = value.into(),
                (_, None) => self.report(origin, key.name, "is not UTF-8".to_owned(), key.accepts),
                (_, Some(text)) => self.variable(key, text, origin),
            }
        }
        for name in env.names() {
            if name.starts_with("LEVERET_") && !is_known(&name) {
                let accepts = nearby(&name["LEVERET_".len()..].to_ascii_lowercase().replace("__", "."));
                self.report(Origin::Variable(name.clone()), "", "unknown key".to_owned(), &accepts);
            }
        }
    }

    fn variable(&mut self, key: &Key, text: &str, origin: Origin) {
        let result = match key.set {
            Set::Users(_) | Set::Tables(_) => match DeValue::parse(text) {
                Ok(value) => return self.value(key, value.get_ref(), &value.span(), &|_| origin.clone()),
                Err(_) => Err("is not a TOML list of tables".to_owned()),
            },
            _ => key.assign(&mut self.config, text),
        };
        if let Err(wrong) = result {
            self.report(origin, key.name, wrong, key.accepts);
        }
    }

    fn flags(&mut self, args: &Args) {
        if let Some(dir) = &args.data_dir {
            self.config.data_dir.clone_from(dir);
        }
        self.config.compact_at_start |= args.compact;
        if let Some(format) = args.log_format {
            self.config.log_format = format;
        }
        self.addresses("listen", "--listen", &args.listen);
        self.addresses("management.listen", "--http-listen", &args.http_listen);
        self.addresses("metrics.listen", "--metrics-listen", &args.metrics_listen);
    }

    fn addresses(&mut self, key: &str, flag: &'static str, given: &[String]) {
        if let (false, Some(key)) = (given.is_empty(), keys::find(key))
            && let Set::List(set) = key.set
            && let Err(wrong) = set(&mut self.config, given)
        {
            self.report(Origin::Flag(flag), "", wrong, key.accepts);
        }
    }

    /// What depends on several keys.
    fn finish(&mut self, env: &Environment) {
        self.place_data(env);
        if self.config.cluster_name.is_empty() {
            self.config.cluster_name.clone_from(&self.config.node_name);
        }
        // As with RabbitMQ: whoever brings definitions brings users.
        if self.config.load_definitions.is_some() && users::are_the_default(&self.config.users) {
            self.config.users.clear();
        }
        if self.config.listen.is_empty() && self.config.tls.listen.is_empty() && self.config.unix_socket.is_none() {
            let wrong = "nothing to listen on: clients could not connect".to_owned();
            self.report(Origin::Flag("--listen"), "listen", wrong, "an address here, in tls.listen, or a unix_socket");
        }
        let mut lacks = self.config.tls.lacks();
        for (tls, key) in
            [(&self.config.management_tls, "management.tls.listen"), (&self.config.metrics_tls, "metrics.tls.listen")]
        {
            let whole = tls.for_web(&self.config.tls);
            if !tls.listen.is_empty() && (whole.certificate.is_none() || whole.key.is_none()) {
                lacks.push((key, "needs a certificate and its key: neither it nor [tls] names both"));
            }
        }
        for (key, wrong) in lacks {
            let accepts = keys::find(key).map_or("", |key| key.accepts);
            self.report(Origin::Whole, key, wrong.to_owned(), accepts);
        }
    }

    /// Chooses the data directory if none was given, after the XDG base directory specification: a relative
    /// `XDG_STATE_HOME` is ignored.
    fn place_data(&mut self, env: &Environment) {
        if !self.config.data_dir.as_os_str().is_empty() {
            return;
        }
        let absolute = |name| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        if let Some(state) = state {
            self.config.data_dir = state.join("leveret");
        } else {
            let wrong = "neither XDG_STATE_HOME nor HOME says where data may be kept".to_owned();
            self.report(Origin::Flag("--data-dir"), "data_dir", wrong, "a directory: --data-dir DIR");
        }
    }

    fn report(&mut self, origin: Origin, key: &str, wrong: String, accepts: &str) {
        self.problems.push(Problem { origin, key: key.to_owned(), wrong, accepts: accepts.to_owned() });
    }
}

/// Whether a variable is a setting of ours, or one that an environment sets without asking: in Kubernetes a service
/// named `leveret` puts `LEVERET_PORT_*` and `LEVERET_SERVICE_*` into every container.
fn is_known(name: &str) -> bool {
    name == LOG
        || NOT_KEYS.contains(&name)
        || name == "LEVERET_PORT"
        || name.starts_with("LEVERET_PORT_")
        || name.starts_with("LEVERET_SERVICE_")
        || keys::all().any(|key| key.env() == name)
}

/// Keys a mistyped one may have meant: those in the same section, or with the same last part.
fn nearby(name: &str) -> String {
    let (section, last) = name.rsplit_once('.').unwrap_or(("", name));
    let same = |known: &&str| known.rsplit('.').next() == Some(last);
    let mut names: Vec<_> = keys::all().map(|key| key.name).filter(same).collect();
    if names.is_empty() {
        let inside = |known: &str| known.rsplit_once('.').map_or("", |(section, _)| section) == section;
        names = keys::all().map(|key| key.name).filter(|known| inside(known)).collect();
    }
    names.join(", ")
}

/// The line, counted from 1, that holds the octet at `offset`.
fn line(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count().saturating_add(1)
}
