//! Packets of both versions of MQTT, as one: bytes in, [`Heard`]; [`Out`], bytes.
//!
//! The library's codec reads and writes them; what it lets through and the standards don't is refused
//! here.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Bytes, BytesMut};
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::types::Publish;
pub use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{
    Disconnect, DisconnectReasonCode, PublishAck, PublishAck2, PublishAckReason, PublishProperties,
    RetainHandling, SubscribeAck, SubscribeAckReason, ToReasonCode, UnsubscribeAck,
    UnsubscribeAckReason,
};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder, Encoder};

use super::connect::{Connect, Version};
use super::limits;

pub use rmqtt_codec::v5::DisconnectReasonCode as Reason;
pub use rmqtt_codec::v5::PublishAckReason as AckReason;
pub use rmqtt_codec::v5::SubscribeAckReason as SubReason;

/// The longest text of a reason, characters.
const REASON_MAX_CHARS: usize = 200;

/// What a client says.
#[derive(PartialEq, Eq)]
pub enum Heard {
    /// A publication.
    Publish(Box<Publish>),
    /// It has the message with this id.
    Acknowledged(NonZeroU16),
    /// The second half of QoS 2.
    Released(NonZeroU16),
    /// It wants to hear.
    Subscribe(NonZeroU16, Vec<Filter>),
    /// It no longer wants to hear.
    Unsubscribe(NonZeroU16, Vec<String>),
    /// It is there.
    Ping,
    /// It leaves.
    Disconnect {
        /// Whether its will is to be published all the same.
        with_will: bool,
    },
}

/// One subscription that is asked for.
#[derive(PartialEq, Eq)]
pub struct Filter {
    /// To what.
    pub topic: String,
    /// How.
    pub options: Options,
    /// Whether a retained message is wanted now: always, only if the subscription is new, or never.
    pub retained: RetainHandling,
}

/// How a client wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// At most so safely.
    pub qos: QoS,
    /// MQTT 5: not what it published itself.
    pub no_local: bool,
    /// MQTT 5: with the RETAIN flag as it was published.
    pub as_published: bool,
    /// MQTT 5: named in each message.
    pub id: Option<NonZeroU32>,
}

/// What the broker says.
pub enum Out {
    /// The answer to a publication: PUBACK, or PUBREC at QoS 2.
    Ack {
        /// Which publication.
        id: NonZeroU16,
        /// How safely it was published.
        qos: QoS,
        /// MQTT 5: what became of it.
        code: PublishAckReason,
        /// MQTT 5: the same in words, if the client wants them and they fit.
        reason: Option<String>,
    },
    /// The end of QoS 2.
    Complete(NonZeroU16),
    /// The answer to SUBSCRIBE, a code each.
    Suback(NonZeroU16, Vec<SubscribeAckReason>),
    /// The answer to UNSUBSCRIBE: whether there was each.
    Unsuback(NonZeroU16, Vec<bool>),
    /// It was heard.
    Pong,
    /// Something to hear.
    Message(Message),
    /// Why the connection is closed. MQTT 3.1.1 has no such packet.
    Disconnect(DisconnectReasonCode),
}

/// A message for the client.
pub struct Message {
    /// To acknowledge it by. None at QoS 0.
    pub id: Option<NonZeroU16>,
    /// Where it was published.
    pub topic: String,
    /// What was.
    pub payload: Bytes,
    /// Whether it was said before.
    pub retain: bool,
    /// MQTT 5: for how long it is worth something, seconds.
    pub expiry_s: Option<NonZeroU32>,
    /// MQTT 5: the subscription that it is for.
    pub subscription: Option<NonZeroU32>,
}

/// Reads and writes the packets of one connection.
pub struct Wire {
    codec: Codec,
    /// The largest packet that is taken of the client.
    taken_max_bytes: u32,
    problem_info: bool,
    /// The largest packet that the client takes.
    packet_max_bytes: usize,
}

enum Codec {
    V3(v3::Codec),
    V5(v5::Codec),
}

impl Wire {
    /// For a client that has logged in.
    pub fn new(connect: &Connect) -> Self {
        Self::taking(connect, limits::PACKET_MAX_BYTES)
    }

    /// For one whose packets may have so many bytes.
    pub fn taking(connect: &Connect, taken_max_bytes: u32) -> Self {
        let codec = match connect.version {
            Version::V3 => Codec::V3(v3::Codec::new(taken_max_bytes)),
            Version::V5 => Codec::V5(v5::Codec::new(taken_max_bytes, 0)),
        };
        let packet_max = connect.packet_max_bytes.map(usize::try_from);
        Self {
            codec,
            taken_max_bytes,
            problem_info: connect.problem_info,
            packet_max_bytes: packet_max.and_then(Result::ok).unwrap_or(usize::MAX),
        }
    }

    /// Whether the client speaks MQTT 5.
    pub fn five(&self) -> bool {
        matches!(self.codec, Codec::V5(_))
    }

    /// The next packet in `bytes`, if it is whole. `Err`: why the connection must end.
    ///
    /// What is only announced takes no room: `bytes` grows by what comes.
    pub fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Heard>, Reason> {
        // The codec is given whole packets only: it makes room as soon as it knows a length.
        let Some((first, body)) = whole(bytes, self.taken_max_bytes)? else {
            return Ok(None);
        };
        strict(first, body, self.five())?;
        match &mut self.codec {
            Codec::V3(codec) => match codec.decode(bytes).map_err(|e| reason_of(&e))? {
                Some((packet, _)) => heard_v3(packet).map(Some),
                None => Ok(None),
            },
            Codec::V5(codec) => match codec.decode(bytes).map_err(|e| reason_of(&e))? {
                Some((packet, _)) => heard_v5(packet).map(Some),
                None => Ok(None),
            },
        }
    }

    /// Appends a packet to `bytes`, without its reason if it is too large with it. `false` if the
    /// client doesn't take one as large: then `bytes` is as before.
    pub fn write(&mut self, out: Out, bytes: &mut BytesMut) -> bool {
        let bare = without_reason(&out);
        self.append(out, bytes) || bare.is_some_and(|bare| self.append(bare, bytes))
    }

    /// The codec isn't told what the client takes: it reckons with room for more than there may be.
    fn append(&mut self, out: Out, bytes: &mut BytesMut) -> bool {
        let before = bytes.len();
        let written = match &mut self.codec {
            Codec::V3(codec) => out_v3(out).map_or(Ok(()), |packet| codec.encode(packet, bytes)),
            Codec::V5(codec) => codec.encode(out_v5(out, self.problem_info), bytes),
        };
        let fits = written.is_ok() && bytes.len() - before <= self.packet_max_bytes;
        if !fits {
            bytes.truncate(before);
        }
        fits
    }
}

/// An answer that has a reason, without it.
fn without_reason(out: &Out) -> Option<Out> {
    match *out {
        Out::Ack {
            id,
            qos,
            code,
            reason: Some(_),
        } => Some(Out::Ack {
            id,
            qos,
            code,
            reason: None,
        }),
        _ => None,
    }
}

fn reason_of(e: &DecodeError) -> Reason {
    match e {
        DecodeError::MaxSizeExceeded { .. } => Reason::PacketTooLarge,
        other => match other.to_reason_code() {
            Reason::NormalDisconnection => Reason::MalformedPacket,
            reason => reason,
        },
    }
}

/// The first byte and the body of the next packet, if it is all there.
fn whole(bytes: &[u8], max_bytes: u32) -> Result<Option<(u8, &[u8])>, Reason> {
    let Some((first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let mut length = 0;
    for (place, byte) in rest.iter().enumerate().take(4) {
        length |= u32::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 != 0 {
            continue;
        }
        if length > max_bytes {
            return Err(Reason::PacketTooLarge);
        }
        let body = usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(place + 1..place + 1 + length));
        return Ok(body.map(|body| (*first, body)));
    }
    match rest.len() < 4 {
        true => Ok(None),
        false => Err(Reason::MalformedPacket),
    }
}

/// Refuses what the codec reads past: a body where there is none, and reserved bits.
fn strict(first: u8, body: &[u8], five: bool) -> Result<(), Reason> {
    const PINGREQ: u8 = 0xc0;
    const DISCONNECT: u8 = 0xe0;
    const SUBSCRIBE: u8 = 0x82;
    let sound = match first {
        PINGREQ => body.is_empty(),
        DISCONNECT => five || body.is_empty(),
        SUBSCRIBE => five || no_reserved_bits(body),
        _ => true,
    };
    match sound {
        true => Ok(()),
        false => Err(Reason::MalformedPacket),
    }
}

/// Whether each filter of a SUBSCRIBE of MQTT 3.1.1 asks for a QoS and nothing else. What is cut short
/// is left to the codec.
fn no_reserved_bits(body: &[u8]) -> bool {
    let mut filters = body.get(2..).unwrap_or_default();
    while let [high, low, rest @ ..] = filters {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match rest.get(length..) {
            Some([options, _, ..] | [options]) if options & 0xfc != 0 => return false,
            Some([_, next @ ..]) => filters = next,
            _ => return true,
        }
    }
    true
}

fn heard_v3(packet: v3::Packet) -> Result<Heard, Reason> {
    use v3::Packet;
    Ok(match packet {
        Packet::Publish(publish) => Heard::Publish(sound(publish)?),
        Packet::PublishAck { packet_id } => Heard::Acknowledged(packet_id),
        Packet::PublishRelease { packet_id } => Heard::Released(packet_id),
        Packet::Subscribe {
            packet_id,
            topic_filters,
        } => {
            let filters = topic_filters.into_iter().map(|(topic, qos)| Filter {
                topic: topic.into(),
                options: Options {
                    qos,
                    no_local: false,
                    as_published: false,
                    id: None,
                },
                retained: RetainHandling::AtSubscribe,
            });
            Heard::Subscribe(packet_id, filters.collect())
        }
        Packet::Unsubscribe {
            packet_id,
            topic_filters,
        } => Heard::Unsubscribe(
            packet_id,
            topic_filters.into_iter().map(Into::into).collect(),
        ),
        Packet::PingRequest => Heard::Ping,
        Packet::Disconnect => Heard::Disconnect { with_will: false },
        _ => return Err(Reason::ProtocolError),
    })
}

fn heard_v5(packet: v5::Packet) -> Result<Heard, Reason> {
    use v5::Packet;
    Ok(match packet {
        Packet::Publish(publish) => Heard::Publish(sound(publish)?),
        Packet::PublishAck(ack) => Heard::Acknowledged(ack.packet_id),
        Packet::Subscribe(subscribe) => {
            let mut topics = subscribe.topic_filters.iter();
            no_empty_filter(topics.all(|(topic, _)| !topic.is_empty()))?;
            let id = subscribe.id;
            let filters = subscribe.topic_filters.into_iter();
            let filters = filters.map(|(topic, asked)| Filter {
                topic: topic.into(),
                options: Options {
                    qos: asked.qos,
                    no_local: asked.no_local,
                    as_published: asked.retain_as_published,
                    id,
                },
                retained: asked.retain_handling,
            });
            Heard::Subscribe(subscribe.packet_id, filters.collect())
        }
        Packet::Unsubscribe(asked) => {
            let mut topics = asked.topic_filters.iter();
            no_empty_filter(topics.all(|topic| !topic.is_empty()))?;
            let filters = asked.topic_filters.into_iter().map(Into::into);
            Heard::Unsubscribe(asked.packet_id, filters.collect())
        }
        Packet::PingRequest => Heard::Ping,
        Packet::Disconnect(said) => Heard::Disconnect {
            with_will: said.reason_code != DisconnectReasonCode::NormalDisconnection,
        },
        _ => return Err(Reason::ProtocolError),
    })
}

fn no_empty_filter(holds: bool) -> Result<(), Reason> {
    match holds {
        true => Ok(()),
        false => Err(Reason::TopicFilterInvalid),
    }
}

/// Refuses what the standards forbid a client to publish and the codec lets through. The properties
/// of the rest are dropped: nobody reads them, and they take ten times their room on the wire.
fn sound(mut publish: Box<Publish>) -> Result<Box<Publish>, Reason> {
    if let Some(properties) = publish.properties.take() {
        if publish.qos == QoS::ExactlyOnce {
            return Err(Reason::QosNotSupported);
        }
        if properties.topic_alias.is_some() {
            return Err(Reason::TopicAliasInvalid);
        }
        if !properties.subscription_ids.is_empty() {
            return Err(Reason::ProtocolError);
        }
    }
    let topic: &str = &publish.topic;
    if topic.is_empty() || topic.contains(['+', '#', '\0']) {
        return Err(Reason::TopicNameInvalid);
    }
    Ok(publish)
}

fn out_v3(out: Out) -> Option<v3::Packet> {
    use v3::{Packet, SubscribeReturnCode};
    Some(match out {
        Out::Ack { id, qos, .. } => match qos {
            QoS::ExactlyOnce => Packet::PublishReceived { packet_id: id },
            _ => Packet::PublishAck { packet_id: id },
        },
        Out::Complete(packet_id) => Packet::PublishComplete { packet_id },
        Out::Suback(packet_id, codes) => Packet::SubscribeAck {
            packet_id,
            status: codes
                .into_iter()
                .map(|code| match code {
                    SubscribeAckReason::GrantedQos0 => {
                        SubscribeReturnCode::Success(QoS::AtMostOnce)
                    }
                    SubscribeAckReason::GrantedQos1 => {
                        SubscribeReturnCode::Success(QoS::AtLeastOnce)
                    }
                    _ => SubscribeReturnCode::Failure,
                })
                .collect(),
        },
        Out::Unsuback(packet_id, _) => Packet::UnsubscribeAck { packet_id },
        Out::Pong => Packet::PingResponse,
        Out::Message(message) => Packet::Publish(Box::new(publication(message, false))),
        Out::Disconnect(_) => return None,
    })
}

fn out_v5(out: Out, problem_info: bool) -> v5::Packet {
    use v5::Packet;
    match out {
        Out::Ack {
            id, code, reason, ..
        } => Packet::PublishAck(PublishAck {
            packet_id: id,
            reason_code: code,
            properties: Vec::new(),
            reason_string: reason.filter(|_| problem_info).map(|reason| {
                let short: String = reason.chars().take(REASON_MAX_CHARS).map(plain).collect();
                short.into()
            }),
        }),
        Out::Complete(packet_id) => Packet::PublishComplete(PublishAck2 {
            packet_id,
            ..PublishAck2::default()
        }),
        Out::Suback(packet_id, status) => Packet::SubscribeAck(SubscribeAck {
            packet_id,
            properties: Vec::new(),
            reason_string: None,
            status,
        }),
        Out::Unsuback(packet_id, were) => Packet::UnsubscribeAck(UnsubscribeAck {
            packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: were
                .into_iter()
                .map(|was| match was {
                    true => UnsubscribeAckReason::Success,
                    false => UnsubscribeAckReason::NoSubscriptionExisted,
                })
                .collect(),
        }),
        Out::Pong => Packet::PingResponse,
        Out::Message(message) => Packet::Publish(Box::new(publication(message, true))),
        Out::Disconnect(reason_code) => Packet::Disconnect(Disconnect {
            reason_code,
            session_expiry_interval_secs: None,
            server_reference: None,
            reason_string: None,
            user_properties: Vec::new(),
        }),
    }
}

/// MQTT forbids NUL in a text and advises against other control characters; a reason may repeat what a
/// device sent.
fn plain(c: char) -> char {
    match c.is_control() {
        true => char::REPLACEMENT_CHARACTER,
        false => c,
    }
}

fn publication(message: Message, five: bool) -> Publish {
    Publish {
        dup: false,
        retain: message.retain,
        qos: match message.id {
            Some(_) => QoS::AtLeastOnce,
            None => QoS::AtMostOnce,
        },
        topic: message.topic.into(),
        packet_id: message.id,
        payload: message.payload,
        properties: five.then(|| PublishProperties {
            message_expiry_interval: message.expiry_s,
            subscription_ids: message.subscription.into_iter().collect(),
            ..PublishProperties::default()
        }),
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
