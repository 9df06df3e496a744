//! The demo's script: what five programs ask of a dozen servers.

use mpr_otel_lab::double::{Add, Cancel, Host, Script, ScriptedCall, Step};

/// Operations in all.
const OPERATIONS: usize = 200;

const DISK: u32 = 1;
const PRINT: u32 = 2;
const UPDATE_PROFILE: u32 = 0x1;
const INTERACTIVE: u32 = 0x8;
const COMMANDLINE: u32 = 0x800;

const SMB: &str = "Microsoft Windows Network";
const WEBDAV: &str = "Web Client Network";

/// A server's shares, how long it takes, and how it answers, in turn.
struct Server {
    remote: &'static [&'static str],
    resource_type: u32,
    provider: &'static str,
    takes_ms: (u64, u64),
    statuses: &'static [u32],
}

const SERVERS: [Server; 12] = [
    smb(&[r"\\files01.corp.example\projects", r"\\files01.corp.example\home$"], (4, 30), &[0]),
    smb(
        &[r"\\FILES02.corp.example\teams\design", r"\\files02.corp.example\scans"],
        (5, 40),
        &[0, 0, 0, 85],
    ),
    smb(&[r"\\nas-west.corp.example\archive"], (250, 700), &[0, 0, 1272, 59]),
    smb(&[r"\\old-fs.corp.example\public"], (900, 1200), &[53, 53, 1203]),
    smb(&[r"\\hr.corp.example\payroll"], (8, 25), &[0, 5, 0, 0]),
    smb(&[r"\\legacy.corp.example\apps"], (30, 90), &[1326, 0, 1909, 0]),
    smb(&[r"\\lab.corp.example\Share", r"\\lab.corp.example\gone"], (6, 35), &[0, 67, 0, 1219]),
    smb(&[r"\\busy.corp.example\builds"], (60, 300), &[0, 71, 0, 31]),
    smb(&[r"\\10.0.0.7\backup"], (10, 45), &[0, 1231, 1204, 0]),
    smb(&[r"\\2001-db8--1.ipv6-literal.net\media"], (12, 50), &[0]),
    Server {
        remote: &[r"\\print01.corp.example\Floor2-Color", r"\\print01.corp.example\Floor3"],
        resource_type: PRINT,
        provider: SMB,
        takes_ms: (40, 160),
        statuses: &[0, 0, 0, 66],
    },
    Server {
        remote: &[
            r"\\dav.corp.example@SSL@8443\DavWWWRoot\plans",
            "https://dav.corp.example:8443/plans",
        ],
        resource_type: DISK,
        provider: WEBDAV,
        takes_ms: (80, 350),
        statuses: &[0, 1223, 0, 1244],
    },
];

const fn smb(
    remote: &'static [&'static str],
    takes_ms: (u64, u64),
    statuses: &'static [u32],
) -> Server {
    Server { remote, resource_type: DISK, provider: SMB, takes_ms, statuses }
}

/// The programs, their threads and the flags they ask with.
const HOSTS: [(&str, usize, u32); 5] = [
    ("explorer.exe", 6, INTERACTIVE),
    ("net.exe", 3, COMMANDLINE),
    ("gpscript.exe", 3, UPDATE_PROFILE),
    ("outlook.exe", 2, 0),
    ("spoolsv.exe", 2, 0),
];

/// The same script every time: 200 operations, failures of every class, two that never end.
pub(super) fn script() -> Script {
    let mut hosts: Vec<Host> = HOSTS
        .iter()
        .map(|(executable, threads, _)| Host {
            executable: (*executable).to_owned(),
            threads: vec![Vec::new(); *threads],
        })
        .collect();
    let lanes: Vec<(usize, usize)> = HOSTS
        .iter()
        .enumerate()
        .flat_map(|(host, (_, threads, _))| (0..*threads).map(move |thread| (host, thread)))
        .collect();
    let mut visits = [0_usize; SERVERS.len()];
    for index in 0..OPERATIONS {
        let which = index % SERVERS.len();
        let (host, thread) = lanes[(index * 7 + index / SERVERS.len()) % lanes.len()];
        let visit = visits[which];
        visits[which] += 1;
        let step = step(index, &SERVERS[which], visit, HOSTS[host].2);
        hosts[host].threads[thread].push(step);
    }
    Script { hosts }
}

fn step(index: usize, server: &Server, visit: usize, flags: u32) -> Step {
    let remote = server.remote[visit % server.remote.len()].to_owned();
    let (least, most) = server.takes_ms;
    // A spread that looks random and is the same every time.
    let spread = (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
    let takes_ms = least + spread % (most - least);
    let drive = server.resource_type == DISK;
    let letter = char::from(b'G' + (index % 19) as u8);
    if visit % 5 == 4 {
        // Every fifth visit ends a mapping: half by drive letter, half by name.
        let name = if drive && index.is_multiple_of(2) { format!("{letter}:") } else { remote };
        let force = index.is_multiple_of(3);
        return Step {
            request: ScriptedCall::Cancel(Cancel { name: Some(name), flags: 0, force }),
            takes_ms: takes_ms.min(60),
            status: match index % 11 {
                3 => 2401,
                5 => 2250,
                _ => 0,
            },
            provider: Some(server.provider.to_owned()),
            no_post: false,
        };
    }
    Step {
        request: ScriptedCall::Add(Add {
            remote: Some(remote),
            local: drive.then(|| format!("{letter}:")),
            resource_type: server.resource_type,
            flags,
        }),
        takes_ms,
        status: server.statuses[visit % server.statuses.len()],
        provider: Some(server.provider.to_owned()),
        // Two of them hang on the dead server for good.
        no_post: index == 63 || index == 123,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpr_otel_core::operation::Outcome;
    use mpr_otel_core::win32_error::Class;
    use std::collections::BTreeSet;

    #[test]
    fn the_script_has_failures_of_every_class_and_operations_that_never_end() {
        let script = script();
        assert_eq!(script.operations(), OPERATIONS);
        let steps: Vec<&Step> =
            script.hosts.iter().flat_map(|host| host.threads.iter().flatten()).collect();
        let classes: BTreeSet<Class> =
            steps.iter().filter_map(|step| step.outcome().class()).collect();
        assert_eq!(classes, Class::ALL.into());
        assert!(steps.iter().any(|step| step.outcome() == Outcome::Cancelled));
        assert!(steps.iter().any(|step| step.outcome() == Outcome::NothingToDo));
        assert_eq!(steps.iter().filter(|step| step.no_post).count(), 2);
        assert!(steps.iter().any(|step| matches!(step.request, ScriptedCall::Cancel(_))));
        assert!(script.hosts.iter().all(|host| host.threads.iter().all(|lane| !lane.is_empty())));
    }
}
