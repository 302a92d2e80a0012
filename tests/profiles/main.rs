//! Devices of other makers.
//!
//! * `tried` — the shipped profiles on the payloads of their makers' documentation, by `linli profile test`.
//! * `makers` — Zigbee2MQTT, Tasmota and Shelly as they log in, publish and leave, at the real daemon.
//! * `states` — what is said again, by a broker, a device or a client, and makes nothing happen twice.
//! * `bounds` — programs that never end, eat memory or say too much, and workers that are killed.
//! * `behind` — the same devices behind somebody else's broker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bed;
mod behind;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod makers;
mod states;
mod tried;
