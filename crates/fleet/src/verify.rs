//! At the end: what stands in the database is held against what the gateways know. Every item once, in
//! order, its chain made again from what is stored; the parcels, their codes and the demand that follow.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use cloud_protocol::uplink::ParcelState;
use cloud_protocol::{Chain, Item, JSON, Lane, Report};
use firmware_protocols::{Ident, Value};
use http::Method;
use tokio_postgres::{Client, NoTls};

use crate::lanes::Position;
use crate::life::{Parcels, digits_of, parcel_id};
use crate::line::{Asked, Break, Line};
use crate::storm::Survivor;
use crate::tally::Tally;
use crate::throughput::Sender;
use crate::track::{EPOCH, Life, Track};

/// What must be in the database of one gateway.
pub struct Expected {
    /// Its name.
    pub gateway: Ident,
    /// Where its lanes stand.
    pub lanes: BTreeMap<Lane, Position>,
}

/// What was found.
#[derive(Debug, Default, Clone, Copy)]
pub struct Found {
    /// Items, each once.
    pub items: u64,
    /// Items of them whose code is kept apart, so that their own link can't be made again; those
    /// before and after them can.
    pub sealed: u64,
    /// Parcels in the state in which their gateway has them.
    pub parcels: u64,
    /// Live codes that opened to the right digits.
    pub codes: u64,
    /// Buckets of demand.
    pub buckets: u64,
}

/// A connection to the database, which reads only.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// What a survivor's lanes must be: those of the store that won, where two spoke.
pub fn expected(survivor: &Survivor, tally: &Tally) -> Expected {
    let mut lanes = BTreeMap::new();
    let one = survivor.gateway.tracks.iter().flat_map(|t| &t.lanes);
    let other = survivor.copy.iter().flatten().flat_map(|t| &t.lanes);
    let other: BTreeMap<Lane, _> = other.map(|lane| (lane.lane, lane)).collect();
    for lane in one {
        let winner = match (lane.held, other.get(&lane.lane)) {
            (false, None) => lane,
            (false, Some(other)) if other.held => lane,
            (true, Some(other)) if !other.held => other,
            (own, other) => {
                let (name, lane) = (&survivor.gateway.name, lane.lane.name());
                let other = other.map(|other| other.held);
                tally.wrong(format!(
                    "{name}, {lane}: one of two stores must be held, and only one: {own}, {other:?}"
                ));
                continue;
            }
        };
        lanes.insert(lane.lane, winner.acked());
    }
    Expected {
        gateway: survivor.gateway.name.clone(),
        lanes,
    }
}

/// What a sender's lanes must be.
pub fn expected_of_sender(sender: &Sender) -> Expected {
    Expected {
        gateway: sender.gateway().clone(),
        lanes: sender.stands.iter().copied().collect(),
    }
}

/// Every lane, item and link of these gateways.
pub async fn lanes(
    database: &Client,
    all: &[Expected],
    tally: &Tally,
    found: &mut Found,
) -> anyhow::Result<()> {
    for one in all {
        let gateway = one.gateway.as_str();
        let rows = database
            .query(
                "SELECT lane, epoch, last, chain FROM lane WHERE gateway = $1",
                &[&gateway],
            )
            .await?;
        let mut stands = BTreeMap::new();
        for row in rows {
            let epoch: i64 = row.get("epoch");
            let position = Position {
                seq: row.get::<_, i64>("last").cast_unsigned(),
                chain: chain(row.get("chain"))?,
            };
            let twice = stands.insert(lane(row.get("lane"))?, position);
            if epoch.cast_unsigned() != EPOCH || twice.is_some() {
                tally.wrong(format!("{gateway}: another epoch than its own: {epoch}"));
            }
        }
        let empty = Position::default();
        for lane in Lane::ALL {
            let at_cloud = stands.get(&lane).copied().unwrap_or(empty);
            if let Some(own) = one.lanes.get(&lane)
                && at_cloud != *own
            {
                let name = lane.name();
                tally.wrong(format!(
                    "{gateway}, {name}: stands at {} at the cloud, at {} at the gateway",
                    at_cloud.seq, own.seq
                ));
            }
        }
        items(database, gateway, &stands, tally, found).await?;
    }
    Ok(())
}

/// The items of a gateway: each number once, each link right.
async fn items(
    database: &Client,
    gateway: &str,
    stands: &BTreeMap<Lane, Position>,
    tally: &Tally,
    found: &mut Found,
) -> anyhow::Result<()> {
    let rows = database
        .query(
            "SELECT lane, seq, body, chain FROM item WHERE gateway = $1 ORDER BY lane, epoch, seq",
            &[&gateway],
        )
        .await?;
    let mut ends: BTreeMap<Lane, Position> = BTreeMap::new();
    for row in rows {
        let of = lane(row.get("lane"))?;
        let end = ends.entry(of).or_default();
        let (seq, body) = (row.get::<_, i64>("seq").cast_unsigned(), row.get("body"));
        if seq != end.seq + 1 {
            tally.wrong(format!("{gateway}, {of:?}: {seq} comes after {}", end.seq));
        }
        let stored = chain(row.get("chain"))?;
        if end.chain.then_encoded(body) != stored {
            found.sealed += 1;
            if !had_a_code(body)? {
                tally.wrong(format!("{gateway}, {of:?}: the chain breaks at {seq}"));
            }
        }
        *end = Position { seq, chain: stored };
        found.items += 1;
    }
    for (of, stands) in stands {
        if ends.get(of).copied().unwrap_or_default() != *stands {
            tally.wrong(format!(
                "{gateway}, {of:?}: its items don't end where the lane stands"
            ));
        }
    }
    Ok(())
}

/// What follows from the items: parcels with their codes at the operator's call, demand.
pub async fn meaning(
    database: &Client,
    survivors: &[Survivor],
    clouds: &Arc<[SocketAddr]>,
    seed: u64,
    tally: &Tally,
    found: &mut Found,
) -> anyhow::Result<()> {
    let mut line = Line::new(Arc::clone(clouds), 1);
    for survivor in survivors {
        let name = &survivor.gateway.name;
        let copies = survivor.copy.iter().flatten();
        for track in survivor.gateway.tracks.iter().chain(copies) {
            match &track.life {
                Life::Parcels(parcels) if !is_held(track, Lane::Fulfilment) => {
                    parcels_are_right(&mut line, name, parcels, seed, tally, found).await?;
                }
                Life::Demand(demand) if !is_held(track, Lane::Demand) => {
                    let query = "SELECT count(*) FROM demand WHERE gateway = $1";
                    let row = database.query_one(query, &[&name.as_str()]).await?;
                    let buckets = row.get::<_, i64>(0).cast_unsigned();
                    found.buckets += buckets;
                    if buckets != demand.buckets() {
                        let told = demand.buckets();
                        tally.wrong(format!("{name}: {buckets} buckets of demand, {told} told"));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_held(track: &Track, of: Lane) -> bool {
    track.lanes.iter().any(|lane| lane.lane == of && lane.held)
}

async fn parcels_are_right(
    line: &mut Line,
    gateway: &Ident,
    parcels: &Parcels,
    seed: u64,
    tally: &Tally,
    found: &mut Found,
) -> anyhow::Result<()> {
    let mut at_cloud = told_by_operator(line, gateway).await?;
    at_cloud.remove(&format!("{gateway}-big"));
    let live: BTreeMap<u64, ParcelState> = parcels.live.iter().copied().collect();
    for number in 0..parcels.announced {
        let id = parcel_id(gateway, number);
        let state = live.get(&number).copied();
        let state = state.unwrap_or(ParcelState::Collected);
        let code = (state != ParcelState::Collected).then(|| digits_of(seed, &id));
        found.parcels += 1;
        found.codes += u64::from(code.is_some());
        let own = Some((state.word().to_string(), code));
        if at_cloud.remove(&id) != own {
            // The digits are a play's, and still not for a screen.
            tally.wrong(format!("{id}: state or code differ at gateway and cloud"));
        }
    }
    if !at_cloud.is_empty() {
        let more = at_cloud.len();
        tally.wrong(format!(
            "{gateway}: the cloud has {more} parcels that nobody told"
        ));
    }
    Ok(())
}

/// The parcels of a gateway by id: their state, and the live code opened.
async fn told_by_operator(
    line: &mut Line,
    gateway: &Ident,
) -> anyhow::Result<BTreeMap<String, (String, Option<String>)>> {
    let asked = Asked {
        method: Method::GET,
        path: format!("/v1/admin/gateways/{gateway}/parcels"),
        host: "localhost",
        signed: None,
        content: bytes::Bytes::new(),
        packed: false,
        media: JSON,
    };
    let answer = match line.ask(&asked, Break::Nothing).await {
        Ok(answer) => answer,
        // A connection that was idle for too long.
        Err(_) => line.ask(&asked, Break::Nothing).await?,
    };
    let Some(Value::Array(parcels)) = answer.value else {
        bail!(
            "the operator's call for parcels was answered {}",
            answer.status
        );
    };
    let text = |value: &Value, field: &str| match value.get(field) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let parcels = parcels.iter().map(|parcel| {
        let id = text(parcel, "parcel").context("a parcel without an id")?;
        let state = text(parcel, "state").context("a parcel without a state")?;
        Ok((id, (state, text(parcel, "code"))))
    });
    parcels.collect()
}

fn had_a_code(body: &[u8]) -> anyhow::Result<bool> {
    let item = Item::from_value(&Value::from_cbor(body)?)?;
    Ok(matches!(item.report, Report::Parcel(report) if report.state == ParcelState::Expected))
}

/// In the database lanes are numbered by their urgency.
fn lane(number: i16) -> anyhow::Result<Lane> {
    let lane = usize::try_from(number).ok();
    let lane = lane.and_then(|number| Lane::ALL.get(number).copied());
    lane.with_context(|| format!("a lane {number} in the database"))
}

fn chain(bytes: &[u8]) -> anyhow::Result<Chain> {
    Ok(Chain(bytes.try_into().context("a chain in the database")?))
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
