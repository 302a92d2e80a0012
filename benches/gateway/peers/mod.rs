//! What the gateway is compared with: Mosquitto alone, and the script that one writes in an
//! afternoon.

mod counter;
mod script;

use std::time::Instant;

use simulator::Load;
use tokio::runtime::Runtime;

use crate::common::wait_for;

pub use counter::Counter;
pub use script::{Python, Script};

/// Events per second from publishers through a broker to one subscriber, all at QoS 1: forwarded,
/// not durable. Counted until the subscriber has what the publishers were told is there.
pub fn forwarded(runtime: &Runtime, load: Load) -> f64 {
    let counter = Counter::subscribe(load.broker);
    let figures = runtime.block_on(load.run()).unwrap();
    let ended = Instant::now();
    wait_for("the subscriber to have everything", || {
        (counter.taken() >= figures.acknowledged).then_some(())
    });
    let elapsed = figures.elapsed + ended.elapsed();
    figures.acknowledged as f64 / elapsed.as_secs_f64()
}
