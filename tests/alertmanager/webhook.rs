//! What takes the notifications of a test's Alertmanager: its two webhooks, on a free port.

use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

/// A notification as it arrived.
#[derive(Debug)]
pub struct Notification {
    /// The receiver that it was for.
    pub receiver: String,
    /// What the configuration makes of title and text.
    pub title: String,
    pub text: String,
}

/// Takes all notifications. Its threads end with the process.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    notifications: mpsc::Receiver<Notification>,
}

impl Webhook {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, notifications) = mpsc::channel();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (connection, sender) = (connection.unwrap(), sender.clone());
                // A connection ends with the Alertmanager that made it.
                thread::spawn(move || serve(connection, &sender));
            }
        });
        Self { address, notifications }
    }

    /// The address of one receiver's webhook.
    pub fn url(&self, receiver: &str) -> String {
        format!("http://{}/{receiver}", self.address)
    }

    /// The notifications since the last call.
    pub fn arrived(&self) -> Vec<Notification> {
        self.notifications.try_iter().collect()
    }
}

fn serve(connection: TcpStream, sender: &mpsc::Sender<Notification>) -> io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut writer = connection;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body: Value = serde_json::from_slice(&body)?;
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let receiver = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        let receiver = receiver.to_owned();
        let notification = Notification { receiver, title: text("title"), text: text("text") };
        // Nobody may be listening any more: the test is over.
        let _ = sender.send(notification);
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}
