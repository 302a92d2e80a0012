//! A name server that doesn't answer: the look-up can't be broken off, and nothing else may wait for it.

use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

use crate::cloud::{IF_IT_LASTS, healed, life_goes_on};
use crate::common::interposed;
use crate::common::proxy::Fault;
use crate::estate::{Estate, Plan, Story, run};

/// The name hangs so long that a thread kept by each try to reach the cloud would be missed.
const HANGS: Duration = Duration::from_secs(30);
/// The uplink gets 3 s when the gateway stops, the control socket 1 s.
const USUAL_STOP: Duration = Duration::from_secs(8);

/// For the cloud's faults.
pub fn story() -> Story {
    crate::estate::story("name-hangs", || {
        run(a_name_that_hangs_holds_up_nothing_else())
    })
}

async fn a_name_that_hangs_holds_up_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let hangs = folder.path().join("hangs");
    let mut estate = Estate::begin(Plan {
        url: Box::new(|address| format!("http://localhost:{}", address.port())),
        env: vec![
            ("LD_PRELOAD".to_string(), interposed::library().into()),
            ("LINLI_DNS_HANGS".to_string(), OsString::from(&hangs)),
        ],
        ..Plan::default()
    })
    .await;
    estate.announce_four().await;
    estate.announce_four().await;
    estate.all_have_their_codes().await;

    fs::write(&hangs, "").unwrap();
    estate.fault(Fault::Refuse);
    estate.fault(Fault::None);
    estate.to_cloud.reset_all();
    let began = Instant::now();
    life_goes_on(&estate).await;
    estate
        .says(&[
            "no name server says within 8 s where localhost is",
            IF_IT_LASTS,
        ])
        .await;
    while began.elapsed() < HANGS {
        let asked = Instant::now();
        let status = estate.linli(&["status"]);
        assert!(status.contains("where localhost is"), "{status}");
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{:?}",
            asked.elapsed()
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    life_goes_on(&estate).await;
    let took = estate.restart();
    assert!(took < USUAL_STOP, "the stop took {took:?}");
    estate.bank.device().until_online().await;
    life_goes_on(&estate).await;

    fs::remove_file(&hangs).unwrap();
    healed("name-hangs", estate).await;
}
