//! Who says nothing, or half of a handshake, keeps nobody out.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bed::*;
use crate::embedded::*;

/// How many attackers there are, for so few seats.
const CROWD: usize = 150;
const SEATS: usize = 40;

/// Opens, sends the first part of a handshake, waits to be thrown out, and comes again.
async fn half(address: SocketAddr, hello: Vec<u8>, n: usize) {
    let length = match n % 4 {
        0 => 0,
        1 => 3,
        2 => hello.len() / 2,
        _ => hello.len(),
    };
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.write_all(&hello[..length]).await;
        let mut buffer = [0; 1024];
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_handshakes_keep_no_device_out() {
    let clock = linli::clock::Clock::by_hand(NOW_MS);
    let bed = Bed::with("", clock, |broker| {
        broker.waiting_max = SEATS;
        broker.connect_timeout = Duration::from_secs(60);
    })
    .await;
    let hello = {
        let config = config(&bed.authority(), None, &[&TLS13]);
        let mut session = rustls::ClientConnection::new(config, bed.address().ip().into()).unwrap();
        let mut out = Vec::new();
        session.write_tls(&mut out).unwrap();
        out
    };
    let mut crowd = JoinSet::new();
    for n in 0..CROWD {
        crowd.spawn(half(bed.address(), hello.clone(), n));
    }
    // A device over TLS gets in, again and again, though each has to wait for its seat.
    let connect = Connect::new(Version::V5, "bank-a");
    for _ in 0..2 {
        let mut client = bed.login(None, &connect).await.unwrap();
        client.is_served("bank-a").await;
    }
    // And for who comes without TLS there is no flood at all.
    bed.broker.still_serves().await;
    drop(crowd);
    bed.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_has_its_time_and_no_more() {
    let clock = linli::clock::Clock::by_hand(NOW_MS);
    let bed = Bed::with("", clock, |broker| {
        broker.connect_timeout = Duration::from_millis(300);
    })
    .await;
    for first in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut silent = TcpStream::connect(bed.address()).await.unwrap();
        silent.write_all(first).await.unwrap();
        let read = tokio::time::timeout(LONG, silent.read(&mut [0; 64])).await;
        assert!(matches!(read.expect("it is closed"), Ok(0) | Err(_)));
    }
    // Past the handshake the CONNECT has the same time.
    let mut shaken = Tls::open(bed.address(), bed.client(None)).await.unwrap();
    assert!(shaken.packet().await.is_err());
    // Who speaks MQTT without TLS here is told so, in TLS's own words, and at once.
    let mut plain = Client::open(bed.address()).await;
    plain
        .send(&Connect::new(Version::V5, "door-1").packet())
        .await;
    let mut alert = Vec::new();
    let read = plain.stream.read_to_end(&mut alert);
    let _ = tokio::time::timeout(LONG, read)
        .await
        .expect("it is closed");
    assert_eq!(alert.first(), Some(&0x15), "{alert:?}");
    bed.broker.stop().await;
}
