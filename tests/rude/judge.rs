//! promtool, and what it is asked.

use crate::scenario::{Expected, Scenario};
use mpr_otel_fleet::{Result, Tools};
use mpr_otel_lab::equipment::lab;
use mpr_otel_lab::simulation::{InputSeries, SeriesFile};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Judges scenarios by rules.
pub struct Judge {
    tools: Tools,
    rules: PathBuf,
    /// The rules' text.
    text: String,
}

impl Judge {
    /// By the rules of the repository at `root`.
    pub fn new(root: &Path) -> Result<Self> {
        let rules = root.join("dashboards/rules/mpr-otel.yaml");
        Ok(Self { tools: Tools::find()?, text: fs::read_to_string(&rules)?, rules })
    }

    /// Simulates a scenario, and has promtool say whether its alerts and no others fire. Errs with what
    /// is wrong.
    pub fn judge(&self, scenario: &Scenario) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let series = simulate(&folder, scenario)?;
        let asked = series.input_series.iter().filter(|series| self.asks_for(series));
        let asked: Vec<&InputSeries> = asked.collect();
        let minutes = asked.iter().map(|series| minutes(&series.values)).max().unwrap_or_default();
        let questions = questions(scenario);
        let tests: Vec<Value> = questions
            .iter()
            .map(|(_, expr)| {
                json!({ "expr": expr, "eval_time": format!("{minutes}m"), "exp_samples": [] })
            })
            .collect();
        let notes = folder.path().join("notes.yaml");
        // JSON is YAML.
        fs::write(&notes, notes_of(&series.start_timestamp).to_string())?;
        let test = json!({
            "rule_files": [self.rules, notes],
            "evaluation_interval": "1m",
            "tests": [{
                "interval": series.interval,
                "start_timestamp": series.start_timestamp,
                "input_series": asked,
                "promql_expr_test": tests,
            }],
        });
        let file = folder.path().join("test.yaml");
        fs::write(&file, test.to_string())?;
        let output = self.tools.command("promtool").args(["test", "rules"]).arg(&file).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(explained(&String::from_utf8_lossy(&output.stderr), &questions).into())
    }

    /// Whether a rule asks for a series. The others would only take time.
    fn asks_for(&self, series: &InputSeries) -> bool {
        let name = series.series.split('{').next().unwrap_or_default();
        // Some of the gateway's own are asked for by patterns.
        name.starts_with("otelcol_") || self.text.contains(name)
    }
}

fn simulate(folder: &TempDir, scenario: &Scenario) -> Result<SeriesFile> {
    let path = folder.path().join("series.json");
    let mut command = Command::new(lab());
    command.env_clear().args(["simulate", "--series"]).arg(&path);
    let output = command.args(scenario.arguments()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// The minute of the last sample of a series in promtool's notation.
fn minutes(values: &str) -> u32 {
    let samples = values.split(' ').map(|word| match word.split_once('x') {
        Some(("_", gap)) => gap.parse().unwrap_or(0),
        Some((_, more)) => more.parse().unwrap_or(0) + 1,
        None => 1,
    });
    samples.sum::<u32>().saturating_sub(1)
}

/// Rules that note when each alert began to fire first, in minutes after the beginning, and how often
/// it began: a question about every minute of a week loads more samples than promtool allows.
fn notes_of(start: &str) -> Value {
    let by = "by (alertname, server_address, severity)";
    let firing = "ALERTS{alertstate=\"firing\"}";
    let first = format!(
        "last_over_time(judge:first[2m]) or (min {by} (timestamp({firing})) - {start}) / 60"
    );
    let begins = format!(
        "last_over_time(judge:begins[2m]) + count {by} ({firing} unless {firing} offset 1m) \
         or last_over_time(judge:begins[2m]) or count {by} ({firing})"
    );
    json!({
        "groups": [{
            "name": "notes",
            "interval": "1m",
            "rules": [
                { "record": "judge:first", "expr": first },
                { "record": "judge:begins", "expr": begins },
            ],
        }],
    })
}

/// What promtool is asked at the end, each with what an answer means: there should be none.
fn questions(scenario: &Scenario) -> Vec<(String, String)> {
    let known: Vec<&str> = scenario.known().collect();
    let surprises = format!("judge:first{{alertname!~\"{}\"}}", known.join("|"));
    let mut questions = vec![("fires, and should not, after minutes".to_owned(), surprises)];
    for expected in &scenario.fires {
        questions.extend(questions_of(expected));
    }
    questions
}

fn questions_of(expected: &Expected) -> [(String, String); 4] {
    let Expected { alert, server, count, between: (from, to), times } = expected;
    let server = server.as_ref().map(|server| format!(", server_address=\"{server}\""));
    let of = format!("alertname=\"{alert}\"{}", server.unwrap_or_default());
    let first = format!("judge:first{{{of}}}");
    let ask = |what: String, expr: String| (format!("{alert} {what}"), expr);
    [
        ask("does not fire".to_owned(), format!("absent({first})")),
        ask(
            format!("begins at another time than between {from} and {to} minutes, after minutes"),
            format!("{first} < {from} or {first} > {to}"),
        ),
        ask(
            format!("begins more often than {times} times"),
            format!("judge:begins{{{of}}} > {times}"),
        ),
        ask(
            format!("fires for another number of servers than {count}"),
            format!("count({first}) != {count}"),
        ),
    ]
}

/// What promtool says, with the meaning of each question that it has an answer to.
fn explained(said: &str, questions: &[(String, String)]) -> String {
    let wrong = said.split("expr: ").skip(1).filter_map(|part| {
        let (expr, answer) = part.split_once(", time:")?;
        let expr: String = serde_json::from_str(expr).ok()?;
        let (what, _) = questions.iter().find(|(_, asked)| *asked == expr)?;
        let got = answer.split_once("got: ").map_or(answer, |(_, got)| got);
        let got = got.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
        Some(format!("{what}: {}", got.collect::<Vec<_>>().join(" ")))
    });
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() { said.to_owned() } else { wrong.join("\n  ") }
}
