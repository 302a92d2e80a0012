//! What the cloud knows, out of SQLite's tables.

use std::collections::BTreeMap;

use cloud_protocol::uplink::DemandReport;
use cloud_protocol::{Lane, Report};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{HealthView, LanesView, ParcelView, StoreError, signed, unsigned};
use crate::store::views::{LaneView, code_of, health_of, state_of, stored_item, tell_about};

/// Every gateway.
pub(super) fn gateways(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut select = connection.prepare("SELECT gateway FROM gateway ORDER BY gateway")?;
    let names = select.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// The parcels of a gateway by id, or the one of that id.
pub(super) fn parcels(
    connection: &Connection,
    gateway: &str,
    only: Option<&str>,
) -> Result<Vec<ParcelView>, StoreError> {
    let mut select = connection.prepare(
        "SELECT parcel, state, since, bank, compartment, desk, sealed, unlisted, return_of
         FROM parcel LEFT JOIN notice USING (gateway, parcel)
         WHERE gateway = ?1 AND (?2 IS NULL OR parcel = ?2) ORDER BY parcel",
    )?;
    let parcels = select.query_map(params![gateway, only], parcel_view)?;
    let mut parcels: Vec<_> = parcels.collect::<Result<_, _>>()?;
    let mut select = connection.prepare(
        "SELECT body FROM about JOIN item USING (gateway, epoch, seq)
         WHERE gateway = ?1 AND (?2 IS NULL OR parcel = ?2) AND lane = ?3
         ORDER BY epoch, seq",
    )?;
    let bodies = select.query_map(params![gateway, only, Lane::Fulfilment.name()], |row| {
        row.get::<_, Vec<u8>>(0)
    })?;
    for body in bodies {
        tell_about(&mut parcels, &body?)?;
    }
    Ok(parcels)
}

fn parcel_view(row: &Row<'_>) -> rusqlite::Result<ParcelView> {
    let state: Option<String> = row.get(1)?;
    let code: Option<Vec<u8>> = row.get(6)?;
    Ok(ParcelView {
        parcel: row.get(0)?,
        state: state.as_deref().and_then(state_of),
        since: row.get(2)?,
        bank: row.get(3)?,
        compartment: row.get(4)?,
        desk: row.get(5)?,
        code: code.as_deref().and_then(code_of),
        digits: None,
        unlisted: row.get(7)?,
        return_of: row.get(8)?,
        unplaceable: Vec::new(),
        claims: Vec::new(),
    })
}

/// The demand of a gateway by start.
pub(super) fn demand(
    connection: &Connection,
    gateway: &str,
) -> Result<Vec<DemandReport>, StoreError> {
    let mut select = connection
        .prepare("SELECT body FROM demand WHERE gateway = ?1 ORDER BY start, building, minutes")?;
    let bodies = select.query_map([gateway], |row| row.get::<_, Vec<u8>>(0))?;
    let mut cells = Vec::new();
    for body in bodies {
        if let Report::Demand(report) = stored_item(&body?)?.report {
            cells.push(report);
        }
    }
    Ok(cells)
}

/// What a gateway last said about itself.
pub(super) fn health(
    connection: &Connection,
    gateway: &str,
) -> Result<Option<HealthView>, StoreError> {
    let body: Option<Vec<u8>> = connection
        .query_row(
            "SELECT body FROM health WHERE gateway = ?1",
            [gateway],
            |row| row.get(0),
        )
        .optional()?;
    body.map_or(Ok(None), |body| health_of(&body))
}

/// How a gateway's lanes stand.
pub(super) fn lanes(connection: &Connection, gateway: &str) -> Result<LanesView, StoreError> {
    let row: Option<(Option<i64>, i64)> = connection
        .query_row(
            "SELECT epoch, downlink_last FROM gateway WHERE gateway = ?1",
            [gateway],
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
        let lane_view = lane_view.map(|lane_view| (lane, lane_view));
        view.lanes.extend(lane_view);
    }
    Ok(view)
}
