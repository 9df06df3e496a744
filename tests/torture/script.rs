//! What the hosts do: operations whose names say how they must end.

use crate::chance::Chance;
use mpr_otel_lab::double::{Add, Cancel, Host, ScriptedCall, Step};

/// How operations end, in turn.
const STATUSES: [u32; 8] = [0, 53, 0, 67, 0, 1223, 0, 0xFFFF_FFFF];

/// How long a host may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It plays its part and ends.
    Short,
    /// It plays its part and stays.
    Long,
    /// The same, and more operations than its ledger has room for, should nobody export.
    Busy,
}

/// The part of host `number`.
pub fn part(number: usize, life: Life, chance: &mut Chance) -> Host {
    let (threads, most) = match life {
        Life::Short => (1 + chance.below(2), 12),
        Life::Long => (1 + chance.below(3), 150),
        Life::Busy => (3, 800),
    };
    let mut lane = |thread| {
        let steps = 1 + chance.below(most);
        (0..steps).map(|n| step(number, thread, n, chance)).collect()
    };
    Host { executable: String::new(), threads: (0..threads).map(&mut lane).collect() }
}

fn step(host: usize, thread: usize, n: usize, chance: &mut Chance) -> Step {
    let name = Some(format!(r"\\torture\{host}-{thread}-{n}"));
    let request = if n % 5 == 4 {
        ScriptedCall::Cancel(Cancel { name, flags: 0, force: false })
    } else {
        ScriptedCall::Add(Add {
            remote: name,
            local: Some("T:".into()),
            resource_type: 1,
            flags: 0,
        })
    };
    let status = STATUSES[n % STATUSES.len()];
    let provider = (status == 0).then(|| "Torture Network".to_owned());
    // Most operations take no time, so that a good part of the host's time is ours.
    let takes_ms = if chance.once_in(4) { chance.of(&[1, 3]) } else { 0 };
    Step { request, takes_ms, status, provider, no_post: chance.once_in(40) }
}

/// The `TRACEPARENT` of a host's environment: some have one.
pub fn parent(host: usize) -> Option<(u128, u64)> {
    host.is_multiple_of(3).then_some((host as u128 + 1, host as u64 + 1))
}

/// The host that the operation of this name is of.
pub fn host(name: &str) -> Option<usize> {
    name.strip_prefix(r"\\torture\")?.split_once('-')?.0.parse().ok()
}

/// The status that the operation of this name ends with; `None` if no script has that name.
pub fn status(name: &str) -> Option<u32> {
    let (_, n) = name.strip_prefix(r"\\torture\")?.rsplit_once('-')?;
    Some(STATUSES[n.parse::<usize>().ok()? % STATUSES.len()])
}

/// The outcome of an operation that ended with `status`.
pub fn outcome(status: u32) -> &'static str {
    match status {
        0 => "success",
        1223 => "cancelled",
        _ => "failure",
    }
}
