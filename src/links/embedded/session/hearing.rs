//! What a client hears: its subscriptions, and the messages for it.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use firmware_protocols::topic::{self, Channel};
use rmqtt_codec::v5::RetainHandling;

use super::super::limits;
use super::super::mailbox::Letter;
use super::super::roster::Place;
use super::super::wire::{Filter, Message, Options, Out, QoS, SubReason};
use super::Session;

impl Session<'_> {
    /// A client hears exactly its own `command`, `receipt` and `status`: with wildcards it would hear
    /// its own events again.
    pub(super) fn subscribe(&mut self, filter: Filter, place: &Place) -> SubReason {
        if self.mapped {
            // Nothing is ever sent to it; to be refused makes many a client give up.
            return match filter.options.qos {
                QoS::AtMostOnce => SubReason::GrantedQos0,
                _ => SubReason::GrantedQos1,
            };
        }
        let Some(channel) = self.own_channel(&filter.topic) else {
            return match filter.topic.matches('/').count() < limits::TOPIC_LEVELS_MAX {
                true => SubReason::NotAuthorized,
                false => SubReason::UnspecifiedError,
            };
        };
        let qos = filter.options.qos.less_value(QoS::AtLeastOnce);
        let options = Options {
            qos,
            ..filter.options
        };
        if let Some(slot) = self.subscriptions.get_mut(channel as usize) {
            *slot = Some(options);
        }
        let known = place.mailbox.subscribe(channel, true);
        let wanted = match filter.retained {
            RetainHandling::AtSubscribe => true,
            RetainHandling::AtSubscribeNew => !known,
            RetainHandling::NoAtSubscribe => false,
        };
        if wanted
            && channel == Channel::Status
            && let Some(status) = self.shared.retained.get(self.device)
        {
            let mut letter = Letter::new(channel, Bytes::from_static(status), None);
            letter.retain = true;
            place.mailbox.put(letter);
        }
        match qos {
            QoS::AtMostOnce => SubReason::GrantedQos0,
            _ => SubReason::GrantedQos1,
        }
    }

    pub(super) fn unsubscribe(&mut self, topic: &str, place: &Place) -> bool {
        if self.mapped {
            return true;
        }
        let Some(channel) = self.own_channel(topic) else {
            return false;
        };
        if let Some(slot) = self.subscriptions.get_mut(channel as usize) {
            *slot = None;
        }
        place.mailbox.subscribe(channel, false)
    }

    fn own_channel(&self, topic: &str) -> Option<Channel> {
        let (owner, channel) = topic::parse(topic)?;
        (owner == *self.device && channel != Channel::Event).then_some(channel)
    }

    /// Writes a message, if the client still wants it.
    pub(super) fn deliver(&mut self, letter: Letter) {
        let Some(Some(options)) = self.subscriptions.get(letter.channel as usize) else {
            return;
        };
        if letter.own && options.no_local {
            return;
        }
        let options = *options;
        let id = (options.qos != QoS::AtMostOnce).then(|| self.free_id());
        let left = letter
            .until
            .map(|until| until.saturating_duration_since(std::time::Instant::now()));
        let expiry_s = left.and_then(|left| {
            let seconds = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            NonZeroU32::new(u32::try_from(seconds.div_ceil(1000)).unwrap_or(u32::MAX))
        });
        let message = Message {
            id,
            topic: letter.channel.topic(self.device),
            payload: letter.payload,
            retain: letter.retain && (!letter.own || options.as_published),
            expiry_s,
            subscription: options.id,
        };
        if self.write(Out::Message(message)) {
            self.in_flight.extend(id);
        } else {
            tracing::warn!(device = %self.device, channel = letter.channel.name(),
                "a message is larger than the device takes: dropped");
        }
    }

    /// An id that isn't in flight: there are far more ids than may be.
    fn free_id(&mut self) -> NonZeroU16 {
        loop {
            self.next_id = self.next_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.next_id)
                && !self.in_flight.contains(&id)
            {
                return id;
            }
        }
    }
}
