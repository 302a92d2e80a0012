//! The command line: one definition gives parsing, help and usage errors.

mod bank;
mod ca;
mod config;
mod conform;
mod desk;
mod device;
mod init;
mod profile;
mod serial;
mod sync;
mod until;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use firmware_protocols::{Ident, Slot};

use super::audit::{AgainstArg, KeyHex, ParcelArgs};
use super::words;
use crate::control::PARCEL_STATES;
pub use bank::{BankCommand, WalkTestArgs};
pub use ca::{CaCommand, PaperArgs};
pub use config::ConfigCommand;
pub use conform::{ConformCloudArgs, ConformCommand};
pub use desk::{ClaimArgs, DeskCommand, Yuan};
pub use device::{AddArgs, DeviceCommand, PairArgs};
pub use init::InitArgs;
pub use profile::{ProfileCommand, TestArgs};
pub use serial::{Addresses, MonitorArgs, Numbers, ScanArgs, SerialCommand};
pub use sync::SyncCommand;
pub use until::Until;

/// The neighbourhood gateway, and the technician's commands for it.
#[derive(Debug, Parser)]
#[command(name = "linli", version, after_help = words::EXIT_CODES, arg_required_else_help = true)]
pub struct Args {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The daemon's socket [default: LINLI_SOCKET, else as in the configuration, else
    /// /run/linli/control.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The configuration [default: config/linli.toml if there, else /etc/linli/linli.toml]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Print JSON: an object or an array; one object a line for streams
    #[arg(long, global = true)]
    pub json: bool,
    /// Print without colour (so does NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Run,
    /// Play a farm day's evening: gateway, cloud and a simulated estate in one process
    #[cfg(feature = "demo")]
    Demo(DemoArgs),
    /// Show whether all is well, and what to do if not
    Status {
        /// Fail (exit code 1) unless all is well
        #[arg(long)]
        check: bool,
    },
    /// List the devices and what was received from them
    Devices,
    /// Draw the locker banks
    Banks,
    /// Accept a locker bank after its installation
    #[command(subcommand)]
    Bank(BankCommand),
    /// Look after the serial ports and what hangs on them
    #[command(subcommand)]
    Serial(SerialCommand),
    /// List parcels, those that changed last first
    Parcels {
        /// Only those in this state: a stage of their life, or why they go back
        #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(PARCEL_STATES))]
        state: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 200)]
        limit: usize,
    },
    /// Show a parcel with its whole history
    Parcel {
        /// The parcel's id
        #[arg(value_name = "ID")]
        id: String,
        /// Its history as evidence
        #[command(flatten)]
        history: ParcelArgs,
    },
    /// Verify the parcels' history, and check files that were exported from it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// List what devices reported, newest last
    Events {
        /// Go on with events as they come
        #[arg(long, short)]
        follow: bool,
        /// Only of this device
        #[arg(long, value_name = "ID")]
        device: Option<Ident>,
        /// Only of this kind
        #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(EVENT_KINDS))]
        kind: Option<String>,
        /// At most so many; with --follow, to begin with
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// List what could not be taken as an event, newest first
    Quarantine {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// List the commands to open, newest first: what was asked for, and what became of it
    Commands {
        /// Only for this compartment
        #[arg(long, value_name = "BANK/N")]
        compartment: Option<Slot>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Work at a desk: hand parcels over, take them in, take down claims
    #[command(subcommand)]
    Desk(DeskCommand),
    /// Give a parcel a new code, shown once; the old one dies at once
    Reissue {
        /// The parcel's id
        #[arg(value_name = "PARCEL")]
        parcel: String,
    },
    /// Let a parcel wait longer
    #[command(group = clap::ArgGroup::new("how-long").required(true))]
    Extend {
        /// The parcel's id
        #[arg(value_name = "PARCEL")]
        parcel: String,
        /// Until then: RFC 3339 (2026-11-22T18:00:00+08:00), or YYYY-MM-DD HH:MM in your
        /// time zone (TZ, else this machine's), which is also the one that times are shown in
        #[arg(long, value_name = "TIME", group = "how-long")]
        until: Option<Until>,
        /// For so many hours from now, 1 to 744, by the daemon's clock
        #[arg(long, value_name = "N", group = "how-long", allow_hyphen_values = true, value_parser = until::hours)]
        hours: Option<u32>,
    },
    /// Take a compartment out of use, or put it back into use
    #[command(subcommand)]
    Compartment(CompartmentCommand),
    /// Open a compartment; it is recorded with your name
    Open {
        /// The compartment
        #[arg(value_name = "BANK/N")]
        slot: Slot,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Show the way to the cloud: enrolment, connection, what waits, what the line costs
    Sync {
        /// Else: do something about it
        #[command(subcommand)]
        command: Option<SyncCommand>,
    },
    /// Try a cloud of your own for conformance
    #[command(subcommand)]
    Conform(ConformCommand),
    /// Set a gateway up: ask what stands where, and write a configuration
    Init(Box<InitArgs>),
    /// Check the configuration, show it, or have the daemon take it over
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Add devices, give them passwords, find those that can't get in
    #[command(subcommand)]
    Device(DeviceCommand),
    /// The estate's own certificate authority, for MQTT over TLS
    #[command(subcommand)]
    Ca(CaCommand),
    /// Profiles: how the JSON of other makers' devices becomes events
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// The process that runs profiles' programs for the daemon
    #[command(hide = true)]
    MapWorker,
    /// Print the version
    Version,
}

/// What can be done to a compartment. It is recorded with your name.
#[derive(Debug, Subcommand)]
pub enum CompartmentCommand {
    /// Put nothing in any more; what is inside is collected as ever
    Disable {
        /// The compartment
        #[arg(value_name = "BANK/N")]
        slot: Slot,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Put it back into use
    Enable {
        /// The compartment
        #[arg(value_name = "BANK/N")]
        slot: Slot,
    },
}

/// What can be done with the parcels' history.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Say whether every step of every parcel is as it was written (exit code 1 if not)
    Verify {
        /// Compare with a head that the cloud or an earlier export has
        #[arg(long, value_name = "N:HEX")]
        against: Option<AgainstArg>,
    },
    /// Check a file made by 'linli parcel ID --export FILE'; needs no daemon
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The key that it must be signed by
        #[arg(long, value_name = "HEX")]
        key: Option<KeyHex>,
    },
    /// Show the public key that exports are signed with
    Key,
}

/// How the demonstration goes.
#[cfg(feature = "demo")]
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// How many households live in the estate
    #[arg(long, value_name = "N")]
    pub households: Option<u32>,
    /// The seed: the same one plays the same evening
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Put both banks, a door reader and two sensors on simulated serial lines
    #[arg(long)]
    pub serial: bool,
    /// Keep what the gateway and the cloud stored in this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// How long the evening takes
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
}

const EVENT_KINDS: [&str; 10] = [
    "access",
    "reading",
    "keypad",
    "scan",
    "compartment",
    "intent",
    "result",
    "rating",
    "alarm",
    "hello",
];
