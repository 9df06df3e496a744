//! Operations under way, recorded as PRE and POST record them in a host.
//!
//! A host has a ledger of its own with a pairing of its own. Here many hosts share one, so that
//! memory follows the operations under way and not the number of hosts; when the slots of one
//! are taken there is another.

use super::curve::SECOND;
use crate::ledger::{Body, KIND_ADD, KIND_CANCEL, Record, SLOT_COUNT};
use crate::pairing::{Open, Pairing};
use crate::wide::WideStr;
use crate::win32_error::{Meaning, meaning};

/// Names an operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    table: usize,
    slot: usize,
}

/// What PRE is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before<'a> {
    pub(super) add: bool,
    pub(super) remote: &'a str,
    pub(super) local: &'a str,
    pub(super) flags: u32,
    pub(super) resource_type: u32,
    pub(super) force: bool,
    pub(super) thread_id: u32,
    /// In nanoseconds after the anchor.
    pub(super) at: u64,
}

/// An operation under way, with what its caller wants to know of it at its end.
#[derive(Debug)]
struct Flight<T> {
    body: Body,
    number: u64,
    note: T,
}

#[derive(Debug)]
struct Table<T> {
    pairing: Pairing,
    slots: Vec<Option<Box<Flight<T>>>>,
    free: Vec<usize>,
    generation: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            pairing: Pairing::default(),
            slots: (0..SLOT_COUNT).map(|_| None).collect(),
            free: (0..SLOT_COUNT).rev().collect(),
            generation: 0,
        }
    }
}

/// As many tables as operations under way need.
#[derive(Debug)]
pub(super) struct Tables<T> {
    tables: Vec<Table<T>>,
    open: usize,
    /// When an open operation is given up, in nanoseconds after its beginning.
    limit: u64,
}

impl<T> Tables<T> {
    /// Tables that give up operations after `limit` nanoseconds.
    pub(super) fn new(limit: u64) -> Self {
        Self { tables: Vec::new(), open: 0, limit: limit.max(SECOND / 1000) }
    }

    /// Operations under way.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// What the caller noted of an operation under way.
    pub(super) fn note(&self, ticket: Ticket) -> Option<&T> {
        let slot = self.tables.get(ticket.table)?.slots.get(ticket.slot)?;
        slot.as_ref().map(|flight| &flight.note)
    }

    /// When an open operation is given up, in nanoseconds after its beginning.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// PRE: an operation begins. `number` is its own in its process.
    pub(super) fn before(&mut self, before: &Before<'_>, number: u64, note: T) -> Ticket {
        let index = match self.tables.iter().position(|table| !table.free.is_empty()) {
            Some(index) => index,
            None => {
                self.tables.push(Table::default());
                self.tables.len() - 1
            }
        };
        let table = &mut self.tables[index];
        // A table that was found has a free slot.
        let slot = table.free.pop().unwrap_or_default();
        table.generation += 1;
        table.slots[slot] = Some(Box::new(Flight { body: record(before), number, note }));
        table.pairing.before(Open { slot, generation: table.generation, started: before.at });
        self.open += 1;
        Ticket { table: index, slot }
    }

    /// POST: the operation ended at `at` with `status`. `None` if it is not open.
    pub(super) fn after(
        &mut self,
        ticket: Ticket,
        status: u32,
        at: u64,
        provider: &str,
    ) -> Option<(Record, T)> {
        let table = self.tables.get_mut(ticket.table)?;
        if !table.pairing.after(ticket.slot) {
            return None;
        }
        let mut flight = self.release(ticket)?;
        flight.body.ended = at;
        flight.body.status = status;
        if meaning(status) == Meaning::Success {
            flight.body.set_provider(WideStr::from_units(&units(provider)));
        }
        Some((Record { unfinished: false, number: flight.number, body: flight.body }, flight.note))
    }

    /// Gives up the operation that has been open for longest, if it has been for too long at
    /// `now`. As in the exporter, that is asked of the pairing.
    pub(super) fn give_up(&mut self, now: u64) -> Option<(Record, T)> {
        let (table, open) = self.tables.iter_mut().enumerate().find_map(|(index, table)| {
            let open = table.pairing.oldest()?;
            (open.started.saturating_add(self.limit) <= now).then_some((index, open))
        })?;
        self.tables[table].pairing.after(open.slot);
        let mut flight = self.release(Ticket { table, slot: open.slot })?;
        flight.body.ended = now;
        Some((Record { unfinished: true, number: flight.number, body: flight.body }, flight.note))
    }

    fn release(&mut self, ticket: Ticket) -> Option<Box<Flight<T>>> {
        let table = &mut self.tables[ticket.table];
        let flight = table.slots[ticket.slot].take()?;
        table.free.push(ticket.slot);
        self.open -= 1;
        Some(flight)
    }
}

fn record(before: &Before<'_>) -> Body {
    let mut body = Body {
        started: before.at,
        ended: 0,
        thread_id: before.thread_id,
        flags: before.flags,
        resource_type: before.resource_type,
        status: 0,
        kind: if before.add { KIND_ADD } else { KIND_CANCEL },
        force: u8::from(before.force),
        truncated: 0,
        sent: 0,
        remote_units: 0,
        local_units: 0,
        provider_units: 0,
        reserved_text: [0; 6],
        text: [0; _],
        rest: [0; 24],
    };
    let (remote, local) = (units(before.remote), units(before.local));
    body.set_names(WideStr::from_units(&remote), WideStr::from_units(&local));
    body
}

/// A name as MPR passes it.
fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Operation, Outcome};

    const LIMIT: u64 = 600 * SECOND;

    fn before(at: u64) -> Before<'static> {
        Before {
            add: true,
            remote: r"\\FILES01.corp.example\projects",
            local: "P:",
            flags: 1,
            resource_type: 1,
            force: false,
            thread_id: 12,
            at,
        }
    }

    #[test]
    fn what_was_scripted_is_what_is_decoded() {
        let mut tables = Tables::new(LIMIT);
        let ticket = tables.before(&before(5), 77, "note");
        assert_eq!(tables.open(), 1);
        let (record, note) = tables.after(ticket, 0, 9, "Some Network").expect("open");
        assert_eq!((note, tables.open()), ("note", 0));
        let operation = Operation::decode(&record).expect("a record");
        assert_eq!((operation.number, operation.started, operation.ended), (77, 5, 9));
        assert_eq!(operation.remote.server.as_deref(), Some("files01.corp.example"));
        assert_eq!(operation.local_name.as_deref(), Some("P:"));
        assert_eq!(operation.provider.as_deref(), Some("Some Network"));
        assert_eq!(tables.after(ticket, 0, 9, "").map(|(_, note)| note), None);
    }

    #[test]
    fn what_does_not_end_is_given_up_at_the_limit() {
        let mut tables = Tables::new(LIMIT);
        let first = tables.before(&before(5), 0, "first");
        tables.before(&before(7), 1, "second");
        assert!(tables.give_up(4 + LIMIT).is_none());
        assert!(tables.after(first, 0, 9, "").is_some());
        assert!(tables.give_up(6 + LIMIT).is_none());
        let (record, note) = tables.give_up(7 + LIMIT).expect("overdue");
        assert_eq!(note, "second");
        let operation = Operation::decode(&record).expect("a record");
        assert_eq!(operation.outcome, Outcome::Unfinished);
        assert_eq!(operation.ended - operation.started, LIMIT);
        assert_eq!(tables.open(), 0);
    }

    #[test]
    fn memory_follows_what_is_under_way() {
        let mut tables = Tables::new(LIMIT);
        for round in 0..10_000 {
            let ticket = tables.before(&before(round), round, ());
            assert!(tables.after(ticket, 0, round, "").is_some());
        }
        assert_eq!(tables.tables.len(), 1);
        let tickets: Vec<Ticket> =
            (0..3_000).map(|number| tables.before(&before(1), number, ())).collect();
        assert_eq!((tables.tables.len(), tables.open()), (3, 3_000));
        for ticket in tickets {
            assert!(tables.after(ticket, 0, 2, "").is_some());
        }
        assert_eq!(tables.open(), 0);
    }
}
