//! Columns in a frame of box-drawing characters, as RabbitMQ's `pretty_table` draws it.

use super::{Row, line};

/// The characters of one horizontal line: left end, crossing, right end.
type Ends = [char; 3];

const TOP: Ends = ['\u{250c}', '\u{252c}', '\u{2510}'];
const MIDDLE: Ends = ['\u{251c}', '\u{253c}', '\u{2524}'];
const BOTTOM: Ends = ['\u{2514}', '\u{2534}', '\u{2518}'];

/// The rows below their columns' names, all in a frame.
pub(super) fn table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut lines: Vec<Vec<String>> = vec![first.iter().map(|(name, _)| (*name).to_owned()).collect()];
    lines.extend(rows.iter().map(|row| row.iter().map(|(_, cell)| cell.shown()).collect()));
    framed(&lines)
}

/// Lines of texts in a frame, every line ruled off from the next.
fn framed(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|at| lines.iter().filter_map(|cells| cells.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let rule = |[left, cross, right]: Ends| {
        let dashes: Vec<_> = widths.iter().map(|width| "\u{2500}".repeat(width + 2)).collect();
        line(&format!("{left}{}{right}", dashes.join(&cross.to_string())))
    };
    let mut text = rule(TOP);
    for (index, cells) in lines.iter().enumerate() {
        if index > 0 {
            text.push_str(&rule(MIDDLE));
        }
        for (cell, width) in cells.iter().zip(&widths) {
            text.push_str("\u{2502} ");
            text.push_str(cell);
            text.push_str(&" ".repeat(width - cell.chars().count() + 1));
        }
        text.push_str("\u{2502}\n");
    }
    text.push_str(&rule(BOTTOM));
    text
}
