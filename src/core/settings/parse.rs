//! Reads values. Each error says what was wrong and what to write instead.

use crate::platform;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false; write true, false, 1 or 0")),
    }
}

pub(super) fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        format!("`{text}` is not a whole number from {} to {}", range.start(), range.end())
    })
}

pub(super) fn milliseconds(text: &str, range: RangeInclusive<u64>) -> Result<Duration, String> {
    number(text, range)
        .map(Duration::from_millis)
        .map_err(|problem| format!("{problem} (milliseconds)"))
}

pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("`{text}` is unknown; write {}", names.join(" or "))
    })
}

/// An absolute http or https URL, used as it is.
pub(super) fn url(text: &str) -> Result<Uri, String> {
    // The text may contain a password, so no message repeats it.
    let problem = || "not a URL such as http://127.0.0.1:4318".to_owned();
    let uri: Uri = text.parse().map_err(|_| problem())?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let named = uri.authority().is_some_and(|authority| !authority.host().is_empty());
    (known && named).then_some(uri).ok_or_else(problem)
}

/// Whether nobody on the network can read what is sent: the URL uses TLS, or the server is on this
/// machine.
pub(super) fn is_private(url: &Uri) -> bool {
    url.scheme_str() == Some("https") || is_on_this_machine(url)
}

/// Whether the server is on this machine, judged by its name or address.
pub(crate) fn is_on_this_machine(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

/// OTLP/HTTP's path for traces.
const TRACES: &str = "/v1/traces";

/// A base URL, to which OTLP/HTTP's path for traces is appended.
pub(super) fn base_url(text: &str) -> Result<Uri, String> {
    let mut parts = url(text)?.into_parts();
    let path = parts.path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/');
    if path.ends_with(TRACES) {
        return Err(format!("{TRACES} is added to this URL; leave it out"));
    }
    let path = format!("{path}{TRACES}");
    parts.path_and_query = Some(path.parse().map_err(|_| "a URL with a bad path".to_owned())?);
    Uri::from_parts(parts).map_err(|_| "not a URL".to_owned())
}

/// The URL without the user and password before the `@`, and without its query, which may contain a
/// key.
pub(super) fn without_password(uri: &Uri) -> String {
    let whole = uri.to_string();
    let text = match whole.split_once('?') {
        Some((before, _)) => format!("{before}?***"),
        None => whole,
    };
    match (text.split_once("://"), uri.authority()) {
        (Some((scheme, rest)), Some(authority)) if authority.as_str().contains('@') => {
            let rest = rest.split_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}://***@{rest}")
        }
        _ => text,
    }
}

/// Reads `key=value,key=value` with percent-encoded values, as in OTLP's environment variables.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair
                .split_once('=')
                .filter(|(key, _)| !key.trim().is_empty())
                .ok_or_else(|| format!("`{pair}` is not key=value"))?;
            let value = percent_decode_str(value.trim())
                .decode_utf8()
                .map_err(|_| format!("the value of `{}` is not UTF-8", key.trim()))?;
            Ok((key.trim().to_owned(), value.into_owned()))
        })
        .collect()
}

pub(super) fn headers(text: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    // A header's value may be a secret, so no message repeats it.
    pairs(text)
        .map_err(|_| "not a list of name=value,name=value with percent-encoded values".to_owned())?
        .into_iter()
        .map(|(name, value)| {
            let header: HeaderName =
                name.parse().map_err(|_| format!("`{name}` is not a header name"))?;
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                format!("the value of header `{name}` has characters that a header cannot carry")
            })?;
            value.set_sensitive(true);
            Ok((header, value))
        })
        .collect()
}

/// An absolute path on this machine's own disks.
pub(super) fn local_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(format!("`{text}` is not an absolute path"));
    }
    if !platform::is_local(path) {
        return Err(format!(
            "`{text}` is not on a local disk; to open a file on a share is an operation of its own"
        ));
    }
    Ok(path.to_owned())
}
