//! The estate's rules by behaviour, with time stepped to the exact edge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod announcing;
mod attacker;
mod bank_codes;
mod cancellation;
mod claims;
mod codes;
mod collection;
mod commands;
mod couriers;
mod demand;
mod deposit;
mod desk;
mod downlink;
mod freshness;
mod hand;
mod layout;
mod ledger;
mod lockout;
mod meanings;
mod mislaid;
mod one_at_a_time;
mod overdue;
mod placing;
mod relayout;
mod retrieval;
mod returns;
mod several;
mod shared;
mod staff;
mod transfer;
mod unlisted;
mod upkeep;
