//! One POST at a time over HTTP: what carries it is WinHTTP on Windows, and ureq elsewhere.
//!
//! Either follows no redirect, keeps no cookie, answers no challenge of a server or a proxy, unpacks no
//! answer, and trusts the authorities that the machine trusts.

#[cfg(not(windows))]
mod portable;
#[cfg(windows)]
mod windows;

#[cfg(not(windows))]
pub(super) use portable::Transport;
#[cfg(windows)]
pub(super) use windows::Transport;

/// The User-Agent of all requests.
const USER_AGENT: &str = concat!("mpr-otel/", env!("CARGO_PKG_VERSION"));
/// A collector's answer has a few bytes; more than this is not one.
const LARGEST_ANSWER: usize = 64 * 1024;

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
