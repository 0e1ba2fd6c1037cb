//! The file of `rabbitmqadmin`: sections named after brokers, each with keys and values.
//!
//! One reader for both of its dialects: the INI of the first grammar and the TOML of the second, of which only quoted
//! texts, numbers and truths are used.

use std::collections::BTreeMap;
use std::path::Path;

/// Keys and values of one section.
pub(super) type Section = BTreeMap<String, String>;

/// Reads a section; `None` if the file has none of that name.
pub(super) fn read(file: &Path, section: &str) -> std::io::Result<Option<Section>> {
    Ok(find(&std::fs::read_to_string(file)?, section))
}

fn find(text: &str, wanted: &str) -> Option<Section> {
    let mut found = None;
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = name.trim().trim_matches('"') == wanted;
            if inside {
                found.get_or_insert_with(Section::new);
            }
            continue;
        }
        if let (true, Some((key, given)), Some(section)) = (inside, line.split_once(['=', ':']), &mut found) {
            section.insert(key.trim().to_ascii_lowercase(), value(given.trim()));
        }
    }
    found
}

/// A value without its quotes, or without the remark behind it.
fn value(given: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(rest) = given.strip_prefix(quote) {
            return rest.split(quote).next().unwrap_or_default().to_owned();
        }
    }
    given.split(" #").next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects_are_read() {
        let text = "# a remark\n[host_normal]\nhostname = localhost\nport = 15672\npassword = a#b=c\n\
                    declare_vhost = / # for declarations\n\n[other]\nhostname = \"q\" # x\ntls = true\n";
        let normal = find(text, "host_normal").unwrap();
        let get = |section: &Section, key: &str| section.get(key).cloned().unwrap_or_default();
        assert_eq!(get(&normal, "hostname"), "localhost");
        assert_eq!(get(&normal, "password"), "a#b=c");
        assert_eq!(get(&normal, "declare_vhost"), "/");
        let other = find(text, "other").unwrap();
        assert_eq!((get(&other, "hostname").as_str(), get(&other, "tls").as_str()), ("q", "true"));
        assert_eq!(find(text, "missing"), None);
    }
}
