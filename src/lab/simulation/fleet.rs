//! The fleet: machines, servers and shares, and who maps what.
//!
//! A machine is a number. What is to be said of it is made from the seed whenever it is needed, so
//! a large fleet takes no more memory than a small one.

use super::random::Rng;
use mpr_otel_core::machine::{Machine, host_id};

/// What a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerKind {
    /// A Windows file server.
    Files,
    /// A storage box that speaks SMB.
    Nas,
    /// A print server.
    Print,
    /// A WebDAV server.
    Dav,
}

impl ServerKind {
    const ALL: [Self; 4] = [Self::Files, Self::Nas, Self::Print, Self::Dav];

    fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Nas => "nas",
            Self::Print => "print",
            Self::Dav => "dav",
        }
    }

    fn shares(self) -> &'static [&'static str] {
        match self {
            Self::Files => &["home$", "projects", "common", "teams", "scans", "apps$"],
            Self::Nas => &["archive", "media", "backup"],
            Self::Print => &["floor1-mono", "floor2-color", "floor3-mono", "plotter"],
            Self::Dav => &["plans", "handbook"],
        }
    }
}

/// A server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// What it offers.
    pub(super) kind: ServerKind,
    /// Its DNS name, in lower case.
    pub(super) name: String,
    /// How popular it is among its kind; 0: nobody asks for it by himself.
    weight: f64,
    /// Whether it stands in a branch.
    of_branch: bool,
}

/// What a machine's agent is like, all the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agent {
    /// Its version.
    pub(super) version: &'static str,
    /// How long it makes no progress, in seconds: most never wait, some have a slow disk.
    pub(super) last_round: u32,
    /// Users whose ledgers wait for the next hour.
    pub(super) deferred: u32,
}

/// A share of a server, as a program spells it.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// The server's number, from 0 on.
    pub(super) server: usize,
    /// What the server offers.
    pub(super) kind: ServerKind,
    /// Which of its shares.
    pub(super) name: &'static str,
    /// Whether the server stands in a branch.
    pub(super) of_branch: bool,
}

/// Machines and servers.
#[derive(Clone, Debug)]
pub(super) struct Fleet {
    /// What everything about it is made from.
    pub(super) seed: u64,
    /// How many machines.
    pub(super) machines: u32,
    /// Every server; the first is a file server.
    pub(super) servers: Vec<Server>,
}

/// Each use of random numbers has a word of its own, so that no two share their numbers.
const MACHINE: u64 = 1;
const DRIVE: u64 = 2;
const DISTANCE: u64 = 3;

const AGENT: u64 = 4;

/// Versions of the agent, in the middle of a roll-out.
const VERSIONS: [&str; 3] = ["0.0.8", "0.0.9", env!("CARGO_PKG_VERSION")];
/// Builds of Windows and their revisions.
const BUILDS: [(u32, u32); 2] = [(22_631, 4_460), (26_100, 2_314)];
/// Sites of Active Directory.
const SITES: [&str; 3] = ["Headquarters", "Branch-North", "Branch-South"];

impl Fleet {
    /// A fleet of so many machines and servers: six servers in ten for files, the others for the
    /// rest.
    pub(super) fn new(seed: u64, machines: u32, servers: usize) -> Self {
        let (nas, print, dav) = (servers / 6, servers / 8, servers / 8);
        let counts = [servers - nas - print - dav, nas, print, dav];
        let servers = ServerKind::ALL.into_iter().zip(counts).flat_map(|(kind, count)| {
            (1..=count).map(move |rank| Server {
                kind,
                name: format!("{}{rank:02}.corp.example", kind.name()),
                weight: 1.0 / (rank as f64).sqrt(),
                of_branch: false,
            })
        });
        Self { seed, machines, servers: servers.collect() }
    }

    /// With as many more servers, each in a branch, whose users alone ask for it.
    pub(super) fn with_branches(mut self, branches: usize) -> Self {
        for rank in 1..=branches {
            let name = format!("branch{rank:02}.corp.example");
            self.servers.push(Server {
                kind: ServerKind::Files,
                name,
                weight: 0.0,
                of_branch: true,
            });
        }
        self
    }

    /// The numbers of the servers in branches.
    pub(super) fn branches(&self) -> impl Iterator<Item = usize> {
        let servers = self.servers.iter().enumerate();
        servers.filter(|(_, server)| server.of_branch).map(|(number, _)| number)
    }

    /// Adds a name that a program takes for a server's. Returns its number.
    pub(super) fn add_name(&mut self, name: &str) -> usize {
        let name = name.to_owned();
        self.servers.push(Server { kind: ServerKind::Files, name, weight: 0.0, of_branch: false });
        self.servers.len() - 1
    }

    /// The first share of a server.
    pub(super) fn first_share(&self, server: usize) -> Share {
        let Server { kind, of_branch, .. } = self.servers[server];
        Share { server, kind, name: kind.shares()[0], of_branch }
    }

    /// The number of the server that `text` names: a number from 1 on, a full or a short name.
    pub(super) fn find(&self, text: &str) -> Option<usize> {
        if let Ok(number) = text.parse::<usize>() {
            return number.checked_sub(1).filter(|index| *index < self.servers.len());
        }
        let text = text.to_lowercase();
        self.servers.iter().position(|server| {
            server.name == text
                || server.name.split_once('.').is_some_and(|(short, _)| short == text)
        })
    }

    /// A machine's DNS name.
    pub(super) fn host_name(&self, machine: u32) -> String {
        format!("pc-{:05}.corp.example", machine + 1)
    }

    /// A machine as its resource has it. All were cloned from one image: one MachineGuid, and one
    /// of two builds of Windows, as in the middle of a roll-out. Each is at one of three sites.
    pub(super) fn machine(&self, machine: u32) -> Machine {
        let mut rng = Rng::of(&[self.seed, MACHINE, machine.into()]);
        let (build, revision) = BUILDS[rng.below(BUILDS.len())];
        let site = SITES[rng.below(SITES.len())];
        let name = self.host_name(machine);
        let computer = name.split('.').next().unwrap_or(&name);
        Machine {
            id: Some(host_id(&format!("{:016x}", self.seed), computer)),
            name: Some(name),
            arch: Some("amd64".to_owned()),
            os: "windows",
            os_version: Some(format!("10.0.{build}")),
            os_build: Some(format!("{build}.{revision}")),
            site: Some(site.to_owned()),
        }
    }

    /// A machine's agent.
    pub(super) fn agent(&self, machine: u32) -> Agent {
        let mut rng = Rng::of(&[self.seed, AGENT, machine.into()]);
        Agent {
            version: VERSIONS[rng.weighted([1.0, 2.0, 7.0].into_iter())],
            last_round: if rng.happens(0.02) { 40 } else { 0 },
            deferred: u32::from(rng.happens(0.02)),
        }
    }

    /// How much longer a machine's way to the servers is: some sit in branch offices, some at home.
    pub(super) fn distance(&self, machine: u32) -> f64 {
        match Rng::of(&[self.seed, DISTANCE, machine.into()]).unit() {
            draw if draw < 0.80 => 1.0,
            draw if draw < 0.95 => 1.8,
            _ => 3.5,
        }
    }

    /// The drives that a machine maps at logon: letter and share. The same every day.
    pub(super) fn drives(&self, machine: u32) -> Vec<(char, Share)> {
        let mut rng = Rng::of(&[self.seed, DRIVE, machine.into()]);
        let mut drives = vec![
            ('H', self.share_of(ServerKind::Files, Some("home$"), &mut rng)),
            ('P', self.share_of(ServerKind::Files, Some("projects"), &mut rng)),
            ('S', self.share_of(ServerKind::Files, Some("common"), &mut rng)),
        ];
        let archive = self.share_of(ServerKind::Nas, None, &mut rng);
        if rng.happens(0.5) {
            drives.push(('N', archive));
        }
        drives
    }

    /// A random share for which a user or a script has some use.
    pub(super) fn any_share(&self, rng: &mut Rng) -> Share {
        let kind = match rng.unit() {
            draw if draw < 0.70 => ServerKind::Files,
            draw if draw < 0.90 => ServerKind::Nas,
            _ => ServerKind::Dav,
        };
        self.share_of(kind, None, rng)
    }

    /// A printer.
    pub(super) fn printer(&self, rng: &mut Rng) -> Share {
        self.share_of(ServerKind::Print, None, rng)
    }

    /// A share of a server of this kind; of a file server, if the fleet has none.
    fn share_of(&self, kind: ServerKind, name: Option<&'static str>, rng: &mut Rng) -> Share {
        let weight = |kind: ServerKind, server: &Server| {
            if server.kind == kind { server.weight } else { 0.0 }
        };
        let any = self.servers.iter().any(|server| server.kind == kind);
        let kind = if any { kind } else { ServerKind::Files };
        let server = rng.weighted(self.servers.iter().map(|server| weight(kind, server)));
        let shares = kind.shares();
        let chosen = shares[rng.below(shares.len())];
        let name = name.filter(|name| shares.contains(name)).unwrap_or(chosen);
        Share { server, kind, name, of_branch: false }
    }

    /// The remote name as programs write it.
    pub(super) fn remote_name(&self, share: &Share, misspelt: bool, rng: &mut Rng) -> String {
        let server = &self.servers[share.server].name;
        let name = if misspelt { format!("{}-old", share.name) } else { share.name.to_owned() };
        match share.kind {
            ServerKind::Dav => format!(r"\\{server}@SSL\{name}"),
            // People and old scripts often write server names in capitals.
            _ if rng.happens(0.1) => format!(r"\\{}\{name}", server.to_uppercase()),
            _ => format!(r"\\{server}\{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mpr_otel_core::remote_name::RemoteName;
    use std::collections::HashSet;

    #[test]
    fn servers_are_found_by_number_and_by_name() {
        let fleet = Fleet::new(1, 10, 24);
        assert_eq!(fleet.servers.len(), 24);
        assert_eq!(fleet.find("3"), Some(2));
        assert_eq!(fleet.find("files03"), Some(2));
        assert_eq!(fleet.find("FILES03.corp.example"), Some(2));
        assert_eq!(fleet.servers[2].name, "files03.corp.example");
        for unknown in ["0", "25", "", "files99", "-1"] {
            assert_eq!(fleet.find(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn every_machine_has_a_name_and_an_id_of_its_own() {
        let fleet = Fleet::new(1, 1000, 24);
        assert_eq!(fleet.host_name(16), "pc-00017.corp.example");
        let ids: HashSet<Option<String>> =
            (0..1000).map(|machine| fleet.machine(machine).id).collect();
        assert_eq!(ids.len(), 1000);
        let id = fleet.machine(0).id.expect("an id");
        assert_eq!(id.len(), 64, "{id}");
        let machines: Vec<Machine> = (0..1000).map(|machine| fleet.machine(machine)).collect();
        let builds: HashSet<_> = machines.iter().map(|machine| &machine.os_build).collect();
        let sites: HashSet<_> = machines.iter().map(|machine| &machine.site).collect();
        assert_eq!((builds.len(), sites.len()), (2, 3));
    }

    #[test]
    fn even_one_server_serves_everybody() {
        let fleet = Fleet::new(1, 10, 1);
        let mut rng = Rng::of(&[1]);
        assert!((3..=4).contains(&fleet.drives(0).len()));
        for _ in 0..100 {
            assert_eq!(fleet.any_share(&mut rng).server, 0);
            assert_eq!(fleet.printer(&mut rng).server, 0);
        }
    }

    #[test]
    fn the_library_reads_the_server_out_of_every_remote_name() {
        let fleet = Fleet::new(1, 10, 24);
        let mut rng = Rng::of(&[1]);
        for round in 0..1000 {
            let share = fleet.any_share(&mut rng);
            let name = fleet.remote_name(&share, round % 2 == 0, &mut rng);
            let server = RemoteName::parse(&name).server;
            assert_eq!(server.as_ref(), Some(&fleet.servers[share.server].name), "{name}");
        }
    }
}
