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
        let questions = questions(scenario, &series.start_timestamp, minutes);
        let tests: Vec<Value> = questions
            .iter()
            .map(|(_, expr)| {
                json!({ "expr": expr, "eval_time": format!("{minutes}m"), "exp_samples": [] })
            })
            .collect();
        let test = json!({
            "rule_files": [self.rules],
            "evaluation_interval": "1m",
            "tests": [{
                "interval": series.interval,
                "start_timestamp": series.start_timestamp,
                "input_series": asked,
                "promql_expr_test": tests,
            }],
        });
        let file = folder.path().join("test.yaml");
        // JSON is YAML.
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
    command.env_clear().args(["simulate", "--agents", "--series"]).arg(&path);
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

/// What promtool is asked at the end, each with what an answer means: there should be none.
fn questions(scenario: &Scenario, start: &str, minutes: u32) -> Vec<(String, String)> {
    let known: Vec<&str> = scenario.known().collect();
    let surprises = format!("alertname!~\"{}\"", known.join("|"));
    let first = first(&surprises, start, minutes);
    let mut questions = vec![("fires, and should not, after minutes".to_owned(), first)];
    for expected in scenario.expected() {
        questions.extend(questions_of(expected, start, minutes));
    }
    questions
}

fn questions_of(expected: &Expected, start: &str, minutes: u32) -> [(String, String); 4] {
    let Expected { alert, server, count, between: (from, to), times } = expected;
    let server = server.as_ref().map(|server| format!(", server_address=\"{server}\""));
    let of = format!("alertname=\"{alert}\"{}", server.unwrap_or_default());
    let firing = firing(&of);
    let first = first(&of, start, minutes);
    let ask = |what: String, expr: String| (format!("{alert} {what}"), expr);
    [
        ask("does not fire".to_owned(), format!("absent(count_over_time({firing}[{minutes}m]))")),
        ask(
            format!("begins at another time than between {from} and {to} minutes, after minutes"),
            format!("({first}) < {from} or ({first}) > {to}"),
        ),
        ask(
            format!("begins more often than {times} times"),
            format!(
                "sum by (alertname, server_address) (count_over_time(({firing} unless {firing} \
                 offset 1m)[{minutes}m:1m])) > {times}"
            ),
        ),
        ask(
            format!("fires for another number of servers than {count}"),
            format!(
                "count(count by (server_address) (count_over_time({firing}[{minutes}m]))) != {count}"
            ),
        ),
    ]
}

fn firing(of: &str) -> String {
    format!("ALERTS{{alertstate=\"firing\", {of}}}")
}

/// After how many minutes an alert fires first.
fn first(of: &str, start: &str, minutes: u32) -> String {
    let firing = firing(of);
    format!(
        "(min by (alertname, server_address, severity) \
         (min_over_time(timestamp({firing})[{minutes}m:1m])) - {start}) / 60"
    )
}

/// What promtool says, with the meaning of each question that it has an answer to.
fn explained(said: &str, questions: &[(String, String)]) -> String {
    let wrong = said.split("expr: ").skip(1).filter_map(|part| {
        let (expr, answer) = part.split_once(", time:")?;
        let expr: String = serde_json::from_str(expr).ok()?;
        let (what, _) = questions.iter().find(|(_, asked)| *asked == expr)?;
        let got = answer.split_once("got: ").map_or(answer, |(_, got)| got);
        Some(format!("{what}: {}", got.lines().next().unwrap_or_default()))
    });
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() { said.to_owned() } else { wrong.join("\n  ") }
}
