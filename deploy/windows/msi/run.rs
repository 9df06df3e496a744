//! Runs the product's program to its end.

use std::io::{BufRead, BufReader, Read};
use std::os::windows::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

/// Runs this command line and passes on each line that it writes, as it is written.
///
/// # Errors
///
/// It could not be started, or did not do what it was to do: the last thing that it said.
pub(crate) fn run(line: &str, log: impl Fn(&str)) -> Result<(), String> {
    // `Prepare` has put the program into quotes.
    let (program, arguments) = line.trim_start_matches('"').split_once('"').unwrap_or((line, ""));
    let mut child = Command::new(program)
        .raw_arg(arguments.trim_start())
        .creation_flags(CREATE_NO_WINDOW)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}; repair mpr-otel first"))?;
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
    let status = child.wait().map_err(|error| format!("{program} was lost: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(errors.last().map_or_else(|| status.to_string(), |line| (*line).to_owned())),
    }
}
