//! Tells the program which profile it is built with.

use std::env::var;

fn main() -> Result<(), std::env::VarError> {
    println!("cargo::rerun-if-changed=build.rs");
    // `OUT_DIR` is target/<profile>/build/<package>/out: cargo says `release` for every profile
    // that inherits from it, but not there.
    let out = var("OUT_DIR")?;
    let profile = out.rsplit(['/', '\\']).nth(3).unwrap_or_default();
    println!("cargo::rustc-env=MPR_OTEL_BENCH_PROFILE={profile}");
    Ok(())
}
