//! Has the linker export the names that MPR looks for, undecorated.

use std::env::var;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let (system, linker) = (var("CARGO_CFG_TARGET_OS")?, var("CARGO_CFG_TARGET_ENV")?);
    match (system.as_str(), linker.as_str()) {
        // stdcall decorates names: `AddConnectNotify@8`.
        ("windows", "gnu") => println!("cargo::rustc-cdylib-link-arg=-Wl,--kill-at"),
        ("windows", "msvc") if var("CARGO_CFG_TARGET_ARCH")? == "x86" => {
            for name in ["AddConnectNotify", "CancelConnectNotify"] {
                println!("cargo::rustc-cdylib-link-arg=/EXPORT:{name}=_{name}@8");
            }
        }
        _ => {}
    }
    Ok(())
}
