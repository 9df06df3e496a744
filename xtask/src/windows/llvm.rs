//! The release that is built only with LLVM's tools. It has Control Flow Guard, and it can be for
//! Arm.
//!
//! Debian's Rust compiles for `*-pc-windows-gnullvm`, the standard library included. zig compiles
//! the C runtime and knows how to link with it. LLVM's linker then links in that way, with flags
//! that zig does not pass on. So the same steps work for three architectures, on machines without
//! Windows.

use super::{Architecture, Target, debian};
use crate::packages::Need;
use crate::run::Log;
use crate::{Result, folder, packages, pip};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The linker that takes Microsoft's flags.
pub const LINKER: &str = "lld-link-22";
/// Zig's release, as a package of Python's registry.
const ZIG: &str = "ziglang==0.17.1";

/// The linker, and the programs that make import libraries and resources.
const LLVM: Need = Need {
    name: "LLVM's linker and tools",
    packages: &["lld-22", "llvm-22"],
    is_there: || {
        [LINKER, "llvm-dlltool-22", "llvm-windres-22", "llvm-ar-22", "llvm-mc-22"]
            .iter()
            .all(|name| folder::program(name).is_some())
    },
};

/// Arguments that rustc gives a C compiler and that zig cannot use: mingw-w64's libraries, because
/// zig has its own, and options of GNU's linker.
const DROPPED: [&str; 13] = [
    "-nolibc",
    "--unwindlib=none",
    "-lmingw32",
    "-lmingwex",
    "-lmsvcrt",
    "-lgcc",
    "-lgcc_eh",
    "-l:libpthread.a",
    "-Wl,--strip-all",
    "-Wl,--disable-auto-image-base",
    "-Wl,-Bdynamic",
    "-Wl,-Bstatic",
    "-Wl,--kill-at",
];

/// Finds or installs all of these tools.
pub fn ensure(log: &mut Log) -> Result<()> {
    let target = folder::target();
    if target.to_string_lossy().contains(' ') {
        // When zig prints how it links, a space separates the words.
        return Err(format!("{} has a space in it; build elsewhere", target.display()).into());
    }
    packages::ensure(&[LLVM, debian::RUST], log)?;
    if !zig().is_file() {
        pip::install(ZIG, &folder(), "zig", log)?;
    }
    Ok(())
}

/// Flags for rustc.
pub fn flags(target: Target) -> Result<Vec<OsString>> {
    let mut linker = OsString::from("-Clinker=");
    linker.push(script(
        &format!("link-{}", target.triple()),
        &[&env::current_exe()?.to_string_lossy(), "link", target.triple()],
    )?);
    Ok(vec![linker, "-Ccontrol-flow-guard".into(), "-Cdlltool=llvm-dlltool-22".into()])
}

/// Variables for build scripts, with the compiler of the version resource.
pub fn environment(target: Target) -> Result<[(&'static str, OsString); 2]> {
    // The file needs no preprocessing, so no C compiler is needed.
    let mut command = vec!["llvm-windres-22", "--no-preprocess"];
    if target.architecture == Architecture::Arm64 {
        // The build script names the others.
        command.push("--target=aarch64-w64-mingw32");
    }
    let windres = script(&format!("windres-{}", target.triple()), &command)?;
    Ok([("WINDRES", windres.into()), ("AR", "llvm-ar-22".into())])
}

/// The notices of everything that is linked besides the crates, as files.
pub fn notices() -> [(&'static str, PathBuf); 2] {
    let lib = folder().join("ziglang").join("lib");
    [
        ("mingw-w64.txt", lib.join("libc").join("mingw").join("COPYING")),
        ("libunwind.txt", lib.join("libunwind").join("LICENSE.TXT")),
    ]
}

/// The linker and zig, with the arguments that print their versions.
pub fn tools() -> [Command; 2] {
    let mut zig = Command::new(zig());
    zig.arg("version");
    let mut linker = Command::new(LINKER);
    linker.arg("--version");
    [linker, zig]
}

/// `cargo xtask link`: rustc's linker. First zig links and prints how it does that. Then LLVM's
/// linker links.
pub fn link(triple: &str, arguments: &[&str]) -> Result<ExitCode> {
    let target = Target::named(triple).ok_or("not a target")?;
    let mut zig = Command::new(zig());
    zig.args(["cc", "-v", "-s", "-target"]).arg(format!("{}-windows-gnu", architecture(target)));
    for argument in arguments {
        match argument.strip_prefix("-Wl,") {
            Some(list) if list.ends_with("list.def") => {
                zig.arg(list);
            }
            Some(flag) if flag.starts_with("-soname") || flag.starts_with("--out-implib") => {}
            _ if DROPPED.contains(argument) => {}
            _ => {
                zig.arg(argument);
            }
        }
    }
    let cache = folder().join("cache");
    zig.env("ZIG_GLOBAL_CACHE_DIR", &cache).env("ZIG_LOCAL_CACHE_DIR", &cache);
    let output = zig.output().map_err(|error| format!("cannot start zig: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let Some(line) = said.lines().rev().find_map(|line| line.strip_prefix("lld-link ")) else {
        return Err(format!("zig did not say how it links:\n{said}").into());
    };
    let mut linker = Command::new(LINKER);
    // zig's checks of undefined behaviour in C are left out: there is no C code here that they are
    // for.
    linker.args(line.split(' ').filter(|argument| !argument.ends_with("ubsan_rt.lib")));
    linker.args(["-Brepro", "-guard:cf"]);
    if target.has_shadow_stack() {
        linker.arg("-cetcompat");
    }
    if target.architecture == Architecture::X86 {
        // stdcall decorates names, and MPR looks for undecorated ones.
        linker.arg("-kill-at");
    }
    let status = linker.status().map_err(|error| format!("cannot start {LINKER}: {error}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// LLVM's name.
fn architecture(target: Target) -> &'static str {
    match target.architecture {
        Architecture::X64 => "x86_64",
        Architecture::X86 => "x86",
        Architecture::Arm64 => "aarch64",
    }
}

fn folder() -> PathBuf {
    folder::target().join("zig")
}

fn zig() -> PathBuf {
    folder().join("ziglang").join("zig")
}

/// A script that runs a command and adds its own arguments.
fn script(name: &str, command: &[&str]) -> Result<PathBuf> {
    let folder = folder::target().join("windows-llvm").join("bin");
    fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    let words: Vec<String> = command.iter().map(|word| format!("'{word}'")).collect();
    let text = format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "));
    fs::write(&path, text)?;
    if !Command::new("chmod").arg("+x").arg(&path).status()?.success() {
        return Err(format!("cannot make {} a program", path.display()).into());
    }
    Ok(path)
}
