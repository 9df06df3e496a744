//! What is exported to: a receiver in a process of its own, so that its work is not counted.

use crate::Result;
use mpr_otel_lab::receiver::{Answer, Receiver, Request};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// What arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// Requests.
    pub requests: u64,
    /// Spans in them.
    pub spans: u64,
    /// Attributes on those spans.
    pub attributes: u64,
    /// Bytes of their bodies on the wire.
    pub bytes: u64,
}

/// A sink's process. It ends with this value, or with the bench.
#[derive(Debug)]
pub struct Sink {
    child: Child,
    ask: Option<ChildStdin>,
    told: Mutex<BufReader<ChildStdout>>,
    endpoint: String,
}

impl Sink {
    /// Starts `program` as a sink.
    pub fn start(program: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["worker", "sink"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ask = child.stdin.take();
        let mut told = BufReader::new(child.stdout.take().ok_or("the sink has no output")?);
        let mut endpoint = String::new();
        told.read_line(&mut endpoint)?;
        Ok(Self { child, ask, told: Mutex::new(told), endpoint: endpoint.trim().to_owned() })
    }

    /// Its base URL.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What arrived since this was last asked.
    pub fn take(&self) -> Result<Arrived> {
        let mut told = self.told.lock().map_err(|_| "the sink is broken")?;
        let mut ask = self.ask.as_ref().ok_or("the sink is closed")?;
        ask.write_all(b"\n")?;
        let mut line = String::new();
        told.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It ends when its input does.
        self.ask = None;
        let _ = self.child.wait();
    }
}

/// The sink's process: prints its endpoint, then a line of [`Arrived`] for every line it reads.
pub fn work() -> Result<()> {
    let arrived = Arc::new(Mutex::new(Arrived::default()));
    let count = Arc::clone(&arrived);
    let receiver = Receiver::behaving(move |request: &Request| {
        let mut arrived = count.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.requests += 1;
        arrived.bytes += request.wire_bytes as u64;
        let scopes =
            request.export.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        for span in scopes.flat_map(|scope| &scope.spans) {
            arrived.spans += 1;
            arrived.attributes += span.attributes.len() as u64;
        }
        Answer::ok()
    })?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", receiver.endpoint())?;
    out.flush()?;
    std::thread::spawn(move || receiver.requests().iter().for_each(drop));
    for line in std::io::stdin().lock().lines() {
        line?;
        let taken = std::mem::take(&mut *arrived.lock().unwrap_or_else(PoisonError::into_inner));
        writeln!(out, "{}", serde_json::to_string(&taken)?)?;
        out.flush()?;
    }
    Ok(())
}
