//! Where the lanes stand here, and whether that goes with where they stand at the cloud: told before
//! anything is sent, so that a person learns of a copied or restored store from words and not from a
//! refusal.

use std::collections::BTreeMap;

use cloud_protocol::{Chain, GatewayView, Lane, LaneView};

use super::requests::Told;

/// Where the lanes of this store stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The store's epoch.
    pub epoch: u64,
    /// By lane.
    pub lanes: BTreeMap<Lane, LaneStanding>,
}

/// Where one lane of this store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneStanding {
    /// The last item that was ever sent.
    pub last: u64,
    /// The last item that the cloud is known to have.
    pub acked: u64,
    /// Items that wait.
    pub waiting: u64,
    /// The chain at the number that was asked for, if this store still has it.
    pub chain: Option<Chain>,
}

/// What a lane of ours comes to beside the cloud's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// One is the beginning of the other.
    Agree,
    /// The cloud lacks items that it had acknowledged.
    Gap { acked: u64, has: u64 },
    /// Two pasts.
    Fork { at: u64 },
    /// The cloud has items that this store never sent.
    Ahead { last: u64, has: u64 },
}

/// Says how the lanes go together. `before` was read before the cloud was asked, `after` after that,
/// with the chains at the cloud's numbers: batches may go out meanwhile.
pub(super) fn compare(
    before: &Standing,
    after: &Standing,
    view: &GatewayView,
) -> Result<String, Told> {
    match view.epoch {
        Some(theirs) if theirs > after.epoch => return Err(newer_epoch(after.epoch, theirs)),
        Some(theirs) if theirs == after.epoch => {}
        // Another epoch began meanwhile, or the cloud hasn't heard of this one yet.
        _ => return unheard(before, after, view.epoch),
    }
    let mut agree = Vec::new();
    let mut wrong = Vec::new();
    for (lane, ours) in &after.lanes {
        let theirs = view.lanes.get(lane).copied().unwrap_or_default();
        let known = before
            .lanes
            .get(lane)
            .filter(|_| before.epoch == after.epoch);
        match beside(known.map_or(0, |lane| lane.acked), *ours, theirs) {
            Beside::Agree => agree.push(agreed(*lane, *ours, theirs)),
            beside => wrong.push((*lane, beside)),
        }
    }
    match wrong.as_slice() {
        [] => Ok(format!("{}; epoch {}", agree.join(", "), after.epoch)),
        wrong => Err(disagreed(wrong)),
    }
}

fn beside(acked_before: u64, ours: LaneStanding, theirs: LaneView) -> Beside {
    if theirs.last < acked_before {
        return Beside::Gap {
            acked: acked_before,
            has: theirs.last,
        };
    }
    if theirs.last > ours.last {
        return Beside::Ahead {
            last: ours.last,
            has: theirs.last,
        };
    }
    match ours.chain {
        Some(chain) if chain != theirs.chain => Beside::Fork { at: theirs.last },
        _ => Beside::Agree,
    }
}

/// The cloud has nothing of this epoch. Right, unless it acknowledged something of it.
fn unheard(before: &Standing, after: &Standing, theirs: Option<u64>) -> Result<String, Told> {
    let lost = |(lane, ours): (&Lane, &LaneStanding)| {
        let gap = Beside::Gap {
            acked: ours.acked,
            has: 0,
        };
        (ours.acked > 0).then_some((*lane, gap))
    };
    if before.epoch == after.epoch {
        let lost: Vec<_> = before.lanes.iter().filter_map(lost).collect();
        if !lost.is_empty() {
            return Err(disagreed(&lost));
        }
    }
    let epoch = after.epoch;
    Ok(match theirs {
        None => format!("the cloud has nothing of this gateway yet; epoch {epoch}"),
        Some(theirs) => format!(
            "epoch {epoch} begins with the next batch; the cloud has epoch {theirs} of before"
        ),
    })
}

fn agreed(lane: Lane, ours: LaneStanding, theirs: LaneView) -> String {
    let waiting = match ours.waiting {
        0 => String::new(),
        n => format!(" and {n} wait"),
    };
    format!("{}: the cloud has {}{waiting}", lane.name(), theirs.last)
}

fn newer_epoch(ours: u64, theirs: u64) -> Told {
    Told {
        what: format!(
            "the cloud has heard from a newer store of this gateway: epoch {theirs}, this store is of \
             epoch {ours}"
        ),
        remedy: Some(
            "find the box with the newer store and let only one of them run. If this is the right one, \
             as it was restored from a backup: linli sync restored"
                .to_owned(),
        ),
    }
}

fn disagreed(wrong: &[(Lane, Beside)]) -> Told {
    let words: Vec<String> = wrong.iter().map(|(lane, b)| differs(*lane, *b)).collect();
    let any = |is: fn(&Beside) -> bool| wrong.iter().any(|(_, beside)| is(beside));
    let remedy = if any(|b| matches!(b, Beside::Fork { .. })) {
        "two boxes send under this gateway's name, or this store is a copy: find and stop the other \
         (the cloud's operator can tell from where it sends). If this is the right one: linli sync \
         restored"
    } else if any(|b| matches!(b, Beside::Ahead { .. })) {
        "this store is older than what the cloud has heard, so it was restored from a backup, or \
         another box sends under this name. If it was restored: linli sync restored"
    } else {
        "ask the cloud's operator to restore what is missing there. If it is lost: linli sync restored \
         tells the cloud the state of every parcel anew"
    };
    Told {
        what: words.join("; "),
        remedy: Some(remedy.to_owned()),
    }
}

fn differs(lane: Lane, beside: Beside) -> String {
    let lane = lane.name();
    match beside {
        Beside::Agree => format!("{lane}: agrees"),
        Beside::Gap { acked, has } => format!(
            "{lane}: a gap, the cloud had acknowledged items up to {acked} and now has them up to {has}"
        ),
        Beside::Fork { at } => {
            format!("{lane}: a fork, what the cloud has up to item {at} isn't what this store sent")
        }
        Beside::Ahead { last, has } => format!(
            "{lane}: the cloud is ahead, it has items up to {has} and this store sent them up to {last}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_protocol::SealingKey;

    const EPOCH: u64 = 1_760_000_000;

    fn ours(epoch: u64, acked: u64, last: u64, chain: Option<u8>) -> Standing {
        let lane = LaneStanding {
            last,
            acked,
            waiting: last - acked,
            chain: chain.map(|byte| Chain([byte; 32])),
        };
        Standing {
            epoch,
            lanes: [(Lane::Fulfilment, lane)].into(),
        }
    }

    fn view(epoch: Option<u64>, last: u64, chain: u8) -> GatewayView {
        let lane = LaneView {
            last,
            chain: Chain([chain; 32]),
        };
        GatewayView {
            sealing_key: SealingKey {
                id: "k".to_owned(),
                public_key: [0; 32],
            },
            settings: BTreeMap::new(),
            time: 0,
            epoch,
            lanes: [(Lane::Fulfilment, lane)].into(),
        }
    }

    /// What is said, and what to do.
    fn told(before: &Standing, after: &Standing, view: &GatewayView) -> Result<String, String> {
        compare(before, after, view).map_err(|told| {
            let remedy = told.remedy.unwrap();
            format!("{} / {remedy}", told.what)
        })
    }

    #[test]
    fn lanes_that_go_together_are_said_with_what_waits() {
        let stands = ours(EPOCH, 40, 43, Some(7));
        let said = told(&stands, &stands, &view(Some(EPOCH), 40, 7)).unwrap();
        assert_eq!(
            said,
            format!("fulfilment: the cloud has 40 and 3 wait; epoch {EPOCH}")
        );
        // An answer was lost: the cloud has more than it is known to have.
        assert!(told(&stands, &stands, &view(Some(EPOCH), 43, 7)).is_ok());
        // Items were acknowledged between the question and the look: the chain there is gone here.
        let later = ours(EPOCH, 43, 43, None);
        assert!(told(&stands, &later, &view(Some(EPOCH), 40, 9)).is_ok());
    }

    #[test]
    fn a_gap_a_fork_and_a_cloud_ahead_are_told_apart() {
        let stands = ours(EPOCH, 40, 43, Some(7));
        for (view, what, remedy) in [
            (
                view(Some(EPOCH), 12, 7),
                "a gap, the cloud had acknowledged items up to 40 and now has them up to 12",
                "ask the cloud's operator",
            ),
            (
                view(Some(EPOCH), 40, 8),
                "a fork, what the cloud has up to item 40",
                "find and stop the other",
            ),
            (
                view(Some(EPOCH), 44, 7),
                "the cloud is ahead, it has items up to 44 and this store sent them up to 43",
                "restored from a backup",
            ),
            (view(None, 0, 0), "a gap", "ask the cloud's operator"),
            (
                view(Some(EPOCH - 1), 99, 7),
                "up to 40 and now has them up to 0",
                "linli sync restored",
            ),
            (
                view(Some(EPOCH + 5), 2, 7),
                "a newer store of this gateway: epoch 1760000005",
                "linli sync restored",
            ),
        ] {
            let said = told(&stands, &stands, &view).unwrap_err();
            assert!(said.contains(what) && said.contains(remedy), "{said}");
        }
    }

    #[test]
    fn an_epoch_that_the_cloud_has_not_heard_of_is_right() {
        let new = ours(EPOCH + 9, 0, 0, Some(0));
        let said = told(&new, &new, &view(Some(EPOCH), 40, 7)).unwrap();
        assert!(said.contains("begins with the next batch"), "{said}");
        let said = told(&new, &new, &view(None, 0, 0)).unwrap();
        assert!(said.contains("nothing of this gateway yet"), "{said}");
        // It began while the cloud was asked.
        let old = ours(EPOCH, 40, 43, None);
        assert!(told(&old, &new, &view(Some(EPOCH), 40, 7)).is_ok());
    }
}
