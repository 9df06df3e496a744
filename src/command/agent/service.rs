//! The agent as a Windows service.

use super::super::Failure;
use std::process::ExitCode;

/// Hands this process to the service manager.
pub(in crate::command) fn dispatch() -> Result<ExitCode, Failure> {
    Err("the agent does not run as a service yet; run `mpr-otel agent`".into())
}
