//! What the gateway costs and how fast it is, beside what was measured in the same run on the same
//! disk: `cargo bench --bench gateway`.
//!
//! Each figure stands with its baseline and their ratio, since machines differ. The gateway is the
//! real binary, the devices are real MQTT clients over loopback. `LINLI_BENCH=short` does less of
//! everything; `-- keypad` and the like measure one part; `--json FILE` also writes the table there.
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
    type Part = fn(&tokio::runtime::Runtime, Effort, &mut Table);
    let parts: [(&str, Part); 4] = [
        ("throughput", throughput::measure),
        ("keypad", keypad::measure),
        ("memory", memory::measure),
        ("start", start::measure),
    ];
    let named = |name: &str| std::env::args().any(|arg| arg == name);
    let all = !parts.iter().any(|(name, _)| named(name));
    for (name, measure) in parts {
        if all || named(name) {
            measure(&runtime, effort, &mut table);
        }
    }
    table.print();
    let mut args = std::env::args();
    if args.any(|arg| arg == "--json") {
        let file = args.next().expect("--json FILE");
        std::fs::write(file, table.json()).unwrap();
    }
}
