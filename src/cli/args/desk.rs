//! What the staff may say on the command line: the desk's commands, sums of money.

use std::convert::Infallible;
use std::str::FromStr;

use clap::Subcommand;
use firmware_protocols::Ident;

use crate::control::secret::PickupCode;

/// What can be done at a desk. It is recorded with your name. `--desk` may be left out if there is
/// only one.
#[derive(Debug, Subcommand)]
pub enum DeskCommand {
    /// Hand over what waits for a pickup code
    ///
    /// Without CODE it asks for it, and doesn't show what is typed; from a pipe it reads a line.
    /// That is the better way: an argument can be read in the list of processes, and stays in the
    /// shell's history and in sudo's log.
    ///
    /// Wrong codes are counted as at a keypad, and lock the desk likewise.
    HandOver {
        /// The code, 1 to 16 digits; better left out, see above
        #[arg(value_name = "CODE", value_parser = code)]
        code: Option<PickupCode>,
        /// The desk
        #[arg(long, value_name = "D")]
        desk: Option<Ident>,
    },
    /// List what waits at the desks, is expected there or was sent there, oldest first
    List {
        /// Only at this desk
        #[arg(long, value_name = "D")]
        desk: Option<Ident>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 200)]
        limit: usize,
    },
    /// Take a parcel in
    Receive {
        /// The parcel's id
        #[arg(value_name = "PARCEL")]
        parcel: String,
        /// Who brings it
        #[arg(long, value_name = "NAME")]
        courier: Option<String>,
        /// The desk
        #[arg(long, value_name = "D")]
        desk: Option<Ident>,
    },
    /// Take down that a parcel is refused, or that its goods are damaged
    Claim(ClaimArgs),
    /// Open a parcel's compartment to bring the parcel to the desk, where its code works on
    Transfer {
        /// The parcel's id
        #[arg(value_name = "PARCEL")]
        parcel: String,
        /// The desk
        #[arg(long, value_name = "D")]
        desk: Option<Ident>,
    },
    /// Give back a parcel that goes back: from a desk at once, else its compartment opens
    Retrieve {
        /// The parcel's id
        #[arg(value_name = "PARCEL")]
        parcel: String,
        /// To whom
        #[arg(long, value_name = "NAME")]
        courier: Option<String>,
    },
}

/// A claim.
#[derive(Debug, clap::Args)]
pub struct ClaimArgs {
    /// The parcel's id
    #[arg(value_name = "PARCEL")]
    pub parcel: String,
    /// What it is about
    #[arg(long, value_parser = ["refused", "damaged"])]
    pub kind: String,
    /// What the resident says, for the record
    #[arg(long, value_name = "TEXT")]
    pub note: String,
    /// What was paid on the spot, as in 12.50
    #[arg(long, value_name = "YUAN", allow_hyphen_values = true)]
    pub paid: Option<Yuan>,
    /// The recipient keeps the goods
    #[arg(long, conflicts_with = "return_to")]
    pub keeps: bool,
    /// Where the recipient will bring goods back that were already collected: a return code is
    /// issued for it, and shown once
    #[arg(long, value_name = "POINT")]
    pub return_to: Option<Ident>,
    /// The desk
    #[arg(long, value_name = "D")]
    pub desk: Option<Ident>,
}

/// Anything is taken here and judged by the daemon, since an error here would repeat it.
fn code(text: &str) -> Result<PickupCode, Infallible> {
    Ok(PickupCode::new(text))
}

/// A sum of money, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Yuan {
    /// In fen, 1/100 yuan.
    pub fen: u64,
}

/// The largest sum, fen.
const FEN_MAX: u64 = 1_000_000;

impl FromStr for Yuan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write yuan as in 12.50, from 0.01 to 10000.00".to_string();
        let (whole, cents) = text.split_once('.').unwrap_or((text, "00"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(cents) || whole.len() > 5 || cents.len() > 2 {
            return Err(wrong());
        }
        let number = |part: &str| part.parse::<u64>().map_err(|_| wrong());
        let tens = if cents.len() == 1 { 10 } else { 1 };
        let fen = number(whole)? * 100 + number(cents)? * tens;
        match fen {
            1..=FEN_MAX => Ok(Self { fen }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::super::Args;
    use super::*;

    #[test]
    fn the_definition_holds_and_a_code_in_it_is_masked() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["linli", "desk", "hand-over", "48-2915"]).unwrap();
        let shown = format!("{args:?}");
        assert!(shown.contains("***") && !shown.contains("48"), "{shown}");
    }

    #[test]
    fn money_is_exact() {
        let fen = |text: &str| text.parse::<Yuan>().map(|yuan| yuan.fen).ok();
        let sums = [
            ("12.50", 1_250),
            ("12.5", 1_250),
            ("12", 1_200),
            ("0.01", 1),
            ("0.29", 29),
            ("10000", 1_000_000),
            ("10000.00", 1_000_000),
        ];
        for (text, wanted) in sums {
            assert_eq!(fen(text), Some(wanted), "{text}");
        }
        let wrong = [
            "",
            "0",
            "0.00",
            "10000.01",
            "12.505",
            "12.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "１",
            "¥5",
            "99999999999999999999",
        ];
        for text in wrong {
            assert_eq!(fen(text), None, "{text}");
        }
    }
}
