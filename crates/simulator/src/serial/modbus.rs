//! A Modbus RTU slave, by the 'MODBUS Application Protocol Specification' V1.1b3 and 'MODBUS over
//! Serial Line' V1.02: functions 1 to 6 and 16, CRC, exceptions, frames told apart by 3.5 characters
//! of silence. It can have relays that flash for a time that the slave keeps, with a lock on each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::board::Pulse;
use super::{Say, Slave};
use crate::compartments::Compartments;
use crate::device::lock;

/// The longest frame, by the specification.
const FRAME_MAX: usize = 256;
/// Above this rate the silence is fixed, by the specification.
const FAST_BAUD: u32 = 19_200;
const FAST_SILENCE: Duration = Duration::from_micros(1_750);
/// How many pulses are kept.
const PULSES_MAX: usize = 10_000;

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_ADDRESS: u8 = 2;
const ILLEGAL_VALUE: u8 = 3;

/// Relays with locks. A coil address of its own starts a flash of each: what is written to it by
/// function 5 is the time in tenths of a second.
#[derive(Clone)]
pub struct Relays {
    /// The coil that flashes relay 1.
    pub flash: u16,
    /// The discrete input of relay 1's door contact, if there are contacts.
    pub contact: Option<u16>,
    /// The contact's level when the door is closed.
    pub closed_is_one: bool,
    /// How many.
    pub count: u16,
    /// What they open.
    pub compartments: Compartments,
    /// The compartment that each relay's lock is of, relays from 1.
    pub wiring: BTreeMap<u16, u16>,
}

impl Relays {
    fn unlock(&self, relay: u16) {
        if let Some(compartment) = self.wiring.get(&relay) {
            self.compartments.unlock(*compartment);
        }
    }
}

/// A slave. Clones are the same one.
#[derive(Clone)]
pub struct ModbusSlave(Arc<Shared>);

struct Shared {
    address: u8,
    silence: Duration,
    thinks: Duration,
    relays: Option<Relays>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    coils: BTreeMap<u16, bool>,
    discrete: BTreeMap<u16, bool>,
    holding: BTreeMap<u16, u16>,
    input: BTreeMap<u16, u16>,
    frame: Vec<u8>,
    last: Option<Instant>,
    dead: bool,
    asked: u64,
    pulses: Vec<Pulse>,
    held: u64,
}

impl ModbusSlave {
    /// A slave that hears a line of this rate. It has no registers yet: reading one that isn't there
    /// is an illegal address.
    pub fn new(address: u8, baud: u32) -> Self {
        Self::with_relays(address, baud, None)
    }

    /// One with relays.
    pub fn with_relays(address: u8, baud: u32, relays: Option<Relays>) -> Self {
        let character = Duration::from_secs(11) / baud.max(1);
        let silence = match baud > FAST_BAUD {
            true => FAST_SILENCE,
            false => character * 7 / 2,
        };
        Self(Arc::new(Shared {
            address,
            silence,
            thinks: Duration::from_millis(2),
            relays,
            state: Mutex::default(),
        }))
    }

    /// A coil has this value; it is made if it isn't there.
    pub fn set_coil(&self, address: u16, on: bool) {
        lock(&self.0.state).coils.insert(address, on);
    }

    /// The same for a discrete input.
    pub fn set_discrete(&self, address: u16, on: bool) {
        lock(&self.0.state).discrete.insert(address, on);
    }

    /// The same for a holding register.
    pub fn set_holding(&self, address: u16, value: u16) {
        lock(&self.0.state).holding.insert(address, value);
    }

    /// The same for an input register.
    pub fn set_input(&self, address: u16, value: u16) {
        lock(&self.0.state).input.insert(address, value);
    }

    /// A holding register's value.
    pub fn holding(&self, address: u16) -> Option<u16> {
        lock(&self.0.state).holding.get(&address).copied()
    }

    /// A coil's value.
    pub fn coil(&self, address: u16) -> Option<bool> {
        lock(&self.0.state).coils.get(&address).copied()
    }

    /// Fault: it neither hears nor answers, or does again.
    pub fn set_dead(&self, dead: bool) {
        lock(&self.0.state).dead = dead;
    }

    /// How many requests for it came.
    pub fn asked(&self) -> u64 {
        lock(&self.0.state).asked
    }

    /// Every flash of a relay, in order; the channel is the relay's, from 1.
    pub fn pulses(&self) -> Vec<Pulse> {
        lock(&self.0.state).pulses.clone()
    }

    /// How often a coil with a relay was switched on to stay on, which no gateway may do to a lock.
    pub fn held(&self) -> u64 {
        lock(&self.0.state).held
    }
}

impl Slave for ModbusSlave {
    fn hear(&mut self, byte: u8, at: Instant) -> Option<Say> {
        let mut state = lock(&self.0.state);
        state.last = Some(at);
        // A frame that is too long is none: it is passed over until the silence.
        if state.frame.len() <= FRAME_MAX {
            state.frame.push(byte);
        }
        None
    }

    fn due(&self) -> Option<Instant> {
        let last = lock(&self.0.state).last?;
        Some(last + self.0.silence)
    }

    fn act(&mut self, now: Instant) -> Option<Say> {
        let slave = &*self.0;
        let mut state = lock(&slave.state);
        let at = state.last.take().map_or(now, |last| last + slave.silence);
        let frame = std::mem::take(&mut state.frame);
        let (body, crc) = frame.split_last_chunk::<2>()?;
        if u16::from_le_bytes(*crc) != crc_of(body) || frame.len() > FRAME_MAX || state.dead {
            return None;
        }
        let (address, pdu) = body.split_first()?;
        let broadcast = *address == 0;
        if *address != slave.address && !broadcast {
            return None;
        }
        state.asked += 1;
        let answer = slave.answer(&mut state, pdu, at)?;
        if broadcast {
            return None;
        }
        Some(Say {
            after: slave.thinks,
            bytes: rtu(*address, &answer),
        })
    }
}

impl Shared {
    fn answer(&self, state: &mut State, pdu: &[u8], at: Instant) -> Option<Vec<u8>> {
        let (function, data) = pdu.split_first()?;
        let answered = match function {
            1..=4 => self.read(state, *function, data),
            5 => self.write_coil(state, data, at),
            6 => write_register(state, data),
            16 => write_registers(state, data),
            _ => Err(ILLEGAL_FUNCTION),
        };
        Some(match answered {
            Ok(answer) => [&[*function], &answer[..]].concat(),
            Err(exception) => vec![*function | 0x80, exception],
        })
    }

    fn read(&self, state: &State, function: u8, data: &[u8]) -> Result<Vec<u8>, u8> {
        let &[a, b, c, d] = data else {
            return Err(ILLEGAL_VALUE);
        };
        let (start, count) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let most = if function <= 2 { 2_000 } else { 125 };
        if !(1..=most).contains(&count) {
            return Err(ILLEGAL_VALUE);
        }
        let last = start.checked_add(count - 1).ok_or(ILLEGAL_ADDRESS)?;
        let addresses = start..=last;
        let values = match function {
            1 | 2 => {
                let bits: Option<Vec<bool>> = addresses
                    .map(|address| match function {
                        1 => state.coils.get(&address).copied(),
                        _ => self.discrete(state, address),
                    })
                    .collect();
                let bits = bits.ok_or(ILLEGAL_ADDRESS)?;
                bits.chunks(8).map(packed).collect()
            }
            _ => {
                let table = match function {
                    3 => &state.holding,
                    _ => &state.input,
                };
                let mut bytes = Vec::new();
                for address in addresses {
                    let value = table.get(&address).ok_or(ILLEGAL_ADDRESS)?;
                    bytes.extend(value.to_be_bytes());
                }
                bytes
            }
        };
        let length = u8::try_from(values.len()).map_err(|_| ILLEGAL_VALUE)?;
        Ok([&[length], &values[..]].concat())
    }

    fn discrete(&self, state: &State, address: u16) -> Option<bool> {
        if let Some(relays) = &self.relays
            && let Some(below) = relays.contact.and_then(|first| address.checked_sub(first))
            && below < relays.count
        {
            let compartment = relays.wiring.get(&(below + 1));
            // A contact without a door is open.
            let open = compartment.is_none_or(|c| relays.compartments.is_open(*c) != Some(false));
            return Some(open != relays.closed_is_one);
        }
        state.discrete.get(&address).copied()
    }

    fn write_coil(&self, state: &mut State, data: &[u8], at: Instant) -> Result<Vec<u8>, u8> {
        let &[a, b, c, d] = data else {
            return Err(ILLEGAL_VALUE);
        };
        let (address, value) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        if let Some(relays) = &self.relays {
            if let Some(below) = address.checked_sub(relays.flash)
                && below < relays.count
            {
                let channel = below + 1;
                if state.pulses.len() < PULSES_MAX {
                    state.pulses.push(Pulse {
                        at,
                        channel,
                        length: Duration::from_millis(100) * u32::from(value),
                    });
                }
                relays.unlock(channel);
                return Ok(data.to_vec());
            }
            if address < relays.count && value == 0xFF00 {
                state.held += 1;
                relays.unlock(address + 1);
                return Ok(data.to_vec());
            }
        }
        let on = match value {
            0xFF00 => true,
            0x0000 => false,
            _ => return Err(ILLEGAL_VALUE),
        };
        *state.coils.get_mut(&address).ok_or(ILLEGAL_ADDRESS)? = on;
        Ok(data.to_vec())
    }
}

fn write_register(state: &mut State, data: &[u8]) -> Result<Vec<u8>, u8> {
    let &[a, b, c, d] = data else {
        return Err(ILLEGAL_VALUE);
    };
    let address = u16::from_be_bytes([a, b]);
    *state.holding.get_mut(&address).ok_or(ILLEGAL_ADDRESS)? = u16::from_be_bytes([c, d]);
    Ok(data.to_vec())
}

fn write_registers(state: &mut State, data: &[u8]) -> Result<Vec<u8>, u8> {
    let [a, b, c, d, length, values @ ..] = data else {
        return Err(ILLEGAL_VALUE);
    };
    let (start, count) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
    let right = usize::from(count) * 2 == values.len() && usize::from(*length) == values.len();
    if !(1..=123).contains(&count) || !right {
        return Err(ILLEGAL_VALUE);
    }
    let last = start.checked_add(count - 1).ok_or(ILLEGAL_ADDRESS)?;
    if !(start..=last).all(|address| state.holding.contains_key(&address)) {
        return Err(ILLEGAL_ADDRESS);
    }
    let words = values.as_chunks::<2>().0.iter();
    for (address, word) in (start..=last).zip(words) {
        state.holding.insert(address, u16::from_be_bytes(*word));
    }
    Ok(vec![*a, *b, *c, *d])
}

/// Up to eight bits, the first the lowest.
fn packed(bits: &[bool]) -> u8 {
    let bits = bits.iter().enumerate();
    bits.fold(0, |byte, (place, bit)| byte | u8::from(*bit) << place)
}

fn rtu(address: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = [&[address], pdu].concat();
    frame.extend(crc_of(&frame).to_le_bytes());
    frame
}

/// The CRC of 'MODBUS over Serial Line' V1.02, 6.2.2; zero over a whole frame, its own CRC with it.
pub(super) fn crc_of(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| match crc & 1 {
            1 => (crc >> 1) ^ 0xA001,
            _ => crc >> 1,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a slave answers to bytes, CRC added, after the silence.
    fn ask(slave: &mut ModbusSlave, address: u8, pdu: &[u8]) -> Option<Vec<u8>> {
        let now = Instant::now();
        for byte in rtu(address, pdu) {
            assert_eq!(slave.hear(byte, now), None);
        }
        slave.act(slave.due().unwrap()).map(|say| say.bytes)
    }

    #[test]
    fn the_crc_is_the_specification_s() {
        // The specification's own example, and a well-known request.
        assert_eq!(crc_of(&[0x02, 0x07]).to_le_bytes(), [0x41, 0x12]);
        assert_eq!(rtu(1, &[3, 0, 0, 0, 10])[6..], [0xC5, 0xCD]);
    }

    /// The examples of the application protocol, 6.1 to 6.12.
    #[test]
    fn the_specification_s_examples_are_answered_byte_by_byte() {
        let mut slave = ModbusSlave::new(17, 9_600);
        let coils = [0xCD_u8, 0x6B, 0x05];
        for place in 0..19_u16 {
            let byte = coils[usize::from(place / 8)];
            slave.set_coil(19 + place, byte >> (place % 8) & 1 == 1);
        }
        let answer = ask(&mut slave, 17, &[0x01, 0x00, 0x13, 0x00, 0x13]).unwrap();
        assert_eq!(answer, rtu(17, &[0x01, 0x03, 0xCD, 0x6B, 0x05]));
        for (address, value) in [(0x6B, 0x022B), (0x6C, 0), (0x6D, 0x64)] {
            slave.set_holding(address, value);
        }
        let answer = ask(&mut slave, 17, &[0x03, 0x00, 0x6B, 0x00, 0x03]).unwrap();
        let expected = [0x03, 0x06, 0x02, 0x2B, 0x00, 0x00, 0x00, 0x64];
        assert_eq!(answer, rtu(17, &expected));
        slave.set_input(8, 10);
        let answer = ask(&mut slave, 17, &[0x04, 0x00, 0x08, 0x00, 0x01]).unwrap();
        assert_eq!(answer, rtu(17, &[0x04, 0x02, 0x00, 0x0A]));
        slave.set_coil(0xAC, false);
        let write = [0x05, 0x00, 0xAC, 0xFF, 0x00];
        assert_eq!(ask(&mut slave, 17, &write).unwrap(), rtu(17, &write));
        assert_eq!(slave.coil(0xAC), Some(true));
        slave.set_holding(1, 0);
        let write = [0x06, 0x00, 0x01, 0x00, 0x03];
        assert_eq!(ask(&mut slave, 17, &write).unwrap(), rtu(17, &write));
        slave.set_holding(2, 0);
        let write = [0x10, 0x00, 0x01, 0x00, 0x02, 0x04, 0x00, 0x0A, 0x01, 0x02];
        let answer = ask(&mut slave, 17, &write).unwrap();
        assert_eq!(answer, rtu(17, &[0x10, 0x00, 0x01, 0x00, 0x02]));
        assert_eq!(slave.holding(2), Some(0x0102));
    }

    #[test]
    fn what_is_not_there_is_an_exception_and_what_is_not_meant_is_silence() {
        let mut slave = ModbusSlave::new(1, 9_600);
        let answer = ask(&mut slave, 1, &[0x03, 0, 0, 0, 1]).unwrap();
        assert_eq!(answer, rtu(1, &[0x83, ILLEGAL_ADDRESS]));
        let answer = ask(&mut slave, 1, &[0x2B, 0x0E, 1, 0]).unwrap();
        assert_eq!(answer, rtu(1, &[0xAB, ILLEGAL_FUNCTION]));
        let answer = ask(&mut slave, 1, &[0x03, 0, 0, 0, 126]).unwrap();
        assert_eq!(answer, rtu(1, &[0x83, ILLEGAL_VALUE]));
        assert_eq!(ask(&mut slave, 2, &[0x03, 0, 0, 0, 1]), None);
        assert_eq!(ask(&mut slave, 0, &[0x03, 0, 0, 0, 1]), None);
        slave.set_dead(true);
        assert_eq!(ask(&mut slave, 1, &[0x03, 0, 0, 0, 1]), None);
    }

    #[test]
    fn a_relay_flashes_by_itself_and_its_contact_tells() {
        let compartments = Compartments::new(4);
        let relays = Relays {
            flash: 0x0200,
            contact: Some(0),
            closed_is_one: true,
            count: 4,
            compartments: compartments.clone(),
            wiring: (1..=4).map(|relay| (relay, relay)).collect(),
        };
        let mut slave = ModbusSlave::with_relays(1, 9_600, Some(relays));
        let flash = [0x05, 0x02, 0x01, 0x00, 0x07];
        assert_eq!(ask(&mut slave, 1, &flash).unwrap(), rtu(1, &flash));
        let pulses = slave.pulses();
        assert_eq!((pulses.len(), pulses[0].channel), (1, 2));
        assert_eq!(pulses[0].length, Duration::from_millis(700));
        assert_eq!(compartments.is_open(2), Some(true));
        let answer = ask(&mut slave, 1, &[0x02, 0, 0, 0, 4]).unwrap();
        assert_eq!(answer, rtu(1, &[0x02, 1, 0b1101]));
        let hold = [0x05, 0x00, 0x00, 0xFF, 0x00];
        assert!(ask(&mut slave, 1, &hold).is_some());
        assert_eq!(slave.held(), 1);
    }
}
