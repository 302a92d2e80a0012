//! Parcels in the middle of a reload: the door that is open is closed on the same hand-over, the code
//! stays good, and a bank with a parcel in it can't be taken away.

use std::fs;

use firmware_protocols::Kind;
use firmware_protocols::event::{Done, Door};
use reference_cloud::Config;
use tokio::task::block_in_place;

use crate::client::Client;
use crate::common::{Setup, text, wait_until};
use crate::controller::Controller as _;
use crate::{reload, reloaded, start, write};

async fn state_is(setup: &Setup, state: &str) {
    wait_until(&format!("the parcel to be {state}"), async || {
        let parcel = block_in_place(|| setup.json(&["parcel", "p-1"]));
        (parcel["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_and_its_code_survive_reloads_in_the_middle_of_the_hand_over() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    let _gateway = start(&mut setup);
    let mut bank = Client::connect(setup.address(), "bank-a").await.unwrap();
    let code = bank.deposit(&cloud).await;

    // The bank by another name: the parcel would be in none.
    let good = fs::read_to_string(setup.config()).unwrap();
    fs::write(setup.config(), good.replace("bank-a", "bank-z")).unwrap();
    let refused = reload(&setup);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("1 parcel is in bank-a/1"), "{said}");
    assert!(said.contains("linli desk transfer"), "{said}");

    let kind = Kind::Keypad { code, opened: None };
    bank.say(kind).await;
    let (command, compartment) = bank.opened().await;
    setup.devices.push("door-9".to_owned());
    setup.more = "[rules]\nreopen_grace_s = 60\nlockout_after = 4\n".to_owned();
    let taken = reloaded(&mut setup);
    assert!(taken.contains("rules"), "{taken}");
    let result = Kind::Result {
        command,
        outcome: Done::Done,
        reason: None,
    };
    bank.say(result).await;
    let door = |door, occupied| Kind::Compartment {
        compartment,
        door,
        occupied: Some(occupied),
    };
    bank.say(door(Door::Open, true)).await;
    bank.settle().await;
    state_is(&setup, "collecting").await;
    setup.devices.push("door-10".to_owned());
    reloaded(&mut setup);
    bank.say(door(Door::Closed, false)).await;
    bank.settle().await;
    state_is(&setup, "collected").await;

    // Now it is empty, and may go.
    write(&mut setup);
    let text = fs::read_to_string(setup.config()).unwrap();
    fs::write(setup.config(), text.replace("bank-a", "bank-z")).unwrap();
    let taken = reload(&setup);
    assert!(
        taken.status.success(),
        "{}",
        crate::common::text(&taken.stderr)
    );
    bank.is_dropped().await;
    assert!(Client::connect(setup.address(), "bank-z").await.is_some());
}
