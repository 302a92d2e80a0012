//! The estate's rules by behaviour, with time stepped to the exact edge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod attacker;
mod bank_codes;
mod codes;
mod collection;
mod commands;
mod demand;
mod deposit;
mod downlink;
mod freshness;
mod hand;
mod layout;
mod ledger;
mod lockout;
mod meanings;
