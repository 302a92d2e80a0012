//! The check sums of the protocols on serial lines whose frames aren't a library's business alone: the
//! sieve before the Modbus library, the monitor, the scan.

use crc::{CRC_16_MODBUS, CRC_16_SPI_FUJITSU, Crc};

/// Of Modbus over serial line (v1.02, § 6.2.2); sent low byte first.
pub const MODBUS: Crc<u16> = Crc::<u16>::new(&CRC_16_MODBUS);

/// Of OSDP (2.2, annex C): polynomial 1021, from 1D0F; sent low byte first.
pub const OSDP: Crc<u16> = Crc::<u16>::new(&CRC_16_SPI_FUJITSU);
