//! The estate's rules by behaviour, with time stepped to the exact edge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod announcing;
mod cancellation;
mod claims;
mod codes;
mod collection;
mod demand;
mod deposit;
mod desk;
mod downlink;
mod hand;
mod layout;
mod ledger;
mod lockout;
mod overdue;
mod retrieval;
mod returns;
mod several;
mod staff;
mod transfer;
