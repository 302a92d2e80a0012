//! The stories of a real evening, end to end: the real daemon, devices that speak real MQTT, a real
//! cloud, and the command line by process. Each tells what the people saw on the display, what the
//! technician sees, and what the cloud has at the end; at each end the history is sound.
//!
//! * [`bringing`] — couriers who bring parcels, and what goes wrong before the door is closed.
//! * [`collecting`] — residents who collect, strangers who guess, codes that are lost.
//! * [`going_back`] — overdue, cancelled, brought to a desk, damaged, returned.
//! * [`cut_off`] — the cloud away, the power gone, a bank on its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bringing;
mod collecting;
#[path = "../common/mod.rs"]
mod common;
mod cut_off;
mod evening;
mod going_back;
