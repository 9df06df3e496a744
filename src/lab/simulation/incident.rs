//! Incidents to order: what happens, when, and to whom.

use super::curve::SECOND;
use super::failure_rates;
use super::fleet::Fleet;
use super::latency;
use super::place::Place;
use super::plan::Ask;
use super::random::Rng;
use std::str::FromStr;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every operation on a server fails after some 20 seconds.
    ServerDown,
    /// A part of all adds fails because the account has expired.
    AccountExpired,
    /// Successes of a server take longer.
    ServerSlow,
    /// A part of a server's adds is denied.
    AccessRevoked,
    /// A part of a server's adds fails because the server is at its limits: not unreachable, not
    /// denied.
    ServerFlaky,
    /// Operations on a server never return.
    ServerHangs,
    /// A part of the hosts has no room for operations.
    Losses,
    /// A part of the hosts stops.
    HostsVanish,
    /// All hosts stop.
    Silence,
}

/// How a kind of incident is described.
struct Form {
    name: &'static str,
    alert: &'static str,
    example: &'static str,
    /// Whether it needs a server.
    server: bool,
    /// The share, if none is given; `None` if it has none.
    share: Option<f64>,
    /// The factor, if none is given; `None` if it has none.
    factor: Option<f64>,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::ServerDown,
        Self::AccountExpired,
        Self::ServerSlow,
        Self::AccessRevoked,
        Self::ServerFlaky,
        Self::ServerHangs,
        Self::Losses,
        Self::HostsVanish,
        Self::Silence,
    ];

    #[rustfmt::skip] // A table.
    fn form(self) -> Form {
        let (name, alert, server, share, factor, example) = match self {
            Self::ServerDown => ("server-down", "MprServerUnreachable",
                true, None, None, "server-down@10m-40m:server=3"),
            Self::AccountExpired => ("account-expired", "MprAuthenticationFailures",
                false, Some(0.1), None, "account-expired@10m:share=0.1"),
            Self::ServerSlow => ("server-slow", "MprServerSlow",
                true, None, Some(20.0), "server-slow@10m:server=3,factor=20"),
            Self::AccessRevoked => ("access-revoked", "MprServerFailing",
                true, Some(0.6), None, "access-revoked@10m:server=3,share=0.6"),
            Self::ServerFlaky => ("server-flaky", "MprServerFailing",
                true, Some(0.08), None, "server-flaky@10m:server=3,share=0.08"),
            Self::ServerHangs => ("server-hangs", "MprOperationsUnfinished",
                true, None, None, "server-hangs@10m-30m:server=3"),
            Self::Losses => ("losses", "MprOperationsLost",
                false, Some(0.05), None, "losses@10m:share=0.05"),
            Self::HostsVanish => ("hosts-vanish", "MprHostsAbsent",
                false, Some(0.3), None, "hosts-vanish@30m:share=0.3"),
            Self::Silence => ("silence", "MprFleetSilent",
                false, None, None, "silence@30m"),
        };
        Form { name, alert, example, server, share, factor }
    }

    /// As it is written in a SPEC.
    pub fn name(self) -> &'static str {
        self.form().name
    }

    /// The alert that it raises.
    pub fn alert(self) -> &'static str {
        self.form().alert
    }
}

/// Why a description is refused: what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; write {allowed}, such as `{example}`")]
pub struct IncidentError {
    problem: String,
    allowed: String,
    example: &'static str,
}

/// An incident as it is ordered.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// What happens.
    pub kind: Kind,
    /// When it begins, in nanoseconds of simulated time.
    pub(super) from: u64,
    /// When it ends; `None`: not before the run does.
    pub(super) to: Option<u64>,
    /// The server, as it was written.
    server: Option<String>,
    /// The part that is struck.
    share: f64,
    /// How much longer.
    factor: f64,
}

/// Reads `KIND@START[-END][:key=value,...]`.
impl FromStr for Incident {
    type Err = IncidentError;

    fn from_str(text: &str) -> Result<Self, IncidentError> {
        let (kind, rest) = text.split_once('@').unwrap_or((text, ""));
        let known = Kind::ALL.into_iter().find(|known| known.name() == kind);
        let known = known.ok_or_else(|| IncidentError {
            problem: format!("`{kind}` is no kind of incident"),
            allowed: format!("one of {}", Kind::ALL.map(Kind::name).join(", ")),
            example: Kind::ServerDown.form().example,
        })?;
        let form = known.form();
        let error = |problem: String| IncidentError {
            problem,
            allowed: form.grammar(),
            example: form.example,
        };
        let (when, keys) = rest.split_once(':').unwrap_or((rest, ""));
        let time = |text: &str| {
            parse_time(text).ok_or_else(|| {
                error(format!("`{text}` is no time after the beginning like 90s, 10m or 1h30m"))
            })
        };
        let (from, to) = match when.split_once('-') {
            Some((from, to)) => (time(from)?, Some(time(to)?)),
            None => (time(when)?, None),
        };
        if to.is_some_and(|to| to <= from) {
            return Err(error(format!("`{when}` ends before it begins")));
        }
        let mut incident = Self {
            kind: known,
            from,
            to,
            server: None,
            share: form.share.unwrap_or(1.0),
            factor: form.factor.unwrap_or(1.0),
        };
        for pair in keys.split(',').filter(|pair| !pair.is_empty()) {
            let number =
                |value: &str| value.parse::<f64>().ok().filter(|number| number.is_finite());
            match pair.split_once('=') {
                Some(("server", value)) if form.server && !value.is_empty() => {
                    incident.server = Some(value.to_owned());
                }
                Some(("share", value)) if form.share.is_some() => {
                    incident.share = number(value)
                        .filter(|share| *share > 0.0 && *share <= 1.0)
                        .ok_or_else(|| error(format!("`{value}` is no share from 0 to 1")))?;
                }
                Some(("factor", value)) if form.factor.is_some() => {
                    incident.factor = number(value)
                        .filter(|factor| *factor >= 1.0 && *factor <= 1e6)
                        .ok_or_else(|| error(format!("`{value}` is no factor from 1 on")))?;
                }
                _ => return Err(error(format!("{kind} does not know `{pair}`"))),
            }
        }
        if form.server && incident.server.is_none() {
            return Err(error(format!("{kind} needs a server")));
        }
        Ok(incident)
    }
}

impl Form {
    /// What may be written.
    fn grammar(&self) -> String {
        let keys: Vec<&str> = [
            self.server.then_some("server=NUMBER or NAME"),
            self.share.map(|_| "share=0..1"),
            self.factor.map(|_| "factor=1.."),
        ]
        .into_iter()
        .flatten()
        .collect();
        let colon = if keys.is_empty() { "" } else { ":" };
        format!("{}@START[-END]{colon}{}", self.name, keys.join(","))
    }
}

/// `90s`, `10m`, `1h30m`, `0`: nanoseconds.
fn parse_time(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut total = 0_u64;
    let mut digits = String::new();
    let mut units = "hms".chars();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        // Each unit once, and the larger first.
        units.find(|unit| *unit == c)?;
        let seconds = match c {
            'h' => 3600,
            'm' => 60,
            _ => 1,
        };
        let count: u64 = digits.parse().ok()?;
        digits.clear();
        total = total.checked_add(count.checked_mul(seconds * SECOND)?)?;
    }
    (digits.is_empty() && !text.is_empty()).then_some(total)
}

/// How an operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IncidentFate {
    /// The Win32 code; `None`: it never returns.
    pub(super) status: Option<u32>,
    /// How long it takes, in nanoseconds; without meaning if it never returns.
    pub(super) takes: u64,
}

/// The incidents of a run, with the servers they strike.
#[derive(Clone, Debug)]
pub(super) struct Incidents {
    seed: u64,
    list: Vec<(Incident, Option<usize>)>,
}

/// Each use of random numbers has a word of its own, so that no two share their numbers.
const STRUCK: u64 = 20;
const VICTIM: u64 = 21;
const LOST: u64 = 22;

/// What adds with an expired account end with. Sometimes it is locked, because programs keep
/// trying.
const EXPIRED: [(u32, f64); 3] = [(1793, 6.0), (1326, 3.0), (1909, 1.0)];
/// What operations on a server that is gone end with.
const DOWN: [(u32, f64); 2] = [(53, 8.0), (1203, 2.0)];
/// What adds on a server at its limits end with. Their class is `resource`.
const FLAKY: [(u32, f64); 3] = [(71, 5.0), (1450, 3.0), (1816, 2.0)];
/// A host without room loses this part of its operations.
const LOSING: f64 = 0.5;

impl Incidents {
    /// Finds the servers. Errs with the name of the first incident whose server does not exist.
    pub(super) fn new(fleet: &Fleet, ordered: &[Incident]) -> Result<Self, String> {
        let list = ordered.iter().map(|incident| {
            let server = match &incident.server {
                None => None,
                Some(text) => Some(fleet.find(text).ok_or_else(|| {
                    format!(
                        "--incident {}: there is no server `{text}`; write a number from 1 to {} \
                         or a name such as {}",
                        incident.kind.name(),
                        fleet.servers.len(),
                        fleet.servers[0].name
                    )
                })?),
            };
            Ok((incident.clone(), server))
        });
        Ok(Self { seed: fleet.seed, list: list.collect::<Result<_, String>>()? })
    }

    /// Each incident with its server.
    pub(super) fn all(&self) -> &[(Incident, Option<usize>)] {
        &self.list
    }

    /// The incidents that go on at a time, with their places in the order.
    fn active(&self, at: u64) -> impl Iterator<Item = (u64, &Incident, Option<usize>)> {
        self.list.iter().enumerate().filter_map(move |(index, (incident, server))| {
            let on = incident.from <= at && incident.to.is_none_or(|to| at < to);
            on.then_some((index as u64, incident, *server))
        })
    }

    /// What becomes of the operation at `place`, which begins at `at` and would usually end so.
    pub(super) fn bend(
        &self,
        place: Place,
        ask: &Ask,
        usual: IncidentFate,
        at: u64,
    ) -> IncidentFate {
        let [host, day, visit, step] = place.name();
        let server = ask.share().map(|share| share.server);
        let mut fate = usual;
        for (index, incident, struck) in self.active(at) {
            if struck.is_some() && struck != server {
                continue;
            }
            let mut rng = Rng::of(&[self.seed, STRUCK, index, host, day, visit, step]);
            let hit = rng.happens(incident.share);
            let add = ask.is_add();
            fate = match incident.kind {
                Kind::ServerDown => IncidentFate {
                    status: Some(failure_rates::pick(&DOWN, &mut rng)),
                    takes: latency::dead_share(&mut rng),
                },
                Kind::AccountExpired if hit && add => refused(&EXPIRED, &mut rng),
                Kind::AccessRevoked if hit && add => refused(&[(5, 1.0)], &mut rng),
                Kind::ServerFlaky if hit && add => refused(&FLAKY, &mut rng),
                Kind::ServerSlow if fate.status == Some(0) => {
                    IncidentFate { takes: (fate.takes as f64 * incident.factor) as u64, ..fate }
                }
                Kind::ServerHangs => IncidentFate { status: None, ..fate },
                _ => fate,
            };
        }
        fate
    }

    /// Whether a host is off at a time.
    pub(super) fn is_absent(&self, host: u32, at: u64) -> bool {
        self.active(at).any(|(index, incident, _)| match incident.kind {
            Kind::Silence => true,
            Kind::HostsVanish => self.is_victim(index, incident, host),
            _ => false,
        })
    }

    /// Whether its host loses the operation at `place`, which begins at `at`.
    pub(super) fn is_lost(&self, place: Place, at: u64) -> bool {
        let [host, day, visit, step] = place.name();
        self.active(at).any(|(index, incident, _)| {
            incident.kind == Kind::Losses
                && self.is_victim(index, incident, place.host)
                && Rng::of(&[self.seed, LOST, index, host, day, visit, step]).happens(LOSING)
        })
    }

    /// Whether a host is in the part that is struck.
    fn is_victim(&self, index: u64, incident: &Incident, host: u32) -> bool {
        Rng::of(&[self.seed, VICTIM, index, host.into()]).happens(incident.share)
    }
}

/// A failure that takes as long as it usually does.
fn refused(codes: &[(u32, f64)], rng: &mut Rng) -> IncidentFate {
    let status = failure_rates::pick(codes, rng);
    let path = latency::Path { server: None, first: false, distance: 1.0, load: 0.0 };
    IncidentFate { status: Some(status), takes: latency::draw(status, path, rng) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        text.parse::<Incident>().unwrap_err().to_string()
    }

    #[test]
    fn every_kind_has_a_form_whose_example_is_read() {
        for kind in Kind::ALL {
            let incident: Incident = kind.form().example.parse().unwrap();
            assert_eq!(incident.kind, kind);
        }
    }

    #[test]
    fn a_description_says_when_and_to_whom() {
        let incident: Incident =
            "access-revoked@1h30m-2h:server=files03,share=0.5".parse().unwrap();
        assert_eq!(incident.from, 5400 * SECOND);
        assert_eq!(incident.to, Some(7200 * SECOND));
        assert_eq!(incident.server.as_deref(), Some("files03"));
        assert_eq!(incident.share, 0.5);
        let open: Incident = "silence@0".parse().unwrap();
        assert_eq!((open.from, open.to), (0, None));
    }

    #[test]
    fn what_is_left_out_is_as_the_form_has_it() {
        let slow: Incident = "server-slow@10m:server=3".parse().unwrap();
        assert_eq!(slow.factor, 20.0);
        let lossy: Incident = "losses@90s".parse().unwrap();
        assert_eq!((lossy.share, lossy.from), (0.05, 90 * SECOND));
    }

    #[test]
    fn a_wrong_description_is_told_what_is_allowed_with_an_example() {
        for (text, words) in [
            (
                "fire@10m",
                "`fire` is no kind of incident; write one of server-down, account-expired",
            ),
            ("", "`` is no kind of incident"),
            ("server-down@10m", "server-down needs a server"),
            ("server-down@soon:server=3", "`soon` is no time after the beginning like 90s"),
            ("server-down", "`` is no time"),
            ("server-down@10:server=3", "`10` is no time"),
            ("server-down@10m5h:server=3", "`10m5h` is no time"),
            ("server-down@20m-10m:server=3", "`20m-10m` ends before it begins"),
            ("server-down@10m:server=3,share=1", "server-down does not know `share=1`"),
            ("losses@10m:share=2", "`2` is no share from 0 to 1"),
            ("losses@10m:share=0", "`0` is no share from 0 to 1"),
            ("server-slow@10m:server=3,factor=0.5", "`0.5` is no factor from 1 on"),
            ("silence@10m:server=3", "silence does not know `server=3`"),
        ] {
            let said = problem(text);
            assert!(said.starts_with(words), "{text}: {said}");
            assert!(said.contains("such as `"), "{said}");
        }
        assert!(problem("losses@x").contains("losses@START[-END]:share=0..1"));
        assert!(problem("silence@x").contains("write silence@START[-END], such as `silence@30m`"));
    }

    #[test]
    fn a_server_that_the_fleet_does_not_have_is_refused() {
        let fleet = Fleet::new(1, 10, 4);
        let incident: Incident = "server-down@10m:server=9".parse().unwrap();
        let said = Incidents::new(&fleet, &[incident]).unwrap_err();
        assert!(said.contains("no server `9`; write a number from 1 to 4"), "{said}");
    }
}
