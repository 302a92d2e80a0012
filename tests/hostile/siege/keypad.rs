//! A bank with a parcel in it, and a resident who types the code again and again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cloud_protocol::downlink::{ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::{Downlink, badge_digest};
use firmware_protocols::event::{Done, Door, Event, Secret, When};
use firmware_protocols::{Command, Form, Kind, Order, event};
use reference_cloud::Cloud;

use super::attack;
use crate::common::wait_until;
use crate::embedded::{Client, Packet, Version, ident, publish_with};

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

    /// Lets a courier bring one parcel; returns its code.
    pub async fn deposit(&mut self, cloud: &Cloud) -> Secret {
        let gateway = ident("test-site");
        let courier = Downlink::Courier {
            courier: "c-1".to_owned(),
            proof: Proof::Badge(badge_digest("badge-1")),
            valid_until: 4_000_000_000_000,
        };
        cloud.push(&gateway, &courier).await.unwrap();
        let parcel = ExpectedParcel {
            parcel: "p-1".to_owned(),
            recipient: "r-1".to_owned(),
            size: Size::S,
            zone: Zone::Ambient,
            point: ident("bank-a"),
            deadline: 4_000_000_000_000,
            consent: true,
            items: None,
            low: false,
            return_of: None,
        };
        cloud.announce(&gateway, &parcel).await.unwrap();
        let code = wait_until("the code to reach the cloud", async || {
            cloud.codes(&gateway).await.unwrap().remove("p-1")
        })
        .await;
        for symbol in ["badge-1", "p-1"] {
            let symbol = Secret::new(symbol);
            self.say(Kind::Scan { symbol }).await;
        }
        let (command, compartment) = self.opened().await;
        self.hand_over(command, compartment).await;
        Secret::new(code.reveal())
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

    /// Door open, door closed on a parcel that is still there: the code stays good.
    async fn hand_over(&mut self, command: String, compartment: u16) {
        let done = Kind::Result {
            command,
            outcome: Done::Done,
            reason: None,
        };
        self.say(done).await;
        for door in [Door::Open, Door::Closed] {
            self.say(Kind::Compartment {
                compartment,
                door,
                occupied: Some(true),
            })
            .await;
        }
        while self.unacknowledged > 0 {
            self.hear().await;
        }
    }

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

    /// The next command to open, with its compartment.
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

/// The PUBACK of a publication.
fn acknowledgement(publish: &Packet) -> Vec<u8> {
    let topic = usize::from(u16::from_be_bytes([publish.body[0], publish.body[1]]));
    vec![0x40, 2, publish.body[2 + topic], publish.body[3 + topic]]
}
