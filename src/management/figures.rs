//! Figures in answers: counts with their rates, and with samples where a range is asked for.
//!
//! As in RabbitMQ a figure `x` comes with `x_details`, which holds the rate of the last five seconds and, for a range
//! (`msg_rates_age` and `msg_rates_incr`, likewise for lengths and data rates), samples with their averages. Deliberately
//! absent: where the figures come from.

use serde_json::{Map, Value, json};

use super::answer::ApiError;
use super::query::Query;
use crate::clock::Millis;
use crate::stats::Trend;

/// Most samples of one figure.
const POINTS_MAX: i64 = 500;

/// A range of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// How far it goes back, in milliseconds.
    age: Millis,
    /// Time between two samples, in milliseconds.
    step: Millis,
}

/// The ranges that a query asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    /// Of the lengths of queues.
    pub(super) lengths: Option<Range>,
    /// Of what happens to messages.
    pub(super) rates: Option<Range>,
    /// Of octets.
    pub(super) data: Option<Range>,
}

impl Ranges {
    /// Reads `lengths_age`, `lengths_incr` and the like.
    pub(super) fn of(query: &Query) -> Result<Self, ApiError> {
        Ok(Self {
            lengths: range(query, "lengths")?,
            rates: range(query, "msg_rates")?,
            data: range(query, "data_rates")?,
        })
    }

    /// Whether more than the last rates is asked for.
    pub(super) fn deep(&self) -> bool {
        *self != Self::default()
    }
}

fn range(query: &Query, prefix: &str) -> Result<Option<Range>, ApiError> {
    let number = |suffix| query.number(&format!("{prefix}_{suffix}"));
    // What is no number asks for no range.
    let (Ok(Some(age)), Ok(Some(step))) = (number("age"), number("incr")) else { return Ok(None) };
    let millis = |seconds: i64| u64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1_000));
    match (millis(age), millis(step)) {
        (Some(age_millis), Some(step))
            if age > 0 && step > 0 && age.checked_div(step_seconds(step)) <= Some(POINTS_MAX) =>
        {
            Ok(Some(Range { age: age_millis, step }))
        }
        _ => Err(ApiError::bad_request(format!("Invalid range parameters: age {age}, incr {step}"))),
    }
}

fn step_seconds(step: Millis) -> i64 {
    i64::try_from(step / 1_000).unwrap_or(i64::MAX)
}

/// The rate of a figure, and its samples over a range.
#[allow(clippy::cast_precision_loss, clippy::arithmetic_side_effects)] // averages need no more; of bounded lists
pub(super) fn details(trend: &Trend, place: usize, range: Option<Range>) -> Value {
    let rate = trend.rate(place);
    let Some(Range { age, step }) = range else { return json!({"rate": rate}) };
    let points = trend.points(place, age, step, usize::try_from(POINTS_MAX).unwrap_or(500) + 1);
    let sum: f64 = points.iter().map(|(_, value)| *value as f64).sum();
    let (last, first) = (points.first().map_or(0, |p| p.1), points.last().map_or(0, |p| p.1));
    let samples: Vec<Value> = points.iter().map(|(at, value)| json!({"sample": value, "timestamp": at})).collect();
    json!({
        "rate": rate,
        "samples": samples,
        "avg": sum / points.len().max(1) as f64,
        "avg_rate": (last as f64 - first as f64) / (age as f64 / 1_000.0),
    })
}

/// Adds a figure and its details.
pub(super) fn put(map: &mut Map<String, Value>, name: &str, value: u64, details: Value) {
    map.insert(name.to_owned(), value.into());
    map.insert(format!("{name}_details"), details);
}

/// Several figures with their details: a name and a value each, and where the history has it.
pub(super) fn all<'a>(
    figures: impl Iterator<Item = (&'a str, u64, usize)>,
    trend: &Trend,
    range: Option<Range>,
) -> Map<String, Value> {
    let mut map = Map::new();
    for (name, value, place) in figures {
        put(&mut map, name, value, details(trend, place, range));
    }
    map
}

/// A moment as RabbitMQ writes it: RFC 3339 with milliseconds, in UTC.
#[allow(clippy::arithmetic_side_effects)] // of a moment within the next ten thousand years
pub(super) fn moment(at: Millis) -> String {
    let at = at.min(253_402_300_799_999);
    let (days, rest) = (i64::try_from(at / 86_400_000).unwrap_or(0), at % 86_400_000);
    // The civil calendar, counted from the first of March of year 0 in eras of 400 years.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, millis) = (rest / 1_000, rest % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::History;

    #[test]
    fn moments_are_written_as_rabbitmq_writes_them() {
        assert_eq!(moment(0), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(moment(1_795_306_122_725), "2026-11-22T00:08:42.725+00:00");
        assert_eq!(moment(951_782_400_001), "2000-02-29T00:00:00.001+00:00");
        assert_eq!(moment(u64::MAX), "9999-12-31T23:59:59.999+00:00");
    }

    #[test]
    fn ranges_are_read_and_bounded() {
        let ranges = |text: &str| Ranges::of(&Query::parse(text));
        assert_eq!(ranges("page=1"), Ok(Ranges::default()));
        let rates = ranges("msg_rates_age=60&msg_rates_incr=5").unwrap();
        assert_eq!(rates.rates, Some(Range { age: 60_000, step: 5_000 }));
        assert!(rates.deep() && rates.lengths.is_none());
        assert_eq!(ranges("lengths_age=x&lengths_incr=5"), Ok(Ranges::default()));
        for bad in
            ["lengths_age=0&lengths_incr=5", "data_rates_age=60&data_rates_incr=-1", "lengths_age=5010&lengths_incr=10"]
        {
            assert!(ranges(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_shows_samples_and_averages() {
        let history = History::default();
        for (at, value) in [(55_000, 5), (60_000, 35)] {
            history.sample(at, 100, || [value].into());
        }
        let trend = history.trend(60_000, true);
        assert_eq!(details(&trend, 0, None), json!({"rate": 6.0}));
        let shown = details(&trend, 0, Some(Range { age: 20_000, step: 5_000 }));
        assert_eq!(shown["samples"].as_array().unwrap().len(), 5);
        assert_eq!(shown["samples"][0], json!({"sample": 35, "timestamp": 60_000}));
        assert_eq!((shown["avg"].as_f64(), shown["avg_rate"].as_f64()), (Some(8.0), Some(1.75)));
    }
}
