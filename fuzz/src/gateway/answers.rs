//! What a client of the embedded broker is told, held against the standard and read by a client's library.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Bytes, BytesMut};
use linli::links::embedded::first_packet::{Connect, Version};
use linli::links::embedded::packets::{
    AckReason, Heard, Message, Out, QoS, Reason, SubReason, Wire,
};

/// The longest reason that is written, in characters.
const REASON_MAX_CHARS: usize = 200;

/// Writes all that may be answered to what was said.
pub fn to(connect: &Connect, said: &Heard) {
    match said {
        Heard::Publish(publish) => {
            let text = String::from_utf8_lossy(&publish.payload);
            let reasons = [None, Some(text.into_owned())];
            for (reason, n) in reasons.into_iter().zip(publish.payload.len()..) {
                check(
                    connect,
                    &Told::Ack {
                        id: publish.packet_id.unwrap_or(NonZeroU16::MIN),
                        qos: publish.qos,
                        code: one_of(&ACKS, n),
                        reason,
                    },
                );
            }
            let topic = publish.topic.to_string();
            check(connect, &message(topic, publish.payload.clone()));
        }
        Heard::Subscribe(id, filters) => {
            let lengths = filters.iter().map(|filter| filter.topic.len());
            let codes = lengths.map(|length| one_of(&SUBACKS, length)).collect();
            check(connect, &Told::Suback(*id, codes));
        }
        Heard::Unsubscribe(id, topics) => {
            let were = topics.iter().map(|topic| topic.len() % 2 == 0).collect();
            check(connect, &Told::Unsuback(*id, were));
        }
        Heard::Released(id) => check(connect, &Told::Complete(*id)),
        Heard::Ping => check(connect, &Told::Pong),
        Heard::Acknowledged(_) | Heard::Disconnect { .. } => {}
    }
}

/// Writes the last word to a client that is refused.
pub fn refusal(connect: &Connect, reason: Reason) {
    check(connect, &Told::Disconnect(reason));
}

const ACKS: [AckReason; 4] = [
    AckReason::Success,
    AckReason::NotAuthorized,
    AckReason::QuotaExceeded,
    AckReason::PayloadFormatInvalid,
];

const SUBACKS: [SubReason; 4] = [
    SubReason::GrantedQos0,
    SubReason::GrantedQos1,
    SubReason::NotAuthorized,
    SubReason::UnspecifiedError,
];

fn one_of<T: Copy>(all: &[T; 4], n: usize) -> T {
    all[n % 4]
}

/// Something to tell, that can be told twice.
enum Told {
    Ack {
        id: NonZeroU16,
        qos: QoS,
        code: AckReason,
        reason: Option<String>,
    },
    Complete(NonZeroU16),
    Suback(NonZeroU16, Vec<SubReason>),
    Unsuback(NonZeroU16, Vec<bool>),
    Pong,
    Message {
        id: u16,
        topic: String,
        payload: Bytes,
        retain: bool,
        expiry_s: u32,
        subscription: u32,
    },
    Disconnect(Reason),
}

/// A message with and without an id, an expiry and a subscription, by its length.
fn message(topic: String, payload: Bytes) -> Told {
    let length = u32::try_from(payload.len()).expect("at most a packet");
    Told::Message {
        id: u16::try_from(length % 3 * 30_000).expect("at most 60,000"),
        topic,
        payload,
        retain: length % 2 == 1,
        expiry_s: length % 5 * 1_000_000_000,
        subscription: length % 7 * 40_000_000,
    }
}

/// What is written is what the standard says, is no larger than the client takes, and can be read by a
/// client's library. A reason that makes it too large is left out; what is too large without it isn't
/// written, and leaves nothing.
fn check(connect: &Connect, told: &Told) {
    let five = connect.version == Version::V5;
    let reason = told.reason().filter(|_| five && connect.problem_info);
    let bare = told.as_the_standard_says(five, None);
    let full = told.as_the_standard_says(five, reason.as_deref());
    let most = connect
        .packet_max_bytes
        .map_or(usize::MAX, |most| usize::try_from(most).expect("it fits"));
    let expected = [full, bare].into_iter().find(|packet| packet.len() <= most);

    let mut wire = Wire::new(connect);
    let mut buffer = BytesMut::from(&b"before"[..]);
    assert_eq!(wire.write(told.out(), &mut buffer), expected.is_some());
    let packet = buffer.split_off(b"before".len());
    assert_eq!(buffer, b"before"[..]);
    assert!(
        packet == expected.unwrap_or_default(),
        "not as the standard says"
    );
    if !packet.is_empty() {
        read_by_a_client(packet, five);
    }
}

fn read_by_a_client(mut packet: BytesMut, five: bool) {
    let read = match five {
        true => rumqttc::mqttbytes::v5::Packet::read(&mut packet, None).is_ok(),
        false => rumqttc_v4::mqttbytes::v4::Packet::read(&mut packet, usize::MAX).is_ok(),
    };
    assert!(read && packet.is_empty(), "a client can't read it");
}

impl Told {
    fn out(&self) -> Out {
        match self {
            Self::Ack {
                id,
                qos,
                code,
                reason,
            } => Out::Ack {
                id: *id,
                qos: *qos,
                code: *code,
                reason: reason.clone(),
            },
            Self::Complete(id) => Out::Complete(*id),
            Self::Suback(id, codes) => Out::Suback(*id, codes.clone()),
            Self::Unsuback(id, were) => Out::Unsuback(*id, were.clone()),
            Self::Pong => Out::Pong,
            Self::Message {
                id,
                topic,
                payload,
                retain,
                expiry_s,
                subscription,
            } => Out::Message(Message {
                id: NonZeroU16::new(*id),
                topic: topic.clone(),
                payload: payload.clone(),
                retain: *retain,
                expiry_s: NonZeroU32::new(*expiry_s),
                subscription: NonZeroU32::new(*subscription),
            }),
            Self::Disconnect(reason) => Out::Disconnect(*reason),
        }
    }

    /// The reason that may be told, as short as it must be and without control characters.
    fn reason(&self) -> Option<String> {
        let Self::Ack { reason, .. } = self else {
            return None;
        };
        let reason = reason.as_ref()?;
        let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        Some(reason.chars().take(REASON_MAX_CHARS).map(plain).collect())
    }

    /// The packet, written from the standard. Nothing if the version has none.
    fn as_the_standard_says(&self, five: bool, reason: Option<&str>) -> Vec<u8> {
        let (first, body) = match self {
            Self::Ack { id, qos, code, .. } if five => {
                assert!(*qos != QoS::ExactlyOnce);
                let text = reason.map_or(Vec::new(), |reason| property(0x1f, &counted(reason)));
                let rest = [&[u8::from(*code)], &length(text.len())[..], &text].concat();
                (0x40, [id.get().to_be_bytes().as_slice(), &rest].concat())
            }
            Self::Ack { id, qos, .. } => {
                let first = [0x40, 0x50][usize::from(*qos == QoS::ExactlyOnce)];
                (first, id.get().to_be_bytes().to_vec())
            }
            Self::Complete(id) => (0x70, id.get().to_be_bytes().to_vec()),
            Self::Suback(id, codes) => {
                let codes = codes.iter().map(|code| match u8::from(*code) {
                    code if five || code < 2 => code,
                    _ => 0x80,
                });
                (0x90, numbered(*id, five, codes))
            }
            Self::Unsuback(id, were) => {
                let codes = were.iter().map(|was| if *was { 0 } else { 17 });
                (0xb0, numbered(*id, five, codes.filter(|_| five)))
            }
            Self::Pong => (0xd0, Vec::new()),
            Self::Message { .. } => self.publish(five),
            Self::Disconnect(_) if !five => return Vec::new(),
            Self::Disconnect(reason) => (0xe0, vec![u8::from(*reason), 0]),
        };
        [&[first], &length(body.len())[..], &body].concat()
    }

    fn publish(&self, five: bool) -> (u8, Vec<u8>) {
        let Self::Message {
            id,
            topic,
            payload,
            retain,
            expiry_s,
            subscription,
        } = self
        else {
            return (0, Vec::new());
        };
        let mut body = counted(topic);
        if *id > 0 {
            body.extend(id.to_be_bytes());
        }
        if five {
            let mut properties = Vec::new();
            if *expiry_s > 0 {
                properties.extend(property(0x02, &expiry_s.to_be_bytes()));
            }
            if *subscription > 0 {
                let id = usize::try_from(*subscription).expect("it fits");
                properties.extend(property(0x0b, &length(id)));
            }
            body.extend([length(properties.len()), properties].concat());
        }
        body.extend_from_slice(payload);
        let flags = u8::from(*id > 0) << 1 | u8::from(*retain);
        (0x30 | flags, body)
    }
}

fn numbered(id: NonZeroU16, five: bool, codes: impl Iterator<Item = u8>) -> Vec<u8> {
    let no_properties = five.then_some(0);
    let id = id.get().to_be_bytes();
    id.into_iter().chain(no_properties).chain(codes).collect()
}

fn property(name: u8, value: &[u8]) -> Vec<u8> {
    [&[name], value].concat()
}

fn counted(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("it was counted in 16 bits");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// A length in as few bytes as it needs, the lowest seven bits first.
fn length(mut rest: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        bytes.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            return bytes;
        }
    }
}
