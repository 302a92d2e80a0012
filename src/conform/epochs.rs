//! Epochs: a higher one starts over, a lower one is refused.

use cloud_protocol::{Lane, ProblemType};
use firmware_protocols::Form;

use super::request::Draft;
use super::run::{Judged, Run, acked, refused_with, taken, view};
use super::track::Track;

pub(super) async fn run(run: &mut Run) {
    lower(run, run.epoch.saturating_sub(1)).await;
    gap_in_a_new_one(run).await;
    higher(run).await;
    lower(run, run.epoch.saturating_sub(1)).await;
    two_lanes_at_once(run).await;
}

/// The problem names the cloud's epoch.
fn expects(answer: &super::http::Answer, epoch: u64) -> Judged {
    refused_with(answer, ProblemType::Epoch, |problem| {
        match problem.expected {
            Some(n) if n == epoch => Ok(()),
            _ => Err(format!("'expected' isn't {epoch}, the epoch of the cloud")),
        }
    })
}

async fn lower(run: &mut Run, epoch: u64) {
    let own = run.epoch;
    let mut old = Track::new(Lane::Health);
    let at_ms = run.now_ms();
    old.push_plain(at_ms, 1);
    for part in [old.part(0, 1), old.part(0, 0)] {
        let draft = run.signed(run.batch_of(epoch, vec![("health", part)], Form::Cbor));
        let asked = format!("a batch of epoch {epoch}, when the cloud has {own}");
        run.ask("epoch.lower", &asked, &draft, |answer| expects(answer, own))
            .await;
    }
}

/// A new epoch begins at 0; refused, it hasn't begun.
async fn gap_in_a_new_one(run: &mut Run) {
    let new = run.epoch + 1;
    let track = run.track(Lane::Health).clone();
    let part = track.part(track.last(), track.last());
    let draft = run.signed(run.batch_of(new, vec![("health", part)], Form::Cbor));
    let asked = "the first batch of a higher epoch, going on after the last item of the old one";
    run.ask("epoch.starts-at-0", asked, &draft, |answer| {
        refused_with(answer, ProblemType::Gap, |problem| match problem.expected {
            Some(1) => Ok(()),
            _ => Err("'expected' isn't 1".to_string()),
        })
    })
    .await;
    let draft = run.next_plain(Lane::Health, 1, Form::Cbor);
    let last = run.track(Lane::Health).last();
    let asked = "the next item of the epoch before, after the refused batch of the new one";
    run.ask(
        "epoch.refused",
        asked,
        &draft,
        acked(&[(Lane::Health, last)]),
    )
    .await;
}

async fn higher(run: &mut Run) {
    let new = run.epoch + 1;
    run.begin_epoch(new);
    let draft = run.next_plain(Lane::Health, 2, Form::Cbor);
    let asked = "the first items of a higher epoch";
    run.ask("epoch.higher", asked, &draft, acked(&[(Lane::Health, 2)]))
        .await;
    let draft = run.signed(Draft::get(run.path("")));
    run.ask(
        "epoch.higher",
        "GET of the gateway in the new epoch",
        &draft,
        |answer| {
            let view = view(answer)?;
            if view.epoch != Some(new) {
                return Err(format!("its epoch isn't {new}"));
            }
            let last = |lane: Lane| view.lanes.get(&lane).map_or(0, |view| view.last);
            match (
                last(Lane::Health),
                last(Lane::Fulfilment),
                last(Lane::Demand),
            ) {
                (2, 0, 0) => Ok(()),
                _ => Err("its lanes aren't those of the new epoch".to_string()),
            }
        },
    )
    .await;
    let draft = run.next_plain(Lane::Fulfilment, 1, Form::Json);
    let asked = "the first item of another lane in the new epoch";
    run.ask(
        "epoch.higher",
        asked,
        &draft,
        acked(&[(Lane::Fulfilment, 1)]),
    )
    .await;
}

/// The first batches of two lanes bring a new epoch at the same time.
async fn two_lanes_at_once(run: &mut Run) {
    let clause = "epoch.at-once";
    for _ in 0..3 {
        run.begin_epoch(run.epoch + 1);
        let one = run.next_plain(Lane::Fulfilment, 3, Form::Cbor);
        let other = run.next_plain(Lane::Demand, 3, Form::Cbor);
        let (a, b) = tokio::join!(run.http.send(&one), run.http.send(&other));
        let asked = "the first batches of two lanes in a higher epoch, at the same time";
        run.judge(clause, asked, a, acked(&[(Lane::Fulfilment, 3)]));
        run.judge(clause, asked, b, acked(&[(Lane::Demand, 3)]));
    }
    let draft = run.signed(Draft::get(run.path("")));
    run.ask(clause, "GET of the gateway after it", &draft, taken)
        .await;
}
