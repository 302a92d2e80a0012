//! Each parcel that was announced is in one state, and gateway, cloud and people agree on it.

use std::collections::BTreeMap;

use super::{Store, Wrong, first_few};
use crate::town::{Parcel, Town, Where};

/// A parcel as a store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    state: String,
    bank: Option<String>,
    compartment: Option<u16>,
    desk: Option<String>,
}

/// By state, how many parcels.
pub type States = BTreeMap<String, u64>;

pub fn check(gateway: &Store, cloud: &Store, town: &Town) -> (States, Wrong) {
    let here = of_gateway(gateway);
    let there = of_cloud(cloud);
    let parcels = town.parcels();
    let mut states = States::new();
    let mut wrong = Vec::new();
    for (id, parcel) in &parcels {
        let Some(known) = here.get(id) else {
            wrong.push(format!("{id} isn't known to the gateway"));
            continue;
        };
        *states.entry(known.state.clone()).or_default() += 1;
        if there.get(id) != Some(known) {
            let there = there.get(id);
            wrong.push(format!(
                "{id} is {known:?} at the gateway, {there:?} at the cloud"
            ));
        }
        if !fits(parcel, known) {
            let steps: Vec<String> = gateway.rows(
                &format!("SELECT step || ' ' || coalesce(detail, '') FROM trace WHERE parcel = '{id}' ORDER BY id LIMIT 20"),
                |row| row.get(0),
            );
            wrong.push(format!(
                "{id} is {known:?} at the gateway, really {parcel:?}; its history: {steps:#?}"
            ));
        }
    }
    let strange = here.keys().chain(there.keys());
    let strange = strange.filter(|id| !parcels.contains_key(*id));
    wrong.extend(strange.map(|id| format!("{id} was never announced")));
    (states, first_few("parcels", &wrong))
}

fn fits(parcel: &Parcel, known: &Known) -> bool {
    let state = known.state.as_str();
    let waits = matches!(state, "deposited" | "cancelled");
    match &parcel.at {
        Where::Van => match state {
            "expected" => true,
            "cancelled" => known.compartment.is_none() && parcel.cancelled,
            _ => false,
        },
        Where::Inside(bank, number) => {
            let place = (Some(bank.to_string()), Some(*number));
            waits && (known.bank.clone(), known.compartment) == place
        }
        Where::Shelf => waits && known.desk.is_some(),
        Where::Home if parcel.ended_by_staff => state == "retrieved",
        Where::Home => state == "collected",
        Where::TakenBack => state == "retrieved",
    }
}

/// With the state that the cloud is told, and the place only while it lies there.
fn of_gateway(gateway: &Store) -> BTreeMap<String, Known> {
    let sql = "SELECT parcel, stage, back, bank, compartment, desk FROM parcels";
    gateway.rows(sql, |row| {
        let (stage, back): (String, Option<String>) = (row.get(1)?, row.get(2)?);
        let lies = stage == "deposited";
        let state = match (stage.as_str(), back.as_deref()) {
            ("deposited", Some("cancelled")) => "cancelled",
            (stage, _) => stage,
        };
        Ok((
            row.get(0)?,
            Known {
                state: state.to_string(),
                bank: row.get::<_, Option<_>>(3)?.filter(|_| lies),
                compartment: row.get::<_, Option<_>>(4)?.filter(|_| lies),
                desk: row.get::<_, Option<_>>(5)?.filter(|_| lies),
            },
        ))
    })
}

fn of_cloud(cloud: &Store) -> BTreeMap<String, Known> {
    let sql = "SELECT parcel, state, bank, compartment, desk FROM parcel";
    cloud.rows(sql, |row| {
        let state: Option<String> = row.get(1)?;
        let state = state.unwrap_or_else(|| "announced".to_string());
        let lies = matches!(state.as_str(), "deposited" | "cancelled");
        Ok((
            row.get(0)?,
            Known {
                bank: row.get::<_, Option<_>>(2)?.filter(|_| lies),
                compartment: row.get::<_, Option<_>>(3)?.filter(|_| lies),
                desk: row.get::<_, Option<_>>(4)?.filter(|_| lies),
                state,
            },
        ))
    })
}
