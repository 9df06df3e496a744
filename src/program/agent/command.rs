//! `mpr-otel agent`: empties the ledgers of all hosts, until it is stopped.

use super::events::Events;
use super::serve::serve;
use crate::answer::Failure;
use clap::Args;
use mpr_otel_core::settings::System;
use mpr_otel_core::stop::Stop;
use std::process::ExitCode;
use std::sync::Arc;

/// Send what all programs of this machine recorded, until stopped.
///
/// Takes operations out of the ledgers of all users' programs that have ended, and with delivery
/// "agent" also out of those of running programs. Keeps the operations in its store and sends them.
/// Logs to standard error, and sends metrics about itself to the collector. On Windows `mpr-otel
/// install` makes it a service.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mpr-otel agent\n  \
    MPR_OTEL_ENDPOINT=https://collector.corp.example:4318 mpr-otel agent   (not on Windows)\n\n\
    Ctrl-C or a termination signal stops it within seconds, and nothing is lost.")]
pub(crate) struct AgentCommand {
    /// Run under Windows' service manager.
    #[arg(long, hide = true)]
    service: bool,
}

impl AgentCommand {
    pub(crate) fn run(&self) -> Result<ExitCode, Failure> {
        if self.service {
            #[cfg(windows)]
            return super::service::dispatch();
            #[cfg(not(windows))]
            return Err("there is no service manager here; run `mpr-otel agent`".into());
        }
        let stop = Stop::default();
        let asked = stop.clone();
        ctrlc::set_handler(move || asked.ask())
            .map_err(|error| format!("cannot listen for a signal to stop: {error}"))?;
        serve(&System::program().with_secrets(), &stop, true, &Arc::new(Events::nowhere()), || ())?;
        Ok(ExitCode::SUCCESS)
    }
}
