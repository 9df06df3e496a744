//! One run of the probe: tries each way, and waits until the records are delivered.

use super::table::Report;
use super::verdict::{Machine, Observation, Outcome, Tried, exit_code, judge};
use super::way::{self, Program, Step, Way};
use crate::agent::place::sight;
use crate::answer::Failure;
use crate::architecture::Architecture;
use crate::machine::{SystemDll, listed};
use crate::printable::Printable;
use crate::probe_caller::Caller;
use crate::windows::{self, Debugged, Wnet};
use mpr_otel_core::folder::{HostSlots, LedgerFolder, Watch};
use mpr_otel_core::ledger::LedgerError;
use mpr_otel_core::settings::{Settings, System};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// How long the probe waits before it reads ledgers and programs again.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long after the call's return its record may appear in the ledger.
const RECORDED: Duration = Duration::from_secs(2);
/// How long after that the record may take to reach the collector.
const DELIVERED: Duration = Duration::from_secs(10);

pub(super) struct Session {
    target: String,
    missing: String,
    settings: Settings,
    folder: LedgerFolder,
    machine: Machine,
    seen: Vec<(Observation, Option<Watch>)>,
    /// The programs live until everything has been read.
    callers: Vec<Caller>,
    /// Names that may still be mapped.
    mapped: BTreeSet<String>,
}

/// The result of a step, and the watch on its record if there is one.
type Tries = Result<(Tried, Option<Watch>), Outcome>;

impl Session {
    pub(super) fn new(target: &str) -> Result<Self, Failure> {
        let server = target.strip_prefix(r"\\").and_then(|rest| rest.split_once('\\'));
        let is_plain = Printable::from(target.to_owned()).to_string() == target;
        let Some((server, _)) = server.filter(|_| is_plain) else {
            return Err(
                format!(r"--target: `{target}` is not a share; write \\SERVER\SHARE").into()
            );
        };
        windows::show_no_boxes();
        let settings = Settings::resolve(&System::host());
        let folder = LedgerFolder::new(&settings.ledger_dir);
        let machine = Machine {
            unregistered: match listed() {
                Ok(Some(entry)) if entry.is_well_formed() => None,
                Ok(Some(entry)) => {
                    Some(format!("the registry has {}: `mpr-otel install`", entry.data))
                }
                Ok(None) => Some("no DLL is registered: `mpr-otel install`".to_owned()),
                Err(error) => Some(format!("MPR's list cannot be read: {error}")),
            },
            delivery: settings.delivery,
            agent_runs: sight(&folder).ok().map(|sight| sight.is_running),
            disabled: settings.disabled,
        };
        let missing = format!(r"\\{server}\mpr-otel-no-such-share");
        let (seen, callers, mapped) = Default::default();
        Ok(Self {
            target: target.into(),
            missing,
            settings,
            folder,
            machine,
            seen,
            callers,
            mapped,
        })
    }

    /// Tries all ways, or only those with these names.
    pub(super) fn run(mut self, only: &[String]) -> Result<Report, Failure> {
        for way in &way::ALL {
            if only.is_empty() || only.iter().any(|name| name.eq_ignore_ascii_case(way.name)) {
                self.try_way(way)?;
            }
        }
        if self.seen.is_empty() {
            let all = way::ALL.map(|way| way.name).join(", ");
            return Err(format!("--only: there is no such way; there are {all}").into());
        }
        self.cancel_all();
        while !self.is_over() {
            std::thread::sleep(INTERVAL);
        }
        let seen = std::mem::take(&mut self.seen).into_iter();
        let rows = seen.map(|(mut observation, watch)| {
            if let Outcome::Tried(tried) = &mut observation.outcome {
                tried.record = watch.map(|watch| watch.recorded);
            }
            judge(&self.machine, &observation)
        });
        let ways: Vec<_> = rows.collect();
        let (target, missing) = (self.target.clone(), self.missing.clone());
        Ok(Report { target, missing, exit_code: exit_code(&ways), ways })
    }

    fn try_way(&mut self, way: &Way) -> Result<(), Failure> {
        let programs = way.programs()?;
        if programs.is_empty() {
            let why = "its program is not on this machine".to_owned();
            self.note(way, &way.steps[0], None, Err(Outcome::Absent(why)));
        }
        for (file, architecture) in programs {
            let here = Some((file.as_path(), architecture));
            let caller = || Caller::start(&mut way.caller(&file)?);
            let mut caller = match (way.program != Program::Net).then(caller).transpose() {
                Ok(caller) => caller,
                Err(why) => {
                    self.note(way, &way.steps[0], here, Err(Outcome::Absent(why.to_string())));
                    continue;
                }
            };
            for step in way.steps {
                let tries = match &mut caller {
                    Some(caller) => self.ask(caller, way, step, architecture),
                    None => self.net(&file, step, architecture),
                };
                let is_over = tries.is_err();
                if step.shown || is_over {
                    self.note(way, step, here, tries);
                }
                if is_over {
                    break;
                }
            }
            self.callers.extend(caller);
        }
        Ok(())
    }

    /// Asks a waiting program to make the call.
    fn ask(&mut self, caller: &mut Caller, way: &Way, step: &Step, of: Architecture) -> Tries {
        let ended = || Outcome::Untried("its program has ended".to_owned());
        let before = HostSlots::read(&self.folder, caller.pid()).map_err(unreadable)?;
        let name = self.name(step);
        self.mapped.insert(name.clone());
        let verb = if step.cancels { "cancel" } else { "map" };
        let (code, took) = caller.ask(verb, &name).ok_or_else(ended)?;
        self.end(step, code);
        let loaded = windows::loaded_by(caller.pid()).ok();
        let mut tried = Tried { code, took, ..Tried::default() };
        let watch = self.look(&mut tried, caller.pid(), &before, of, loaded)?;
        if way.program == Program::Ours
            && tried.loaded == Some(false)
            && self.machine.unregistered.is_none()
        {
            (tried.load_code, _) = caller.ask("load", "").ok_or_else(ended)?;
        }
        Ok((tried, watch))
    }

    /// Starts `net` for the call. It ends by itself, and a debugger holds it at its end.
    fn net(&mut self, file: &Path, step: &Step, of: Architecture) -> Tries {
        let name = self.name(step);
        let mut command = Command::new(file);
        command.arg("use").arg(&name).args(step.cancels.then_some("/delete"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.mapped.insert(name);
        let held = Debugged::run(&mut command)
            .map_err(|error| Outcome::Untried(format!("it cannot be debugged: {error}")))?;
        let mut tried = Tried { ended: true, ..Tried::default() };
        let (before, loaded) = (HostSlots::default(), held.loaded.clone());
        let maps = has(&loaded, "mpr.dll".as_ref());
        let watch = self.look(&mut tried, held.pid(), &before, of, Some(loaded))?;
        tried.code = held.release().ok().and_then(|output| net_code(&output));
        self.end(step, tried.code);
        if tried.code.is_none() && !maps {
            return Err(Outcome::Absent("it does not map shares on this machine".to_owned()));
        }
        Ok((tried, watch))
    }

    /// Reads the state of the program whose call has just returned.
    fn look(
        &self,
        tried: &mut Tried,
        pid: u32,
        before: &HostSlots,
        of: Architecture,
        loaded: Option<Vec<OsString>>,
    ) -> Result<Option<Watch>, Outcome> {
        if let Some(dll) = SystemDll::of(of) {
            let name = dll.path.file_name().unwrap_or_default();
            tried.loaded = loaded.map(|loaded| has(&loaded, name));
            tried.load_code = dll.load_code(of);
        }
        let nothing_comes = tried.ended || tried.loaded == Some(false) || self.machine.disabled;
        let limit = if nothing_comes { Duration::ZERO } else { RECORDED };
        Watch::begin(&self.folder, pid, before, limit).map_err(unreadable)
    }

    /// Notes that this step mapped nothing, or that it cancelled the mapping.
    fn end(&mut self, step: &Step, code: Option<u32>) {
        if code.is_some_and(|code| (code == 0) == step.cancels) {
            let name = self.name(step);
            self.mapped.remove(&name);
        }
    }

    fn note(
        &mut self,
        way: &Way,
        step: &Step,
        program: Option<(&Path, Architecture)>,
        tries: Tries,
    ) {
        let (outcome, watch) = match tries {
            Ok((tried, watch)) => (Outcome::Tried(tried), watch),
            Err(outcome) => (outcome, None),
        };
        let name = program.and_then(|(file, _)| file.file_name()).unwrap_or_default();
        let observation = Observation {
            way: way.name,
            architecture: program.map(|(_, architecture)| architecture),
            operation: step.name,
            excluded: self.settings.excludes(&name.to_string_lossy()),
            outcome,
        };
        self.seen.push((observation, watch));
        // Records can be delivered while other ways are tried.
        self.is_over();
    }

    fn name(&self, step: &Step) -> String {
        if step.missing { self.missing.clone() } else { self.target.clone() }
    }

    fn is_over(&mut self) -> bool {
        let watches = self.seen.iter_mut().filter_map(|(_, watch)| watch.as_mut());
        // Every watch is updated, so the iteration does not stop early.
        watches.filter_map(|watch| (!watch.is_over(DELIVERED)).then_some(())).count() == 0
    }

    /// Cancels mappings of programs that ended before they could cancel them.
    fn cancel_all(&mut self) {
        for name in std::mem::take(&mut self.mapped) {
            Wnet::find("WNetCancelConnection2W").map(|cancel| cancel.call(&name));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.cancel_all();
        // If cscript does not exist, there is no file.
        let _ = std::fs::remove_file(way::script());
    }
}

fn unreadable(error: LedgerError) -> Outcome {
    Outcome::Untried(error.to_string())
}

fn has(modules: &[OsString], name: &OsStr) -> bool {
    modules.iter().any(|module| module.eq_ignore_ascii_case(name))
}

/// The code of `net`: 0, or the first number that it writes, in any language: "System error 67 has
/// occurred."
fn net_code(output: &Output) -> Option<u32> {
    if output.status.success() {
        return Some(0);
    }
    let text = [&output.stderr[..], &output.stdout].concat();
    String::from_utf8_lossy(&text).split_whitespace().find_map(|word| word.parse().ok())
}
