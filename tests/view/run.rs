//! A run that is over, and everything that can be asked about it.

use crate::boards::{Shows, View, queries, records};
use crate::expect::failed;
use crate::fleet::simulate;
use crate::{LAPSE, root};
use mpr_otel_dashboards::source::Source;
use mpr_otel_fleet::{
    Board, Gateway, LOOKBACK, Part, Sample, Search, Stack, Store, Target, Traces, Truth, filled,
    until,
};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A run that is over: who can be asked, and what the truth is.
pub struct Run {
    pub store: Store,
    traces: Traces,
    pub truth: Truth,
    /// A time that begins before the run and ends now.
    pub window: Duration,
    _gateway: Gateway,
    _stack: Stack,
}

impl Run {
    /// Runs a simulation, and waits until all of it has arrived everywhere.
    pub fn simulate(arguments: &[&str]) -> Self {
        let stack = Stack::new(&root(), LAPSE).unwrap();
        let store = stack.prometheus(LOOKBACK).unwrap();
        let traces = stack.traces().unwrap();
        let gateway = stack.gateway("gateway-1", &store.prometheus, &traces.endpoint).unwrap();
        let truth = simulate(&stack, &gateway.endpoint, arguments).unwrap();
        let operations = truth.operations as f64;
        let mut expected = vec![
            ("mpr_calls_total", operations),
            ("mpr_duration_seconds_count", operations),
            ("mpr_fleet_calls_total", operations),
            ("mpr_program_calls_total", operations),
            ("otelcol_receiver_accepted_spans_total", operations),
            ("otelcol_exporter_sent_spans_total", operations),
            ("mpr_loss_calls_total", truth.spans_with_loss as f64),
        ];
        if let Some(agents) = &truth.agents {
            expected.push(("mpr_operation_seen_total", agents.seen as f64));
            expected.push(("mpr_operation_exported_total", agents.exported as f64));
            expected.push(("mpr_operation_repeated_total", agents.repeated as f64));
        }
        for (metric, count) in expected {
            until(&format!("{metric} is {count}"), || {
                let told = store.prometheus.number(&format!("sum({metric})"), None)?;
                assert!(told <= count, "{metric} is {told} instead of {count}");
                Ok((told == count).then_some(()))
            })
            .unwrap();
        }
        let begun = UNIX_EPOCH + Duration::from_millis(truth.begun_unix_ms);
        let past = SystemTime::now().duration_since(begun).unwrap();
        let window = Duration::from_secs(past.as_secs() + 60);
        Self { store, traces, truth, window, _gateway: gateway, _stack: stack }
    }

    /// The answer to a query at the time of the latest sample of what it asks for first: nothing is
    /// extrapolated beyond that. What rules recorded ends with what they record, so it is looked for in all of
    /// the run.
    pub fn ask(&self, query: &str) -> Vec<Sample> {
        let prometheus = &self.store.prometheus;
        let letter = |letter: char| letter.is_ascii_alphanumeric() || "_:".contains(letter);
        let metrics = query.match_indices('{').map(|(end, _)| {
            let start = query[..end].trim_end_matches(letter).len();
            format!("timestamp({})", &query[start..end])
        });
        let is_record = |word: &&str| word.contains(':') && word.starts_with(char::is_alphabetic);
        let records = query.split(|sign| !letter(sign)).filter(is_record).map(|record| {
            format!("max_over_time(timestamp({record})[{}s:1s])", self.window.as_secs())
        });
        let at = metrics.chain(records).find_map(|latest| {
            let at = prometheus.number(&format!("max({latest})"), None).unwrap();
            (at > 0.0).then_some(at)
        });
        prometheus.query(query, at).unwrap()
    }

    /// What a dashboard's expression becomes with these variables, in time-lapse.
    fn expression(&self, expression: &str, machine: &str, server: &str) -> String {
        LAPSE.expression(&self.filled(expression, machine, server)).unwrap()
    }

    /// What a dashboard's query becomes with these variables, whose durations are those of the
    /// dashboard: in time-lapse they are divided.
    fn filled(&self, query: &str, machine: &str, server: &str) -> String {
        let window = format!("{}ms", (self.window * LAPSE.0).as_millis());
        let offset = format!("offset {window}");
        let interval = format!("{}s", LAPSE.0);
        let variables = [
            ("$__rate_interval", window.as_str()),
            ("$__range", &window),
            // A heatmap's columns do not overlap; here there is one.
            ("offset $__interval", &offset),
            ("$__interval", &interval),
            ("${job}", "mpr-otel"),
            ("$job", "mpr-otel"),
            ("$gateway_job", "otelcol-mpr"),
            ("${server:raw}", server),
            ("$server", server),
            ("$operation", "add"),
            ("$mode", "plain"),
            ("${host:raw}", machine),
            ("$host", machine),
        ];
        filled(query, &variables).unwrap()
    }

    /// Asks every query of a panel about all of the fleet; returns what is wrong.
    pub fn look_at(&self, board: &str, panel: &str) -> Vec<String> {
        let file = board.trim_start_matches("mpr-otel-");
        let file = root().join("dashboards").join(file).with_extension("json");
        let truth = &self.truth;
        let machine = &truth.machines_sample[0];
        let view = View { truth, machine, seconds: self.window.as_secs_f64() };
        let read = Board::read(&file).unwrap();
        let known = queries(&Source::read(&root()).unwrap());
        let targets = read.targets().filter(|(of, _)| of.title == panel);
        let wrong = targets.filter_map(|(_, target)| {
            let known = known.iter().find(|known| {
                (known.board.as_str(), known.panel.as_str(), &known.letter)
                    == (board, panel, &target.letter)
            });
            let shows = &known.unwrap().shows;
            let query = self.expression(&target.expression, &machine.host_name, ".*");
            shows.check(&view, &self.ask(&query), true).err()
        });
        wrong.map(|why| format!("{board} / {panel}: {why}")).collect()
    }

    /// Asks every query of the dashboards for this server, or all; returns what is wrong.
    pub fn look(&self, server: Option<&str>) -> Vec<String> {
        let truth = match server {
            Some(server) => self.truth.of_server(server),
            None => self.truth.clone(),
        };
        let machine = truth
            .machines_sample
            .iter()
            .max_by_key(|machine| (machine.lost, machine.failures))
            .unwrap();
        let view = View { truth: &truth, machine, seconds: self.window.as_secs_f64() };
        let mut wrong = Vec::new();
        let source = Source::read(&root()).unwrap();
        let (mut known, records) = (queries(&source), records(&source));
        for board in Board::all(&root().join("dashboards")).unwrap() {
            for (panel, target) in board.targets() {
                let place = (board.uid.as_str(), panel.title.as_str(), target.letter.as_str());
                let looked = match target.source.as_str() {
                    // No store of events runs here.
                    "loki" => Ok(()),
                    "jaeger" => self.search(target, &view, server),
                    _ => {
                        let row = known.iter().position(|known| {
                            (known.board.as_str(), known.panel.as_str(), known.letter.as_str())
                                == place
                        });
                        let shows = row.map(|row| known.swap_remove(row).shows);
                        shows.map_or_else(
                            || Err("nothing is known of what it should show".to_owned()),
                            |shows| self.compare(target, &shows, &view, server, &records),
                        )
                    }
                };
                let (board, panel, letter) = place;
                wrong
                    .extend(looked.err().map(|why| format!("{board} / {panel} / {letter}: {why}")));
            }
        }
        let forgotten = known.iter().map(|known| {
            format!("{} / {} / {} is no more", known.board, known.panel, known.letter)
        });
        wrong.extend(forgotten);
        wrong
    }

    /// Compares what a query of Prometheus finds, of a server if the query can be asked of one.
    fn compare(
        &self,
        target: &Target,
        shows: &Shows,
        view: &View<'_>,
        server: Option<&str>,
        records: &[(String, Shows)],
    ) -> Result<(), String> {
        let fleet_wide = !target.expression.contains("$server");
        if server.is_some() && fleet_wide {
            return Ok(());
        }
        let machine = &view.machine.host_name;
        let query = self.expression(&target.expression, machine, server.unwrap_or(".*"));
        if let Shows::Recorded(name) = shows {
            // What the rule records is compared with the truth in main.rs.
            assert!(records.iter().any(|(record, _)| record == name), "{name} is no rule");
            assert!(query.starts_with(&format!("{name}{{")), "{query} shows something else");
        }
        shows
            .check(view, &self.ask(&query), server.is_none())
            .map_err(|why| format!("{why}\n    {query}"))
    }

    /// Compares what a search for traces finds.
    fn search(&self, target: &Target, view: &View<'_>, server: Option<&str>) -> Result<(), String> {
        let text = |name: &str| target.raw[name].as_str().unwrap_or_default();
        let search = Search {
            service: text("service").to_owned(),
            tags: self.filled(text("tags"), &view.machine.host_name, server.unwrap_or("no server")),
            least: text("minDuration").to_owned(),
            limit: target.raw["limit"].as_u64().unwrap(),
        };
        let found = self.traces.jaeger.spans(&search).map_err(|error| error.to_string())?;
        let of_outcome = |outcome| search.tags.contains(&format!("mpr.outcome={outcome}"));
        let expected = match server {
            Some(_) if search.tags.contains("server.address=") => {
                view.truth.groups(&[], failed).values().map(Part::count).sum()
            }
            None if search.tags.contains("server.address=") => return Ok(()),
            _ if of_outcome("failure") => view.machine.failures,
            _ if of_outcome("unfinished") => view.machine.unfinished,
            _ if search.least.is_empty() => view.machine.operations,
            _ => {
                let all = Search { least: String::new(), ..search.clone() };
                let all = self.traces.jaeger.spans(&all).map_err(|error| error.to_string())?;
                let slow = |span: &&Value| span["duration"].as_u64().unwrap() >= 2_500_000;
                assert_eq!(search.least, "2500ms");
                all.iter().filter(slow).count() as u64
            }
        };
        match found.len() as u64 == expected.min(search.limit) {
            true => Ok(()),
            false => Err(format!("{} spans instead of {expected}: {search:?}", found.len())),
        }
    }
}
