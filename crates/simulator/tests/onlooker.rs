//! What an onlooker has on record is what a gateway read, answer by answer, also when the machine is
//! busy and answers come late.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use simulator::serial::{ModbusSlave, Onlooker, Settings, Wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_serial::SerialPortBuilderExt as _;

const BAUD: u32 = 115_200;
/// Two input registers from number 1, of slaves 1 and 2, with their checksums.
const REQUESTS: [[u8; 8]; 2] = [
    [0x01, 0x04, 0x00, 0x01, 0x00, 0x02, 0x20, 0x0B],
    [0x02, 0x04, 0x00, 0x01, 0x00, 0x02, 0x20, 0x38],
];

#[tokio::test]
async fn the_record_is_what_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let sensors = [1, 2].map(|address| ModbusSlave::new(address, BAUD));
    let onlooker = Onlooker::at_modbus();
    let mut slaves: Vec<Box<dyn simulator::serial::Slave>> = Vec::new();
    for sensor in &sensors {
        slaves.push(Box::new(sensor.clone()));
    }
    slaves.push(Box::new(onlooker.clone()));
    let path = dir.path().join("cold");
    let wire = Wire::start(&path, Settings::new(BAUD, 1), slaves).unwrap();
    let port = tokio_serial::new(wire.path().to_string_lossy(), BAUD);
    let mut port = port.open_native_async().unwrap();
    let mut read = BTreeMap::<(u8, u16), Vec<u16>>::new();
    for round in 0..200_u16 {
        for (sensor, request) in sensors.iter().zip(&REQUESTS) {
            sensor.set_input(1, 40 + round * 7 % 20);
            sensor.set_input(2, 550 + round * 13 % 100);
            port.write_all(request).await.unwrap();
            let mut answer = [0; 9];
            let came = timeout(Duration::from_secs(20), port.read_exact(&mut answer)).await;
            came.expect("an answer in time").unwrap();
            for (register, at) in [(1, 3), (2, 5)] {
                let value = u16::from_be_bytes([answer[at], answer[at + 1]]);
                let values = read.entry((request[0], register)).or_default();
                if values.last() != Some(&value) {
                    values.push(value);
                }
            }
            // The silence that a slave needs before the next request.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    assert_eq!(onlooker.shown(), read);
}
