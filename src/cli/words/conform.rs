//! What is said of a conformance run.

use std::fmt::Display;
use std::path::Path;

/// A clause held.
pub const HELD: &str = "held";
/// A clause was broken.
pub const BROKEN: &str = "BROKEN";
/// A clause couldn't be seen.
pub const NOT_SHOWN: &str = "not shown";

/// What is being tried.
pub fn trying(what: &str) -> String {
    format!("trying {what} …")
}

/// Above the clauses.
pub fn of(url: &str, gateway: &str) -> String {
    format!("{url}, tried by the gateway '{gateway}'")
}

/// What was asked.
pub fn asked(asked: &str) -> String {
    format!("asked:    {asked}")
}

/// What was answered.
pub fn answered(answered: &str) -> String {
    format!("answered: {answered}")
}

/// Below the clauses.
pub fn sum(held: usize, broken: usize, not_shown: usize) -> String {
    format!("{held} held, {broken} broken, {not_shown} not shown")
}

/// The token's file can't be read.
pub fn unreadable_token(file: &Path, e: &impl Display) -> String {
    let file = file.display();
    format!("the token can't be read from {file}: {e}. Put an enrolment token of the cloud there")
}

/// There is nothing in it.
pub fn empty_token(file: &Path) -> String {
    let file = file.display();
    format!("{file} is empty: put an enrolment token of the cloud there, in one line")
}
