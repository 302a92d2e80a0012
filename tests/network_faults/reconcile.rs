//! After every fault between gateway and cloud the two are held side by side, parcel by parcel: state,
//! place, and that the code which the cloud told its recipient opens the door. Also when one of them
//! comes back as an older copy of itself: a person is told, says which word counts, and they agree.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::cloud::life_goes_on;
use crate::common::proxy::Fault;
use crate::estate::{Estate, Plan, run, side_by_side, site, story};
use crate::stores::{Kept, Kind, read_only};

/// A parcel's state and, while it lies somewhere, its place.
type Held = BTreeMap<String, (String, Option<(String, u16)>)>;

#[test]
fn gateway_and_cloud_hold_the_same_after_each_fault() {
    side_by_side([
        story("evening-sqlite", || run(evening(Kind::Sqlite))),
        story("evening-postgres", || run(evening(Kind::Postgres))),
        story("restored-cloud", || run(the_cloud_is_an_older_copy())),
        story("restored-gateway", || run(the_gateway_is_an_older_copy())),
    ]);
}

/// The line's faults once each, and a cloud that is gone at once and comes back.
async fn evening(kind: Kind) {
    if kind == Kind::Postgres && local_postgres::left_out() {
        return;
    }
    let mut estate = begin(kind).await;
    let faults = [
        Fault::Reset {
            up: 600,
            down: u64::MAX,
        },
        Fault::SwallowAnswer,
        Fault::Delay(Duration::from_millis(400)),
    ];
    for fault in faults {
        let breaks = !matches!(fault, Fault::Delay(_));
        let before = estate.to_cloud.resets();
        estate.fault(fault.clone());
        part_of_an_evening(&estate).await;
        if breaks {
            estate
                .until("the line to break", async || {
                    let resets = estate.to_cloud.resets();
                    (resets > before).then_some(()).ok_or(resets.to_string())
                })
                .await;
        }
        estate.fault(Fault::None);
        agree(&estate, &format!("{fault:?}")).await;
    }
    estate.fault(Fault::SwallowAnswer);
    part_of_an_evening(&estate).await;
    estate.another_cloud(false, |_| ()).await;
    estate.fault(Fault::None);
    agree(&estate, "a cloud that was gone at once").await;
    the_last_is_fetched(&estate).await;
    estate.reckoning().await;
    estate.end().await;
}

/// The cloud's store comes back from a backup: it has lost what it had acknowledged.
async fn the_cloud_is_an_older_copy() {
    let mut estate = begin(Kind::Sqlite).await;
    estate.in_step().await;
    let Kept::Sqlite(file) = &estate.kept else {
        unreachable!("it was asked for")
    };
    let copy = file.with_extension("copy");
    let name = copy.display().to_string();
    read_only(file).execute("VACUUM INTO ?1", [name]).unwrap();
    part_of_an_evening(&estate).await;
    agree(&estate, "nothing").await;
    estate
        .another_cloud(true, |kept| put_back(kept, &copy))
        .await;
    part_of_an_evening(&estate).await;
    estate
        .says(&["has lost items that it had acknowledged"])
        .await;
    restored(&estate).await;
    agree(&estate, "a cloud from a backup").await;
    the_last_is_fetched(&estate).await;
    estate.end().await;
}

/// The gateway's store comes back from a backup: it says again, and otherwise, what it had said.
async fn the_gateway_is_an_older_copy() {
    let mut estate = begin(Kind::postgres()).await;
    estate.in_step().await;
    let copy = estate.setup.dir.path().join("backup");
    estate.while_stopped(|setup| copy_folder(&setup.state(), &copy));
    estate.bank.device().until_online().await;
    part_of_an_evening(&estate).await;
    agree(&estate, "nothing").await;
    estate.while_stopped(|setup| {
        fs::remove_dir_all(setup.state()).unwrap();
        fs::rename(&copy, setup.state()).unwrap();
    });
    estate.bank.device().until_online().await;
    estate.announce_four().await;
    estate
        .says(&["gateways send under this name, or this store is a copy"])
        .await;
    restored(&estate).await;
    agree(&estate, "a gateway from a backup").await;
    the_last_is_fetched(&estate).await;
    estate.end().await;
}

/// One parcel lies in the bank, and stays there until the end.
async fn begin(kind: Kind) -> Estate {
    let estate = Estate::begin(Plan {
        store: kind,
        ..Plan::default()
    })
    .await;
    estate.announce_four().await;
    estate.all_have_their_codes().await;
    estate.announce_four().await;
    estate.all_have_their_codes().await;
    let last = estate.told().to_hand_over.remove(0);
    estate.put_in(&last).await;
    estate
}

/// Parcels are announced, one is brought and fetched, events come.
async fn part_of_an_evening(estate: &Estate) {
    estate.announce_four().await;
    life_goes_on(estate).await;
}

/// A person says which word counts.
async fn restored(estate: &Estate) {
    let said = estate.linli(&["sync", "restored", "--yes"]);
    assert!(said.contains("epoch"), "{said}");
}

/// Waits until both hold the same.
async fn agree(estate: &Estate, after: &str) {
    estate.in_step().await;
    let what = format!("gateway and cloud to hold the same after {after}");
    estate
        .until(&what, async || {
            let (gateway, cloud) = (at_gateway(estate), at_cloud(estate).await);
            let differ = |id: &&String| gateway.get(*id) != cloud.get(*id);
            let ids = gateway.keys().chain(cloud.keys());
            let seen: Vec<String> = ids
                .filter(differ)
                .map(|id| format!("{id}: {:?}, {:?}", gateway.get(id), cloud.get(id)))
                .collect();
            seen.is_empty().then_some(()).ok_or(seen.join("; "))
        })
        .await;
    let held = at_gateway(estate);
    let lies = held.values().filter(|(_, place)| place.is_some()).count();
    println!(
        "after {after}: {} parcels the same at both, {lies} in the bank",
        held.len()
    );
    assert!(lies > 0, "{held:?}");
}

fn at_gateway(estate: &Estate) -> Held {
    let store = estate.gateways_store();
    let mut select = store
        .prepare("SELECT parcel, stage, bank, compartment FROM parcels")
        .unwrap();
    let rows = select.query_map([], |row| {
        let state: String = row.get(1)?;
        let place = match state.as_str() {
            "deposited" => Some((row.get(2)?, row.get(3)?)),
            _ => None,
        };
        Ok((row.get(0)?, (state, place)))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

async fn at_cloud(estate: &Estate) -> Held {
    let views = estate.cloud.parcels(&site()).await.unwrap();
    let held = views.into_iter().map(|view| {
        let state = view.state.map_or("announced", |state| state.word());
        let place = (state == "deposited").then(|| view.bank.zip(view.compartment));
        (view.parcel, (state.to_string(), place.flatten()))
    });
    held.collect()
}

/// The code that the cloud told opens the door, whatever happened since.
async fn the_last_is_fetched(estate: &Estate) {
    let held = at_gateway(estate);
    let mut lies = held.iter().filter(|(_, (_, place))| place.is_some());
    let (parcel, _) = lies.next().unwrap();
    let code = estate.code(parcel).await.expect("its recipient has a code");
    estate.take_out(parcel, &code).await;
    let mut told = estate.told();
    told.ends.insert(parcel.clone(), "collected");
    told.handed_over.insert(parcel.clone());
}

fn put_back(kept: &Kept, copy: &Path) {
    let Kept::Sqlite(file) = kept else {
        unreachable!("it was asked for")
    };
    for beside in ["-wal", "-shm"] {
        let mut name = file.clone().into_os_string();
        name.push(beside);
        let _ = fs::remove_file(name);
    }
    fs::rename(copy, file).unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}
