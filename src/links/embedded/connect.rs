//! The first packet of a client, read strictly: CONNECT of MQTT 3.1.1 and 5.
//!
//! Nothing of a client is believed before this packet has been read whole, so the reader takes
//! what the standards allow and nothing else: reserved bits, bytes left over, a property twice, a
//! NUL in a text, a password without a name in 3.1.1 — all of it refuses the client. What a client
//! may leave as its will or call itself is decided later, by who knows the devices.

use std::fmt;

/// The longest CONNECT that is read, in bytes after the fixed header. Ours need 250; the rest is
/// for user properties of libraries.
pub(super) const CONNECT_MAX_BYTES: usize = 2048;

/// The protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.
    V5,
}

/// What a client asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The protocol that it speaks.
    pub version: Version,
    /// What it calls itself.
    pub client_id: String,
    /// Who it says it is.
    pub username: Option<String>,
    /// What proves it.
    pub password: Option<Vec<u8>>,
    /// What it wants published when it is gone.
    pub will: Option<Will>,
    /// How often it gives a sign of life at least, in seconds; 0 for never.
    pub keep_alive_s: u16,
    /// MQTT 5: how many unacknowledged messages the client takes.
    pub receive_max: Option<u16>,
    /// MQTT 5: the largest packet the client takes.
    pub packet_max_bytes: Option<u32>,
    /// MQTT 5: whether the client wants reason strings.
    pub problem_info: bool,
    /// MQTT 5: whether the client asks for a session that outlives the connection.
    pub keeps_session: bool,
}

/// Without the password.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("will", &self.will)
            .finish_non_exhaustive()
    }
}

/// What a client wants published when it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// At most once, at least once, exactly once: 0, 1, 2.
    pub qos: u8,
    /// Whether those who come later hear it too.
    pub retain: bool,
}

/// Why a first packet isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// Not MQTT: nothing is answered.
    NotMqtt,
    /// Another version of MQTT.
    Version,
    /// Against the standard of this version.
    Malformed(Version),
    /// MQTT 5: enhanced authentication, which isn't offered.
    AuthMethod,
}

const USERNAME: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL: u8 = 0x04;
const RESERVED: u8 = 0x01;

/// Reads the variable header and payload of a CONNECT.
pub fn parse(packet: &[u8]) -> Result<Connect, Bad> {
    let mut reader = Reader(packet);
    let version = version(&mut reader)?;
    let flags = reader.u8().ok_or(Bad::Malformed(version))?;
    let connect = body(&mut reader, version, flags)?;
    if reader.0.is_empty() {
        Ok(connect)
    } else {
        Err(Bad::Malformed(version))
    }
}

fn version(reader: &mut Reader<'_>) -> Result<Version, Bad> {
    match reader.bytes() {
        Some(b"MQTT") => {}
        Some(b"MQIsdp") => return Err(Bad::Version),
        _ => return Err(Bad::NotMqtt),
    }
    match reader.u8() {
        Some(4) => Ok(Version::V3),
        Some(5) => Ok(Version::V5),
        Some(_) => Err(Bad::Version),
        None => Err(Bad::NotMqtt),
    }
}

fn body(reader: &mut Reader<'_>, version: Version, flags: u8) -> Result<Connect, Bad> {
    let malformed = Bad::Malformed(version);
    let will_qos = flags >> 3 & 3;
    let has_will = flags & WILL != 0;
    let will_bits_fit = if has_will {
        will_qos < 3
    } else {
        will_qos == 0 && flags & WILL_RETAIN == 0
    };
    let lone_password = version == Version::V3 && flags & PASSWORD != 0 && flags & USERNAME == 0;
    if flags & RESERVED != 0 || !will_bits_fit || lone_password {
        return Err(malformed);
    }
    let keep_alive_s = reader.u16().ok_or(malformed)?;
    let wishes = match version {
        Version::V3 => Wishes::default(),
        Version::V5 => connect_properties(reader)?,
    };
    let client_id = reader.text().ok_or(malformed)?.to_owned();
    let will = if has_will {
        Some(will(reader, version, flags)?)
    } else {
        None
    };
    let username = match flags & USERNAME {
        0 => None,
        _ => Some(reader.text().ok_or(malformed)?.to_owned()),
    };
    let password = match flags & PASSWORD {
        0 => None,
        _ => Some(reader.bytes().ok_or(malformed)?.to_vec()),
    };
    Ok(Connect {
        version,
        client_id,
        username,
        password,
        will,
        keep_alive_s,
        receive_max: wishes.receive_max,
        packet_max_bytes: wishes.packet_max_bytes,
        problem_info: !wishes.no_problem_info,
        keeps_session: wishes.session_expiry_s > 0,
    })
}

fn will(reader: &mut Reader<'_>, version: Version, flags: u8) -> Result<Will, Bad> {
    let malformed = Bad::Malformed(version);
    if version == Version::V5 {
        will_properties(reader).ok_or(malformed)?;
    }
    let topic = reader.text().ok_or(malformed)?.to_owned();
    let payload = reader.bytes().ok_or(malformed)?.to_vec();
    Ok(Will {
        topic,
        payload,
        qos: flags >> 3 & 3,
        retain: flags & WILL_RETAIN != 0,
    })
}

#[derive(Default)]
struct Wishes {
    session_expiry_s: u32,
    receive_max: Option<u16>,
    packet_max_bytes: Option<u32>,
    no_problem_info: bool,
}

fn connect_properties(reader: &mut Reader<'_>) -> Result<Wishes, Bad> {
    let malformed = Bad::Malformed(Version::V5);
    let mut properties = Reader(reader.properties().ok_or(malformed)?);
    let mut seen = Seen::default();
    let mut wishes = Wishes::default();
    let mut method = false;
    let mut data = false;
    while let Some(id) = properties.u8() {
        let read = match id {
            0x11 => properties
                .u32()
                .map(|value| wishes.session_expiry_s = value),
            0x15 => properties.text().map(|_| method = true),
            0x16 => properties.bytes().map(|_| data = true),
            0x17 => properties
                .flag()
                .map(|value| wishes.no_problem_info = !value),
            0x19 => properties.flag().map(drop),
            0x21 => properties
                .u16()
                .filter(|value| *value > 0)
                .map(|value| wishes.receive_max = Some(value)),
            0x22 => properties.u16().map(drop),
            0x26 => properties.pair(),
            0x27 => properties
                .u32()
                .filter(|value| *value > 0)
                .map(|value| wishes.packet_max_bytes = Some(value)),
            _ => None,
        };
        if read.is_none() || !seen.first(id) {
            return Err(malformed);
        }
    }
    match (method, data) {
        (true, _) => Err(Bad::AuthMethod),
        (false, true) => Err(malformed),
        (false, false) => Ok(wishes),
    }
}

fn will_properties(reader: &mut Reader<'_>) -> Option<()> {
    let mut properties = Reader(reader.properties()?);
    let mut seen = Seen::default();
    while let Some(id) = properties.u8() {
        match id {
            0x01 => properties.flag().map(drop),
            0x02 | 0x18 => properties.u32().map(drop),
            0x03 | 0x08 => properties.text().map(drop),
            0x09 => properties.bytes().map(drop),
            0x26 => properties.pair(),
            _ => None,
        }?;
        if !seen.first(id) {
            return None;
        }
    }
    Some(())
}

/// Which properties were there already. Only user properties (0x26) may come again.
#[derive(Default)]
struct Seen(u64);

impl Seen {
    fn first(&mut self, id: u8) -> bool {
        let bit = 1_u64 << (id & 63);
        let again = self.0 & bit != 0 && id != 0x26;
        self.0 |= bit;
        !again
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)
            .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn text(&mut self) -> Option<&'a str> {
        let text = std::str::from_utf8(self.bytes()?).ok()?;
        (!text.contains('\0')).then_some(text)
    }

    fn pair(&mut self) -> Option<()> {
        self.text()?;
        self.text().map(drop)
    }

    fn properties(&mut self) -> Option<&'a [u8]> {
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.u8()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte == 0 && shift > 0 {
                // Longer than needed (MQTT 5, 1.5.5).
                return None;
            }
            if byte & 0x80 == 0 {
                return self.take(length);
            }
            shift += 7;
            if shift > 21 {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &[u8] = b"\x00\x04MQTT\x04\xc2\x00\x3c\x00\x06bank-a\x00\x06bank-a\x00\x02pw";
    const FIVE: &[u8] = b"\x00\x04MQTT\x05\xc2\x00\x3c\x00\x00\x06bank-a\x00\x06bank-a\x00\x02pw";

    fn with(base: &[u8], at: usize, byte: u8) -> Vec<u8> {
        let mut packet = base.to_vec();
        packet[at] = byte;
        packet
    }

    fn five(properties: &[u8]) -> Vec<u8> {
        let mut packet = b"\x00\x04MQTT\x05\xc2\x00\x3c".to_vec();
        packet.push(u8::try_from(properties.len()).unwrap());
        packet.extend_from_slice(properties);
        packet.extend_from_slice(b"\x00\x06bank-a\x00\x06bank-a\x00\x02pw");
        packet
    }

    #[test]
    fn both_versions_are_read() {
        for (packet, version) in [(PLAIN, Version::V3), (FIVE, Version::V5)] {
            let connect = parse(packet).unwrap();
            assert_eq!(connect.version, version);
            assert_eq!(connect.client_id, "bank-a");
            assert_eq!(connect.username.as_deref(), Some("bank-a"));
            assert_eq!(connect.password.as_deref(), Some(&b"pw"[..]));
            assert_eq!(connect.keep_alive_s, 60);
        }
    }

    #[test]
    fn wishes_of_mqtt_5_are_read() {
        let connect = parse(&five(b"\x11\x00\x00\x00\x0a\x21\x00\x05\x27\x00\x00\x10\x00\x17\x00\x26\x00\x01a\x00\x01b\x26\x00\x01a\x00\x01b")).unwrap();
        assert_eq!(connect.receive_max, Some(5));
        assert_eq!(connect.packet_max_bytes, Some(4096));
        assert!(!connect.problem_info);
        assert!(connect.keeps_session);
    }

    #[test]
    fn a_will_is_read() {
        let packet = b"\x00\x04MQTT\x04\x2e\x00\x3c\x00\x01a\x00\x01t\x00\x07offline";
        let will = parse(packet).unwrap().will.unwrap();
        assert_eq!(
            will,
            Will {
                topic: "t".into(),
                payload: b"offline".to_vec(),
                qos: 1,
                retain: true
            }
        );
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        let three = Bad::Malformed(Version::V3);
        let cases: Vec<(&str, Vec<u8>, Bad)> = vec![
            ("empty", vec![], Bad::NotMqtt),
            (
                "another protocol",
                b"\x00\x04HTTP\x04".to_vec(),
                Bad::NotMqtt,
            ),
            (
                "MQTT 3.1",
                b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a".to_vec(),
                Bad::Version,
            ),
            ("level 6", with(PLAIN, 6, 6), Bad::Version),
            ("level 132, a bridge", with(PLAIN, 6, 0x84), Bad::Version),
            ("reserved flag", with(PLAIN, 7, 0xc3), three),
            ("will QoS without a will", with(PLAIN, 7, 0xca), three),
            ("will retain without a will", with(PLAIN, 7, 0xe2), three),
            (
                "will QoS 3",
                b"\x00\x04MQTT\x04\x1e\x00\x3c\x00\x01a\x00\x01t\x00\x01m".to_vec(),
                three,
            ),
            (
                "password without a name",
                b"\x00\x04MQTT\x04\x42\x00\x3c\x00\x01a\x00\x01p".to_vec(),
                three,
            ),
            ("bytes left over", [PLAIN, b"x"].concat(), three),
            ("NUL in the client id", with(PLAIN, 12, 0), three),
            ("invalid UTF-8", with(PLAIN, 12, 0xff), three),
            (
                "a half surrogate",
                b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x03\xed\xa0\x80".to_vec(),
                three,
            ),
        ];
        for (name, packet, bad) in cases {
            assert_eq!(parse(&packet), Err(bad), "{name}");
        }
    }

    #[test]
    fn properties_are_read_strictly() {
        for bad in [
            &b"\x21\x00\x00"[..],
            b"\x27\x00\x00\x00\x00",
            b"\x21\x00\x01\x21\x00\x01",
            b"\x17\x02",
            b"\x01\x00",
            b"\x7f",
            b"\x16\x00\x00",
            b"\x21\x00",
            b"\x26\x00\x01\x00\x00\x01b",
        ] {
            assert_eq!(
                parse(&five(bad)),
                Err(Bad::Malformed(Version::V5)),
                "{bad:?}"
            );
        }
        assert_eq!(parse(&five(b"\x15\x00\x05SCRAM")), Err(Bad::AuthMethod));
        let endless = b"\x00\x04MQTT\x05\xc2\x00\x3c\xff\xff\xff\xff\x7f";
        assert_eq!(parse(endless), Err(Bad::Malformed(Version::V5)));
    }

    #[test]
    fn a_length_of_properties_is_as_short_as_can_be() {
        let long = b"\x00\x04MQTT\x05\xc2\x00\x3c\x80\x00\x00\x06bank-a\x00\x06bank-a\x00\x02pw";
        assert_eq!(parse(long), Err(Bad::Malformed(Version::V5)));
    }

    /// As the fuzz target `mqtt_door` asks of every CONNECT.
    #[test]
    fn a_password_is_not_printed() {
        let printed = format!("{:?}", parse(PLAIN).unwrap());
        assert!(
            printed.contains("bank-a") && !printed.contains("112"),
            "{printed}"
        );
    }

    #[test]
    fn a_packet_cut_anywhere_is_refused() {
        for packet in [PLAIN, FIVE] {
            for length in 0..packet.len() {
                assert!(parse(&packet[..length]).is_err(), "{length}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut packet in proptest::collection::vec(any::<u8>(), 0..300), level in 3_u8..7) {
            let _ = parse(&packet);
            packet.splice(0..0, *b"\x00\x04MQTT");
            packet.insert(6, level);
            let _ = parse(&packet);
        }
    }
}
