//! What has crossed the line to the cloud, by month and by what it was for.

use cloud_protocol::Lane;
use rusqlite::{Connection, params};

use super::{StoreError, doing};
use crate::cloud::{LineUse, Traffic};

/// The most months that are kept; the earliest go first.
pub const MONTHS_MAX: i64 = 24;
/// No sum is higher than this: SQLite would go on in floating point.
const BYTES_MAX: i64 = 1 << 62;

/// Adds to what is known. Runs in the journal's transaction.
pub fn add(conn: &Connection, uses: &[LineUse]) -> Result<(), StoreError> {
    for used in uses {
        conn.prepare_cached(
            "INSERT INTO line_use (month, traffic, sent, received) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (month, traffic) DO UPDATE
             SET sent = min(sent + excluded.sent, ?5), received = min(received + excluded.received, ?5)",
        )
        .and_then(|mut s| {
            s.execute(params![
                used.month,
                word(used.traffic),
                bounded(used.sent),
                bounded(used.received),
                BYTES_MAX,
            ])
        })
        .map_err(doing("written"))?;
    }
    conn.prepare_cached(
        "DELETE FROM line_use WHERE month < (SELECT min(month) FROM
             (SELECT DISTINCT month FROM line_use ORDER BY month DESC LIMIT ?1))",
    )
    .and_then(|mut s| s.execute([MONTHS_MAX]))
    .map_err(doing("written"))?;
    Ok(())
}

/// What is known, of every month that is kept, in the order of the months.
pub fn known(conn: &Connection) -> Result<Vec<LineUse>, StoreError> {
    let mut statement = conn
        .prepare_cached(
            "SELECT month, traffic, sent, received FROM line_use ORDER BY month, traffic",
        )
        .map_err(doing("read"))?;
    let mut rows = statement.query([]).map_err(doing("read"))?;
    let mut out = Vec::new();
    while let Some(row) = rows.next().map_err(doing("read"))? {
        let read = || {
            Ok(LineUse {
                month: row.get(0)?,
                traffic: traffic(&row.get::<_, String>(1)?),
                sent: row.get::<_, i64>(2)?.cast_unsigned(),
                received: row.get::<_, i64>(3)?.cast_unsigned(),
            })
        };
        out.push(read().map_err(doing("read"))?);
    }
    Ok(out)
}

fn bounded(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(BYTES_MAX).min(BYTES_MAX - 1)
}

const fn word(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::Lane(lane) => lane.name(),
        Traffic::Downlink => "downlink",
        Traffic::Other => "other",
    }
}

fn traffic(word: &str) -> Traffic {
    match (word, Lane::from_name(word)) {
        (_, Some(lane)) => Traffic::Lane(lane),
        ("downlink", None) => Traffic::Downlink,
        _ => Traffic::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    #[test]
    fn uses_add_up_by_month_and_old_months_go() {
        let dir = tempfile::tempdir().unwrap();
        let conn = schema::open_writer(&dir.path().join("linli.db"), 0)
            .unwrap()
            .conn;
        let used = |month, traffic, sent| LineUse {
            month,
            traffic,
            sent,
            received: 1,
        };
        let demand = Traffic::Lane(Lane::Demand);
        for _ in 0..2 {
            let uses = [used(20_000, demand, 40), used(20_000, Traffic::Other, 2)];
            add(&conn, &uses).unwrap();
        }
        add(&conn, &[used(20_000, Traffic::Downlink, u64::MAX)]).unwrap();
        add(&conn, &[used(20_000, Traffic::Downlink, u64::MAX)]).unwrap();
        let known_now = known(&conn).unwrap();
        let sum = |traffic| {
            let found = known_now.iter().find(|used| used.traffic == traffic);
            found.map(|used| (used.sent, used.received))
        };
        assert_eq!(sum(demand), Some((80, 2)));
        assert_eq!(sum(Traffic::Other), Some((4, 2)));
        assert_eq!(sum(Traffic::Downlink), Some((1 << 62, 2)));
        for month in 0..40 {
            add(&conn, &[used(20_030 + month, demand, 1)]).unwrap();
        }
        let months: Vec<i32> = known(&conn)
            .unwrap()
            .iter()
            .map(|used| used.month)
            .collect();
        assert_eq!(months, (20_046..20_070).collect::<Vec<_>>());
    }
}
