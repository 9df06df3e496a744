//! A secret goes to the collector, and nowhere else. tests/wine.rs tests what only Windows has.
#![cfg(unix)]

use mpr_otel_lab::equipment::stage::{Stage, add, lane, received, spawn, start};
use mpr_otel_lab::receiver::{Answer, Request};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A text that occurs nowhere else, and the header value that contains it.
const SECRET: &str = "Zwq7Kd0SecretPv3";
const HEADER: &str = "authorization=Bearer%20Zwq7Kd0SecretPv3";
const VALUE: &str = "Bearer Zwq7Kd0SecretPv3";

/// The files in a folder, and in those in it, that have [`SECRET`] in them, in UTF-8 or UTF-16.
fn files_with_the_secret(folder: &Path) -> Vec<PathBuf> {
    let utf_16: Vec<u8> = SECRET.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let has = |bytes: &[u8], secret: &[u8]| bytes.windows(secret.len()).any(|part| part == secret);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with_the_secret(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.extend((has(&bytes, SECRET.as_bytes()) || has(&bytes, &utf_16)).then_some(path));
        }
    }
    found
}

#[test]
fn a_secret_goes_to_the_collector_and_into_no_file_output_or_command_line() {
    let refuses = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&refuses);
    // Some gateways repeat the headers that they got.
    let stage = Stage::behaving(move |request: &Request| {
        let sent = request.header("authorization").unwrap_or_default();
        match answers.load(Ordering::Relaxed) {
            true => Answer { body: format!("not {sent}").into(), ..Answer::status(401) },
            false => {
                let partial_success =
                    ExportTracePartialSuccess { rejected_spans: 0, error_message: sent.to_owned() };
                let partial_success = Some(partial_success);
                let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
                let answer = Answer::ok().header("content-type", "application/x-protobuf");
                Answer { body, ..answer }
            }
        }
    });
    let command = |mut command: std::process::Command| {
        command.env("MPR_OTEL_HEADERS", HEADER).env("MPR_OTEL_DELIVERY", "agent");
        command
    };
    let program = |arguments: &[&str]| -> Output {
        command(stage.program()).args(arguments).output().unwrap()
    };
    let map = || start(command(stage.host()), &lane(vec![add(r"\\server\share")])).0.end_quietly();
    let next = || loop {
        let request = stage.request();
        let authorization = request.header("authorization").map(str::to_owned);
        assert_eq!(authorization.as_deref(), Some(VALUE), "every request of the agent has it");
        if !received(request).is_empty() {
            break;
        }
    };

    let agent = spawn(&mut command(stage.agent()));
    map();
    next();
    let mut said: Vec<Output> = Vec::new();
    for json in [&["--json"][..], &[]] {
        said.push(program(&[&["status"], json].concat()));
        said.push(program(&[&["drain"], json].concat()));
    }
    let line = fs::read(format!("/proc/{}/cmdline", agent.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&line).contains(SECRET));
    // The agent's report about a collector that wants another secret.
    refuses.store(true, Ordering::Relaxed);
    map();
    next();
    let repeated = format!("not Bearer {}", "*".repeat(SECRET.len()));
    stage.until(|| stage.logged().contains(&repeated));
    assert!(stage.logged().contains("said=\"Bearer ****"), "{}", stage.logged());
    said.push(program(&["status"]));
    let errors = agent.interrupt();
    assert!(errors.contains("401") && !errors.contains(SECRET), "{errors}");
    // Waiting operations are in the agent's store, and then in that of `drain`.
    assert_eq!(files_with_the_secret(stage.folder.path()), Vec::<PathBuf>::new());
    map();
    for json in [&["--json"][..], &[]] {
        said.push(program(&[&["drain"], json].concat()));
    }
    for output in said {
        let texts = [output.stdout, output.stderr].concat();
        assert!(!texts.is_empty());
        let texts = String::from_utf8_lossy(&texts);
        assert!(!texts.contains(SECRET), "{texts}");
    }
    assert_eq!(files_with_the_secret(stage.folder.path()), Vec::<PathBuf>::new());
    let planted = stage.folder.path().join("planted");
    fs::write(&planted, SECRET).unwrap();
    assert_eq!(files_with_the_secret(stage.folder.path()), [planted]);
}

#[test]
fn install_takes_a_secret_from_a_file_or_standard_input_and_not_from_its_command_line() {
    let stage = Stage::new();
    let install = |arguments: &[&str], input: &str| -> Output {
        let mut child = stage.program().arg("install").args(arguments).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let expect = |output: Output, code: i32, complaint: &str| {
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(complaint) && !said.contains(SECRET), "{said}");
    };
    // If the value is good, the only error is that this system is not Windows.
    expect(install(&["--headers-file", "-"], HEADER), 1, "install needs Windows");
    expect(install(&["--headers-file", "-"], ""), 2, "standard input has nothing in it");
    expect(
        install(&["--headers-file", "-"], SECRET),
        2,
        "--headers-file: not a list of name=value",
    );
    let file = stage.folder.path().join("headers.txt");
    fs::write(&file, format!("{HEADER}\nx-tenant=desk\n")).unwrap();
    expect(install(&["--headers-file", file.to_str().unwrap()], ""), 1, "install needs Windows");
    expect(install(&["--headers-file", "/no/such/file"], ""), 2, "cannot read /no/such/file");
    expect(install(&["--headers", "x-tenant=desk"], ""), 2, "--headers-file");
}
