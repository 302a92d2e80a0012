//! The network's faults with the real daemon: the way to a real cloud, to somebody else's real
//! broker, and from the devices. Each leaves nothing lost, nothing done twice, and nobody waiting
//! who could be served.
//!
//! * [`the_proxy`] — that the proxy before all of them does what it says.
//! * [`estate`], [`reckoning`] — the stage, and what is checked at each end.
//! * [`stores`] — the two stores that a cloud may have.
//! * [`cloud`], [`certificates`], [`names`], [`loss`] — the cloud's faults one by one.
//! * [`reconcile`] — an evening's parcels held side by side after each of the cloud's faults, also when
//!   gateway or cloud come back as an older copy of themselves.
//! * [`broker`], [`devices`] — those of somebody else's broker, and of the devices' connections.
//! * [`storms`] — all of them at random, one after the other, for as long as one likes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broker;
mod certificates;
mod cloud;
#[path = "../common/mod.rs"]
mod common;
mod devices;
mod estate;
mod loss;
mod names;
mod reckoning;
mod reconcile;
mod stores;
mod storms;
mod the_proxy;
