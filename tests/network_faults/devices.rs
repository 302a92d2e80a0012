//! The way from the devices to the embedded broker, cut at any byte: what was promised is stored
//! once, and the people at the bank are served all the same.

use std::time::Duration;

use crate::cloud::{healed, life_goes_on};
use crate::common::proxy::Fault;
use crate::estate::{Estate, Plan, Story, run, story};

/// How often a connection is cut, by the bytes between two cuts.
pub fn stories() -> [Story; 3] {
    let means = [
        ("cut-often", 400),
        ("cut-now-and-then", 2_000),
        ("cut-seldom", 10_000),
    ];
    means.map(|(name, mean_bytes)| story(name, move || run(cut(name, mean_bytes))))
}

async fn cut(name: &str, mean_bytes: u64) {
    let estate = Estate::begin(Plan::default()).await;
    for _ in 0..3 {
        estate.announce_four().await;
    }
    estate.all_have_their_codes().await;
    // As often as it takes: on a busy machine little is sent in a second.
    for seed in 0..60 {
        if seed >= 6 && estate.from_devices.resets() >= 20 {
            break;
        }
        estate
            .from_devices
            .set(Fault::CutAtRandom { seed, mean_bytes });
        tokio::time::sleep(Duration::from_secs(1)).await;
        estate.from_devices.set(Fault::SwallowAnswer);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let resets = estate.from_devices.resets();
    assert!(resets >= 20, "{resets} connections cut");
    estate.from_devices.set(Fault::None);
    estate.bank.device().until_online().await;
    life_goes_on(&estate).await;
    healed(name, estate).await;
}
