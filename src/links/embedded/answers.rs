//! What a client gets for its CONNECT.

use super::connect::{Connect, Version};

/// Why a client isn't let in. Each has a code in both versions of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another version of MQTT than 3.1.1 or 5.
    Version,
    /// Against the standard.
    Malformed,
    /// The client id is not an identifier.
    ClientId,
    /// Unknown device, wrong password, or a user name that isn't the client id.
    Login,
    /// The certificate that was shown is another's, or doesn't hold any more.
    Certificate,
    /// The will is on a topic that isn't the device's own status.
    WillTopic,
    /// The will isn't `online` or `offline`.
    WillPayload,
    /// The will has QoS 2.
    WillQos,
    /// Enhanced authentication, which isn't offered.
    AuthMethod,
    /// Too many wrong passwords from this address.
    Throttled,
    /// No room, or the broker is stopping.
    Unavailable,
}

impl Refusal {
    /// The CONNACK. `None` closes without a word.
    pub(super) fn packet(self, version: Version) -> Option<Vec<u8>> {
        match version {
            Version::V3 => self.code_v3().map(|code| vec![0x20, 2, 0, code]),
            Version::V5 => Some(vec![0x20, 3, 0, self.code_v5(), 0]),
        }
    }

    fn code_v3(self) -> Option<u8> {
        match self {
            Self::Version => Some(1),
            Self::ClientId => Some(2),
            Self::Throttled | Self::Unavailable => Some(3),
            Self::Login => Some(4),
            Self::Certificate | Self::WillTopic | Self::WillPayload | Self::WillQos => Some(5),
            Self::Malformed | Self::AuthMethod => None,
        }
    }

    fn code_v5(self) -> u8 {
        match self {
            Self::Malformed => 0x81,
            Self::Version => 0x84,
            Self::ClientId => 0x85,
            Self::Login => 0x86,
            Self::Certificate | Self::WillTopic => 0x87,
            Self::Unavailable => 0x88,
            Self::AuthMethod => 0x8c,
            Self::WillPayload => 0x99,
            Self::WillQos => 0x9b,
            Self::Throttled => 0x9f,
        }
    }
}

/// What a client is told when it is let in.
pub(super) struct Welcome {
    pub receive_max: u16,
    pub packet_max_bytes: u32,
    pub keep_alive_s: u16,
}

impl Welcome {
    /// The CONNACK. There never is a session from before, and none outlives the connection.
    pub(super) fn packet(&self, connect: &Connect) -> Vec<u8> {
        if connect.version == Version::V3 {
            return vec![0x20, 2, 0, 0];
        }
        let mut properties = Vec::with_capacity(24);
        if connect.keeps_session {
            properties.extend_from_slice(&[0x11, 0, 0, 0, 0]);
        }
        properties.push(0x21);
        properties.extend_from_slice(&self.receive_max.to_be_bytes());
        properties.extend_from_slice(&[0x24, 1]);
        properties.push(0x27);
        properties.extend_from_slice(&self.packet_max_bytes.to_be_bytes());
        if self.keep_alive_s != connect.keep_alive_s {
            properties.push(0x13);
            properties.extend_from_slice(&self.keep_alive_s.to_be_bytes());
        }
        properties.extend_from_slice(&[0x2a, 0]);
        let mut body = vec![0, 0];
        body.push(u8::try_from(properties.len()).unwrap_or(0));
        body.extend_from_slice(&properties);
        framed(0x20, &body)
    }
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(body.len() + 5);
    packet.push(kind);
    let mut rest = body.len();
    loop {
        let byte = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        packet.push(if rest > 0 { byte | 0x80 } else { byte });
        if rest == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

#[cfg(test)]
mod tests {
    use super::super::connect::Will;
    use super::*;

    fn connect(version: Version) -> Connect {
        Connect {
            version,
            client_id: "bank-a".into(),
            username: Some("bank-a".into()),
            password: Some(b"secret".to_vec()),
            will: Some(Will {
                topic: "linli/v1/bank-a/status".into(),
                payload: b"offline".to_vec(),
                qos: 1,
                retain: true,
            }),
            keep_alive_s: 0,
            receive_max: (version == Version::V5).then_some(7),
            packet_max_bytes: (version == Version::V5).then_some(1000),
            problem_info: version == Version::V3,
            keeps_session: false,
        }
    }

    #[test]
    fn a_welcome_names_every_limit() {
        let welcome = Welcome {
            receive_max: 64,
            packet_max_bytes: 70_000,
            keep_alive_s: 3600,
        };
        assert_eq!(welcome.packet(&connect(Version::V3)), [0x20, 2, 0, 0]);
        let asked = Connect {
            keeps_session: true,
            ..connect(Version::V5)
        };
        let expected = b"\x20\x17\x00\x00\x14\x11\x00\x00\x00\x00\x21\x00\x40\x24\x01\x27\x00\x01\x11\x70\x13\x0e\x10\x2a\x00";
        assert_eq!(welcome.packet(&asked), expected);
    }
}
