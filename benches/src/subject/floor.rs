//! The floor: the least that any library could do. For an operation that is two clock reads and two
//! sends, with nothing recorded; for the first of a process, a file of a ledger's size that a thread
//! makes.

#![allow(unsafe_code)] // This file meets shared memory.

use super::{Subject, check};
use crate::Result;
use crossbeam_channel::{Receiver, Sender, bounded};
use mpr_otel_core::ledger::{FILE_SIZE, SLOT_SIZE};
use mpr_otel_core::platform;
use std::fs::OpenOptions;
use std::hint::black_box;
use std::path::Path;
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

/// Makes a file of a ledger's size on a thread: created, locked, sized, mapped, its header and a slot
/// touched. Waits for it. Both stay until the process ends.
pub fn file_on_a_thread(path: &Path) -> Result<()> {
    let path = path.to_path_buf();
    let birth = std::thread::spawn(move || -> std::io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.try_lock()?;
        platform::allocate(&file, FILE_SIZE as u64)?;
        let memory = memmap2::MmapOptions::new().len(FILE_SIZE).map_raw(&file)?;
        for place in [0, FILE_SIZE - SLOT_SIZE] {
            let byte = memory.as_mut_ptr().wrapping_add(place);
            // SAFETY: within the mapping, which is writable and nobody else's.
            unsafe { byte.write_volatile(1) };
        }
        std::mem::forget((file, memory));
        Ok(())
    });
    Ok(birth.join().map_err(|_| "the thread panicked")??)
}
