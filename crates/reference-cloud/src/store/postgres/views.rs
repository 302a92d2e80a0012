//! What the cloud knows, out of PostgreSQL's tables.

use cloud_protocol::Report;
use cloud_protocol::uplink::DemandReport;
use cloud_protocol::{Lane, enrol};
use deadpool_postgres::Pool;
use tokio_postgres::Row;

use super::ingest::chain_of;
use super::{connect, lane_of, unsigned};
use crate::store::views::{
    AuditView, CONTRADICTIONS_SHOWN, HeadView, HealthView, LaneView, LanesView, ParcelView,
    code_of, health_of, state_of, stored_item, tell_about,
};
use crate::store::{Standing, StoreError};

/// Every gateway.
pub(super) async fn gateways(pool: &Pool) -> Result<Vec<String>, StoreError> {
    let client = connect::of(pool).await?;
    let rows = client
        .query("SELECT gateway FROM gateway ORDER BY gateway", &[])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The parcels of a gateway by id, or the one of that id.
pub(super) async fn parcels(
    pool: &Pool,
    gateway: &str,
    only: Option<&str>,
) -> Result<Vec<ParcelView>, StoreError> {
    let client = connect::of(pool).await?;
    let rows = client
        .query(
            "SELECT parcel, state, since, bank, compartment, desk, sealed, unlisted, return_of
             FROM parcel LEFT JOIN notice USING (gateway, parcel)
             WHERE gateway = $1 AND ($2::text IS NULL OR parcel = $2) ORDER BY parcel",
            &[&gateway, &only],
        )
        .await?;
    let mut parcels: Vec<_> = rows.iter().map(parcel_view).collect();
    let rows = client
        .query(
            "SELECT body FROM about JOIN item USING (gateway, epoch, seq)
             WHERE gateway = $1 AND ($2::text IS NULL OR parcel = $2) AND lane = 0
             ORDER BY epoch, seq",
            &[&gateway, &only],
        )
        .await?;
    for row in rows {
        tell_about(&mut parcels, row.get(0))?;
    }
    Ok(parcels)
}

fn parcel_view(row: &Row) -> ParcelView {
    let state: Option<&str> = row.get(1);
    let compartment: Option<i32> = row.get(4);
    let code: Option<&[u8]> = row.get(6);
    ParcelView {
        parcel: row.get(0),
        state: state.and_then(state_of),
        since: row.get(2),
        bank: row.get(3),
        compartment: compartment.and_then(|n| u16::try_from(n).ok()),
        desk: row.get(5),
        code: code.and_then(code_of),
        digits: None,
        unlisted: row.get(7),
        return_of: row.get(8),
        unplaceable: Vec::new(),
        claims: Vec::new(),
    }
}

/// The demand of a gateway by start.
pub(super) async fn demand(pool: &Pool, gateway: &str) -> Result<Vec<DemandReport>, StoreError> {
    let client = connect::of(pool).await?;
    let select = "SELECT body FROM demand WHERE gateway = $1 ORDER BY start, building, minutes";
    let mut cells = Vec::new();
    for row in client.query(select, &[&gateway]).await? {
        if let Report::Demand(report) = stored_item(row.get(0))?.report {
            cells.push(report);
        }
    }
    Ok(cells)
}

/// What a gateway last said about itself.
pub(super) async fn health(pool: &Pool, gateway: &str) -> Result<Option<HealthView>, StoreError> {
    let client = connect::of(pool).await?;
    let select = "SELECT body FROM health WHERE gateway = $1";
    let row = client.query_opt(select, &[&gateway]).await?;
    row.map_or(Ok(None), |row| health_of(row.get(0)))
}

/// How a gateway's lanes stand, with what was counted.
pub(super) async fn lanes(pool: &Pool, gateway: &str) -> Result<LanesView, StoreError> {
    let client = connect::of(pool).await?;
    let rows = client
        .query(
            "SELECT downlink_last, lane, epoch, seen, items, last, duplicates, unknown
             FROM gateway LEFT JOIN lane USING (gateway) WHERE gateway = $1 ORDER BY lane",
            &[&gateway],
        )
        .await?;
    let mut view = LanesView::default();
    for row in rows {
        view.downlink_last = unsigned(row.get(0));
        let Some(lane) = row.get::<_, Option<i16>>(1) else {
            continue;
        };
        view.epoch = row.get::<_, Option<i64>>(2).map(unsigned);
        if row.get(3) {
            let lane_view = LaneView {
                items: unsigned(row.get(4)),
                last: unsigned(row.get(5)),
                duplicates: unsigned(row.get(6)),
                unknown: unsigned(row.get(7)),
            };
            view.lanes.insert(lane_of(lane)?, lane_view);
        }
    }
    Ok(view)
}

/// Where a gateway's lanes stand.
pub(super) async fn standing(pool: &Pool, gateway: &str) -> Result<Standing, StoreError> {
    let client = connect::of(pool).await?;
    let select = client
        .prepare_cached("SELECT lane, epoch, last, chain FROM lane WHERE gateway = $1")
        .await?;
    let mut standing = Standing::default();
    for row in client.query(&select, &[&gateway]).await? {
        let lane: Lane = lane_of(row.get(0))?;
        standing.0 = row.get::<_, Option<i64>>(1).map(unsigned);
        let view = enrol::LaneView {
            last: unsigned(row.get(2)),
            chain: chain_of(row.get(3))?,
        };
        if view.last > 0 {
            standing.1.insert(lane, view);
        }
    }
    Ok(standing)
}

/// What is known of a gateway's history.
pub(super) async fn audit(pool: &Pool, gateway: &str) -> Result<AuditView, StoreError> {
    let client = connect::of(pool).await?;
    let columns = "SELECT epoch, entries, head, at, contradicts FROM audit WHERE gateway = $1 AND";
    let latest = format!("{columns} contradicts IS NULL ORDER BY epoch DESC, entries DESC LIMIT 1");
    let latest = client.query_opt(&latest, &[&gateway]).await?;
    let others = format!("{columns} contradicts IS NOT NULL ORDER BY id DESC LIMIT $2");
    let others = client
        .query(&others, &[&gateway, &CONTRADICTIONS_SHOWN])
        .await?;
    Ok(AuditView {
        latest: latest.as_ref().map(head_view).transpose()?,
        contradictions: others.iter().map(head_view).collect::<Result<_, _>>()?,
    })
}

fn head_view(row: &Row) -> Result<HeadView, StoreError> {
    Ok(HeadView {
        epoch: unsigned(row.get(0)),
        entries: unsigned(row.get(1)),
        head: chain_of(row.get(2))?.0,
        at: row.get(3),
        contradicts: row.get(4),
    })
}
