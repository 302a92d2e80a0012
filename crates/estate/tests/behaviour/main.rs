//! The estate's rules by behaviour, with time stepped to the exact edge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod codes;
mod collection;
mod couriers;
mod demand;
mod deposit;
mod downlink;
mod hand;
mod layout;
mod ledger;
mod lockout;
mod mislaid;
mod one_at_a_time;
mod placing;
mod shared;
mod unlisted;
mod upkeep;
