//! Tries in a child process whether a program could load a DLL.
//!
//! A child process is used, because a DLL or a security product can harm the process that loads the
//! DLL, and that must not be `status`. The child takes no path. It loads the DLL that MPR's list
//! names, which only administrators write, so nobody can use this program to load another DLL.

use super::load::{Load, Loading};
use crate::answer::Failure;
use crate::machine::listed;
use crate::windows;
use clap::Args;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The hidden command that the child carries out.
const COMMAND: &str = "try-load";
/// What the child prints if it loaded the DLL. Otherwise it prints the error's code.
const LOADED: &str = "loaded";
/// How long the child may take. A scan by a security product takes a second or two.
const PATIENCE: Duration = Duration::from_secs(20);

/// Load the registered DLL and say `loaded`, or the code of the error.
#[derive(Debug, Args)]
pub(crate) struct TryLoad {}

impl TryLoad {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let listed = listed()?.ok_or("no DLL is registered; run `mpr-otel install`")?;
        match windows::load(&listed.path()) {
            Ok(()) => writeln!(out, "{LOADED}")?,
            Err(code) => writeln!(out, "{code}")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Starts a child process that loads the registered DLL.
pub(super) fn run() -> Load {
    match said_by_child() {
        Ok(said) if said.trim() == LOADED => {
            Load { result: Loading::Loaded, code: None, detail: None }
        }
        Ok(said) => match said.trim().parse::<u32>() {
            Ok(code) => {
                let error = io::Error::from_raw_os_error(code.cast_signed());
                refused(Some(code), &error.to_string())
            }
            Err(_) => refused(None, "the process that loaded it ended"),
        },
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            refused(None, "the process that loaded it did not end")
        }
        Err(error) => Load::not_tried(&format!("this program cannot be started: {error}")),
    }
}

fn refused(code: Option<u32>, detail: &str) -> Load {
    Load { result: Loading::Refused, code, detail: Some(detail.into()) }
}

fn said_by_child() -> io::Result<String> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(COMMAND)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let heard = listen(&mut child);
    let said = heard.recv_timeout(PATIENCE).map_err(|_| io::ErrorKind::TimedOut);
    // The child may have ended already.
    let _ = child.kill();
    child.wait()?;
    said?
}

/// What the child prints until it ends.
fn listen(child: &mut Child) -> mpsc::Receiver<io::Result<String>> {
    let (saying, heard) = mpsc::channel();
    let output = child.stdout.take();
    thread::spawn(move || {
        let mut said = String::new();
        let read = output.map_or(Ok(0), |mut output| output.read_to_string(&mut said));
        // The receiver is gone if the child took too long.
        let _ = saying.send(read.map(|_| said));
    });
    heard
}
