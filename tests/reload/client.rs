//! A device on one connection: it never connects again by itself, so whoever is heard of it later was
//! never dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use firmware_protocols::event::{Direction, Event, Outcome, Secret, When};
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Form, Kind, Order, event};
use rumqttc::mqttbytes::v5::{ConnectReturnCode, Packet, PubAckReason};
use rumqttc::{AsyncClient, Broker, EventLoop, MqttOptions, PublishOptions, QoS};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::common::{PATIENCE, ident, wait_until};
use crate::controller::Controller;

/// Commands beyond that aren't looked at.
const COMMANDS_WAITING: usize = 64;

/// A device that is connected, or was.
pub struct Client {
    device: String,
    client: AsyncClient,
    seq: u64,
    seen: Arc<Seen>,
    commands: mpsc::Receiver<Command>,
}

#[derive(Default)]
struct Seen {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    ended: AtomicBool,
}

impl Client {
    /// Connects without a password and subscribes to its commands; `None` if it isn't let in.
    pub async fn connect(broker: SocketAddr, device: &str) -> Option<Self> {
        let host = broker.ip().to_string();
        let mut options = MqttOptions::new(device, Broker::tcp(host, broker.port()));
        options.set_keep_alive(30);
        let (client, mut events) = AsyncClient::builder(options).capacity(256).build();
        let answered = timeout(PATIENCE, events.poll()).await.expect("an answer");
        match answered {
            Ok(rumqttc::Event::Incoming(Packet::ConnAck(ack)))
                if ack.code == ConnectReturnCode::Success => {}
            _ => return None,
        }
        let commands_topic = Channel::Command.topic(&ident(device));
        client
            .subscribe(commands_topic, QoS::AtLeastOnce)
            .await
            .unwrap();
        let (heard, commands) = mpsc::channel(COMMANDS_WAITING);
        let (subscribed, is_subscribed) = tokio::sync::oneshot::channel();
        let seen = Arc::<Seen>::default();
        tokio::spawn(listen(events, Arc::clone(&seen), heard, subscribed));
        timeout(PATIENCE, is_subscribed).await.unwrap().ok()?;
        Some(Self {
            device: device.to_owned(),
            client,
            seq: 0,
            seen,
            commands,
        })
    }

    /// Publishes that somebody came, and doesn't wait for the answer.
    pub async fn publish(&mut self) {
        let kind = Kind::Access {
            door: ident("gate"),
            outcome: Outcome::Granted,
            direction: Some(Direction::In),
            method: None,
            credential: Some(Secret::new("04:a2:19:77")),
        };
        self.say(kind).await;
    }

    /// How many events it has published.
    pub const fn published(&self) -> u64 {
        self.seq
    }

    /// How many of its events were acknowledged as taken.
    pub fn acknowledged(&self) -> u64 {
        self.seen.acknowledged.load(Ordering::SeqCst)
    }

    /// How many were acknowledged as anything else.
    pub fn refused(&self) -> u64 {
        self.seen.refused.load(Ordering::SeqCst)
    }

    /// Whether its connection is over.
    pub fn ended(&self) -> bool {
        self.seen.ended.load(Ordering::SeqCst)
    }

    /// Publishes an event over the connection that it has, and waits until that is taken.
    pub async fn is_heard(&mut self) {
        self.publish().await;
        self.settle().await;
        assert!(!self.ended(), "{} was dropped", self.device);
    }

    /// Waits until at most so many of its events aren't answered. Fails if it is dropped meanwhile.
    pub async fn until_at_most(&self, under_way: u64) {
        let until = Instant::now() + PATIENCE;
        while self.published() - self.acknowledged() - self.refused() > under_way {
            assert!(!self.ended(), "{} was dropped", self.device);
            assert!(Instant::now() < until, "{} isn't answered", self.device);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the gateway has ended the connection.
    pub async fn is_dropped(&self) {
        let what = format!("{} to be dropped", self.device);
        wait_until(&what, async || self.ended().then_some(())).await;
    }
}

impl Controller for Client {
    async fn say(&mut self, kind: Kind) {
        self.seq += 1;
        let event = Event {
            boot: 1,
            seq: self.seq,
            when: When::Unsaid,
            kind,
        };
        let payload = event::encode(&[event], Form::Cbor);
        let topic = Channel::Event.topic(&ident(&self.device));
        let options = PublishOptions::new(QoS::AtLeastOnce);
        self.client.publish(topic, payload, options).await.unwrap();
    }

    async fn opened(&mut self) -> (String, u16) {
        loop {
            let next = timeout(PATIENCE, self.commands.recv()).await;
            let command = next.expect("a command").expect("a connection");
            if let Order::Open { compartment } = command.order {
                return (command.id, compartment);
            }
        }
    }

    async fn settle(&mut self) {
        self.until_at_most(0).await;
        assert_eq!(self.refused(), 0, "{}", self.device);
    }
}

/// Notes what comes until the connection ends.
async fn listen(
    mut events: EventLoop,
    seen: Arc<Seen>,
    heard: mpsc::Sender<Command>,
    subscribed: tokio::sync::oneshot::Sender<()>,
) {
    let mut subscribed = Some(subscribed);
    loop {
        match events.poll().await {
            Ok(rumqttc::Event::Incoming(Packet::SubAck(_))) => {
                subscribed.take().into_iter().for_each(|told| {
                    // The test may be over.
                    let _ = told.send(());
                });
            }
            Ok(rumqttc::Event::Incoming(Packet::PubAck(ack))) => {
                let counter = match ack.reason {
                    PubAckReason::Success => &seen.acknowledged,
                    _ => &seen.refused,
                };
                counter.fetch_add(1, Ordering::SeqCst);
            }
            Ok(rumqttc::Event::Incoming(Packet::Publish(publish))) => {
                if let Ok(command) = Command::decode(&publish.payload) {
                    // The test may be over, or care for none.
                    let _ = heard.try_send(command);
                }
            }
            Ok(rumqttc::Event::Incoming(Packet::Disconnect(_))) | Err(_) => break,
            Ok(_) => {}
        }
    }
    seen.ended.store(true, Ordering::SeqCst);
    // Its end of the connection stays open for the moment that the other takes to close.
    tokio::time::sleep(Duration::from_millis(1)).await;
}
