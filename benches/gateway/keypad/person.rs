//! The person at a locker bank, as a real MQTT client that is both keypad and doors.

use std::time::{Duration, Instant};

use firmware_protocols::event::{Event, Secret, When};
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Form, Ident, Kind, Order, event};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::Packet;
use rumqttc::{AsyncClient, Broker, MqttOptions, NetworkOptions, PublishOptions};
use tokio::sync::{mpsc, watch};

use crate::common::{PATIENCE, Setup, ident};
use crate::controller::Controller;

/// Whoever stands at the bank, and the bank itself, over one connection.
pub struct Keypad {
    client: AsyncClient,
    inbox: mpsc::Receiver<(String, Vec<u8>)>,
    device: Ident,
    boot: u32,
    seq: u64,
    published: u64,
    acks: watch::Receiver<u64>,
}

impl Keypad {
    /// Connects the bank in its start number `boot`.
    pub async fn connect(setup: &Setup, boot: u32) -> Self {
        let address = setup.address();
        let broker = Broker::tcp(address.ip().to_string(), address.port());
        let mut options = MqttOptions::new("bank-a", broker);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (client, mut events) = AsyncClient::builder(options).capacity(64).build();
        let (taken, inbox) = mpsc::channel(64);
        let (acknowledged, acks) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok(event) = events.poll().await {
                if let rumqttc::Event::Incoming(Packet::PubAck(_)) = &event {
                    acknowledged.send_modify(|n| *n += 1);
                }
                if let rumqttc::Event::Incoming(Packet::Publish(publish)) = event {
                    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                    if taken.send((topic, publish.payload.to_vec())).await.is_err() {
                        return;
                    }
                }
            }
        });
        let device = ident("bank-a");
        for channel in [Channel::Command, Channel::Status] {
            let topic = channel.topic(&device);
            client.subscribe(topic, QoS::AtLeastOnce).await.unwrap();
        }
        Self {
            client,
            inbox,
            device,
            boot,
            seq: 0,
            published: 0,
            acks,
        }
    }

    async fn next(&mut self, channel: Channel) -> Vec<u8> {
        let topic = channel.topic(&self.device);
        loop {
            let next = tokio::time::timeout(PATIENCE, self.inbox.recv());
            let (from, payload) = next.await.expect("an answer in time").unwrap();
            if from == topic {
                return payload;
            }
        }
    }

    /// So many key presses, one after the other: how long each took until the command to open.
    pub async fn presses(&mut self, code: &Secret, times: usize) -> Vec<Duration> {
        let mut took = Vec::with_capacity(times);
        for _ in 0..times {
            took.push(self.press(code).await);
        }
        took
    }

    async fn press(&mut self, code: &Secret) -> Duration {
        self.settle().await;
        let from = Instant::now();
        let code = code.clone();
        self.say(Kind::Keypad { code, opened: None }).await;
        let (command, compartment) = self.opened().await;
        let took = from.elapsed();
        self.hand_over(command, compartment).await;
        took
    }

    /// The broker alone: a status that comes back to its sender, no disk in between.
    pub async fn round_trip(&mut self) -> Duration {
        self.settle().await;
        self.published += 1;
        let from = Instant::now();
        let topic = Channel::Status.topic(&self.device);
        let options = PublishOptions::new(QoS::AtLeastOnce);
        self.client.publish(topic, "online", options).await.unwrap();
        self.next(Channel::Status).await;
        from.elapsed()
    }
}

impl Controller for Keypad {
    async fn say(&mut self, kind: Kind) {
        self.seq += 1;
        let event = Event {
            boot: self.boot,
            seq: self.seq,
            when: When::Unsaid,
            kind,
        };
        let payload = event::encode(&[event], Form::Cbor);
        self.published += 1;
        let topic = Channel::Event.topic(&self.device);
        let options = PublishOptions::new(QoS::AtLeastOnce);
        self.client.publish(topic, payload, options).await.unwrap();
    }

    async fn opened(&mut self) -> (String, u16) {
        loop {
            let command = Command::decode(&self.next(Channel::Command).await).unwrap();
            if let Order::Open { compartment } = command.order {
                return (command.id, compartment);
            }
        }
    }

    async fn settle(&mut self) {
        let published = self.published;
        let settled = self.acks.wait_for(|acks| *acks >= published);
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        settled.expect("acknowledgements in time").unwrap();
    }
}
