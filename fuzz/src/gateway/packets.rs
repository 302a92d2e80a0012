//! What a client of the embedded broker says after its CONNECT, and what it is told.

use bytes::BytesMut;
use linli::links::embedded::first_packet::{Connect, Version};
use linli::links::embedded::limits::PACKET_MAX_BYTES;
use linli::links::embedded::packets::{Filter, Heard, Reason, Wire};

use super::answers;

/// Bytes in pieces of any size give the same packets and the same end as all at once. What is only
/// announced takes no room, and what is too large is refused as soon as its length is known. What is
/// heard is what a second reading of the standard finds in the bytes. What is answered can be read.
///
/// The first byte says how the stream is cut, the second who the client is.
pub fn mqtt_packets(bytes: &[u8]) {
    let [cut, who, stream @ ..] = bytes else {
        return;
    };
    let connect = client(*who);
    let (heard, end) = read(&connect, stream, stream.len().max(1));
    let (again, then) = read(&connect, stream, 1 + usize::from(*cut));
    assert!(heard == again, "heard otherwise in pieces");
    assert_eq!(end, then, "ended otherwise in pieces");
    judge(&connect, stream, &heard, end);
    for said in &heard {
        answers::to(&connect, said);
    }
    if let End::Refused(reason) = end {
        answers::refusal(&connect, reason);
    }
}

/// A client of either version, that takes packets of any size or only small ones, with reasons or without.
fn client(who: u8) -> Connect {
    let version = [Version::V3, Version::V5][usize::from(who & 1)];
    let size = u32::from(who >> 2).pow(2);
    Connect {
        version,
        client_id: "bank-a".to_owned(),
        username: None,
        password: None,
        will: None,
        keep_alive_s: 60,
        receive_max: None,
        packet_max_bytes: (version == Version::V5 && size > 0).then_some(size),
        problem_info: version == Version::V3 || who & 2 == 0,
        keeps_session: false,
    }
}

/// How a stream ends for its reader.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// With so many bytes of a packet that isn't whole.
    Waits(usize),
    Refused(Reason),
}

fn read(connect: &Connect, stream: &[u8], piece: usize) -> (Vec<Heard>, End) {
    let mut wire = Wire::new(connect);
    let mut buffer = BytesMut::new();
    let mut heard = Vec::new();
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            let held = buffer.capacity();
            match wire.next(&mut buffer) {
                Ok(Some(said)) => heard.push(said),
                Ok(None) => {
                    assert!(buffer.capacity() <= held, "room for what is only announced");
                    break;
                }
                Err(reason) => return (heard, End::Refused(reason)),
            }
        }
    }
    (heard, End::Waits(buffer.len()))
}

fn judge(connect: &Connect, stream: &[u8], heard: &[Heard], end: End) {
    let most = usize::try_from(PACKET_MAX_BYTES).expect("it fits");
    let five = connect.version == Version::V5;
    let mut stream = Fields(stream);
    for said in heard {
        let (first, body) = stream.packet().expect("heard before it was there");
        assert!(body.len() <= most, "larger than announced");
        says(said, first, Fields(body), five);
    }
    let announced = stream.clone().announced();
    let whole = stream.clone().packet().is_some();
    match end {
        End::Waits(left) => {
            assert_eq!(left, stream.0.len());
            assert!(!whole, "there, and not heard");
            assert!(announced.is_none_or(|length| length <= most), "waited for");
        }
        End::Refused(reason) => {
            let large = announced.is_some_and(|length| length > most);
            assert_eq!(reason == Reason::PacketTooLarge, large);
            assert!(large || whole || stream.0.len() >= 5, "refused too soon");
        }
    }
}

/// Holds what was heard against the bytes that say it.
fn says(said: &Heard, first: u8, mut body: Fields<'_>, five: bool) {
    let heard_right = match said {
        Heard::Publish(publish) => {
            let qos = u8::from(publish.qos);
            let topic: &str = &publish.topic;
            assert!(!topic.is_empty() && !topic.contains(['+', '#', '\0']));
            assert!(qos <= if five { 1 } else { 2 });
            assert!(
                publish.properties.is_none(),
                "what nobody reads costs memory"
            );
            let flags = u8::from(publish.dup) << 3 | qos << 1 | u8::from(publish.retain);
            first == 0x30 | flags
                && body.counted() == Some(topic.as_bytes())
                && publish.packet_id.is_some() == (qos > 0)
                && publish
                    .packet_id
                    .is_none_or(|id| body.u16() == Some(id.get()))
                && (!five || body.properties().is_some())
                && body.0 == publish.payload
        }
        Heard::Acknowledged(id) => {
            first == 0x40 && body.u16() == Some(id.get()) && (five || body.0.is_empty())
        }
        Heard::Released(id) => {
            !five && first == 0x62 && body.u16() == Some(id.get()) && body.0.is_empty()
        }
        Heard::Subscribe(id, filters) => {
            assert!(!filters.is_empty());
            first == 0x82
                && body.u16() == Some(id.get())
                && filters
                    .iter()
                    .all(|f| f.options.id == filters[0].options.id)
                && subscription(&mut body, five)
                    == Some(filters[0].options.id.map_or(0, |id| id.get() as usize))
                && filters.iter().all(|filter| asks(filter, &mut body))
                && body.0.is_empty()
        }
        Heard::Unsubscribe(id, topics) => {
            assert!(!topics.is_empty() && topics.iter().all(|topic| !topic.is_empty()));
            first == 0xa2
                && body.u16() == Some(id.get())
                && (!five || body.properties().is_some())
                && topics
                    .iter()
                    .all(|topic| body.counted() == Some(topic.as_bytes()))
                && body.0.is_empty()
        }
        Heard::Ping => first == 0xc0 && body.0.is_empty(),
        Heard::Disconnect { with_will } => {
            first == 0xe0
                && (five || body.0.is_empty())
                && *with_will == body.u8().is_some_and(|reason| reason != 0)
        }
    };
    assert!(heard_right, "heard otherwise than said: {first:#x}");
}

/// The subscription identifier of a SUBSCRIBE, 0 if it has none. Every other property is a pair of texts.
fn subscription(body: &mut Fields<'_>, five: bool) -> Option<usize> {
    if !five {
        return Some(0);
    }
    let mut properties = Fields(body.properties()?);
    let mut found = 0;
    while let Some(name) = properties.u8() {
        match name {
            0x0b => found = properties.length()?,
            _ => {
                properties.counted()?;
                properties.counted()?;
            }
        }
    }
    Some(found)
}

fn asks(filter: &Filter, body: &mut Fields<'_>) -> bool {
    let options = u8::from(filter.options.qos)
        | u8::from(filter.options.no_local) << 2
        | u8::from(filter.options.as_published) << 3
        | u8::from(filter.retained) << 4;
    !filter.topic.is_empty()
        && body.counted() == Some(filter.topic.as_bytes())
        && body.u8() == Some(options)
}

/// Reads the fields of MQTT, from the standard.
#[derive(Clone)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The first byte and the body of the packet that comes next, if it is whole.
    fn packet(&mut self) -> Option<(u8, &'a [u8])> {
        let first = self.u8()?;
        let length = self.length()?;
        Some((first, self.take(length)?))
    }

    /// How long the packet that comes next says it is.
    fn announced(mut self) -> Option<usize> {
        self.take(1)?;
        self.length()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn u16(&mut self) -> Option<u16> {
        let high = self.u8()?;
        Some(u16::from_be_bytes([high, self.u8()?]))
    }

    /// A length of one to four bytes, the lowest seven bits first.
    fn length(&mut self) -> Option<usize> {
        let mut length = 0;
        for place in 0..4 {
            let byte = self.u8()?;
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Some(length);
            }
        }
        None
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn properties(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }
}
