//! How long operations take.
//!
//! Bodies are log-normal: most are quick, some are not, none is negative. A share of successes
//! falls into a tail of its own, as when a server has to wake a disk or a name server is slow.

use super::fleet::ServerKind;
use super::random::Rng;

/// Nanoseconds of a millisecond.
const MILLISECOND: f64 = 1e6;

/// A log-normal distribution.
#[derive(Clone, Copy, Debug)]
struct LogNormal {
    median_ms: f64,
    sigma: f64,
}

impl LogNormal {
    const fn new(median_ms: f64, sigma: f64) -> Self {
        Self { median_ms, sigma }
    }

    /// Milliseconds.
    fn draw(self, rng: &mut Rng) -> f64 {
        self.median_ms * (self.sigma * rng.normal()).exp()
    }
}

/// Name resolution and authentication, before the first operation of a program on a server.
const FIRST_CONTACT: LogNormal = LogNormal::new(45.0, 0.5);
/// Successes in the tail, and what they take.
const TAIL_SHARE: f64 = 0.012;
const TAIL: LogNormal = LogNormal::new(1_300.0, 0.6);
/// A cancel asks the server to forget a connection.
const CANCEL: LogNormal = LogNormal::new(9.0, 0.7);
/// A server that answers, and says no.
const REFUSAL: LogNormal = LogNormal::new(55.0, 0.6);
/// A refusal that the client itself gives, without asking a server.
const LOCAL_REFUSAL: LogNormal = LogNormal::new(2.5, 0.4);
/// A domain controller that says no.
const DENIED_LOGON: LogNormal = LogNormal::new(240.0, 0.5);
/// A user who closes a prompt.
const PROMPT: LogNormal = LogNormal::new(7_000.0, 0.7);
/// A connection that breaks in the middle.
const BROKEN: LogNormal = LogNormal::new(900.0, 0.8);

/// What an operation meets on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// The server; `None` for an operation that needs none.
    pub(super) server: Option<ServerKind>,
    /// Whether the program has not talked to it before.
    pub(super) first: bool,
    /// How much longer the way is than in the main building.
    pub(super) distance: f64,
    /// From 0 to 1: how busy servers are.
    pub(super) load: f64,
}

/// How long an operation takes that ends with `status`, in nanoseconds.
pub(super) fn draw(status: u32, path: Path, rng: &mut Rng) -> u64 {
    let ms = match (status, path.server) {
        (0, Some(kind)) => success(kind, path, rng),
        (0, None) => CANCEL.draw(rng),
        (53 | 1203 | 51, _) => return dead_share(rng),
        (59 | 64 | 240, _) => BROKEN.draw(rng),
        (85 | 1219 | 1231 | 2250 | 2401, _) => LOCAL_REFUSAL.draw(rng),
        (1223, _) => PROMPT.draw(rng).min(90_000.0),
        (1326 | 1793 | 1909, _) => DENIED_LOGON.draw(rng) * path.distance,
        _ => REFUSAL.draw(rng) * path.distance,
    };
    (ms * MILLISECOND) as u64
}

fn success(kind: ServerKind, path: Path, rng: &mut Rng) -> f64 {
    let body = match kind {
        ServerKind::Files => LogNormal::new(28.0, 0.55),
        ServerKind::Nas => LogNormal::new(60.0, 0.6),
        ServerKind::Print => LogNormal::new(110.0, 0.5),
        ServerKind::Dav => LogNormal::new(260.0, 0.5),
    };
    // Drawn whether they count or not, so that one's outcome moves no other draw.
    let body = body.draw(rng) * path.distance * (1.0 + path.load);
    let contact = FIRST_CONTACT.draw(rng) * path.distance;
    let tail = TAIL.draw(rng);
    let contact = if path.first { contact } else { 0.0 };
    let tail = if rng.happens(TAIL_SHARE) { tail } else { 0.0 };
    body + contact + tail
}

/// Until a user has filled in a prompt, in nanoseconds.
pub(super) fn prompt(rng: &mut Rng) -> u64 {
    (PROMPT.draw(rng).min(90_000.0) * MILLISECOND) as u64
}

/// A connect that Windows puts off: nobody is contacted.
pub(super) fn deferred(rng: &mut Rng) -> u64 {
    (LOCAL_REFUSAL.draw(rng) * MILLISECOND) as u64
}

/// A share whose server is gone: about 20 seconds, what Windows' redirector and name resolution
/// wait for together.
pub(super) fn dead_share(rng: &mut Rng) -> u64 {
    (rng.between(19_600.0, 21_800.0) * MILLISECOND) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nearest_rank;

    fn path(kind: ServerKind) -> Path {
        Path { server: Some(kind), first: false, distance: 1.0, load: 0.0 }
    }

    /// Milliseconds at a share of 10,000 sorted draws.
    fn quantile(status: u32, path: Path, share: f64) -> f64 {
        let mut rng = Rng::of(&[3]);
        let mut draws: Vec<u64> = (0..10_000).map(|_| draw(status, path, &mut rng)).collect();
        draws.sort_unstable();
        nearest_rank(draws.into_iter().map(|nanos| (nanos, 1)), share) as f64 / MILLISECOND
    }

    #[test]
    fn successes_are_quick_with_a_long_tail() {
        let files = path(ServerKind::Files);
        assert!((20.0..40.0).contains(&quantile(0, files, 0.5)));
        assert!(quantile(0, files, 0.95) < 150.0);
        assert!(quantile(0, files, 0.995) > 500.0);
    }

    #[test]
    fn the_first_contact_and_a_busy_server_take_longer() {
        let usual = quantile(0, path(ServerKind::Files), 0.5);
        let first = Path { first: true, ..path(ServerKind::Files) };
        assert!(quantile(0, first, 0.5) > usual + 30.0);
        let busy = Path { load: 1.0, ..path(ServerKind::Files) };
        assert!(quantile(0, busy, 0.5) > usual * 1.8);
    }

    #[test]
    fn a_dead_share_costs_about_twenty_seconds() {
        for code in [53, 1203] {
            assert!(quantile(code, path(ServerKind::Files), 0.0) > 19_000.0);
            assert!(quantile(code, path(ServerKind::Files), 0.999) < 22_000.0);
        }
    }
}
