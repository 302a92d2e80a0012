//! The technician, who asks the command line all the time: it always answers, or says why it can't.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use simulator::Random;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::site::{DESK, Site};
use crate::town::Town;

/// What was asked, and how it was answered.
#[derive(Default)]
pub struct Asked {
    pub answered: u64,
    pub said_why: u64,
    pub slowest: Duration,
    /// The first words of why not, with how often.
    pub whys: BTreeMap<String, u64>,
}

/// Asks until the town is closed.
pub async fn ask(town: Arc<Town>, pause: Duration, mut random: Random) -> Asked {
    let mut asked = Asked::default();
    while !town.is_closed() {
        let args = question(&town, &mut random);
        let site = Arc::clone(&town.site);
        let said = spawn_blocking(move || {
            let words: Vec<&str> = args.iter().map(String::as_str).collect();
            (site.linli(&words), args)
        });
        let (said, args) = said.await.unwrap();
        let what = args.join(" ");
        asked.slowest = asked.slowest.max(said.took);
        if Site::is_stuck(&said) {
            town.fails(format!("linli {what} didn't answer within {:?}", said.took));
        } else if said.err.contains("panicked") || (!said.ok && said.err.trim().is_empty()) {
            town.fails(format!("linli {what} failed and said: '{}'", said.err));
        } else if said.ok {
            asked.answered += 1;
        } else {
            asked.said_why += 1;
            let first: String = said
                .err
                .lines()
                .next()
                .unwrap_or("")
                .chars()
                .take(90)
                .collect();
            *asked.whys.entry(first).or_default() += 1;
        }
        sleep(pause).await;
    }
    asked
}

fn question(town: &Town, random: &mut Random) -> Vec<String> {
    let words: &[&str] = match random.below(9) {
        0 => &["status"],
        1 => &["status", "--json"],
        2 => &["parcels"],
        3 => &["sync"],
        4 => &["desk", "list", "--desk", DESK],
        5 => &["devices"],
        6 => &["banks"],
        7 => &["events", "--limit", "20"],
        _ => {
            let parcels: Vec<String> = town.parcels().into_keys().collect();
            if let Some(id) = random.pick(&parcels) {
                return ["parcel", id, "--verify"].map(ToString::to_string).to_vec();
            }
            &["commands"]
        }
    };
    words.iter().map(ToString::to_string).collect()
}
