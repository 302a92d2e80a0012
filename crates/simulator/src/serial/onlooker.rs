//! Somebody with a line analyser: hears all that goes over a wire, says nothing, and keeps a record of
//! what locker boards and Modbus slaves showed there. It reads the frames by itself, so that it can be
//! held against what a gateway made of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::modbus::crc_of;
use super::{Say, Slave};
use crate::device::lock;

/// The longest frame that it looks for.
const TAIL_MAX: usize = 32;
/// How many states of a place are kept; later ones are counted only.
const STATES_MAX: usize = 100_000;

/// Where something was shown: the address, and the channel (from 1) or the register (from 0).
pub type Place = (u8, u16);

/// Who looks on. Clones share the record.
#[derive(Clone)]
pub struct Onlooker {
    listens: Listens,
    record: Arc<Mutex<Record>>,
}

/// What is spoken on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listens {
    Cu16,
    Modbus,
}

#[derive(Default)]
struct Record {
    /// The last bytes of the gateway, and of the others.
    asking: Vec<u8>,
    answering: Vec<u8>,
    /// The register and the count of the last request, by address.
    asked: BTreeMap<u8, (u16, u16)>,
    shown: BTreeMap<Place, Vec<u16>>,
    more: u64,
}

impl Onlooker {
    /// At a wire with Kerong CU16 boards: of each channel it keeps bit 0 = the hook's bit, bit 1 = the
    /// infrared's.
    pub fn at_cu16() -> Self {
        Self::at(Listens::Cu16)
    }

    /// At a wire with Modbus slaves: of each register that was read it keeps the raw number.
    pub fn at_modbus() -> Self {
        Self::at(Listens::Modbus)
    }

    fn at(listens: Listens) -> Self {
        Self {
            listens,
            record: Arc::default(),
        }
    }

    /// What each place showed, in order, without repetitions of the same.
    pub fn shown(&self) -> BTreeMap<Place, Vec<u16>> {
        lock(&self.record).shown.clone()
    }

    /// How many states of one place came too late to be kept.
    pub fn more(&self) -> u64 {
        lock(&self.record).more
    }
}

impl Slave for Onlooker {
    fn hear(&mut self, byte: u8, at: Instant) -> Option<Say> {
        self.hear_from(false, byte, at)
    }

    fn hear_from(&mut self, gateway: bool, byte: u8, _: Instant) -> Option<Say> {
        let mut record = lock(&self.record);
        let tail = match gateway {
            true => &mut record.asking,
            false => &mut record.answering,
        };
        if tail.len() == TAIL_MAX {
            tail.remove(0);
        }
        tail.push(byte);
        match (self.listens, gateway) {
            (Listens::Cu16, false) => record.cu16(),
            (Listens::Cu16, true) => {}
            (Listens::Modbus, true) => record.modbus_request(),
            (Listens::Modbus, false) => record.modbus_answer(),
        }
        None
    }
}

impl Record {
    /// A status reply: `02 ADDR 35 H1 H2 I1 I2 03 SUM`, the board in ADDR's high nibble.
    fn cu16(&mut self) {
        let Some(&[2, address, 0x35, h1, h2, i1, i2, 3, sum]) = self.answering.last_chunk::<9>()
        else {
            return;
        };
        let body = [2, address, 0x35, h1, h2, i1, i2, 3];
        if body.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) != sum {
            return;
        }
        self.answering.clear();
        let (hooks, infrared) = (u16::from_le_bytes([h1, h2]), u16::from_le_bytes([i1, i2]));
        for channel in 1..=16 {
            let bit = |bits: u16| bits >> (channel - 1) & 1;
            self.show((address >> 4, channel), bit(hooks) | bit(infrared) << 1);
        }
    }

    /// `ADDR FN REG REG COUNT COUNT CRC CRC` asks for registers.
    fn modbus_request(&mut self) {
        if let Some(request) = self.asking.last_chunk::<8>()
            && let &[address, 3 | 4, r1, r2, c1, c2, ..] = request
            && crc_of(request) == 0
        {
            let asked = (u16::from_be_bytes([r1, r2]), u16::from_be_bytes([c1, c2]));
            self.asked.insert(address, asked);
            self.asking.clear();
        }
    }

    /// `ADDR FN BYTES … CRC CRC` answers.
    fn modbus_answer(&mut self) {
        let answers = |(address, (first, count)): (&u8, &(u16, u16))| {
            let length = 5 + 2 * usize::from(*count);
            let tail = &self.answering;
            let frame = tail.get(tail.len().checked_sub(length)?..)?;
            let &[from, 3 | 4, bytes, ..] = frame else {
                return None;
            };
            let fits = from == *address && usize::from(bytes) + 5 == length && crc_of(frame) == 0;
            fits.then(|| (*address, *first, frame.to_vec()))
        };
        let Some((address, first, frame)) = self.asked.iter().find_map(answers) else {
            return;
        };
        self.answering.clear();
        let values = frame.get(3..frame.len() - 2).unwrap_or(&[]).chunks_exact(2);
        for (register, value) in (first..).zip(values) {
            let value = value
                .iter()
                .fold(0, |all, byte| all << 8 | u16::from(*byte));
            self.show((address, register), value);
        }
    }

    fn show(&mut self, place: Place, state: u16) {
        let shown = self.shown.entry(place).or_default();
        if shown.last() == Some(&state) {
            return;
        }
        match shown.len() < STATES_MAX {
            true => shown.push(state),
            false => self.more += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hears(onlooker: &mut Onlooker, gateway: bool, bytes: &[u8]) {
        for byte in bytes {
            assert_eq!(onlooker.hear_from(gateway, *byte, Instant::now()), None);
        }
    }

    #[test]
    fn a_boards_states_are_kept_once_each() {
        let mut onlooker = Onlooker::at_cu16();
        // Board 1: all closed, then lock 2 open, lock 9 occupied; noise and the requests in between.
        for state in [
            [0xFF, 0xFF, 0x00, 0x00],
            [0xFF, 0xFF, 0x00, 0x00],
            [0xFD, 0xFF, 0x00, 0x01],
        ] {
            let mut frame = vec![0x02, 0x10, 0x35];
            frame.extend(state);
            frame.push(0x03);
            frame.push(
                frame
                    .iter()
                    .fold(0, |sum: u8, byte| sum.wrapping_add(*byte)),
            );
            hears(&mut onlooker, true, &[0x02, 0x10, 0x30, 0x03, 0x45]);
            hears(&mut onlooker, false, &[0x55]);
            hears(&mut onlooker, false, &frame);
        }
        let shown = onlooker.shown();
        assert_eq!(shown[&(1, 1)], [1]);
        assert_eq!(shown[&(1, 2)], [1, 0]);
        assert_eq!(shown[&(1, 9)], [1, 3]);
        assert_eq!((shown.len(), onlooker.more()), (16, 0));
    }

    #[test]
    fn what_a_slave_answered_is_kept_by_register() {
        let mut onlooker = Onlooker::at_modbus();
        // The examples of the specification: function 3, register 107, three of them; its CRCs for
        // slave 17.
        let request = [0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87];
        let answer = [
            0x11, 0x03, 0x06, 0xAE, 0x41, 0x56, 0x52, 0x43, 0x40, 0x49, 0xAD,
        ];
        hears(&mut onlooker, false, &answer);
        assert!(onlooker.shown().is_empty(), "nobody asked");
        for _ in 0..2 {
            // Somebody who can't wait asks again while the answer comes.
            hears(&mut onlooker, true, &request);
            hears(&mut onlooker, false, &answer[..4]);
            hears(&mut onlooker, true, &request);
            hears(&mut onlooker, false, &answer[4..]);
        }
        let shown = onlooker.shown();
        assert_eq!(shown[&(0x11, 107)], [0xAE41]);
        assert_eq!(shown[&(0x11, 108)], [0x5652]);
        assert_eq!(shown[&(0x11, 109)], [0x4340]);
    }
}
