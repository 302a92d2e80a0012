//! What the gateway costs and how fast it is, beside what was measured in the same run on the same
//! disk: `cargo bench --bench gateway`.
//!
//! Each figure stands with its baseline and their ratio, since machines differ. The gateway is the
//! real binary, the devices are real MQTT clients over loopback. `LINLI_BENCH=short` does less of
//! everything; `--json FILE` also writes the table there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../../tests/common/mod.rs"]
mod common;
mod disk;
mod figures;
mod keypad;
mod memory;
mod start;
mod throughput;

use figures::Table;

/// How much is done.
#[derive(Clone, Copy)]
pub struct Effort {
    pub presses: usize,
    pub seconds: u64,
    pub stored: u64,
    pub devices: usize,
}

fn main() {
    let short = std::env::var("LINLI_BENCH").is_ok_and(|v| v == "short");
    let effort = if short {
        Effort {
            presses: 200,
            seconds: 2,
            stored: 100_000,
            devices: 200,
        }
    } else {
        Effort {
            presses: 2_000,
            seconds: 6,
            stored: 1_000_000,
            devices: 1_000,
        }
    };
    // Room for a thousand clients and their connections; as far as the hard limit goes.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut table = Table::default();
    throughput::measure(&runtime, effort, &mut table);
    keypad::measure(&runtime, effort, &mut table);
    memory::measure(&runtime, effort, &mut table);
    start::measure(&runtime, effort, &mut table);
    table.print();
    let mut args = std::env::args();
    if args.any(|arg| arg == "--json") {
        let file = args.next().expect("--json FILE");
        std::fs::write(file, table.json()).unwrap();
    }
}
