//! What the hosts said they did and what the collector got, and whether the two agree.

use crate::report::Report;
use crate::script;
use mpr_otel_lab::equipment::stage::Received;
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Attributes that tell how an operation came to the collector, and nothing about it.
const BOOKKEEPING: [&str; 2] = ["mpr.recovered", "mpr.lost"];
const UNFINISHED: &str = "unfinished";
/// Breaches that are worth telling.
const MOST: usize = 20;

/// All operations by name.
#[derive(Default)]
pub struct Book {
    entries: HashMap<String, Entry>,
    breaches: Vec<String>,
}

/// One operation.
#[derive(Default)]
struct Entry {
    /// PRE was about to be called.
    begun: bool,
    /// PRE returned.
    open: bool,
    /// It did before there was a ledger.
    early: bool,
    end: Option<End>,
    /// What was sent of it first.
    sent: Option<Sent>,
    /// How often the collector took it.
    taken: u64,
    /// How often it was sent without being taken.
    refused: u64,
}

/// How it ended, as its host said.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// POST returned.
    Finished,
    /// The library wanted no POST.
    Untracked,
}

/// A span, as far as a repeat must be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    parent: Vec<u8>,
    /// Start and end, in nanoseconds since 1970.
    times: [u64; 2],
    outcome: String,
    status_code: Option<u32>,
    /// A digest of everything but the bookkeeping.
    content: u64,
}

/// Sums over all operations.
#[derive(Debug, Default)]
pub struct Sums {
    pub begun: u64,
    pub finished: u64,
    /// The host said that they were not recorded.
    pub untracked: u64,
    /// Their hosts died before PRE returned, and the collector does not have them.
    pub silent: u64,
    /// They began before there was a ledger, their hosts died, and the collector does not have them.
    pub early: u64,
    /// Operations that the collector has.
    pub received: u64,
    /// Of these, operations without an end.
    pub unfinished: u64,
    /// Spans that the collector took beyond the first of each operation.
    pub repeats: u64,
    /// Spans that came and were not taken.
    pub refused: u64,
}

impl Book {
    /// Enters what a host said, line by line. Returns what is not of that form.
    pub fn enter(&mut self, said: &str) -> String {
        let mut rest = String::new();
        for line in said.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["b", name] => self.entry(name).begun = true,
                ["o", name] => self.entry(name).open = true,
                ["e", name] => {
                    let entry = self.entry(name);
                    (entry.open, entry.early) = (true, true);
                }
                ["u", name] => self.entry(name).end = Some(End::Untracked),
                ["a", name, status] => {
                    self.entry(name).end = Some(End::Finished);
                    if script::status(name).map(|scripted| scripted.to_string()).as_deref()
                        != Some(status)
                    {
                        self.breach(format!("{name} ended with {status}"));
                    }
                }
                _ => {
                    rest.push_str(line);
                    rest.push('\n');
                }
            }
        }
        rest
    }

    /// A span came, and the collector `took` it or not.
    pub fn send(&mut self, span: &Received, took: bool) {
        let Some(name) = span.get("mpr.remote.name") else {
            return self.breach(format!("a span without a name: {span:?}"));
        };
        let sent = Sent::from(span);
        let entry = self.entry(&name);
        if took {
            entry.taken += 1;
        } else {
            entry.refused += 1;
        }
        match &entry.sent {
            None => entry.sent = Some(sent),
            Some(before) if *before == sent => {}
            Some(before) => {
                let problem = format!("{name} came as {before:?} and again as {sent:?}");
                self.breach(problem);
            }
        }
    }

    fn entry(&mut self, name: &str) -> &mut Entry {
        self.entries.entry(name.to_owned()).or_default()
    }

    /// Notes what must not be.
    pub fn breach(&mut self, problem: String) {
        self.breaches.push(problem);
    }

    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for entry in self.entries.values() {
            sums.begun += u64::from(entry.begun);
            if entry.died_early() {
                sums.early += 1;
                continue;
            }
            match entry.end {
                Some(End::Finished) => sums.finished += 1,
                Some(End::Untracked) => sums.untracked += 1,
                None => sums.silent += u64::from(entry.begun && !entry.open && entry.taken == 0),
            }
            if entry.taken > 0 {
                sums.received += 1;
                sums.unfinished += u64::from(entry.sent.as_ref().is_some_and(Sent::is_unfinished));
                sums.repeats += entry.taken - 1;
            }
            sums.refused += entry.refused;
        }
        sums
    }

    /// Compares all that was said with all that was sent, and with what the agents counted. Returns
    /// what is wrong.
    pub fn judge(mut self, report: &Report) -> Vec<String> {
        let mut problems = std::mem::take(&mut self.breaches);
        let mut ids = HashSet::new();
        for (name, entry) in &self.entries {
            if entry.died_early() {
                continue;
            }
            problems.extend(entry.judge(name));
            if let Some(sent) = &entry.sent
                && !ids.insert(&sent.span_id)
            {
                problems.push(format!("{name} has the span id of another operation"));
            }
        }
        problems.extend(self.sums().account_for(report));
        let more = problems.len().saturating_sub(MOST);
        problems.truncate(MOST);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        problems
    }
}

impl Entry {
    /// What begins before its host has a ledger dies with a host that is killed then.
    fn died_early(&self) -> bool {
        self.early && self.sent.is_none()
    }

    /// What is wrong with one operation.
    fn judge(&self, name: &str) -> Option<String> {
        let Some(status) = script::status(name) else {
            return Some(format!("{name} is in no script"));
        };
        if !self.begun {
            return Some(format!("{name} was invented: no host began it"));
        }
        match (self.end, &self.sent) {
            (Some(End::Untracked), Some(_)) => Some(format!("{name} came, untracked")),
            (Some(End::Untracked), None) => None,
            (Some(End::Finished), _) if self.taken == 0 => {
                Some(format!("{name} ended, and no collector has it"))
            }
            (None, _) if self.open && self.taken == 0 => {
                Some(format!("{name} was under way, and no collector has it"))
            }
            (None, Some(sent)) if sent.is_unfinished() => sent.judge(name, None),
            (_, Some(sent)) => sent.judge(name, Some(status)),
            (_, None) => None,
        }
    }
}

impl Sent {
    fn is_unfinished(&self) -> bool {
        self.outcome == UNFINISHED
    }

    /// What is wrong with the span of an operation that ended with `status`, or did not end.
    fn judge(&self, name: &str, status: Option<u32>) -> Option<String> {
        let outcome = status.map_or(UNFINISHED, script::outcome);
        let parent = match script::host(name).and_then(script::parent) {
            None => self.parent.is_empty(),
            Some((trace, span)) => {
                self.trace_id == trace.to_be_bytes() && self.parent == span.to_be_bytes()
            }
        };
        let right = parent && self.outcome == outcome && self.status_code == status;
        (!right).then(|| format!("{name} ended with {status:?} and came as {self:?}"))
    }
}

impl From<&Received> for Sent {
    fn from(received: &Received) -> Self {
        let mut span = received.span.clone();
        span.attributes.retain(|attribute| !BOOKKEEPING.contains(&attribute.key.as_str()));
        let mut digest = DefaultHasher::new();
        span.encode_to_vec().hash(&mut digest);
        // A resource's attributes have no order.
        let mut resource: Vec<Vec<u8>> =
            received.resource.iter().map(Message::encode_to_vec).collect();
        resource.sort_unstable();
        resource.hash(&mut digest);
        Self {
            outcome: received.get("mpr.outcome").unwrap_or_default(),
            status_code: received.get("mpr.status.code").and_then(|code| code.parse().ok()),
            times: [span.start_time_unix_nano, span.end_time_unix_nano],
            content: digest.finish(),
            trace_id: span.trace_id,
            parent: span.parent_span_id,
            span_id: span.span_id,
        }
    }
}

impl Sums {
    /// What is wrong with the agents' sums, when nothing is left in any ledger. What hosts sent
    /// themselves is in none of them.
    fn account_for(&self, report: &Report) -> Vec<String> {
        let lost = |reason: &str| report.lost.get(reason).copied().unwrap_or(0);
        // A host that died within PRE may have counted an operation, and may have said nothing.
        let within_pre = lost("corrupt") + lost("table_full");
        let checks = [
            ("nothing is pending", report.pending == 0),
            ("seen = exported + lost", report.seen == report.exported + report.lost_in_all()),
            ("what was seen had begun", report.seen <= self.begun),
            ("what was exported came", report.exported <= self.received),
            ("no other is lost", within_pre <= self.untracked + self.silent),
            ("for no other reason", report.lost_in_all() == within_pre),
        ];
        let wrong = checks.into_iter().filter(|(_, right)| !right);
        wrong.map(|(what, _)| format!("it is not so that {what}: {self:?}, {report:?}")).collect()
    }
}
