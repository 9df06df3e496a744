//! A small OTLP/HTTP receiver for the demo and the tests: it takes what an exporter sends, hands
//! it on decoded, and answers as the test wants.

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

/// The largest body that is taken, compressed or not.
const LARGEST_BODY: u64 = 64 * 1024 * 1024;
/// The largest request head that is taken.
const LARGEST_HEAD: usize = 64 * 1024;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path of the request line.
    pub path: String,
    /// Headers in the order they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body on the wire.
    pub wire_bytes: usize,
    /// The decoded body of a request for spans; otherwise empty.
    pub export: ExportTraceServiceRequest,
    /// The decoded body of a request for metrics; otherwise empty.
    pub metrics: ExportMetricsServiceRequest,
}

impl Request {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers besides Content-Length, with names in lower case. Without a Content-Type it is OTLP's.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Full success: an empty ExportTraceServiceResponse.
    pub fn ok() -> Self {
        Self::status(200)
    }

    /// A bare status.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A connection of any kind.
pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// What a receiver does with its connections and requests.
pub trait Behaviour: Send + Sync + 'static {
    /// Wraps an accepted connection, for TLS say.
    fn accept(&self, connection: TcpStream) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(connection))
    }

    /// Answers a request; `None` closes the connection without a word.
    fn answer(&self, request: &Request, connection: &mut dyn Stream) -> Option<Answer>;

    /// Called after the answer to a request was written. An error closes the connection.
    fn answered(&self, _request: &Request) -> io::Result<()> {
        Ok(())
    }
}

impl<F: Fn(&Request) -> Answer + Send + Sync + 'static> Behaviour for F {
    fn answer(&self, request: &Request, _connection: &mut dyn Stream) -> Option<Answer> {
        Some(self(request))
    }
}

/// A receiver on a free loopback port. Its threads end with the process.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    requests: mpsc::Receiver<Request>,
    metrics: mpsc::Receiver<Request>,
    closing: Arc<AtomicBool>,
    listening: JoinHandle<()>,
}

impl Receiver {
    /// Starts a receiver that accepts everything.
    pub fn start() -> io::Result<Self> {
        Self::behaving(|_: &Request| Answer::ok())
    }

    /// Starts a receiver that behaves as ordered. Every request that arrives whole is handed on,
    /// whatever the answer.
    pub fn behaving(behaviour: impl Behaviour) -> io::Result<Self> {
        Self::serving(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, behaviour)
    }

    /// The same on a listener that is there already.
    pub fn serving(listener: TcpListener, behaviour: impl Behaviour) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (spans_sender, requests) = mpsc::channel();
        let (metrics_sender, metrics) = mpsc::channel();
        let sender = Senders { spans: spans_sender, metrics: metrics_sender };
        let behaviour = Arc::new(behaviour);
        let closing = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&closing);
        let listening = thread::Builder::new().name("receiver".to_owned()).spawn(move || {
            for connection in listener.incoming().filter_map(Result::ok) {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                let behaviour = Arc::clone(&behaviour);
                let sender = sender.clone();
                // A connection that cannot have a thread is closed: exporters try again.
                let _ = thread::Builder::new().name("receiver".to_owned()).spawn(move || {
                    // A connection that breaks is its client's business.
                    let _ = serve(connection, behaviour.as_ref(), &sender);
                });
            }
        })?;
        Ok(Self { address, requests, metrics, closing, listening })
    }

    /// Stops listening: who connects from now on is refused. What is connected stays.
    pub fn close(self) -> io::Result<()> {
        self.closing.store(true, Ordering::Relaxed);
        // It looks up when somebody connects.
        TcpStream::connect(self.address)?;
        self.listening.join().map_err(|_| io::Error::other("the receiver's thread ended badly"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, for `MPR_OTEL_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests for spans, as they come.
    pub fn requests(&self) -> &mpsc::Receiver<Request> {
        &self.requests
    }

    /// The requests for metrics, as they come.
    pub fn metrics(&self) -> &mpsc::Receiver<Request> {
        &self.metrics
    }
}

/// Where requests go, by their signal.
#[derive(Clone)]
struct Senders {
    spans: mpsc::Sender<Request>,
    metrics: mpsc::Sender<Request>,
}

impl Senders {
    fn send(&self, request: Request) {
        let sender = if is_metrics(&request.path) { &self.metrics } else { &self.spans };
        // Nobody may be listening any more: the exporter gets its answer all the same.
        let _ = sender.send(request);
    }
}

/// Whether the path is that of metrics (OTLP spec: OTLP/HTTP request).
fn is_metrics(path: &str) -> bool {
    path.ends_with("/v1/metrics")
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Serves one connection until it is closed.
fn serve(connection: TcpStream, behaviour: &dyn Behaviour, requests: &Senders) -> io::Result<()> {
    let mut connection = behaviour.accept(connection)?;
    let mut buffered = Vec::new();
    while let Some((path, headers, head_bytes)) = read_head(&mut connection, &mut buffered)? {
        buffered.drain(..head_bytes);
        let length = header(&headers, "content-length").and_then(|text| text.parse().ok());
        let Some(length) = length.filter(|length| *length <= LARGEST_BODY as usize) else {
            return write_answer(&mut connection, &Answer::status(411));
        };
        fill(&mut connection, &mut buffered, length)?;
        let body: Vec<u8> = buffered.drain(..length).collect();
        match decode(&path, &body, header(&headers, "content-encoding")) {
            Err(problem) => {
                let body = problem.to_string().into_bytes();
                write_answer(&mut connection, &Answer { body, ..Answer::status(400) })?;
            }
            Ok((export, metrics)) => {
                let wire_bytes = body.len();
                let request = Request { path, headers, wire_bytes, export, metrics };
                requests.send(request.clone());
                let Some(answer) = behaviour.answer(&request, connection.as_mut()) else {
                    return Ok(());
                };
                write_answer(&mut connection, &answer)?;
                behaviour.answered(&request)?;
            }
        }
    }
    Ok(())
}

type Head = (String, Vec<(String, String)>, usize);

/// Reads a request's head: path, headers, and its length. `None` if the client closed.
fn read_head(connection: &mut dyn Stream, buffered: &mut Vec<u8>) -> io::Result<Option<Head>> {
    loop {
        let mut places = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut places);
        match request.parse(buffered).map_err(io::Error::other)? {
            httparse::Status::Complete(head_bytes) => {
                let headers = request
                    .headers
                    .iter()
                    .map(|header| {
                        let value = String::from_utf8_lossy(header.value).into_owned();
                        (header.name.to_ascii_lowercase(), value)
                    })
                    .collect();
                let path = request.path.unwrap_or_default().to_owned();
                return Ok(Some((path, headers, head_bytes)));
            }
            httparse::Status::Partial if buffered.len() > LARGEST_HEAD => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            httparse::Status::Partial => {
                let before = buffered.len();
                fill(connection, buffered, before + 1).or_else(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof if before == 0 => Ok(()),
                    _ => Err(error),
                })?;
                if buffered.is_empty() {
                    return Ok(None);
                }
            }
        }
    }
}

/// Reads until `wanted` bytes are buffered.
fn fill(connection: &mut dyn Stream, buffered: &mut Vec<u8>, wanted: usize) -> io::Result<()> {
    let mut block = [0; 16 * 1024];
    while buffered.len() < wanted {
        match connection.read(&mut block)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => buffered.extend_from_slice(&block[..count]),
        }
    }
    Ok(())
}

type Decoded = (ExportTraceServiceRequest, ExportMetricsServiceRequest);

fn decode(path: &str, body: &[u8], encoding: Option<&str>) -> io::Result<Decoded> {
    let plain = match encoding {
        None => body.to_vec(),
        Some("gzip") => {
            let mut plain = Vec::new();
            GzDecoder::new(body).take(LARGEST_BODY).read_to_end(&mut plain)?;
            plain
        }
        Some(other) => return Err(io::Error::other(format!("unknown encoding {other}"))),
    };
    let (mut spans, mut metrics) = Decoded::default();
    let merged = if is_metrics(path) {
        metrics.merge(plain.as_slice())
    } else {
        spans.merge(plain.as_slice())
    };
    merged.map(|()| (spans, metrics)).map_err(io::Error::other)
}

fn write_answer(connection: &mut dyn Stream, answer: &Answer) -> io::Result<()> {
    let mut head =
        format!("HTTP/1.1 {} \r\ncontent-length: {}\r\n", answer.status, answer.body.len());
    if header(&answer.headers, "content-type").is_none() {
        head.push_str("content-type: application/x-protobuf\r\n");
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    connection.write_all(head.as_bytes())?;
    connection.write_all(&answer.body)?;
    connection.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;

    /// Stays in `answered` until the client says that it has the answer.
    struct Waiting(Mutex<mpsc::Receiver<()>>);

    impl Behaviour for Waiting {
        fn answer(&self, _request: &Request, _connection: &mut dyn Stream) -> Option<Answer> {
            Some(Answer::ok())
        }

        fn answered(&self, _request: &Request) -> io::Result<()> {
            self.0.lock().unwrap().recv().map_err(io::Error::other)
        }
    }

    #[test]
    fn a_behaviour_hears_of_an_answer_after_the_client_could_read_it() {
        let (client_has_it, hears) = mpsc::channel();
        let receiver = Receiver::behaving(Waiting(Mutex::new(hears))).unwrap();
        let mut connection = TcpStream::connect(receiver.address()).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        connection.write_all(b"POST /v1/traces HTTP/1.1\r\ncontent-length: 0\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        client_has_it.send(()).unwrap();
    }
}
