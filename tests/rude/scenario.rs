//! The table of scenarios.

use mpr_otel_fleet::Result;
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// scenarios.yaml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Everyday noise.
    pub week: Scenario,
    pub scenarios: Vec<Scenario>,
}

/// What happens to a fleet, and what alerts say of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    /// Arguments of `mpr-otel-lab simulate`, between spaces.
    simulate: String,
    /// Whether machines have agents.
    #[serde(default = "yes")]
    agents: bool,
    /// What fires. All else must not.
    pub fires: Vec<Expected>,
    /// Alerts that may fire or not.
    #[serde(default)]
    may: Vec<String>,
}

/// An alert that fires.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    pub alert: String,
    /// Of which server; without it, of `count` servers.
    pub server: Option<String>,
    #[serde(default = "one")]
    pub count: u32,
    /// Minutes after the beginning between which it begins to fire.
    pub between: (u32, u32),
    /// How often it begins at most.
    #[serde(default = "one")]
    pub times: u32,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

impl Scenario {
    /// The table of the repository at `root`.
    pub fn all(root: &Path) -> Result<Table> {
        let text = fs::read_to_string(root.join("tests/rude/scenarios.yaml"))?;
        Ok(serde_saphyr::from_str(&text)?)
    }

    /// Arguments of `mpr-otel-lab simulate`.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        let agents = self.agents.then_some("--agents");
        agents.into_iter().chain(self.simulate.split_whitespace())
    }

    /// Alerts that are no surprise.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        let expected = self.fires.iter().map(|expected| expected.alert.as_str());
        expected.chain(self.may.iter().map(String::as_str))
    }

    /// The same for so many hours.
    pub fn for_hours(mut self, hours: &str) -> Self {
        let mut words: Vec<&str> = self.simulate.split_whitespace().collect();
        if let Some(place) = words.iter().position(|word| *word == "--hours") {
            words[place + 1] = hours;
        }
        self.simulate = words.join(" ");
        self
    }

    /// The scenario with one expectation that is wrong, and a part of what is to be said of it.
    pub fn spoilt(&self) -> Vec<(Self, &'static str)> {
        let with = |change: &dyn Fn(&mut Vec<Expected>)| {
            let mut spoilt = self.clone();
            change(&mut spoilt.fires);
            spoilt
        };
        vec![
            (with(&|all| all.clear()), "fires, and should not"),
            (with(&|all| all[0].between = (0, 1)), "begins at another time"),
            (with(&|all| all[0].times = 0), "begins more often"),
            (with(&|all| all[0].server = Some("nas01.corp.example".to_owned())), "does not fire"),
            (
                with(&|all| {
                    all[0].server = None;
                    all[0].count = 2;
                }),
                "fires for another number of servers",
            ),
        ]
    }
}
