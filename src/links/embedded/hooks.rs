//! What a client that is in may do: the rules, put into the library's hooks.
//!
//! The library awaits these hooks before it answers, so a PUBACK for an event goes out only after
//! [`DeviceIntake::events`](super::DeviceIntake::events) has returned.
//!
//! | publication | MQTT 5 | MQTT 3.1.1 |
//! |---|---|---|
//! | event, on disk | PUBACK 0x00 | PUBACK |
//! | event, malformed, in quarantine | PUBACK 0x99 | PUBACK |
//! | event, not taken | PUBACK 0x97 | closed |
//! | `online`, `offline` to its own status | PUBACK 0x00 | PUBACK |
//! | anything else to its own status, in quarantine | PUBACK 0x99 | PUBACK |
//! | any other topic, in quarantine | PUBACK 0x87 | closed |
//! | a topic that can't be one, a topic alias, a subscription identifier | closed | closed |
//! | QoS 2 | closed (Maximum QoS is 1) | PUBREC where above is PUBACK |
//!
//! Topics are compared whole. A client may subscribe to exactly its own `command`, `receipt` and
//! `status`: with wildcards it would hear its own events again.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use firmware_protocols::Ident;
use firmware_protocols::topic::{self, Channel};
use rmqtt::codec::v5::{PublishAckReason, SubscribeAckReason};
use rmqtt::hook::{Handler, HookResult, Parameter, Register, ReturnType, Type};
use rmqtt::session::Session;
use rmqtt::types::{
    AuthResult, ClientId, ConnectInfo, FromType, Publish, PublishAclResult, PublishResult, QoS,
    Subscribe, SubscribeAclResult,
};
use rmqtt::utils::timestamp_millis;

use super::Shared;
use crate::intake::Answer;
use crate::pace::Weight;

const REASON_MAX_CHARS: usize = 200;

/// Puts the rules in place.
pub(super) async fn install(register: &dyn Register, shared: &Arc<Shared>) {
    for kind in [
        Type::ClientAuthenticate,
        Type::ClientSubscribeCheckAcl,
        Type::MessagePublishCheckAcl,
        Type::MessagePublish,
        Type::MessageExpiryCheck,
        Type::MessageDropped,
    ] {
        register
            .add(kind, Box::new(Rules(Arc::clone(shared))))
            .await;
    }
    register.start().await;
}

struct Rules(Arc<Shared>);

#[async_trait]
impl Handler for Rules {
    async fn hook(&self, parameter: &Parameter, before: Option<HookResult>) -> ReturnType {
        let result = match parameter {
            Parameter::ClientAuthenticate(info) => HookResult::AuthResult(self.authenticate(info)),
            Parameter::ClientSubscribeCheckAcl(session, subscribe) => {
                HookResult::SubscribeAclResult(self.subscribe(session, subscribe))
            }
            Parameter::MessagePublishCheckAcl(session, publish) => {
                HookResult::PublishAclResult(PublishAclResult(self.publish(session, publish).await))
            }
            Parameter::MessagePublish(Some(session), from, publish)
                if matches!(from.typ(), FromType::LastWill) =>
            {
                match self.will(session, publish) {
                    Some(publish) => HookResult::Publish(publish),
                    None => return (true, before),
                }
            }
            Parameter::MessageExpiryCheck(_, _, publish) if is_stale(publish) => {
                HookResult::MessageExpiry
            }
            Parameter::MessageDropped(to, from, publish, reason) if from.is_system() => {
                tracing::warn!(?to, topic = %publish.topic, %reason, "a message for a device was dropped");
                return (true, before);
            }
            _ => return (true, before),
        };
        (false, Some(result))
    }
}

impl Rules {
    fn authenticate(&self, info: &ConnectInfo) -> AuthResult {
        let (Some(address), Some(ticket)) = (info.ipaddress(), info.password()) else {
            return AuthResult::NotAuthorized;
        };
        if self.0.tickets.redeem(address, info.client_id(), ticket) {
            AuthResult::Allow(false, None)
        } else {
            AuthResult::NotAuthorized
        }
    }

    fn subscribe(&self, session: &Session, subscribe: &Subscribe) -> SubscribeAclResult {
        let own = topic::parse(&subscribe.topic_filter).is_some_and(|(device, channel)| {
            channel != Channel::Event && device.as_str() == session.id.client_id.as_ref() as &str
        });
        if own {
            SubscribeAclResult::new_success(subscribe.opts.qos().less_value(QoS::AtLeastOnce), None)
        } else {
            SubscribeAclResult::new_failure(SubscribeAckReason::NotAuthorized)
        }
    }

    async fn publish(&self, session: &Session, publish: &Publish) -> PublishResult {
        let five = publish.properties.is_some();
        let Some(device) = self.0.devices.get(session.id.client_id.as_ref() as &str) else {
            return closing(PublishAckReason::NotAuthorized, "no such device");
        };
        if let Some(reason) = against_protocol(publish) {
            return closing(PublishAckReason::ImplementationSpecificError, reason);
        }
        match topic::parse(&publish.topic) {
            Some((owner, Channel::Event)) if owner == *device => {
                self.event(device, publish, five).await
            }
            Some((owner, Channel::Status)) if owner == *device => {
                self.status(session, device, publish).await
            }
            _ => {
                self.0
                    .foreign(device, &publish.topic, &publish.payload)
                    .await;
                let reason = Some("not a topic of this device".into());
                PublishResult::reason_code(PublishAckReason::NotAuthorized, reason, !five)
            }
        }
    }

    async fn event(&self, device: &Ident, publish: &Publish, five: bool) -> PublishResult {
        match self.0.intake.events(device, publish.payload.clone()).await {
            Answer::Taken => PublishResult::success(),
            Answer::Malformed(reason) => {
                refused(PublishAckReason::PayloadFormatInvalid, &reason, false)
            }
            Answer::NotTaken(reason) => {
                let close = !five && publish.qos != QoS::AtMostOnce;
                refused(PublishAckReason::QuotaExceeded, &reason, close)
            }
        }
    }

    async fn status(&self, session: &Session, device: &Ident, publish: &Publish) -> PublishResult {
        let Some(online) = super::status(&publish.payload) else {
            self.0
                .foreign(device, &publish.topic, &publish.payload)
                .await;
            return refused(
                PublishAckReason::PayloadFormatInvalid,
                "a status is 'online' or 'offline'",
                false,
            );
        };
        self.0.pace.of(device).charge(Weight::ONE, Instant::now());
        self.0.roster.report(
            device,
            session.id.remote_addr,
            online,
            self.0.intake.as_ref(),
        );
        PublishResult::success()
    }

    /// Reports a will. The will of a link whose place another has taken goes nowhere.
    fn will(&self, session: &Session, publish: &Publish) -> Option<Publish> {
        let device = self.0.devices.get(session.id.client_id.as_ref() as &str)?;
        let online = super::status(&publish.payload)?;
        if self.0.roster.report(
            device,
            session.id.remote_addr,
            online,
            self.0.intake.as_ref(),
        ) {
            return None;
        }
        let mut nowhere = publish.clone().target_clientid(ClientId::from_static(""));
        nowhere.retain = false;
        Some(nowhere)
    }
}

/// What the standards forbid a client to publish and the library lets through.
fn against_protocol(publish: &Publish) -> Option<&'static str> {
    if publish.topic.is_empty() || publish.topic.contains(['+', '#', '\0']) {
        return Some("not a topic name");
    }
    let properties = publish.properties.as_ref()?;
    if publish.qos == QoS::ExactlyOnce {
        return Some("QoS 2 is not supported");
    }
    if properties.topic_alias.is_some() {
        return Some("topic aliases are not supported");
    }
    if !properties.subscription_ids.is_empty() {
        return Some("a subscription identifier in a publication");
    }
    None
}

/// Whether a message's time is over, to the millisecond; the library only counts seconds. The
/// interval set by the sender (`to_publish`) is one second longer than meant.
fn is_stale(publish: &Publish) -> bool {
    let interval_s = publish
        .properties
        .as_ref()
        .and_then(|properties| properties.message_expiry_interval);
    match (interval_s, publish.create_time) {
        (Some(interval_s), Some(created_ms)) => {
            timestamp_millis() - created_ms >= (i64::from(interval_s.get()) - 1) * 1000
        }
        _ => false,
    }
}

fn refused(code: PublishAckReason, reason: &str, close: bool) -> PublishResult {
    let reason: String = reason.chars().take(REASON_MAX_CHARS).collect();
    PublishResult::reason_code(code, Some(reason.into()), close)
}

fn closing(code: PublishAckReason, reason: &'static str) -> PublishResult {
    PublishResult::reason_code(code, Some(reason.into()), true)
}
