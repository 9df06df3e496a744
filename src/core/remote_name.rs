//! The parts of a remote name: server, port, share, and the path below the share.

use std::net::Ipv6Addr;

/// The most UTF-16 units that a host name has.
const HOST_UNITS: usize = 253;

/// Letters that are not visible.
const HANGUL_FILLERS: [char; 4] = ['\u{115F}', '\u{1160}', '\u{3164}', '\u{FFA0}'];

/// The longest name of a network interface on Linux; Windows numbers its interfaces.
const ZONE: usize = 15;

/// Names that Windows shows as servers although they are not: a remote desktop client's drives, the
/// Linux distributions of this machine, and a virtual machine's host.
const NO_SERVERS: [&str; 4] = ["tsclient", "wsl.localhost", "wsl$", "vmware-host"];

/// `network.protocol.name` of the WebDAV redirector.
pub const WEBDAV: &str = "webdav";
/// `network.protocol.name` of a remote desktop client's drives.
pub const RDP: &str = "rdp";

/// The parts of a remote name that could be recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteName {
    /// `server.address`: a text that can be a host name, in lower case, or an IP address.
    pub server: Option<String>,
    /// `server.port`, only if the name contains it.
    pub port: Option<u16>,
    /// The text before the share, as it was written: `\\server\`, `https://host:8443/`.
    pub root: Option<String>,
    /// `mpr.share.name`: the first part of the path, as it was written.
    pub share: Option<String>,
    /// The next part of the path: the link, if the share is the root of a DFS namespace.
    pub link: Option<String>,
    /// `network.protocol.name`, if the name alone shows it.
    pub protocol: Option<&'static str>,
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

impl RemoteName {
    /// Parses any name that MPR passes. Parts that are not recognised are `None`.
    ///
    /// Understands UNC names with either slash (`\\server\share\dir`, `\\?\UNC\server\share`),
    /// the WebDAV redirector's servers (`\\server@SSL@8443\DavWWWRoot`), IPv6 literals
    /// (`\\2001-db8--1.ipv6-literal.net\share`), and http and https URLs.
    pub fn parse(name: &str) -> Self {
        let name = name.trim();
        let scheme = ["http:", "https:"].iter().find_map(|scheme| {
            name.get(..scheme.len()).filter(|head| head.eq_ignore_ascii_case(scheme))
        });
        if let Some(scheme) = scheme {
            return Self::url(scheme, &name[scheme.len()..]);
        }
        let name = name.replace('/', "\\");
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

    /// The name up to the share. `None` if there is no share, or nothing that can be a host.
    pub fn shared_root(&self) -> Option<String> {
        Some(format!("{}{}", self.root.as_deref()?, self.share.as_deref()?))
    }

    /// Parses `server`, `server@8080`, `server@SSL` or `server@SSL@8443`, and the path.
    fn unc(rest: &str) -> Self {
        let mut parts = rest.split('\\').filter(|part| !part.is_empty());
        let machine = parts.next().unwrap_or_default();
        let share = parts.next().map(str::to_owned);
        let link = parts.next().map(str::to_owned);
        let (host, suffix) =
            machine.split_once('@').map_or((machine, None), |(host, suffix)| (host, Some(suffix)));
        let mut pieces = suffix.into_iter().flat_map(|suffix| suffix.split('@'));
        let is_suffix = |piece: &str| {
            let digits = !piece.is_empty() && piece.chars().all(|c| c.is_ascii_digit());
            digits || piece.eq_ignore_ascii_case("ssl")
        };
        let known = pieces.clone().all(is_suffix);
        let no_server = NO_SERVERS.iter().any(|name| name.eq_ignore_ascii_case(host));
        let server = if known && !no_server { address(host) } else { None };
        let is_root = known && no_server || server.is_some();
        let webdav = suffix.is_some() && known
            || share.as_deref().is_some_and(|share| share.eq_ignore_ascii_case("DavWWWRoot"));
        Self {
            port: pieces.find_map(parse_port).filter(|_| server.is_some()),
            root: is_root.then(|| format!(r"\\{machine}\")),
            protocol: if host.eq_ignore_ascii_case("tsclient") {
                Some(RDP)
            } else {
                webdav.then_some(WEBDAV)
            },
            server,
            share,
            link,
        }
    }

    fn url(scheme: &str, rest: &str) -> Self {
        let is_slash = |c: char| matches!(c, '/' | '\\');
        let rest = rest.trim_start_matches(is_slash);
        let (authority, path) = rest.split_once(is_slash).unwrap_or((rest, ""));
        let (host, port) = match authority.strip_prefix('[').and_then(|tail| tail.split_once(']')) {
            Some((literal, tail)) => (literal, tail.strip_prefix(':')),
            None => authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        // In a URL, the percent sign of a zone is encoded.
        let server = address(&host.replacen("%25", "%", 1));
        let mut parts = path.split(is_slash).filter(|part| !part.is_empty()).map(str::to_owned);
        Self {
            root: server.is_some().then(|| format!("{scheme}//{authority}/")),
            port: port.and_then(parse_port).filter(|_| server.is_some()),
            share: parts.next(),
            link: parts.next(),
            protocol: Some(WEBDAV),
            server,
        }
    }
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

/// A text that can be a host name, in lower case, or an IP address. It becomes a label of metrics
/// and appears in alerts, so no other text is accepted.
fn address(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_lowercase();
    if let Some(literal) = host.strip_suffix(".ipv6-literal.net")
        && let Some(ip) = ipv6(&literal.replace('-', ":").replacen('s', "%", 1))
    {
        return Some(ip);
    }
    if host.contains(':') {
        return ipv6(&host);
    }
    let fits = |c: char| {
        (c.is_alphabetic() && !HANGUL_FILLERS.contains(&c))
            || c.is_ascii_digit()
            || matches!(c, '.' | '-' | '_')
    };
    let named = host.chars().all(fits)
        && host.contains(char::is_alphanumeric)
        && host.split('.').all(|label| !label.is_empty());
    (named && host.encode_utf16().count() <= HOST_UNITS).then_some(host)
}

/// An IPv6 address in its usual form. A zone of digits or letters is kept.
fn ipv6(text: &str) -> Option<String> {
    let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let ip: Ipv6Addr = ip.parse().ok()?;
    match zone {
        None | Some("") => Some(ip.to_string()),
        Some(zone) if zone.len() <= ZONE && zone.chars().all(|c| c.is_ascii_alphanumeric()) => {
            Some(format!("{ip}%{zone}"))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(name: &str) -> (Option<String>, Option<u16>, Option<String>) {
        let RemoteName { server, port, share, .. } = RemoteName::parse(name);
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
        expect(r"\\server\IPC$", "server", None, "IPC$");
        expect(r"\\server", "server", None, "");
        expect(r"\\server\", "server", None, "");
    }

    #[test]
    fn both_kinds_of_slashes_and_trailing_slashes_are_accepted() {
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
    fn a_webdav_name_gives_a_port_if_it_contains_one() {
        expect(r"\\server@SSL@8443\DavWWWRoot\x", "server", Some(8443), "DavWWWRoot");
        expect(r"\\server@8080\x", "server", Some(8080), "x");
        expect(r"\\server@SSL\x", "server", None, "x");
        expect(r"\\server@99999\x", "server", None, "x");
        expect("https://Host:8443/path/x", "host", Some(8443), "path");
        expect("http://host/", "host", None, "");
        expect("http:/host/a", "host", None, "a");
        expect("https://[fe80::1%25eth0]/path", "fe80::1%eth0", None, "path");
        expect("https://[2001:db8::1]:8443/path", "2001:db8::1", Some(8443), "path");
    }

    #[test]
    fn a_server_is_only_a_text_that_can_be_a_host_name() {
        for name in [
            r"\\jdoe@dav.corp.example\x",
            r"\\helpdesk: password expired, open http\x",
            r"\\x&var-job=evil\x",
            r"\\{{ .Labels }}\x",
            r"\\fs01'\x",
            r"\\-\x",
            r"\\a..b\x",
            "\\\\fs\u{3164}01\\x",
            r"\\tsclient@jdoe:hunter2\x",
            "https://[fe80::1%abcdefghijklmnop]/x",
            r"\\_._\x",
            "\\\\fs\u{202E}01\\x",
            "https://what ever/x",
            "https://[2001:db8::1%eth0 x]/x",
        ] {
            expect(name, "", None, "x");
            assert_eq!(RemoteName::parse(name).root, None, "{name}");
        }
        expect(r"\\ФАЙЛЫ_01.corp\x", "файлы_01.corp", None, "x");
        expect(r"\\ファイル\x", "ファイル", None, "x");
        let longest = "a".repeat(HOST_UNITS);
        expect(&format!(r"\\{longest}\x"), &longest, None, "x");
        expect(&format!(r"\\{longest}a\x"), "", None, "x");
    }

    #[test]
    fn names_that_windows_only_shows_as_servers_are_not_servers() {
        for name in [
            r"\\tsclient\c",
            r"\\TSCLIENT\c",
            r"\\wsl.localhost\c",
            r"\\wsl$\c",
            r"\\vmware-host\c",
        ] {
            expect(name, "", None, "c");
            assert_eq!(RemoteName::parse(name).shared_root().as_deref(), Some(name));
        }
    }

    #[test]
    fn the_protocol_is_known_if_the_name_shows_it() {
        let protocol = |name| RemoteName::parse(name).protocol;
        assert_eq!(protocol(r"\\tsclient\c"), Some(RDP));
        for name in
            [r"\\server@SSL\x", r"\\server@8080\x", r"\\server\DavWWWRoot\x", "http://server/x"]
        {
            assert_eq!(protocol(name), Some(WEBDAV), "{name}");
        }
        for name in [r"\\server\share", r"\\jdoe@server\share", ""] {
            assert_eq!(protocol(name), None, "{name}");
        }
    }

    #[test]
    fn the_name_up_to_the_share_is_as_it_was_written() {
        let root = |name| RemoteName::parse(name).shared_root();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            root(r"\\FILES01.corp.example\Projects\x\y"),
            some(r"\\FILES01.corp.example\Projects")
        );
        assert_eq!(root(r"//FS//Share/x"), some(r"\\FS\Share"));
        assert_eq!(root(r"\\?\UNC\fs\share\x"), some(r"\\fs\share"));
        assert_eq!(root(r"\\fs@SSL@8443\DavWWWRoot\x"), some(r"\\fs@SSL@8443\DavWWWRoot"));
        assert_eq!(root(r"HTTPS:\\Host:8443\a\b"), some("HTTPS://Host:8443/a"));
        assert_eq!(root("https://[2001:db8::1]/a/b"), some("https://[2001:db8::1]/a"));
        assert_eq!(root(r"\\fs"), None);
        assert_eq!(root(r"\\what ever\share\x"), None);
    }

    #[test]
    fn the_part_below_the_share_is_the_link_of_a_dfs_root() {
        let link = |name| RemoteName::parse(name).link;
        assert_eq!(link(r"\\corp.example\dfs\projects\x").as_deref(), Some("projects"));
        assert_eq!(link("https://host/a/b/c").as_deref(), Some("b"));
        assert_eq!(link(r"\\corp.example\dfs"), None);
    }

    #[test]
    fn a_name_that_is_not_remote_has_no_parts() {
        for name in ["", " ", "\\", r"\\", "server", r"server\share", "Z:", "http:", r"\\\"] {
            expect(name, "", None, "");
        }
    }

    #[test]
    fn local_devices_are_not_taken_for_remote_names() {
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
            server in "[a-z0-9][a-z0-9-]{0,9}(\\.[a-z0-9_-]{1,8}){0,2}", share in "[A-Za-z0-9_$][A-Za-z0-9 _$]{0,20}[A-Za-z0-9_$]",
        ) {
            let name = format!(r"\\{server}\{share}\dir");
            prop_assert_eq!(parsed(&name), (Some(server), None, Some(share)));
        }
    }
}
