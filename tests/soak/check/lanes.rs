//! The cloud's own store has each item of each lane exactly once, without a gap, on the gateway's
//! chain; what the cloud said was heard once; the history of both is the same.

use std::collections::BTreeMap;

use cloud_protocol::uplink::{Item, ParcelState, Report};
use firmware_protocols::Value;

use super::{Store, Wrong, first_few};

pub fn check(gateway: &Store, cloud: &Store) -> Wrong {
    let mut wrong = Wrong::new();
    let sql = "SELECT lane, last_seq, acked_seq, last_chain FROM lanes";
    type Lane = (u64, u64, Vec<u8>);
    let lanes: BTreeMap<String, Lane> = gateway.rows(sql, |row| {
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        Ok((row.get(0)?, (number(1)?, number(2)?, row.get(3)?)))
    });
    let sql = "SELECT lane, last, chain, epoch FROM lane";
    let theirs: Vec<(String, u64, Vec<u8>, i64)> = cloud.rows(sql, |row| {
        Ok((
            row.get(0)?,
            row.get::<_, i64>(1)?.cast_unsigned(),
            row.get(2)?,
            row.get(3)?,
        ))
    });
    if cloud.number("SELECT count(DISTINCT epoch) FROM lane") != 1 {
        wrong.push("the cloud has seen more than one epoch".to_string());
    }
    for (lane, (last, acked, chain)) in &lanes {
        let there = theirs.iter().find(|(name, ..)| name == lane);
        let there = there.map(|(_, last, chain, _)| (*last, chain.clone()));
        match there {
            None if *last == 0 => {}
            Some((at, their)) if at == *last && their == *chain && acked == last => {}
            other => wrong.push(format!(
                "{lane}: the gateway has {last}, {acked} of them acknowledged, the cloud {:?}",
                other.map(|(at, their)| (at, their == *chain))
            )),
        }
        let sql =
            format!("SELECT count(*) FROM item WHERE lane = '{lane}' AND seq BETWEEN 1 AND {last}");
        let all = cloud.number(&format!("SELECT count(*) FROM item WHERE lane = '{lane}'"));
        if cloud.number(&sql) != *last || all != *last {
            wrong.push(format!(
                "{lane}: the cloud has {all} items instead of 1 to {last}"
            ));
        }
    }
    wrong.extend(ends_once(cloud));
    wrong.extend(heard_once(gateway));
    let contradictions = cloud.number("SELECT count(*) FROM audit WHERE contradicts IS NOT NULL");
    if contradictions > 0 {
        wrong.push(format!(
            "{contradictions} heads of the history contradict earlier ones"
        ));
    }
    wrong
}

/// A parcel comes to its end once.
fn ends_once(cloud: &Store) -> Wrong {
    let sql = "SELECT body FROM item WHERE lane = 'fulfilment' ORDER BY epoch, seq";
    let bodies: Vec<Vec<u8>> = cloud.rows(sql, |row| row.get(0));
    let mut ends: BTreeMap<String, Vec<ParcelState>> = BTreeMap::new();
    for body in bodies {
        let value = Value::from_cbor(&body).unwrap();
        if let Report::Parcel(parcel) = Item::from_value(&value).unwrap().report
            && matches!(
                parcel.state,
                ParcelState::Collected | ParcelState::Retrieved
            )
        {
            ends.entry(parcel.parcel).or_default().push(parcel.state);
        }
    }
    let twice = ends.iter().filter(|(_, states)| states.len() > 1);
    let twice: Vec<_> = twice
        .map(|(id, states)| format!("{id} {states:?}"))
        .collect();
    first_few("told to the cloud to have ended more than once", &twice)
}

/// A parcel was announced to the estate once.
fn heard_once(gateway: &Store) -> Wrong {
    let sql = "SELECT parcel, count(*) FROM trace WHERE step = 'announced' GROUP BY parcel
               HAVING count(*) <> 1";
    let rows: Vec<String> = gateway.rows(sql, |row| {
        Ok(format!(
            "{} {} times",
            row.get::<_, String>(0)?,
            row.get::<_, i64>(1)?
        ))
    });
    first_few("announced to the estate more than once", &rows)
}
