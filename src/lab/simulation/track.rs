//! A series' samples, one a minute, in the notation of promtool's unit tests.
//!
//! <https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series>

use std::fmt::Write;

/// One series' samples: runs of numbers that are equal, or equally far apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// The runs that are over.
    written: String,
    /// The minute after the last sample.
    next: u32,
    run: Option<Run>,
}

/// Numbers that are equally far apart.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: f64,
    step: f64,
    /// At least one.
    count: u32,
}

impl Run {
    fn last(self) -> f64 {
        self.first + self.step * f64::from(self.count - 1)
    }

    /// The run with one more number; `None` if that does not fit.
    fn with(self, value: f64) -> Option<Self> {
        let step = if self.count == 1 { value - self.first } else { self.step };
        // promtool adds up: only whole numbers come out as they are.
        let exact = step == 0.0 || self.first.fract() == 0.0 && step.fract() == 0.0;
        let fits = exact && value == self.last() + step;
        fits.then_some(Self { step, count: self.count + 1, ..self })
    }
}

impl Track {
    /// The minute after the last sample.
    pub(super) fn next(&self) -> u32 {
        self.next
    }

    /// The sample of a minute. Of the minutes since the last one there is none. A minute that has a
    /// sample keeps it.
    pub(super) fn put(&mut self, minute: u32, value: f64) {
        if minute < self.next {
            return;
        }
        if minute > self.next {
            self.end_run();
            self.word(format_args!("_x{}", minute - self.next));
        }
        self.next = minute + 1;
        match self.run.and_then(|run| run.with(value)) {
            Some(longer) => self.run = Some(longer),
            None => {
                self.end_run();
                self.run = Some(Run { first: value, step: 0.0, count: 1 });
            }
        }
    }

    /// All samples.
    pub(super) fn text(mut self) -> String {
        self.end_run();
        self.written
    }

    fn end_run(&mut self) {
        let Some(Run { first, step, count }) = self.run.take() else { return };
        match (count - 1, step) {
            (0, _) => self.word(format_args!("{first}")),
            (more, 0.0) => self.word(format_args!("{first}x{more}")),
            (more, step) => self.word(format_args!("{first}{step:+}x{more}")),
        }
    }

    fn word(&mut self, word: std::fmt::Arguments<'_>) {
        let space = if self.written.is_empty() { "" } else { " " };
        // A string takes whatever is written.
        let _ = write!(self.written, "{space}{word}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(samples: &[(u32, f64)]) -> String {
        let mut track = Track::default();
        for (minute, value) in samples {
            track.put(*minute, *value);
        }
        track.text()
    }

    fn every_minute(values: &[f64]) -> String {
        text(&(0..).zip(values.iter().copied()).collect::<Vec<_>>())
    }

    #[test]
    fn equal_and_evenly_rising_samples_are_one_word() {
        assert_eq!(every_minute(&[5.0]), "5");
        assert_eq!(every_minute(&[5.0, 5.0, 5.0, 5.0]), "5x3");
        assert_eq!(every_minute(&[0.0, 2.0, 4.0, 4.0, 4.0]), "0+2x2 4x1");
        assert_eq!(every_minute(&[4.0, 1.0]), "4-3x1");
        assert_eq!(every_minute(&[0.0, 1.0, 7.0]), "0+1x1 7");
    }

    #[test]
    fn numbers_that_are_not_whole_are_never_added_up() {
        assert_eq!(every_minute(&[0.1, 0.2, 0.3, 0.3]), "0.1 0.2 0.3x1");
    }

    #[test]
    fn minutes_without_a_sample_are_gaps() {
        assert_eq!(text(&[(2, 1.0), (3, 1.0), (7, 1.0)]), "_x2 1x1 _x3 1");
        assert_eq!(text(&[(0, 1.0), (0, 2.0)]), "1");
    }
}
