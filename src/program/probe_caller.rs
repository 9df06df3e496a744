//! The programs that `mpr-otel probe` starts to map and cancel. This file has both ends of their
//! protocol.
//!
//! The program calls one function of mpr.dll for each line that it reads, until its standard input
//! is closed. First it prints `ready`. Each request is `map NAME`, `cancel NAME` or `load`, and the
//! answer is `done CODE MICROSECONDS`; the code is a Win32 code. The scripts in probe/ answer in
//! the same way, and print `-` if they do not know the code.

use crate::answer::Failure;
use crate::machine::listed;
use crate::windows::{Wnet, load};
use clap::Args;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a program may take to start. PowerShell takes seconds.
const START: Duration = Duration::from_secs(60);
/// How long a program may take to end after it is released.
const END: Duration = Duration::from_secs(5);

/// A program that maps and cancels on request. It lives until this is dropped.
#[derive(Debug)]
pub(crate) struct Caller {
    program: Child,
    lines: Receiver<String>,
}

impl Caller {
    /// Starts the program. An error if it cannot map.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut program = command.spawn()?;
        let (sender, lines) = channel();
        let output = program.stdout.take();
        std::thread::spawn(move || {
            let lines = output.into_iter().flat_map(|output| BufReader::new(output).lines());
            // Sending fails when the caller has been dropped.
            lines.map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        let caller = Self { program, lines };
        match caller.lines.recv_timeout(START).as_deref().map(str::trim) {
            Ok("ready") => Ok(caller),
            _ => Err(io::Error::other("it does not start, or cannot map")),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.program.id()
    }

    /// Makes one request, and waits as long as it takes. Returns the call's code and time. `None`
    /// if the program has ended.
    pub(crate) fn ask(
        &mut self,
        verb: &str,
        name: &str,
    ) -> Option<(Option<u32>, Option<Duration>)> {
        writeln!(self.program.stdin.as_mut()?, "{verb} {name}").ok()?;
        let line = self.lines.recv().ok()?;
        let mut words = line.split_whitespace().skip(1);
        let code = words.next().and_then(|code| code.parse().ok());
        let micros = words.next().and_then(|micros| micros.parse().ok());
        Some((code, micros.map(Duration::from_micros)))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        drop(self.program.stdin.take());
        let begun = Instant::now();
        while matches!(self.program.try_wait(), Ok(None)) && begun.elapsed() < END {
            std::thread::sleep(Duration::from_millis(20));
        }
        // The program may have ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Calls one function of mpr.dll for `mpr-otel probe`, which starts it.
#[derive(Debug, Args)]
pub(crate) struct ProbeCaller {
    /// The function.
    function: String,
}

impl ProbeCaller {
    pub(crate) fn run(&self, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let find = |name: &str| Wnet::find(name).ok_or(format!("this Windows has no {name}"));
        let function = find(&self.function)?;
        let (map, cancel) = match function {
            Wnet::CancelConnection(_) | Wnet::CancelConnection2(_) => {
                (find("WNetAddConnection2W")?, function)
            }
            _ => (function, find("WNetCancelConnection2W")?),
        };
        writeln!(out, "ready")?;
        let mut mapped = None;
        for line in io::stdin().lines() {
            let line = line?;
            let (verb, name) = line.split_once(' ').unwrap_or_default();
            let begun = Instant::now();
            let code = match verb {
                "map" => map.call(name),
                "cancel" => cancel.call(name),
                _ => load_listed()?,
            };
            let took = begun.elapsed().as_micros();
            match (verb, code) {
                ("map", 0) => mapped = Some(name.to_owned()),
                ("cancel", 0) => mapped = None,
                _ => {}
            }
            writeln!(out, "done {code} {took}")?;
        }
        // The probe has ended without a request to cancel this.
        mapped.map(|name| cancel.call(&name));
        Ok(ExitCode::SUCCESS)
    }
}

/// The code of loading the DLL that MPR's list names. No other DLL is loaded: only administrators
/// write that list, so nobody can use this program to load another DLL.
fn load_listed() -> Result<u32, Failure> {
    let listed = listed()?.ok_or("no DLL is registered")?;
    Ok(load(&listed.path()).err().unwrap_or(0))
}
