//! Has the linker export the names that MPR looks for, undecorated.

use std::env::var;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let (system, linker) = (var("CARGO_CFG_TARGET_OS")?, var("CARGO_CFG_TARGET_ENV")?);
    match (system.as_str(), linker.as_str()) {
        // stdcall decorates names: `AddConnectNotify@8`. `cargo xtask` has ld.lld link, without a
        // compiler in between, and gives it the flag itself.
        ("windows", "gnu") if !linked_by_lld() => {
            println!("cargo::rustc-cdylib-link-arg=-Wl,--kill-at");
        }
        ("windows", "msvc") if var("CARGO_CFG_TARGET_ARCH")? == "x86" => {
            for name in ["AddConnectNotify", "CancelConnectNotify"] {
                println!("cargo::rustc-cdylib-link-arg=/EXPORT:{name}=_{name}@8");
            }
        }
        _ => {}
    }
    Ok(())
}

fn linked_by_lld() -> bool {
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    var("CARGO_ENCODED_RUSTFLAGS").is_ok_and(|flags| flags.contains("linker-flavor=ld.lld"))
}
