//! Numbers as people read them, in Grafana's units.

/// A number with its unit.
pub fn text(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    match unit {
        "percentunit" => format!("{} %", rounded(value * 100.0)),
        "percent" => format!("{} %", rounded(value)),
        "s" => seconds(value),
        "ms" => seconds(value / 1e3),
        "bytes" | "decbytes" => format!("{}B", compact(value)),
        "ops" | "reqps" | "cps" => format!("{}/s", compact(value)),
        "opm" | "reqpm" | "cpm" => format!("{}/min", compact(value)),
        _ => compact(value),
    }
}

fn seconds(value: f64) -> String {
    match value.abs() {
        0.0 => "0 s".to_owned(),
        size if size < 1.0 => format!("{} ms", rounded(value * 1e3)),
        size if size < 120.0 => format!("{} s", rounded(value)),
        size if size < 7_200.0 => format!("{} min", rounded(value / 60.0)),
        size if size < 172_800.0 => format!("{} h", rounded(value / 3_600.0)),
        _ => format!("{} d", rounded(value / 86_400.0)),
    }
}

fn compact(value: f64) -> String {
    match value.abs() {
        size if size < 10_000.0 => rounded(value),
        size if size < 1e6 => format!("{} K", rounded(value / 1e3)),
        size if size < 1e9 => format!("{} Mil", rounded(value / 1e6)),
        _ => format!("{} Bil", rounded(value / 1e9)),
    }
}

/// Three digits or so, and none behind the point that say nothing.
fn rounded(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn numbers_have_three_digits_and_their_unit() {
        assert_eq!(text(0.0123, "percentunit"), "1.23 %");
        assert_eq!(text(0.25, "s"), "250 ms");
        assert_eq!(text(20.4, "s"), "20.4 s");
        assert_eq!(text(5400.0, "s"), "90 min");
        assert_eq!(text(12_340.0, "short"), "12.3 K");
        assert_eq!(text(200.0, "short"), "200");
        assert_eq!(text(f64::NAN, "s"), "–");
    }
}
