//! The incidents of a run: what becomes of its machines and their operations.

use super::curve::SECOND;
use super::failure_rates;
use super::fleet::Fleet;
use super::incident::{Incident, Kind};
use super::latency;
use super::place::Place;
use super::plan::{self, Ask, Errand, PlannedCall};
use super::random::Rng;
use super::working_day::WorkingDays;

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
    days: WorkingDays,
}

/// Each use of random numbers has a word of its own, so that no two share their numbers.
const STRUCK: u64 = 20;
const VICTIM: u64 = 21;
const LOST: u64 = 22;
const RETURN: u64 = 23;
const SHUT_DOWN: u64 = 25;

/// What adds end with on a client without a way to the servers. Their class is `client_network`.
const NO_NETWORK: [(u32, f64); 2] = [(1231, 8.0), (1222, 2.0)];
/// What adds end with on a client that is not in the company's network: as if the servers were gone.
const OFF_VPN: [(u32, f64); 2] = [(53, 9.0), (1203, 1.0)];
/// Those who were away are back within this time before the end.
const RETURNING: u64 = 10 * 60 * SECOND;
/// A shutdown takes this long, from the first machine to the last.
const SHUTDOWN: u64 = 120 * SECOND;

/// What adds with an expired account end with. Sometimes it is locked, because programs keep
/// trying.
const EXPIRED: [(u32, f64); 3] = [(1793, 6.0), (1326, 3.0), (1909, 1.0)];
/// What operations on a server that is gone end with.
const DOWN: [(u32, f64); 2] = [(53, 8.0), (1203, 2.0)];
/// What adds on a server at its limits end with. Their class is `resource`.
const FLAKY: [(u32, f64); 3] = [(71, 5.0), (1450, 3.0), (1816, 2.0)];
/// A machine without room loses this part of its operations.
const LOSING: f64 = 0.5;

impl Incidents {
    /// Finds the servers. Errs with the name of the first incident whose server does not exist.
    /// Simulated time begins `from` nanoseconds after midnight.
    pub(super) fn new(fleet: &Fleet, ordered: &[Incident], from: u64) -> Result<Self, String> {
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
        let list = list.collect::<Result<_, String>>()?;
        Ok(Self { seed: fleet.seed, list, days: WorkingDays::new(from) })
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
        let [machine, day, visit, step] = place.name();
        let server = ask.share().map(|share| share.server);
        let mut fate = usual;
        for (index, incident, struck) in self.active(at) {
            if struck.is_some() && struck != server {
                continue;
            }
            let mut rng = Rng::of(&[self.seed, STRUCK, index, machine, day, visit, step]);
            let hit = rng.happens(incident.share);
            let add = ask.is_add();
            fate = match incident.kind {
                Kind::ServerDown => IncidentFate {
                    status: Some(failure_rates::pick(&DOWN, &mut rng)),
                    takes: latency::dead_share(&mut rng),
                },
                Kind::AccountExpired if hit && add => refused(&EXPIRED, &mut rng),
                Kind::AccessRevoked if hit && add => refused(&[(5, 1.0)], &mut rng),
                Kind::ServerFlaky if hit && add && incident.code > 0 => {
                    refused(&[(incident.code, 1.0)], &mut rng)
                }
                Kind::ServerFlaky if hit && add => refused(&FLAKY, &mut rng),
                Kind::ServerSlow if fate.status == Some(0) => {
                    IncidentFate { takes: (fate.takes as f64 * incident.factor) as u64, ..fate }
                }
                Kind::ServerHangs => IncidentFate { status: None, ..fate },
                Kind::BranchCut if ask.share().is_some_and(|share| share.of_branch) => {
                    IncidentFate {
                        status: Some(failure_rates::pick(&DOWN, &mut rng)),
                        takes: latency::dead_share(&mut rng),
                    }
                }
                Kind::ClientNetwork if add && self.is_victim(index, incident, place.machine) => {
                    refused(&NO_NETWORK, &mut rng)
                }
                Kind::OffVpn if add && at < self.back(index, incident, place.machine) => {
                    IncidentFate {
                        status: Some(failure_rates::pick(&OFF_VPN, &mut rng)),
                        takes: latency::dead_share(&mut rng),
                    }
                }
                _ => fate,
            };
        }
        fate
    }

    /// Whether a machine is off at a time.
    pub(super) fn is_absent(&self, fleet: &Fleet, machine: u32, at: u64) -> bool {
        self.active(at).any(|(index, incident, _)| match incident.kind {
            Kind::Silence => true,
            Kind::MachinesVanish => self.is_victim(index, incident, machine),
            Kind::ScheduledShutdown => {
                let mut rng = Rng::of(&[self.seed, SHUT_DOWN, index, machine.into()]);
                at >= incident.from + (rng.unit() * SHUTDOWN as f64) as u64
            }
            Kind::Nights => {
                self.is_victim(index, incident, machine) && !self.days.is_on(fleet, machine, at)
            }
            _ => false,
        })
    }

    /// Whether nothing is heard of a machine at a time: it is off, or away.
    pub(super) fn is_silent(&self, fleet: &Fleet, machine: u32, at: u64) -> bool {
        self.sent(machine, at) != Some(at) || self.is_absent(fleet, machine, at)
    }

    /// Whether a machine is on at night.
    pub(super) fn is_always_on(&self, machine: u32) -> bool {
        let mut all = (0..).zip(&self.list);
        !all.any(|(index, (incident, _))| {
            incident.kind == Kind::Nights && self.is_victim(index, incident, machine)
        })
    }

    /// When a machine sends what ended at a time: at once, or when it and the gateways are back.
    /// `None`: they do not come back.
    pub(super) fn sent(&self, machine: u32, ended: u64) -> Option<u64> {
        let back = self.active(ended).filter_map(|(index, incident, _)| match incident.kind {
            Kind::OffVpn => Some(self.back(index, incident, machine).max(ended)),
            Kind::GatewaysDown => Some(incident.to.unwrap_or(u64::MAX)),
            _ => None,
        });
        Some(back.max().unwrap_or(ended)).filter(|sent| *sent < u64::MAX)
    }

    /// When a machine is back in the company's network; 0 if it was never away.
    fn back(&self, index: u64, incident: &Incident, machine: u32) -> u64 {
        if !self.is_victim(index, incident, machine) {
            return 0;
        }
        let Some(to) = incident.to else { return u64::MAX };
        let mut rng = Rng::of(&[self.seed, RETURN, index, machine.into()]);
        to.saturating_sub((rng.unit() * RETURNING as f64) as u64).max(incident.from)
    }

    /// What becomes of the calls of a visit, one of which is made at a time.
    pub(super) fn habits(
        &self,
        machine: u32,
        at: u64,
        errand: Errand,
        calls: Vec<PlannedCall>,
    ) -> Vec<PlannedCall> {
        let of_machine = |(index, incident, _): &(u64, &Incident, Option<usize>)| {
            self.is_victim(*index, incident, machine)
        };
        self.active(at).filter(of_machine).fold(calls, |calls, (_, incident, _)| {
            match (incident.kind, errand) {
                (Kind::MappedTwice, Errand::Logon) => plan::first_twice(calls),
                (Kind::CancelFirst, Errand::Logon | Errand::Script) => plan::cancelled_first(calls),
                (Kind::Doubled, Errand::Logon) => plan::all_twice(calls),
                _ => calls,
            }
        })
    }

    /// Whether one of two gateways is down; `None` if there is only one.
    pub(super) fn second_gateway_is_down(&self, at: u64) -> Option<bool> {
        let is_down = |incident: &Incident| incident.kind == Kind::GatewayDown;
        self.list
            .iter()
            .any(|(incident, _)| is_down(incident))
            .then(|| self.active(at).any(|(_, incident, _)| is_down(incident)))
    }

    /// Whether there is no gateway.
    pub(super) fn no_gateway_is_up(&self, at: u64) -> bool {
        self.active(at).any(|(_, incident, _)| incident.kind == Kind::GatewaysDown)
    }

    /// Whether the gateways drop logs.
    pub(super) fn drops_logs(&self, at: u64) -> bool {
        self.active(at).any(|(_, incident, _)| incident.kind == Kind::LogsDropped)
    }

    /// Whether its machine loses the operation at `place`, which begins at `at`, and for which
    /// reason.
    pub(super) fn loss(&self, place: Place, at: u64) -> Option<Option<usize>> {
        let [machine, day, visit, step] = place.name();
        let mut all = self.active(at).filter(|(index, incident, _)| {
            incident.kind == Kind::Losses
                && self.is_victim(*index, incident, place.machine)
                && Rng::of(&[self.seed, LOST, *index, machine, day, visit, step]).happens(LOSING)
        });
        all.next().map(|(_, incident, _)| incident.reason)
    }

    /// Whether a machine is in the part that is struck.
    fn is_victim(&self, index: u64, incident: &Incident, machine: u32) -> bool {
        Rng::of(&[self.seed, VICTIM, index, machine.into()]).happens(incident.share)
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

    #[test]
    fn a_server_that_the_fleet_does_not_have_is_refused() {
        let fleet = Fleet::new(1, 10, 4);
        let incident: Incident = "server-down@10m:server=9".parse().unwrap();
        let said = Incidents::new(&fleet, &[incident], 0).unwrap_err();
        assert!(said.contains("no server `9`; write a number from 1 to 4"), "{said}");
    }

    fn incidents(fleet: &Fleet, text: &str) -> Incidents {
        Incidents::new(fleet, &[text.parse().unwrap()], 0).unwrap()
    }

    #[test]
    fn who_is_away_sends_when_he_is_back_and_the_others_at_once() {
        let fleet = Fleet::new(1, 200, 4);
        let away = incidents(&fleet, "off-vpn@1h-2h:share=0.5");
        let hour = 3600 * SECOND;
        let sent = |machine, at| away.sent(machine, at);
        let late = (0..200).filter(|machine| sent(*machine, hour) != Some(hour)).count();
        assert!((70..130).contains(&late), "{late}");
        for machine in 0..200 {
            assert_eq!(
                (sent(machine, hour - 1), sent(machine, 2 * hour)),
                (Some(hour - 1), Some(2 * hour))
            );
            let back = sent(machine, hour).unwrap();
            assert!(back == hour || (2 * hour - RETURNING..=2 * hour).contains(&back), "{back}");
        }
        let for_good = incidents(&fleet, "off-vpn@1h:share=1");
        assert_eq!(for_good.sent(0, hour), None);
        assert!(for_good.is_silent(&fleet, 0, hour) && !for_good.is_absent(&fleet, 0, hour));
    }

    #[test]
    fn a_shutdown_takes_all_machines_and_a_night_its_part() {
        let fleet = Fleet::new(1, 200, 4);
        let off = |text: &str, at: u64| {
            let incidents = incidents(&fleet, text);
            (0..200).filter(|machine| incidents.is_absent(&fleet, *machine, at)).count()
        };
        let minute = 60 * SECOND;
        assert_eq!(off("scheduled-shutdown@10m-20m", 12 * minute), 200);
        assert_eq!(off("scheduled-shutdown@10m-20m", 20 * minute), 0);
        // Two in the morning of a Monday.
        let at_night = off("nights@0:share=0.5", 120 * minute);
        assert!((70..130).contains(&at_night), "{at_night}");
    }
}
