//! A run of steps: prints one line for each, writes its long output to a log, and prints a table at
//! the end.

use crate::{Result, folder};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How many lines of a failed step's log are shown.
const TAIL: usize = 40;
/// A command that takes longer counts as hanging. A clean build on a small machine takes a third of
/// this time.
const TIME_LIMIT: Duration = Duration::from_secs(45 * 60);

/// The steps that have run.
pub struct Run {
    out: Box<dyn Write>,
    logs: PathBuf,
    steps: Vec<Step>,
    started: Instant,
}

struct Step {
    name: String,
    outcome: Outcome,
    took: Duration,
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
        }
    }
}

impl Run {
    /// A run without steps yet.
    pub fn new() -> Result<Self> {
        Self::told_to(Box::new(io::stdout()))
    }

    /// A run that reports on standard error, because standard output belongs to the next program.
    pub fn aside() -> Result<Self> {
        Self::told_to(Box::new(io::stderr()))
    }

    fn told_to(out: Box<dyn Write>) -> Result<Self> {
        let logs = folder::target().join("xtask");
        fs::create_dir_all(&logs)
            .map_err(|error| format!("cannot make {}: {error}", logs.display()))?;
        Ok(Self { out, logs, steps: Vec::new(), started: Instant::now() })
    }

    /// Does one step and prints the result. Returns whether it passed.
    pub fn step(&mut self, name: &str, work: impl FnOnce(&mut Log) -> Result<()>) -> bool {
        self.tell(format_args!("{name} ... "));
        let started = Instant::now();
        let mut log = Log::new(self.logs.join(format!("{}.log", name.replace(' ', "-"))));
        let result = work(&mut log);
        let took = started.elapsed();
        let outcome = if result.is_ok() { Outcome::Passed } else { Outcome::Failed };
        self.tell(format_args!("{} {:.1} s\n", outcome.word(), took.as_secs_f64()));
        for note in &log.notes {
            self.tell(format_args!("  {note}\n"));
        }
        if let Err(failure) = result {
            self.tell(format_args!("{}  {name}: {failure}\n", log.tail()));
        }
        let passed = outcome == Outcome::Passed;
        self.steps.push(Step { name: name.to_owned(), outcome, took });
        passed
    }

    fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        // The reader may have closed the output.
        let _ = self.out.write_fmt(what).and_then(|()| self.out.flush());
    }

    /// Whether all steps so far passed.
    pub fn is_well(&self) -> bool {
        self.steps.iter().all(|step| step.outcome == Outcome::Passed)
    }

    /// Prints the table of all steps. The exit code says whether all passed.
    pub fn finish(mut self) -> ExitCode {
        self.tell(format_args!("\n"));
        let failed = self.steps.iter().filter(|step| step.outcome == Outcome::Failed).count();
        for Step { name, outcome, took } in std::mem::take(&mut self.steps) {
            let line = format!("{name:<28} {:<8} {:>7.1} s\n", outcome.word(), took.as_secs_f64());
            self.tell(format_args!("{line}"));
        }
        let verdict = if failed == 0 { "all ok".to_owned() } else { format!("{failed} FAILED") };
        let took = self.started.elapsed().as_secs_f64();
        self.tell(format_args!("{:<28} {verdict:<8} {took:>7.1} s\n", "total"));
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// A step's long output, and the lines of it that are shown.
pub struct Log {
    path: PathBuf,
    /// The first command opens it.
    file: Option<File>,
    notes: Vec<String>,
}

impl Log {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None, notes: Vec::new() }
    }

    /// Runs a command to its end, in the repository. Its output goes to the log; it has no input.
    pub fn run(&mut self, command: &mut Command) -> Result<()> {
        if self.run_to_status(command)? {
            return Ok(());
        }
        Err(format!("{} failed; the whole output is in {}", shown(command), self.path.display())
            .into())
    }

    /// The same as [`run`](Self::run), but returns whether the command succeeded.
    pub fn run_to_status(&mut self, command: &mut Command) -> Result<bool> {
        let mut file = self.open()?;
        writeln!(file, "$ {}", shown(command))?;
        let (out, error) = (file.try_clone()?, file);
        let mut child = command
            .current_dir(folder::root())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(error)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", shown(command)))?;
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.success());
            }
            if started.elapsed() > TIME_LIMIT {
                child.kill()?;
                child.wait()?;
                return Err(format!(
                    "{} was ended after {} minutes; its output is in {}",
                    shown(command),
                    TIME_LIMIT.as_secs() / 60,
                    self.path.display()
                )
                .into());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Shows a line under the step's own line.
    pub fn note(&mut self, line: impl Into<String>) {
        self.notes.push(line.into());
    }

    /// Shows the closing lines of the test runners.
    pub fn note_results(&mut self) -> Result<()> {
        for line in self.text()?.lines().filter(|line| line.starts_with("test result:")) {
            self.note(line);
        }
        Ok(())
    }

    /// The output so far.
    pub fn text(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.path)?).into_owned())
    }

    fn open(&mut self) -> Result<File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::create(&self.path)
                .map_err(|error| format!("cannot write {}: {error}", self.path.display()))?,
        };
        self.file = Some(file.try_clone()?);
        Ok(file)
    }

    /// The last lines, indented.
    fn tail(&self) -> String {
        // If no command ran, the file is from an earlier run.
        if self.file.is_none() {
            return String::new();
        }
        let text = self.text().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        tail.iter().map(|line| format!("  | {line}\n")).collect()
    }
}

/// A command in the form in which a person would type it.
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
