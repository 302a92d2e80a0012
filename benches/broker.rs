//! What a thousand devices cost: their first logins after a start, their second ones, the memory
//! they take, and how many events per second get through when the intake answers at once.
//!
//! Needs some 5,000 file descriptors: `ulimit -n 8192; cargo bench --bench broker`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../tests/embedded/mod.rs"]
mod embedded;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use embedded::*;
use linli::credentials::{Credentials, set_password};
use linli::links::embedded::EmbeddedBroker;

const DEVICES: usize = 1000;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn names() -> Vec<String> {
    (0..DEVICES).map(|n| format!("device-{n}")).collect()
}

/// All devices log in at once; returns when the last is in.
async fn storm(address: SocketAddr) -> Vec<Client> {
    let logins: Vec<_> = names()
        .into_iter()
        .map(|name| tokio::spawn(async move { Client::login(address, Version::V5, &name).await }))
        .collect();
    let mut clients = Vec::new();
    for login in logins {
        clients.push(login.await.unwrap());
    }
    clients
}

async fn throughput(address: SocketAddr, clients: usize, in_flight: usize) -> f64 {
    const ROUNDS: usize = 2000;
    let start = Instant::now();
    let tasks: Vec<_> = names()
        .into_iter()
        .take(clients)
        .map(|name| {
            tokio::spawn(async move {
                let topic = format!("linli/v1/{name}/event");
                let packet = publish(Version::V5, &topic, 1, &[b'x'; 100]);
                let mut client = Client::login(address, Version::V5, &name).await;
                client.send(&packet.repeat(in_flight)).await;
                for sent in 0..ROUNDS {
                    assert_eq!(client.packet().await.unwrap().puback_code(), 0);
                    if sent + in_flight < ROUNDS {
                        client.send(&packet).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    f64::from(u32::try_from(clients * ROUNDS).unwrap()) / start.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwords");
    for name in names() {
        set_password(&path, &ident(&name), PASSWORD).unwrap();
    }
    let mut config = EmbeddedBroker::new(names().iter().map(|name| ident(name)));
    config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let credentials = Arc::new(Credentials::open(&path).unwrap());
    let broker = Broker::serve(config, credentials, Recorder::open(), dir).await;
    println!("resident, idle: {} KiB", resident_kib());

    let start = Instant::now();
    let clients = storm(broker.address).await;
    println!("{DEVICES} first logins at once: {:?}", start.elapsed());
    assert_eq!(broker.roster.connected(), DEVICES);
    println!(
        "resident, {DEVICES} devices and their clients in one process: {} KiB",
        resident_kib()
    );
    drop(clients);
    until("all are gone", || broker.roster.connected() == 0).await;

    let start = Instant::now();
    let clients = storm(broker.address).await;
    println!("{DEVICES} second logins at once: {:?}", start.elapsed());
    drop(clients);
    until("all are gone", || broker.roster.connected() == 0).await;

    for (clients, in_flight) in [(1, 1), (10, 1), (50, 1), (50, 20)] {
        let rate = throughput(broker.address, clients, in_flight).await;
        println!("{clients} clients, {in_flight} in flight: {rate:.0} events/s");
    }
    broker.stop().await;
}
