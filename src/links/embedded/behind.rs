//! The library behind the front door: one `rmqtt` server of our own, with every limit it has.
//!
//! The library listens on a loopback port that the system chooses. It keeps no sessions (every
//! CONNECT that reaches it asks for a clean one), no shared subscriptions, no topic aliases, and no
//! retained messages but the devices' status.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rmqtt::codec::v5::PublishProperties;
use rmqtt::context::ServerContext;
use rmqtt::net::{Builder, Listener};
use rmqtt::router::DefaultRouter;
use rmqtt::server::MqttServer;
use rmqtt::shared::DefaultShared;
use rmqtt::types::{ClientId, CodecPublish, From, Id, Publish, QoS};
use rmqtt::utils::timestamp_millis;
use tokio::task::JoinHandle;

use super::retained::LastStatus;
use super::{Shared, hooks, limits};
use crate::links::ToDevice;

/// A listener of the library that isn't served yet.
pub(super) struct Bound {
    listener: Listener,
    pub address: SocketAddr,
}

/// The running library.
pub(super) struct Behind {
    context: ServerContext,
    server: JoinHandle<()>,
    sender: Id,
}

/// Binds a loopback port for the library.
pub(super) fn bind() -> Result<Bound> {
    let listener = Builder::new()
        .name("behind the door")
        .laddr(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .backlog(1024)
        .nodelay(true)
        .reuseaddr(Some(true))
        .tcp_keepalive(false)
        .max_connections(limits::SESSIONS_MAX)
        .max_handshaking_limit(limits::HANDSHAKES_MAX)
        .handshake_timeout(Duration::from_secs(10))
        .send_timeout(Duration::from_secs(10))
        .max_packet_size(limits::PACKET_MAX_BYTES)
        .max_topic_levels(limits::TOPIC_LEVELS_MAX)
        .max_clientid_len(firmware_protocols::Ident::MAX_LEN)
        .allow_anonymous(false)
        .max_keepalive(limits::KEEP_ALIVE_BEHIND_S)
        .allow_zero_keepalive(false)
        .max_inflight(limits::in_flight())
        .max_mqueue_len(limits::QUEUE_MAX)
        .max_qos_allowed(QoS::AtLeastOnce)
        .max_subscriptions(limits::SUBSCRIPTIONS_MAX)
        .max_topic_aliases(0)
        .session_expiry_interval(Duration::from_secs(1))
        .max_session_expiry_interval(Duration::from_secs(1))
        .message_expiry_interval(Duration::ZERO)
        .message_retry_interval(Duration::ZERO)
        .bind()
        .and_then(Listener::tcp)
        .context("the broker found no loopback port for itself")?;
    let address = listener.local_addr()?;
    Ok(Bound { listener, address })
}

impl Behind {
    /// Starts serving.
    pub(super) async fn start(bound: Bound, shared: &Arc<Shared>) -> Self {
        let context = ServerContext::new().busy_check_enable(false).build().await;
        *context.extends.retain_mut().await =
            Box::new(LastStatus::new(Arc::clone(&shared.devices)));
        hooks::install(context.extends.hook_mgr().register().as_ref(), shared).await;
        let server = MqttServer::new(context.clone())
            .listener_by_id(bound.listener, 1)
            .build();
        let server = tokio::spawn(async move {
            if let Err(error) = server.run().await {
                tracing::error!(%error, "the broker stopped");
            }
        });
        let sender = Id::from(context.node.id(), ClientId::from_static("linli"));
        Self {
            context,
            server,
            sender,
        }
    }

    /// Sends `message` to its device, if that is connected and has subscribed. Otherwise it is
    /// dropped: nothing is queued for a device that isn't there. Whether it was handed over.
    pub(super) async fn deliver(&self, message: ToDevice) -> bool {
        let (device, channel) = (message.device.clone(), message.channel);
        let Some(publish) = to_publish(message) else {
            tracing::debug!(%device, ?channel, "expired before it could be sent");
            return false;
        };
        let from = From::from_system(self.sender.clone());
        let forwarded = self
            .context
            .extends
            .shared()
            .await
            .forwards(None, from, publish)
            .await;
        match forwarded {
            Ok(0) | Err(_) => {
                tracing::debug!(%device, ?channel, "not sent: the device is not connected or has not subscribed");
                false
            }
            Ok(_) => true,
        }
    }

    /// Whether the server task is still there.
    pub(super) fn is_running(&self) -> bool {
        !self.server.is_finished()
    }

    /// Stops serving, waits a moment for its connections to end, and breaks the circle in which
    /// the library's context holds itself.
    pub(super) async fn stop(self, wait: Duration) -> Result<()> {
        self.server.abort();
        let _ = self.server.await;
        let deadline = tokio::time::Instant::now() + wait;
        while self.context.connections.count() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left = self.context.connections.count();
        *self.context.extends.shared_mut().await = Box::new(DefaultShared::new(None));
        *self.context.extends.router_mut().await = Box::new(DefaultRouter::new(None));
        if left > 0 {
            return Err(anyhow!(
                "{left} connections had not ended {} s after the broker was stopped",
                wait.as_secs()
            ));
        }
        Ok(())
    }
}

/// `None` if its time is over already. The expiry is one second longer than meant, because the
/// library sends what is left of it in whole seconds, rounded down (so the message is also made a
/// millisecond old); [`hooks`] take the second off again when they look whether it is stale.
fn to_publish(message: ToDevice) -> Option<Publish> {
    let expiry_s = match message.expiry_ms {
        None => None,
        Some(0) => return None,
        Some(expiry_ms) => {
            let seconds = expiry_ms.div_ceil(1000).saturating_add(1);
            NonZeroU32::new(u32::try_from(seconds).unwrap_or(u32::MAX))
        }
    };
    let publish = CodecPublish {
        dup: false,
        retain: false,
        qos: QoS::AtLeastOnce,
        topic: message.channel.topic(&message.device).into(),
        packet_id: None,
        payload: message.payload,
        properties: Some(PublishProperties {
            message_expiry_interval: expiry_s,
            ..PublishProperties::default()
        }),
    };
    Some(Publish::from(publish).create_time(timestamp_millis() - 1))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bytes::Bytes;
    use firmware_protocols::Ident;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::super::{DeviceIntake, Roster, tickets::Tickets};
    use super::*;
    use crate::credentials::{Credentials, set_password};
    use crate::intake::Answer;

    struct Deaf;

    #[async_trait::async_trait]
    impl DeviceIntake for Deaf {
        async fn events(&self, _: &Ident, _: Bytes) -> Answer {
            Answer::Taken
        }
        async fn foreign(&self, _: &Ident, _: &str, _: Bytes) {}
        fn command_sent(&self, _: String) {}
        fn presence(&self, _: &Ident, _: bool) {}
    }

    #[tokio::test]
    async fn nobody_gets_in_behind_the_door_even_with_the_password() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let device = Ident::new("bank-a").unwrap();
        set_password(&path, &device, "pw").unwrap();
        let bound = bind().unwrap();
        let address = bound.address;
        assert!(address.ip().is_loopback());
        let shared = Arc::new(Shared {
            devices: Arc::new(HashSet::from([device.clone()])),
            anonymous: HashSet::from([device]),
            credentials: Arc::new(Credentials::open(&path).unwrap()),
            intake: Arc::new(Deaf),
            roster: Arc::new(Roster::default()),
            pace: Arc::new(crate::pace::Pace::new(crate::pace::Limits::NONE, [])),
            tickets: Tickets::default(),
            entering: tokio::sync::Semaphore::new(1),
            behind: address,
        });
        let behind = Behind::start(bound, &shared).await;
        let named = b"\x10\x1e\x00\x04MQTT\x04\xc2\x00\x3c\x00\x06bank-a\x00\x06bank-a\x00\x02pw";
        let anonymous = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06bank-a";
        for packet in [&named[..], &anonymous[..]] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(packet).await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, [0x20, 2, 0, 5], "not authorised");
        }
        behind.stop(Duration::from_secs(5)).await.unwrap();
    }
}
