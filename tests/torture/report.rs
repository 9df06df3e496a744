//! What the agents counted, one after the other.

use serde_json::Value;
use std::collections::BTreeMap;

/// The numbers of the last agent's report, which go on from those of the one before.
#[derive(Clone, Debug)]
pub struct Report {
    pub seen: u64,
    pub exported: u64,
    pub pending: u64,
    pub repeated: u64,
    pub lost: BTreeMap<String, u64>,
    pub damaged: usize,
}

impl Report {
    pub fn lost_in_all(&self) -> u64 {
        self.lost.values().sum()
    }
}

impl From<&Value> for Report {
    fn from(report: &Value) -> Self {
        let number = |key: &str| report[key].as_u64().expect("an agent wrote a report");
        let lost = report["lost"].as_object().expect("an agent wrote a report").iter();
        Self {
            seen: number("seen"),
            exported: number("exported"),
            pending: number("pending"),
            repeated: number("repeated"),
            lost: lost.map(|(reason, count)| (reason.clone(), count.as_u64().unwrap())).collect(),
            damaged: number("damaged") as usize,
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seen, exported, repeated, .. } = self;
        let losses: Vec<String> =
            self.lost.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let lost = self.lost_in_all();
        let losses = losses.join(", ");
        write!(
            out,
            "{seen} seen, {exported} exported, {repeated} taken again, {lost} lost ({losses})"
        )
    }
}
