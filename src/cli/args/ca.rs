//! What can be done with the estate's certificate authority.

use std::path::PathBuf;

use clap::Subcommand;
use firmware_protocols::Ident;

use crate::ca::{DEVICE_DAYS, DEVICE_DAYS_MAX};

/// What can be done with the estate's certificate authority.
#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Make the CA, and the certificate of this box; does nothing where they are
    Init,
    /// Show the CA, this box's certificate and what was issued, with how long each is good
    Show {
        /// Print the CA's certificate in PEM, for devices
        #[arg(long, conflicts_with = "json")]
        pem: bool,
    },
    /// Write the CA's certificate to a file, for devices: by it they know this box
    Export {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Replace the file if it is there
        #[arg(long)]
        overwrite: bool,
    },
    /// Make a certificate and a key for a device, to log in with instead of a password
    Issue {
        /// The device
        #[arg(value_name = "ID")]
        id: Ident,
        /// How they are made
        #[command(flatten)]
        paper: PaperArgs,
    },
    /// Make a certificate for a device that has made its key itself
    Sign {
        /// Its certificate request (PKCS #10, in PEM or DER) with its id as the common name
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// How it is made
        #[command(flatten)]
        paper: PaperArgs,
    },
    /// List the certificates that devices were given
    List,
    /// Revoke what a device was given: it is cut off, and its next login refused
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Revoke {
        /// The device: all its certificates
        #[arg(value_name = "ID", group = "which")]
        id: Option<Ident>,
        /// One certificate, as 'linli ca list' shows it
        #[arg(long, value_name = "HEX", group = "which")]
        serial: Option<String>,
    },
}

/// Where a certificate goes, and how long it is good.
#[derive(Debug, clap::Args)]
pub struct PaperArgs {
    /// The folder to write ID.crt in, and ID.key
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// It is good for so many days, but never longer than the CA
    #[arg(long, value_name = "N", default_value_t = DEVICE_DAYS, value_parser = clap::value_parser!(u32).range(1..=i64::from(DEVICE_DAYS_MAX)))]
    pub days: u32,
}
