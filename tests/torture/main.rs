//! Torture: hosts and agents are killed at any instant, again and again, while the collector is
//! moody; whatever a host was promised must arrive, and the agents' sums must add up.
//!
//! MPR_OTEL_TORTURE_KILLS and MPR_OTEL_TORTURE_SEED set how long it takes and what is decided at
//! random: `cargo xtask torture`.

// The figures are for the person who runs it.
#![allow(clippy::print_stdout)]
#![cfg(target_os = "linux")]

mod book;
mod chance;
mod collector;
mod report;
mod script;
mod troupe;

use chance::Chance;
use collector::{Collector, Mood};
use mpr_otel_core::clock::unix_nanos;
use mpr_otel_core::folder::{Census, LedgerFolder, Snapshot};
use mpr_otel_core::privacy::Privacy;
use mpr_otel_lab::equipment::stage::Stage;
use report::Report;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};
use std::{env, thread};
use troupe::{AgentProcess, Death, Host};

const KILLS: usize = 200;
const SEED: u64 = 0x6D70_726F_7465_6C21;
/// Hosts at a time.
const HOSTS: usize = 6;

#[test]
fn killing_any_process_at_any_time_loses_no_completed_operation() {
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
    torture.finish();
    let report = torture.accounts(&folder);
    torture.judge(&report);
}

/// A number from the environment.
fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value:?}")))
}

/// A random pause: at which instant a process is killed is what this is about.
fn pause(chance: &mut Chance, most_ms: usize) -> Duration {
    Duration::from_micros(chance.below(1000 * most_ms) as u64)
}

/// Looks at the folder again and again, as `mpr-otel status` and `mpr-otel inflight` do, which
/// must not disturb.
fn look_on(folder: &LedgerFolder, over: mpsc::Receiver<()>, mut chance: Chance) {
    while over.recv_timeout(pause(&mut chance, 300)) == Err(RecvTimeoutError::Timeout) {
        Census::take(folder).unwrap();
        Snapshot::take(folder, &Privacy::FULL).unwrap();
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
                self.note_host(host.wait_for_end());
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
            self.note_host(host.wait_for_end());
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
        self.count_ledgers();
    }

    /// Somebody died.
    fn count_ledgers(&mut self) {
        let entries = LedgerFolder::new(self.stage.ledgers()).list().unwrap();
        self.figures.ledgers = self.figures.ledgers.max(entries.len());
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
        self.count_ledgers();
    }

    /// Lets a last agent do all there is to do, undisturbed.
    fn finish(&mut self) {
        let endpoint = self.collector.endpoint();
        let last = AgentProcess::start(&self.stage, &endpoint);
        let folder = LedgerFolder::new(self.stage.ledgers());
        // What a host was making when it was killed stays for a minute, and nothing is in it.
        self.stage.until(|| {
            let census = Census::take(&folder).unwrap();
            census.ledgers + census.unreadable == 0
        });
        let empty = unix_nanos(SystemTime::now()) / 1_000_000;
        self.stage.until(|| {
            let report = self.stage.report();
            report["written_unix_ms"].as_u64() > Some(empty) && report["pending"] == 0
        });
        if let Err(problem) = last.interrupt() {
            self.collector.book().breach(problem);
        }
    }

    /// What the agents counted. Nothing must be left in the folder.
    fn accounts(&mut self, folder: &LedgerFolder) -> Report {
        let census = Census::take(folder).unwrap();
        let report = Report::from(&self.stage.report());
        let mut book = self.collector.book();
        if census.ledgers + census.unreadable + report.damaged > 0 {
            book.breach(format!("left behind: {census:?}, {report:?}"));
        }
        report
    }

    /// Prints the figures, and fails if anything is wrong.
    fn judge(self, report: &Report) {
        let sums = self.collector.book().sums();
        let Figures { hosts, agents, hosts_killed, agents_killed, ledgers, started } = self.figures;
        let seconds = started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        println!(
            "torture: {hosts_killed} of {hosts} hosts and {agents_killed} of {agents} agents \
             killed in {seconds:.1} s; {} operations begun, {} ended, {} not recorded, {} silent, {} \
             died before their ledger was made; {} received, {} of them unfinished, {} repeats, {} \
             refused; agents: {report}; {ledgers} ledgers at most",
            sums.begun,
            sums.finished,
            sums.untracked,
            sums.silent,
            sums.early,
            sums.received,
            sums.unfinished,
            sums.repeats,
            sums.refused,
        );
        let book = std::mem::take(&mut *self.collector.book());
        let problems = book.judge(report);
        if !problems.is_empty() {
            let kept = self.stage.folder.keep();
            panic!("{}\nkept: {}", problems.join("\n"), kept.display());
        }
    }
}
