//! The operator's cloud and who orders there: parcels are announced, some are cancelled again, and the
//! codes reach the residents' phones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud_protocol::downlink::{Downlink, ExpectedParcel, Size, Zone};
use simulator::Random;
use tokio::time::sleep;

use crate::common::ident;
use crate::site::{BANKS, DESK, site};
use crate::town::{Parcel, Town, Where};

/// A time far ahead.
pub const NEXT_CENTURY_MS: i64 = 4_000_000_000_000;
/// What lies or is under way at most; then nothing new is announced.
const UNDER_WAY_MAX: usize = 24;

/// The cloud announces parcels, `pause` apart, and cancels some of them; residents set out.
pub async fn announce(town: Arc<Town>, pause: Duration, mut random: Random) {
    let mut people = tokio::task::JoinSet::new();
    let mut number = 0;
    while !town.is_closing() {
        sleep(pause).await;
        while people.try_join_next().is_some() {}
        if town.under_way() >= UNDER_WAY_MAX {
            continue;
        }
        number += 1;
        let expected = make_parcel(&town, number, &mut random);
        let id = expected.parcel.clone();
        town.site.cloud.announce(&site(), &expected).await.unwrap();
        let parcel = Parcel {
            goes_to: expected.point.clone(),
            expected,
            at: Where::Van,
            confirmed: false,
            cancelled: false,
            ended_by_staff: false,
            refused: 0,
            not_before: Instant::now(),
        };
        town.announced(parcel);
        if random.chance(6) {
            let after = Duration::from_millis(random.between(300, 6_000));
            people.spawn(cancel(Arc::clone(&town), id.clone(), after));
        }
        people.spawn(crate::resident::fetch(
            Arc::clone(&town),
            id.clone(),
            random.fork(&id),
        ));
    }
    while people.join_next().await.is_some() {}
}

/// One in five is for the recipient of the parcel before; they may share a compartment.
fn make_parcel(town: &Town, number: u32, random: &mut Random) -> ExpectedParcel {
    let before = town.last_announced();
    let shares = before.filter(|b| random.chance(20) && b.point != ident(DESK));
    let point = match random.below(10) {
        0 => DESK,
        n => BANKS[usize::try_from(n).unwrap() % BANKS.len()],
    };
    let (point, recipient) = match shares {
        Some(before) => (before.point, before.recipient),
        None => (ident(point), format!("household-{number}")),
    };
    ExpectedParcel {
        parcel: format!("P-{number:05}"),
        recipient,
        size: if random.chance(25) { Size::L } else { Size::S },
        zone: Zone::Ambient,
        point,
        deadline: NEXT_CENTURY_MS,
        consent: true,
        items: None,
        low: false,
        return_of: None,
    }
}

/// Whoever orders it changes his mind, before or after the deposit.
async fn cancel(town: Arc<Town>, id: String, after: Duration) {
    sleep(after).await;
    if town.is_closing() || matches!(town.parcel(&id).at, Where::Home | Where::Shelf) {
        return;
    }
    let what = Downlink::ParcelCancelled { parcel: id.clone() };
    town.change(&id, |parcel| parcel.cancelled = true);
    town.site.cloud.push(&site(), &what).await.unwrap();
}

/// The operator's messages reach the residents' phones.
pub async fn carry_post(town: Arc<Town>) {
    while !town.is_closed() {
        let codes = town.site.cloud.codes(&site()).await.unwrap();
        let codes = codes.into_iter();
        let codes: BTreeMap<String, String> = codes
            .map(|(parcel, code)| (parcel, code.reveal().to_string()))
            .collect();
        town.told(codes);
        sleep(Duration::from_millis(300)).await;
    }
}
