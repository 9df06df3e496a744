//! Runs the product's program to its end.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::windows::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

/// Why a program did not do what it was to do.
pub(crate) enum Failed {
    /// There is no such file.
    NotThere(String),
    /// It could not be started, or failed: the last thing that it said.
    Otherwise(String),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotThere(program) => {
                write!(f, "{program} is not there; repair mpr-otel (msiexec /fa) and try again")
            }
            Self::Otherwise(problem) => f.write_str(problem),
        }
    }
}

/// Runs this command line and passes on each line that it writes, as it is written.
///
/// # Errors
///
/// It was not run, or did not do what it was to do.
pub(crate) fn run(line: &str, log: impl Fn(&str)) -> Result<(), Failed> {
    // `Prepare` has put the program into quotes.
    let (program, arguments) = line.trim_start_matches('"').split_once('"').unwrap_or((line, ""));
    let mut child = Command::new(program)
        .raw_arg(arguments.trim_start())
        .creation_flags(CREATE_NO_WINDOW)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failed::NotThere(program.to_owned()),
            _ => Failed::Otherwise(format!("cannot start {program}: {error}")),
        })?;
    let errors = child.stderr.take();
    // Both at once: a pipe that nobody empties would hold the program.
    let errors = thread::spawn(move || {
        let mut text = String::new();
        errors.map(|mut errors| errors.read_to_string(&mut text));
        text
    });
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        match line {
            Ok(line) => log(&line),
            Err(_) => break,
        }
    }
    let errors = errors.join().unwrap_or_default();
    // The program begins them with its name, as the log does.
    let errors = errors.lines().map(|line| line.strip_prefix("mpr-otel: ").unwrap_or(line));
    let errors: Vec<&str> = errors.collect();
    errors.iter().for_each(|line| log(line));
    let lost = |error| Failed::Otherwise(format!("{program} was lost: {error}"));
    let status = child.wait().map_err(lost)?;
    match status.success() {
        true => Ok(()),
        false => {
            let last = errors.last().map(|line| (*line).to_owned());
            Err(Failed::Otherwise(last.unwrap_or_else(|| status.to_string())))
        }
    }
}
