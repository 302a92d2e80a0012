//! What can be said about a locker bank on the command line.

use std::path::PathBuf;

use clap::Subcommand;
use firmware_protocols::Ident;

/// What can be done with a locker bank.
#[derive(Debug, Subcommand)]
pub enum BankCommand {
    /// Open each compartment in turn, watch its door, and write an acceptance record
    ///
    /// You stand in front of the bank and close each door after it opened. Each opening is recorded
    /// with your name. Compartments that hold a parcel are passed over. What was learnt about
    /// polarity and wiring is said with the lines to change in the configuration. The record
    /// (Markdown and JSON) is saved also when the test is broken off. The exit code is 0 only if
    /// every compartment passed.
    WalkTest(WalkTestArgs),
}

/// How a walk test goes.
#[derive(Debug, Clone, clap::Args)]
pub struct WalkTestArgs {
    /// The bank
    #[arg(value_name = "BANK")]
    pub bank: Ident,
    /// Only these compartments, as in 1-8,12
    #[arg(long, value_name = "LIST", value_parser = super::serial::numbers)]
    pub compartments: Option<super::serial::Numbers>,
    /// Open compartments that hold a parcel, too
    #[arg(long)]
    pub occupied: bool,
    /// Test the occupancy sensors: put a hand in when asked
    #[arg(long)]
    pub occupancy: bool,
    /// Ask nothing: open one after the other as doors are closed; whether each door carries its
    /// number is then not known
    #[arg(long, short)]
    pub yes: bool,
    /// How long a door may take to be opened and closed, seconds
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub wait: u64,
    /// The folder for the record [default: this one]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
