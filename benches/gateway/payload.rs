//! The event that everything is measured with: a sensor's reading of exactly 132 bytes in CBOR.
//!
//! Temperature and humidity of a cold store as SenML (RFC 8428), the most frequent thing that an
//! estate's sensors say. The name of the sensor is padded, so that the payload is 132 bytes
//! whatever the sequence number is; the values are ones that no shorter float holds.

use firmware_protocols::event::{Event, When};
use firmware_protocols::{Form, Ident, Kind, event};
use simulator::reading;

use crate::common::ident;

/// Bytes of a payload.
pub const BYTES: usize = 132;
/// Bytes of what is stored of it, beside the columns: the reading without its envelope.
pub const STORED_BYTES: usize = 115;
/// Bytes of the sensor's name and the sequence number's encoding together.
const NAME_AND_NUMBER: usize = 42;

/// The reading number `seq` of any device.
pub fn reading(_device: &Ident, seq: u64) -> Kind {
    const PADDING: &str = "cold-store-north-wall-upper-shelf-left-side";
    let number = match seq {
        0..=23 => 1,
        24..=0xFF => 2,
        0x100..=0xFFFF => 3,
        0x1_0000..=0xFFFF_FFFF => 5,
        _ => 9,
    };
    let sensor = ident(&PADDING[..NAME_AND_NUMBER - number]);
    // Thousandths that end in 1 are no multiple of 125, so they fill a double.
    let thousandths = 2_001 + seq % 500 * 10;
    let celsius = thousandths as f64 / 1_000.0;
    reading::climate(&sensor, Form::Cbor, celsius, 60.0 + celsius)
}

/// Fails unless the payload has the size that every figure states.
pub fn check() {
    for seq in [1, 23, 24, 255, 256, 65_535, 65_536, 1_000_000] {
        let event = Event {
            boot: 1,
            seq,
            when: When::Unsaid,
            kind: reading(&ident("door-1"), seq),
        };
        let bytes = event::encode(&[event], Form::Cbor).len();
        assert_eq!(bytes, BYTES, "the payload number {seq}");
    }
}
