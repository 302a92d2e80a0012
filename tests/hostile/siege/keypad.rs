//! A bank with a parcel in it, and a resident who types the code again and again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use firmware_protocols::event::{Event, Secret, When};
use firmware_protocols::{Command, Form, Kind, Order, event};

use super::attack;
use crate::controller::Controller;
use crate::embedded::{Client, Packet, Version, publish_with};

const EVENT: &[u8] = b"linli/v1/bank-a/event";

/// The bank's controller.
pub struct Keypad {
    client: Client,
    pub seq: u64,
    unacknowledged: u32,
}

impl Keypad {
    /// `seq`: its last event.
    pub async fn connect(address: SocketAddr, seq: u64) -> Self {
        let stream = attack::login(address, None, "bank-a", None).await;
        let mut client = Client {
            stream: stream.expect("the keypad isn't let in"),
        };
        let code = client
            .subscribe(Version::V5, "linli/v1/bank-a/command")
            .await;
        assert_eq!(code, 1);
        Self {
            client,
            seq,
            unacknowledged: 0,
        }
    }

    /// From the key press to the open command.
    pub async fn press(&mut self, code: &Secret) -> Duration {
        let from = Instant::now();
        let code = code.clone();
        self.say(Kind::Keypad { code, opened: None }).await;
        let (command, compartment) = self.opened().await;
        let took = from.elapsed();
        self.hand_over(command, compartment).await;
        took
    }

    /// The next packet; what it carries, if it is a command.
    async fn hear(&mut self) -> Option<Vec<u8>> {
        let packet = self.client.packet().await.expect("the keypad was cut off");
        match packet.kind() {
            3 => {
                let (_, payload) = packet.message(Version::V5);
                self.client.send(&acknowledgement(&packet)).await;
                Some(payload)
            }
            4 => {
                assert_eq!(packet.puback_code(), 0);
                self.unacknowledged -= 1;
                None
            }
            _ => panic!("unexpected: {packet:?}"),
        }
    }
}

impl Controller for Keypad {
    async fn say(&mut self, kind: Kind) {
        self.seq += 1;
        let event = Event {
            boot: 1,
            seq: self.seq,
            when: When::Unsaid,
            kind,
        };
        let payload = event::encode(&[event], Form::Cbor);
        let id = u16::try_from(self.seq % 60_000).unwrap() + 1;
        let packet = publish_with(Version::V5, EVENT, 0x32, id, &[], &payload);
        self.unacknowledged += 1;
        self.client.send(&packet).await;
    }

    async fn opened(&mut self) -> (String, u16) {
        loop {
            let Some(payload) = self.hear().await else {
                continue;
            };
            let command = Command::decode(&payload).unwrap();
            if let Order::Open { compartment } = command.order {
                return (command.id, compartment);
            }
        }
    }

    async fn settle(&mut self) {
        while self.unacknowledged > 0 {
            self.hear().await;
        }
    }
}

/// The PUBACK of a publication.
fn acknowledgement(publish: &Packet) -> Vec<u8> {
    let topic = usize::from(u16::from_be_bytes([publish.body[0], publish.body[1]]));
    vec![0x40, 2, publish.body[2 + topic], publish.body[3 + topic]]
}
