//! Where the lanes stand, for a comparison with what the cloud says it has.

use std::collections::BTreeMap;

use cloud_protocol::{Chain, Lane};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{LaneHead, epoch, heads};
use crate::cloud::{LaneStanding, Standing};
use crate::store::write::bits;
use crate::store::{StoreError, doing};

/// Where the lanes stand, in one snapshot; with the chain at these numbers, where they lie between
/// what is acknowledged and what was last cut.
pub fn standing(conn: &Connection, at: &BTreeMap<Lane, u64>) -> Result<Standing, StoreError> {
    let _snapshot = conn.unchecked_transaction().map_err(doing("read"))?;
    let mut lanes = BTreeMap::new();
    for (lane, head) in heads(conn)? {
        let chain = match at.get(&lane) {
            Some(seq) => chain_at(conn, lane, &head, *seq)?,
            None => None,
        };
        let stands = LaneStanding {
            last: head.last_seq,
            acked: head.acked_seq,
            waiting: head.waiting,
            chain,
        };
        lanes.insert(lane, stands);
    }
    Ok(Standing {
        epoch: epoch(conn)?,
        lanes,
    })
}

fn chain_at(
    conn: &Connection,
    lane: Lane,
    head: &LaneHead,
    seq: u64,
) -> Result<Option<Chain>, StoreError> {
    if seq == head.acked_seq {
        return Ok(Some(head.acked_chain));
    }
    if seq == head.last_seq {
        return Ok(Some(head.last_chain));
    }
    if seq < head.acked_seq || seq > head.last_seq {
        return Ok(None);
    }
    // What is cut is the beginning of the lane's rows, without a gap.
    let offset = seq - head.acked_seq - 1;
    let chain: Option<Option<[u8; 32]>> = conn
        .prepare_cached("SELECT chain FROM uplink WHERE lane = ?1 ORDER BY id LIMIT 1 OFFSET ?2")
        .and_then(|mut s| {
            s.query_row(params![lane.name(), bits(offset)], |row| row.get(0))
                .optional()
        })
        .map_err(doing("read"))?;
    Ok(chain.flatten().map(Chain))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{limits, parcel};
    use super::*;
    use crate::store::tests::Store;
    use estate::change::Change;

    #[test]
    fn the_chain_is_known_between_what_is_acknowledged_and_what_was_cut() {
        let mut store = Store::new();
        for n in 1..=6 {
            let report = parcel(&format!("P-{n}"), None);
            store.write(&[Change::Uplink { at_ms: 5, report }]);
        }
        let batch = store.next(&limits(5)).unwrap();
        let part = &batch.lanes[&Lane::Fulfilment];
        let mut chains = vec![part.chain];
        for item in &part.items {
            chains.push(chains[chains.len() - 1].then(item));
        }
        store.acked(Lane::Fulfilment, 2);
        for seq in 0..=7_u64 {
            let at = [(Lane::Fulfilment, seq)].into();
            let stands = standing(&store.conn, &at).unwrap();
            assert_eq!(stands.epoch, batch.epoch);
            let known = (2..=5).contains(&seq);
            let wanted = LaneStanding {
                last: 5,
                acked: 2,
                waiting: 4,
                chain: known.then(|| chains[usize::try_from(seq).unwrap()]),
            };
            assert_eq!(stands.lanes[&Lane::Fulfilment], wanted, "{seq}");
            assert_eq!(stands.lanes[&Lane::Demand].chain, None, "not asked for");
        }
    }
}
