//! The problems that a batch is refused with, and when: the same for both stores.

use cloud_protocol::received::ReceivedLane;
use cloud_protocol::{Chain, Lane, Problem, ProblemType};

/// A batch of an older epoch than the one that is known.
pub(super) fn epoch(stated: u64, own: u64) -> Box<Problem> {
    conflict(
        ProblemType::Epoch,
        "This gateway has had a newer store",
        format!("the batch is of epoch {stated}, the last known is {own}"),
        None,
        Some(own),
    )
}

/// The chain up to `seq` isn't the one that was taken.
pub(super) fn fork(lane: Lane, seq: u64) -> Box<Problem> {
    conflict(
        ProblemType::Fork,
        "The gateway's history differs from the one here",
        format!(
            "the chain up to item {seq} isn't the one that was taken: two stores send as this \
             gateway, or one was rewritten"
        ),
        Some(lane),
        None,
    )
}

/// The nonce was there before.
pub(crate) fn replay() -> Box<Problem> {
    Box::new(Problem {
        kind: Some(ProblemType::Replay),
        status: 401,
        title: "This request was here before".to_string(),
        detail: Some("its nonce is known: sign it again with a new one".to_string()),
        lane: None,
        expected: None,
    })
}

/// What can be said of a lane's start from its last item alone: it must not be after it, and the
/// chain before the first item is the empty one.
pub(super) fn bad_start(lane: Lane, part: &ReceivedLane, last: u64) -> Option<Box<Problem>> {
    if part.after > last {
        return Some(conflict(
            ProblemType::Gap,
            "Items are missing",
            format!(
                "the batch starts after {}, the last item here is {last}",
                part.after
            ),
            Some(lane),
            Some(last + 1),
        ));
    }
    (part.after == 0 && part.chain != Chain::default()).then(|| fork(lane, 0))
}

fn conflict(
    kind: ProblemType,
    title: &str,
    detail: String,
    lane: Option<Lane>,
    expected: Option<u64>,
) -> Box<Problem> {
    Box::new(Problem {
        kind: Some(kind),
        status: 409,
        title: title.to_string(),
        detail: Some(detail),
        lane: lane.map(|lane| lane.name().to_string()),
        expected,
    })
}
