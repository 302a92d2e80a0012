//! The gateway under siege: the real program, attacked in every way at once and in each alone, while
//! a keypad, twenty devices and two newcomers go about their work.
//!
//! *Model.* The attackers sit on the same network. Most know no password; some have taken over a
//! device each and hold its login. They send what they like, as fast as the machine lets them, from
//! as many connections as they can open. They share the machine's cores with the gateway, so what
//! is measured contains their own cost.
//!
//! *Promise.* For everybody else, under each attack and under all of them:
//!
//! * the 99th percentile from an event to its PUBACK, and from a key press to the open command, is at
//!   most [`TIMES`] times the quiet one of the same run, plus [`PLUS`], or [`PLUS_ALL`];
//! * no connection of theirs is lost, and who comes new is served within [`NEWCOMER_MAX`];
//! * the gateway's memory stays below [`MEMORY_MAX_BYTES`] (a build without optimisation);
//! * afterwards its descriptors are what they were, nobody is locked out, the attackers' devices
//!   neither, and who sent too much is named.
//!
//! Not covered: networks that are themselves full, and more attackers than the kernel has sockets.

mod attack;
mod gateway;
mod keypad;
mod observers;

use std::time::{Duration, Instant};

use linli::credentials::set_password;
use tokio::sync::watch;

use crate::common::{PATIENCE, Setup};
use crate::controller::Controller as _;
use crate::embedded::{Client, Version, ident, publish};
use attack::{Attack, Field};
use observers::Observers;

/// The bound on others' latency: so many times the quiet one,
const TIMES: u32 = 10;
/// and so much, under one attack and under all.
const PLUS: Duration = Duration::from_secs(1);
const PLUS_ALL: Duration = Duration::from_secs(4);
/// How long a newcomer may take to log in and get an event acknowledged.
const NEWCOMER_MAX: Duration = Duration::from_secs(15);
/// The ceiling of the gateway's resident memory.
const MEMORY_MAX_BYTES: u64 = 160 << 20;
/// Descriptors that may have come for good, such as the database's.
const DESCRIPTORS_MORE: usize = 16;

const ALL_AT_ONCE: &str = "all at once";

/// How long the quiet before, each attack, and all of them last.
const QUIET: Duration = Duration::from_secs(3);
const EACH: Duration = Duration::from_millis(1_200);
const ALL: Duration = Duration::from_secs(4);
const ALL_IN_THE_LONG_FORM: Duration = Duration::from_secs(15);

/// The password of every device that has one.
pub const PASSWORD: &str = "as-long-as-any-other";
/// Devices in the attackers' hands.
const FLOODS: [&str; 3] = ["flood-0", "flood-1", "flood-2"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_else_is_served() {
    attack::raise_open_files();
    let cloud = reference_cloud::serve(reference_cloud::Config::in_memory())
        .await
        .unwrap();
    let mut setup = besieged();
    setup.cloud = Some(cloud.url());
    let gateway = tokio::task::block_in_place(|| setup.start());
    let (address, pid) = (setup.address(), gateway.pid());
    let mut keypad = keypad::Keypad::connect(address, 0).await;
    let code = keypad.deposit(&cloud).await;
    let observers = Observers::start(address, keypad.seq, code);

    observers.phase("quiet");
    let used = gateway::processor_s(pid);
    tokio::time::sleep(QUIET).await;
    let quiet_s = gateway::processor_s(pid) - used;
    let before = gateway::descriptors(pid);
    let memory = gateway::Memory::watch(pid);
    let chosen = chosen();
    for attack in chosen.iter().copied() {
        observers.phase(attack.name());
        attacked(address, &[attack], EACH).await;
        observers.phase("between");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let rounds = std::env::var("LINLI_SIEGE").ok();
    let rounds: Option<u32> = rounds.map(|n| n.parse().expect("LINLI_SIEGE is a number of rounds"));
    let lasts = rounds.map_or(ALL, |_| ALL_IN_THE_LONG_FORM);
    for round in 1..=rounds.unwrap_or(1) {
        observers.phase(&format!("{ALL_AT_ONCE}, {round}"));
        attacked(address, &chosen, lasts).await;
    }
    observers.phase("after");
    let slowed = tokio::task::block_in_place(|| setup.json(&["status"]));
    gateway::descriptors_return(pid, before + DESCRIPTORS_MORE);
    nobody_is_locked_out(address).await;
    let used = gateway::processor_s(pid);
    tokio::time::sleep(QUIET).await;
    let after_s = gateway::processor_s(pid) - used;
    let log = observers.stop();
    let most = memory.stop();

    log.print();
    println!(
        "gateway: at most {} MiB of memory, {before} descriptors before, {} after",
        most >> 20,
        gateway::descriptors(pid)
    );
    println!(
        "processor: {quiet_s:.2} s of {} s when quiet before, {after_s:.2} s after",
        QUIET.as_secs()
    );
    log.holds(NEWCOMER_MAX, |phase, quiet| {
        let all = phase.starts_with(ALL_AT_ONCE) || phase == "after";
        quiet * TIMES + if all { PLUS_ALL } else { PLUS }
    });
    assert!(most < MEMORY_MAX_BYTES, "{most} bytes of memory");
    let slowed = slowed["links"]["limits"]["slowed"].to_string();
    let named =
        chosen.len() < Attack::ALL.len() || FLOODS.iter().any(|flood| slowed.contains(flood));
    assert!(named, "no flood is slowed: {slowed}");
    gateway.stop();
}

/// All attacks; by `LINLI_ATTACK=wills`, those with that in their name.
fn chosen() -> Vec<Attack> {
    let name = std::env::var("LINLI_ATTACK").unwrap_or_default();
    let all = Attack::ALL.into_iter();
    all.filter(|attack| attack.name().contains(&name)).collect()
}

/// The estate: those who work, those who attack, and a limit that an attack of seconds reaches.
fn besieged() -> Setup {
    let mut setup = Setup::new();
    let numbered =
        |name: &str, n: usize| (1..=n).map(|i| format!("{name}-{i}")).collect::<Vec<_>>();
    setup.devices = [
        numbered("door", observers::NEIGHBOURS),
        vec!["guest-1".to_owned(), "member-1".to_owned()],
        numbered("storm", attack::STORM),
        numbered("locked", attack::LOCKED),
        FLOODS.map(str::to_owned).to_vec(),
        ["giant-1", "slow-1", "topics-1", "again-1"]
            .map(str::to_owned)
            .to_vec(),
    ]
    .concat();
    setup.with_password = numbered("locked", attack::LOCKED);
    setup.with_password.push("member-1".to_owned());
    setup.more = "[limits]\nevents_burst = 1000\nurgent_burst = 256\nkib_burst = 1024\n".to_owned();
    std::fs::create_dir_all(setup.state()).unwrap();
    for device in &setup.with_password {
        let file = setup.state().join("passwords");
        set_password(&file, &ident(device), PASSWORD).unwrap();
    }
    setup
}

/// Lets `attacks` go on for so long, side by side.
async fn attacked(address: std::net::SocketAddr, attacks: &[Attack], lasts: Duration) {
    let (stop, stopped) = watch::channel(false);
    let mut running = Vec::new();
    for attack in attacks {
        let field = Field {
            address,
            stopped: stopped.clone(),
        };
        running.push((attack.name(), tokio::spawn(attack.run(field))));
    }
    tokio::time::sleep(lasts).await;
    stop.send_replace(true);
    for (name, task) in running {
        let count = tokio::time::timeout(PATIENCE, task).await;
        let count = count.expect("an attack ends").unwrap();
        println!("  {name}: {count}");
        // Among all the others one may not get anywhere; alone it must.
        assert!(
            count > 0 || attacks.len() > 1,
            "{name}: the attack did nothing"
        );
    }
}

/// Every kind of device gets in from where the attackers were not, and is served; those that sent too
/// much get in, and have their turn when what they owe is made up for.
async fn nobody_is_locked_out(address: std::net::SocketAddr) {
    for n in 1..=attack::LOCKED {
        serves(address, &format!("locked-{n}"), Some(PASSWORD)).await;
    }
    for device in ["storm-1", "storm-300", "again-1"] {
        serves(address, device, None).await;
    }
    for device in FLOODS.into_iter().chain(["slow-1", "giant-1", "topics-1"]) {
        let _in = enters(address, device, None).await;
    }
}

async fn serves(address: std::net::SocketAddr, device: &str, password: Option<&str>) {
    let mut client = enters(address, device, password).await;
    let topic = format!("linli/v1/{device}/event");
    let payload = attack::event(u32::MAX, 1);
    client
        .send(&publish(Version::V5, &topic, 1, &payload))
        .await;
    let answer = client.packet().await.expect("cut off");
    assert_eq!(answer.puback_code(), 0, "{device}");
}

async fn enters(address: std::net::SocketAddr, device: &str, password: Option<&str>) -> Client {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(stream) = attack::login(address, None, device, password).await {
            return Client { stream };
        }
        assert!(Instant::now() < until, "{device} is locked out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
