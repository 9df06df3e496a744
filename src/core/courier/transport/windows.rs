//! HTTP by WinHTTP, with Windows' own TLS, authorities and proxies.
//!
//! Each step of a request has its own limit. The steps are resolving, connecting to each address,
//! sending, and receiving the head of the answer. Each step may take as long as the settings let a
//! request take, or the rest of that time. The body is read in parts that have already arrived, and
//! the time is checked between two parts.

use super::{LARGEST_ANSWER, Response, Transport, USER_AGENT};
use crate::courier::ClientError;
use crate::platform::Certificate;
use crate::platform::winhttp::{Access, Request, Server, Session, WinHttpError};
use crate::settings::{CertificateName, Proxy, Settings};
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Uri};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use windows_sys::Win32::Networking::WinHttp as winhttp;

/// The TLS versions that are offered, the newest first. Windows refuses a set that has a version
/// that it does not know.
const PROTOCOLS: [u32; 2] = [
    winhttp::WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_2 | winhttp::WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_3,
    winhttp::WINHTTP_FLAG_SECURE_PROTOCOL_TLS1_2,
];
/// WSAETIMEDOUT and WSAECONNREFUSED (winsock2.h). They are returned if WinHTTP has no error code of
/// its own.
const WSA_TIMED_OUT: u32 = 10060;
const WSA_REFUSED: u32 = 10061;
/// How much of an answer is read at once, in bytes.
const PART: usize = 4096;

/// A server, and what all requests to it have in common.
#[derive(Debug)]
pub(in crate::courier) struct WinHttp {
    access: Access,
    host: String,
    port: u16,
    path: String,
    secure: bool,
    certificate: Option<CertificateName>,
    timeout: Duration,
    /// Made by the thread that sends first. Used for one request at a time.
    connected: Mutex<Option<Connected>>,
}

/// WinHTTP's handles. The connection's has to be closed before its session's.
#[derive(Debug)]
struct Connected {
    server: Server,
    _session: Session,
}

impl Transport for WinHttp {
    fn new(
        settings: &Settings,
        endpoint: &Uri,
        proxy: &Proxy,
        certificate: Option<&CertificateName>,
    ) -> Result<Self, ClientError> {
        let secure = endpoint.scheme() == Some(&Scheme::HTTPS);
        let access = match proxy {
            Proxy::None => Access::Direct,
            Proxy::System => Access::Automatic,
            Proxy::Url(url) => Access::Through(format!(
                "{}:{}",
                url.host().unwrap_or_default(),
                url.port_u16().unwrap_or(winhttp::INTERNET_DEFAULT_HTTP_PORT)
            )),
        };
        Ok(Self {
            access,
            host: endpoint.host().unwrap_or_default().to_owned(),
            port: endpoint.port_u16().unwrap_or(match secure {
                true => winhttp::INTERNET_DEFAULT_HTTPS_PORT,
                false => winhttp::INTERNET_DEFAULT_HTTP_PORT,
            }),
            path: endpoint.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            secure,
            certificate: certificate.cloned(),
            timeout: settings.timeout,
            connected: Mutex::new(None),
        })
    }

    fn post(&self, headers: &[(HeaderName, HeaderValue)], body: &[u8]) -> Result<Response, String> {
        let until = Instant::now() + self.timeout;
        let certificate = match &self.certificate {
            Some(name) if self.secure => Some(find(name)?),
            _ => None,
        };
        let mut lines = String::new();
        for (name, value) in headers {
            let value = value.to_str().map_err(|_| format!("the value of {name} is not ASCII"))?;
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        self.exchange(certificate.as_ref(), &lines, body, until).map_err(|failure| match failure {
            // If a time-out hits in the middle of TLS, for example, WinHTTP reports that TLS
            // failed.
            Failure::Of(error) if Instant::now() < until => self.explain(error),
            Failure::CutShort => "the connection broke in the middle of the answer".to_owned(),
            _ => {
                let limit = self.timeout.as_millis();
                format!("timeout: no whole answer within {limit} ms (TimeoutMs)")
            }
        })
    }
}

impl WinHttp {
    fn exchange(
        &self,
        certificate: Option<&Certificate>,
        headers: &str,
        body: &[u8],
        until: Instant,
    ) -> Result<Response, Failure> {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let connected = match &mut *connected {
            Some(connected) => connected,
            none => none.insert(self.connect()?),
        };
        let request = connected.server.post(&self.path, self.secure)?;
        self.restrict(&request, certificate)?;
        request.set_timeouts(left(until))?;
        let limit = |option| request.set(option, left(until).cast_unsigned());
        limit(winhttp::WINHTTP_OPTION_RECEIVE_RESPONSE_TIMEOUT)?;
        request.send(headers, body)?;
        // The rest of the time. If Windows takes no new limit for a request that was sent, the
        // first limit stays.
        let _ = limit(winhttp::WINHTTP_OPTION_RECEIVE_RESPONSE_TIMEOUT);
        let _ = limit(winhttp::WINHTTP_OPTION_RECEIVE_TIMEOUT);
        request.receive()?;
        let status = request.header(winhttp::WINHTTP_QUERY_STATUS_CODE);
        Ok(Response {
            status: status.and_then(|status| status.parse().ok()).ok_or(Failure::CutShort)?,
            retry_after: request.header(winhttp::WINHTTP_QUERY_RETRY_AFTER),
            content_type: request.header(winhttp::WINHTTP_QUERY_CONTENT_TYPE),
            location: request.header(winhttp::WINHTTP_QUERY_LOCATION),
            body: read_body(&request, until)?,
        })
    }

    fn connect(&self) -> Result<Connected, WinHttpError> {
        let session = Session::open(USER_AGENT, &self.access)?;
        let protocols = |set| session.set(winhttp::WINHTTP_OPTION_SECURE_PROTOCOLS, set);
        protocols(PROTOCOLS[0]).or_else(|_| protocols(PROTOCOLS[1]))?;
        // Without this the connections of the host program, with its user's certificates and
        // logons, could be shared. Windows before 11 does not know this option.
        let _ = session.set(winhttp::WINHTTP_OPTION_DISABLE_GLOBAL_POOLING, 1);
        let server = session.connect(&self.host, self.port)?;
        Ok(Connected { server, _session: session })
    }

    /// Forbids what a request must not do. If Windows refuses one of these options, the request is
    /// not sent.
    fn restrict(
        &self,
        request: &Request,
        certificate: Option<&Certificate>,
    ) -> Result<(), WinHttpError> {
        // A redirect would turn our POST into a GET, with our headers in it.
        request.set(
            winhttp::WINHTTP_OPTION_REDIRECT_POLICY,
            winhttp::WINHTTP_OPTION_REDIRECT_POLICY_NEVER,
        )?;
        // By default WinHTTP logs on as the user if an intranet server or a proxy asks for it.
        request.set(
            winhttp::WINHTTP_OPTION_AUTOLOGON_POLICY,
            winhttp::WINHTTP_AUTOLOGON_SECURITY_LEVEL_HIGH,
        )?;
        request.set(
            winhttp::WINHTTP_OPTION_DISABLE_FEATURE,
            winhttp::WINHTTP_DISABLE_AUTHENTICATION
                | winhttp::WINHTTP_DISABLE_COOKIES
                | winhttp::WINHTTP_DISABLE_REDIRECTS,
        )?;
        if self.secure {
            // Without this WinHTTP might use one of the user's certificates.
            request.set_client_certificate(certificate)?;
        }
        Ok(())
    }

    /// Says what a failure means, and what to do about it.
    fn explain(&self, error: WinHttpError) -> String {
        let proxy = match &self.access {
            Access::Direct => "",
            Access::Automatic => " or the proxy that Windows' settings name",
            Access::Through(_) => " or the proxy that Proxy names",
        };
        let host = &self.host;
        let why = match error.code {
            winhttp::ERROR_WINHTTP_TIMEOUT | WSA_TIMED_OUT => {
                format!("timeout: {host}{proxy} does not answer")
            }
            winhttp::ERROR_WINHTTP_NAME_NOT_RESOLVED => {
                format!("no address is known for {host}{proxy}")
            }
            winhttp::ERROR_WINHTTP_CANNOT_CONNECT | WSA_REFUSED => {
                format!("{host}{proxy} refused the connection, or cannot be reached")
            }
            winhttp::ERROR_WINHTTP_CLIENT_AUTH_CERT_NEEDED
            | winhttp::ERROR_WINHTTP_CLIENT_AUTH_CERT_NEEDED_PROXY => {
                "the server asks for a client certificate; set ClientCertificate".to_owned()
            }
            winhttp::ERROR_WINHTTP_CLIENT_CERT_NO_PRIVATE_KEY
            | winhttp::ERROR_WINHTTP_CLIENT_CERT_NO_ACCESS_PRIVATE_KEY => {
                r"the private key of ClientCertificate cannot be used; give NT SERVICE\mpr-otel-agent the right to read it"
                    .to_owned()
            }
            winhttp::ERROR_WINHTTP_SECURE_FAILURE
            | winhttp::ERROR_WINHTTP_SECURE_FAILURE_PROXY
            | winhttp::ERROR_WINHTTP_SECURE_CHANNEL_ERROR
            | winhttp::ERROR_WINHTTP_SECURE_INVALID_CA
            | winhttp::ERROR_WINHTTP_SECURE_INVALID_CERT
            | winhttp::ERROR_WINHTTP_SECURE_CERT_CN_INVALID
            | winhttp::ERROR_WINHTTP_SECURE_CERT_DATE_INVALID
            | winhttp::ERROR_WINHTTP_SECURE_CERT_REVOKED
            | winhttp::ERROR_WINHTTP_SECURE_CERT_REV_FAILED
            | winhttp::ERROR_WINHTTP_SECURE_CERT_WRONG_USAGE => format!(
                "TLS failed: the machine's Trusted Root Certification Authorities lack that of the \
                 certificate, it is for another name than {host} or out of date, or the server wants a \
                 client certificate or an older TLS"
            ),
            _ => "the connection broke".to_owned(),
        };
        format!("{why}: {error}")
    }
}

/// The certificate that a setting names.
fn find(name: &CertificateName) -> Result<Certificate, String> {
    let found = match name {
        CertificateName::Thumbprint(hash) => Certificate::by_thumbprint(&mut hash.clone()),
        CertificateName::Subject(text) => Certificate::by_subject(text),
    };
    match found {
        Ok(Some(certificate)) => Ok(certificate),
        Ok(None) => Err(format!(
            r"ClientCertificate names {name}: LocalMachine\My has no such certificate with a private key that is valid now"
        )),
        Err(error) => {
            Err(format!(r"LocalMachine\My cannot be read for ClientCertificate: {error}"))
        }
    }
}

/// Why there is no answer.
enum Failure {
    /// An error of WinHTTP.
    Of(WinHttpError),
    /// The request took too long.
    TimedOut,
    /// The connection ended before the answer was complete.
    CutShort,
}

impl From<WinHttpError> for Failure {
    fn from(error: WinHttpError) -> Self {
        Self::Of(error)
    }
}

/// The milliseconds until that time. Never 0, which WinHTTP takes for no limit.
fn left(until: Instant) -> i32 {
    let left = until.saturating_duration_since(Instant::now()).as_millis();
    i32::try_from(left).unwrap_or(i32::MAX).saturating_add(1)
}

/// The body; `None` if it is too long.
fn read_body(request: &Request, until: Instant) -> Result<Option<Vec<u8>>, Failure> {
    let length = request.header(winhttp::WINHTTP_QUERY_CONTENT_LENGTH);
    let length = length.and_then(|length| length.parse::<usize>().ok());
    let mut body = Vec::new();
    let mut part = [0; PART];
    loop {
        if Instant::now() >= until {
            return Err(Failure::TimedOut);
        }
        // See above: if Windows takes no new limit, the first one stays.
        let _ = request.set(winhttp::WINHTTP_OPTION_RECEIVE_TIMEOUT, left(until).cast_unsigned());
        let there = request.available()?;
        // The last read is needed, too: only if a body was read to its end is its connection used
        // again.
        let read = request.read(&mut part[..there.clamp(1, PART)])?;
        if read == 0 {
            // An empty body would be a success. WinHTTP does not report that the body was to be
            // longer.
            let is_whole = length.is_none_or(|length| body.len() >= length);
            return if is_whole { Ok(Some(body)) } else { Err(Failure::CutShort) };
        }
        body.extend_from_slice(&part[..read]);
        if body.len() > LARGEST_ANSWER {
            return Ok(None);
        }
    }
}
