//! One POST at a time over HTTP: by WinHTTP on Windows, and by ureq elsewhere.
//!
//! Both follow no redirect, keep no cookie, log on to no server or proxy and unpack no answer. Both
//! trust the authorities that the machine trusts.

#[cfg(not(windows))]
mod portable;
#[cfg(windows)]
mod windows;

use super::ClientError;
use crate::settings::{CertificateName, Proxy, Settings};
use http::{HeaderName, HeaderValue, Uri};
#[cfg(not(windows))]
pub(super) use portable::Ureq as SystemTransport;
use std::fmt::Debug;
#[cfg(windows)]
pub(super) use windows::WinHttp as SystemTransport;

/// The User-Agent of all requests.
const USER_AGENT: &str = concat!("mpr-otel/", env!("CARGO_PKG_VERSION"));
/// The most bytes of an answer. A collector's answer has a few bytes; a longer one is not a
/// collector's.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Carries requests to one endpoint, one at a time, on the calling thread.
pub(super) trait Transport: Debug + Send + Sync + Sized {
    /// A transport to `endpoint` through `proxy`. It shows `certificate` to a server that asks for
    /// one. Loads no library and makes no connection yet.
    fn new(
        settings: &Settings,
        endpoint: &Uri,
        proxy: &Proxy,
        certificate: Option<&CertificateName>,
    ) -> Result<Self, ClientError>;

    /// Posts `body` with these headers and those that HTTP requires. An error says why there is no
    /// answer.
    fn post(&self, headers: &[(HeaderName, HeaderValue)], body: &[u8]) -> Result<Response, String>;
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Response {
    /// Status code.
    pub(super) status: u16,
    /// `Retry-After`.
    pub(super) retry_after: Option<String>,
    /// `Content-Type`.
    pub(super) content_type: Option<String>,
    /// `Location`.
    pub(super) location: Option<String>,
    /// Body; `None` if it was longer than [`LARGEST_ANSWER`] bytes.
    pub(super) body: Option<Vec<u8>>,
}
