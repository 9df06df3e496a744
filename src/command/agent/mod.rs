//! `mpr-otel agent`: empties the ledgers of all hosts, until it is stopped.

#[cfg(windows)]
pub(super) mod service;

use super::Failure;
use clap::Args;
use mpr_otel::agent::{Agent, Stop, Telemetry};
use mpr_otel::settings::{Settings, System};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long the agent may take to stop. What it has not sent by then is in the ledgers.
const GRACE: Duration = Duration::from_secs(3);

/// Export what all programs of this machine recorded, until stopped.
///
/// Adopts the ledgers of programs that have ended, whoever ran them, and with delivery "agent"
/// exports for the running ones, too. Tells what it does on standard error, and sends metrics
/// about itself to the collector. On Windows `mpr-otel install --agent` makes it a service.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel agent\n  \
    MPR_OTEL_ENDPOINT=http://collector.corp.example:4318 mpr-otel agent\n\n\
    Ctrl-C or a termination signal stops it within seconds; nothing is lost by it.")]
pub(super) struct AgentCommand {
    /// Run under Windows' service manager.
    #[arg(long, hide = true)]
    service: bool,
}

impl AgentCommand {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        if self.service {
            #[cfg(windows)]
            return service::dispatch();
            #[cfg(not(windows))]
            return Err("there is no service manager here; run `mpr-otel agent`".into());
        }
        let stop = Stop::default();
        let asked = stop.clone();
        ctrlc::set_handler(move || asked.ask())
            .map_err(|error| format!("cannot listen for a signal to stop: {error}"))?;
        serve(&stop, true)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Is the agent until `stop` is asked. `heard`: somebody reads standard error.
pub(super) fn serve(stop: &Stop, heard: bool) -> Result<(), Failure> {
    let settings = Settings::resolve(&System::open());
    let telemetry = Telemetry::start(&settings, heard)?;
    for report in &settings.reports {
        if let Some(malformed) = &report.malformed {
            tracing::warn!(
                setting = report.name.variable,
                problem = malformed.problem,
                "malformed"
            );
        }
    }
    let mut agent = Agent::new(settings)?;
    let (done, finished) = mpsc::channel::<()>();
    let asked = stop.clone();
    thread::Builder::new().name("mpr-otel-agent".to_owned()).spawn(move || {
        agent.run(&asked);
        telemetry.finish();
        drop(done);
    })?;
    stop.wait_for_ever();
    // A collector that hangs must not hold up the machine's shutdown.
    let _ = finished.recv_timeout(GRACE);
    Ok(())
}
