//! What can be said about serial ports on the command line.

use std::path::PathBuf;

use clap::Subcommand;
use firmware_protocols::Ident;

use crate::config::serial::Protocol;

/// What can be done with serial ports.
#[derive(Debug, Subcommand)]
pub enum SerialCommand {
    /// List the serial ports of this machine, and who uses them; needs no daemon
    List,
    /// Find out what hangs on a port: protocol, rate, addresses; needs the port free
    ///
    /// First it only listens: a line with traffic of its own is reported and not disturbed. Then it
    /// asks, with requests for a status only; nothing is opened or changed.
    Scan(ScanArgs),
    /// Show what goes over a port, in words, as it happens; sends nothing
    ///
    /// What is personal (digits, cards, symbols that were scanned, pickup codes) isn't shown.
    Monitor(MonitorArgs),
    /// Show each port of the running daemon and what hangs on it
    Status,
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

/// What a scan tries.
#[derive(Debug, Clone, clap::Args)]
pub struct ScanArgs {
    /// The port's path, or its id in the configuration
    #[arg(value_name = "PORT")]
    pub port: PathBuf,
    /// Only these rates, bits a second, as in 9600,19200
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(300..=4_000_000))]
    pub baud: Vec<u32>,
    /// Only these protocols
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = protocol)]
    pub protocol: Vec<Protocol>,
    /// Only these addresses, as in 1-8,12 [default: the first 32 of each protocol]
    #[arg(long, value_name = "LIST", value_parser = addresses)]
    pub addresses: Option<Addresses>,
    /// How long an answer may take, ms, beside the frames' own time
    #[arg(long, value_name = "MS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=5_000))]
    pub timeout: u64,
    /// How long to listen first, ms
    #[arg(long, value_name = "MS", default_value_t = 1_500, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub listen: u64,
}

/// What is to be shown.
#[derive(Debug, Clone, clap::Args)]
pub struct MonitorArgs {
    /// The port's id in the configuration, or its path
    #[arg(value_name = "PORT")]
    pub port: PathBuf,
    /// Show the bytes, too, of frames that hold nothing personal
    #[arg(long)]
    pub raw: bool,
    /// For a port that isn't in the configuration: what is spoken there
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
    pub protocol: Option<Protocol>,
    /// For a port that isn't in the configuration: its rate, bits a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(300..=4_000_000))]
    pub baud: Option<u32>,
    /// End after so many frames
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

/// Addresses on a port, in rising order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(pub Vec<u8>);

/// Numbers, in rising order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers(pub Vec<u16>);

fn protocol(text: &str) -> Result<Protocol, String> {
    let mut all = Protocol::ALL.into_iter();
    all.find(|protocol| protocol.word() == text).ok_or_else(|| {
        let words: Vec<&str> = Protocol::ALL
            .iter()
            .map(|protocol| protocol.word())
            .collect();
        format!("it is one of {}", words.join(", "))
    })
}

fn addresses(text: &str) -> Result<Addresses, String> {
    Ok(Addresses(list(text, 0, u8::MAX)?))
}

/// Reads `1-8,12`, each at least 1.
pub(super) fn numbers(text: &str) -> Result<Numbers, String> {
    Ok(Numbers(list(text, 1, u16::MAX)?))
}

fn list<N>(text: &str, least: N, most: N) -> Result<Vec<N>, String>
where
    N: Copy + Ord + std::str::FromStr + TryFrom<u32> + Into<u32>,
{
    let wrong = || "write numbers and runs of them, as in 1-8,12".to_string();
    let mut numbers = std::collections::BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let read = |text: &str| text.trim().parse::<N>().map_err(|_| wrong());
        let (first, last) = (read(first)?, read(last)?);
        if first < least || last > most || first > last {
            return Err(wrong());
        }
        let run = first.into()..=last.into();
        numbers.extend(run.filter_map(|n: u32| N::try_from(n).ok()));
    }
    Ok(numbers.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_runs_and_single_numbers() {
        assert_eq!(addresses("1-3,12, 2").unwrap().0, [1, 2, 3, 12]);
        assert_eq!(addresses("0-255").unwrap().0.len(), 256);
        assert_eq!(numbers("65535").unwrap().0, [65_535]);
        for wrong in ["", "a", "3-1", "256", "1-", "-1", "1,,2"] {
            assert!(addresses(wrong).is_err(), "{wrong}");
        }
        assert!(numbers("0").is_err());
    }

    #[test]
    fn every_protocol_has_its_word() {
        for known in Protocol::ALL {
            assert_eq!(protocol(known.word()), Ok(known));
        }
        assert!(protocol("rs485").unwrap_err().contains("kerong-cu16"));
    }
}
