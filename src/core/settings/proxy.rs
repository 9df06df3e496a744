//! The proxy of the agent.

use super::parse;
use http::Uri;
use std::fmt;

/// The proxy through which the agent sends to other machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// No proxy.
    None,
    /// The proxy that Windows' settings, a proxy script or the network's automatic configuration
    /// name. On other systems no proxy.
    System,
    /// This proxy: an http URL without a path.
    Url(Uri),
}

impl Proxy {
    const NONE: &str = "none";
    const SYSTEM: &str = "system";

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case(Self::NONE) {
            return Ok(Self::None);
        }
        if text.eq_ignore_ascii_case(Self::SYSTEM) {
            return Ok(Self::System);
        }
        // The text may contain a password, so no message repeats it.
        let problem =
            |_| "not none, system or a URL such as http://proxy.corp.example:8080".to_owned();
        let url = parse::url(text).map_err(problem)?;
        let authority = url.authority().map_or("", |authority| authority.as_str());
        match (url.scheme_str(), url.path_and_query().map_or("/", |path| path.as_str())) {
            _ if authority.contains('@') => {
                Err("a proxy is sent no password; name one that wants \
                                                 none, or let it take requests of this machine"
                    .to_owned())
            }
            (Some("http"), "/") => Ok(Self::Url(url)),
            (Some("http"), _) => Err("a proxy's URL has no path; leave it out".to_owned()),
            _ => Err("the way to a proxy is http, also for what is sent over TLS through it; \
                      write http"
                .to_owned()),
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => out.write_str(Self::NONE),
            Self::System => out.write_str(Self::SYSTEM),
            Self::Url(url) => write!(out, "{}", url.to_string().trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_the_systems_an_http_url_or_absent() {
        for (text, shown) in [
            ("none", "none"),
            ("System", "system"),
            ("http://proxy.corp.example:8080", "http://proxy.corp.example:8080"),
            ("http://10.0.0.1/", "http://10.0.0.1"),
            ("http://[fd00::1]:3128", "http://[fd00::1]:3128"),
        ] {
            assert_eq!(Proxy::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_not_a_proxy_is_refused_and_its_password_not_repeated() {
        for (text, complaint) in [
            ("proxy.corp.example:8080", "such as http://"),
            ("automatic", "such as http://"),
            ("socks5://proxy:1080", "such as http://"),
            ("https://proxy:8080", "write http"),
            ("http://proxy:8080/proxy.pac", "no path"),
            ("http://proxy:8080/?secret", "no path"),
            ("http://user:secret@proxy:8080", "no password"),
            ("http://user:secret@", "such as http://"),
        ] {
            let said = Proxy::parse(text).unwrap_err();
            assert!(said.contains(complaint) && !said.contains("secret"), "{text}: {said}");
        }
    }
}
