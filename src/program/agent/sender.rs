//! Sends what is in the store.

use super::telemetry::Export;
use crate::guard::may_have_secrets;
use crate::store::{Key, Store, StoreError, Stored};
use mpr_otel_core::clock;
use mpr_otel_core::courier::{Cause, Courier, Suspects, Verdict};
use mpr_otel_core::ledger::Loss;
use mpr_otel_core::privacy::Privacy;
use mpr_otel_core::settings::Settings;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The way from the store to the collector.
#[derive(Debug)]
pub(crate) struct Sender {
    store: Arc<Store>,
    courier: Courier,
    privacy: Privacy,
    batch_max: usize,
    /// Records that were sent and may or may not have arrived.
    unanswered: HashSet<Key>,
    suspects: Suspects<Key>,
}

/// The result of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// There is nothing to send.
    Nothing,
    /// A batch was taken, except for spans that were refused for good. The next batch may follow at
    /// once.
    Batch {
        /// Spans that were taken.
        exported: u64,
        /// Spans that were refused for good.
        rejected: u64,
    },
    /// Nothing may be sent before this time has passed: the collector did not take the last batch,
    /// or has just come back.
    Later(Duration),
}

impl Sender {
    pub(crate) fn new(store: Arc<Store>, settings: &Settings) -> Self {
        Self {
            store,
            courier: Courier::new(settings.clone()).of_agent(may_have_secrets),
            privacy: Privacy::of(settings),
            batch_max: settings.batch_max,
            unanswered: HashSet::new(),
            suspects: Suspects::default(),
        }
    }

    /// Why the collector did not take the last batch; `None` if it did.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.courier.trouble()
    }

    /// Whether the collector takes an empty batch. If it does, its failure at another batch is
    /// about that batch.
    pub(crate) fn takes_empty_batches(&mut self) -> bool {
        self.courier.takes_empty_batches()
    }

    /// Sends one batch if it is due. Takes no longer than a request may.
    pub(crate) fn send(&mut self) -> Result<Sent, StoreError> {
        let wait = self.courier.wait();
        if !wait.is_zero() {
            return Ok(Sent::Later(wait));
        }
        let trial = self.suspects.on_trial();
        let batch = self.next(trial)?;
        let (mut keys, mut spans, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for (key, stored) in batch {
            match stored.span(&self.privacy) {
                Some(span) => {
                    keys.push(key);
                    spans.push(span);
                }
                None => unreadable.push(key),
            }
        }
        if !unreadable.is_empty() {
            self.store.give_up(&unreadable, Loss::Corrupt.name())?;
        }
        let count = spans.len() as u64;
        if count == 0 {
            // The operation on trial was given up meanwhile.
            self.suspects.forget(trial.as_slice());
            return Ok(match (trial, unreadable.len()) {
                (None, 0) => Sent::Nothing,
                _ => Sent::Batch { exported: 0, rejected: 0 },
            });
        }
        let export = Export::begin(count);
        let verdict = self.courier.send(spans);
        let verdict = self.suspects.weigh(&mut self.courier, &keys, verdict);
        export.end(&verdict);
        let rejected = match verdict {
            Verdict::Accepted { rejected, .. } => rejected,
            Verdict::Refused { .. } => count,
            Verdict::Divide { .. } => return Ok(Sent::Batch { exported: 0, rejected: 0 }),
            Verdict::Later { cause, .. } => {
                if cause == Cause::Silence {
                    self.unanswered.extend(keys);
                }
                return Ok(Sent::Later(self.courier.wait()));
            }
        };
        let repeated = keys.iter().filter(|key| self.unanswered.remove(*key)).count() as u64;
        let now = clock::unix_nanos(SystemTime::now());
        self.store.settle(&keys, (rejected, repeated), now)?;
        Ok(Sent::Batch { exported: count - rejected, rejected })
    }

    /// What to send next: the span on trial, or else the next spans that are not suspected, or else
    /// the suspects.
    fn next(&mut self, trial: Option<Key>) -> Result<Vec<(Key, Stored)>, StoreError> {
        if let Some(key) = trial {
            return Ok(self.store.get(key)?.into_iter().collect());
        }
        let limit = self.batch_max.min(self.courier.at_most());
        let batch = self.store.batch(limit, self.suspects.passed_over())?;
        if batch.is_empty() && !self.suspects.passed_over().is_empty() {
            return self.store.batch(1, &[]);
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Bounds;
    use crate::store::tests::{round, taken_of};
    use mpr_otel_core::settings::{Compression, System};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    /// Answers a request with 500 if it contains the poisoned span, and otherwise with 200.
    fn serve(connection: TcpStream) -> std::io::Result<()> {
        let mut requests = BufReader::new(connection.try_clone()?);
        loop {
            let (mut length, mut line) = (0, String::new());
            while line != "\r\n" {
                line.clear();
                if requests.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                let header = line.to_ascii_lowercase();
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            requests.read_exact(&mut body)?;
            let is_poisoned = body.windows(6).any(|part| part == b"poison");
            let status = if is_poisoned { 500 } else { 200 };
            write!(&connection, "HTTP/1.1 {status} \r\ncontent-length: 0\r\n\r\n")?;
        }
    }

    /// A sender to a collector that fails at one of three spans.
    fn with_a_poisoned_span(folder: &std::path::Path) -> (Arc<Store>, Sender) {
        let bounds = Bounds { bytes: 0, age: Duration::ZERO };
        let store = Arc::new(Store::at(folder.join("store.redb"), bounds));
        store.open().unwrap();
        let taken =
            ["poison", "projects", "home"].into_iter().enumerate().map(|(number, share)| {
                taken_of("owner", number as u64, &format!(r"\\files01\{share}"))
            });
        store.take_in(&round(taken.collect()), 1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut settings = Settings::resolve(&System::host());
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        (settings.endpoint, settings.compression) = (endpoint.parse().ok(), Compression::None);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                thread::spawn(move || serve(connection));
            }
        });
        let sender = Sender::new(Arc::clone(&store), &settings);
        (store, sender)
    }

    /// Sends until this many operations are left in the store.
    fn send_until(sender: &mut Sender, store: &Store, pending: u64) {
        for _ in 0..100 {
            if store.counts().unwrap().pending() == pending {
                return;
            }
            if let Sent::Later(wait) = sender.send().unwrap() {
                thread::sleep(wait);
            }
        }
        panic!("a hundred rounds, and {:?}", store.counts().unwrap());
    }

    #[test]
    fn a_span_at_which_the_collector_fails_is_refused_after_the_others_were_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut sender) = with_a_poisoned_span(folder.path());
        send_until(&mut sender, &store, 0);
        let counts = store.counts().unwrap();
        assert_eq!((counts.exported(), counts.lost()["rejected"]), (2, 1));
        assert_eq!(sender.suspects.passed_over(), []);
    }

    #[test]
    fn a_span_that_is_given_up_before_its_trial_is_counted_once_and_delays_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut sender) = with_a_poisoned_span(folder.path());
        let poisoned = store.batch(1, &[]).unwrap()[0].0;
        send_until(&mut sender, &store, 2);
        assert_eq!(sender.suspects.on_trial(), Some(poisoned));
        store.give_up(&[poisoned], Loss::Expired.name()).unwrap();
        store.take_in(&round(vec![taken_of("owner", 4, r"\\files01\later")]), 2).unwrap();
        send_until(&mut sender, &store, 0);
        let counts = store.counts().unwrap();
        assert_eq!((counts.exported(), counts.lost()["expired"]), (3, 1));
        assert_eq!((sender.suspects.on_trial(), sender.suspects.passed_over()), (None, &[][..]));
    }
}
