//! The real gateway below its links: what devices send goes in, what it has for them comes out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use firmware_protocols::command::Command;
use firmware_protocols::topic::Channel;
use firmware_protocols::{Order, Receipt};
use linli::clock::Clock;
use linli::daemon::{Opened, open};
use linli::disk::Disk;
use linli::intake::Answer;
use linli::journal::{Weakness, Work};
use linli::links::ToDevice;
use linli::pace::{Limits, Pace};

use crate::mark::NewEvent;
use crate::site::{ident, layout, settings};

/// A running gateway.
pub struct Gateway {
    pub opened: Opened,
    pub clock: Clock,
}

/// What the gateway has for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Open {
        bank: String,
        compartment: u16,
        id: String,
    },
    Other {
        id: String,
    },
    Receipt {
        device: String,
        boot: u32,
        seq: u64,
    },
}

impl Gateway {
    /// The real start-up, at a time.
    pub fn open(state: &Path, wall_ms: i64, weakness: Option<Weakness>) -> anyhow::Result<Self> {
        let clock = Clock::by_hand(wall_ms);
        let pace = Arc::new(Pace::new(Limits::NONE, []));
        let opened = open(
            state,
            &layout(),
            settings(weakness),
            &clock,
            &pace,
            &Disk::new(clock.clone()),
        )?;
        Ok(Self { opened, clock })
    }

    /// Resolves once everything before is done and the estate has been told the time.
    pub async fn settled(&self) {
        use linli::cloud::Ledger as _;
        let done = self.opened.ledger.downlink(Vec::new()).await;
        done.expect("nothing to take is always taken");
    }

    /// What there is for the devices.
    pub fn heard(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while let Ok(message) = self.opened.from_journal.try_recv() {
            heard.push(Heard::of(&message));
        }
        heard
    }

    /// Stops in order.
    pub async fn stop(self) {
        let inbox = self.opened.journal.inbox.clone();
        let stopping = self.opened.journal.stop();
        tokio::pin!(stopping);
        loop {
            tokio::select! {
                () = &mut stopping => return,
                () = tokio::time::sleep(Duration::from_millis(1)) => {
                    // It looks up when there is something to do.
                    inbox.submit(Work::CommandSent { command: "none".to_owned() });
                }
            }
        }
    }
}

impl Heard {
    /// Reads a message as the device does.
    pub fn of(message: &ToDevice) -> Self {
        let device = message.device.to_string();
        match message.channel {
            Channel::Command => {
                let Command { id, order, .. } =
                    Command::decode(&message.payload).expect("our own command");
                match order {
                    Order::Open { compartment } => Self::Open {
                        bank: device,
                        compartment,
                        id,
                    },
                    _ => Self::Other { id },
                }
            }
            Channel::Receipt => {
                let Receipt { boot, seq } =
                    Receipt::decode(&message.payload).expect("our own receipt");
                Self::Receipt { device, boot, seq }
            }
            other => panic!("nothing goes to a device on {}", other.name()),
        }
    }
}

/// Sends events of one device in one payload.
pub async fn send(gateway: &linli::intake::Intake, events: &[NewEvent], now_ms: i64) -> Answer {
    let Some(first) = events.first() else {
        return Answer::Taken;
    };
    let one = |event: &NewEvent| {
        let age = (now_ms - event.at_ms).max(0);
        let NewEvent {
            boot,
            seq,
            kind,
            body,
            ..
        } = event;
        let comma = if body.is_empty() { "" } else { "," };
        format!("{{\"boot\":{boot},\"seq\":{seq},\"age\":{age},\"kind\":\"{kind}\"{comma}{body}}}")
    };
    let payload = match events {
        [event] => one(event),
        several => {
            let all: Vec<_> = several.iter().map(one).collect();
            format!("[{}]", all.join(","))
        }
    };
    gateway
        .events(&ident(&first.device), payload.into_bytes().into())
        .await
}
