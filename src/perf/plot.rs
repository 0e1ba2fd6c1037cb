//! Throughput, and latency where it was measured, over time, as SVG.
//!
//! Pure: points in, text out. Deliberately absent: choosing a scale by hand, and any other format.

use std::error::Error;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::PerfError;
use super::latency::Percentiles;
use super::meter::{Outcome, Point};

/// Width of the drawing, and height of each chart, in pixels.
const WIDTH: u32 = 960;
const HEIGHT: u32 = 360;

type Chart<'a, Y> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, Y>>;

/// A line: its name, and its points as seconds and value.
type Line = (&'static str, Vec<(f64, f64)>);

const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 160, 44), RGBColor(255, 127, 14)];

/// The drawing of a run.
pub(super) fn svg(outcome: &Outcome) -> Result<String, PerfError> {
    let mut text = String::new();
    draw(outcome, &mut text).map_err(|error| PerfError::Strange(format!("the drawing failed: {error}")))?;
    Ok(text)
}

fn draw(outcome: &Outcome, text: &mut String) -> Result<(), Box<dyn Error>> {
    let end = outcome.points.last().map_or(1.0, |point| point.seconds).max(0.001);
    let mut charts = vec![("messages a second", throughput(outcome))];
    for (title, lines) in [
        ("end-to-end latency, milliseconds", percentiles(outcome, |point| point.end_to_end)),
        ("confirm latency, milliseconds", percentiles(outcome, |point| point.confirm)),
    ] {
        if lines.iter().any(|(_, points)| !points.is_empty()) {
            charts.push((title, lines));
        }
    }
    let height = HEIGHT * u32::try_from(charts.len())?;
    let root = SVGBackend::with_string(text, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    for (at, (area, (title, lines))) in root.split_evenly((charts.len(), 1)).iter().zip(&charts).enumerate() {
        chart(area, title, lines, end, at > 0)?;
    }
    root.present()?;
    Ok(())
}

fn throughput(outcome: &Outcome) -> Vec<Line> {
    let line =
        |of: fn(&Point) -> f64| outcome.points.iter().map(|point| (point.seconds, of(point))).collect::<Vec<_>>();
    let mut lines = vec![("published", line(|point| point.published)), ("consumed", line(|point| point.consumed))];
    lines.retain(|(_, points)| points.iter().any(|(_, rate)| *rate > 0.0));
    lines
}

/// Lines of the percentiles that tell most, of the times that `of` picks.
fn percentiles(outcome: &Outcome, of: fn(&Point) -> Option<Percentiles>) -> Vec<Line> {
    let line = |at: fn(Percentiles) -> f64| {
        let times = outcome.points.iter().filter_map(|point| Some((point.seconds, at(of(point)?) / 1_000.0)));
        times.collect::<Vec<_>>()
    };
    vec![
        ("p50", line(|times| times.p50)),
        ("p99", line(|times| times.p99)),
        ("p99.9", line(|times| times.p999)),
        ("max", line(|times| times.max)),
    ]
}

/// One chart; times span orders of magnitude and get a logarithmic scale.
fn chart(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    lines: &[Line],
    end: f64,
    logarithmic: bool,
) -> Result<(), Box<dyn Error>> {
    let values = || lines.iter().flat_map(|(_, points)| points.iter().map(|(_, value)| *value));
    let highest = values().fold(0.001, f64::max) * 1.1;
    let mut builder = ChartBuilder::on(area);
    builder.caption(title, ("sans-serif", 16)).margin(12).x_label_area_size(32).y_label_area_size(80);
    if logarithmic {
        let lowest = values().fold(highest, f64::min).max(0.001) / 1.5;
        fill(builder.build_cartesian_2d(0.0..end, (lowest..highest).log_scale())?, lines)
    } else {
        fill(builder.build_cartesian_2d(0.0..end, 0.0..highest)?, lines)
    }
}

/// The mesh, the lines, and what they are called.
fn fill<Y>(mut chart: Chart<'_, Y>, lines: &[Line]) -> Result<(), Box<dyn Error>>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart.configure_mesh().x_desc("seconds").draw()?;
    for ((name, points), colour) in lines.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::tally::Counts;

    fn outcome(points: Vec<Point>) -> Outcome {
        Outcome {
            broker: "B".to_owned(),
            warmup: 0.0,
            seconds: 1.0,
            total: Counts::default(),
            window: Counts::default(),
            published_rate: 0.0,
            consumed_rate: 0.0,
            consumed_share: None,
            broker_cpu: None,
            broker_memory: None,
            own_cpu: 0.0,
            end_to_end: None,
            confirm: None,
            points,
        }
    }

    fn point(seconds: f64, latency: bool) -> Point {
        let times = Percentiles {
            count: 1,
            p50: 100.0,
            p75: 150.0,
            p95: 200.0,
            p99: 1_000.0,
            p999: 10_000.0,
            p9999: 10_000.0,
            max: 20_000.0,
        };
        Point {
            seconds,
            published: 1_000.0 * seconds,
            confirmed: 0.0,
            consumed: 900.0,
            broker_cpu: None,
            broker_memory: None,
            end_to_end: latency.then_some(times),
            confirm: None,
        }
    }

    #[test]
    fn a_chart_is_drawn_for_what_was_measured() {
        let plain = svg(&outcome(vec![point(1.0, false), point(2.0, false), point(3.0, false)])).unwrap();
        assert!(plain.starts_with("<svg") && plain.trim_end().ends_with("</svg>"));
        assert!(plain.contains("messages a second") && plain.contains("published") && !plain.contains("latency"));
        for colour in ["#1F77B4", "#D62728"] {
            assert_eq!(plain.matches(colour).count(), 2, "a line and its legend: {plain}");
        }
        let timed = svg(&outcome(vec![point(1.0, true), point(2.0, true)])).unwrap();
        assert!(timed.contains("end-to-end latency") && timed.contains("p99.9") && !timed.contains("confirm latency"));
    }

    #[test]
    fn a_run_without_points_is_an_empty_chart() {
        let empty = svg(&outcome(Vec::new())).unwrap();
        assert!(empty.starts_with("<svg") && empty.trim_end().ends_with("</svg>"));
    }
}
