//! What the cloud knows, for its operator, the demo and the tests.

use std::collections::BTreeMap;

use cloud_protocol::uplink::{ClaimReport, DemandReport, ParcelState, Unplaceable};
use cloud_protocol::{Item, Lane, Report, SealedCode};
use firmware_protocols::Value;
use firmware_protocols::event::Secret;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError, signed, unsigned};

/// A parcel as the cloud sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ParcelView {
    /// Its id.
    pub parcel: String,
    /// Its state; `None` while it is announced and the gateway hasn't said anything.
    pub state: Option<ParcelState>,
    /// When it came into the state, ms since the Unix epoch.
    pub since: Option<i64>,
    /// The bank that holds it.
    pub bank: Option<String>,
    /// The compartment that holds it.
    pub compartment: Option<u16>,
    /// The desk that holds it.
    pub desk: Option<String>,
    /// Its live pickup code, sealed as it came.
    pub code: Option<SealedCode>,
    /// Its digits, once opened.
    pub digits: Option<Secret>,
    /// Whether it came without having been announced.
    pub unlisted: bool,
    /// The parcel whose return it is.
    pub return_of: Option<String>,
    /// When no compartment took it, in the order of the reports.
    pub unplaceable: Vec<Told<Unplaceable>>,
    /// What its recipient complained of, in the order of the reports.
    pub claims: Vec<Told<ClaimReport>>,
}

/// Something that the gateway told at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<T> {
    /// When the item was made, ms since the Unix epoch.
    pub at: i64,
    /// What it says.
    pub what: T,
}

/// How a gateway's lanes stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LanesView {
    /// Its epoch, if it has sent something.
    pub epoch: Option<u64>,
    /// By lane, only those that had an item or an empty part of a batch.
    pub lanes: BTreeMap<Lane, LaneView>,
    /// The last number given to a downlink item.
    pub downlink_last: u64,
}

/// How a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneView {
    /// Items stored, in all epochs.
    pub items: u64,
    /// The last sequence number of the current epoch.
    pub last: u64,
    /// Items that came again and changed nothing, in all epochs.
    pub duplicates: u64,
    /// Items of kinds that this version doesn't know, stored among the others.
    pub unknown: u64,
}

/// What a gateway last said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthView {
    /// When it said so, ms since the Unix epoch.
    pub at: i64,
    /// Counters by name.
    pub counters: BTreeMap<String, u64>,
}

impl Store {
    /// Every gateway that the cloud has heard of or speaks to.
    pub async fn gateways(&self) -> Result<Vec<String>, StoreError> {
        self.run(|connection| {
            let mut select = connection.prepare("SELECT gateway FROM gateway ORDER BY gateway")?;
            let names = select.query_map([], |row| row.get(0))?;
            Ok(names.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The parcels of a gateway by id, or the one of that id.
    pub async fn parcels(
        &self,
        gateway: String,
        only: Option<String>,
    ) -> Result<Vec<ParcelView>, StoreError> {
        self.run(move |connection| {
            let mut select = connection.prepare(
                "SELECT parcel, state, since, bank, compartment, desk, sealed, unlisted, return_of
                 FROM parcel LEFT JOIN notice USING (gateway, parcel)
                 WHERE gateway = ?1 AND (?2 IS NULL OR parcel = ?2) ORDER BY parcel",
            )?;
            let parcels = select.query_map(params![gateway, only], parcel_view)?;
            let mut parcels: Vec<_> = parcels.collect::<Result<_, _>>()?;
            tell_about(connection, &gateway, only.as_deref(), &mut parcels)?;
            Ok(parcels)
        })
        .await
    }

    /// The demand of a gateway by start, each bucket in its highest revision.
    pub async fn demand(&self, gateway: String) -> Result<Vec<DemandReport>, StoreError> {
        self.run(move |connection| {
            let mut select = connection
                .prepare("SELECT body FROM demand WHERE gateway = ?1 ORDER BY start, building")?;
            let bodies = select.query_map([gateway], |row| row.get::<_, Vec<u8>>(0))?;
            let mut cells = Vec::new();
            for body in bodies {
                if let Report::Demand(report) = stored_item(&body?)?.report {
                    cells.push(report);
                }
            }
            Ok(cells)
        })
        .await
    }

    /// What a gateway last said about itself.
    pub async fn health(&self, gateway: String) -> Result<Option<HealthView>, StoreError> {
        self.run(move |connection| {
            let body: Option<Vec<u8>> = connection
                .query_row(
                    "SELECT body FROM health WHERE gateway = ?1",
                    [gateway],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(item) = body.map(|body| stored_item(&body)).transpose()? else {
                return Ok(None);
            };
            let at = item.at;
            Ok(match item.report {
                Report::Health(counters) => Some(HealthView { at, counters }),
                _ => None,
            })
        })
        .await
    }

    /// How a gateway's lanes stand.
    pub async fn lanes(&self, gateway: String) -> Result<LanesView, StoreError> {
        self.run(move |connection| {
            let row: Option<(Option<i64>, i64)> = connection
                .query_row(
                    "SELECT epoch, downlink_last FROM gateway WHERE gateway = ?1",
                    [&gateway],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            let (epoch, downlink_last) = row.unwrap_or_default();
            let mut view = LanesView {
                epoch: epoch.map(unsigned),
                lanes: BTreeMap::new(),
                downlink_last: unsigned(downlink_last),
            };
            for lane in Lane::ALL {
                let lane_view = connection.query_row(
                    "SELECT count(*), coalesce(sum(duplicates), 0),
                            coalesce(max(iif(epoch = ?3, last, 0)), 0),
                            (SELECT count(*) FROM item WHERE gateway = ?1 AND lane = ?2),
                            (SELECT count(*) FROM item WHERE gateway = ?1 AND lane = ?2 AND NOT known)
                     FROM lane WHERE gateway = ?1 AND lane = ?2",
                    params![gateway, lane.name(), view.epoch.map(signed)],
                    |row| {
                        let seen: i64 = row.get(0)?;
                        Ok((seen > 0).then_some(LaneView {
                            duplicates: unsigned(row.get(1)?),
                            last: unsigned(row.get(2)?),
                            items: unsigned(row.get(3)?),
                            unknown: unsigned(row.get(4)?),
                        }))
                    },
                )?;
                view.lanes.extend(lane_view.map(|lane_view| (lane, lane_view)));
            }
            Ok(view)
        })
        .await
    }
}

fn parcel_view(row: &Row<'_>) -> rusqlite::Result<ParcelView> {
    let state: Option<String> = row.get(1)?;
    let state = state.and_then(|word| {
        let states = ParcelState::WORDS.iter();
        states.into_iter().find(|(other, _)| *other == word)
    });
    let code: Option<Vec<u8>> = row.get(6)?;
    let code = code.and_then(|code| SealedCode::from_value(&Value::from_cbor(&code).ok()?).ok());
    Ok(ParcelView {
        parcel: row.get(0)?,
        state: state.map(|(_, state)| *state),
        since: row.get(2)?,
        bank: row.get(3)?,
        compartment: row.get(4)?,
        desk: row.get(5)?,
        code,
        digits: None,
        unlisted: row.get(7)?,
        return_of: row.get(8)?,
        unplaceable: Vec::new(),
        claims: Vec::new(),
    })
}

/// Adds the items that say more of these parcels, which are in the order of their ids.
fn tell_about(
    connection: &Connection,
    gateway: &str,
    only: Option<&str>,
    parcels: &mut [ParcelView],
) -> Result<(), StoreError> {
    let mut select = connection.prepare(
        "SELECT body FROM about JOIN item USING (gateway, epoch, seq)
         WHERE gateway = ?1 AND (?2 IS NULL OR parcel = ?2) AND lane = ?3
         ORDER BY epoch, seq",
    )?;
    let bodies = select.query_map(params![gateway, only, Lane::Fulfilment.name()], |row| {
        row.get::<_, Vec<u8>>(0)
    })?;
    for body in bodies {
        let Item { at, report, .. } = stored_item(&body?)?;
        let parcel = match &report {
            Report::Unplaceable(what) => &what.parcel,
            Report::Claim(what) => &what.parcel,
            _ => continue,
        };
        let Ok(index) = parcels.binary_search_by(|view| view.parcel.cmp(parcel)) else {
            continue;
        };
        let Some(view) = parcels.get_mut(index) else {
            continue;
        };
        match report {
            Report::Unplaceable(what) => view.unplaceable.push(Told { at, what }),
            Report::Claim(what) => view.claims.push(Told { at, what }),
            _ => {}
        }
    }
    Ok(())
}

fn stored_item(body: &[u8]) -> Result<Item, StoreError> {
    let value = Value::from_cbor(body).map_err(|e| StoreError::Unreadable(e.to_string()))?;
    Item::from_value(&value).map_err(|e| StoreError::Unreadable(e.to_string()))
}
