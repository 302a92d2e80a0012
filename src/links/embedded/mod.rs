//! The embedded MQTT broker: PUBACK means 'on disk'.
//!
//! ```text
//!  device ──TCP──▶ door, admission ──▶ session ──▶ publications ──▶ intake (awaited before PUBACK)
//!                  strict CONNECT,     one task,    whose topic,     events, quarantine, presence
//!                  login, limits       window       what answer
//!  device ◀─────────────────────────── session ◀── mailbox ◀── roster ◀── outbound: commands, receipts
//! ```
//!
//! * `door` and `admission` accept, read the CONNECT strictly, check the password or the certificate.
//! * `tls` and `handshake` come before them where a device speaks TLS; `stream` is the same for both.
//! * `session` is one client that is in; `wire` gives it the packets of both versions as one, read and
//!   written by the codec of the `rmqtt` project.
//! * `publications` are the rules: what a publication leads to, and what it gets.
//! * `mailbox` holds what waits for a device, `retained` the last status of each.
//!
//! No session outlives its connection: 'session present' is always 0, a device subscribes again
//! when it connects, and nothing is queued for a device that isn't there. What a device must not
//! miss it hears again: receipts are cumulative, commands have an expiry.
//!
//! Invariants: an event is acknowledged only after [`DeviceIntake::events`] said so, and is neither
//! forwarded, queued nor retained here. A device's link is only ever replaced by one that logged in
//! as the same device.

mod admission;
mod answers;
mod certificate;
mod clients;
mod connect;
mod door;
mod handshake;
mod knock;
pub mod limits;
mod mailbox;
mod pairing;
mod publications;
mod retained;
mod roster;
mod session;
mod stream;
mod tls;
mod wire;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use firmware_protocols::Ident;
use tokio::sync::{mpsc, oneshot, watch};

use crate::credentials::Credentials;
use crate::knocks::Knocks;
use crate::links::mapped::Mapped;
use crate::links::{DeviceIntake, ToDevice};
use crate::pace::{Limits, Pace};

pub use clients::{Admitted, Clients};
pub use pairing::{Came, News, PASSWORD_MIN_BYTES, Pairing, Window};
pub use roster::Roster;
pub use tls::{TlsAt, TlsError, TlsHouse, TlsListener};

/// The reader of a client's first packet by itself, for the fuzz targets: it is the first that bytes
/// from the network meet.
#[doc(hidden)]
pub mod first_packet {
    pub use super::admission::read_packet;
    pub use super::connect::{Bad, Connect, Version, Will, parse};
}

/// The packets of a client that is in, read and written by themselves, for the fuzz targets.
#[doc(hidden)]
pub mod packets {
    pub use super::wire::{
        AckReason, Filter, Heard, Message, Options, Out, QoS, Reason, SubReason, Wire,
    };
}

/// How the broker is set up.
#[derive(Clone)]
pub struct EmbeddedBroker {
    /// Where it listens. Port 0 takes any free port.
    pub listen: Vec<SocketAddr>,
    /// A listener for MQTT over TLS beside them, if there is one.
    pub tls: Option<TlsAt>,
    /// Who may log in.
    pub clients: Arc<Clients>,
    /// How many clients may be logged in, or waiting for their password to be checked.
    pub connections_max: usize,
    /// How many clients may be connected that haven't sent their CONNECT yet, and as many over TLS. Past
    /// that, the oldest makes room for the next.
    pub waiting_max: usize,
    /// How long a client has for its CONNECT, and before it for the handshake of TLS.
    pub connect_timeout: Duration,
    /// How much each device may send. A connection whose device has used that up is read no
    /// faster; whoever takes the events charges them ([`DeviceIntake::events`]).
    pub pace: Arc<Pace>,
    /// Who knocked and wasn't let in.
    pub knocks: Knocks,
    /// Where a device is waited for.
    pub pairing: Pairing,
    /// The devices of other makers.
    pub mapped: Arc<Mapped>,
}

impl EmbeddedBroker {
    /// The defaults: any address, port 1883, 1,200 clients, 512 waiting, 5 seconds for a CONNECT,
    /// nobody without a password, no limit to what a device may send.
    pub fn new(devices: impl IntoIterator<Item = Ident>) -> Self {
        let devices: HashSet<Ident> = devices.into_iter().collect();
        Self {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 1883))],
            tls: None,
            pace: Arc::new(Pace::new(Limits::NONE, devices.iter().cloned())),
            clients: Arc::new(Clients::new(Admitted {
                devices,
                ..Admitted::default()
            })),
            mapped: Arc::default(),
            connections_max: 1200,
            waiting_max: 512,
            connect_timeout: Duration::from_secs(5),
            knocks: Knocks::default(),
            pairing: Pairing::default(),
        }
    }
}

/// What the tasks of one broker share.
struct Shared {
    clients: Arc<Clients>,
    credentials: Arc<Credentials>,
    intake: Arc<dyn DeviceIntake>,
    roster: Arc<Roster>,
    retained: retained::LastStatus,
    pace: Arc<Pace>,
    knocks: Knocks,
    pairing: Pairing,
    mapped: Arc<Mapped>,
}

impl Shared {
    async fn foreign(&self, device: &Ident, topic: &str, payload: &Bytes) {
        let mut end = topic.len().min(limits::FOREIGN_TOPIC_MAX_BYTES);
        while !topic.is_char_boundary(end) {
            end -= 1;
        }
        let payload = payload.slice(..payload.len().min(limits::FOREIGN_PAYLOAD_MAX_BYTES));
        self.intake.foreign(device, &topic[..end], payload).await;
    }
}

/// Runs the broker until `shutdown` becomes true (or its sender is gone). `ready` gets the
/// addresses it listens on, in the order of [`EmbeddedBroker::listen`], and after them that of TLS.
///
/// What comes from `outbound` is sent at QoS 1 to the device if that is connected and has
/// subscribed, else dropped. When `outbound` ends, the broker goes on without.
///
/// On shutdown it stops accepting and taking, answers the publications whose commit is under way
/// (if that takes no more than 5 seconds), and closes every connection.
///
/// # Errors
/// A listener can't be bound, or the list of addresses is empty.
pub async fn serve(
    config: EmbeddedBroker,
    credentials: Arc<Credentials>,
    intake: Arc<dyn DeviceIntake>,
    roster: Arc<Roster>,
    mut outbound: mpsc::Receiver<ToDevice>,
    mut shutdown: watch::Receiver<bool>,
    ready: oneshot::Sender<Vec<SocketAddr>>,
) -> Result<()> {
    if config.listen.is_empty() {
        bail!(
            "the broker has no address to listen on; give it one, as in listen = [\"0.0.0.0:1883\"]"
        );
    }
    let listeners = door::bind(&config)?;
    let shared = Arc::new(Shared {
        clients: Arc::clone(&config.clients),
        credentials,
        intake,
        roster,
        retained: retained::LastStatus::default(),
        pace: Arc::clone(&config.pace),
        knocks: config.knocks.clone(),
        pairing: config.pairing.clone(),
        mapped: Arc::clone(&config.mapped),
    });
    let addresses = listeners
        .iter()
        .map(door::Listener::address)
        .collect::<Result<_, _>>()?;
    let door = door::Door::open(listeners, &config, &shared);
    let _ = ready.send(addresses);

    let mut open = true;
    loop {
        tokio::select! {
            message = outbound.recv(), if open => match message {
                Some(message) => {
                    let opens = message.open.clone();
                    if shared.roster.deliver(message)
                        && let Some(command) = opens
                    {
                        shared.intake.command_sent(command);
                    }
                }
                None => open = false,
            },
            () = door::stopping(&mut shutdown) => break,
        }
    }
    door.close().await;
    Ok(())
}

/// Reads a status payload: `Some(true)` for `online`, `Some(false)` for `offline`.
fn status(payload: &[u8]) -> Option<bool> {
    match payload {
        b"online" => Some(true),
        b"offline" => Some(false),
        _ => None,
    }
}
