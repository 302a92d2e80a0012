//! Requests at the same time: two lanes side by side, and one batch that comes several times.

use cloud_protocol::Lane;
use firmware_protocols::Form;

use super::request::Draft;
use super::run::{Run, acked, view};

const ROUNDS: usize = 8;

pub(super) async fn run(run: &mut Run) {
    two_lanes(run).await;
    the_same_batch(run).await;
}

async fn two_lanes(run: &mut Run) {
    let asked = "a batch of fulfilment and one of demand, at the same time";
    for _ in 0..ROUNDS {
        let one = run.next_plain(Lane::Fulfilment, 5, Form::Cbor);
        let other = run.next_plain(Lane::Demand, 20, Form::Cbor);
        let (a, b) = tokio::join!(run.http.send(&one), run.http.send(&other));
        for (lane, answer) in [(Lane::Fulfilment, a), (Lane::Demand, b)] {
            let last = run.track(lane).last();
            run.judge("at-once.lanes", asked, answer, acked(&[(lane, last)]));
        }
    }
}

/// Each signed anew, as a gateway sends it that gave up waiting for the answer.
async fn the_same_batch(run: &mut Run) {
    let clause = "at-once.batch";
    let asked = "the same batch four times at once, each signed anew";
    for _ in 0..ROUNDS {
        let first = run.next_plain(Lane::Fulfilment, 5, Form::Cbor);
        let again = [(); 3].map(|()| run.signed(first.clone()));
        let [second, third, fourth] = &again;
        let answers = tokio::join!(
            run.http.send(&first),
            run.http.send(second),
            run.http.send(third),
            run.http.send(fourth),
        );
        let last = run.track(Lane::Fulfilment).last();
        for answer in [answers.0, answers.1, answers.2, answers.3] {
            run.judge(clause, asked, answer, acked(&[(Lane::Fulfilment, last)]));
        }
    }
    let draft = run.signed(Draft::get(run.path("")));
    let track = run.track(Lane::Fulfilment);
    let (last, chain) = (track.last(), track.chain(track.last()));
    run.ask(clause, "GET of the gateway after it", &draft, |answer| {
        let view = view(answer)?;
        match view.lanes.get(&Lane::Fulfilment) {
            Some(got) if got.last == last && got.chain == chain => Ok(()),
            _ => Err(format!("fulfilment isn't at {last} with its chain")),
        }
    })
    .await;
}
