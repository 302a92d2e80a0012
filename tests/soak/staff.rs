//! The staff, who put right what nobody else can: what lies where the books don't have it, and what
//! the books have where nothing lies.

use std::sync::Arc;
use std::time::Duration;

use simulator::Bank;
use simulator::front::Turn;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::common::ident;
use crate::town::{Town, Where, count};

/// How often the staff looks at the status.
const LOOK: Duration = Duration::from_secs(2);

/// Looks after what the status names, until the town is closed: a bank that was cut off gave a parcel
/// out that had been cancelled meanwhile, so the books have it where the sensor sees nothing.
pub async fn look_after(town: Arc<Town>) {
    while !town.is_closed() {
        sleep(LOOK).await;
        let said = block_in_place(|| town.site.linli(&["status", "--json"]));
        let status: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
        let troubles = status["troubles"].as_array().cloned().unwrap_or_default();
        for trouble in troubles {
            if trouble["trouble"] != "parcels-not-seen" {
                continue;
            }
            for lacking in trouble["compartments"].as_array().into_iter().flatten() {
                let slot = lacking["slot"].as_str().unwrap_or_default();
                for parcel in lacking["parcels"].as_array().into_iter().flatten() {
                    end(&town, slot, parcel.as_str().unwrap_or_default()).await;
                }
            }
        }
    }
}

/// Ends a cancelled parcel that isn't there any more.
async fn end(town: &Town, slot: &str, id: &str) {
    let Some((bank, number)) = slot.split_once('/') else {
        return;
    };
    let (bank, number) = (&town.banks[&ident(bank)], number.parse().unwrap());
    let turn = bank.turn().await;
    let parcel = town.parcel(id);
    if !(parcel.cancelled && parcel.at == Where::Home) {
        return;
    }
    town.gesture(bank.id(), None);
    let said = block_in_place(|| town.site.linli(&["desk", "retrieve", id]));
    if said.ok {
        println!("  {slot}: the staff ends {id}, which a bank on its own had given out");
        count(&town.counts.ended_by_staff);
        town.change(id, |parcel| parcel.ended_by_staff = true);
        turn.close(|| bank.close(number)).await;
    }
}

/// The books don't have a parcel where it lies: the staff opens the compartment and gives it back.
pub async fn fetch_by_hand(town: &Town, bank: &Bank, turn: &Turn<'_>, id: &str, number: u16) {
    let slot = format!("{}/{number}", bank.id());
    let said = block_in_place(|| {
        let reason = format!("{id} isn't registered there");
        town.site.linli(&["open", &slot, "--reason", &reason])
    });
    if !said.ok {
        return;
    }
    count(&town.counts.by_hand);
    if let Some(taken) = bank.take(number, |inside| inside == id) {
        count(&town.counts.mislaid);
        println!("  {slot}: the staff fetches {taken}, which isn't registered there");
        town.moved(&taken, Where::Van);
        town.change(&taken, |parcel| parcel.refused = 0);
    }
    turn.close(|| bank.close(number)).await;
}

/// The state that the books have a parcel in; empty if they can't be read now.
pub fn books_say(town: &Town, id: &str) -> String {
    let said = block_in_place(|| town.site.linli(&["parcel", id, "--json"]));
    let view: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
    view["state"].as_str().unwrap_or_default().to_string()
}

/// The books have a parcel in a compartment, and the courier still has it in his hands: the staff
/// opens the compartment, and it is put in.
pub async fn put_in_by_hand(town: &Town, bank: &Bank, turn: &Turn<'_>, id: &str) {
    let said = block_in_place(|| town.site.linli(&["parcel", id, "--json"]));
    let view: serde_json::Value = serde_json::from_str(&said.out).unwrap_or_default();
    let number = view["compartment"]
        .as_u64()
        .and_then(|n| u16::try_from(n).ok());
    let Some(number) = number.filter(|_| view["state"] == "deposited") else {
        return;
    };
    let slot = format!("{}/{number}", bank.id());
    let reason = format!("{id} is registered and wasn't put in");
    let said = block_in_place(|| town.site.linli(&["open", &slot, "--reason", &reason]));
    if !said.ok {
        return;
    }
    count(&town.counts.by_hand);
    if bank.put(number, id) {
        println!("  {slot}: {id} is put in by hand");
        town.change(id, |parcel| {
            parcel.at = Where::Inside(bank.id().clone(), number);
            parcel.confirmed = true;
        });
        count(&town.counts.brought);
    }
    turn.close(|| bank.close(number)).await;
}
