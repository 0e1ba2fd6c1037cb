//! Keys about users and what they may do.

use super::super::patterns::pattern;
use super::super::users::GUEST;
use super::super::{Config, PermissionEntry, Secret, UserEntry};
use super::draft::Draft;
use super::table::{Row, part};
use super::values::flag;
use std::collections::BTreeMap;

/// What was said about users.
#[derive(Debug, Default)]
pub(super) struct Access {
    /// Name of the default user.
    pub user: Option<String>,
    /// Its password.
    pub pass: Option<Secret>,
    /// Its tags, and whether it has them.
    pub tags: BTreeMap<String, bool>,
    /// What it may configure, write and read.
    pub may: May,
    /// Users with their own rules for virtual hosts, by name.
    pub others: BTreeMap<String, Other>,
    /// Users that may log in from this machine only, or may not be held to that.
    pub loopback: BTreeMap<String, bool>,
    /// Nobody is held to this machine.
    pub loopback_none: bool,
    /// Login mechanisms by name.
    pub mechanisms: BTreeMap<String, String>,
    /// `anonymous_login_user` or its password is `none`.
    pub no_anonymous: bool,
    /// `anonymous_login_user`.
    pub anonymous_user: Option<String>,
    /// `anonymous_login_pass`.
    pub anonymous_password: Option<Secret>,
}

/// Regular expressions.
#[derive(Clone, Debug, Default)]
pub(super) struct May {
    configure: Option<String>,
    write: Option<String>,
    read: Option<String>,
}

/// One of `default_users`.
#[derive(Debug, Default)]
pub(super) struct Other {
    vhosts: Option<String>,
    password: Option<Secret>,
    tags: Vec<String>,
    may: May,
}

const EVERYTHING: &str = ".*";

impl May {
    fn is_said(&self) -> bool {
        self.configure.is_some() || self.write.is_some() || self.read.is_some()
    }

    fn entry(self, user: &str, vhosts: String, otherwise: &str) -> PermissionEntry {
        let or = |said: Option<String>| said.unwrap_or_else(|| otherwise.to_owned());
        PermissionEntry {
            user: user.to_owned(),
            vhosts,
            configure: or(self.configure),
            write: or(self.write),
            read: or(self.read),
        }
    }
}

impl Access {
    /// Puts everything together. Answers with what is wrong, if anything.
    pub(super) fn finish(self, config: &mut Config) -> Result<(), (&'static str, String)> {
        let says_loopback = self.loopback_none || !self.loopback.is_empty();
        let held = |name: &str| match self.loopback.get(name) {
            _ if self.loopback_none => false,
            Some(held) => *held,
            // Whoever names others has not named guest.
            None => name == GUEST && self.loopback.is_empty(),
        };
        if self.user.is_some() || self.pass.is_some() || !self.tags.is_empty() || self.may.is_said() {
            let name = self.user.unwrap_or_else(|| GUEST.to_owned());
            let tags = if self.tags.is_empty() {
                vec!["administrator".to_owned()]
            } else {
                self.tags.into_iter().filter_map(|(tag, has)| has.then_some(tag)).collect()
            };
            let password = self.pass.unwrap_or_else(|| Secret::new(GUEST));
            if self.may.is_said() {
                let vhosts = format!("^{}$", regex::escape(&config.default_vhost));
                config.permissions.push(self.may.entry(&name, vhosts, EVERYTHING));
            }
            let user = UserEntry { loopback_only: held(&name), name, password, tags };
            // Who has named no users has not asked for guest.
            if config.users == Config::default().users {
                config.users.clear();
            }
            put(config, user);
        }
        for (name, other) in self.others {
            let Some(password) = other.password else {
                return Err(("default_users", format!("{name:?} has no password")));
            };
            config.permissions.push(other.may.entry(&name, other.vhosts.unwrap_or_else(|| EVERYTHING.to_owned()), ""));
            put(config, UserEntry { loopback_only: held(&name), name, password, tags: other.tags });
        }
        if says_loopback {
            for user in &mut config.users {
                user.loopback_only = held(&user.name);
            }
            config.loopback_users =
                self.loopback.iter().filter(|(_, held)| **held).map(|(name, _)| name.clone()).collect();
            if self.loopback_none {
                config.loopback_users.clear();
            }
        }
        if !self.mechanisms.is_empty() {
            config.mechanisms = self.mechanisms.into_values().collect();
        }
        if let Some(user) = self.anonymous_user {
            config.anonymous_user = user;
        }
        if let Some(password) = self.anonymous_password {
            config.anonymous_password = password;
        }
        if self.no_anonymous {
            if config.mechanisms.is_empty() {
                config.mechanisms = ["PLAIN", "AMQPLAIN", "EXTERNAL"].map(str::to_owned).to_vec();
            }
            config.mechanisms.retain(|mechanism| mechanism != "ANONYMOUS");
        }
        Ok(())
    }
}

fn put(config: &mut Config, user: UserEntry) {
    match config.users.iter_mut().find(|known| known.name == user.name) {
        Some(known) => *known = user,
        None => config.users.push(user),
    }
}

fn name(text: &str) -> Result<String, String> {
    const NAME_MAX: usize = 255;
    if text.is_empty() || text.len() > NAME_MAX {
        Err("is too long for a name".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn other<'a>(draft: &'a mut Draft<'_>, names: &[&str]) -> Result<&'a mut Other, String> {
    Ok(draft.access.others.entry(name(&names.concat())?).or_default())
}

/// Rows of these keys.
pub(super) const ROWS: &[Row] = &[
    part("default_user", "users", |draft, _, text| {
        draft.access.user = Some(name(text)?);
        Ok(())
    }),
    part("default_pass", "users", |draft, _, text| {
        draft.access.pass = Some(Secret::new(text));
        Ok(())
    }),
    part("default_user_tags.$tag", "users", |draft, names, text| {
        draft.access.tags.insert(names.concat(), flag(text)?);
        Ok(())
    }),
    part("default_permissions.configure", "permissions", |draft, _, text| {
        draft.access.may.configure = Some(pattern(text)?);
        Ok(())
    }),
    part("default_permissions.write", "permissions", |draft, _, text| {
        draft.access.may.write = Some(pattern(text)?);
        Ok(())
    }),
    part("default_permissions.read", "permissions", |draft, _, text| {
        draft.access.may.read = Some(pattern(text)?);
        Ok(())
    }),
    part("default_users.$name.vhost_pattern", "permissions", |draft, names, text| {
        other(draft, names)?.vhosts = Some(pattern(text)?);
        Ok(())
    }),
    part("default_users.$name.password", "users", |draft, names, text| {
        other(draft, names)?.password = Some(Secret::new(text));
        Ok(())
    }),
    part("default_users.$name.tags", "users", |draft, names, text| {
        let tags = text.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty());
        other(draft, names)?.tags = tags.collect();
        Ok(())
    }),
    part("default_users.$name.configure", "permissions", |draft, names, text| {
        other(draft, names)?.may.configure = Some(pattern(text)?);
        Ok(())
    }),
    part("default_users.$name.write", "permissions", |draft, names, text| {
        other(draft, names)?.may.write = Some(pattern(text)?);
        Ok(())
    }),
    part("default_users.$name.read", "permissions", |draft, names, text| {
        other(draft, names)?.may.read = Some(pattern(text)?);
        Ok(())
    }),
    part("loopback_users", "loopback_users", |draft, _, text| {
        if text != "none" {
            return Err(format!("{text:?} is not none; a user is loopback_users.NAME = true"));
        }
        draft.access.loopback_none = true;
        Ok(())
    }),
    part("loopback_users.$name", "loopback_users", |draft, names, text| {
        draft.access.loopback.insert(name(&names.concat())?, flag(text)?);
        Ok(())
    }),
    part("auth_mechanisms.$name", "mechanisms", |draft, names, text| {
        if !super::super::MECHANISMS.contains(&text) {
            return Err(format!("{text:?} is not {}", super::super::MECHANISMS.join(", ")));
        }
        draft.access.mechanisms.insert(names.concat(), text.to_owned());
        Ok(())
    }),
    part("anonymous_login_user", "anonymous_user", |draft, _, text| {
        match text {
            "none" => draft.access.no_anonymous = true,
            _ => draft.access.anonymous_user = Some(name(text)?),
        }
        Ok(())
    }),
    part("anonymous_login_pass", "anonymous_password", |draft, _, text| {
        match text {
            "none" => draft.access.no_anonymous = true,
            _ => draft.access.anonymous_password = Some(Secret::new(text)),
        }
        Ok(())
    }),
];
