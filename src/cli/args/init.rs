//! How a gateway is set up for the first time.

use std::net::SocketAddr;
use std::path::PathBuf;

use firmware_protocols::Ident;

use crate::cli::init::answers::{Bank, Board, Desk, Device, OnPort, Port};

/// What isn't asked because it is said. On a terminal the rest is asked; with --yes the rest is left at
/// its default, and nothing is asked.
#[derive(Debug, Clone, clap::Args)]
pub struct InitArgs {
    /// The site's id
    #[arg(long, value_name = "ID")]
    pub site: Option<Ident>,
    /// A building; again for another
    #[arg(long, value_name = "ID")]
    pub building: Vec<Ident>,
    /// A locker bank, as in 'bank-a@b1:8S,6M,2L,2Mc=Gate 1': its id, its building, its compartments in
    /// their order (S, M, L; c chilled, f frozen; -low within reach from a wheelchair), where it stands
    #[arg(long, value_name = "ID@BUILDING:COMPARTMENTS[=WHERE]")]
    pub bank: Vec<Bank>,
    /// A desk, as in 'desk-1@b2=Property office'
    #[arg(long, value_name = "ID@BUILDING[=WHERE]")]
    pub desk: Vec<Desk>,
    /// Another device: a door reader, a sensor; or the keypad or scanner of a bank or desk
    #[arg(long, value_name = "ID@BUILDING[/POINT]")]
    pub device: Vec<Device>,
    /// Where devices connect over MQTT [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Listen for MQTT over TLS too, on port 8883
    #[arg(long)]
    pub mqtts: bool,
    /// The cloud
    #[arg(long, value_name = "URL")]
    pub cloud: Option<String>,
    /// A file with the cloud's one-time token. The token is copied to where the gateway's secrets are;
    /// it never stands in the configuration
    #[arg(long, value_name = "FILE", requires = "cloud")]
    pub token_file: Option<PathBuf>,
    /// A serial port, as in 'bus-1=/dev/ttyUSB0,kerong-cu16,19200'
    #[arg(long, value_name = "ID=PATH,PROTOCOL[,BAUD]")]
    pub port: Vec<Port>,
    /// A locker board that opens compartments of a bank, as in 'bank-a@bus-1:0=1-16'
    #[arg(long, value_name = "BANK@PORT:ADDRESS=FIRST-LAST")]
    pub board: Vec<Board>,
    /// What else hangs on a port: a controller, as in 'bank-b@link-1:1'; a scanner or keypad that types
    /// lines, as in 'scanner-a@tty-1=scan'; an OSDP reader with its door, as in 'reader-1@osdp-1:0=gate'
    #[arg(long, value_name = "DEVICE@PORT[:ADDRESS][=WHAT]")]
    pub on_port: Vec<OnPort>,
    /// The folder that everything is kept in
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Ask nothing
    #[arg(long)]
    pub yes: bool,
    /// Print the configuration, and write nothing
    #[arg(long)]
    pub print: bool,
    /// Replace a configuration that is there; the old one is kept beside it
    #[arg(long)]
    pub force: bool,
}
