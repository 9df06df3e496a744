//! One panel.

use super::svg::{COLOURS, Place, Svg, named};
use super::{Cell, Content, axis, unit};
use crate::Panel;

/// Height of a table's row and of a legend's line.
const LINE: f64 = 20.0;
/// Lines that are drawn; a legend for more could not be read.
const MOST_LINES: usize = 8;

/// Draws a panel with its content.
pub fn draw(svg: &mut Svg, place: Place, panel: &Panel, content: &Content, clock: (f64, f64)) {
    svg.block(place, "#181b1f");
    svg.text(place.x + 10.0, place.y + 20.0, 13.0, "title", &panel.title);
    let inner = place.inner(10.0, 30.0, 10.0, 8.0);
    match content {
        Content::Numbers(numbers) if panel.kind == "stat" => stat(svg, inner, numbers, panel),
        Content::Numbers(numbers) => bars(svg, inner, numbers, &panel.unit),
        Content::Lines(lines) => graph(svg, inner, lines, panel, clock),
        Content::Table(heads, rows) => table(svg, inner, heads, rows),
        Content::Nothing(why) => {
            svg.text_middle(
                inner.x + inner.width / 2.0,
                inner.y + inner.height / 2.0,
                13.0,
                "faint",
                why,
            );
        }
    }
}

fn stat(svg: &mut Svg, place: Place, numbers: &[(String, f64)], panel: &Panel) {
    let count = numbers.len().max(1) as f64;
    // Beside each other, or below each other where a panel is narrow and high.
    let upright = place.width / count < 90.0;
    let cell = match upright {
        true => (place.width, place.height / count),
        false => (place.width / count, place.height),
    };
    let size = (cell.1 * 0.5).min(cell.0 / 5.5).clamp(12.0, 34.0);
    for (index, (name, value)) in numbers.iter().enumerate() {
        let (column, row) = if upright { (0.0, index as f64) } else { (index as f64, 0.0) };
        let x = place.x + cell.0 * (column + 0.5);
        let is_named = !name.is_empty() && numbers.len() > 1;
        let middle = place.y + cell.1 * (row + 0.5);
        let y = middle + size * if is_named { 0.15 } else { 0.35 };
        let class = format!("number {}", panel.threshold(*value).unwrap_or_default());
        svg.text_middle(x, y, size, &class, &unit::text(*value, &panel.unit));
        if is_named {
            svg.text_middle(x, y + 18.0, 11.0, "faint", name);
        }
    }
}

fn bars(svg: &mut Svg, place: Place, numbers: &[(String, f64)], unit: &str) {
    let fitting = (place.height / LINE) as usize;
    let most = numbers.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let names = place.width * 0.42;
    for (index, (name, value)) in numbers.iter().take(fitting).enumerate() {
        let y = place.y + index as f64 * LINE;
        svg.text(place.x, y + 14.0, 12.0, "", name);
        let share = if most > 0.0 { (value / most).max(0.0) } else { 0.0 };
        let room = (place.width - names - 70.0).max(1.0);
        let bar = Place { x: place.x + names, y: y + 4.0, width: room * share, height: LINE - 8.0 };
        svg.block(bar, COLOURS[index % COLOURS.len()]);
        svg.text_end(place.x + place.width, y + 14.0, 12.0, "", &unit::text(*value, unit));
    }
}

fn graph(
    svg: &mut Svg,
    place: Place,
    lines: &[(String, Vec<(f64, f64)>)],
    panel: &Panel,
    clock: (f64, f64),
) {
    let unit = &panel.unit;
    let mut lines: Vec<_> = lines.iter().collect();
    let peak = |points: &[(f64, f64)]| {
        points.iter().map(|(_, value)| *value).filter(|value| value.is_finite()).fold(0.0, f64::max)
    };
    lines.sort_by(|one, other| peak(&other.1).total_cmp(&peak(&one.1)));
    let hidden = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    let legend = LINE * (lines.len() + 1).div_ceil(3) as f64;
    let area = place.inner(52.0, 4.0, 4.0, 20.0 + legend);
    let ticks = axis::ticks(lines.iter().map(|(_, points)| peak(points)).fold(0.0, f64::max));
    let top = ticks.last().copied().unwrap_or(1.0);
    let y_of = |value: f64| area.y + area.height * (1.0 - value / top);
    for tick in ticks {
        svg.rule((area.x, y_of(tick)), (area.x + area.width, y_of(tick)));
        svg.text_end(area.x - 6.0, y_of(tick) + 4.0, 10.0, "faint", &unit::text(tick, unit));
    }
    for moment in axis::hours(clock.0, clock.1) {
        let x = area.x + area.width * (moment - clock.0) / (clock.1 - clock.0);
        let (hour, minute) = ((moment / 3_600.0) as u32 % 24, (moment / 60.0) as u32 % 60);
        svg.text_middle(
            x,
            area.y + area.height + 15.0,
            10.0,
            "faint",
            &format!("{hour:02}:{minute:02}"),
        );
    }
    for (index, (name, points)) in lines.iter().enumerate() {
        let fixed = panel.override_of(name, "color");
        let fixed = fixed.and_then(|colour| named(colour["fixedColor"].as_str()?));
        let colour = fixed.unwrap_or(COLOURS[index % COLOURS.len()]);
        let path: Vec<_> = points
            .iter()
            .map(|(time, value)| {
                value.is_finite().then(|| (area.x + area.width * time, y_of(value.max(0.0))))
            })
            .collect();
        svg.line(&path, colour);
        let (column, row) = (index % 3, index / 3);
        let x = place.x + column as f64 * place.width / 3.0;
        let y = area.y + area.height + 34.0 + row as f64 * LINE;
        svg.block(Place { x, y: y - 5.0, width: 12.0, height: 3.0 }, colour);
        svg.text(x + 18.0, y, 11.0, "", name);
    }
    if hidden > 0 {
        svg.text_end(
            place.x + place.width,
            place.y + place.height,
            11.0,
            "faint",
            &format!("and {hidden} smaller ones"),
        );
    }
}

fn table(svg: &mut Svg, place: Place, heads: &[String], rows: &[Vec<Cell>]) {
    let wide = |column: usize| if column == 0 { 1.8 } else { 1.0 };
    let total: f64 = (0..heads.len()).map(wide).sum();
    let ends: Vec<f64> = (0..heads.len())
        .scan(0.0, |sum, column| {
            *sum += wide(column) / total * place.width;
            Some(*sum)
        })
        .collect();
    let starts = |column: usize| if column == 0 { 0.0 } else { ends[column - 1] };
    let number = |column: usize| {
        rows.first()
            .and_then(|row| row.get(column))
            .is_some_and(|cell| matches!(cell, Cell::Number(..)))
    };
    let put = |svg: &mut Svg, column: usize, y: f64, class: &str, text: &str| match number(column) {
        true => svg.text_end(place.x + ends[column] - 4.0, y, 12.0, class, text),
        false => svg.text(place.x + starts(column), y, 12.0, class, text),
    };
    for (column, head) in heads.iter().enumerate() {
        put(svg, column, place.y + 12.0, "faint", head);
    }
    let fitting = ((place.height - LINE) / LINE) as usize;
    for (index, row) in rows.iter().take(fitting).enumerate() {
        let y = place.y + (index + 1) as f64 * LINE + 12.0;
        svg.rule((place.x, y - 14.0), (place.x + place.width, y - 14.0));
        for (column, cell) in row.iter().enumerate().take(heads.len()) {
            let text = match cell {
                Cell::Text(text) => text.clone(),
                Cell::Number(value, unit) => unit::text(*value, unit),
            };
            put(svg, column, y, "", &text);
        }
    }
}
