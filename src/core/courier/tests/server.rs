//! A server that does what a test asks, on a free loopback port. Its threads end with the process.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a server waits for its client's next bytes, or for the end of the connection.
const SERVERS_PATIENCE: Duration = Duration::from_secs(20);

/// A connection of any kind.
pub(super) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Request {
    /// Such as `POST /v1/traces HTTP/1.1`.
    pub(super) line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What the server does with a request. An error closes the connection.
pub(super) trait Deed:
    Fn(&Request, &mut dyn Stream) -> io::Result<()> + Send + Sync + 'static
{
}
impl<F: Fn(&Request, &mut dyn Stream) -> io::Result<()> + Send + Sync + 'static> Deed for F {}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// The requests that the server has read.
    pub(super) requests: mpsc::Receiver<Request>,
    /// For each closed connection, the error that the server met, if any.
    pub(super) closed: mpsc::Receiver<Option<io::ErrorKind>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// A server that does `deed` with each request.
    pub(super) fn doing(deed: impl Deed) -> Self {
        Self::accepting(|connection| Ok(Box::new(connection)), deed)
    }

    /// A server that answers each request with these bytes.
    pub(super) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::doing(move |_: &Request, connection: &mut dyn Stream| connection.write_all(&answer))
    }

    /// A server that does the same over TLS.
    pub(super) fn over_tls(config: Arc<rustls::ServerConfig>, deed: impl Deed) -> Self {
        Self::accepting(
            move |connection| {
                let session =
                    rustls::ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
                Ok(Box::new(rustls::StreamOwned::new(session, connection)))
            },
            deed,
        )
    }

    /// A server that takes every request and does not answer.
    pub(super) fn mute() -> Self {
        let nothing = |_: &Request, _: &mut dyn Stream| Ok(());
        Self::accepting(
            |mut connection| {
                while connection.read(&mut [0; 512])? > 0 {}
                Err(io::ErrorKind::UnexpectedEof.into())
            },
            nothing,
        )
    }

    fn accepting(
        accept: impl Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync + 'static,
        deed: impl Deed,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel();
        let (closing, closed) = mpsc::channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let (accept, deed, count) = (Arc::new(accept), Arc::new(deed), Arc::clone(&connections));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let (accept, deed) = (Arc::clone(&accept), Arc::clone(&deed));
                let (sender, closing) = (sender.clone(), closing.clone());
                thread::spawn(move || {
                    let served = serve(connection, &*accept, &*deed, &sender);
                    // The test that listens may have ended.
                    let _ = closing.send(served.err().map(|error| error.kind()));
                });
            }
        });
        Self { address, requests, closed, connections }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until a client has closed its connection.
    pub(super) fn until_given_up(&self) {
        let met_with = self.closed.recv_timeout(2 * SERVERS_PATIENCE).expect("a connection's end");
        // The system decides which of these errors it is.
        let server_gave_up =
            matches!(met_with, Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut));
        assert!(!server_gave_up, "the client waited longer than the server");
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }
}

/// An answer with these headers, each of which ends in CR and LF.
pub(super) fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn serve(
    connection: TcpStream,
    accept: &dyn Fn(TcpStream) -> io::Result<Box<dyn Stream>>,
    deed: &dyn Deed<Output = io::Result<()>>,
    requests: &mpsc::Sender<Request>,
) -> io::Result<()> {
    connection.set_read_timeout(Some(SERVERS_PATIENCE))?;
    let mut connection = accept(connection)?;
    let mut buffered = Vec::new();
    while let Some(request) = read(&mut *connection, &mut buffered)? {
        let done = deed(&request, &mut *connection);
        let _ = requests.send(request);
        done?;
        connection.flush()?;
    }
    Ok(())
}

/// The next request; `None` if the client closed.
fn read(connection: &mut dyn Stream, buffered: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let end = loop {
        if let Some(at) = buffered.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if !fill(connection, buffered)? {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffered[..end]).into_owned();
    let (line, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
    let headers: Vec<(String, String)> = rest
        .split("\r\n")
        .filter_map(|header| header.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request { line: line.to_owned(), headers, body: Vec::new() };
    buffered.drain(..end + 4);
    let length =
        request.header("content-length").map_or(0, |length| length.parse::<usize>().unwrap());
    while buffered.len() < length {
        if !fill(connection, buffered)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    request.body = buffered.drain(..length).collect();
    Ok(Some(request))
}

fn fill(connection: &mut dyn Stream, buffered: &mut Vec<u8>) -> io::Result<bool> {
    let mut part = [0; 4096];
    let bytes = connection.read(&mut part)?;
    buffered.extend_from_slice(&part[..bytes]);
    Ok(bytes > 0)
}
