//! What alerts say of a fleet that is rude: laptops away from the network, small servers, scripts with
//! mistakes, nights and weekends. Each scenario of scenarios.yaml is simulated, and `promtool test
//! rules` judges it by the rules that ship, a minute at a time.
//!
//! `cargo xtask test --fleet` builds promtool and runs this (Cargo.toml).
#![cfg(unix)]

mod judge;
mod scenario;

use judge::Judge;
use scenario::Scenario;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

fn root() -> PathBuf {
    mpr_otel_lab::equipment::repository()
}

/// Judges scenarios, as many at a time as there are processors; fails with all that is wrong.
fn judge(scenarios: Vec<Scenario>) {
    assert!(!scenarios.is_empty());
    let judge = Judge::new(&root()).unwrap();
    let (waiting, wrong) = (Mutex::new(scenarios.into_iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let Some(scenario) = waiting.lock().unwrap().next() else { return };
                    if let Err(why) = judge.judge(&scenario) {
                        wrong.lock().unwrap().push(format!("{}: {why}", scenario.name));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_scenario_fires_its_alerts_and_no_others() {
    judge(Scenario::all(&root()).unwrap().scenarios);
}

#[test]
fn a_week_of_everyday_noise_pages_nobody() {
    judge(vec![Scenario::all(&root()).unwrap().week]);
}

/// Takes a quarter of an hour: for changes of the rules.
#[test]
#[ignore = "long"]
fn a_fortnight_of_everyday_noise_pages_nobody() {
    judge(vec![Scenario::all(&root()).unwrap().week.for_hours("336")]);
}

#[test]
fn every_expectation_can_fail() {
    let all = Scenario::all(&root()).unwrap();
    let dead = all.scenarios.iter().find(|scenario| scenario.name == "busy server dead").unwrap();
    let judge = Judge::new(&root()).unwrap();
    judge.judge(dead).unwrap();
    for (wrong, said) in dead.spoilt() {
        let why = judge.judge(&wrong).unwrap_err().to_string();
        assert!(why.contains(said), "{said}: {why}");
    }
}
