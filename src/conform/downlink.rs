//! The downlink, as far as it can be seen by one who can't make the cloud say something.

use std::time::{Duration, Instant};

use cloud_protocol::{DownlinkItem, ProblemType};

use super::http::Answer;
use super::request::Draft;
use super::run::{Judged, Run, refused, taken};

/// How long the cloud is asked to wait.
const WAIT_S: u64 = 2;
/// What an answer may take beyond its wait.
const SLACK: Duration = Duration::from_secs(5);
/// For so long nothing may come of a poll that may wait for minutes.
const SILENCE: Duration = Duration::from_secs(2);

pub(super) async fn run(run: &mut Run) {
    let Some(after) = read_all(run).await else {
        return;
    };
    empty(run, after).await;
    wait(run, after).await;
    numbers(run).await;
}

fn poll(run: &Run, after: u64, wait_s: u64) -> Draft {
    let path = run.path(&format!("/downlink?after={after}&wait={wait_s}"));
    run.signed(Draft::get(path))
}

fn items(answer: &Answer) -> Result<Vec<DownlinkItem>, String> {
    taken(answer)?;
    let value = answer.value().ok_or("its body can't be read")?;
    DownlinkItem::read_all(&value).map_err(|e| e.to_string())
}

/// The numbers are above `after` and rise.
fn rising(after: u64, answer: &Answer) -> Judged {
    let mut last = after;
    for item in items(answer)? {
        if item.seq <= last {
            return Err(format!("item {} comes after {last}", item.seq));
        }
        last = item.seq;
    }
    Ok(())
}

/// Everything that the cloud has for this gateway; the number of the last, or `None` if it can't be
/// had.
async fn read_all(run: &mut Run) -> Option<u64> {
    let mut after = 0;
    let mut seen = 0;
    // A cloud that has hundreds of portions for a new gateway has shown enough.
    for _ in 0..100 {
        let draft = poll(run, after, 0);
        let asked = format!("the downlink after {after}");
        let answer = run
            .ask("downlink.items", &asked, &draft, |answer| {
                items(answer).map(drop)
            })
            .await?;
        let numbers = items(&answer).unwrap_or_default();
        let Some(last) = numbers.last().map(|item| item.seq) else {
            break;
        };
        run.judge("downlink.rising", &asked, Ok(answer), |answer| {
            rising(after, answer)
        })?;
        seen += numbers.len();
        after = last;
    }
    if seen == 0 {
        let why = "the cloud has nothing for this gateway: push it something before the run, or see \
                   that this holds in its own tests";
        run.not_shown("downlink.rising", why);
    }
    Some(after)
}

async fn empty(run: &mut Run, after: u64) {
    let began = Instant::now();
    let draft = poll(run, after, 0);
    run.ask(
        "downlink.empty",
        "the downlink after its last item, without waiting",
        &draft,
        |answer| none_within(answer, began, SLACK),
    )
    .await;
    let began = Instant::now();
    let draft = run.signed(Draft::get(run.path("/downlink")));
    run.ask(
        "downlink.empty",
        "the downlink without 'after' and 'wait'",
        &draft,
        |answer| {
            rising(0, answer)?;
            in_time(began, SLACK)
        },
    )
    .await;
}

fn none_within(answer: &Answer, began: Instant, most: Duration) -> Judged {
    if !items(answer)?.is_empty() {
        return Err("there are items that weren't asked for, or new ones".to_string());
    }
    in_time(began, most)
}

fn in_time(began: Instant, most: Duration) -> Judged {
    let took = began.elapsed();
    match took <= most {
        true => Ok(()),
        false => Err(format!("it came after {:.1} s", took.as_secs_f64())),
    }
}

async fn wait(run: &mut Run, after: u64) {
    let clause = "downlink.wait";
    let draft = poll(run, after, WAIT_S);
    let began = Instant::now();
    let answer = run.send(&draft).await;
    let took = began.elapsed();
    let asked = format!("the downlink after its last item, waiting up to {WAIT_S} s");
    run.judge(clause, &asked, answer, |answer| {
        none_within(answer, began, Duration::from_secs(WAIT_S) + SLACK)?;
        // A clock that is read in seconds may cut one.
        match took + Duration::from_secs(1) >= Duration::from_secs(WAIT_S) {
            true => Ok(()),
            false => Err(format!(
                "it came after {:.1} s, with nothing",
                took.as_secs_f64()
            )),
        }
    });
    let draft = poll(run, after, 100_000);
    let asked = "the downlink with wait=100000, which counts as 600";
    match tokio::time::timeout(SILENCE, run.http.send(&draft)).await {
        Err(_) => run.held("downlink.wait-longest"),
        Ok(answer) => {
            run.judge("downlink.wait-longest", asked, answer, |_| {
                Err(format!("an answer came within {} s", SILENCE.as_secs()))
            });
        }
    }
}

async fn numbers(run: &mut Run) {
    let clause = "downlink.numbers";
    for query in [
        "after=9007199254740992&wait=0",
        "after=x&wait=0",
        "after=-1&wait=0",
    ] {
        let draft = run.signed(Draft::get(run.path(&format!("/downlink?{query}"))));
        let asked = format!("the downlink with {query}");
        run.ask(clause, &asked, &draft, refused(ProblemType::Malformed))
            .await;
    }
}
