//! Two packets of a hundred are lost, both ways, between everybody: real TCP with its real repetitions.
//!
//! In a network namespace of its own the kernel's packet classifier drops by chance at the loopback's
//! ingress (`cls_bpf`; the eight bytes of program are below), so this needs no netem and no firewall.

use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use crate::cloud::{healed, life_goes_on};
use crate::common::have;
use crate::estate::{Estate, Plan};
use crate::stores::Kind;

/// Loads a random number, and drops (2) if it is at most 2 % of what it can be, else accepts (0).
const DROP_2_PERCENT: &str = "4,32 0 0 4294963256,37 0 1 85899345,6 0 0 0,6 0 0 2";

#[test]
fn two_percent_of_the_packets_are_lost() {
    if !have("unshare") || !have("tc") {
        return;
    }
    let script = format!(
        "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && tc qdisc add dev lo clsact && \
         tc filter add dev lo ingress protocol all bpf da bytecode '{DROP_2_PERCENT}' || exit 77; \
         exec \"$0\" --exact loss::inside --ignored --nocapture"
    );
    let me = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["-rn", "sh", "-c", &script])
        .arg(me)
        .status()
        .unwrap();
    if status.code() == Some(77) || status.code() == Some(1) {
        eprintln!("LEFT OUT: no network namespace with a lossy loopback can be made here");
        assert!(std::env::var_os("CI").is_none(), "CI must be able to");
        return;
    }
    assert!(status.success(), "{status}");
}

/// Run by the test above, inside the namespace.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "only in a lossy network namespace, where two_percent_of_the_packets_are_lost runs it"]
async fn inside() {
    let lost = lost_of(10_000);
    assert!((100..350).contains(&lost), "{lost} of 10,000 lost");
    // Root of the namespace has nobody to run PostgreSQL as.
    let estate = Estate::begin(Plan {
        store: Kind::Sqlite,
        ..Plan::default()
    })
    .await;
    for _ in 0..4 {
        estate.announce_four().await;
        estate.all_have_their_codes().await;
        life_goes_on(&estate).await;
        life_goes_on(&estate).await;
    }
    estate.announce_four().await;
    println!("{lost} of 10,000 probes lost");
    healed("2 % loss", estate).await;
}

fn lost_of(probes: usize) -> usize {
    let (to, from) = (
        UdpSocket::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    to.set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut came = 0;
    for _ in 0..probes / 100 {
        for _ in 0..100 {
            from.send_to(b"x", to.local_addr().unwrap()).unwrap();
        }
        while to.recv(&mut [0; 8]).is_ok() {
            came += 1;
        }
    }
    probes - came
}
