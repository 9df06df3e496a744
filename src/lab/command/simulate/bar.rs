//! What the progress line says of a simulation.

use mpr_otel_lab::simulation::RunProgress;

/// Characters between the brackets.
const WIDTH: usize = 24;

/// How far it is after so many seconds of real time.
pub(super) fn text(progress: &RunProgress, seconds: f64) -> String {
    let share = progress.simulated.as_secs_f64() / progress.length.as_secs_f64().max(1.0);
    let full = ((share * WIDTH as f64) as usize).min(WIDTH);
    let clock = progress.simulated.as_secs();
    let mut text = format!(
        "[{}{}] {:02}:{:02}:{:02}  {} spans, {:.0}/s",
        "=".repeat(full),
        " ".repeat(WIDTH - full),
        clock / 3600,
        clock / 60 % 60,
        clock % 60,
        progress.accepted,
        progress.accepted as f64 / seconds.max(1e-3)
    );
    if progress.refused > 0 {
        text.push_str(&format!(", {} refused", progress.refused));
    }
    if progress.put_off > 0 {
        text.push_str(&format!(", {} sent again", progress.put_off));
    }
    if let Some(trouble) = &progress.trouble {
        text.push_str(&format!("; waiting for the collector: {trouble}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_bar_says_how_far_how_fast_and_what_it_waits_for() {
        let mut progress = RunProgress {
            simulated: Duration::from_secs(12 * 3600 + 60),
            length: Duration::from_secs(24 * 3600),
            accepted: 500,
            refused: 0,
            put_off: 0,
            trouble: None,
        };
        let shown = text(&progress, 2.0);
        assert_eq!(shown, "[============            ] 12:01:00  500 spans, 250/s");
        progress.put_off = 3;
        assert!(text(&progress, 2.0).ends_with("250/s, 3 sent again"));
        progress.trouble = Some("status 503".to_owned());
        assert!(text(&progress, 2.0).ends_with("; waiting for the collector: status 503"));
        progress.simulated = Duration::from_secs(25 * 3600);
        assert!(text(&progress, 2.0).starts_with("[========================] 25:00:00"));
    }
}
