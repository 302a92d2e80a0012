//! What a device's library sees: `rumqttc`, in both versions of MQTT.

use bytes::Bytes;
use firmware_protocols::topic::Channel;
use linli::links::ToDevice;

use crate::EVENT;
use crate::embedded::*;

/// What a device's library sees, in either version of MQTT.
macro_rules! library_round_trip {
    ($name:ident, $library:ident, $event:path, $incoming:path) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let broker = Broker::start().await;
            let (host, port) = (broker.address.ip().to_string(), broker.address.port());
            let mut options = $library::MqttOptions::new("bank-a", (host, port));
            options.set_credentials("bank-a", PASSWORD);
            let (client, mut events) = $library::AsyncClient::builder(options)
                .capacity(200)
                .build();
            let qos = $library::mqttbytes::QoS::AtLeastOnce;
            client
                .subscribe("linli/v1/bank-a/command", qos)
                .await
                .unwrap();
            for n in 0..100 {
                client
                    .publish(EVENT, format!("{n}"), $library::PublishOptions::new(qos))
                    .await
                    .unwrap();
            }
            let (mut acknowledged, mut commands) = (0, 0);
            while acknowledged < 100 || commands < 1 {
                use $event as Event;
                use $incoming as Packet;
                match tokio::time::timeout(LONG, events.poll())
                    .await
                    .unwrap()
                    .unwrap()
                {
                    Event::Incoming(Packet::SubAck(_)) => {
                        let message = ToDevice {
                            device: ident("bank-a"),
                            channel: Channel::Command,
                            payload: Bytes::from_static(b"open"),
                            expiry_ms: Some(5000),
                            open: None,
                        };
                        broker.outbound.send(message).await.unwrap();
                    }
                    Event::Incoming(Packet::PubAck(_)) => acknowledged += 1,
                    Event::Incoming(Packet::Publish(message)) => {
                        assert_eq!(message.payload.as_ref(), b"open");
                        commands += 1;
                    }
                    _ => {}
                }
            }
            let expected: Vec<_> = (0..100).map(|n| Bytes::from(format!("{n}"))).collect();
            assert_eq!(
                broker.intake.payloads(),
                expected,
                "in the order in which they were sent"
            );
            broker.stop().await;
        }
    };
}

library_round_trip!(
    rumqttc_in_3_1_1,
    rumqttc_v4,
    rumqttc_v4::Event,
    rumqttc_v4::Packet
);
library_round_trip!(
    rumqttc_in_5,
    rumqttc,
    rumqttc::Event,
    rumqttc::mqttbytes::v5::Packet
);
