//! Shapes of a picture.

use std::fmt::Write;

/// A rectangle, in pixels.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Place {
    /// Smaller by these margins.
    pub fn inner(self, left: f64, top: f64, right: f64, bottom: f64) -> Self {
        Self {
            x: self.x + left,
            y: self.y + top,
            width: (self.width - left - right).max(1.0),
            height: (self.height - top - bottom).max(1.0),
        }
    }
}

/// Colours of lines and bars, in the order of use.
pub const COLOURS: [&str; 8] =
    ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#b877d9", "#5794f2", "#ff9830"];

/// A colour that Grafana has a name for.
pub fn named(name: &str) -> Option<&'static str> {
    Some(match name {
        "green" => "#73bf69",
        "yellow" => "#f2cc0c",
        "orange" => "#ff9830",
        "red" => "#f2495c",
        "blue" => "#5794f2",
        "purple" => "#b877d9",
        "dark-red" => "#c4162a",
        "light-red" => "#ff7383",
        "dark-orange" => "#fa6400",
        "light-orange" => "#ffb357",
        "dark-blue" => "#1f60c4",
        "light-blue" => "#8ab8ff",
        "dark-purple" => "#8f3bb8",
        "light-purple" => "#ca95e5",
        "text" => "#d8d9da",
        "gray" | "grey" => "#8e8e93",
        _ => return None,
    })
}

const STYLE: &str = "\
text{font-family:Inter,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;fill:#d8d9da}\
.title{font-weight:600}.faint{fill:#8e8e93}.number{font-weight:600}\
.green{fill:#73bf69}.orange{fill:#ff9830}.red{fill:#f2495c}";

/// A picture in the making.
pub struct Svg(String);

impl Svg {
    /// An empty one.
    pub fn new(width: f64, height: f64) -> Self {
        let mut svg = Self(String::new());
        svg.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\"><style>{STYLE}</style>\
             <rect width=\"100%\" height=\"100%\" fill=\"#111217\"/>\n"
        ));
        svg
    }

    /// The file's text.
    pub fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    /// A filled rectangle.
    pub fn block(&mut self, place: Place, colour: &str) {
        let Place { x, y, width, height } = place;
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" fill=\"{colour}\"/>\n"
        ));
    }

    /// A straight line.
    pub fn rule(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.put(format_args!(
            "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#2c3235\"/>\n",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A line through points; it breaks where a point is missing.
    pub fn line(&mut self, points: &[Option<(f64, f64)>], colour: &str) {
        let mut path = String::new();
        let mut pen_is_down = false;
        for point in points {
            if let Some((x, y)) = point {
                // Writing to a string cannot fail.
                let _ = write!(path, "{}{x:.1} {y:.1}", if pen_is_down { 'L' } else { 'M' });
            }
            pen_is_down = point.is_some();
        }
        self.put(format_args!(
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n"
        ));
    }

    /// Text that begins at a place.
    pub fn text(&mut self, x: f64, y: f64, size: f64, class: &str, text: &str) {
        self.words(x, y, size, class, "start", text);
    }

    /// Text that ends at a place.
    pub fn text_end(&mut self, x: f64, y: f64, size: f64, class: &str, text: &str) {
        self.words(x, y, size, class, "end", text);
    }

    /// Text around a place.
    pub fn text_middle(&mut self, x: f64, y: f64, size: f64, class: &str, text: &str) {
        self.words(x, y, size, class, "middle", text);
    }

    fn words(&mut self, x: f64, y: f64, size: f64, class: &str, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" class=\"{class}\" text-anchor=\"{anchor}\">{text}</text>\n"
        ));
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(what);
    }
}
