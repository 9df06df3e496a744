//! An incident as it is ordered: what happens, when, and to whom.

use super::agent_report::LOSSES;
use super::curve::{DAY, SECOND};
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
    /// A part of the machines has no room for operations.
    Losses,
    /// A part of the machines stops.
    MachinesVanish,
    /// All machines stop.
    Silence,
    /// A part of the machines is away from the network: their adds find no server, and what they
    /// have to send waits until they are back.
    OffVpn,
    /// A part of the machines has no way to the servers, and reaches the collector.
    ClientNetwork,
    /// One machine asks one server again and again, and is refused.
    NoisyMachine,
    /// A script on one machine asks again and again for a server that does not exist.
    Misspelt,
    /// The users of one server try together, again and again.
    Bursts,
    /// A part of the machines is switched off for the night and the weekend.
    Nights,
    /// All machines are switched off at once, on purpose.
    ScheduledShutdown,
    /// The line to the branches is cut.
    BranchCut,
    /// A part of the machines maps the first drive a second time at logon.
    MappedTwice,
    /// Scripts on a part of the machines cancel a drive that is not there before they map it.
    CancelFirst,
    /// On a part of the machines Group Policy maps every drive for the user and for the elevated
    /// user.
    Doubled,
    /// Somebody asks for servers whose names are no names.
    ForgedNames,
    /// Somebody asks for a new server each time.
    NamesOverflow,
    /// One of two gateways stops.
    GatewayDown,
    /// All gateways stop. Machines keep what they have to send.
    GatewaysDown,
    /// The gateways drop all logs.
    LogsDropped,
}

/// How a kind of incident is described.
struct Form {
    name: &'static str,
    /// `None`: no alert may fire.
    alert: Option<&'static str>,
    example: &'static str,
    /// Whether it needs a server.
    server: bool,
    /// The share, if none is given; `None` if it has none.
    share: Option<f64>,
    /// The factor, if none is given; `None` if it has none.
    factor: Option<f64>,
    /// The time between two operations, if none is given, in nanoseconds; `None` if it has none.
    every: Option<u64>,
    /// What the operations end with, if it is not said; `None` if it has none.
    code: Option<u32>,
    /// Whether a reason may be given.
    reason: bool,
}

impl Kind {
    const ALL: [Self; 25] = [
        Self::ServerDown,
        Self::AccountExpired,
        Self::ServerSlow,
        Self::AccessRevoked,
        Self::ServerFlaky,
        Self::ServerHangs,
        Self::Losses,
        Self::MachinesVanish,
        Self::Silence,
        Self::OffVpn,
        Self::ClientNetwork,
        Self::NoisyMachine,
        Self::Misspelt,
        Self::Bursts,
        Self::Nights,
        Self::ScheduledShutdown,
        Self::BranchCut,
        Self::MappedTwice,
        Self::CancelFirst,
        Self::Doubled,
        Self::ForgedNames,
        Self::NamesOverflow,
        Self::GatewayDown,
        Self::GatewaysDown,
        Self::LogsDropped,
    ];

    #[rustfmt::skip] // A table.
    fn form(self) -> Form {
        let form = |name, alert, example| Form {
            name, alert, example, server: false, share: None, factor: None, every: None, code: None,
            reason: false,
        };
        match self {
            Self::ServerDown => form("server-down", Some("MprServerUnreachable"),
                "server-down@10m-40m:server=3").with_server(),
            Self::AccountExpired => form("account-expired", Some("MprAuthenticationFailures"),
                "account-expired@10m:share=0.1").with_share(0.1),
            Self::ServerSlow => Form { factor: Some(20.0), ..form("server-slow", Some("MprServerSlow"),
                "server-slow@10m:server=3,factor=20").with_server() },
            Self::AccessRevoked => form("access-revoked", Some("MprServerFailing"),
                "access-revoked@10m:server=3,share=0.6").with_server().with_share(0.6),
            Self::ServerFlaky => Form { code: Some(0), ..form("server-flaky", Some("MprServerFailing"),
                "server-flaky@10m:server=3,share=0.08").with_server().with_share(0.08) },
            Self::ServerHangs => form("server-hangs", Some("MprOperationsUnfinished"),
                "server-hangs@10m-30m:server=3").with_server(),
            Self::Losses => Form { reason: true, ..form("losses", Some("MprOperationsLost"),
                "losses@10m:share=0.05").with_share(0.05) },
            Self::MachinesVanish => form("machines-vanish", Some("MprHostsAbsent"),
                "machines-vanish@30m:share=0.3").with_share(0.3),
            Self::Silence => form("silence", Some("MprFleetSilent"), "silence@30m"),
            Self::OffVpn => form("off-vpn", None, "off-vpn@2h-3h:share=0.5").with_share(0.5),
            Self::ClientNetwork => form("client-network", None,
                "client-network@10m-2h:share=0.3").with_share(0.3),
            Self::NoisyMachine => Form { code: Some(5), ..form("noisy-machine", None,
                "noisy-machine@10m-8h:server=3,code=1326,every=30s").with_server().with_every(30) },
            Self::Misspelt => form("misspelt", None, "misspelt@10m:every=60s").with_every(60),
            Self::Bursts => form("bursts", None,
                "bursts@1h-8h:server=branch01,every=10m").with_server().with_every(600),
            Self::Nights => form("nights", None, "nights@0:share=0.8").with_share(0.8),
            Self::ScheduledShutdown => form("scheduled-shutdown", None, "scheduled-shutdown@14h-25h"),
            Self::BranchCut => form("branch-cut", Some("MprServerUnreachable"), "branch-cut@3h-4h"),
            Self::MappedTwice => form("mapped-twice", None, "mapped-twice@0:share=0.5").with_share(0.5),
            Self::CancelFirst => form("cancel-first", None, "cancel-first@0:share=0.5").with_share(0.5),
            Self::Doubled => form("doubled", None, "doubled@0:share=0.5").with_share(0.5),
            Self::ForgedNames => form("forged-names", None, "forged-names@10m-1h:every=20s").with_every(20),
            Self::NamesOverflow => form("names-overflow", Some("MprSeriesOverflow"),
                "names-overflow@10m-40m:every=1s").with_every(1),
            Self::GatewayDown => form("gateway-down", None, "gateway-down@1h-3h"),
            Self::GatewaysDown => form("gateways-down", Some("MprNoData"), "gateways-down@1h-2h"),
            Self::LogsDropped => form("logs-dropped", None, "logs-dropped@1h"),
        }
    }

    /// As it is written in a SPEC.
    pub fn name(self) -> &'static str {
        self.form().name
    }

    /// The alert that it raises; `None`: no alert may fire because of it.
    pub fn alert(self) -> Option<&'static str> {
        self.form().alert
    }

    /// Whether it happens to the gateways themselves, and so only where they are simulated, too.
    pub(super) fn is_of_gateways(self) -> bool {
        matches!(self, Self::GatewayDown | Self::GatewaysDown | Self::LogsDropped)
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
    pub(super) server: Option<String>,
    /// The part that is struck.
    pub(super) share: f64,
    /// How much longer.
    pub(super) factor: f64,
    /// Between two operations, in nanoseconds.
    pub(super) every: u64,
    /// What they end with.
    pub(super) code: u32,
    /// Why operations are lost: a place in [`LOSSES`]; `None`: now for this, now for that.
    pub(super) reason: Option<usize>,
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
        let (from, to) = times(when).map_err(error)?;
        let mut incident = Self {
            kind: known,
            from,
            to,
            server: None,
            share: form.share.unwrap_or(1.0),
            factor: form.factor.unwrap_or(1.0),
            every: form.every.unwrap_or(DAY),
            code: form.code.unwrap_or_default(),
            reason: None,
        };
        for pair in keys.split(',').filter(|pair| !pair.is_empty()) {
            incident.set(&form, pair).map_err(error)?;
        }
        if form.server && incident.server.is_none() {
            return Err(error(format!("{kind} needs a server")));
        }
        Ok(incident)
    }
}

/// Reads `START[-END]`; an error is what is wrong.
fn times(when: &str) -> Result<(u64, Option<u64>), String> {
    let time = |text: &str| {
        parse_time(text).ok_or_else(|| {
            format!("`{text}` is no time after the beginning like 90s, 10m or 1h30m")
        })
    };
    let (from, to) = match when.split_once('-') {
        Some((from, to)) => (time(from)?, Some(time(to)?)),
        None => (time(when)?, None),
    };
    match to {
        Some(to) if to <= from => Err(format!("`{when}` ends before it begins")),
        _ => Ok((from, to)),
    }
}

impl Incident {
    /// Reads one `key=value`, if this form has the key; an error is what is wrong.
    fn set(&mut self, form: &Form, pair: &str) -> Result<(), String> {
        let number = |value: &str| value.parse::<f64>().ok().filter(|number| number.is_finite());
        match pair.split_once('=') {
            Some(("server", value)) if form.server && !value.is_empty() => {
                self.server = Some(value.to_owned());
            }
            Some(("share", value)) if form.share.is_some() => {
                self.share = number(value)
                    .filter(|share| *share > 0.0 && *share <= 1.0)
                    .ok_or_else(|| format!("`{value}` is no share from 0 to 1"))?;
            }
            Some(("factor", value)) if form.factor.is_some() => {
                self.factor = number(value)
                    .filter(|factor| *factor >= 1.0 && *factor <= 1e6)
                    .ok_or_else(|| format!("`{value}` is no factor from 1 on"))?;
            }
            Some(("every", value)) if form.every.is_some() => {
                self.every =
                    parse_time(value).filter(|every| *every >= SECOND).ok_or_else(|| {
                        format!("`{value}` is no time between operations like 30s or 2m")
                    })?;
            }
            Some(("code", value)) if form.code.is_some() => {
                self.code = value
                    .parse()
                    .ok()
                    .filter(|code| *code > 0)
                    .ok_or_else(|| format!("`{value}` is no Win32 code like 1326"))?;
            }
            Some(("reason", value)) if form.reason => {
                let known = LOSSES.iter().position(|(reason, _)| *reason == value);
                self.reason = Some(known.ok_or_else(|| {
                    let all = LOSSES.map(|(reason, _)| reason).join(", ");
                    format!("`{value}` is no reason for a loss: {all}")
                })?);
            }
            _ => return Err(format!("{} does not know `{pair}`", form.name)),
        }
        Ok(())
    }
}

impl Form {
    fn with_server(self) -> Self {
        Self { server: true, ..self }
    }

    fn with_share(self, share: f64) -> Self {
        Self { share: Some(share), ..self }
    }

    fn with_every(self, seconds: u64) -> Self {
        Self { every: Some(seconds * SECOND), ..self }
    }

    /// What may be written.
    fn grammar(&self) -> String {
        let keys: Vec<&str> = [
            self.server.then_some("server=NUMBER or NAME"),
            self.share.map(|_| "share=0..1"),
            self.factor.map(|_| "factor=1.."),
            self.code.map(|_| "code=WIN32"),
            self.every.map(|_| "every=TIME"),
            self.reason.then_some("reason=WORD"),
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
    fn a_wrong_description_is_refused_with_what_is_allowed_and_an_example() {
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
    fn a_code_and_a_time_between_operations_may_be_given() {
        let noisy: Incident = "noisy-machine@10m:server=3,code=1326,every=2m".parse().unwrap();
        assert_eq!((noisy.code, noisy.every), (1326, 120 * SECOND));
        assert!(problem("noisy-machine@10m:server=3,code=0").starts_with("`0` is no Win32 code"));
        assert!(problem("misspelt@10m:every=0").starts_with("`0` is no time between operations"));
        assert!(problem("losses@10m:reason=age").starts_with("`age` is no reason for a loss"));
        assert!(problem("silence@10m:reason=expired").starts_with("silence does not know"));
        assert!(problem("misspelt@10m:code=5").starts_with("misspelt does not know `code=5`"));
    }
}
