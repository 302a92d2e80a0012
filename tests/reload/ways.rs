//! The ways out of the box begin anew where they differ, and no device notices: the cloud, and somebody
//! else's broker.

use reference_cloud::Config;
use tokio::task::block_in_place;

use crate::client::Client;
use crate::common::mosquitto::Mosquitto;
use crate::common::{Setup, ident, wait_for, wait_until};
use crate::{reloaded, start, status, write};

fn uplink_works(setup: &Setup, url: &str) {
    block_in_place(|| {
        wait_for("the cloud to be reached", || {
            let cloud = setup.json(&["status"])["cloud"].take();
            let there = cloud["url"].as_str()?.starts_with(url);
            (there && cloud["connected_since_ms"].is_i64()).then_some(())
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cloud_is_enrolled_at_and_no_device_notices() {
    let first = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let second = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut setup = Setup::new();
    setup.cloud = Some(first.url());
    let gateway = start(&mut setup);
    let mut door = Client::connect(setup.address(), "door-1").await.unwrap();
    uplink_works(&setup, &first.url());

    setup.cloud = Some(second.url());
    let said = reloaded(&mut setup);
    assert!(said.contains("the sync client began anew"), "{said}");
    uplink_works(&setup, &second.url());
    wait_until("the second cloud to know the gateway", async || {
        second.lanes(&ident("test-site")).await.ok()
    })
    .await;
    door.is_heard().await;

    setup.cloud = None;
    let said = reloaded(&mut setup);
    assert!(said.contains("no cloud any more"), "{said}");
    let now = status(&setup);
    assert!(now["cloud"].is_null(), "{now}");
    assert_eq!(now["parts"].as_array().unwrap().len(), 1, "{now}");
    door.is_heard().await;
    block_in_place(|| gateway.stop());
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_an_external_broker_a_new_device_is_heard_and_another_broker_is_gone_to() {
    let (Some(first), Some(second)) = block_in_place(|| (Mosquitto::start(), Mosquitto::start()))
    else {
        return;
    };
    let mut setup = Setup::new();
    setup.external = Some(first.address);
    let gateway = start(&mut setup);
    setup.devices.push("door-9".to_owned());
    let said = reloaded(&mut setup);
    assert!(said.contains("device new: door-9"), "{said}");
    let mut comes = Client::connect(first.address, "door-9").await.unwrap();
    comes.is_heard().await;
    stored(&setup, "door-9", 1);

    setup.external = Some(second.address);
    let said = reloaded(&mut setup);
    assert!(said.contains("connected anew to mqtt://"), "{said}");
    block_in_place(|| {
        wait_for("the second broker to be reached", || {
            let links = setup.json(&["status"])["links"].take();
            links["last_error"].is_null().then_some(())
        });
    });
    let mut door = Client::connect(second.address, "door-1").await.unwrap();
    door.is_heard().await;
    stored(&setup, "door-1", 1);

    // A broker of our own instead needs a restart; the rest is taken.
    setup.external = None;
    setup.devices.push("door-10".to_owned());
    write(&mut setup);
    let said = reloaded(&mut setup);
    assert!(said.contains("external_broker"), "{said}");
    assert!(said.contains("device new: door-10"), "{said}");
    door.is_heard().await;
    stored(&setup, "door-1", 2);
    block_in_place(|| gateway.stop());
}

/// Waits until so many events of a device are stored.
fn stored(setup: &Setup, device: &str, count: usize) {
    block_in_place(|| {
        wait_for("the events to be stored", || {
            let stored = setup.stored();
            let of_it = stored.keys().filter(|(id, _, _)| id == device);
            (of_it.count() >= count).then_some(())
        });
    });
}
