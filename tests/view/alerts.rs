//! Alerts that fired, and the incidents that were to make them fire.

use mpr_otel_fleet::{Lapse, Prometheus, Result, Truth};
use std::time::Duration;

/// How long after the end of an incident its alert may begin: the longest of the rules' windows
/// and waits that an incident may need, in simulated seconds.
const GRACE: f64 = 45.0 * 60.0;
/// Between two looks at what fired, in simulated time: the interval of the rules.
const STEP: Duration = Duration::from_secs(60);

/// An alert that fired.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    alert: String,
    server: Option<String>,
    /// When it was first seen to fire, in simulated seconds.
    from: f64,
}

impl Firing {
    /// All that fired since the truth began.
    pub fn all(prometheus: &Prometheus, truth: &Truth, lapse: Lapse) -> Result<Vec<Self>> {
        let begun = truth.begun_unix_ms as f64 / 1e3;
        let ended = truth.ended_unix_ms as f64 / 1e3;
        let step = lapse.of(STEP).as_secs_f64();
        let tracks = prometheus.range("ALERTS{alertstate=\"firing\"}", (begun, ended), step)?;
        let firing = tracks.into_iter().filter_map(|track| {
            let (first, _) = *track.points.first()?;
            Some(Self {
                alert: track.labels.get("alertname")?.clone(),
                server: track.labels.get("server_address").cloned(),
                from: (first - begun) * f64::from(lapse.0),
            })
        });
        Ok(firing.collect())
    }
}

/// What fired and should not have, and what did not and should have.
pub fn compare(truth: &Truth, firing: &[Firing]) -> Vec<String> {
    let caused = |incident: &mpr_otel_lab::simulation::IncidentTruth, firing: &Firing| {
        incident.alert.as_ref() == Some(&firing.alert)
            && incident.server == firing.server
            && incident.from_s <= firing.from
            && firing.from <= incident.to_s + GRACE
    };
    let missing = truth
        .incidents
        .iter()
        .filter(|incident| incident.alert.is_some())
        .filter(|incident| !firing.iter().any(|firing| caused(incident, firing)));
    let false_alarms = firing
        .iter()
        .filter(|firing| !truth.incidents.iter().any(|incident| caused(incident, firing)));
    missing
        .map(|incident| format!("nothing was said of {incident:?}"))
        .chain(false_alarms.map(|firing| format!("a false alarm: {firing:?}")))
        .collect()
}

/// Checks that Prometheus could evaluate every rule.
pub fn assert_well(prometheus: &Prometheus) {
    let rules = prometheus.data("/api/v1/rules", &[]).unwrap();
    let mut count = 0;
    for group in rules["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            assert_eq!(rule["health"], "ok", "{rule}");
            count += 1;
        }
    }
    assert!(count > 0, "there are no rules");
}
