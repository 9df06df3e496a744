//! `mpr-otel-lab simulate`: a fleet that maps drives, and the truth about it.

mod bar;
mod view;

use super::answer::{Failure, write_json};
use super::progress_line::ProgressLine;
use clap::Args;
use mpr_otel_core::settings::{ENDPOINT, Settings, Source, System, WithEndpoint};
use mpr_otel_core::stop::Stop;
use mpr_otel_lab::simulation::{self, Incident, Pace, RunProgress, Scenario};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use view::View;

/// Simulate a fleet: thousands of machines that map drives all day, sent to a collector.
///
/// What is sent is made by the product's own code: records, spans, OTLP. The same seed gives the
/// same operations. While the collector is away the simulation waits; nothing is lost.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mpr-otel-lab simulate\n  \
    mpr-otel-lab simulate --machines 10000 --agents --truth truth.json\n  \
    mpr-otel-lab simulate --speed 60 --from 08:00 --hours 2 --incident server-down@10m-40m:server=3\n\n\
    An incident is KIND@START[-END][:key=value,...], times like 90s, 10m or 1h30m:\n  \
    server-down:server=N            every operation on it fails after some 20 s\n  \
    server-slow:server=N,factor=20  its successes take longer\n  \
    server-hangs:server=N           operations on it never return\n  \
    server-flaky:server=N,share=0.08,code=0, access-revoked:server=N,share=0.6\n                                  \
    that part of the adds on it fails\n  \
    account-expired:share=0.1       that part of all adds fails\n  \
    losses:share=0.05,reason=expired\n                                  \
    that part of the machines loses operations\n  \
    machines-vanish:share=0.3       that part of the machines stops\n  \
    silence                         all machines stop\n  \
    off-vpn:share=0.5               that part is away, fails, and reports when it is back\n  \
    client-network:share=0.3        that part has no way to the servers\n  \
    noisy-machine:server=N,code=5,every=30s\n                                  \
    one machine is refused again and again\n  \
    misspelt:every=60s              one machine asks for a server that does not exist\n  \
    bursts:server=N,every=10m       twelve users of it try together, again and again\n  \
    nights:share=0.8                that part is off at night and at weekends\n  \
    scheduled-shutdown              all machines are switched off\n  \
    branch-cut                      the servers of --branches are out of reach\n  \
    mapped-twice:share=0.5, cancel-first:share=0.5, doubled:share=0.5\n                                  \
    at logon that part maps a drive twice (85), cancels first\n                                  \
    (2250), or maps all for two logons\n  \
    forged-names:every=20s, names-overflow:every=1s\n                                  \
    one machine asks for names that are no servers\n  \
    gateway-down, gateways-down, logs-dropped\n                                  \
    with --series: one of two gateways stops, or all, or they\n                                  \
    drop logs\n\
    N is a server's number or name (3, files03, nas01.corp.example, branch01).\n\n\
    Exits with 1 if the collector refused anything.")]
pub(super) struct Simulate {
    /// Send to this collector. Headers and other settings are taken from the environment
    /// (MPR_OTEL_*).
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Machines of the fleet.
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    machines: u32,
    /// Servers of the fleet.
    #[arg(long, value_name = "N", default_value_t = 24,
          value_parser = clap::value_parser!(u16).range(1..=500))]
    servers: u16,
    /// Further servers, each in a branch, whose users connect to it once in two minutes.
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u16).range(0..=99))]
    branches: u16,
    /// Simulated hours.
    #[arg(long, value_name = "N", default_value = "24", value_parser = hours)]
    hours: Duration,
    /// Time at the beginning: of a Monday, or of the day before it, as in fri-17:00.
    #[arg(long, value_name = "[DAY-]HH:MM", default_value = "05:00", value_parser = time_of_week)]
    from: Duration,
    /// What the random numbers are made from: the same seed, the same operations.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Simulated seconds in a real one; or max, as fast as the collector takes what is sent.
    #[arg(long, value_name = "FACTOR", default_value_t = Pace::Max)]
    speed: Pace,
    /// Every machine has an agent, which reports once in a simulated minute.
    #[arg(long)]
    agents: bool,
    /// Something that happens; may be given several times. See below.
    #[arg(long, value_name = "SPEC")]
    incident: Vec<Incident>,
    /// Each machine sends requests of its own. Otherwise machines share them, as behind a
    /// collector.
    #[arg(long)]
    direct: bool,
    /// Threads that send.
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u16).range(1..=256))]
    senders: u16,
    /// Write what really happened to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Send nothing. Write the series that a gateway would have made to this file, with a sample a
    /// minute, for promtool's unit tests of rules.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["endpoint", "speed", "direct", "senders"])]
    series: Option<PathBuf>,
    /// The most series of a metric that a gateway counts, as its MPR_SERIES_LIMIT.
    #[arg(long, value_name = "N", default_value_t = 20_000, requires = "series")]
    series_limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Simulate {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let settings = self.settings()?;
        let truth = self.truth.as_deref().map(|path| open(path, "truth")).transpose()?;
        let series = self.series.as_deref().map(|path| open(path, "series")).transpose()?;
        let stop = Stop::default();
        let asked = stop.clone();
        ctrlc::set_handler(move || asked.ask())
            .map_err(|error| format!("cannot listen for a signal to stop: {error}"))?;
        let scenario = self.scenario();
        let (mut line, begun) = (ProgressLine::new(), Instant::now());
        let mut show = |progress: &RunProgress| {
            let text = bar::text(progress, begun.elapsed().as_secs_f64());
            match progress.trouble {
                Some(_) => line.show_waiting(&text),
                None => line.show(&text),
            }
        };
        let outcome = match series {
            None => simulation::run(&scenario, &settings, &stop, &mut show),
            Some(mut file) => {
                let (outcome, series) = simulation::series(&scenario, &settings, &stop, &mut show)?;
                file.set_len(0)?;
                write_json(&mut file, &series)?;
                Ok(outcome)
            }
        };
        line.clear();
        let outcome = outcome?;
        if let Some(mut file) = truth {
            file.set_len(0)?;
            write_json(&mut file, &outcome.truth)?;
        }
        let endpoint = match &self.series {
            None => settings.endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
            Some(path) => path.display().to_string(),
        };
        let view = View::new(&endpoint, &outcome);
        if self.json {
            write_json(out, &view.summary)?;
        } else {
            view.write(out)?;
        }
        let refused = outcome.truth.refused > 0 || outcome.reports_refused > 0;
        Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn scenario(&self) -> Scenario {
        Scenario {
            machines: self.machines,
            servers: self.servers.into(),
            branches: self.branches.into(),
            length: self.hours,
            from: self.from,
            seed: self.seed,
            pace: self.speed,
            agents: self.agents,
            direct: self.direct,
            senders: self.senders.into(),
            series_limit: self.series_limit,
            incidents: self.incident.clone(),
        }
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let lookup = WithEndpoint::new(System::program(), self.endpoint.as_deref());
        let (settings, reports) = Settings::resolve_with_reports(&lookup);
        let endpoint = reports.of(ENDPOINT);
        if let Some(malformed) = endpoint.and_then(|report| report.malformed.as_ref()) {
            return Err(malformed.problem.clone().into());
        }
        let fixed = endpoint
            .is_some_and(|report| matches!(report.source, Source::Policy | Source::Registry));
        if fixed && self.endpoint.is_none() && self.series.is_none() {
            return Err("this machine's registry names the collector of the real fleet; say with \
                        --endpoint where the simulated one is to be sent"
                .into());
        }
        Ok(settings)
    }
}

/// Opens the file before anything is sent: a whole day whose truth cannot be written is wasted.
fn open(path: &Path, what: &str) -> Result<File, Failure> {
    OpenOptions::new().create(true).write(true).truncate(false).open(path).map_err(|error| {
        format!("cannot write the {what} to {}: {error}; name another file", path.display()).into()
    })
}

fn hours(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|hours: &f64| *hours > 0.0 && *hours <= 24.0 * 366.0)
        .map(|hours| Duration::from_secs_f64(hours * 3600.0))
        .ok_or_else(|| {
            format!("`{text}` is no number of hours from 0 to a year, such as 24 or 0.5")
        })
}

/// Days of the week, as they may stand before a time.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// After the midnight with which a Monday begins.
fn time_of_week(text: &str) -> Result<Duration, String> {
    let day = text.split_once('-').and_then(|(day, time)| {
        let place = DAYS.iter().position(|known| *known == day)?;
        Some((place as u32, time))
    });
    let (day, time) = day.unwrap_or((0, text));
    time_of_day(time).map(|time| time + day * Duration::from_secs(24 * 3600))
}

fn time_of_day(text: &str) -> Result<Duration, String> {
    let parts = text.split_once(':').and_then(|(hour, minute)| {
        let two_digits = |text: &str, below: u64| {
            let plain = text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit());
            text.parse::<u64>().ok().filter(|number| plain && *number < below)
        };
        Some(Duration::from_secs(two_digits(hour, 24)? * 3600 + two_digits(minute, 60)? * 60))
    });
    parts.ok_or_else(|| format!("`{text}` is no time of day such as 05:00 or fri-17:30"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_has_hours_and_minutes() {
        assert_eq!(time_of_day("05:30"), Ok(Duration::from_secs(19_800)));
        for wrong in ["", "5:00", "24:00", "05:60", "0500", "05:00:00", "+5:00"] {
            assert!(time_of_day(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_may_have_a_day_of_the_week() {
        assert_eq!(time_of_week("05:30"), Ok(Duration::from_secs(19_800)));
        assert_eq!(time_of_week("tue-05:30"), Ok(Duration::from_secs(86_400 + 19_800)));
        for wrong in ["tue", "tue-", "day-05:00", "05:00-tue"] {
            assert!(time_of_week(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hours_may_have_a_fraction() {
        assert_eq!(hours("0.5"), Ok(Duration::from_secs(1800)));
        for wrong in ["", "0", "-1", "NaN", "inf", "1h"] {
            assert!(hours(wrong).is_err(), "{wrong}");
        }
    }
}
