//! A collector that goes away, is busy, slow or absent-minded, and writes down all it gets.

use crate::book::Book;
use crate::chance::Chance;
use mpr_otel_lab::equipment::stage::received;
use mpr_otel_lab::receiver::{Answer, Behaviour, Receiver, Request, Stream};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// How the collector is disposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything.
    Good,
    /// It takes everything and says so after this many milliseconds: in time, or too late.
    Slow(u64),
    /// It takes everything, and its answer breaks off.
    BreaksOff,
    /// It takes nothing, says so with this status, and asks to come again after some seconds.
    Busy(u16, Option<u8>),
    /// It closes connections without a word.
    Closes,
    /// It does not listen.
    Away,
}

impl Mood {
    /// A bad one.
    pub fn bad(chance: &mut Chance) -> Self {
        match chance.below(7) {
            0 => Self::Slow(chance.of(&[20, 80, 400])),
            1 | 2 => Self::BreaksOff,
            3 => Self::Busy(503, None),
            4 => Self::Busy(429, Some(chance.of(&[0, 0, 1]))),
            5 => Self::Closes,
            _ => Self::Away,
        }
    }

    fn takes(self) -> bool {
        matches!(self, Self::Good | Self::Slow(_) | Self::BreaksOff)
    }
}

/// The collector, at the same address whether it listens or not.
pub struct Collector {
    desk: Arc<Desk>,
    address: SocketAddr,
    receiver: Option<Receiver>,
}

struct Desk {
    mood: Mutex<Mood>,
    book: Mutex<Book>,
}

impl Collector {
    pub fn new() -> Self {
        // An address that nobody else's port is at: this one is free whenever it is wanted again.
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 77, high, low);
        let listener = TcpListener::bind((address, 0)).unwrap();
        let desk = Arc::new(Desk { mood: Mutex::new(Mood::Good), book: Mutex::default() });
        let address = listener.local_addr().unwrap();
        let receiver = Some(Receiver::serving(listener, Clerk(desk.clone())).unwrap());
        Self { desk, address, receiver }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how it is disposed.
    pub fn be(&mut self, mood: Mood) {
        *self.desk.mood.lock().unwrap() = mood;
        match (mood, self.receiver.take()) {
            (Mood::Away, Some(receiver)) => receiver.close().unwrap(),
            (Mood::Away, None) => {}
            (_, Some(receiver)) => self.receiver = Some(receiver),
            (_, None) => {
                let listener = TcpListener::bind(self.address).unwrap();
                let clerk = Clerk(self.desk.clone());
                self.receiver = Some(Receiver::serving(listener, clerk).unwrap());
            }
        }
        // What is written in the book is enough.
        if let Some(receiver) = &self.receiver {
            receiver.requests().try_iter().for_each(drop);
            receiver.metrics().try_iter().for_each(drop);
        }
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.desk.book.lock().unwrap()
    }
}

/// Answers requests.
struct Clerk(Arc<Desk>);

impl Behaviour for Clerk {
    fn answer(&self, request: &Request, connection: &mut dyn Stream) -> Option<Answer> {
        let mood = *self.0.mood.lock().unwrap();
        let spans = received(request.clone());
        let mut book = self.0.book.lock().unwrap();
        spans.iter().for_each(|span| book.send(span, mood.takes()));
        drop(book);
        match mood {
            Mood::Good => Some(Answer::ok()),
            Mood::Slow(ms) => {
                thread::sleep(Duration::from_millis(ms));
                Some(Answer::ok())
            }
            Mood::Busy(status, None) => Some(Answer::status(status)),
            Mood::Busy(status, Some(after)) => {
                Some(Answer::status(status).header("retry-after", &after.to_string()))
            }
            Mood::BreaksOff => {
                // The client may be dead.
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
                None
            }
            Mood::Closes | Mood::Away => None,
        }
    }
}
