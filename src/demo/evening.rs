//! The evening is played: announcements, couriers, residents, a stranger, faults, the cloud that
//! comes and goes.

use std::sync::Arc;
use std::time::Duration;

use cloud_protocol::downlink::Proof;
use cloud_protocol::{Downlink, badge_digest};
use reference_cloud::Refusal;
use simulator::people::{collect, come_and_go, deliver, read_climate, take_back, try_codes, wish};
use simulator::world::Point;
use simulator::{Random, Sight, Witness as _};
use tokio::task::JoinSet;

use super::books::Books;
use super::plan::{self, SENSORS, TERMINAL};
use super::script::{END_MS, Script, at};
use super::stage::Stage;
use super::story::Mood;
use super::wiring::BOARDED;

/// How long people may take, in real time, to finish what they are at when the evening is over.
const LAST_STEPS: Duration = Duration::from_secs(20);
/// How long a gateway may take, in real time, to hear of a late parcel.
const NEWS: Duration = Duration::from_secs(3);
/// How long a gateway takes, at most, to see that a door on a locker board was closed.
const SEEN_CLOSED: Duration = Duration::from_millis(400);
/// How often a sensor reads.
const READ_EVERY_MS: u64 = 120_000;
/// A stranger's guesses have as many digits as the shortest code.
const GUESS_DIGITS: usize = 6;
const GUESSES: u32 = 8;

/// Plays the evening to its end.
pub(super) async fn play(stage: Arc<Stage>, script: Script, seed: u64) -> anyhow::Result<()> {
    let random = Random::new(seed);
    let mut people = JoinSet::new();
    announce_early(&stage, &script).await?;
    people_come(&stage, &script, &random, &mut people)?;
    people.spawn(make_faults(Arc::clone(&stage)));
    people.spawn(disturb_hall(Arc::clone(&stage)));
    cloud_comes_and_goes(&stage, &script).await?;
    stage.tempo.until(END_MS).await;
    stage
        .story
        .tell("over", Mood::Calm, "▶ the evening is over, people go home");
    stage.world.call_it_a_day();
    let home = async { while people.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_STEPS, home).await.is_err() {
        tracing::warn!("somebody didn't finish; the balance will show it");
    }
    // Until the hour before 20:00 is closed and released.
    stage.tempo.until(at(20, 5)).await;
    Ok(())
}

fn people_come(
    stage: &Arc<Stage>,
    script: &Script,
    random: &Random,
    people: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let world = || Arc::clone(&stage.world);
    for round in &script.rounds {
        let delivering = deliver(world(), round.clone(), random.clone());
        people.spawn(async move {
            let _in_van = delivering.await;
        });
    }
    for errand in &script.errands {
        people.spawn(collect(world(), errand.clone(), random.clone()));
    }
    for coming in &script.comings {
        people.spawn(come_and_go(
            world(),
            coming.door.clone(),
            coming.household.clone(),
            coming.at_ms,
            coming.direction,
            coming.known,
        ));
    }
    for household in &script.wishes {
        let (who, at_ms) = (household.household.clone(), household.at_ms);
        people.spawn(wish(
            world(),
            plan::id(TERMINAL)?,
            who,
            at_ms,
            random.clone(),
        ));
    }
    for (n, device) in plan::device_ids(stage.wiring.as_ref())?
        .into_iter()
        .enumerate()
    {
        let found = SENSORS
            .iter()
            .find(|(sensor, _)| *sensor == device.as_str());
        let Some((_, celsius)) = found else {
            continue;
        };
        people.spawn(read_climate(
            world(),
            device,
            plan::form(n),
            *celsius,
            READ_EVERY_MS,
            END_MS,
            random.clone(),
        ));
    }
    let taking_back = take_back(world(), script.pickup.clone(), random.clone());
    people.spawn(async move {
        let _taken = taking_back.await;
    });
    let (bank, from_ms) = script.stranger.clone();
    let trying = try_codes(
        world(),
        bank,
        from_ms,
        GUESSES,
        GUESS_DIGITS,
        random.clone(),
    );
    people.spawn(async move {
        let _opened = trying.await;
    });
    Ok(())
}

/// Couriers and parcels are announced, one is cancelled again.
async fn announce_early(stage: &Stage, script: &Script) -> anyhow::Result<()> {
    for round in &script.rounds {
        let courier = Downlink::Courier {
            courier: round.courier.clone(),
            proof: Proof::Badge(badge_digest(&round.badge)),
            valid_until: at(21, 0),
        };
        stage.cloud.push(&stage.site, &courier).await?;
    }
    for parcel in &script.early {
        stage.cloud.announce(&stage.site, parcel).await?;
    }
    let text = format!(
        "☁ the cloud announces {} parcels and {} couriers",
        script.early.len(),
        script.rounds.len()
    );
    stage.story.tell("announced", Mood::Cloud, text);
    Ok(())
}

/// Late news, then the cloud is away twice, and a cancellation that comes after the deposit. The last parcel is announced at the very moment at
/// which it goes: the gateway hears of it, but the code that it makes stays in the box.
async fn cloud_comes_and_goes(stage: &Stage, script: &Script) -> anyhow::Result<()> {
    stage.tempo.until(at(17, 6)).await;
    cancel(stage, &script.cancelled).await?;
    stage.tempo.until(at(17, 9)).await;
    for parcel in &script.late {
        stage.cloud.announce(&stage.site, parcel).await?;
    }
    let text = format!("☁ the cloud announces {} late parcels", script.late.len());
    stage.story.tell("announced", Mood::Cloud, text);
    for (n, (from, to)) in script.unreachable.into_iter().enumerate() {
        stage.tempo.until(from).await;
        if n == 0 {
            announce_last(stage, script).await?;
        }
        stage.set_reachable(false);
        let text = "☁ the cloud can't be reached; keypads don't notice";
        stage.story.tell("cloud-away", Mood::Cloud, text);
        stage.tempo.until(to).await;
        stage.set_reachable(true);
        stage
            .story
            .tell("cloud-back", Mood::Cloud, "☁ the cloud is back");
    }
    stage.tempo.until(at(19, 15)).await;
    cancel(stage, &script.cancelled_late).await
}

async fn cancel(stage: &Stage, parcel: &str) -> anyhow::Result<()> {
    let cancelled = Downlink::ParcelCancelled {
        parcel: parcel.to_string(),
    };
    stage.cloud.push(&stage.site, &cancelled).await?;
    let text = format!("☁ the cloud cancels {parcel}");
    stage.story.tell("cancelled", Mood::Cloud, text);
    Ok(())
}

async fn announce_last(stage: &Stage, script: &Script) -> anyhow::Result<()> {
    // From now on calls are refused, but the long poll that is open already brings the news.
    let unwell = Refusal {
        status: 503,
        retry_after_s: None,
    };
    stage.cloud.faults().answer_with(Some(unwell));
    stage.cloud.announce(&stage.site, &script.stuck).await?;
    let heard = async {
        loop {
            let (store, parcel) = (stage.store.clone(), script.stuck.parcel.clone());
            let known = move || Books::open(&store)?.knows(&parcel);
            if tokio::task::spawn_blocking(known).await?? {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Heard or not: the evening goes on, and what wasn't heard comes when the cloud is back.
    if let Ok(heard) = tokio::time::timeout(NEWS, heard).await {
        heard?;
    }
    let text = format!(
        "☁ the cloud announces {} as its last word",
        script.stuck.parcel
    );
    stage.story.tell("announced", Mood::Cloud, text);
    stage.set_reachable(false);
    stage.cloud.faults().answer_with(None);
    Ok(())
}

/// On serial lines: the adapter of the boards is pulled out for a while, and gets another device file.
async fn pull_out_boards(stage: &Stage) {
    let Some(wiring) = &stage.wiring else {
        return;
    };
    let Some(Point::Bank(bank)) = stage
        .world
        .points
        .values()
        .find(|p| p.id().as_str() == BOARDED)
    else {
        return;
    };
    let tell = |what| {
        let device = bank.id().clone();
        stage
            .story
            .saw(stage.tempo.now_ms(), Sight::Fault { device, what });
    };
    stage.tempo.until(at(17, 52)).await;
    // Whoever does it waits until nobody has a door open, as nobody could say what became of it.
    let turn = loop {
        let turn = bank.turn().await;
        if bank
            .compartments()
            .iter()
            .all(|compartment| !compartment.open)
        {
            break turn;
        }
        drop(turn);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    tokio::time::sleep(SEEN_CLOSED).await;
    tell("the adapter of its locker boards is pulled out");
    wiring.unplug_boards();
    drop(turn);
    stage.tempo.until(at(17, 58)).await;
    tell("the adapter is in again, with another device file");
    if let Err(error) = wiring.plug_in_boards() {
        tracing::error!(%error, "the adapter can't be put in again");
    }
}

/// On serial lines: a bad contact on the line of bank-b.
async fn disturb_hall(stage: Arc<Stage>) {
    let Some(wiring) = &stage.wiring else {
        return;
    };
    let Some(bank) = stage
        .world
        .points
        .values()
        .find(|p| p.id().as_str() == "bank-b")
    else {
        return;
    };
    for (from, disturbed, what) in [
        (
            at(18, 25),
            true,
            "a bad contact: frames on its line get lost and garbled",
        ),
        (at(18, 40), false, "its line is good again"),
    ] {
        stage.tempo.until(from).await;
        let device = bank.id().clone();
        stage.story.saw(from, Sight::Fault { device, what });
        wiring.disturb_hall(disturbed);
    }
}

/// A connection breaks and everything comes twice, a controller starts anew, a sensor is away.
async fn make_faults(stage: Arc<Stage>) {
    let tell = |device: &simulator::Device, what| {
        let device = device.id().clone();
        let now_ms = stage.tempo.now_ms();
        stage.story.saw(now_ms, Sight::Fault { device, what });
    };
    let points = &stage.world.points;
    stage.tempo.until(at(17, 25)).await;
    if let Some(bank) = points.get("bank-a").map(|point| point.device()) {
        tell(
            bank,
            "its connection breaks, and it sends what it sent once more",
        );
        bank.cut().await;
        bank.until_online().await;
        bank.send_again();
    }
    pull_out_boards(&stage).await;
    stage.tempo.until(at(18, 5)).await;
    if let Some(bank) = points.get("bank-b").map(|point| point.device()) {
        tell(bank, "its controller loses power and starts anew");
        bank.reboot().await;
    }
    stage.tempo.until(at(18, 45)).await;
    if let Some(sensor) = stage.world.devices.get("cellar-air") {
        tell(sensor, "out of reach; it keeps what it reads");
        sensor.go_away().await;
        stage.tempo.until(at(19, 20)).await;
        tell(sensor, "in reach again");
        sensor.come_back().await;
    }
}
