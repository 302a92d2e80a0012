//! What is said of the way to the cloud by `linli sync` and its commands.

use std::fmt::Display;
use std::path::Path;

/// A step held.
pub const HELD: &str = "ok";
/// A step didn't.
pub const NOT_HELD: &str = "FAIL";

/// Every step held.
pub const ALL_HELD: &str = "All of it holds.";

/// The account ended in the middle.
pub const BROKE_OFF: &str =
    "the account ended before its last step: see linli status, then try again";

/// Steps that didn't hold.
pub fn not_all(failed: &[String], whole: bool) -> String {
    let rest = match whole {
        true => "",
        false => "; what comes after it wasn't tried",
    };
    format!(
        "not all of it holds: {}{rest}. What to do stands beside it",
        failed.join(", ")
    )
}

/// Before the cursor.
pub const ASK_TOKEN: &str = "Enrolment token (it isn't shown): ";

/// Nothing came.
pub const NO_TOKEN: &str = "no token was given: type it when asked, send it as a line, or name its file: linli sync enrol --token-file FILE";

/// What came is no token. It isn't repeated.
pub const NOT_A_TOKEN: &str =
    "a token is one line of 1 to 256 characters: take it as the cloud's operator gave it";

/// Nobody can be asked.
pub fn cannot_ask(why: &dyn Display) -> String {
    format!(
        "the token can't be asked for: {why}. Name its file: linli sync enrol --token-file FILE"
    )
}

/// The token's file can't be read.
pub fn cannot_read(file: &Path, why: &dyn Display) -> String {
    format!(
        "the token's file {} can't be read: {why}. Name another, or leave --token-file out to be asked",
        file.display()
    )
}

/// What a new epoch is.
pub const RESTORED_MEANS: &str = "\
This starts a new epoch. It is right when this store was restored from a backup, or copied to a new
box, and the cloud refuses it (fork, gap, or 'older than what the cloud has heard').
  - What waits for the cloud is numbered anew and sent again.
  - The cloud is told the state of every parcel that this store knows; where the two differ, this
    store's word counts. What happened after the backup is known only to the cloud.
  - An older copy of this store is refused from then on: make sure that only one box runs.
It can't be taken back.";

/// Before the cursor.
pub const ASK_RESTORED: &str = "Start a new epoch? [y/N] ";

/// It wasn't wanted.
pub const NOT_AGREED: &str = "nothing was changed";

/// There is nobody to ask.
pub const SAY_YES: &str =
    "nobody is at a terminal to agree, so nothing was changed: if it is meant, add --yes";
