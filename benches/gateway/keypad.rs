//! From the key press to the open command, beside the broker's own round trip and the disk's sync.

use std::time::{Duration, Instant};

use cloud_protocol::downlink::{ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::{Downlink, badge_digest};
use firmware_protocols::event::{Done, Door, Event, Secret, When};
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Form, Ident, Kind, Order, event};
use reference_cloud::{Cloud, Config};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::Packet;
use rumqttc::{AsyncClient, Broker, MqttOptions, NetworkOptions, PublishOptions};
use simulator::load::Until;
use simulator::{Load, Login};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use crate::common::{PATIENCE, Setup, ident, wait_until};
use crate::figures::{Table, ms, percentile};
use crate::{Effort, disk};

pub fn measure(runtime: &Runtime, effort: Effort, table: &mut Table) {
    runtime.block_on(run(effort, table));
}

async fn run(effort: Effort, table: &mut Table) {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    let _gateway = tokio::task::block_in_place(|| setup.start());
    let mut bank = Keypad::connect(&setup).await;
    let code = bank.deposit(&cloud).await;

    let mut sync = disk::syncs(setup.dir.path(), effort.presses.min(500));
    let mut trip = Vec::new();
    for _ in 0..effort.presses {
        trip.push(bank.round_trip().await);
    }
    let mut idle = Vec::new();
    for _ in 0..effort.presses {
        idle.push(bank.press(&code).await);
    }
    let logins = setup.devices.iter().map(|device| Login {
        device: ident(device),
        password: None,
    });
    let mut load = Load::new(setup.address(), logins.collect());
    load.rate = Some(2_000.0);
    load.until = Until::Stopped;
    load.window = 20;
    let load = load.start().unwrap();
    wait_until("the load to run", async || {
        (load.acknowledged() > 500).then_some(())
    })
    .await;
    let mut loaded = Vec::new();
    for _ in 0..effort.presses {
        loaded.push(bank.press(&code).await);
    }
    load.stop();
    load.finish().await.unwrap();

    for percent in [50.0, 99.0] {
        let sync = percentile(&mut sync, percent);
        let trip = percentile(&mut trip, percent);
        table.add(format!("disk: one sync, p{percent}"), ms(sync), "ms", None);
        table.add(
            format!("broker: its own round trip, p{percent}"),
            ms(trip),
            "ms",
            None,
        );
        let baseline = Some((ms(trip + sync), "round trip + one sync"));
        let idle = ms(percentile(&mut idle, percent));
        table.add(
            format!("key press to open command, idle, p{percent}"),
            idle,
            "ms",
            baseline,
        );
        let loaded = ms(percentile(&mut loaded, percent));
        let what = format!("the same beside 2,000 events/s, p{percent}");
        table.add(what, loaded, "ms", baseline);
    }
}

struct Keypad {
    client: AsyncClient,
    inbox: mpsc::Receiver<(String, Vec<u8>)>,
    device: Ident,
    seq: u64,
    published: u64,
    acks: watch::Receiver<u64>,
}

impl Keypad {
    async fn connect(setup: &Setup) -> Self {
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
            seq: 0,
            published: 0,
            acks,
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
        self.published += 1;
        let topic = Channel::Event.topic(&self.device);
        let options = PublishOptions::new(QoS::AtLeastOnce);
        self.client.publish(topic, payload, options).await.unwrap();
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

    /// The next command to open, with its compartment.
    async fn opened(&mut self) -> (String, u16) {
        loop {
            let command = Command::decode(&self.next(Channel::Command).await).unwrap();
            if let Order::Open { compartment } = command.order {
                return (command.id, compartment);
            }
        }
    }

    /// Lets a courier bring one parcel; returns its code.
    async fn deposit(&mut self, cloud: &Cloud) -> String {
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
            point: self.device.clone(),
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
        code.reveal().to_owned()
    }

    /// Waits until everything published is acknowledged, so that nothing stands before what is next.
    async fn settle(&mut self) {
        let published = self.published;
        let settled = self.acks.wait_for(|acks| *acks >= published);
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        settled.expect("acknowledgements in time").unwrap();
    }

    /// Door open, door closed on a parcel that is still there: the code stays good.
    async fn hand_over(&mut self, command: String, compartment: u16) {
        let done = Kind::Result {
            command,
            outcome: Done::Done,
            reason: None,
        };
        self.say(done).await;
        for (door, occupied) in [(Door::Open, true), (Door::Closed, true)] {
            self.say(Kind::Compartment {
                compartment,
                door,
                occupied: Some(occupied),
            })
            .await;
        }
    }

    async fn press(&mut self, code: &str) -> Duration {
        self.settle().await;
        let from = Instant::now();
        let code = Secret::new(code);
        self.say(Kind::Keypad { code, opened: None }).await;
        let (command, compartment) = self.opened().await;
        let took = from.elapsed();
        self.hand_over(command, compartment).await;
        took
    }

    /// The broker alone: a status that comes back to its sender, no disk in between.
    async fn round_trip(&mut self) -> Duration {
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
