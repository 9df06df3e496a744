//! Removes credentials from URLs before a name is stored.
//!
//! Programs map WebDAV folders by URL, and a URL can contain a user, a password or a token. A UNC
//! name cannot: `\\fs\C#` and `\\server@SSL\share` are legal and are not changed.

/// Removes user, password, query and fragment from `name` in place, if it is a URL. `cut` says that
/// the name was longer than the units that were kept. Returns how many units are left.
///
/// If the host cannot be told apart from a password with certainty, only the text before the host
/// is left.
pub fn remove_credentials(name: &mut [u16], cut: bool) -> usize {
    let Some(authority) = authority(name) else {
        // No name of a device or of a share looks like this.
        return if has_user_and_password(name) { 0 } else { name.len() };
    };
    let ends = |unit: &u16| matches!(char_of(*unit), '/' | '\\' | '?' | '#');
    let position = |from: usize, is: &dyn Fn(&u16) -> bool| {
        name[from..].iter().position(is).map_or(name.len(), |at| from + at)
    };
    let end = position(authority, &ends);
    if end == name.len() && cut {
        // The `@` may have been in the part that was cut.
        return authority;
    }
    let host = match name[authority..end].iter().rposition(|unit| is(*unit, '@')) {
        Some(at) => authority + at + 1,
        None => authority,
    };
    let rest = position(end, &|unit| matches!(char_of(*unit), '?' | '#'));
    // An `@` after the host may follow a password that contains a slash or a `#`.
    let is_certain = !has_at(&name[end..]) && !name[end..rest].iter().any(|unit| is(*unit, ':'));
    if !is_certain || !is_host_and_port(&name[host..end]) {
        return authority;
    }
    name.copy_within(host..rest, authority);
    authority + (rest - host)
}

/// Where the authority of a URL begins. `None` if there is no URL in `name`.
///
/// This accepts more than real URLs: a scheme at any place in the name, and any number of slashes
/// of either kind; after http and https, none at all. So a typing error does not put a password
/// into the ledger.
fn authority(name: &[u16]) -> Option<usize> {
    let in_scheme = |unit: &u16| {
        let c = char_of(*unit);
        c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
    };
    let mut from = 0;
    while let Some(at) = name[from..].iter().position(|unit| is(*unit, ':')) {
        let before = &name[from..from + at];
        let scheme = before.rsplit(|unit| !in_scheme(unit)).next().unwrap_or_default();
        from += at + 1;
        let slash = |unit: &&u16| matches!(char_of(**unit), '/' | '\\');
        let slashes = name[from..].iter().take_while(slash).count();
        let web = ["http", "https"].iter().any(|web| {
            web.len() == scheme.len()
                && web.chars().zip(scheme).all(|(a, b)| char_of(*b).eq_ignore_ascii_case(&a))
        });
        // One letter and a colon name a drive.
        if web || slashes > 0 && scheme.len() > 1 {
            return Some(from + slashes);
        }
    }
    None
}

/// Whether an authority without its user is `host`, `host:8443` or `[2001:db8::1]:8443`.
fn is_host_and_port(authority: &[u16]) -> bool {
    let in_host = |unit: &u16| {
        let c = char_of(*unit);
        c.is_ascii_alphanumeric() || !c.is_ascii() || matches!(c, '.' | '-' | '_')
    };
    let in_literal = |unit: &u16| in_host(unit) || matches!(char_of(*unit), ':' | '%');
    let is_literal = authority.first().is_some_and(|unit| is(*unit, '['));
    let (host, port) = if is_literal {
        let Some(end) = authority.iter().position(|unit| is(*unit, ']')) else {
            return false;
        };
        match &authority[end + 1..] {
            [] => (&authority[1..end], &[][..]),
            [colon, port @ ..] if is(*colon, ':') => (&authority[1..end], port),
            _ => return false,
        }
    } else {
        match authority.iter().position(|unit| is(*unit, ':')) {
            Some(at) => (&authority[..at], &authority[at + 1..]),
            None => (authority, &[][..]),
        }
    };
    let in_port = |unit: &u16| char_of(*unit).is_ascii_digit();
    let is_host = host.iter().all(|unit| if is_literal { in_literal(unit) } else { in_host(unit) });
    !host.is_empty() && is_host && port.iter().all(in_port)
}

/// Whether there is an `@`, plain or percent-encoded.
fn has_at(text: &[u16]) -> bool {
    let encoded = |three: &[u16]| is(three[0], '%') && is(three[1], '4') && is(three[2], '0');
    text.iter().any(|unit| is(*unit, '@')) || text.windows(3).any(encoded)
}

/// Whether a part of the name looks like `user:password@host`.
fn has_user_and_password(name: &[u16]) -> bool {
    name.split(|unit| matches!(char_of(*unit), '/' | '\\')).any(|part| {
        let colon = part.iter().position(|unit| is(*unit, ':'));
        colon.is_some_and(|at| has_at(&part[at..]))
    })
}

fn is(unit: u16, c: char) -> bool {
    u32::from(unit) == u32::from(c)
}

/// The unit as a character. Half of a surrogate pair becomes U+FFFD.
fn char_of(unit: u16) -> char {
    char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn left_of(name: &str, cut: bool) -> String {
        let mut units: Vec<u16> = name.encode_utf16().collect();
        let left = remove_credentials(&mut units, cut);
        String::from_utf16_lossy(&units[..left])
    }

    #[test]
    fn user_and_password_are_removed_with_any_kind_of_slashes() {
        for (name, left) in [
            ("https://jdoe:hunter2@dav.corp.example/x", "https://dav.corp.example/x"),
            (r"http:\\jdoe:hunter2@dav.corp.example\x", r"http:\\dav.corp.example\x"),
            (r"http:/\jdoe:hunter2@dav.corp.example\x", r"http:/\dav.corp.example\x"),
            ("HTTPS:jdoe:hunter2@dav.corp.example/x", "HTTPS:dav.corp.example/x"),
            ("  https://jdoe:hunter2@dav.corp.example", "  https://dav.corp.example"),
            ("https://jdoe@dav.corp.example:8443/a", "https://dav.corp.example:8443/a"),
            ("https://jdoe:a@b@dav.corp.example", "https://dav.corp.example"),
            ("https://jdoe:pw@[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
            ("ftp://jdoe:hunter2@ftp.corp.example/x", "ftp://ftp.corp.example/x"),
            ("davs:///jdoe:hunter2@dav.corp.example/x", "davs:///dav.corp.example/x"),
        ] {
            assert_eq!(left_of(name, false), left, "{name}");
        }
    }

    #[test]
    fn query_and_fragment_are_removed() {
        for (name, left) in [
            (
                "https://store.corp.example/share?sv=2024&sig=SAS",
                "https://store.corp.example/share",
            ),
            ("https://store.corp.example?sig=SAS", "https://store.corp.example"),
            ("https://store.corp.example/share#token", "https://store.corp.example/share"),
            (r"https:\\store.corp.example\share?sig=S\A/S", r"https:\\store.corp.example\share"),
        ] {
            assert_eq!(left_of(name, false), left, "{name}");
        }
    }

    #[test]
    fn only_the_scheme_is_left_if_a_password_could_be_a_host() {
        assert_eq!(left_of("https://PATtokenPATtoken", true), "https://");
        for name in [
            "https://jdoe:pa#ss@dav.corp.example/x",
            "https://jdoe:pa/ss@dav.corp.example/x",
            "https://jdoe:pa]ss%40dav.corp.example/x",
            "https://jdoe:p@ss/word@dav.corp.example/x",
            "https://jdoe:p@ss?word@dav.corp.example/x",
            "https://jdoe:1234/ss@dav.corp.example/x",
            "https://jdoe:1234#ss@dav.corp.example/x",
            "https://token/en@dav.corp.example/x",
            "https://token?en%40dav.corp.example/x",
            "https://jdoe%3Ahunter2%40dav.corp.example/x",
            r"https://CORP\jdoe@dav.corp.example/x",
            r"https://CORP\jdoe:hunter2@dav.corp.example/x",
            r"https://CORP\jdoe:hunter2",
            "https://jdoe hunter2/x",
            "https://[::1]jdoe/x",
        ] {
            assert_eq!(left_of(name, false), "https://", "{name}");
        }
    }

    #[test]
    fn text_before_a_url_changes_nothing() {
        for before in
            ["\u{feff}", "\u{200b}", "\u{1}", "\"", "<", "url:", r"\", r"\\", "ht\n", "C: "]
        {
            let name = format!("{before}https://jdoe:hunter2@dav.corp.example/x");
            let left = format!("{before}https://dav.corp.example/x");
            assert_eq!(left_of(&name, false), left, "{name}");
        }
    }

    #[test]
    fn nothing_is_left_of_a_user_and_a_password_without_a_scheme() {
        for name in [
            "jdoe:hunter2@dav.corp.example/x",
            r"\\jdoe:hunter2@dav.corp.example\x",
            "//jdoe:hunter2%40dav.corp.example/x",
            "smb:jdoe:hunter2@fs01/x",
            "https%3A//jdoe:hunter2@dav.corp.example/x",
        ] {
            assert_eq!(left_of(name, false), "", "{name}");
        }
    }

    #[test]
    fn names_that_are_not_urls_stay_as_they_are() {
        for name in [
            "",
            " ",
            ":",
            "Z:",
            "LPT1:",
            r"\\fs\C#",
            r"\\fs\what?",
            r"\\server@SSL@8443\DavWWWRoot\a@b",
            "//server/share#x",
            r"C:\folder#x",
            r"\\?\C:\folder\a@b",
            "https",
        ] {
            for cut in [false, true] {
                assert_eq!(left_of(name, cut), name, "{name}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_units_are_safe_and_a_second_time_changes_nothing(
            units in prop::collection::vec(
                prop_oneof![any::<u16>(), "[https:/\\\\@?#.\\[\\]%a1 ]{1}".prop_map(|c| c.encode_utf16().next().unwrap())],
                0..40),
            scheme in prop_oneof![Just(""), Just("http://"), Just(r"https:\\"), Just("HTTP:")],
            cut in any::<bool>(),
        ) {
            let mut name: Vec<u16> = scheme.encode_utf16().chain(units).collect();
            let left = remove_credentials(&mut name, cut);
            // A name that was cut and is now shorter ends in the middle of what was removed.
            let cut = cut && left == name.len();
            let mut again = name[..left].to_vec();
            let left_again = remove_credentials(&mut again, cut);
            prop_assert_eq!(&again[..left_again], &name[..left]);
        }

        #[test]
        fn no_user_password_or_query_is_left(
            scheme in prop_oneof![Just("http"), Just("https"), Just("HTTPS")],
            slashes in r"[/\\]{0,3}",
            user in "[A-Za-z0-9.!$*:@%/?#\\\\\\[\\]-]{0,12}",
            host in "[a-z0-9.-]{1,12}",
            path in r"([/\\][A-Za-z0-9 @]{0,8}){0,3}",
            query in "([?#][a-z@:/=]{0,8}){0,2}",
            cut in any::<bool>(),
        ) {
            let name = format!("{scheme}:{slashes}{user}QQSECRETQQ@{host}{path}{query}QQTAILQQ");
            let left = left_of(&name, cut);
            prop_assert!(!left.contains("QQSECRETQQ"), "{name} -> {left}");
            prop_assert!(query.is_empty() || !left.contains("QQTAILQQ"), "{name} -> {left}");
        }
    }
}
