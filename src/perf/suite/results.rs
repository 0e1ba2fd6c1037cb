//! The table of a suite, as Markdown for people and as JSON.
//!
//! Pure but for the files it writes. Invariant: a cell is a median, with the least and the greatest in brackets; what was
//! not measured is a dash, and what failed says so.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::super::PerfError;
use super::super::summary::whole;
use super::machine::Machine;
use super::measure::Figure;
use super::rows::{Measure, Must, Row};

/// All figures of one row on one broker.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(super) struct Cell {
    pub(super) figures: Vec<Figure>,
    pub(super) failures: Vec<String>,
}

/// A row with the figures of all brokers, in the order of the columns.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) row: Row,
    pub(super) cells: Vec<Cell>,
    /// Synced commits a second, each round, where the row is judged by them.
    pub(super) synced: Vec<f64>,
}

/// A suite that has been run.
#[derive(Clone, Debug)]
pub(super) struct Results {
    pub(super) date: String,
    pub(super) commit: String,
    pub(super) machine: Machine,
    pub(super) rounds: u32,
    pub(super) seconds: u64,
    /// Messages in the store for the row about them, and idle connections.
    pub(super) stored: u64,
    pub(super) idle: u32,
    /// Names and versions; Leveret first.
    pub(super) brokers: Vec<(String, String)>,
    pub(super) rows: Vec<Measured>,
}

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let (low, high) = (values.get((values.len() - 1) / 2)?, values.get(values.len() / 2)?);
        Some(Self { median: f64::midpoint(*low, *high), least, greatest })
    }
}

impl Cell {
    pub(super) fn spread(&self) -> Option<Spread> {
        Spread::of(self.figures.iter().map(|figure| figure.value).collect())
    }

    fn rate(&self) -> Option<Spread> {
        Spread::of(self.figures.iter().filter_map(|figure| figure.rate).collect())
    }

    fn text(&self) -> String {
        let Some(Spread { median, least, greatest }) = self.spread() else {
            return self.failures.first().map_or_else(|| "-".to_owned(), |why| format!("failed: {why}"));
        };
        let rate = self.rate().map_or_else(String::new, |rate| format!(", {}/s", whole(rate.median)));
        let spread =
            if self.figures.len() > 1 { format!(" ({}..{})", number(least), number(greatest)) } else { String::new() };
        format!("{}{spread}{rate}", number(median))
    }
}

impl Measured {
    fn synced(&self) -> Option<f64> {
        Spread::of(self.synced.clone()).map(|spread| spread.median)
    }

    /// The best median of the other brokers.
    fn best_peer(&self) -> Option<f64> {
        let peers = self.cells.iter().skip(1).filter_map(|cell| Some(cell.spread()?.median));
        if self.row.must.is_less_better() { peers.min_by(f64::total_cmp) } else { peers.max_by(f64::total_cmp) }
    }

    /// What Leveret must reach, where what that depends on was measured.
    fn figure(&self) -> Option<f64> {
        self.row.must.figure(self.synced(), self.best_peer())
    }

    /// The same in words.
    fn must(&self) -> String {
        let unit = self.row.unit;
        match (self.row.must, self.figure()) {
            (Must::AtMost(_), Some(figure)) => format!("at most {} {unit}", number(figure)),
            (Must::AtLeast(_), Some(figure)) => format!("at least {} {unit}", number(figure)),
            (Must::OfSynced(share), Some(figure)) => {
                format!("at least {} {unit} ({share} of {} synced commits)", number(figure), number(figure / share))
            }
            (Must::AboveSync(millis), Some(figure)) => {
                format!("at most {} {unit} ({millis} and a synced commit)", number(figure))
            }
            (Must::OfBestPeer(share), Some(figure)) => {
                format!("at most {} {unit} ({share} of the best peer's)", number(figure))
            }
            (Must::OfBestPeer(share), None) => format!("at most {share} of the best peer's"),
            (_, None) => "-".to_owned(),
        }
    }

    /// Whether Leveret reaches it; `None` if it was not measured.
    pub(super) fn is_met(&self) -> Option<bool> {
        let own = self.cells.first()?.spread()?.median;
        let figure = self.figure()?;
        Some(if self.row.must.is_less_better() { own <= figure } else { own >= figure })
    }

    /// How many times better Leveret is than the best of the others; below 1 it is behind.
    pub(super) fn ahead(&self) -> Option<f64> {
        let (own, best) = (self.cells.first()?.spread()?.median, self.best_peer()?);
        let ratio = if self.row.must.is_less_better() { best / own } else { own / best };
        ratio.is_finite().then_some(ratio)
    }
}

/// A figure with three significant digits, or whole.
pub(super) fn number(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => whole(figure),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

impl Results {
    /// The page: circumstances, then the table.
    pub(super) fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut out = String::new();
        let _ = writeln!(out, "# Benchmarks of {}, commit {}\n", self.date, self.commit);
        let _ = writeln!(
            out,
            "{}, {} cores, {:.0} GiB, Linux {}. {} rounds of every row against every broker in turn, {} s each after a \
             warm-up of 1 s; medians (least..greatest). Brokers and load generator share the machine: read figures as \
             ratios. Stored messages {}, idle connections {}.\n",
            machine.processor,
            machine.cores,
            machine.memory,
            machine.kernel,
            self.rounds,
            self.seconds,
            whole(self.stored as f64),
            self.idle
        );
        if machine.without_disk {
            let _ = writeln!(out, "**The data directories are in memory: rows about durable work mean nothing.**\n");
        }
        if machine.slow_to_wake {
            let _ = writeln!(
                out,
                "**This virtual machine wakes its processors slowly (`guest_halt_poll_ns` is 0): rows about one client that \
                 waits for each answer tell how slowly, and little of the brokers.**\n"
            );
        }
        for (name, version) in &self.brokers {
            let _ = writeln!(out, "- {name}: {version}");
        }
        let _ = write!(out, "\n| | must reach | {} | verdict |", self.brokers.first().map_or("", |(name, _)| name));
        for (name, _) in self.brokers.iter().skip(1) {
            let _ = write!(out, " {name} |");
        }
        let _ = writeln!(out, " times the best peer |\n|{}", "---|".repeat(self.brokers.len() + 4));
        for measured in &self.rows {
            let verdict = measured.is_met().map_or("-", |met| if met { "met" } else { "not met" });
            let mut cells = measured.cells.iter().map(Cell::text);
            let own = cells.next().unwrap_or_default();
            let row = &measured.row;
            let _ = write!(out, "| {}, {} | {} | {own} | {verdict} |", row.name, row.unit, measured.must());
            for cell in cells {
                let _ = write!(out, " {cell} |");
            }
            let _ = writeln!(out, " {} |", measured.ahead().map_or_else(|| "-".to_owned(), number));
        }
        out.push_str(
            "\nFigures in us are the broker's CPU time a message. The loads, as flags of `leveret perf load`:\n\n",
        );
        for Measured { row, .. } in &self.rows {
            if let Some(flags) = row.flags() {
                let _ = write!(out, "- {}: `{flags}`", row.name);
                if let Measure::LatencyBeside(_, beside) = row.measure {
                    let _ = write!(out, ", beside `{beside}`");
                }
                out.push('\n');
            }
        }
        out
    }

    /// Everything, single figures too.
    pub(super) fn json(&self) -> serde_json::Value {
        let rows = self.rows.iter().map(|measured| {
            let brokers = self.brokers.iter().zip(&measured.cells).map(|((name, _), cell)| {
                let figures = serde_json::json!({ "spread": cell.spread(), "rate": cell.rate(), "cell": cell });
                (name.clone(), figures)
            });
            serde_json::json!({
                "name": measured.row.name,
                "unit": measured.row.unit,
                "load": measured.row.flags(),
                "less_is_better": measured.row.must.is_less_better(),
                "must": measured.figure(),
                "met": measured.is_met(),
                "times_best_peer": measured.ahead(),
                "synced_commits": measured.synced,
                "brokers": brokers.collect::<serde_json::Map<_, _>>(),
            })
        });
        serde_json::json!({
            "date": self.date,
            "commit": self.commit,
            "machine": self.machine,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "stored": self.stored,
            "idle_connections": self.idle,
            "brokers": self.brokers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "rows": rows.collect::<Vec<_>>(),
        })
    }

    /// Writes both files into `dir`, named by date and commit.
    pub(super) fn write(&self, dir: &Path) -> Result<PathBuf, PerfError> {
        let wrong = |error: std::io::Error| PerfError::Setting(format!("{} cannot be written: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(wrong)?;
        let name = format!("{}-{}", self.date.replace(':', ""), self.commit);
        let page = dir.join(format!("{name}.md"));
        std::fs::write(&page, self.markdown()).map_err(wrong)?;
        super::super::write_json(Some(&dir.join(format!("{name}.json"))), &self.json())?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(values: &[f64]) -> Cell {
        Cell { figures: values.iter().copied().map(Figure::of).collect(), failures: Vec::new() }
    }

    fn measured(must: Must, cells: Vec<Cell>) -> Measured {
        let row = Row { name: "row", unit: "us", must, measure: Measure::Memory };
        Measured { row, cells, synced: vec![900.0, 1_000.0, 5_000.0] }
    }

    #[test]
    fn medians_and_spreads() {
        assert_eq!(Spread::of(Vec::new()), None);
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, greatest: 3.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0]), Some(Spread { median: 2.5, least: 1.0, greatest: 4.0 }));
    }

    #[test]
    fn verdicts_and_ratios_follow_the_direction() {
        let less = measured(Must::AtMost(0.5), vec![cell(&[0.4, 0.6, 0.5]), cell(&[2.0]), cell(&[1.0]), cell(&[])]);
        assert_eq!((less.is_met(), less.ahead()), (Some(true), Some(2.0)));
        let more = measured(Must::AtLeast(90.0), vec![cell(&[80.0]), cell(&[160.0])]);
        assert_eq!((more.is_met(), more.ahead()), (Some(false), Some(0.5)));
        let share = measured(Must::OfSynced(0.9), vec![cell(&[950.0]), Cell::default()]);
        assert_eq!((share.is_met(), share.ahead()), (Some(true), None));
        assert_eq!(share.must(), "at least 900 us (0.9 of 1,000 synced commits)");
        let peer = measured(Must::OfBestPeer(0.5), vec![cell(&[2.0]), cell(&[5.0]), cell(&[3.0])]);
        assert_eq!((peer.is_met(), peer.ahead()), (Some(false), Some(1.5)));
        assert_eq!(peer.must(), "at most 1.50 us (0.5 of the best peer's)");
        let above = measured(Must::AboveSync(3.0), vec![cell(&[3.9])]);
        assert_eq!((above.is_met(), above.must().as_str()), (Some(true), "at most 4.00 us (3 and a synced commit)"));
        let none = measured(Must::AtMost(0.5), vec![cell(&[]), cell(&[1.0])]);
        assert_eq!((none.is_met(), none.ahead()), (None, None));
    }

    #[test]
    fn the_table_has_a_column_for_everybody() {
        let mut failed = Cell::default();
        failed.failures.push("the broker hung up".to_owned());
        let rows = vec![measured(Must::AtMost(0.5), vec![cell(&[0.4, 0.6, 0.5]), cell(&[1234.0]), failed])];
        let brokers = ["Leveret", "B", "C"].map(|name| (name.to_owned(), "1".to_owned()));
        let results = Results {
            date: "2026-01-31T12:00:00Z".to_owned(),
            commit: "abc".to_owned(),
            machine: Machine::this(Path::new("/")),
            rounds: 3,
            seconds: 4,
            stored: 1,
            idle: 1,
            brokers: brokers.to_vec(),
            rows,
        };
        let page = results.markdown();
        let row =
            "| row, us | at most 0.500 us | 0.500 (0.400..0.600) | met | 1,234 | failed: the broker hung up | 2,468 |";
        assert!(page.contains(row), "{page}");
        let columns = |line: &str| line.matches('|').count();
        let table: Vec<&str> = page.lines().filter(|line| line.starts_with('|')).collect();
        assert!(table.iter().all(|line| columns(line) == columns(table[0])), "{page}");
        let json = results.json();
        assert_eq!(json["rows"][0]["met"], true);
        assert_eq!(json["rows"][0]["brokers"]["B"]["spread"]["median"], 1234.0);
        let dir = tempfile::tempdir().unwrap();
        let written = results.write(&dir.path().join("new")).unwrap();
        assert_eq!(std::fs::read_to_string(&written).unwrap(), page);
        assert!(written.with_extension("json").exists());
    }
}
