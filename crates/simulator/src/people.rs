//! The people of an evening. Each is a plain async function that lives through its part and returns.

mod courier;
mod passer_by;
mod resident;
mod send_back;
mod stranger;
mod take_back;

pub use courier::{Round, deliver};
pub use passer_by::{come_and_go, read_climate, wish};
pub use resident::{Errand, collect};
pub use send_back::{Return, send_back};
pub use stranger::try_codes;
pub use take_back::{Pickup, Proof, take_back};

use crate::{Random, World};

/// Lets a person take between `first` and `last` seconds of the play for something.
async fn take_time(world: &World, random: &mut Random, first: u64, last: u64) {
    world
        .tempo
        .pass(random.between(first * 1_000, last * 1_000))
        .await;
}
