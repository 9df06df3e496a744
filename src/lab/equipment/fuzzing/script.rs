//! How random bytes become damage to a ledger, in few bytes, so that a fuzzer finds its way.
//!
//! One byte says what the first intake does; then come commands of a byte each and what they need:
//!
//! ```text
//! 0..8    slot, u16 offset, u8 count, bytes     writes the bytes into that slot
//! 8..12   u16 offset, u8 count, bytes           writes the bytes into the header
//! 12, 13  u16 length / 16                       sets the file's length
//! 14, 15                                        what follows comes at the next moment
//! ```
//!
//! of which the lowest four bits count.

use super::IN_REACH;
use mpr_otel_core::ledger::{HEADER_SIZE, SLOT_SIZE};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// When something happens to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The host is dead, and nobody has looked.
    Dead,
    /// An intake has looked and concluded nothing yet.
    Taken,
    /// It has concluded, or died before that.
    Left,
}

const MOMENTS: [Moment; 3] = [Moment::Dead, Moment::Taken, Moment::Left];

#[derive(Debug)]
pub struct Script {
    /// Whether the first intake concludes what it took.
    pub concludes: bool,
    /// Whether the damage reaches beyond the slots.
    pub damages_all: bool,
    damages: Vec<(Moment, Damage)>,
}

#[derive(Debug)]
enum Damage {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(u64),
}

impl Script {
    /// Reads a script, which every sequence of bytes is.
    pub fn read(bytes: &[u8]) -> Self {
        let mut bytes = bytes.iter().copied();
        let mut next = || bytes.next();
        let manner = next().unwrap_or_default();
        let mut damages = Vec::new();
        let mut moments = MOMENTS.into_iter();
        let mut moment = moments.next();
        while let (Some(now), Some(command)) = (moment, next()) {
            let mut number = || u16::from_le_bytes([next(), next()].map(Option::unwrap_or_default));
            match command % 16 {
                tag @ 0..12 => {
                    let at = usize::from(number());
                    let (start, size) = match usize::from(tag) {
                        slot @ 0..IN_REACH => (HEADER_SIZE + slot * SLOT_SIZE, SLOT_SIZE),
                        _ => (0, HEADER_SIZE),
                    };
                    let within = at % size;
                    let count = usize::from(next().unwrap_or_default()).min(size - within);
                    let bytes = (0..count).map_while(|_| next()).collect();
                    damages.push((now, Damage::Write { offset: start + within, bytes }));
                }
                12 | 13 => damages.push((now, Damage::Resize(u64::from(number()) * 16))),
                _ => moment = moments.next(),
            }
        }
        let beyond = |damage: &Damage| match damage {
            Damage::Write { offset, bytes } => *offset < HEADER_SIZE && !bytes.is_empty(),
            Damage::Resize(_) => true,
        };
        Self {
            concludes: manner & 2 != 0,
            damages_all: damages.iter().any(|(_, damage)| beyond(damage)),
            damages,
        }
    }

    /// Writes over a copy of the file, whatever the moment.
    pub fn overwrite(&self, copy: &mut [u8]) {
        for (_, damage) in &self.damages {
            if let Damage::Write { offset, bytes } = damage {
                copy[*offset..*offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }

    /// Does what happens to the file at this moment.
    pub fn play(&self, moment: Moment, file: &File) {
        for (_, damage) in self.damages.iter().filter(|(when, _)| *when == moment) {
            match damage {
                Damage::Write { offset, bytes } => file.write_all_at(bytes, *offset as u64),
                Damage::Resize(length) => file.set_len(*length),
            }
            .unwrap();
        }
    }
}
