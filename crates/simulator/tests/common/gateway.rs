//! A tiny gateway behind Mosquitto: keeps events once, sends receipts, answers with orders. It is
//! here to be answered to, not to be believed: nothing of it is on disk.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use firmware_protocols::event::{Done, decode};
use firmware_protocols::topic::{self, Channel};
use firmware_protocols::{Command, Event, Form, Ident, Kind, Order, Receipt};
use rumqttc::mqttbytes::v5::Packet;
use rumqttc::{AsyncClient, MqttOptions, NetworkOptions, PublishOptions, QoS};
use simulator::Tempo;
use tokio::task::JoinHandle;

/// How long a command holds: ten minutes of the play, which may be less than a second.
const HOLDS_MS: i64 = 600_000;

/// What a device gets for an event that is new.
pub type Answers = Arc<dyn Fn(&Ident, &Kind) -> Option<Order> + Send + Sync>;

pub struct Gateway {
    pub kept: Arc<Mutex<Kept>>,
    client: AsyncClient,
    tempo: Tempo,
    deaf: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

#[derive(Default)]
pub struct Kept {
    pub events: Vec<(Ident, Event)>,
    pub duplicates: u64,
    pub status: BTreeMap<Ident, String>,
    pub forms: BTreeMap<Ident, Form>,
    seen: BTreeMap<(Ident, u32), BTreeSet<u64>>,
    commands: u64,
}

impl Kept {
    pub fn of(&self, device: &Ident, kind: &str) -> Vec<Kind> {
        let own = self.events.iter().filter(|(id, _)| id == device);
        own.map(|(_, event)| event.kind.clone())
            .filter(|k| k.name() == kind)
            .collect()
    }

    pub fn results(&self, device: &Ident) -> Vec<(String, Done)> {
        let results = self.of(device, "result").into_iter();
        results
            .filter_map(|kind| match kind {
                Kind::Result {
                    command, outcome, ..
                } => Some((command, outcome)),
                _ => None,
            })
            .collect()
    }

    fn take(&mut self, device: &Ident, event: Event) -> bool {
        let seen = self.seen.entry((device.clone(), event.boot)).or_default();
        if !seen.insert(event.seq) {
            self.duplicates += 1;
            return false;
        }
        self.events.push((device.clone(), event));
        true
    }

    fn receipt(&self, device: &Ident, boot: u32) -> Receipt {
        let seen = self.seen.get(&(device.clone(), boot));
        let upto = (1..).find(|seq| !seen.is_some_and(|s| s.contains(seq)));
        Receipt {
            boot,
            seq: upto.unwrap_or(1) - 1,
        }
    }
}

impl Gateway {
    pub async fn start(broker: SocketAddr, tempo: Tempo, answers: Answers) -> Self {
        let mut options = MqttOptions::new("gateway", (broker.ip().to_string(), broker.port()));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (client, mut events) = AsyncClient::builder(options).unbounded().build();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let deaf = Arc::new(AtomicBool::new(false));
        let (up, is_up) = tokio::sync::oneshot::channel();
        let task = tokio::spawn({
            let (kept, client) = (Arc::clone(&kept), client.clone());
            let deaf = Arc::clone(&deaf);
            let mut up = Some(up);
            async move {
                loop {
                    match events.poll().await {
                        Ok(rumqttc::Event::Incoming(Packet::ConnAck(_))) => {
                            for filter in ["linli/v1/+/event", "linli/v1/+/status"] {
                                client.try_subscribe(filter, QoS::AtLeastOnce).unwrap();
                            }
                        }
                        Ok(rumqttc::Event::Incoming(Packet::SubAck(_))) => {
                            up.take().map(|up| up.send(()));
                        }
                        Ok(rumqttc::Event::Incoming(Packet::Publish(p)))
                            if !deaf.load(Ordering::SeqCst) =>
                        {
                            hear(&p.topic, &p.payload, &kept, &client, tempo, &answers);
                        }
                        Ok(_) => {}
                        Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                    }
                }
            }
        });
        is_up.await.unwrap();
        Self {
            kept,
            client,
            tempo,
            deaf,
            task,
        }
    }

    /// Keeps nothing and answers nobody, while the broker goes on, or listens again.
    pub fn be_deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::SeqCst);
    }

    /// Sends a command of one's own making.
    pub fn command(&self, device: &Ident, command: &Command) {
        let form = self.kept.lock().unwrap().forms.get(device).copied();
        let payload = command.encode(form.unwrap_or(Form::Cbor));
        publish(&self.client, Channel::Command.topic(device), payload);
    }

    /// A command that holds for ten minutes of the play, which may be a second or less.
    pub fn order(&self, id: &str, order: Order) -> Command {
        Command {
            id: id.to_string(),
            expires: self.tempo.now_ms() + HOLDS_MS,
            ttl_ms: 600_000,
            order,
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn hear(
    topic: &[u8],
    payload: &[u8],
    kept: &Mutex<Kept>,
    client: &AsyncClient,
    tempo: Tempo,
    answers: &Answers,
) {
    let (device, channel) = topic::parse(std::str::from_utf8(topic).unwrap()).unwrap();
    let mut kept = kept.lock().unwrap();
    if channel == Channel::Status {
        let status = String::from_utf8(payload.to_vec()).unwrap();
        kept.status.insert(device, status);
        return;
    }
    let form = Form::of(payload);
    kept.forms.insert(device.clone(), form);
    for event in decode(payload).unwrap() {
        let event = event.unwrap();
        let (boot, kind) = (event.boot, event.kind.clone());
        let new = kept.take(&device, event);
        let receipt = kept.receipt(&device, boot);
        publish(
            client,
            Channel::Receipt.topic(&device),
            receipt.encode(form),
        );
        let Some(order) = answers(&device, &kind).filter(|_| new) else {
            continue;
        };
        kept.commands += 1;
        let command = Command {
            id: format!("c-{}", kept.commands),
            expires: tempo.now_ms() + HOLDS_MS,
            ttl_ms: 600_000,
            order,
        };
        publish(
            client,
            Channel::Command.topic(&device),
            command.encode(form),
        );
    }
}

fn publish(client: &AsyncClient, topic: String, payload: Vec<u8>) {
    let options = PublishOptions::new(QoS::AtLeastOnce);
    client.try_publish(topic, payload, options).unwrap();
}
