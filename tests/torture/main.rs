//! Torture: hosts and agents are killed at any instant, again and again, while the collector is
//! moody; whatever a host was promised must arrive, once, and the ledgers' sums must add up.
//!
//! MPR_OTEL_TORTURE_KILLS and MPR_OTEL_TORTURE_SEED set how long it takes and what is decided by
//! chance: `cargo xtask torture`.

// The figures are for who runs it.
#![allow(clippy::print_stdout)]
#![cfg(target_os = "linux")]

mod book;
mod chance;
mod collector;
mod script;
mod troupe;

use chance::Chance;
use collector::{Collector, Mood};
use mpr_otel_core::folder::AgentLedger;
use mpr_otel_core::folder::{Census, LedgerFolder, Snapshot};
use mpr_otel_core::ledger::{Access, Loss, Tally};
use mpr_otel_core::privacy::Privacy;
use mpr_otel_lab::equipment::stage::Stage;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, thread};
use troupe::{AgentProcess, Death, Host};

const KILLS: usize = 200;
const SEED: u64 = 0x6D70_726F_7465_6C21;
/// Hosts at a time.
const HOSTS: usize = 6;

#[test]
fn whatever_is_killed_whenever_all_that_was_promised_arrives() {
    let kills = setting("MPR_OTEL_TORTURE_KILLS").unwrap_or(KILLS);
    let seed = setting("MPR_OTEL_TORTURE_SEED").unwrap_or(SEED);
    println!("torture: seed {seed}; again: cargo xtask torture --kills {kills} --seed {seed}");
    let mut torture = Torture::new(seed);
    let folder = LedgerFolder::new(torture.stage.ledgers());
    let (running, over) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(|| look_on(&folder, over, Chance::new(!seed)));
        torture.run(kills);
        drop(running);
    });
    torture.drain();
    let tally = torture.accounts(&folder);
    torture.judge(&tally);
}

/// The counters of a ledger whose remover died at its grave: before another ledger had them, or
/// after.
fn half_buried(ledger: &Path) -> Option<Tally> {
    let access = Access::at(ledger).ok()?;
    let header = access.header().ok()?;
    if !header.counters_moved || access.is_owned().ok()? {
        return None;
    }
    let mut recorded = 0;
    access.all_slots(&header, |_, slot| recorded += slot.had()).ok()?;
    let mut tally = header.tally(recorded);
    tally += header.inherited;
    Some(tally)
}

/// A number from the environment.
fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value:?}")))
}

/// A pause of chance: at which instant a process is killed is what this is about.
fn pause(chance: &mut Chance, most_ms: usize) -> Duration {
    Duration::from_micros(chance.below(1000 * most_ms) as u64)
}

/// Looks at the folder again and again, as `mpr-otel status` and `mpr-otel inflight` do, which
/// must not disturb.
fn look_on(folder: &LedgerFolder, over: mpsc::Receiver<()>, mut chance: Chance) {
    while over.recv_timeout(pause(&mut chance, 300)) == Err(RecvTimeoutError::Timeout) {
        Census::take(folder).unwrap();
        Snapshot::take(folder, &Privacy::FULL).unwrap();
        AgentLedger::status(folder).unwrap();
    }
}

struct Torture {
    stage: Stage,
    collector: Collector,
    chance: Chance,
    hosts: Vec<Host>,
    agent: Option<AgentProcess>,
    /// Whether there may be an agent in this phase.
    agents: bool,
    /// Turns until the phase ends.
    phase: usize,
    /// Turns until the collector's mood ends.
    mood: usize,
    /// Counters that a killed process may have taken along, by the ledger they were in.
    forgotten: HashMap<PathBuf, Tally>,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    hosts: usize,
    agents: usize,
    hosts_killed: usize,
    agents_killed: usize,
    /// Most ledgers that there were at a time.
    ledgers: usize,
    started: Option<Instant>,
}

impl Torture {
    fn new(seed: u64) -> Self {
        Self {
            stage: Stage::new(),
            collector: Collector::new(),
            chance: Chance::new(seed),
            hosts: Vec::new(),
            agent: None,
            agents: true,
            phase: 0,
            mood: 0,
            forgotten: HashMap::new(),
            figures: Figures { started: Some(Instant::now()), ..Figures::default() },
        }
    }

    /// Kills `kills` processes, and ends those that are left.
    fn run(&mut self, kills: usize) {
        while self.figures.hosts_killed + self.figures.agents_killed < kills {
            self.turn();
            thread::sleep(pause(&mut self.chance, 25));
        }
        self.collector.be(Mood::Good);
        self.kill_agent();
        while let Some(host) = self.hosts.pop() {
            if self.chance.once_in(2) {
                self.note_host(host.kill());
            } else {
                self.note_host(host.bury());
            }
        }
    }

    fn turn(&mut self) {
        self.change_phase();
        self.change_mood();
        match self.chance.below(20) {
            0..8 if self.hosts.len() < HOSTS => self.start_host(),
            0..14 => self.kill_host(),
            14 => self.end_host(),
            15 => self.kill_agent(),
            _ => self.start_agent(),
        }
    }

    /// With agents or without.
    fn change_phase(&mut self) {
        if self.phase > 0 {
            self.phase -= 1;
            return;
        }
        self.phase = 20 + self.chance.below(80);
        self.agents = !self.chance.once_in(3);
        if !self.agents {
            self.kill_agent();
        }
    }

    /// Bad moods are short: exporters wait longer after each failure.
    fn change_mood(&mut self) {
        if self.mood > 0 {
            self.mood -= 1;
        } else if self.chance.once_in(3) {
            self.mood = 5 + self.chance.below(15);
            self.collector.be(Mood::Good);
        } else {
            self.mood = 1 + self.chance.below(8);
            self.collector.be(Mood::bad(&mut self.chance));
        }
    }

    fn start_host(&mut self) {
        self.figures.hosts += 1;
        let endpoint = self.collector.endpoint();
        let host = Host::start(&self.stage, &endpoint, self.figures.hosts, &mut self.chance);
        self.hosts.push(host);
    }

    fn kill_host(&mut self) {
        if !self.hosts.is_empty() {
            let host = self.hosts.swap_remove(self.chance.below(self.hosts.len()));
            self.note_host(host.kill());
        }
    }

    fn end_host(&mut self) {
        if !self.hosts.is_empty() {
            let host = self.hosts.swap_remove(self.chance.below(self.hosts.len()));
            self.note_host(host.bury());
        }
    }

    fn start_agent(&mut self) {
        if self.agents && self.agent.is_none() {
            self.figures.agents += 1;
            self.agent = Some(AgentProcess::start(&self.stage, &self.collector.endpoint()));
        }
    }

    fn kill_agent(&mut self) {
        match self.agent.take().map(AgentProcess::kill) {
            None => {}
            Some(Ok(_)) => self.figures.agents_killed += 1,
            Some(Err(problem)) => self.collector.book().breach(problem),
        }
        self.look_at_graves();
    }

    /// Somebody died. What the folder holds now tells whether that was at a grave.
    fn look_at_graves(&mut self) {
        let survey = LedgerFolder::new(self.stage.ledgers()).survey().unwrap();
        self.figures.ledgers = self.figures.ledgers.max(survey.ledgers.len());
        let found = survey.ledgers.into_iter().map(|entry| entry.path);
        self.forgotten.extend(found.filter_map(|path| Some((path.clone(), half_buried(&path)?))));
    }

    fn note_host(&mut self, (death, said): (Result<Death, String>, String)) {
        let mut book = self.collector.book();
        let rest = book.enter(&said);
        match death {
            Ok(death) => {
                self.figures.hosts_killed += usize::from(death == Death::Killed);
                if let Some(objection) = troupe::objection(death, &rest) {
                    book.breach(objection);
                }
            }
            Err(problem) => book.breach(format!("{problem}, saying {rest:?}")),
        }
        drop(book);
        self.look_at_graves();
    }

    /// Exports all that is left, at once.
    fn drain(&mut self) {
        let mut drain = troupe::command(&self.stage, &self.collector.endpoint());
        // On a busy machine too.
        drain.env("MPR_OTEL_TIMEOUT_MS", "60000");
        let output = drain.args(["drain", "--json"]).output().unwrap();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            self.collector.book().breach(format!("drain: {} {said}", output.status));
        }
    }

    /// The ledgers' sums. Nothing must be left in the folder.
    fn accounts(&mut self, folder: &LedgerFolder) -> Tally {
        let census = Census::take(folder).unwrap();
        let agent = AgentLedger::status(folder).unwrap().header.expect("there were agents");
        let mut book = self.collector.book();
        if census.ledgers + census.unreadable + folder.quarantined() > 0 {
            let quarantined = folder.quarantined();
            book.breach(format!("left behind: {census:?}, and {quarantined} put aside"));
        }
        let mut tally = agent.inherited;
        tally += census.tally;
        tally
    }

    /// Prints the figures, and fails if anything is wrong.
    fn judge(self, tally: &Tally) {
        let sums = self.collector.book().sums();
        let Figures { hosts, agents, hosts_killed, agents_killed, ledgers, started } = self.figures;
        let seconds = started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        let losses: Vec<String> = Loss::ALL
            .iter()
            .zip(tally.lost)
            .filter(|(_, lost)| *lost > 0)
            .map(|(loss, lost)| format!("{lost} {}", loss.name()))
            .collect();
        println!(
            "torture: {hosts_killed} of {hosts} hosts and {agents_killed} of {agents} agents \
             killed in {seconds:.1} s, {} of them at a grave; {} operations begun, {} ended, {} not \
             recorded, {} silent, {} died before their ledger was made; {} received, {} of them unfinished, {} repeats, {} refused; \
             counted: {} seen, {} exported, {} lost ({}), {} repeated; {ledgers} ledgers at most",
            self.forgotten.len(),
            sums.begun,
            sums.finished,
            sums.untracked,
            sums.silent,
            sums.early,
            sums.received,
            sums.unfinished,
            sums.repeats,
            sums.refused,
            tally.seen,
            tally.exported,
            tally.lost_in_all(),
            losses.join(", "),
            tally.repeated,
        );
        let book = std::mem::take(&mut *self.collector.book());
        let forgotten = self.forgotten.values().fold(Tally::default(), |mut sum, tally| {
            sum += *tally;
            sum
        });
        let problems = book.judge(tally, &forgotten);
        if !problems.is_empty() {
            let kept = self.stage.folder.keep();
            panic!("{}\nkept: {}", problems.join("\n"), kept.display());
        }
    }
}
