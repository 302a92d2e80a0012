//! Hardware in the loop: one suite for serial devices, on real hardware that a bench file names or on
//! simulated devices, always through the real gateway.
//!
//! * [`mod@bench`] — what hangs where: the gateway's own configuration of ports, banks and devices, and
//!   what the suite may do with them.
//! * [`rig`] — the running gateway: commands by its control socket, what became of them from its store.
//! * [`hands`] — who closes doors and pulls plugs: the simulator, a person, or nobody.
//! * [`cases`] — what must hold, each with its clause.
//! * [`suite`] — runs them; [`report`] — what is kept for the acceptance.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bench;
pub mod cases;
pub mod hands;
pub mod report;
pub mod rig;
pub mod simulated;
pub mod suite;
