//! A connection over MQTT 5.

use std::net::SocketAddr;

use rumqttc::mqttbytes::v5::{LastWill, Packet, PubAckReason, SubscribeReasonCode};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, PublishOptions, PublishResult, QoS,
    SubscribeFilterInput,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Answer, Client, Heard, KEEP_ALIVE_S, NoRoom, PACKET_MAX_BYTES, REQUESTS_MAX, Told};
use crate::Login;
use firmware_protocols::Ident;
use firmware_protocols::topic::Channel;

struct Five {
    client: AsyncClient,
    device: Ident,
}

pub(super) fn open(
    broker: SocketAddr,
    login: &Login,
    says: mpsc::Sender<Heard>,
) -> (Box<dyn Client>, JoinHandle<()>) {
    let device = login.device.clone();
    let target = (broker.ip().to_string(), broker.port());
    let mut options = MqttOptions::new(device.as_str(), target);
    options.set_keep_alive(KEEP_ALIVE_S);
    options.set_max_packet_size(Some(PACKET_MAX_BYTES));
    if let Some(password) = &login.password {
        options.set_credentials(device.as_str(), password.clone());
    }
    let status = Channel::Status.topic(&device);
    let will = LastWill::new(status, "offline", QoS::AtLeastOnce, true, None);
    options.set_last_will(will);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let (client, events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
    let pump = tokio::spawn(pump(events, client.clone(), device.clone(), says));
    (Box::new(Five { client, device }), pump)
}

impl Client for Five {
    fn publish(&self, channel: Channel, payload: Vec<u8>) -> Result<Answer, NoRoom> {
        let topic = channel.topic(&self.device);
        let retain = channel == Channel::Status;
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(retain);
        let notice = self.client.try_publish_tracked(topic, payload, options);
        let notice = notice.map_err(|_| NoRoom)?;
        Ok(Box::pin(async move {
            match notice.wait_async().await {
                Ok(PublishResult::Qos1(ack)) => told(ack.reason),
                Ok(_) => Told::Refused,
                Err(_) => Told::Lost,
            }
        }))
    }

    fn disconnect(&self) {
        let _ = self.client.try_disconnect();
    }
}

fn told(reason: PubAckReason) -> Told {
    match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Told::Taken,
        PubAckReason::PayloadFormatInvalid => Told::Quarantined,
        PubAckReason::QuotaExceeded => Told::Full,
        _ => Told::Refused,
    }
}

async fn pump(
    mut events: EventLoop,
    client: AsyncClient,
    device: Ident,
    says: mpsc::Sender<Heard>,
) {
    let down = loop {
        let heard = match events.poll().await {
            Err(error) => break error.to_string(),
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                let topics = super::own_topics(&device);
                let filters = topics.map(|t| SubscribeFilterInput::new(t, QoS::AtLeastOnce));
                if client.try_subscribe_many(filters).is_err() {
                    break "no room to subscribe".to_string();
                }
                continue;
            }
            Ok(Event::Incoming(Packet::SubAck(ack))) => {
                let taken =
                    |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                if !ack.return_codes.iter().all(taken) {
                    break "subscription refused".to_string();
                }
                Some(Heard::Up)
            }
            Ok(Event::Incoming(Packet::Publish(p))) => super::message(&p.topic, p.payload),
            Ok(Event::Incoming(Packet::Disconnect(_))) => break "sent away".to_string(),
            Ok(_) => None,
        };
        if let Some(heard) = heard
            && says.send(heard).await.is_err()
        {
            return;
        }
    };
    let _ = says.send(Heard::Down(down)).await;
}
