//! The notification DLLs that are registered, and an operation surrounded by their calls.

use mpr_otel_lab::double::{Call, Ended, Notifyee};
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use windows_registry::{LOCAL_MACHINE, Type};

/// Where Windows registers them.
const KEY: &str = r"SYSTEM\CurrentControlSet\Control\NetworkProvider\Notifyees";

/// Tells every notifyee before and after `operation`, and returns its Win32 code.
pub fn surround(call: &Call, operation: impl FnOnce() -> Ended) -> u32 {
    // Loaded by the first operation: when Wine loads this provider it holds the loader's lock.
    static NOTIFYEES: OnceLock<Vec<Notifyee>> = OnceLock::new();
    let notifyees = NOTIFYEES.get_or_init(load);
    let contexts: Vec<usize> = notifyees
        .iter()
        .map(|notifyee| {
            let (returned, context) = notifyee.pre(call);
            expect_success("PRE", returned);
            context
        })
        .collect();
    let ended = operation();
    // In the reverse order, as the predecessor of this API did. No context, no POST.
    for (notifyee, context) in notifyees.iter().zip(contexts).rev() {
        if context != 0 {
            expect_success("POST", notifyee.post(call, context, &ended));
        }
    }
    ended.status
}

/// Tells the test on the program's stderr what must not be.
pub fn complain(what: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "wine-provider: {what}");
}

fn expect_success(call: &str, returned: u32) {
    if returned != 0 {
        complain(&format!("{call} returned {returned}; it must return 0"));
    }
}

fn load() -> Vec<Notifyee> {
    // The key may not exist yet.
    let Ok(key) = LOCAL_MACHINE.open(KEY) else {
        return Vec::new();
    };
    let Ok(values) = key.values() else {
        return Vec::new();
    };
    values
        .filter(|(_, value)| value.ty() == Type::ExpandString)
        .filter_map(|(name, value)| {
            let path = expand(&String::try_from(value).ok()?);
            Notifyee::load(Path::new(&path))
                .inspect_err(|error| complain(&format!("notifyee {name}: {error}")))
                .ok()
        })
        .collect()
}

/// Replaces each `%NAME%` by the environment's value.
fn expand(text: &str) -> String {
    let mut expanded = String::new();
    // Outside and inside of percent signs in turn.
    for (number, part) in text.split('%').enumerate() {
        match (number % 2 == 1).then(|| std::env::var(part)) {
            Some(Ok(value)) => expanded.push_str(&value),
            _ => expanded.push_str(part),
        }
    }
    expanded
}
