//! The cloud: takes each lane's items once and in order, and says what it has to say.

use std::collections::BTreeMap;

use cloud_protocol::downlink::{ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::secure::sealed::OpeningKey;
use cloud_protocol::{
    Acked, Batch, Chain, CodeForResident, Downlink, DownlinkItem, Report, SealingKey, badge_digest,
};
use linli::cloud::{BatchLimits, Seal};

use crate::mark::{Mark, Say};
use crate::memory::Cloud;
use crate::site::{BADGE, ident};

const SEALING_SEED: [u8; 32] = [9; 32];
const GATEWAY: &str = "estate-1";

/// What the cloud makes of a batch: what it has learned, and what it acknowledges. An error if the
/// batch has a gap, or another past than the one that the cloud knows.
pub fn take(cloud: &Cloud, batch: &Batch) -> Result<(Vec<Mark>, Acked), String> {
    if cloud.epoch.is_some_and(|known| known != batch.epoch) {
        let known = cloud.epoch;
        return Err(format!(
            "epoch {} after epoch {known:?}: another store",
            batch.epoch
        ));
    }
    let mut marks = Vec::new();
    let mut acked = BTreeMap::new();
    for (lane, part) in &batch.lanes {
        let name = lane.name();
        let known = cloud.lanes.get(name).map_or(&[][..], Vec::as_slice);
        let at = |n: u64| match n {
            0 => Some(hex(Chain::default())),
            n => known.get(n as usize - 1).cloned(),
        };
        let Some(before) = at(part.after) else {
            let has = known.len();
            return Err(format!(
                "lane {name}: a gap, the cloud has {has}, the gateway goes on after {}",
                part.after
            ));
        };
        if before != hex(part.chain) {
            return Err(format!("lane {name}: a fork at {}", part.after));
        }
        let (mut chain, mut new) = (part.chain, Vec::new());
        let (mut codes, mut heads) = (Vec::new(), Vec::new());
        for (item, n) in part.items.iter().zip(part.after + 1..) {
            if item.seq != n {
                return Err(format!("lane {name}: {} in the place of {n}", item.seq));
            }
            chain = chain.then(item);
            if let Some(known) = at(n) {
                if known != hex(chain) {
                    return Err(format!("lane {name}: a fork at {n}"));
                }
                continue;
            }
            new.push(hex(chain));
            match &item.report {
                Report::Parcel(report) => {
                    if let Some(code) = &report.code {
                        codes.push((report.parcel.clone(), open(&report.parcel, code)?));
                    }
                }
                Report::Audit { entries, head } => heads.push((*entries, hex(Chain(*head)))),
                _ => {}
            }
        }
        acked.insert(*lane, known.len() as u64 + new.len() as u64);
        if !new.is_empty() {
            marks.push(Mark::Took {
                epoch: batch.epoch,
                lane: name.to_owned(),
                chains: new,
                codes,
                heads,
            });
        }
    }
    Ok((marks, Acked(acked)))
}

/// How much the gateway may put into a batch of so many items, and to what it seals codes.
pub fn limits(items: usize, bytes: usize) -> BatchLimits {
    BatchLimits {
        items,
        bytes,
        held: Vec::new(),
        seal: Seal {
            key: SealingKey {
                id: "k1".to_owned(),
                public_key: OpeningKey::from_seed(&SEALING_SEED).public_key(),
            },
            gateway: ident(GATEWAY),
        },
        demand_minutes: None,
    }
}

fn open(parcel: &str, code: &CodeForResident) -> Result<String, String> {
    let CodeForResident::Sealed(sealed) = code else {
        return Err(format!("the code of {parcel} isn't sealed"));
    };
    OpeningKey::from_seed(&SEALING_SEED)
        .open(GATEWAY, parcel, sealed)
        .map(|digits| digits.reveal().to_owned())
        .map_err(|e| format!("the code of {parcel}: {e}"))
}

/// What the cloud says after `after`, at most `count` items.
pub fn says(cloud: &Cloud, after: u64, count: usize) -> Vec<DownlinkItem> {
    let numbered = cloud.says.iter().zip(1..).skip(after as usize).take(count);
    numbered
        .map(|(say, seq)| DownlinkItem {
            seq,
            what: Ok(downlink(say)),
        })
        .collect()
}

fn downlink(say: &Say) -> Downlink {
    match say {
        Say::Courier { valid_until } => Downlink::Courier {
            courier: "courier-1".to_owned(),
            proof: Proof::Badge(badge_digest(BADGE)),
            valid_until: *valid_until,
        },
        Say::Parcel {
            parcel,
            point,
            size,
            deadline,
        } => Downlink::ParcelExpected(ExpectedParcel {
            parcel: parcel.clone(),
            recipient: format!("of-{parcel}"),
            size: match size {
                'S' => Size::S,
                'M' => Size::M,
                _ => Size::L,
            },
            zone: Zone::Ambient,
            point: ident(point),
            deadline: *deadline,
            consent: true,
            items: None,
            low: false,
            return_of: None,
        }),
        Say::Cancelled { parcel } => Downlink::ParcelCancelled {
            parcel: parcel.clone(),
        },
        Say::Reissue { parcel } => Downlink::CodeReissue {
            parcel: parcel.clone(),
        },
        Say::Extended { parcel, deadline } => Downlink::ParcelExtended {
            parcel: parcel.clone(),
            deadline: *deadline,
        },
    }
}

pub fn hex(chain: Chain) -> String {
    linli::audit::hex::hex(&chain.0)
}
