//! Just enough of MQTT 3.1.1 and 5 to publish at QoS 1 and hear the answers: a load generator must
//! cost less than what it measures, and its record must rest on the very bytes of a PUBACK.
//!
//! Section numbers are those of the OASIS standard "MQTT Version 5.0".

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{Login, Version};

/// What a broker says, as far as a publisher cares.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The login's outcome: 0 is success.
    ConnAck {
        code: u8,
        receive_maximum: Option<u16>,
    },
    /// A publication's outcome; MQTT 3.1.1 has no reason and counts as 0.
    PubAck {
        pkid: u16,
        reason: u8,
    },
    /// A subscription's outcome: 0x80 and above is a refusal.
    SubAck {
        code: u8,
    },
    /// A message; `pkid` is `None` at QoS 0.
    Publish {
        pkid: Option<u16>,
        payload: Bytes,
    },
    Pong,
    Disconnect,
}

/// Bytes that aren't MQTT as a broker speaks it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker sent something that isn't MQTT: {0}")]
pub(super) struct NotMqtt(&'static str);

/// CONNECT (§ 3.1) with a clean session.
pub(super) fn connect(out: &mut BytesMut, version: Version, login: &Login, keep_alive_s: u16) {
    let mut body = BytesMut::new();
    text(&mut body, b"MQTT");
    body.put_u8(match version {
        Version::V311 => 4,
        Version::V5 => 5,
    });
    let password = login.password.as_deref();
    body.put_u8(if password.is_some() { 0xC2 } else { 0x02 });
    body.put_u16(keep_alive_s);
    no_properties(&mut body, version);
    text(&mut body, login.device.as_str().as_bytes());
    if let Some(password) = password {
        text(&mut body, login.device.as_str().as_bytes());
        text(&mut body, password.as_bytes());
    }
    packet(out, 0x10, &body);
}

/// PUBLISH (§ 3.3) at QoS 1.
pub(super) fn publish(out: &mut BytesMut, version: Version, pkid: u16, topic: &str, load: &[u8]) {
    let properties = usize::from(version == Version::V5);
    out.put_u8(0x32);
    length(out, 2 + topic.len() + 2 + properties + load.len());
    text(out, topic.as_bytes());
    out.put_u16(pkid);
    no_properties(out, version);
    out.put_slice(load);
}

/// SUBSCRIBE (§ 3.8) to one topic at QoS 1.
pub(super) fn subscribe(out: &mut BytesMut, version: Version, pkid: u16, topic: &str) {
    let mut body = BytesMut::new();
    body.put_u16(pkid);
    no_properties(&mut body, version);
    text(&mut body, topic.as_bytes());
    body.put_u8(1);
    packet(out, 0x82, &body);
}

/// PUBACK (§ 3.4) with success.
pub(super) fn puback(out: &mut BytesMut, pkid: u16) {
    packet(out, 0x40, &pkid.to_be_bytes());
}

/// PINGREQ (§ 3.12).
pub(super) fn ping(out: &mut BytesMut) {
    packet(out, 0xC0, &[]);
}

/// DISCONNECT (§ 3.14).
pub(super) fn disconnect(out: &mut BytesMut) {
    packet(out, 0xE0, &[]);
}

/// Takes the next whole packet off `buffer`; `None` if there is none yet.
pub(super) fn next(buffer: &mut BytesMut, version: Version) -> Result<Option<Incoming>, NotMqtt> {
    let Some((head, body_len)) = frame(buffer)? else {
        return Ok(None);
    };
    if buffer.len() < head + body_len {
        return Ok(None);
    }
    let first = buffer[0];
    buffer.advance(head);
    let mut body = buffer.split_to(body_len).freeze();
    let incoming = match first >> 4 {
        2 => connack(&mut body, version)?,
        3 => message(first, &mut body, version)?,
        4 => Incoming::PubAck {
            pkid: u16_of(&mut body)?,
            reason: body.first().copied().unwrap_or(0),
        },
        9 => Incoming::SubAck {
            code: body.last().copied().ok_or(NotMqtt("an empty SUBACK"))?,
        },
        13 => Incoming::Pong,
        14 => Incoming::Disconnect,
        _ => return Err(NotMqtt("a packet that no publisher gets")),
    };
    Ok(Some(incoming))
}

/// The length of the fixed header and of what follows it (§ 2.1.4).
fn frame(buffer: &[u8]) -> Result<Option<(usize, usize)>, NotMqtt> {
    let mut value = 0;
    for index in 1..=4 {
        let Some(byte) = buffer.get(index) else {
            return Ok(None);
        };
        value |= usize::from(byte & 0x7F) << (7 * (index - 1));
        if byte & 0x80 == 0 {
            return Ok(Some((index + 1, value)));
        }
    }
    Err(NotMqtt("a length of more than four bytes"))
}

fn connack(body: &mut Bytes, version: Version) -> Result<Incoming, NotMqtt> {
    let _session_present = u8_of(body)?;
    let code = u8_of(body)?;
    let mut receive_maximum = None;
    if version == Version::V5 && body.has_remaining() {
        let mut properties = properties(body)?;
        while properties.has_remaining() {
            match u8_of(&mut properties)? {
                0x21 => receive_maximum = Some(u16_of(&mut properties)?),
                // Others that a broker may send before it (§ 3.2.2.3), by their width.
                0x24 | 0x25 | 0x28..=0x2A => skip(&mut properties, 1)?,
                0x13 | 0x22 => skip(&mut properties, 2)?,
                0x11 | 0x27 => skip(&mut properties, 4)?,
                0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => skip_text(&mut properties)?,
                0x26 => {
                    skip_text(&mut properties)?;
                    skip_text(&mut properties)?;
                }
                _ => return Err(NotMqtt("an unknown property in CONNACK")),
            }
        }
    }
    Ok(Incoming::ConnAck {
        code,
        receive_maximum,
    })
}

fn message(first: u8, body: &mut Bytes, version: Version) -> Result<Incoming, NotMqtt> {
    skip_text(body)?;
    let pkid = match first & 0x06 {
        0 => None,
        _ => Some(u16_of(body)?),
    };
    if version == Version::V5 {
        properties(body)?;
    }
    Ok(Incoming::Publish {
        pkid,
        payload: body.clone(),
    })
}

/// The block of properties (§ 2.2.2), taken off `body`.
fn properties(body: &mut Bytes) -> Result<Bytes, NotMqtt> {
    let mut len = 0;
    for shift in [0, 7, 14, 21] {
        let byte = u8_of(body)?;
        len |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            if body.remaining() < len {
                return Err(NotMqtt("properties longer than their packet"));
            }
            return Ok(body.split_to(len));
        }
    }
    Err(NotMqtt("a length of more than four bytes"))
}

fn u8_of(body: &mut Bytes) -> Result<u8, NotMqtt> {
    body.try_get_u8().map_err(|_| NotMqtt("a packet cut short"))
}

fn u16_of(body: &mut Bytes) -> Result<u16, NotMqtt> {
    body.try_get_u16()
        .map_err(|_| NotMqtt("a packet cut short"))
}

fn skip(body: &mut Bytes, count: usize) -> Result<(), NotMqtt> {
    if body.remaining() < count {
        return Err(NotMqtt("a packet cut short"));
    }
    body.advance(count);
    Ok(())
}

fn skip_text(body: &mut Bytes) -> Result<(), NotMqtt> {
    let len = u16_of(body)?;
    skip(body, usize::from(len))
}

fn packet(out: &mut BytesMut, first: u8, body: &[u8]) {
    out.put_u8(first);
    length(out, body.len());
    out.put_slice(body);
}

fn length(out: &mut BytesMut, mut len: usize) {
    loop {
        let low = (len & 0x7F) as u8;
        len >>= 7;
        if len == 0 {
            return out.put_u8(low);
        }
        out.put_u8(low | 0x80);
    }
}

fn text(out: &mut BytesMut, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}

fn no_properties(out: &mut BytesMut, version: Version) {
    if version == Version::V5 {
        out.put_u8(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], version: Version) -> Result<Vec<Incoming>, NotMqtt> {
        let mut buffer = BytesMut::from(bytes);
        let mut out = Vec::new();
        while let Some(incoming) = next(&mut buffer, version)? {
            out.push(incoming);
        }
        Ok(out)
    }

    #[test]
    fn answers_are_read_in_both_versions() {
        let v4 = [
            0x20, 2, 0, 0, 0x40, 2, 0, 7, 0xD0, 0, 0x90, 3, 0, 1, 1, 0x40,
        ];
        assert_eq!(
            all(&v4, Version::V311).unwrap(),
            [
                Incoming::ConnAck {
                    code: 0,
                    receive_maximum: None
                },
                Incoming::PubAck { pkid: 7, reason: 0 },
                Incoming::Pong,
                Incoming::SubAck { code: 1 },
            ]
        );
        let v5 = [
            0x20, 9, 0, 0, 6, 0x24, 1, 0x21, 0, 20, 0x25, 0x40, 4, 0, 7, 0x97, 0,
        ];
        assert!(all(&v5, Version::V5).is_err(), "a property cut short");
        let v5 = [
            0x20, 8, 0, 0, 5, 0x24, 1, 0x21, 0, 20, 0x40, 4, 0, 7, 0x97, 0,
        ];
        assert_eq!(
            all(&v5, Version::V5).unwrap(),
            [
                Incoming::ConnAck {
                    code: 0,
                    receive_maximum: Some(20)
                },
                Incoming::PubAck {
                    pkid: 7,
                    reason: 0x97
                },
            ]
        );
    }

    #[test]
    fn what_is_published_comes_back_as_a_message() {
        for version in [Version::V311, Version::V5] {
            let mut out = BytesMut::new();
            publish(&mut out, version, 300, "linli/v1/d/event", &[b'x'; 300]);
            assert_eq!(
                next(&mut out, version).unwrap(),
                Some(Incoming::Publish {
                    pkid: Some(300),
                    payload: Bytes::from(vec![b'x'; 300])
                })
            );
            assert!(out.is_empty());
        }
    }

    #[test]
    fn no_bytes_panic() {
        let mut random = crate::Random::new(3);
        for _ in 0..20_000 {
            let len = random.below(24);
            let bytes: Vec<u8> = (0..len).map(|_| random.number() as u8).collect();
            let _ = all(&bytes, Version::V5);
            let _ = all(&bytes, Version::V311);
        }
    }
}
