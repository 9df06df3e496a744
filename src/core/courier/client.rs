//! The HTTP client under opentelemetry-otlp: the one place that sees status and headers.
//!
//! The request that leaves is built here from our settings. What opentelemetry-otlp put into it
//! is not trusted further than its body: it merges the host's `OTEL_EXPORTER_OTLP_HEADERS` last.

use super::verdict::Cause;
use crate::settings::{Compression, Settings, is_private};
use flate2::read::GzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Uri};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use std::io::Read;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use ureq::config::Config;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// The Content-Type of OTLP in protobuf.
const PROTOBUF: &str = "application/x-protobuf";
/// A collector's answer has a few bytes; more than this is not one.
const LARGEST_ANSWER: u64 = 64 * 1024;
/// What is shorter than this many bytes is no secret, and would be found in many an answer.
const SHORTEST_SECRET: usize = 8;

/// Whether what listens on a port of this machine may be sent secrets in clear text, asked before each
/// request; an error says why not.
pub type Guard = fn(u16) -> Result<(), (Cause, String)>;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of authorities to trust.
    #[error("cannot read the CA certificates in {} (MPR_OTEL_CA_CERTIFICATE): {problem}", path.display())]
    CaCertificate {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        problem: String,
    },
    /// opentelemetry-otlp would not build an exporter.
    #[error("cannot build the exporter: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// What came back for a request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// An HTTP answer.
    Answer {
        /// Status code.
        status: u16,
        /// How long the server asked us to wait.
        retry_after: Option<Duration>,
        /// Whether it says that its body is OTLP in protobuf.
        is_protobuf: bool,
        /// Where a redirect points.
        location: Option<String>,
        /// Body; `None` if it was longer than [`LARGEST_ANSWER`] bytes.
        body: Option<Bytes>,
    },
    /// No answer: refused, reset, timed out, not trusted.
    Failed(String),
    /// The [`Guard`] let nothing be sent.
    Withheld(Cause, String),
}

/// A small blocking client with our settings.
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    endpoint: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    guard: Option<Guard>,
    compression: Compression,
    reply: Mutex<Option<Reply>>,
}

/// How long a connection is kept that nothing is sent over.
const IDLE_CONNECTION: Duration = Duration::from_secs(150);

impl Client {
    /// A client for an endpoint of the settings' collector.
    pub fn to(settings: &Settings, endpoint: Uri) -> Result<Self, ClientError> {
        let root_certs = match &settings.ca_certificate {
            None => RootCerts::PlatformVerifier,
            Some(path) => ca_certificates(path)
                .map_err(|problem| ClientError::CaCertificate { path: path.clone(), problem })?,
        };
        let provider = if cfg!(windows) { TlsProvider::NativeTls } else { TlsProvider::Rustls };
        let config = Config::builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            // A redirect would turn our POST into a GET.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The host's proxy variables are not ours.
            .proxy(None)
            // An agent that sends its metrics once a minute makes no new connection for each.
            .max_idle_age(IDLE_CONNECTION)
            .user_agent(concat!("mpr-otel/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().provider(provider).root_certs(root_certs).build())
            .build();
        Ok(Self {
            agent: ureq::Agent::with_parts(config, DefaultConnector::default(), CallingThread),
            endpoint,
            headers: settings.headers.clone(),
            guard: None,
            compression: settings.compression,
            reply: Mutex::new(None),
        })
    }

    /// One that sends its headers in clear text only where `guard` says so.
    #[must_use]
    pub fn guarded(self, guard: Guard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// Whether the headers may go to the endpoint: over TLS, to where this machine's administrators allow
    /// clear text, or to who listens on this machine, as the guard says.
    fn may_send(&self) -> Result<(), (Cause, String)> {
        let in_clear = self.endpoint.scheme() == Some(&Scheme::HTTP);
        match self.guard {
            Some(guard) if in_clear && is_private(&self.endpoint) && !self.headers.is_empty() => {
                guard(self.endpoint.port_u16().unwrap_or(80))
            }
            _ => Ok(()),
        }
    }

    /// Hides what an answer repeats of the headers' values, sign by sign: what encloses it stays well
    /// formed. Of `Bearer <token>` the token is the secret.
    fn hide(&self, answer: &mut [u8]) {
        for (_, value) in &self.headers {
            let value = value.as_bytes();
            let scheme = value.iter().position(|byte| *byte == b' ').map_or(0, |space| space + 1);
            let secret = &value[scheme..];
            if secret.len() < SHORTEST_SECRET {
                continue;
            }
            let mut rest = &mut *answer;
            while let Some(at) = rest.windows(secret.len()).position(|part| part == secret) {
                rest[at..at + secret.len()].fill(b'*');
                rest = &mut rest[at + secret.len()..];
            }
        }
    }

    /// Where it posts to.
    pub(super) fn endpoint(&self) -> &Uri {
        &self.endpoint
    }

    /// What the last request brought; `None` if none was made since this was asked.
    pub(super) fn take_reply(&self) -> Option<Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Posts `body`, OTLP in protobuf, with `encoding` as its Content-Encoding.
    pub(super) fn post(&self, body: &[u8], encoding: Option<HeaderValue>) -> Reply {
        if let Err((cause, reason)) = self.may_send() {
            return Reply::Withheld(cause, reason);
        }
        let mut request = self.agent.post(&self.endpoint).header(CONTENT_TYPE, PROTOBUF);
        if let Some(encoding) = encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut response = match request.send(body) {
            Ok(response) => response,
            Err(error) => return Reply::Failed(error.to_string()),
        };
        let text = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .map(str::to_owned)
        };
        let status = response.status().as_u16();
        let retry_after =
            text(RETRY_AFTER).and_then(|value| parse_retry_after(&value, SystemTime::now()));
        let location = text(http::header::LOCATION).map(|location| {
            let mut location = location.into_bytes();
            self.hide(&mut location);
            String::from_utf8_lossy(&location).into_owned()
        });
        let is_protobuf = text(CONTENT_TYPE)
            .is_some_and(|kind| kind.split(';').next().map(str::trim) == Some(PROTOBUF));
        let body = response.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec();
        let body = match body {
            Ok(mut body) => {
                self.hide(&mut body);
                Some(Bytes::from(body))
            }
            Err(ureq::Error::BodyExceedsLimit(_)) => None,
            Err(error) => return Reply::Failed(format!("status {status}, then: {error}")),
        };
        Reply::Answer { status, retry_after, is_protobuf, location, body }
    }

    /// The body as our settings want it on the wire, whatever the host's environment asked for.
    fn encode(&self, request: &Request<Bytes>) -> Result<(Bytes, Option<HeaderValue>), HttpError> {
        let encoding = request.headers().get(CONTENT_ENCODING);
        match (self.compression, encoding) {
            (Compression::None, Some(_)) => {
                let mut plain = Vec::new();
                GzDecoder::new(request.body().as_ref()).read_to_end(&mut plain)?;
                Ok((plain.into(), None))
            }
            (_, encoding) => Ok((request.body().clone(), encoding.cloned())),
        }
    }
}

impl HttpClient for Client {
    fn send_bytes<'client, 'future>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'future>>
    where
        'client: 'future,
        Self: 'future,
    {
        // Blocking, on the exporter's own thread: nobody else polls this.
        Box::pin(async move {
            let (body, encoding) = self.encode(&request)?;
            let reply = self.post(&body, encoding);
            *self.reply.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply.clone());
            match reply {
                Reply::Answer { status, body, .. } => {
                    Ok(Response::builder().status(status).body(body.unwrap_or_default())?)
                }
                Reply::Failed(problem) | Reply::Withheld(_, problem) => Err(problem.into()),
            }
        })
    }
}

/// Looks names up on the calling thread. ureq's own resolver starts a thread for each look-up
/// to enforce the time-out; in a foreign process one more thread is worse than a slow look-up,
/// which the system's resolver bounds itself.
#[derive(Debug)]
struct CallingThread;

impl Resolver for CallingThread {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let unlimited = NextTimeout {
            after: ureq::unversioned::transport::time::Duration::NotHappening,
            ..timeout
        };
        DefaultResolver::default().resolve(uri, config, unlimited)
    }
}

fn ca_certificates(path: &std::path::Path) -> Result<RootCerts, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| error.to_string())? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err("it holds no certificate; write them as PEM".to_owned());
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// `Retry-After`: seconds, or an HTTP date (RFC 9110, 10.2.3).
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value)
            .ok()
            // A date in the past asks for nothing.
            .map(|date| date.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        let seconds = |value| parse_retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:51:37 GMT"), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        for rubbish in ["", "soon", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(seconds(rubbish), None, "{rubbish}");
        }
    }
}
