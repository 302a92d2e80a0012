//! From the start of the process to the first event on disk, with many events stored.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use simulator::load::Until;
use simulator::{Load, Login};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::Effort;
use crate::common::{Setup, ident};
use crate::figures::{Table, ms};

pub fn measure(runtime: &Runtime, effort: Effort, table: &mut Table) {
    let mut setup = Setup::new();
    setup.start().stop();
    let empty = first_event(runtime, &mut setup, 1);
    fill(&setup, effort.stored);
    let full = first_event(runtime, &mut setup, 2);
    table.add(
        "start to first event on disk, empty store",
        ms(empty),
        "ms",
        None,
    );
    let what = format!("the same with {} events stored", effort.stored);
    table.add(what, ms(full), "ms", Some((100.0, "the aim")));
}

/// Rows as the gateway writes them, without going through it.
fn fill(setup: &Setup, rows: u64) {
    let mut conn = rusqlite::Connection::open(setup.store()).unwrap();
    let tx = conn.transaction().unwrap();
    tx.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO events (device, boot, seq, kind, at_ms, at_by, received_ms, quality, body)
         SELECT 1, 1, 1000000 + i, 'reading', 1780000000000 + i, 'received', 1780000000000 + i, 1,
                randomblob(60) FROM n",
        [rows as i64],
    )
    .unwrap();
    tx.commit().unwrap();
}

fn first_event(runtime: &Runtime, setup: &mut Setup, boot: u32) -> Duration {
    let address: SocketAddr = setup.address();
    let from = Instant::now();
    let mut child = setup.spawn();
    let took = runtime.block_on(async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let login = Login {
            device: ident("door-1"),
            password: None,
        };
        let mut load = Load::new(address, vec![login]);
        load.boot = boot;
        load.until = Until::Events(1);
        let figures = load.run().await.unwrap();
        assert_eq!(figures.acknowledged, 1);
        from.elapsed()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    took
}
