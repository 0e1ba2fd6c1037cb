//! Keys about memory and disk, and about what new virtual hosts begin with.

use super::super::patterns::pattern;
use super::super::{Config, DiskFreeLimit, MemoryWatermark, Parts, PolicyEntry, VhostLimitEntry};
use super::draft::Draft;
use super::table::{Row, part};
use super::values::{information, millis, number, size};
use serde_json::Value;
use std::collections::BTreeMap;

/// What was said about resources.
#[derive(Debug, Default)]
pub(super) struct Resources {
    memory_relative: Option<Parts>,
    memory_absolute: Option<u64>,
    memory_total: Option<u64>,
    disk_relative: Option<Parts>,
    disk_absolute: Option<u64>,
    limits: BTreeMap<String, VhostLimitEntry>,
    operator: BTreeMap<String, PolicyEntry>,
}

impl Resources {
    /// Puts everything together. Answers with what is wrong, if anything.
    pub(super) fn finish(self, config: &mut Config) -> Result<(), (&'static str, String)> {
        match (self.memory_absolute, self.memory_relative, self.memory_total) {
            (Some(octets), ..) => config.memory_watermark = MemoryWatermark::Absolute(octets),
            (None, Some(parts), Some(total)) => config.memory_watermark = MemoryWatermark::Absolute(parts.of(total)),
            (None, Some(parts), None) => config.memory_watermark = MemoryWatermark::Relative(parts),
            (None, None, Some(total)) => {
                if let MemoryWatermark::Relative(parts) = config.memory_watermark {
                    config.memory_watermark = MemoryWatermark::Absolute(parts.of(total));
                }
            }
            (None, None, None) => {}
        }
        match (self.disk_absolute, self.disk_relative, self.memory_total) {
            (Some(octets), ..) => config.disk_free_limit = DiskFreeLimit::Absolute(octets),
            (None, Some(parts), Some(total)) => config.disk_free_limit = DiskFreeLimit::Absolute(parts.of(total)),
            (None, Some(parts), None) => config.disk_free_limit = DiskFreeLimit::OfMemory(parts),
            (None, None, _) => {}
        }
        config.vhost_limits.extend(self.limits.into_values());
        for policy in self.operator.into_values() {
            if policy.definition.is_empty() {
                return Err(("default_policies.operator", format!("{:?} sets nothing", policy.name)));
            }
            config.operator_policies.push(policy);
        }
        Ok(())
    }
}

fn fraction(text: &str, most: f64) -> Result<Option<Parts>, String> {
    let parts = text.parse().ok().filter(|fraction| *fraction <= most).and_then(Parts::new);
    parts.map(Some).ok_or_else(|| format!("{text:?} is not a fraction from 0 to {most}"))
}

/// An operator's policy of this name, which is made with the first of its keys.
fn operator<'a>(draft: &'a mut Draft<'_>, names: &[&str]) -> &'a mut PolicyEntry {
    draft.resources.operator.entry(names.concat()).or_insert_with_key(|name| PolicyEntry {
        name: name.clone(),
        vhosts: Some(".*".to_owned()),
        pattern: ".*".to_owned(),
        apply_to: "queues".to_owned(),
        ..PolicyEntry::default()
    })
}

fn define(draft: &mut Draft<'_>, names: &[&str], key: &str, value: u64) {
    operator(draft, names).definition.insert(key.to_owned(), Value::from(value));
}

fn vhost_limit<'a>(draft: &'a mut Draft<'_>, names: &[&str]) -> &'a mut VhostLimitEntry {
    draft.resources.limits.entry(names.concat()).or_insert_with_key(|name| VhostLimitEntry {
        name: name.clone(),
        vhosts: ".*".to_owned(),
        ..VhostLimitEntry::default()
    })
}

fn positive(text: &str) -> Result<Option<i64>, String> {
    let number = text.parse().ok().filter(|number| *number > 0_i64);
    number.map(Some).ok_or_else(|| format!("{text:?} is not a positive number"))
}

/// Rows of these keys.
pub(super) const ROWS: &[Row] = &[
    part("vm_memory_high_watermark.relative", "limits.vm_memory_high_watermark", |draft, _, text| {
        draft.resources.memory_relative = fraction(text, 1.0)?;
        Ok(())
    }),
    part("vm_memory_high_watermark.absolute", "limits.vm_memory_high_watermark", |draft, _, text| {
        draft.resources.memory_absolute = Some(information(text)?);
        Ok(())
    }),
    part("total_memory_available_override_value", "limits.vm_memory_high_watermark", |draft, _, text| {
        draft.resources.memory_total = Some(information(text)?);
        Ok(())
    }),
    part("disk_free_limit.relative", "limits.disk_free_limit", |draft, _, text| {
        draft.resources.disk_relative = fraction(text, Parts::MOST)?;
        Ok(())
    }),
    part("disk_free_limit.absolute", "limits.disk_free_limit", |draft, _, text| {
        draft.resources.disk_absolute = Some(information(text)?);
        Ok(())
    }),
    part("default_limits.vhosts.$id.pattern", "vhost_limits", |draft, names, text| {
        vhost_limit(draft, names).vhosts = pattern(text)?;
        Ok(())
    }),
    part("default_limits.vhosts.$id.max_connections", "vhost_limits", |draft, names, text| {
        vhost_limit(draft, names).max_connections = positive(text)?;
        Ok(())
    }),
    part("default_limits.vhosts.$id.max_queues", "vhost_limits", |draft, names, text| {
        vhost_limit(draft, names).max_queues = positive(text)?;
        Ok(())
    }),
    part("default_policies.operator.$id.vhost_pattern", "operator_policies", |draft, names, text| {
        operator(draft, names).vhosts = Some(pattern(text)?);
        Ok(())
    }),
    part("default_policies.operator.$id.queue_pattern", "operator_policies", |draft, names, text| {
        operator(draft, names).pattern = pattern(text)?;
        Ok(())
    }),
    part("default_policies.operator.$id.apply_to", "operator_policies", |draft, names, text| {
        text.clone_into(&mut operator(draft, names).apply_to);
        Ok(())
    }),
    part("default_policies.operator.$id.expires", "operator_policies", |draft, names, text| {
        define(draft, names, "expires", millis(text)?);
        Ok(())
    }),
    part("default_policies.operator.$id.message_ttl", "operator_policies", |draft, names, text| {
        define(draft, names, "message-ttl", millis(text)?);
        Ok(())
    }),
    part("default_policies.operator.$id.max_length", "operator_policies", |draft, names, text| {
        define(draft, names, "max-length", number(text)?);
        Ok(())
    }),
    part("default_policies.operator.$id.max_length_bytes", "operator_policies", |draft, names, text| {
        define(draft, names, "max-length-bytes", size(text)?);
        Ok(())
    }),
    part("default_policies.operator.$id.delivery_limit", "operator_policies", |draft, names, text| {
        define(draft, names, "delivery-limit", number(text)?);
        Ok(())
    }),
];
