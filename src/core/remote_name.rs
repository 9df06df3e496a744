//! What a remote name says: server, port and share.

use std::net::Ipv6Addr;

/// The parts of a remote name that could be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteName {
    /// `server.address`: host name in lower case, or an IP address.
    pub server: Option<String>,
    /// `server.port`, only if the name spells it out.
    pub port: Option<u16>,
    /// `mpr.share.name`: the first part of the path, as it was written.
    pub share: Option<String>,
}

/// Whether `name` is a local device (`Z:`, `LPT1`, `COM2:`) and not a remote name.
pub fn is_local_device(name: &str) -> bool {
    let name = name.strip_suffix(':').map_or((name, false), |bare| (bare, true));
    match name {
        (bare, true) if bare.len() == 1 => bare.starts_with(|c: char| c.is_ascii_alphabetic()),
        (bare, _) => {
            let Some((device, number)) = bare.split_at_checked(3) else {
                return false;
            };
            let numbered = number.len() == 1 && number.starts_with(|c: char| c.is_ascii_digit());
            match device.to_ascii_uppercase().as_str() {
                "LPT" | "COM" => numbered,
                "PRN" | "AUX" => number.is_empty(),
                _ => false,
            }
        }
    }
}

/// `name` with the user and password of a URL masked: no credential leaves the machine.
pub fn without_credentials(name: String) -> String {
    let Some((scheme, rest)) = name.split_once("://") else {
        return name;
    };
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://***{}", &rest[at..]),
        None => name,
    }
}

impl RemoteName {
    /// Parses any name that MPR passes; what cannot be told stays `None`.
    ///
    /// Understands UNC names with either slash (`\\server\share\dir`, `\\?\UNC\server\share`),
    /// the WebDAV redirector's servers (`\\server@SSL@8443\DavWWWRoot`), IPv6 literals
    /// (`\\2001-db8--1.ipv6-literal.net\share`), and http and https URLs.
    pub fn parse(name: &str) -> Self {
        let name = name.trim();
        if let Some(rest) = ["http://", "https://"].iter().find_map(|scheme| {
            name.get(..scheme.len())
                .filter(|head| head.eq_ignore_ascii_case(scheme))
                .map(|_| &name[scheme.len()..])
        }) {
            return Self::url(rest);
        }
        if name.contains('/') {
            return Self::parse_unc(&name.replace('/', "\\"));
        }
        Self::parse_unc(name)
    }

    fn parse_unc(name: &str) -> Self {
        let Some(unc) = name.strip_prefix(r"\\") else {
            return Self::default();
        };
        match unc.strip_prefix(r"?\").or_else(|| unc.strip_prefix(r".\")) {
            None => Self::unc(unc),
            Some(device) => match device.get(..4) {
                Some(head) if head.eq_ignore_ascii_case(r"UNC\") => Self::unc(&device[4..]),
                // A device path such as \\?\C:\x names no server.
                _ => Self::default(),
            },
        }
    }

    fn unc(rest: &str) -> Self {
        let mut parts = rest.split('\\').filter(|part| !part.is_empty());
        let (server, port) = parts.next().map_or((None, None), unc_server);
        Self { server, port, share: parts.next().map(str::to_owned) }
    }

    fn url(rest: &str) -> Self {
        let (authority, path) = rest.split_once(['/', '\\']).unwrap_or((rest, ""));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (server, port) = match host.strip_prefix('[').and_then(|tail| tail.split_once(']')) {
            Some((literal, tail)) => (literal, tail.strip_prefix(':')),
            None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Self {
            server: address(server),
            port: port.and_then(parse_port),
            share: path.split(['/', '\\']).find(|part| !part.is_empty()).map(str::to_owned),
        }
    }
}

/// `server`, `server@8080`, `server@SSL`, `server@SSL@8443`.
fn unc_server(part: &str) -> (Option<String>, Option<u16>) {
    let mut pieces = part.split('@');
    let server = pieces.next().and_then(address);
    let port = pieces.find_map(parse_port);
    (server, port)
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

/// Lower case; an `ipv6-literal.net` name becomes the address that it spells.
fn address(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_lowercase();
    if let Some(literal) = host.strip_suffix(".ipv6-literal.net") {
        // Dashes stand for colons, `s` for the zone's percent sign.
        let (digits, zone) =
            literal.split_once('s').map_or((literal, ""), |(digits, zone)| (digits, zone));
        if let Ok(ip) = digits.replace('-', ":").parse::<Ipv6Addr>() {
            return Some(if zone.is_empty() { ip.to_string() } else { format!("{ip}%{zone}") });
        }
    }
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(name: &str) -> (Option<String>, Option<u16>, Option<String>) {
        let RemoteName { server, port, share } = RemoteName::parse(name);
        (server, port, share)
    }

    fn expect(name: &str, server: &str, port: Option<u16>, share: &str) {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        assert_eq!(parsed(name), (some(server), port, some(share)), "{name}");
    }

    #[test]
    fn unc_names_give_server_and_share() {
        expect(r"\\FILES01.corp.example\projects", "files01.corp.example", None, "projects");
        expect(r"\\server\share\dir\deeper", "server", None, "share");
        expect(r"\\10.0.0.7\share", "10.0.0.7", None, "share");
        expect(r"\\domain\dfsroot\link", "domain", None, "dfsroot");
        expect(r"\\server\Printer 1", "server", None, "Printer 1");
        expect(r"\\tsclient\c", "tsclient", None, "c");
        expect(r"\\server\IPC$", "server", None, "IPC$");
        expect(r"\\server", "server", None, "");
        expect(r"\\server\", "server", None, "");
    }

    #[test]
    fn slashes_of_both_kinds_and_trailing_ones_do_not_matter() {
        expect(r"\\server\share\", "server", None, "share");
        expect(r"\\server\\share\\", "server", None, "share");
        expect("//server/share", "server", None, "share");
        expect(r"\\server/share/dir", "server", None, "share");
    }

    #[test]
    fn long_path_prefixes_are_understood() {
        expect(r"\\?\UNC\server\share", "server", None, "share");
        expect(r"\\?\unc\server\share\x", "server", None, "share");
        expect(r"\\.\UNC\server\share", "server", None, "share");
        expect(r"\\?\C:\folder", "", None, "");
    }

    #[test]
    fn ipv6_literals_become_addresses() {
        expect(r"\\2001-db8--1.ipv6-literal.net\share", "2001:db8::1", None, "share");
        expect(r"\\fe80--1s4.ipv6-literal.net\share", "fe80::1%4", None, "share");
        expect(
            r"\\not-an-address.ipv6-literal.net\s",
            "not-an-address.ipv6-literal.net",
            None,
            "s",
        );
    }

    #[test]
    fn webdav_names_give_a_port_where_they_spell_it() {
        expect(r"\\server@SSL@8443\DavWWWRoot\x", "server", Some(8443), "DavWWWRoot");
        expect(r"\\server@8080\x", "server", Some(8080), "x");
        expect(r"\\server@SSL\x", "server", None, "x");
        expect(r"\\server@99999\x", "server", None, "x");
        expect("https://Host:8443/path/x", "host", Some(8443), "path");
        expect("http://host/", "host", None, "");
        expect("HTTPS://user:pw@host/a?b#c", "host", None, "a");
        expect("https://[2001:db8::1]:8443/path", "2001:db8::1", Some(8443), "path");
    }

    #[test]
    fn credentials_in_urls_are_masked() {
        let masked = |name: &str| without_credentials(name.to_owned());
        assert_eq!(masked("https://user:pw@host/a@b"), "https://***@host/a@b");
        assert_eq!(masked("https://a:b@c@host"), "https://***@host");
        for name in ["https://host/a@b", r"\\server@SSL@8443\x", "", "://"] {
            assert_eq!(masked(name), name);
        }
    }

    #[test]
    fn names_that_are_none_say_nothing() {
        for name in ["", " ", "\\", r"\\", "server", r"server\share", "Z:", "http:/x", r"\\\"] {
            expect(name, "", None, "");
        }
    }

    #[test]
    fn local_devices_are_told_from_remote_names() {
        for name in ["Z:", "a:", "LPT1", "lpt1:", "COM2:", "PRN", "AUX:"] {
            assert!(is_local_device(name), "{name}");
        }
        for name in
            ["", ":", "Z", "1:", "ZZ:", r"\\server\share", "LPT", "LPT12", "COMX", "PRN1", "ä:"]
        {
            assert!(!is_local_device(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic(name in any::<String>(), prefix in r"(\\\\|//|https?://|\\\\\?\\UNC\\)?") {
            let whole = format!("{prefix}{name}");
            RemoteName::parse(&whole);
            is_local_device(&whole);
        }

        #[test]
        fn any_unc_name_gives_back_its_server_and_share(
            server in "[a-z0-9][a-z0-9.-]{0,20}[a-z0-9]", share in "[A-Za-z0-9_$][A-Za-z0-9 _$]{0,20}[A-Za-z0-9_$]",
        ) {
            let name = format!(r"\\{server}\{share}\dir");
            prop_assert_eq!(parsed(&name), (Some(server), None, Some(share)));
        }
    }
}
