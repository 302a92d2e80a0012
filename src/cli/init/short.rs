//! The short forms of banks, desks, devices and ports, on the command line and on a terminal.

use std::path::PathBuf;
use std::str::FromStr;

use cloud_protocol::downlink::{Size, Zone};
use firmware_protocols::Ident;

use super::answers::{Bank, Board, COMPARTMENTS_MOST, Desk, Device, OnPort, Port, Run, Runs};
use crate::cli::words::init as say;
use crate::config::serial::Protocol;

/// The longest text that says where something stands, characters.
const WHERE_MOST: usize = 200;

/// `bank-a@b1:8S,6M,2L,2Mc=Gate 1`.
impl FromStr for Bank {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, address) = split_where(text)?;
        let (place, runs) = head.split_once(':').ok_or(say::SHORT_BANK)?;
        let (id, building) = placed(place, say::SHORT_BANK)?;
        let runs = runs.parse()?;
        Ok(Self {
            id,
            building,
            address,
            runs,
        })
    }
}

/// `desk-1@b2=Property office`.
impl FromStr for Desk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, address) = split_where(text)?;
        let (id, building) = placed(head, say::SHORT_DESK)?;
        Ok(Self {
            id,
            building,
            address,
        })
    }
}

/// `keypad-a@b1/bank-a`.
impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, point) = match text.split_once('/') {
            Some((head, point)) => (head, Some(ident(point)?)),
            None => (text, None),
        };
        let (id, building) = placed(head, say::SHORT_DEVICE)?;
        Ok(Self {
            id,
            building,
            point,
        })
    }
}

/// `bus-1=/dev/ttyUSB0,kerong-cu16,19200`.
impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, rest) = text.split_once('=').ok_or(say::SHORT_PORT)?;
        let (head, last) = rest.rsplit_once(',').ok_or(say::SHORT_PORT)?;
        // A protocol may be all digits to look at (`8a` isn't), a rate always is.
        let (path, protocol, rate) = match last.bytes().all(|byte| byte.is_ascii_digit()) {
            true => {
                let (path, protocol) = head.rsplit_once(',').ok_or(say::SHORT_PORT)?;
                (path, protocol, Some(baud(last)?))
            }
            false => (head, last, None),
        };
        if path.is_empty() || path.chars().any(char::is_control) {
            return Err(say::SHORT_PORT.to_string());
        }
        Ok(Self {
            id: ident(id)?,
            path: PathBuf::from(path),
            protocol: protocol.trim().parse::<Spoken>()?.0,
            baud: rate,
        })
    }
}

/// `bank-a@bus-1:0=1-16`.
impl FromStr for Board {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, doors) = text.split_once('=').ok_or(say::SHORT_BOARD)?;
        let (place, address) = head.split_once(':').ok_or(say::SHORT_BOARD)?;
        let (bank, port) = placed(place, say::SHORT_BOARD)?;
        Ok(Self {
            bank,
            port,
            address: address.parse().map_err(|_| say::SHORT_BOARD)?,
            compartments: range(doors)?,
        })
    }
}

/// `reader-1@osdp-1:0=gate`.
impl FromStr for OnPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, what) = match text.split_once('=') {
            Some((head, what)) => (head, Some(what.trim().to_string())),
            None => (text, None),
        };
        let (place, address) = match head.split_once(':') {
            Some((place, address)) => {
                let address = address.trim().parse().map_err(|_| say::SHORT_ON_PORT)?;
                (place, Some(address))
            }
            None => (head, None),
        };
        let (device, port) = placed(place, say::SHORT_ON_PORT)?;
        Ok(Self {
            device,
            port,
            address,
            what,
        })
    }
}

/// `8S 6M 2L 2Mc`.
impl FromStr for Runs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split([' ', ',', '\t']).filter(|part| !part.is_empty());
        let runs: Vec<Run> = parts.map(run).collect::<Result<_, _>>()?;
        let count: u32 = runs.iter().map(|run| u32::from(run.count)).sum();
        match (1..=COMPARTMENTS_MOST).contains(&count) {
            true => Ok(Self(runs)),
            false => Err(say::compartments(count)),
        }
    }
}

/// A protocol by its word.
pub struct Spoken(pub Protocol);

impl FromStr for Spoken {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Protocol::ALL.into_iter();
        let found = all.find(|protocol| protocol.word() == text);
        found.map(Self).ok_or_else(say::protocols)
    }
}

/// An id.
pub fn ident(text: &str) -> Result<Ident, String> {
    Ident::new(text.trim()).map_err(|e| e.to_string())
}

/// Where something stands: one line of text, as people read it.
pub fn place(text: &str) -> Result<String, String> {
    let text = text.trim();
    let sound = text.chars().count() <= WHERE_MOST && !text.chars().any(char::is_control);
    match sound {
        true => Ok(text.to_string()),
        false => Err(say::WHERE_WRONG.to_string()),
    }
}

/// Bits a second.
pub fn baud(text: &str) -> Result<u32, String> {
    let read = text.trim().parse().ok();
    let sound = read.filter(|rate| (300..=4_000_000).contains(rate));
    sound.ok_or_else(|| say::BAUD_WRONG.to_string())
}

/// Compartments: `1-16`, or `7`.
pub fn range(text: &str) -> Result<[u16; 2], String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let read = |text: &str| text.trim().parse::<u16>().map_err(|_| say::RANGE_WRONG);
    Ok([read(first)?, read(last)?])
}

fn split_where(text: &str) -> Result<(&str, String), String> {
    match text.split_once('=') {
        Some((head, address)) => Ok((head, place(address)?)),
        None => Ok((text, String::new())),
    }
}

fn placed(text: &str, form: &str) -> Result<(Ident, Ident), String> {
    let (what, at) = text.split_once('@').ok_or(form)?;
    Ok((ident(what)?, ident(at)?))
}

/// `2Mc-low`: a number, a size, perhaps how cold, perhaps `low`.
fn run(text: &str) -> Result<Run, String> {
    let wrong = || say::run_wrong(text);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, rest) = text.split_at(digits);
    let count: u16 = count.parse().map_err(|_| wrong())?;
    let mut marks = rest.chars();
    let size = match marks.next().map(|mark| mark.to_ascii_uppercase()) {
        Some('S') => Size::S,
        Some('M') => Size::M,
        Some('L') => Size::L,
        _ => return Err(wrong()),
    };
    let (zone, rest) = match marks.as_str().strip_prefix(['c', 'C']) {
        Some(rest) => (Zone::Chilled, rest),
        None => match marks.as_str().strip_prefix(['f', 'F']) {
            Some(rest) => (Zone::Frozen, rest),
            None => (Zone::Ambient, marks.as_str()),
        },
    };
    let low = match rest {
        "" => false,
        "-low" => true,
        _ => return Err(wrong()),
    };
    match count {
        0 => Err(wrong()),
        _ => Ok(Run {
            count,
            size,
            zone,
            low,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compartments_in_short() {
        let runs: Runs = "8S 6m,2L  2Mc-low".parse().unwrap();
        let told: Vec<_> = runs
            .0
            .iter()
            .map(|r| (r.count, r.size, r.zone, r.low))
            .collect();
        assert_eq!(
            told,
            [
                (8, Size::S, Zone::Ambient, false),
                (6, Size::M, Zone::Ambient, false),
                (2, Size::L, Zone::Ambient, false),
                (2, Size::M, Zone::Chilled, true),
            ]
        );
        assert_eq!(runs.count(), 18);
        for wrong in [
            "",
            "S",
            "0S",
            "8X",
            "8Sx",
            "513S",
            "300S 300M",
            "70000S",
            "8Slow",
            "８S",
        ] {
            assert!(wrong.parse::<Runs>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_given_as_flags() {
        let bank: Bank = "bank-a@b1:8S,2Lf=Gate 1, east = left".parse().unwrap();
        assert_eq!((bank.id.as_str(), bank.building.as_str()), ("bank-a", "b1"));
        assert_eq!(
            (bank.address.as_str(), bank.runs.count()),
            ("Gate 1, east = left", 10)
        );
        let desk: Desk = "desk-1@b2".parse().unwrap();
        assert_eq!((desk.id.as_str(), desk.address.as_str()), ("desk-1", ""));
        let device: Device = "keypad-a@b1/bank-a".parse().unwrap();
        assert_eq!(device.point.unwrap().as_str(), "bank-a");
        let path = "/dev/serial/by-path/pci-0000:01:00.0-usb-0:1,1:1.0-port0";
        let port: Port = format!("bus-1={path},8a,9600").parse().unwrap();
        assert_eq!((port.protocol, port.baud), (Protocol::EightA, Some(9_600)));
        assert_eq!(port.path, PathBuf::from(path));
        let port: Port = "bus-1=/dev/ttyS0,modbus".parse().unwrap();
        assert_eq!((port.protocol, port.baud), (Protocol::Modbus, None));
        let board: Board = "bank-a@bus-1:3=17-20".parse().unwrap();
        assert_eq!((board.address, board.compartments), (3, [17, 20]));
        let on: OnPort = "reader-1@osdp-1:0=gate".parse().unwrap();
        assert_eq!((on.address, on.what.as_deref()), (Some(0), Some("gate")));
    }

    #[test]
    fn what_is_written_otherwise_is_told_how() {
        for (wrong, told) in [
            ("bank-a:8S".parse::<Bank>().err(), "bank-a@b1:8S,6M"),
            ("bank-a@b1".parse::<Bank>().err(), "bank-a@b1:8S,6M"),
            ("Bank A@b1:8S".parse::<Bank>().err(), "a-z"),
            ("bank-a@b1:8Q".parse::<Bank>().err(), "8Q"),
            ("desk-1".parse::<Desk>().err(), "desk-1@b2"),
            ("desk-1@b1=\u{1b}[2J".parse::<Desk>().err(), "one line"),
            ("door-1".parse::<Device>().err(), "door-1@b1"),
            ("bus-1".parse::<Port>().err(), "bus-1=/dev/ttyUSB0"),
            (
                "bus-1=/dev/ttyUSB0,rs485".parse::<Port>().err(),
                "kerong-cu16",
            ),
            (
                "bus-1=/dev/ttyUSB0,8a,50".parse::<Port>().err(),
                "300 to 4000000",
            ),
            (
                "bank-a@bus-1=1-16".parse::<Board>().err(),
                "bank-a@bus-1:0=1-16",
            ),
            ("bank-a@bus-1:0=a".parse::<Board>().err(), "1-16"),
            (
                "reader-1@osdp-1:x".parse::<OnPort>().err(),
                "reader-1@osdp-1:0=gate",
            ),
        ] {
            let said = wrong.unwrap();
            assert!(said.contains(told), "{said} / {told}");
        }
    }
}
