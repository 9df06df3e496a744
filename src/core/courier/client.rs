//! The HTTP client under opentelemetry-otlp: the one place that sees status and headers.
//!
//! The request that leaves is built here from the settings. Only the body is used of what
//! opentelemetry-otlp made: it merges the host's `OTEL_EXPORTER_OTLP_HEADERS` into the headers
//! last.

use super::basic_credentials;
use super::cause::Cause;
use super::transport::{SystemTransport, Transport};
use crate::settings::{CertificateName, Compression, Proxy, Settings, is_on_this_machine};
use flate2::read::GzDecoder;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Uri};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use std::io::Read;
#[cfg(not(windows))]
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The Content-Type of OTLP in protobuf.
const PROTOBUF: &str = "application/x-protobuf";
/// A header value shorter than this many bytes is not hidden in answers: it is no secret, and many
/// texts contain it.
const SHORTEST_SECRET: usize = 8;

/// Says whether secrets may be sent in clear text to a port of this machine: it looks at the
/// process that listens there. Asked before each request. An error says why not.
pub type Guard = fn(u16) -> Result<(), (Cause, String)>;

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of authorities to trust cannot be read.
    #[cfg(not(windows))]
    #[error("cannot read the CA certificates in {} (MPR_OTEL_CA_CERTIFICATE): {problem}", path.display())]
    CaCertificate {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        problem: String,
    },
    /// The proxy cannot be used.
    #[cfg(not(windows))]
    #[error("cannot use the proxy (MPR_OTEL_PROXY): {0}")]
    Proxy(String),
    /// opentelemetry-otlp did not build an exporter.
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
        /// How long the server asks the client to wait.
        retry_after: Option<Duration>,
        /// Whether the answer says that its body is OTLP in protobuf.
        is_protobuf: bool,
        /// Where a redirect points.
        location: Option<String>,
        /// The body; `None` if it was too long for a collector's answer.
        body: Option<Bytes>,
    },
    /// No answer: the connection was refused, reset or timed out, or the server is not trusted.
    Failed(String),
    /// The [`Guard`] allowed nothing to be sent.
    Withheld(Cause, String),
}

/// A small blocking client that follows the settings.
#[derive(Debug)]
pub struct Client {
    transport: SystemTransport,
    endpoint: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    guard: Option<Guard>,
    compression: Compression,
    reply: Mutex<Option<Reply>>,
}

impl Client {
    /// A client for an endpoint of the settings' collector, for a program without an agent. It uses
    /// no proxy and no client certificate.
    pub fn of_host(settings: &Settings, endpoint: Uri) -> Result<Self, ClientError> {
        Self::through(&Proxy::None, None, settings, endpoint, None)
    }

    /// A client for an endpoint of the settings' collector, for the agent, `drain` and `status`. It
    /// uses the settings' proxy and client certificate. It sends headers in clear text only if
    /// `guard` allows it.
    pub fn of_agent(settings: &Settings, endpoint: Uri, guard: Guard) -> Result<Self, ClientError> {
        // A request to this machine does not leave it.
        let proxy = match is_on_this_machine(&endpoint) {
            true => &Proxy::None,
            false => &settings.proxy,
        };
        let certificate = settings.client_certificate.as_ref();
        Self::through(proxy, certificate, settings, endpoint, Some(guard))
    }

    fn through(
        proxy: &Proxy,
        certificate: Option<&CertificateName>,
        settings: &Settings,
        endpoint: Uri,
        guard: Option<Guard>,
    ) -> Result<Self, ClientError> {
        let mut headers = settings.headers.clone();
        if let Some(credentials) = basic_credentials::of(&endpoint)
            && !headers.iter().any(|(name, _)| name == AUTHORIZATION)
        {
            headers.push((AUTHORIZATION, credentials));
        }
        Ok(Self {
            transport: SystemTransport::new(settings, &endpoint, proxy, certificate)?,
            endpoint,
            headers,
            guard,
            compression: settings.compression,
            reply: Mutex::new(None),
        })
    }

    /// Whether the headers may go to the endpoint. They may if it uses TLS, if AllowInsecure
    /// permits clear text, or if the guard trusts the process that listens on this machine.
    fn may_send(&self) -> Result<(), (Cause, String)> {
        let in_clear = self.endpoint.scheme() == Some(&Scheme::HTTP);
        match self.guard {
            Some(guard)
                if in_clear && is_on_this_machine(&self.endpoint) && !self.headers.is_empty() =>
            {
                guard(self.endpoint.port_u16().unwrap_or(80))
            }
            _ => Ok(()),
        }
    }

    /// Replaces each header value that an answer repeats, character by character, so that the text
    /// around it stays well formed. In `Bearer <token>` the token is the secret.
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

    /// The URL that the client posts to.
    pub(super) fn endpoint(&self) -> &Uri {
        &self.endpoint
    }

    /// What the last request brought. `None` if no request was made since the last call of this
    /// function.
    pub(super) fn take_reply(&self) -> Option<Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Posts `body`, OTLP in protobuf, with `encoding` as its Content-Encoding.
    pub(super) fn post(&self, body: &[u8], encoding: Option<HeaderValue>) -> Reply {
        if let Err((cause, reason)) = self.may_send() {
            return Reply::Withheld(cause, reason);
        }
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF))];
        headers.extend(encoding.map(|encoding| (CONTENT_ENCODING, encoding)));
        headers.extend(self.headers.iter().cloned());
        let answer = match self.transport.post(&headers, body) {
            Ok(answer) => answer,
            Err(problem) => return Reply::Failed(problem),
        };
        let hidden = |mut text: Vec<u8>| {
            self.hide(&mut text);
            text
        };
        let location = answer.location.map(String::into_bytes).map(hidden);
        Reply::Answer {
            status: answer.status,
            retry_after: answer
                .retry_after
                .and_then(|value| parse_retry_after(&value, SystemTime::now())),
            is_protobuf: answer
                .content_type
                .is_some_and(|kind| kind.split(';').next().map(str::trim) == Some(PROTOBUF)),
            location: location.map(|text| String::from_utf8_lossy(&text).into_owned()),
            body: answer.body.map(hidden).map(Bytes::from),
        }
    }

    /// Compresses the body as the settings say, whatever the host's environment asked for.
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
        // The future blocks the exporter's own thread: no other task runs there.
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

/// `Retry-After`: seconds, or an HTTP date (RFC 9110, 10.2.3).
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value)
            .ok()
            // A date in the past means no wait.
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
