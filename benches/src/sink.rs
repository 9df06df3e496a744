//! What is exported to: a receiver in a process of its own, so that its work is not counted.

use crate::Result;
use mpr_otel_lab::receiver::{Answer, Behaviour, Receiver, Request, Stream};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
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
    /// Starts `program` as a sink; the length of the file `answered` is the number of spans it answered.
    pub fn start(program: &Path, answered: &Path) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["worker", "sink"])
            .arg(answered)
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

/// Accepts everything and counts it.
struct Counting {
    arrived: Arc<Mutex<Arrived>>,
    /// Its length is the number of answered spans: a reader needs no protocol, and never sees a part
    /// of a number.
    answered: Mutex<File>,
}

impl Behaviour for Counting {
    fn answer(&self, request: &Request, _connection: &mut dyn Stream) -> Option<Answer> {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.requests += 1;
        arrived.bytes += request.wire_bytes as u64;
        for attributes in spans(request) {
            arrived.spans += 1;
            arrived.attributes += attributes as u64;
        }
        Some(Answer::ok())
    }

    /// Not in `answer`: an exporter that has no answer yet sleeps, and would be taken for one that
    /// has finished.
    fn answered(&self, request: &Request) -> io::Result<()> {
        let file = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        file.set_len(file.metadata()?.len() + spans(request).count() as u64)
    }
}

/// How many attributes each span has.
fn spans(request: &Request) -> impl Iterator<Item = usize> {
    let scopes = request.export.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).map(|span| span.attributes.len())
}

/// The sink's process: makes the file `answered`, prints its endpoint, then a line of [`Arrived`]
/// for every line it reads.
pub fn work(answered: &Path) -> Result<()> {
    let arrived = Arc::new(Mutex::new(Arrived::default()));
    let receiver = Receiver::behaving(Counting {
        arrived: Arc::clone(&arrived),
        answered: Mutex::new(File::create(answered)?),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{Shutdown, TcpStream};

    /// Sends one request, and returns the answer when the sink has done with the connection.
    fn post(receiver: &Receiver, body: &[u8]) -> String {
        let mut connection = TcpStream::connect(receiver.address()).unwrap();
        write!(connection, "POST /v1/traces HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len())
            .unwrap();
        connection.write_all(body).unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn the_length_of_the_file_is_the_number_of_answered_spans() {
        let file = tempfile::tempfile().unwrap();
        let receiver = Receiver::behaving(Counting {
            arrived: Arc::default(),
            answered: Mutex::new(file.try_clone().unwrap()),
        })
        .unwrap();
        let length = || file.metadata().unwrap().len();
        // One resource, one scope, two spans without fields.
        let two = [0x0a, 6, 0x12, 4, 0x12, 0, 0x12, 0];
        assert!(post(&receiver, &two).starts_with("HTTP/1.1 200"));
        assert_eq!(length(), 2);
        assert!(post(&receiver, &[0xff]).starts_with("HTTP/1.1 400"));
        assert_eq!(length(), 2);
        assert!(post(&receiver, &two).starts_with("HTTP/1.1 200"));
        assert_eq!(length(), 4);
    }
}
