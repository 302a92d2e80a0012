//! The neighbourhood gateway: durable events, parcel hand-over and demand for a housing estate.
//!
//! `ARCHITECTURE.md` in the repository draws the house; in short: [`links`] and [`cloud`] hand what
//! they hear to the [`journal`], which lets the estate decide, writes to the [`store`], and only
//! then lets answers out. [`daemon`] puts it all together; [`cli`] are clients of [`control`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod audit;
pub mod ca;
pub mod certificate_time;
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod conform;
pub mod control;
pub mod credentials;
pub mod daemon;
#[cfg(feature = "demo")]
pub mod demo;
pub mod disk;
pub mod intake;
pub mod journal;
pub mod keys;
pub mod knocks;
pub mod ledger;
pub mod links;
pub mod names;
pub mod pace;
pub mod presence;
pub mod store;
