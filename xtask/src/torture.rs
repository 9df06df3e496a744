//! `cargo xtask torture`: the long torture test, with the program and library that ship.

use crate::Result;
use crate::cargo::cargo;
use crate::run::Run;
use crate::under_test::{PACKAGES, under_test};
use std::process::ExitCode;

const KILLS: &str = "MPR_OTEL_TORTURE_KILLS";
const SEED: &str = "MPR_OTEL_TORTURE_SEED";
/// The number if the command line names none.
const MANY: &str = "2000";

/// What was asked for on the command line.
struct Wish<'a> {
    kills: &'a str,
    seed: Option<&'a str>,
}

impl<'a> Wish<'a> {
    fn parse(arguments: &[&'a str]) -> std::result::Result<Self, String> {
        let mut wish = Self { kills: MANY, seed: None };
        for pair in arguments.chunks(2) {
            let [name, value] = *pair else { return Err(format!("`{}` wants a number", pair[0])) };
            value.parse::<u64>().map_err(|_| format!("{name} wants a number, not `{value}`"))?;
            match name {
                "--kills" => wish.kills = value,
                "--seed" => wish.seed = Some(value),
                _ => return Err(format!("unknown: `{name}`; `cargo xtask help` lists all")),
            }
        }
        Ok(wish)
    }
}

/// Kills processes at random times, and checks that nothing is lost.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    let Wish { kills, seed } = match Wish::parse(arguments) {
        Ok(wish) => wish,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            return Ok(ExitCode::from(2));
        }
    };
    let mut run = Run::new()?;
    let built =
        run.step("build release", |log| log.run(cargo(&["build", "--release"]).args(PACKAGES)));
    if built {
        run.step("torture", |log| {
            let mut cargo = cargo(&["test", "--package", "mpr-otel-tests", "--test", "torture"]);
            under_test(cargo.args(["--", "--nocapture"]), "release").env(KILLS, kills);
            if let Some(seed) = seed {
                cargo.env(SEED, seed);
            }
            let result = log.run(&mut cargo);
            for line in log.text()?.lines().filter(|line| line.starts_with("torture: ")) {
                log.note(line);
            }
            result
        });
    }
    Ok(run.finish())
}
