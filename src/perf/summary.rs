//! A load in lines for people, and as JSON.

use std::io::Write;

use super::latency::Percentiles;
use super::load::News;
use super::meter::{Outcome, Point};
use super::process::Memory;
use crate::config::perf::Load;

/// One line about an interval, or a notice.
pub(super) fn news(news: &News<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    match news {
        News::Notice(notice) => writeln!(out, "{notice}"),
        News::Point(point) => writeln!(out, "{}", line(point)),
    }
}

fn line(point: &Point) -> String {
    let mut parts = vec![format!("{:>6.1} s", point.seconds)];
    let mut rate = |name: &str, rate: f64| parts.push(format!("{name} {}/s", whole(rate)));
    rate("published", point.published);
    if point.confirmed > 0.0 {
        rate("confirmed", point.confirmed);
    }
    rate("consumed", point.consumed);
    parts.extend(point.broker_cpu.map(|cpu| format!("broker {cpu:.2} us CPU a message")));
    parts.extend(point.broker_memory.map(|memory| format!("{} resident", mebibytes(memory.resident))));
    for (name, times) in [("end to end", &point.end_to_end), ("confirm", &point.confirm)] {
        parts
            .extend(times.map(|times| {
                format!("{name} p50 {} p99 {} max {}", time(times.p50), time(times.p99), time(times.max))
            }));
    }
    parts.join(", ")
}

/// Everything a run came to.
pub(super) fn print(load: &Load, outcome: &Outcome, out: &mut dyn Write) -> std::io::Result<()> {
    let window = &outcome.window;
    let warmup =
        if outcome.warmup >= 0.05 { format!(", after {:.1} s of warm-up", outcome.warmup) } else { String::new() };
    writeln!(out, "{}: {:.1} s measured{warmup}", outcome.broker, outcome.seconds)?;
    if load.producers > 0 {
        writeln!(out, "published  {:>12}   {:>11}/s", whole(window.published as f64), whole(outcome.published_rate))?;
    }
    if load.consumers > 0 {
        writeln!(out, "consumed   {:>12}   {:>11}/s", whole(window.consumed as f64), whole(outcome.consumed_rate))?;
    }
    if let (Some(share), true) = (outcome.consumed_share, load.consumers > 0) {
        writeln!(out, "consumed share of published: {:.1} %", share * 100.0)?;
    }
    if load.confirm.is_some() {
        writeln!(out, "confirmed  {:>12}   refused {}", whole(window.confirmed as f64), whole(window.nacked as f64))?;
    }
    if window.returned > 0 {
        writeln!(out, "returned   {:>12}", whole(window.returned as f64))?;
    }
    if let Some(cpu) = outcome.broker_cpu {
        writeln!(out, "CPU a message: broker {cpu:.3} us, this load generator {:.3} us", outcome.own_cpu)?;
    } else {
        writeln!(out, "CPU a message: this load generator {:.3} us (--pid tells the broker's)", outcome.own_cpu)?;
    }
    if let Some(Memory { resident, anonymous }) = outcome.broker_memory {
        writeln!(out, "broker's memory: {} resident, {} of it of no file", mebibytes(resident), mebibytes(anonymous))?;
    }
    for (name, times) in [("end to end", &outcome.end_to_end), ("confirm", &outcome.confirm)] {
        if let Some(times) = times {
            writeln!(out, "{}", percentiles(name, times))?;
        }
    }
    Ok(())
}

fn percentiles(name: &str, times: &Percentiles) -> String {
    let shown = [
        ("p50", times.p50),
        ("p75", times.p75),
        ("p95", times.p95),
        ("p99", times.p99),
        ("p99.9", times.p999),
        ("p99.99", times.p9999),
        ("max", times.max),
    ];
    let shown: Vec<String> = shown.iter().map(|(name, at)| format!("{name} {}", time(*at))).collect();
    format!("{name:<10} {}", shown.join("  "))
}

/// The outcome with the flags it came from.
pub(super) fn json(load: &Load, outcome: &Outcome) -> serde_json::Value {
    let flags = serde_json::json!({
        "producers": load.producers,
        "consumers": load.consumers,
        "sizes": load.size.iter().map(|size| size.octets()).collect::<Vec<_>>(),
        "confirm": load.confirm,
        "autoack": load.autoack,
        "multi_ack_every": load.multi_ack_every,
        "qos": load.qos,
        "rate": load.rate,
        "consumer_rate": load.consumer_rate,
        "persistent": load.flag.contains(&crate::config::perf::Flag::Persistent),
    });
    serde_json::json!({ "load": flags, "outcome": outcome, "times_are": "microseconds" })
}

/// A number with commas: 1,234,567.
pub(super) fn whole(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Microseconds for people.
pub(super) fn time(micros: f64) -> String {
    match micros {
        m if m < 1_000.0 => format!("{m:.0} us"),
        m if m < 1_000_000.0 => format!("{:.2} ms", m / 1_000.0),
        m => format!("{:.2} s", m / 1_000_000.0),
    }
}

/// Octets in MiB.
pub(super) fn mebibytes(octets: u64) -> String {
    format!("{:.1} MiB", octets as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0.0, 999.0, 1_000.0, 1_234_567.4].map(whole), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.4, 999.0, 1_500.0, 2_000_000.0].map(time), ["0 us", "999 us", "1.50 ms", "2.00 s"]);
        assert_eq!(mebibytes(3 << 19), "1.5 MiB");
    }
}
