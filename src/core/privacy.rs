//! Removes from an operation everything that may not leave the machine.

use crate::operation::Operation;
use crate::remote_name::is_local_device;
use crate::settings::{DfsRoot, NamePattern, PrivacyLevel, Settings};
use percent_encoding::percent_decode_str;
use std::ops::Deref;

/// Replaces a name that is not sent.
const MASK: &str = "***";

/// The settings that decide what leaves the machine.
#[derive(Clone, Debug)]
pub struct Privacy {
    level: PrivacyLevel,
    private_shares: Vec<NamePattern>,
    dfs_roots: Vec<DfsRoot>,
}

/// An operation that contains nothing that may not leave the machine. Spans are made only from this
/// type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosed(Operation);

impl Deref for Disclosed {
    type Target = Operation;

    fn deref(&self) -> &Operation {
        &self.0
    }
}

impl Disclosed {
    /// The operation.
    pub fn into_operation(self) -> Operation {
        self.0
    }
}

impl Privacy {
    /// Lets whole names leave the machine.
    pub const FULL: Self =
        Self { level: PrivacyLevel::Full, private_shares: Vec::new(), dfs_roots: Vec::new() };

    /// The rules in `settings`.
    pub fn of(settings: &Settings) -> Self {
        Self {
            level: settings.privacy,
            private_shares: settings.private_shares.clone(),
            dfs_roots: settings.dfs_roots.clone(),
        }
    }

    /// Removes from `operation` everything that may not leave the machine.
    pub fn disclose(&self, mut operation: Operation) -> Disclosed {
        let cut = operation.truncated;
        let remote = &mut operation.remote;
        // If a name was cut, its last part is not complete and cannot be compared with a pattern.
        let share_is_whole = !cut || remote.link.is_some();
        let is_dfs = self.dfs_roots.iter().any(|root| root.contains(remote));
        let link = remote.link.take().filter(|_| is_dfs && !cut);
        match self.level {
            PrivacyLevel::Full => remote.link = link,
            PrivacyLevel::Share => {
                let masked = |name: String, whole: bool| {
                    if whole && !self.is_private(&name) { name } else { MASK.to_owned() }
                };
                remote.link = link.map(|name| masked(name, true));
                // If the server is not known, it is not known either which part is the share.
                let share = remote.share.take().filter(|_| remote.root.is_some());
                remote.share = share.map(|name| masked(name, share_is_whole));
                operation.remote_name = remote.shared_root();
                operation.local_name = operation.local_name.filter(|name| is_local_device(name));
            }
            PrivacyLevel::None => {
                remote.share = None;
                operation.remote_name = None;
                operation.local_name = None;
            }
        }
        remote.root = None;
        Disclosed(operation)
    }

    /// Whether a share's name may say whose share it is, or what is in it.
    fn is_private(&self, share: &str) -> bool {
        // A WebDAV name may be percent-encoded.
        let decoded = percent_decode_str(share).decode_utf8_lossy();
        decoded.contains(is_in_no_share) || self.matches(share) || self.matches(&decoded)
    }

    fn matches(&self, share: &str) -> bool {
        // Windows ignores these characters at the end.
        let share = share.trim_start().trim_end_matches(|c: char| c.is_whitespace() || c == '.');
        !is_of_windows(share) && self.private_shares.iter().any(|pattern| pattern.matches(share))
    }
}

/// Whether a share's name cannot contain this character ([MS-FSCC] 2.1.6), or nobody can see it. A
/// name with such a character cannot be compared with a pattern. It may be a command line with a
/// password in it.
fn is_in_no_share(c: char) -> bool {
    let is_invisible = matches!(
        c,
        '\u{AD}' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
    );
    c.is_control() || is_invisible || r#""\/[]:|<>+=;,*?"#.contains(c)
}

/// Whether Windows itself makes a share of this name. Such a name says nothing about any user.
fn is_of_windows(share: &str) -> bool {
    let drive = |share: &str| matches!(share.as_bytes(), [b'C'..=b'Z' | b'c'..=b'z', b'$']);
    let named = ["ADMIN$", "IPC$", "PRINT$", "FAX$"];
    drive(share) || named.iter().any(|name| name.eq_ignore_ascii_case(share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Body, KIND_ADD, KIND_CANCEL, Record};
    use crate::origin::Origin;
    use crate::process::Identity;
    use crate::settings::System;
    use crate::span::span;
    use crate::trace_context::IdSource;
    use crate::wide::WideStr;
    use proptest::prelude::*;

    fn policy(level: PrivacyLevel) -> Privacy {
        Privacy { level, ..Privacy::of(&Settings::resolve(&System::host())) }
    }

    fn operation(kind: u8, remote: &str, local: &str) -> Operation {
        let wide = |text: &str| text.encode_utf16().chain([0]).collect::<Vec<u16>>();
        let mut body = Body::empty();
        body.kind = kind;
        let (remote, local) = (wide(remote), wide(local));
        body.set_names(WideStr::from_units(&remote), WideStr::from_units(&local));
        Operation::decode(&Record { unfinished: false, number: 1, body }).unwrap()
    }

    /// Everything that is sent, as text.
    fn sent(operation: Disclosed) -> String {
        let origin = Origin {
            identity: Identity {
                pid: 1,
                executable: "host.exe".into(),
                session_id: None,
                service: None,
            },
            parent: None,
            ids: IdSource::new([1, 2, 3], None),
            anchor_unix_nanos: 0,
            boot_id: 0,
            recovered: false,
        };
        format!("{:?}", span(operation, &origin, 0))
    }

    #[test]
    fn the_shares_of_windows_are_never_private() {
        let share = |name: &str| {
            let operation = operation(KIND_ADD, &format!(r"\\fs\{name}\x"), "");
            policy(PrivacyLevel::Share).disclose(operation).remote.share.clone().unwrap()
        };
        for name in ["c$", "Z$", "ADMIN$", "ipc$", "Print$", "FAX$", "projects", "users2"] {
            assert_eq!(share(name), name);
        }
        for name in [
            "jdoe$::$DATA",
            "users,x",
            "jdoe$\u{200b}",
            "\u{200b}users",
            "jdoe%24",
            "%55sers",
            "projects%2Fbelow",
            "share?sig=SAS",
            "share\" P@ssw0rd ",
        ] {
            assert_eq!(share(name), MASK, "{name}");
        }
        for name in ["a$", "cc$", "$", "home$", "HOME$", "Users", "profiles", "jdoe$", "users ."] {
            assert_eq!(share(name), MASK, "{name}");
        }
    }

    #[test]
    fn upper_and_lower_case_are_the_same_in_every_script() {
        for (pattern, share) in
            [("ΟΔΟΣ*", "ΟΔΟΣΑ"), ("*σ", "ΟΔΟΣ"), ("strasse", "STRAßE"), ("K", "\u{212a}")]
        {
            let private_shares = NamePattern::list(pattern);
            let privacy = Privacy { private_shares, ..policy(PrivacyLevel::Share) };
            assert!(privacy.is_private(share), "{pattern} {share}");
        }
    }

    #[test]
    fn the_end_of_a_name_that_was_cut_is_not_sent() {
        let share = |room: usize, rest: &str| {
            let operation = operation(KIND_ADD, &format!(r"\\fs\{}{rest}", "s".repeat(room)), "");
            let disclosed = policy(PrivacyLevel::Share).disclose(operation);
            (disclosed.truncated, disclosed.remote.share.clone().unwrap())
        };
        assert_eq!(share(251, ""), (false, "s".repeat(251)));
        assert_eq!(share(251, "$"), (true, MASK.to_owned()));
        assert_eq!(share(9, &format!(r"\{}", "x".repeat(300))), (true, "s".repeat(9)));
    }

    #[test]
    fn nothing_is_sent_of_a_server_whose_name_was_cut() {
        let long = "s".repeat(300);
        for name in [format!(r"\\?\UNC\{long}"), format!("////{long}")] {
            let operation = operation(KIND_ADD, &name, "");
            assert_eq!((operation.truncated, operation.remote.server.clone()), (true, None));
            let text = sent(policy(PrivacyLevel::Share).disclose(operation));
            assert!(!text.contains("sss"), "{text}");
        }
    }

    #[test]
    fn the_link_of_a_dfs_root_is_sent_if_a_setting_names_the_root() {
        let roots = DfsRoot::list(r"\\corp.example\DFS; \\corp\dfs").unwrap();
        let link = |level, name: &str| {
            let privacy = Privacy { dfs_roots: roots.clone(), ..policy(level) };
            privacy.disclose(operation(KIND_ADD, name, "")).remote.link.clone()
        };
        for level in [PrivacyLevel::Full, PrivacyLevel::Share] {
            assert_eq!(link(level, r"\\Corp.Example\dfs\sales\x").as_deref(), Some("sales"));
            assert_eq!(link(level, r"\\corp\dfs\sales").as_deref(), Some("sales"));
            assert_eq!(link(level, r"\\corp\dfs"), None);
            assert_eq!(link(level, r"\\corp\other\sales"), None);
            assert_eq!(link(level, r"\\corp@SSL\dfs\sales"), None);
            assert_eq!(link(level, "https://corp/dfs/sales"), None);
        }
        assert_eq!(link(PrivacyLevel::Share, r"\\corp\dfs\jdoe$").as_deref(), Some(MASK));
        assert_eq!(link(PrivacyLevel::None, r"\\corp\dfs\sales"), None);
    }

    #[test]
    fn a_dfs_root_is_just_a_server_and_a_share() {
        for text in [r"\\corp", r"\\corp\dfs\x", "dfs", r"\\bad host\dfs"] {
            assert!(DfsRoot::list(text).unwrap_err().contains(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn at_share_nothing_below_a_share_no_private_share_and_no_query_leaves(
            prefix in prop_oneof![
                Just(r"\\"), Just("//"), Just(r"\\?\UNC\"), Just(r"\\.\UNC\"), Just(r"\\?\"),
                Just("http://"), Just(r"https:\\"), Just("HTTP:"), Just("ftp://"), Just(""), Just(r"\"), Just(" "),
            ],
            user in prop_oneof![Just(""), Just("QSECRETQ:pw@"), Just("u:QSECRETQ@")],
            server in "[A-Za-z0-9.-]{1,12}(@SSL|@SSL@8443|@jdoe)?",
            slash in prop_oneof![Just("\\"), Just("/"), Just("\\\\")],
            share in prop_oneof![
                Just("QSECRET$"), Just("Home$"), Just("USERS"), Just("profiles"), Just("Projects"), Just("c$"),
            ],
            below in prop::collection::vec("[A-Za-z0-9 .$@:_-]{0,12}QSECRETQ", 0..3),
            query in prop_oneof![Just(""), Just("?QSECRETQ"), Just("#QSECRETQ"), Just("?a=/QSECRETQ")],
            local in prop_oneof![Just(""), Just("Z:"), Just(r"\\a\b\QSECRETQ"), Just("QSECRETQ")],
            long in 0_usize..300,
            cancel in any::<bool>(),
        ) {
            // UNC names keep `?` and `#`, which are legal there.
            let web = prefix.contains("p:") || prefix.contains("ps:") || prefix.contains("P:");
            let (user, query) = if web { (user, query) } else { ("", "") };
            let path = below.join(slash);
            let filler = "x".repeat(long);
            let name = format!("{prefix}{user}{server}{slash}{share}{slash}{filler}{path}{query}");
            let kind = if cancel { KIND_CANCEL } else { KIND_ADD };
            let text = sent(policy(PrivacyLevel::Share).disclose(operation(kind, &name, local)));
            for secret in ["QSECRET", "Home$", "USERS", "profiles"] {
                prop_assert!(!text.contains(secret), "{name} {local}: {text}");
            }
        }

        #[test]
        fn at_none_no_share_and_no_drive_leaves(name in any::<String>(), local in any::<String>()) {
            let disclosed = policy(PrivacyLevel::None).disclose(operation(KIND_ADD, &name, &local));
            prop_assert_eq!(&disclosed.remote_name, &None);
            prop_assert_eq!(&disclosed.local_name, &None);
            prop_assert_eq!(&disclosed.remote.share, &None);
            prop_assert_eq!(&disclosed.remote.link, &None);
        }
    }
}
