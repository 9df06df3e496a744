//! Every crate that links into the DLL is loaded into every program that maps a drive, so each is
//! chosen on purpose: src/dll/crates-*.txt list them.

use mpr_otel_lab::equipment::repository;
use std::collections::BTreeSet;
use std::process::Command;

const TARGETS: [&str; 2] = ["x86_64-pc-windows-gnu", "i686-pc-windows-gnu"];

/// What `cargo tree` prints about the DLL's dependencies on `target`.
fn tree(target: &str, arguments: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["tree", "--locked", "--package", "mpr-otel-dll", "--edges", "normal"])
        .args(["--target", target])
        .args(arguments)
        .current_dir(repository());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The crates that link into the DLL, by name.
fn linked(target: &str) -> BTreeSet<String> {
    let lines = tree(target, &["--prefix", "none"]);
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn only_listed_crates_link_into_the_dll() {
    let mut complaints = Vec::new();
    for target in TARGETS {
        let list = repository().join(format!("src/dll/crates-{target}.txt"));
        let listed: BTreeSet<String> = std::fs::read_to_string(&list)
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        let linked = linked(target);
        assert!(linked.contains("mpr-otel-core"), "{linked:?}");
        for new in linked.difference(&listed) {
            complaints.push(format!(
                "{new} links into the DLL for {target} and is not in {}. It came in through:\n{}",
                list.display(),
                tree(target, &["--invert", new])
            ));
        }
        for gone in listed.difference(&linked) {
            complaints.push(format!(
                "{gone} no longer links into the DLL for {target}; remove it from {}\n",
                list.display()
            ));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
