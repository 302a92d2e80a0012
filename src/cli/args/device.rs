//! What can be done about devices.

use clap::Subcommand;
use firmware_protocols::Ident;

/// What can be done about devices.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Add a device to the configuration, make its password, and have the daemon take it
    Add(AddArgs),
    /// Make a new password for a device, show it once, and store its hash; the old one is good no more
    Password {
        /// The device
        #[arg(value_name = "ID")]
        id: Ident,
    },
    /// Make a new password; the old one stays good until the device has come with the new one, a week at
    /// most
    Rotate {
        /// The device
        #[arg(value_name = "ID")]
        id: Ident,
    },
    /// Take a device out of the configuration, with its password
    Remove {
        /// The device
        #[arg(value_name = "ID")]
        id: Ident,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Let a device in that is being set up just now: for a while, the first that comes under this id
    /// is taken with the password that it has. Shows who knocks meanwhile, why it isn't let in, and
    /// what to do
    ///
    /// Whoever is in the same network can be faster, and is then taken as this device: it may send
    /// events under its name, and hears what it is told (for a bank: to open). So wait for a device only
    /// while it is in your hands, for as short as it takes, with --from if you know its address; and
    /// compare the address that is shown at the end. What is never raced for: 'linli device add', and
    /// the password typed into the device.
    Pair(PairArgs),
    /// List who knocked and wasn't let in, why, and what to do
    Knocks,
}

/// The device to add.
#[derive(Debug, Clone, clap::Args)]
pub struct AddArgs {
    /// Its id: small letters, digits, hyphens
    #[arg(value_name = "ID")]
    pub id: Ident,
    /// The building it belongs to [default: the only one]
    #[arg(long, value_name = "ID")]
    pub building: Option<Ident>,
    /// The bank or desk that it is a keypad or scanner of
    #[arg(long, value_name = "ID")]
    pub point: Option<Ident>,
    /// The profile for its JSON, if it doesn't speak ours
    #[arg(long, value_name = "NAME|FILE")]
    pub profile: Option<String>,
    /// What it calls itself in its topics [default: its id]
    #[arg(long, value_name = "NAME", requires = "profile")]
    pub named: Option<String>,
    /// The bridge that speaks for it
    #[arg(long, value_name = "ID", requires = "profile")]
    pub via: Option<Ident>,
}

/// The device to let in.
#[derive(Debug, Clone, clap::Args)]
pub struct PairArgs {
    /// What is to be added, if it isn't in the configuration yet
    #[command(flatten)]
    pub device: AddArgs,
    /// For so long, seconds, 10 to 900
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u16).range(10..=900))]
    pub for_s: u16,
    /// Take it also if it has a password already; that one is good no more then
    #[arg(long)]
    pub replace: bool,
    /// Only from this address
    #[arg(long, value_name = "IP")]
    pub from: Option<std::net::IpAddr>,
}
