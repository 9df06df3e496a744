//! `mpr-otel-lab demo`: the main job, embedded: real host processes with the real shared library, a
//! receiver, and what it received.

mod fleet;
mod play;
mod view;

use super::answer::{Failure, write_json};
use super::progress_line::ProgressLine;
use clap::Args;
use mpr_otel_core::courier::{Courier, Verdict};
use mpr_otel_core::settings::{
    ALLOW_ENVIRONMENT, ENDPOINT, Settings, Source, System, WithEndpoint,
};
use mpr_otel_lab::double;
use mpr_otel_lab::receiver::Receiver;
use play::Stage;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use view::View;

/// Show the main job at work: some 200 operations of five programs on a dozen servers.
///
/// Nothing is installed and nothing is mapped: a stand-in for Windows' multiple provider router calls
/// the real shared library.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel-lab demo\n  mpr-otel-lab demo --json\n  \
    mpr-otel-lab demo --endpoint http://127.0.0.1:4318")]
pub(super) struct Demo {
    /// Send to this collector instead of the embedded receiver. Headers and other settings are
    /// taken from the environment (MPR_OTEL_*).
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The shared library, if it is not beside this program.
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How long the spans may take after the last operation before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(20);

impl Demo {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        refuse_fixed_settings()?;
        let library = match &self.library {
            Some(library) => library.clone(),
            None => library()?,
        };
        let started = Instant::now();
        let script = fleet::script();
        let operations = script.operations();
        let line = ProgressLine::new();
        let view = match &self.endpoint {
            None => {
                let receiver = Receiver::start()?;
                let mut stage = Stage::set(&script, &library, &receiver.endpoint(), true)?;
                let spans = stage.collect(&receiver, PATIENCE, &line)?;
                let tally = stage.settle(PATIENCE, &line)?;
                View::received(operations, &spans, tally, started.elapsed())
            }
            Some(endpoint) => {
                check_collector(endpoint)?;
                let mut stage = Stage::set(&script, &library, endpoint, false)?;
                let tally = stage.settle(PATIENCE, &line)?;
                if tally.pending() > 0 {
                    return Err(format!(
                        "{} of {operations} spans were not accepted by {endpoint}: {}",
                        tally.pending(),
                        stage.last_error()?
                    )
                    .into());
                }
                View::sent(endpoint, &script, tally, started.elapsed())
            }
        };
        line.clear();
        if self.json {
            write_json(out, &view.summary)?;
        } else {
            view.write(out)?;
        }
        Ok(if view.adds_up() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The shared library beside this program.
fn library() -> Result<PathBuf, Failure> {
    double::find_library().ok_or_else(|| {
        format!(
            "{} is not beside this program; `cargo demo` builds both, --library names another",
            double::LIBRARY
        )
        .into()
    })
}

/// Registry settings beat the environment that the demo gives its hosts: with them it would send
/// its made-up operations to the fleet's collector.
fn refuse_fixed_settings() -> Result<(), Failure> {
    let system = System::host();
    let (_, reports) = Settings::resolve_with_reports(&system);
    let fixed = reports.iter().find(|report| {
        let source = report.malformed.as_ref().map_or(report.source, |malformed| malformed.source);
        report.name.registry != ALLOW_ENVIRONMENT
            && matches!(source, Source::Policy | Source::Registry)
    });
    match fixed {
        None if !system.environment_counts() => Err(
            "the demo gives its programs settings through their environment, which does not count \
             here; set AllowEnvironment to 1 in HKLM\\SOFTWARE\\mpr-otel, and run the demo as an \
             ordinary user"
                .into(),
        ),
        None => Ok(()),
        Some(report) => Err(format!(
            "this machine's registry sets {} for every process, the demo's as well; run the demo \
             on a machine without mpr-otel's settings",
            report.name.registry
        )
        .into()),
    }
}

/// Checks first that a collector answers, so that the demo does not wait for spans that nobody
/// takes.
fn check_collector(endpoint: &str) -> Result<(), Failure> {
    let lookup = WithEndpoint::new(System::program(), Some(endpoint));
    let (settings, reports) = Settings::resolve_with_reports(&lookup);
    if let Some(malformed) = reports.of(ENDPOINT).and_then(|report| report.malformed.as_ref()) {
        return Err(malformed.problem.clone().into());
    }
    match Courier::new(settings).probe() {
        Verdict::Accepted { .. } => Ok(()),
        Verdict::Refused { reason }
        | Verdict::Divide { reason }
        | Verdict::Later { reason, .. } => Err(format!(
            "no collector takes spans at {endpoint}: {reason}; start one, or leave out --endpoint"
        )
        .into()),
    }
}
