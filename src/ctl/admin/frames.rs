//! The tables of the second grammar, in its styles.
//!
//! Invariant: without interaction there is neither frame nor heading: one row a line, its columns padded.

use std::fmt::Write;

/// How a table is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Frame {
    /// Lines around with round corners, and below the heading.
    #[default]
    Modern,
    /// Blanks only.
    Borderless,
    /// A table of Markdown.
    Markdown,
    /// Lines around, and below the heading.
    Sharp,
    /// Lines around every cell, of ASCII.
    Ascii,
    /// As psql prints.
    Psql,
    /// Dots around.
    Dots,
}

/// One horizontal line: left end, dash, crossing, right end.
type Rule = Option<[&'static str; 4]>;

struct Lines {
    top: Rule,
    heading: Rule,
    between: Rule,
    bottom: Rule,
    left: &'static str,
    middle: &'static str,
    right: &'static str,
}

const LIGHT_TOP: Rule = Some(["\u{250c}", "\u{2500}", "\u{252c}", "\u{2510}"]);
const LIGHT_MIDDLE: Rule = Some(["\u{251c}", "\u{2500}", "\u{253c}", "\u{2524}"]);
const LIGHT_BOTTOM: Rule = Some(["\u{2514}", "\u{2500}", "\u{2534}", "\u{2518}"]);
const ROUND_TOP: Rule = Some(["\u{256d}", "\u{2500}", "\u{252c}", "\u{256e}"]);
const ROUND_BOTTOM: Rule = Some(["\u{2570}", "\u{2500}", "\u{2534}", "\u{256f}"]);
const PLUS: Rule = Some(["+", "-", "+", "+"]);

impl Frame {
    fn lines(self) -> Lines {
        let bare = Lines { top: None, heading: None, between: None, bottom: None, left: "", middle: " ", right: "" };
        let light = "\u{2502}";
        match self {
            Self::Modern => Lines {
                top: ROUND_TOP,
                heading: LIGHT_MIDDLE,
                bottom: ROUND_BOTTOM,
                left: light,
                middle: light,
                right: light,
                ..bare
            },
            Self::Sharp => Lines {
                top: LIGHT_TOP,
                heading: LIGHT_MIDDLE,
                bottom: LIGHT_BOTTOM,
                left: light,
                middle: light,
                right: light,
                ..bare
            },
            Self::Ascii => {
                Lines { top: PLUS, heading: PLUS, between: PLUS, bottom: PLUS, left: "|", middle: "|", right: "|" }
            }
            Self::Psql => Lines { heading: Some(["", "-", "+", ""]), middle: "|", ..bare },
            Self::Markdown => Lines { heading: Some(["|", "-", "|", "|"]), left: "|", middle: "|", right: "|", ..bare },
            Self::Dots => Lines {
                top: Some([".", ".", ".", "."]),
                heading: Some([":", ".", ":", ":"]),
                bottom: Some([":", ".", ":", ":"]),
                left: ":",
                middle: ":",
                right: ":",
                ..bare
            },
            Self::Borderless => bare,
        }
    }
}

/// The text of a table; without interaction its first line, the title or else the heading, is left out.
pub(super) fn table(
    frame: Frame,
    scripted: bool,
    title: Option<&str>,
    heading: &[String],
    rows: &[Vec<String>],
) -> String {
    let mut all: Vec<Vec<Vec<String>>> = Vec::new();
    let split = |cell: &String| -> Vec<String> {
        if scripted { vec![cell.replace('\n', ",")] } else { cell.split('\n').map(str::to_owned).collect() }
    };
    match (scripted, title) {
        // What is left of a title's line takes the place of the headings behind the first.
        (true, Some(_)) => {
            all.push(
                heading
                    .iter()
                    .enumerate()
                    .map(|(at, name)| vec![if at == 0 { name.clone() } else { String::new() }])
                    .collect(),
            );
        }
        (true, None) => {}
        (false, _) => all.push(heading.iter().map(|name| vec![name.clone()]).collect()),
    }
    all.extend(rows.iter().map(|row| row.iter().map(split).collect()));
    if all.is_empty() {
        return "\n".to_owned();
    }
    let columns = heading.len();
    let widths: Vec<usize> = (0..columns)
        .map(|at| {
            let lines = all.iter().filter_map(|row| row.get(at)).flatten();
            lines.map(|line| line.chars().count()).max().unwrap_or_default()
        })
        .collect();
    let (lines, pad) = if scripted { (Frame::Borderless.lines(), 0) } else { (frame.lines(), 1) };
    let rule = |rule: Rule, text: &mut String| {
        let Some([left, dash, cross, right]) = rule else { return };
        let dashes: Vec<_> = widths.iter().map(|width| dash.repeat(width + 1 + pad)).collect();
        let _ = writeln!(text, "{left}{}{right}", dashes.join(cross));
    };
    let mut text = String::new();
    rule(lines.top, &mut text);
    let title = title.filter(|_| !scripted);
    if let Some(title) = title {
        let width = widths.iter().map(|width| width + 1 + pad).sum::<usize>() + columns.saturating_sub(1);
        let _ = writeln!(text, "{} {title:<rest$}{}", lines.left, lines.right, rest = width.saturating_sub(1));
        rule(lines.heading, &mut text);
    }
    for (index, row) in all.iter().enumerate() {
        if index == 1 && title.is_none() {
            rule(lines.heading, &mut text);
        } else if index > 1 {
            rule(lines.between, &mut text);
        }
        let height = row.iter().map(Vec::len).max().unwrap_or_default();
        for at in 0..height {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| {
                    let part = cell.get(at).map_or("", String::as_str);
                    format!("{}{part:<width$} ", " ".repeat(pad))
                })
                .collect();
            let _ = writeln!(text, "{}{}{}", lines.left, cells.join(lines.middle), lines.right);
        }
    }
    rule(lines.bottom, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(frame: Frame, scripted: bool) -> String {
        drawn_titled(frame, scripted, None)
    }

    fn drawn_titled(frame: Frame, scripted: bool, title: Option<&str>) -> String {
        let heading = ["name", "n"].map(str::to_owned);
        let rows = [vec!["q".to_owned(), "1\n2".to_owned()], vec!["longer".to_owned(), "3".to_owned()]];
        table(frame, scripted, title, &heading, &rows)
    }

    #[test]
    fn scripts_get_rows_alone() {
        assert_eq!(drawn(Frame::Modern, true), "q       1,2 \nlonger  3   \n");
        assert_eq!(drawn_titled(Frame::Modern, true, Some("T")), "name        \nq       1,2 \nlonger  3   \n");
        assert_eq!(table(Frame::Modern, true, None, &["name".to_owned()], &[]), "\n");
    }

    #[test]
    fn styles() {
        let ascii = "+--------+---+\n| name   | n |\n+--------+---+\n| q      | 1 |\n|        | 2 |\n+--------+---+\n\
                     | longer | 3 |\n+--------+---+\n";
        assert_eq!(drawn(Frame::Ascii, false), ascii);
        let markdown = "| name   | n |\n|--------|---|\n| q      | 1 |\n|        | 2 |\n| longer | 3 |\n";
        assert_eq!(drawn(Frame::Markdown, false), markdown);
        assert_eq!(drawn(Frame::Psql, false).lines().nth(1), Some("--------+---"));
        assert_eq!(drawn(Frame::Modern, false).lines().count(), 7);
        let titled = drawn_titled(Frame::Ascii, false, Some("A title"));
        assert!(titled.starts_with("+--------+---+\n| A title    |\n+--------+---+\n| name   | n |\n"), "{titled}");
    }
}
