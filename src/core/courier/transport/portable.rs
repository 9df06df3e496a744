//! HTTP by ureq and rustls, for the systems that mpr-otel is developed on.

use super::{LARGEST_ANSWER, Response, Transport, USER_AGENT};
use crate::courier::ClientError;
use crate::settings::{CertificateName, Proxy, Settings};
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Uri};
use std::path::Path;
use std::time::Duration;
use ureq::config::Config;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// How long a connection is kept open while it is not used.
const IDLE_CONNECTION: Duration = Duration::from_secs(150);

/// A blocking client of ureq.
#[derive(Debug)]
pub(in crate::courier) struct Ureq {
    agent: ureq::Agent,
    endpoint: Uri,
}

impl Transport for Ureq {
    fn new(
        settings: &Settings,
        endpoint: &Uri,
        proxy: &Proxy,
        _of_windows_alone: Option<&CertificateName>,
    ) -> Result<Self, ClientError> {
        let root_certs = match &settings.ca_certificate {
            None => RootCerts::PlatformVerifier,
            Some(path) => ca_certificates(path)
                .map_err(|problem| ClientError::CaCertificate { path: path.clone(), problem })?,
        };
        let proxy = match proxy {
            // The environment may be a host's, so its proxy variables are not used. No other
            // setting of the system names a proxy.
            Proxy::None | Proxy::System => None,
            Proxy::Url(url) => Some(
                ureq::Proxy::new(&url.to_string())
                    .map_err(|error| ClientError::Proxy(error.to_string()))?,
            ),
        };
        let tls = TlsConfig::builder().provider(TlsProvider::Rustls).root_certs(root_certs);
        let config = Config::builder()
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            // A redirect would turn our POST into a GET.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            // Longer than a minute, so that an agent that sends its metrics once a minute keeps its
            // connection.
            .max_idle_age(IDLE_CONNECTION)
            .user_agent(USER_AGENT)
            .tls_config(tls.build())
            .build();
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), CallingThread);
        Ok(Self { agent, endpoint: endpoint.clone() })
    }

    fn post(&self, headers: &[(HeaderName, HeaderValue)], body: &[u8]) -> Result<Response, String> {
        let request =
            headers.iter().fold(self.agent.post(&self.endpoint), |request, (name, value)| {
                request.header(name, value)
            });
        let mut response = request.send(body).map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        let body =
            match response.body_mut().with_config().limit(LARGEST_ANSWER as u64).read_to_vec() {
                Ok(body) => Some(body),
                Err(ureq::Error::BodyExceedsLimit(_)) => None,
                Err(error) => return Err(format!("status {status}, then: {error}")),
            };
        let text = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .map(str::to_owned)
        };
        Ok(Response {
            status,
            retry_after: text(RETRY_AFTER),
            content_type: text(CONTENT_TYPE),
            location: text(LOCATION),
            body,
        })
    }
}

/// Why there is no answer. rustls says of an answer in clear text that its content has no valid type.
fn failure(error: &ureq::Error) -> String {
    let text = error.to_string();
    match text.contains("InvalidContentType") {
        true => format!("{text}: that port speaks no TLS; try http://"),
        false => text,
    }
}

/// Looks names up on the calling thread. ureq's own resolver starts a thread for each look-up, to
/// enforce the time-out. In a host another thread is worse than a slow look-up, and the system's
/// resolver has a time-out of its own.
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

fn ca_certificates(path: &Path) -> Result<RootCerts, String> {
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
