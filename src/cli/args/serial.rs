//! What can be said about serial ports on the command line.

use clap::Subcommand;
use firmware_protocols::Ident;

/// What can be done with serial ports.
#[derive(Debug, Subcommand)]
pub enum SerialCommand {
    /// Give an OSDP reader a secure channel key of its own; linli must not run meanwhile
    ///
    /// The reader must be in installation mode (its manual says how). A fresh key is made, put into
    /// the device's key_file, given to the reader, and tried. Run it again after a power cut: it goes
    /// on where it was. Over the installation channel the key can be read by whoever listens on the
    /// wires at that moment.
    Commission {
        /// The device
        #[arg(value_name = "DEVICE")]
        device: Ident,
    },
}
