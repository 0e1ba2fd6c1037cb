//! Prometheus' text format: families with their help and type, and samples with labels.
//!
//! Names come from this program; label values come from anybody and are escaped. Deliberately absent: what is measured.

use std::fmt::Write as _;

use crate::stats::Spread;

/// What kind of number a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Buckets, a count and a sum.
    Histogram,
    /// It stands for its labels.
    Untyped,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Untyped => "untyped",
        }
    }
}

/// A label and its value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// A page of metrics under construction.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    /// What names of this page begin with.
    prefix: &'static str,
}

impl Page {
    /// An empty page whose names begin with `prefix`.
    pub(super) fn new(prefix: &'static str) -> Self {
        Self { text: String::new(), prefix }
    }

    /// Changes what further names begin with.
    pub(super) fn begin_with(&mut self, prefix: &'static str) {
        self.prefix = prefix;
    }

    /// Begins a family.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "# TYPE {0}{name} {1}\n# HELP {0}{name} ", self.prefix, kind.as_str());
        for c in help.chars() {
            match c {
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                c => self.text.push(c),
            }
        }
        self.text.push('\n');
    }

    fn name(&mut self, name: &str, suffix: &str, labels: &[Label<'_>], more: Option<Label<'_>>) {
        self.text.push_str(self.prefix);
        self.text.push_str(name);
        self.text.push_str(suffix);
        let mut before = '{';
        for (label, value) in labels.iter().copied().chain(more) {
            self.text.push(before);
            self.text.push_str(label);
            self.text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
            before = ',';
        }
        self.text.push_str(if before == '{' { " " } else { "} " });
    }

    /// A sample with a whole number.
    pub(super) fn sample(&mut self, name: &str, labels: &[Label<'_>], value: u64) {
        self.name(name, "", labels, None);
        let _ = writeln!(self.text, "{value}");
    }

    /// A sample with any number, written with a point.
    pub(super) fn float(&mut self, name: &str, labels: &[Label<'_>], value: f64) {
        self.name(name, "", labels, None);
        let _ = writeln!(self.text, "{value:?}");
    }

    /// A family of one whole number.
    pub(super) fn one(&mut self, name: &str, kind: Kind, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The samples of a histogram of whole numbers. Their bounds are written as Prometheus 3 writes them, since dashboards
    /// select them by that text and earlier versions of Prometheus keep what they read.
    pub(super) fn histogram(&mut self, name: &str, labels: &[Label<'_>], spread: &Spread) {
        self.buckets(name, labels, spread, canonical);
        self.name(name, "_sum", labels, None);
        let _ = writeln!(self.text, "{}", spread.sum);
    }

    /// The samples of a histogram in seconds, of which the values have so many in each.
    pub(super) fn seconds(&mut self, name: &str, labels: &[Label<'_>], spread: &Spread, in_second: f64) {
        self.buckets(name, labels, spread, |bound| format!("{:?}", seconds(bound, in_second)));
        self.name(name, "_sum", labels, None);
        let _ = writeln!(self.text, "{:?}", seconds(spread.sum, in_second));
    }

    fn buckets(&mut self, name: &str, labels: &[Label<'_>], spread: &Spread, show: impl Fn(u64) -> String) {
        for (bound, count) in spread.cumulative() {
            self.name(name, "_bucket", labels, Some(("le", &show(bound))));
            let _ = writeln!(self.text, "{count}");
        }
        for (suffix, more) in [("_bucket", Some(("le", "+Inf"))), ("_count", None)] {
            self.name(name, suffix, labels, more);
            let _ = writeln!(self.text, "{}", spread.count());
        }
    }

    /// What has been written.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// A number of small units in seconds.
#[allow(clippy::cast_precision_loss)] // for people and graphs
pub(super) fn seconds(units: u64, in_second: f64) -> f64 {
    units as f64 / in_second
}

/// A bound as `OpenMetrics` has floating-point numbers: with a point, from a million on with an exponent.
fn canonical(bound: u64) -> String {
    let digits = bound.to_string();
    if digits.len() <= 6 {
        return format!("{digits}.0");
    }
    let (first, rest) = digits.split_at(1);
    let rest = rest.trim_end_matches('0');
    let point = if rest.is_empty() { "" } else { "." };
    format!("{first}{point}{rest}e+{:02}", digits.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Times;

    #[test]
    fn samples_are_written_one_a_line() {
        let mut page = Page::new("x_");
        page.one("a", Kind::Gauge, "What a\\b\nis", 5);
        page.family("b_total", Kind::Counter, "b");
        page.float("b_total", &[("protocol", "amqp091")], 137.0);
        let expected = "# TYPE x_a gauge\n# HELP x_a What a\\\\b\\nis\nx_a 5\n# TYPE x_b_total counter\n\
            # HELP x_b_total b\nx_b_total{protocol=\"amqp091\"} 137.0\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn hostile_names_stay_within_their_labels() {
        let mut page = Page::new("");
        page.sample("m", &[("vhost", "a\"} 1\nevil{x=\"\\"), ("queue", "\u{e9}\r")], 1);
        let text = page.finish();
        assert_eq!(text, "m{vhost=\"a\\\"} 1\\nevil{x=\\\"\\\\\",queue=\"\u{e9}\r\"} 1\n");
        assert_eq!(text.matches('\n').count(), 1, "one line");
    }

    #[test]
    fn histograms_are_cumulative_and_end_with_infinity() {
        let times = Times::default();
        times.observe(7, 2);
        times.observe(100_000_000, 1);
        let mut page = Page::new("");
        page.seconds("t_seconds", &[("a", "b")], &times.spread(), 1_000.0);
        let text = page.finish();
        assert!(text.starts_with("t_seconds_bucket{a=\"b\",le=\"0.001\"} 0\n"), "{text}");
        assert!(text.contains("t_seconds_bucket{a=\"b\",le=\"0.01\"} 2\n"), "{text}");
        let end = "{a=\"b\",le=\"+Inf\"} 3\nt_seconds_count{a=\"b\"} 3\nt_seconds_sum{a=\"b\"} 100000.014\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn bounds_are_written_as_dashboards_select_them() {
        let bounds = [0, 100, 100_000, 999_999, 1_000_000, 50_000_000, 125_000_000, 10_000_000_000];
        let written = ["0.0", "100.0", "100000.0", "999999.0", "1e+06", "5e+07", "1.25e+08", "1e+10"];
        assert_eq!(bounds.map(canonical), written);
    }
}
