//! What the new items of a batch mean for the tables that people ask: worked out first, as one row
//! can be written only once by a statement; then written with a statement for each table.

use std::collections::BTreeMap;

use cloud_protocol::received::ReceivedItem;
use cloud_protocol::uplink::ParcelReport;
use cloud_protocol::{CodeForResident, Report};

use super::pipeline::{Parameter, Pipeline};
use super::signed;
use crate::store::StoreError;
use crate::store::meaning::code_is_dead;

const PARCELS: &str = "
    INSERT INTO parcel (gateway, parcel, state, since, bank, compartment, desk, unlisted, return_of)
    SELECT $1::text, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[], $6::integer[],
                             $7::text[], $8::bool[], $9::text[])
    ON CONFLICT (gateway, parcel) DO UPDATE
    SET state = excluded.state, since = excluded.since, bank = excluded.bank,
        compartment = excluded.compartment, desk = excluded.desk, unlisted = excluded.unlisted,
        return_of = excluded.return_of";
const CODES: &str = "
    INSERT INTO notice (gateway, parcel, sealed)
    SELECT $1::text, * FROM unnest($2::text[], $3::bytea[])
    ON CONFLICT (gateway, parcel) DO UPDATE SET sealed = excluded.sealed";
const DEAD_CODES: &str = "DELETE FROM notice WHERE gateway = $1 AND parcel = ANY($2)";
const ABOUT_PARCELS: &str = "
    INSERT INTO parcel (gateway, parcel) SELECT $1::text, unnest($2::text[]) ON CONFLICT DO NOTHING";
const ABOUT: &str = "
    INSERT INTO about (gateway, epoch, parcel, seq)
    SELECT $1::text, $2::bigint, * FROM unnest($3::text[], $4::bigint[])";
const DEMAND: &str = "
    INSERT INTO demand (gateway, building, start, minutes, revision, body)
    SELECT $1::text, * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[])
    ON CONFLICT (gateway, building, start, minutes) DO UPDATE
    SET revision = excluded.revision, body = excluded.body
    WHERE excluded.revision >= demand.revision";
const HEALTH: &str = "
    INSERT INTO health (gateway, body) VALUES ($1, $2)
    ON CONFLICT (gateway) DO UPDATE SET body = excluded.body";
/// A head that is known changes nothing; another head for as many entries as were told before, or
/// fewer entries than that, is a contradiction.
const HEAD: &str = "
    INSERT INTO audit (gateway, epoch, entries, head, at, contradicts)
    SELECT $1::text, $2::bigint, $3::bigint, $4::bytea, $5::bigint, CASE
        WHEN same.head <> $4
            THEN 'another head was told for ' || $3::bigint || ' entries before'
        WHEN same.head IS NULL AND most.entries > $3
            THEN most.entries || ' entries were told before, now ' || $3::bigint
    END
    FROM (SELECT max(entries) AS entries FROM audit
          WHERE gateway = $1 AND epoch = $2 AND contradicts IS NULL) AS most
    LEFT JOIN (SELECT head FROM audit WHERE gateway = $1 AND epoch = $2 AND entries = $3
               AND contradicts IS NULL) AS same ON true
    ON CONFLICT DO NOTHING";

/// What follows from a batch.
#[derive(Default)]
pub(super) struct Meaning<'a> {
    parcels: Parcels<'a>,
    codes: Codes<'a>,
    about: About<'a>,
    demand: Demand<'a>,
    health: Option<Vec<u8>>,
    heads: Vec<Head>,
}

/// Columns of `parcel`.
#[derive(Default)]
struct Parcels<'a> {
    ids: Vec<&'a str>,
    states: Vec<&'a str>,
    since: Vec<i64>,
    banks: Vec<Option<&'a str>>,
    compartments: Vec<Option<i32>>,
    desks: Vec<Option<&'a str>>,
    unlisted: Vec<bool>,
    return_of: Vec<Option<&'a str>>,
}

/// Columns of `notice`, and whose code is dead.
#[derive(Default)]
struct Codes<'a> {
    parcels: Vec<&'a str>,
    sealed: Vec<Vec<u8>>,
    dead: Vec<&'a str>,
}

#[derive(Default)]
struct About<'a> {
    parcels: Vec<&'a str>,
    seqs: Vec<i64>,
}

/// Columns of `demand`.
#[derive(Default)]
struct Demand<'a> {
    buildings: Vec<&'a str>,
    starts: Vec<i64>,
    minutes: Vec<i64>,
    revisions: Vec<i64>,
    bodies: Vec<Vec<u8>>,
}

struct Head {
    at: i64,
    entries: i64,
    head: Vec<u8>,
}

impl<'a> Meaning<'a> {
    /// Of these items, in their order.
    pub(super) fn of(items: impl Iterator<Item = &'a ReceivedItem>) -> Self {
        let mut meaning = Self::default();
        let mut parcels: BTreeMap<&str, &ParcelReport> = BTreeMap::new();
        let mut codes: BTreeMap<&str, Option<Vec<u8>>> = BTreeMap::new();
        let mut demand = BTreeMap::new();
        for item in items {
            match &item.report {
                Some(Report::Parcel(report)) => {
                    parcels.insert(&report.parcel, report);
                    if let Some(CodeForResident::Sealed(code)) = &report.code {
                        codes.insert(&report.parcel, Some(code.to_value().to_cbor()));
                    }
                    if code_is_dead(report) {
                        codes.insert(&report.parcel, None);
                    }
                }
                Some(Report::Unplaceable(what)) => meaning.about.add(&what.parcel, item.seq),
                Some(Report::Claim(what)) => meaning.about.add(&what.parcel, item.seq),
                Some(Report::Demand(report)) => {
                    let building = report.building.as_ref().map_or("", |id| id.as_str());
                    let bucket = (building, report.start, report.minutes);
                    let known = demand.get(&bucket).map_or(0, |(revision, _)| *revision);
                    if report.revision >= known {
                        demand.insert(bucket, (report.revision, item));
                    }
                }
                Some(Report::Health(_)) => meaning.health = Some(item.encoded()),
                Some(Report::Audit { entries, head }) => meaning.heads.push(Head {
                    at: item.at,
                    entries: signed(*entries),
                    head: head.to_vec(),
                }),
                None => {}
            }
        }
        parcels.into_values().for_each(|p| meaning.parcels.add(p));
        for (parcel, code) in codes {
            meaning.codes.add(parcel, code);
        }
        for ((building, start, minutes), (revision, item)) in demand {
            meaning.demand.buildings.push(building);
            meaning.demand.starts.push(start);
            meaning.demand.minutes.push(i64::from(minutes));
            meaning.demand.revisions.push(i64::from(revision));
            meaning.demand.bodies.push(item.encoded());
        }
        meaning
    }

    /// The heads of the gateway's history: how many entries, and the chain.
    pub(super) fn heads(&self) -> impl Iterator<Item = (i64, &[u8])> {
        self.heads.iter().map(|it| (it.entries, it.head.as_slice()))
    }

    /// Adds the statements that write it.
    pub(super) async fn write<'b>(
        &'b self,
        pipeline: &mut Pipeline<'b>,
        gateway: &'b &'b str,
        epoch: &'b i64,
    ) -> Result<(), StoreError> {
        let p = &self.parcels;
        if !p.ids.is_empty() {
            let parameters: Vec<Parameter<'b>> = vec![
                gateway,
                &p.ids,
                &p.states,
                &p.since,
                &p.banks,
                &p.compartments,
                &p.desks,
                &p.unlisted,
                &p.return_of,
            ];
            pipeline.add(PARCELS, parameters).await?;
        }
        let c = &self.codes;
        if !c.parcels.is_empty() {
            let parameters: Vec<Parameter<'b>> = vec![gateway, &c.parcels, &c.sealed];
            pipeline.add(CODES, parameters).await?;
        }
        if !c.dead.is_empty() {
            pipeline.add(DEAD_CODES, vec![gateway, &c.dead]).await?;
        }
        let a = &self.about;
        if !a.parcels.is_empty() {
            let parameters: Vec<Parameter<'b>> = vec![gateway, &a.parcels];
            pipeline.add(ABOUT_PARCELS, parameters).await?;
            let parameters: Vec<Parameter<'b>> = vec![gateway, epoch, &a.parcels, &a.seqs];
            pipeline.add(ABOUT, parameters).await?;
        }
        let d = &self.demand;
        if !d.starts.is_empty() {
            let parameters: Vec<Parameter<'b>> = vec![
                gateway,
                &d.buildings,
                &d.starts,
                &d.minutes,
                &d.revisions,
                &d.bodies,
            ];
            pipeline.add(DEMAND, parameters).await?;
        }
        if let Some(body) = &self.health {
            pipeline.add(HEALTH, vec![gateway, body]).await?;
        }
        for head in &self.heads {
            let parameters: Vec<Parameter<'b>> =
                vec![gateway, epoch, &head.entries, &head.head, &head.at];
            pipeline.add(HEAD, parameters).await?;
        }
        Ok(())
    }
}

impl<'a> Parcels<'a> {
    fn add(&mut self, report: &'a ParcelReport) {
        self.ids.push(&report.parcel);
        self.states.push(report.state.word());
        self.since.push(report.since);
        self.banks.push(report.bank.as_ref().map(|id| id.as_str()));
        self.compartments.push(report.compartment.map(i32::from));
        self.desks.push(report.desk.as_ref().map(|id| id.as_str()));
        self.unlisted.push(report.unlisted);
        self.return_of.push(report.return_of.as_deref());
    }
}

impl<'a> Codes<'a> {
    fn add(&mut self, parcel: &'a str, code: Option<Vec<u8>>) {
        match code {
            Some(sealed) => {
                self.parcels.push(parcel);
                self.sealed.push(sealed);
            }
            None => self.dead.push(parcel),
        }
    }
}

impl<'a> About<'a> {
    fn add(&mut self, parcel: &'a str, seq: u64) {
        self.parcels.push(parcel);
        self.seqs.push(signed(seq));
    }
}
