//! The floor: two clock reads and two sends, with nothing recorded.

use super::{Subject, check};
use crate::Result;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Instant;

/// 256 bytes: a time and what there is to say.
struct Event {
    _at: Instant,
    _said: [u8; 240],
}

const _: () = assert!(size_of::<Event>() == 256);

/// A channel and the thread that empties it when asked to. It does not wait in the channel: a
/// parked receiver would make every send dearer.
pub struct Floor {
    sender: Sender<Event>,
    drain: Mutex<(mpsc::Sender<()>, mpsc::Receiver<usize>)>,
}

impl Floor {
    /// Starts the thread.
    pub fn start() -> Self {
        let (sender, receiver): (_, Receiver<Event>) = bounded(2 * 1024 + 1);
        let (ask, asked) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut received = 0;
            for () in asked {
                received += receiver.try_iter().count();
                if tell.send(received).is_err() {
                    return;
                }
            }
        });
        Self { sender, drain: Mutex::new((ask, told)) }
    }

    fn send(&self) {
        let event = Event { _at: Instant::now(), _said: black_box([1; 240]) };
        // What does not fit is missed in `settle`.
        let _ = self.sender.try_send(event);
    }
}

impl Subject for Floor {
    fn record(&self, operations: usize) {
        for _ in 0..operations {
            self.send();
            self.send();
        }
    }

    fn settle(&self, recorded: usize) -> Result<()> {
        let drain = self.drain.lock().map_err(|_| "the drain is broken")?;
        drain.0.send(())?;
        check(2 * recorded, drain.1.recv()?)
    }
}
