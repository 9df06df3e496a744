//! The rights on Windows for the product's folders, the control page and the registry key of the
//! secrets, in the security descriptor definition language (SDDL).

/// Name of the agent's service.
pub(crate) const AGENT_SERVICE: &str = "mpr-otel-agent";
/// The account that Windows makes for that service.
pub(crate) const AGENT_ACCOUNT: &str = r"NT SERVICE\mpr-otel-agent";

/// The SID of that account. It is computed from the service's name, so it is known before the
/// service exists.
macro_rules! agent_sid {
    () => {
        "S-1-5-80-139323045-3942798927-2009074384-3749619935-1740272134"
    };
}
/// SID of the agent's account.
pub(crate) const AGENT_SID: &str = agent_sid!();

/// Name of the Collector's service on a machine, as in the docs and in `collector-config`.
#[cfg_attr(not(test), allow(dead_code))] // Its SID says it all.
const COLLECTOR_SERVICE: &str = "otelcol-mpr";

/// The SID of that service's own account. It is computed in the same way.
macro_rules! collector_sid {
    () => {
        "S-1-5-80-166029300-2684297546-1244681796-417680869-1511512256"
    };
}

/// Full access for the system and for administrators, who own the folder. Modify for the agent:
/// read, write, rename and delete, but not change rights or the owner. New files in the folder get
/// the same rights. The folder inherits nothing (`P`).
macro_rules! ours {
    () => {
        concat!("O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301BF;;;", agent_sid!(), ")")
    };
}

/// The security descriptor of the secrets' registry key. Full access for the system and for
/// administrators, who own the key; read for the agent (KEY_READ); no rights for others. The key
/// inherits nothing (`P`).
pub(crate) const AGENT_KEY_SDDL: &str =
    concat!("O:BAD:P(A;CI;KA;;;SY)(A;CI;KA;;;BA)(A;CI;KR;;;", agent_sid!(), ")");

/// The rights for a folder or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Every user makes files and keeps them, and no user can read another user's.
    Shared,
    /// A folder around one of these: every user can list it, and cannot add anything.
    Outer,
    /// Only the system, administrators and the agent have rights.
    AgentsOnly,
    /// Only the system, administrators and the service of a Collector have rights.
    Collector,
    /// A file that was replaced while programs use it: the agent may remove it.
    Superseded,
    /// The control page, a file in the agent's folder. The system, administrators and the agent
    /// write it, and every program reads it.
    ControlPage,
}

impl Rights {
    /// Whether these rights are for a file and not for a folder.
    #[cfg_attr(not(windows), allow(dead_code))] // Windows alone has such rights.
    pub(crate) fn are_of_a_file(self) -> bool {
        matches!(self, Self::ControlPage | Self::Superseded)
    }

    /// The folder's or file's security descriptor.
    pub(crate) fn sddl(self) -> &'static str {
        match self {
            // The user who makes a file has full access to it. Users can list the folder and add
            // files (FILE_GENERIC_READ | FILE_TRAVERSE | FILE_ADD_FILE), but no folders.
            Self::Shared => concat!(ours!(), "(A;OIIO;FA;;;CO)(A;;0x1200AB;;;AU)"),
            // FILE_GENERIC_READ | FILE_TRAVERSE.
            Self::Outer => concat!(ours!(), "(A;;0x1200A9;;;AU)"),
            Self::AgentsOnly => ours!(),
            Self::Collector => concat!(
                "O:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301BF;;;",
                collector_sid!(),
                ")"
            ),
            // FILE_GENERIC_READ | DELETE for the agent, FILE_GENERIC_READ | FILE_EXECUTE for every user.
            Self::Superseded => concat!(
                "O:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x130089;;;",
                agent_sid!(),
                ")(A;;0x1200A9;;;AU)"
            ),
            // FILE_GENERIC_READ | FILE_GENERIC_WRITE for the agent. FILE_GENERIC_READ for every
            // user, and for programs in an app container, which do not have all of their user's
            // rights.
            Self::ControlPage => concat!(
                "O:BAD:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x12019F;;;",
                agent_sid!(),
                ")(A;;0x120089;;;AU)(A;;0x120089;;;AC)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha1::{Digest, Sha1};

    // winnt.h
    const READ: u32 = 0x1; // FILE_READ_DATA, FILE_LIST_DIRECTORY
    const WRITE: u32 = 0x2; // FILE_WRITE_DATA, FILE_ADD_FILE
    const ADD_FOLDER: u32 = 0x4; // FILE_ADD_SUBDIRECTORY
    const DELETE_CHILD: u32 = 0x40;
    const DELETE: u32 = 0x1_0000;
    const CHANGE_RIGHTS: u32 = 0x4_0000; // WRITE_DAC
    const CHANGE_OWNER: u32 = 0x8_0000;
    const FULL: u32 = 0x1F_01FF; // FILE_ALL_ACCESS

    const ADMINISTRATOR: [&str; 2] = ["BA", "AU"];
    const SYSTEM: [&str; 1] = ["SY"];
    const AGENT: [&str; 2] = [AGENT_SID, "AU"];
    const USER: [&str; 2] = ["a user", "AU"];
    const OTHER_USER: [&str; 2] = ["another user", "AU"];
    const APP_CONTAINER: [&str; 1] = ["AC"];

    /// The kind, flags, rights and SID of each entry.
    fn entries(rights: Rights) -> Vec<(&'static str, Vec<&'static str>, u32, &'static str)> {
        let list = rights.sddl().strip_prefix("O:BAD:P(").unwrap().strip_suffix(')').unwrap();
        list.split(")(")
            .map(|entry| {
                let [kind, flags, rights, "", "", sid] = entry.split(';').collect::<Vec<_>>()[..]
                else {
                    panic!("{entry}")
                };
                let flags = (0..flags.len()).step_by(2).map(|at| &flags[at..at + 2]).collect();
                let rights = match rights {
                    "FA" => FULL,
                    hex => u32::from_str_radix(hex.strip_prefix("0x").unwrap(), 16).unwrap(),
                };
                (kind, flags, rights, sid)
            })
            .collect()
    }

    /// What a user with these SIDs may do with a folder or file that has these rights.
    fn with_it(rights: Rights, sids: &[&str]) -> u32 {
        entries(rights)
            .iter()
            .filter(|(_, flags, _, sid)| !flags.contains(&"IO") && sids.contains(sid))
            .fold(0, |sum, (kind, _, rights, _)| {
                assert_eq!(*kind, "A", "entries that deny would have to be weighed");
                sum | rights
            })
    }

    /// What a user with these SIDs may do with a file that `owner` made in such a folder.
    fn with_file(rights: Rights, owner: &str, sids: &[&str]) -> u32 {
        entries(rights)
            .iter()
            .filter(|(_, flags, _, sid)| {
                let sid = if *sid == "CO" { &owner } else { sid };
                flags.contains(&"OI") && sids.contains(sid)
            })
            .fold(0, |sum, (_, _, rights, _)| sum | rights)
    }

    /// The SID of a service's own account.
    fn sid(service: &str) -> String {
        let name = service.to_uppercase();
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let digest = Sha1::digest(units);
        let (words, _) = digest.as_chunks::<4>();
        let words: Vec<String> =
            words.iter().map(|word| u32::from_le_bytes(*word).to_string()).collect();
        format!("S-1-5-80-{}", words.join("-"))
    }

    #[test]
    fn the_sids_are_those_of_their_services_names() {
        assert_eq!(AGENT_SID, sid(AGENT_SERVICE));
        assert_eq!(collector_sid!(), sid(COLLECTOR_SERVICE));
        assert_eq!(AGENT_ACCOUNT, format!(r"NT SERVICE\{AGENT_SERVICE}"));
    }

    #[test]
    fn system_and_administrators_may_do_everything() {
        for rights in [Rights::Shared, Rights::Outer, Rights::AgentsOnly, Rights::Collector] {
            for who in [&SYSTEM[..], &ADMINISTRATOR] {
                assert_eq!(with_it(rights, who), FULL);
                assert_eq!(with_file(rights, "a user", who), FULL);
            }
        }
    }

    #[test]
    fn users_make_files_and_no_folders_and_cannot_read_other_users_files() {
        let folder = with_it(Rights::Shared, &USER);
        assert_eq!(folder & (READ | WRITE), READ | WRITE);
        let never = ADD_FOLDER | DELETE_CHILD | DELETE | CHANGE_RIGHTS | CHANGE_OWNER;
        assert_eq!(folder & never, 0);
        assert_eq!(with_file(Rights::Shared, "a user", &USER), FULL);
        assert_eq!(with_file(Rights::Shared, "a user", &OTHER_USER), 0);
    }

    #[test]
    fn the_agent_can_empty_and_remove_all_ledgers_and_cannot_change_rights() {
        for rights in [Rights::Shared, Rights::AgentsOnly] {
            for granted in [with_it(rights, &AGENT), with_file(rights, "a user", &AGENT)] {
                assert_eq!(granted & (READ | WRITE | DELETE), READ | WRITE | DELETE);
                assert_eq!(granted & (CHANGE_RIGHTS | CHANGE_OWNER | DELETE_CHILD), 0);
            }
        }
    }

    #[test]
    fn everybody_reads_the_control_page_and_only_the_agent_and_administrators_write_it() {
        let page = |who: &[&str]| with_it(Rights::ControlPage, who);
        assert_eq!((page(&SYSTEM), page(&ADMINISTRATOR)), (FULL, FULL));
        assert_eq!(page(&AGENT) & (READ | WRITE), READ | WRITE);
        assert_eq!(page(&AGENT) & (DELETE | CHANGE_RIGHTS | CHANGE_OWNER), 0);
        for who in [&USER[..], &APP_CONTAINER] {
            assert_eq!(page(who) & READ, READ);
            let never = WRITE | ADD_FOLDER | DELETE_CHILD | DELETE | CHANGE_RIGHTS | CHANGE_OWNER;
            assert_eq!(page(who) & never, 0);
        }
        // The control page inherits no rights and passes none on.
        assert!(entries(Rights::ControlPage).iter().all(|(_, flags, ..)| flags.is_empty()));
    }

    #[test]
    fn the_agent_reads_the_secrets_and_only_the_system_and_administrators_write_them() {
        let list = AGENT_KEY_SDDL.strip_prefix("O:BAD:P(").unwrap().strip_suffix(')').unwrap();
        let entries: Vec<&str> = list.split(")(").collect();
        let agent = format!("A;CI;KR;;;{AGENT_SID}");
        assert_eq!(entries, ["A;CI;KA;;;SY", "A;CI;KA;;;BA", &agent]);
    }

    #[test]
    fn users_have_no_rights_in_the_agents_folders_and_the_agent_has_none_in_a_collectors() {
        for rights in [Rights::AgentsOnly, Rights::Collector] {
            assert_eq!(with_it(rights, &USER), 0);
            assert_eq!(with_file(rights, AGENT_SID, &USER), 0);
        }
        assert_eq!(with_it(Rights::Collector, &AGENT), 0);
        let collector = with_it(Rights::Collector, &[collector_sid!()]);
        assert_eq!(collector & (READ | WRITE | DELETE), READ | WRITE | DELETE);
        assert_eq!(collector & (CHANGE_RIGHTS | CHANGE_OWNER), 0);
    }

    #[test]
    fn users_can_list_an_outer_folder_and_cannot_add_to_it() {
        let outer = with_it(Rights::Outer, &USER);
        assert_eq!(outer & READ, READ);
        let never = WRITE | ADD_FOLDER | DELETE_CHILD | DELETE | CHANGE_RIGHTS | CHANGE_OWNER;
        assert_eq!(outer & never, 0);
        assert_eq!(with_file(Rights::Outer, "a user", &OTHER_USER), 0);
    }

    #[test]
    fn the_agent_removes_a_file_that_was_replaced_and_writes_nothing_to_it() {
        let agent = with_it(Rights::Superseded, &AGENT);
        assert_eq!(agent & (READ | DELETE), READ | DELETE);
        assert_eq!(agent & (WRITE | CHANGE_RIGHTS | CHANGE_OWNER), 0);
        assert_eq!(with_it(Rights::Superseded, &USER) & (WRITE | DELETE | CHANGE_RIGHTS), 0);
        assert!(entries(Rights::Superseded).iter().all(|(_, flags, ..)| flags.is_empty()));
    }
}
