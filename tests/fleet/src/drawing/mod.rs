//! Draws a dashboard as an SVG picture: the panels at their places, each with what its queries
//! answered.
//!
//! It is not Grafana. It draws the same panels from the same queries, in the plainest way.

mod axis;
mod panel;
mod svg;
mod unit;

use crate::{Board, Panel};
use svg::Svg;

/// Width of a picture, in pixels.
const WIDTH: f64 = 1440.0;
/// Height of one of the grid's rows.
const ROW: f64 = 34.0;
/// Between panels.
const GAP: f64 = 8.0;
/// Above the first panel.
const HEAD: f64 = 44.0;

/// What a panel shows.
#[derive(Clone, Debug)]
pub enum Content {
    /// Numbers, each with its name.
    Numbers(Vec<(String, f64)>),
    /// Lines over time: name, and points of time (0 to 1 of the picture's span) and value.
    Lines(Vec<(String, Vec<(f64, f64)>)>),
    /// Rows of a table under their headings.
    Table(Vec<String>, Vec<Vec<Cell>>),
    /// What the panel could not be given.
    Nothing(&'static str),
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A label's value.
    Text(String),
    /// A number of the given unit.
    Number(f64, String),
}

/// Draws a dashboard. `clock` names moments: what stands at 0 and at 1 of the time axis, in
/// seconds of a day.
pub fn draw(
    board: &Board,
    contents: &[(Panel, Content)],
    subtitle: &str,
    clock: (f64, f64),
) -> String {
    let bottom = contents.iter().map(|(panel, _)| panel.place[1] + panel.place[3]).max();
    let height = HEAD + f64::from(bottom.unwrap_or(0)) * ROW + GAP;
    let mut svg = Svg::new(WIDTH, height);
    svg.text(GAP + 6.0, 28.0, 18.0, "title", &board.title);
    svg.text_end(WIDTH - GAP - 6.0, 28.0, 12.0, "faint", subtitle);
    let column = (WIDTH - GAP) / 24.0;
    for (title, y) in &board.rows {
        svg.text(GAP + 6.0, HEAD + f64::from(*y) * ROW + 20.0, 14.0, "faint", title);
    }
    for (panel, content) in contents {
        let [x, y, wide, high] = panel.place.map(f64::from);
        let place = svg::Place {
            x: GAP + x * column,
            y: HEAD + y * ROW,
            width: wide * column - GAP,
            height: high * ROW - GAP,
        };
        panel::draw(&mut svg, place, panel, content, clock);
    }
    svg.finish()
}
