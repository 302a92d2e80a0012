//! The cloud's faults one by one: each begins while all is well, lasts until `linli sync` and
//! `linli status` say what is wrong, and ends. Meanwhile the cloud goes on announcing, parcels are
//! handed over, events are taken; afterwards everything is reckoned up.
//!
//! Each has an estate of its own, and they run side by side, as most of their time is waiting: a
//! request that isn't answered takes 30 s to fail. `LINLI_FAULT=name` runs just one.

use std::time::{Duration, Instant};

use crate::common::proxy::{Fault, says};
use crate::common::wait_until;
use crate::estate::{Estate, PATIENCE, Plan, Story, run, side_by_side, story};

/// A fault, and what a technician reads while it lasts.
struct Case {
    name: &'static str,
    fault: fn() -> Fault,
    /// In `linli sync` and in `linli status`; nothing if all is well in spite of it.
    words: &'static [&'static str],
}

/// A gateway of a few parcels stays below this, unoptimised and with debug code too.
pub const MEMORY_MAX_KIB: u64 = 64 << 10;
const PORTAL: &str = "location: http://192.0.2.1/login\r\ncontent-type: text/html\r\n";
const UNWELL: &str = "the cloud is busy or unwell: ";
/// What to do, where nothing more precise is known.
pub const IF_IT_LASTS: &str = "It is tried again by itself, and nothing is lost. If it lasts:";

const CASES: &[Case] = &[
    Case {
        name: "refuses",
        fault: || Fault::Refuse,
        words: &["cannot connect to 127.0.0.1", "refused", IF_IT_LASTS],
    },
    Case {
        name: "never-answers",
        fault: || Fault::Silence,
        words: &["no answer from 127.0.0.1", "within the time", IF_IT_LASTS],
    },
    Case {
        name: "answer-lost",
        fault: || Fault::SwallowAnswer,
        words: &["the connection to 127.0.0.1", "broke", IF_IT_LASTS],
    },
    Case {
        name: "reset-in-the-request",
        fault: || Fault::Reset {
            up: 100,
            down: u64::MAX,
        },
        words: &["the connection to 127.0.0.1", "broke", IF_IT_LASTS],
    },
    Case {
        name: "reset-in-the-answer",
        fault: || Fault::Reset {
            up: u64::MAX,
            down: 20,
        },
        words: &["the connection to 127.0.0.1", "broke", IF_IT_LASTS],
    },
    Case {
        name: "half-a-body",
        fault: || Fault::HalfAnswer,
        words: &["the connection to 127.0.0.1", "broke", IF_IT_LASTS],
    },
    Case {
        name: "500",
        fault: || says("500 Internal Server Error", "", "oops"),
        words: &[UNWELL, "HTTP 500", IF_IT_LASTS],
    },
    Case {
        name: "503",
        fault: || says("503 Service Unavailable", "retry-after: 2\r\n", ""),
        words: &[UNWELL, "HTTP 503", IF_IT_LASTS],
    },
    Case {
        name: "redirect-to-a-portal",
        fault: || says("302 Found", PORTAL, ""),
        words: &[
            "what answers isn't the cloud: it sends elsewhere to 192.0.2.1 (HTTP 302 Found)",
            "captive portal is in the way",
        ],
    },
    Case {
        name: "a-portals-page",
        fault: || {
            says(
                "200 OK",
                "content-type: text/html\r\n",
                "<html>Log in</html>",
            )
        },
        words: &[
            "what answers isn't the cloud: a web page",
            "captive portal is in the way",
        ],
    },
    Case {
        name: "slow",
        fault: || Fault::Slow { bytes_per_s: 1_000 },
        words: &[],
    },
    Case {
        name: "far-away",
        fault: || Fault::Delay(Duration::from_millis(700)),
        words: &[],
    },
];

#[test]
fn each_fault_of_the_cloud_is_named_and_survived() {
    let cases = CASES.iter();
    let mut stories: Vec<Story> = cases
        .map(|case| story(case.name, || run(survive(case))))
        .collect();
    stories.extend(pauses());
    stories.extend(crate::certificates::stories());
    stories.push(crate::names::story());
    side_by_side(stories);
}

async fn survive(case: &'static Case) {
    let estate = Estate::begin(Plan::default()).await;
    estate.announce_four().await;
    estate.all_have_their_codes().await;
    estate.fault((case.fault)());
    estate.announce_four().await;
    life_goes_on(&estate).await;
    match case.words {
        [] => estate.in_step().await,
        words => estate.says(words).await,
    }
    life_goes_on(&estate).await;
    healed(case.name, estate).await;
}

/// A parcel is handed over, and events are taken.
pub async fn life_goes_on(estate: &Estate) {
    let more = estate.acknowledged() + 20;
    assert!(estate.hand_over_one().await, "no parcel with a code");
    until_acknowledged(estate, more).await;
}

pub async fn until_acknowledged(estate: &Estate, more: u64) {
    let taken = async || {
        let taken = estate.acknowledged();
        (taken >= more).then_some(()).ok_or(taken.to_string())
    };
    estate.until("events to be taken", taken).await;
}

/// The end of a fault: everything converges.
pub async fn healed(name: &str, estate: Estate) {
    estate.fault(Fault::None);
    let healed = Instant::now();
    estate.in_step().await;
    let took = healed.elapsed();
    estate.all_have_their_codes().await;
    life_goes_on(&estate).await;
    let sums = estate.reckoning().await;
    let memory_kib = estate.memory_kib();
    assert!(memory_kib < MEMORY_MAX_KIB, "{memory_kib} KiB in memory");
    println!("{name}: in step {took:.1?} after its end; {sums:?}");
    assert!(took < PATIENCE);
    estate.end().await;
}

/// A pause that the cloud asks for is kept; one of a year is a mistake.
fn pauses() -> [Story; 3] {
    const IN_SECONDS: &str = "retry-after: 5\r\n";
    const AS_A_DATE: &str =
        "date: Fri, 31 Dec 1999 12:00:00 GMT\r\nretry-after: Fri, 31 Dec 1999 12:00:05 GMT\r\n";
    [
        story("429-seconds", || {
            run(is_left_alone("429-seconds", IN_SECONDS))
        }),
        story("429-date", || run(is_left_alone("429-date", AS_A_DATE))),
        story("429-year", || run(a_pause_of_a_year_is_an_hour())),
    ]
}

/// 429 with a pause in seconds or as a date: neither way to the cloud asks sooner.
async fn is_left_alone(name: &str, headers: &str) {
    let estate = Estate::begin(Plan::default()).await;
    estate.announce_four().await;
    estate.all_have_their_codes().await;
    estate.fault(says("429 Too Many Requests", headers, ""));
    life_goes_on(&estate).await;
    estate.says(&[UNWELL, "HTTP 429", IF_IT_LASTS]).await;
    let asked_by = |way: &str| -> Vec<Instant> {
        let asked = estate.to_cloud.asked().into_iter();
        let asked = asked.filter(|(_, line)| line.starts_with(way));
        asked.map(|(when, _)| when).collect()
    };
    wait_until("a second request of each way", async || {
        let twice = asked_by("POST").len() >= 2 && asked_by("GET").len() >= 2;
        twice.then_some(())
    })
    .await;
    for way in ["POST", "GET"] {
        for pair in asked_by(way).windows(2) {
            let pause = pair[1] - pair[0];
            assert!(
                pause >= Duration::from_secs(5),
                "{way} asked after {pause:?}"
            );
        }
    }
    healed(name, estate).await;
}

/// Taken as an hour; a restart asks at once.
async fn a_pause_of_a_year_is_an_hour() {
    let mut estate = Estate::begin(Plan::default()).await;
    estate.announce_four().await;
    estate.all_have_their_codes().await;
    estate.fault(says(
        "429 Too Many Requests",
        "retry-after: 31536000\r\n",
        "",
    ));
    life_goes_on(&estate).await;
    estate.says(&["HTTP 429", IF_IT_LASTS]).await;
    // Whichever way was told first: the other leaves the cloud alone as well.
    let pause = wait_until("a way to be told", async || {
        let sync = estate.linli(&["sync", "--json"]);
        let sync: serde_json::Value = serde_json::from_str(&sync).unwrap();
        let pause_of = |way: &str| {
            let way = &sync["cloud"][way];
            let told = way["last_error"].as_str()?.contains("429");
            let pause = way["next_try_ms"].as_i64()? - way["last_error_ms"].as_i64()?;
            told.then_some(pause)
        };
        pause_of("uplink").or_else(|| pause_of("downlink"))
    })
    .await;
    // And up to five minutes more, so that a fleet that was told the same doesn't come back in step.
    assert!((3_600_000..3_902_000).contains(&pause), "{pause} ms");
    estate.fault(Fault::None);
    estate.restart();
    healed("429-year", estate).await;
}
