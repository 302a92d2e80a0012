//! Couriers: they bring what is announced, make sure that it is registered, and take back what was
//! cancelled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use simulator::front::{Answer, Turn};
use simulator::{Bank, Random};
use tokio::time::sleep;

use crate::common::ident;
use crate::site::DESK;
use crate::staff::{self, fetch_by_hand};
use crate::town::{Town, Where, count};

/// The badge of the one courier's firm.
pub const BADGE: &str = "BADGE-OF-SOAK";
/// After so many refusals with a parcel inside that the books don't have there, the staff fetches it.
const REFUSED_MAX: u32 = 3;

/// Works at a bank until the town is closed.
pub async fn serve_bank(town: Arc<Town>, bank: Arc<Bank>, mut random: Random) {
    while !town.is_closed() {
        if let Some(parcel) = town.next_at(bank.id()) {
            town.later(&parcel, Duration::from_millis(random.between(500, 1_500)));
            bring(&town, &bank, &parcel, &mut random).await;
        } else if !town.cancelled_in(bank.id()).is_empty() {
            take_back(&town, &bank).await;
            sleep(Duration::from_millis(random.between(300, 900))).await;
        } else {
            if bank
                .compartments()
                .iter()
                .any(|compartment| compartment.open)
            {
                // Whoever is at it holds the front.
                let _turn = bank.turn().await;
                town.step_up(&bank).await;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Works at the desk until the town is closed.
pub async fn serve_desk(town: Arc<Town>, mut random: Random) {
    let desk = Arc::clone(&town.desk);
    while !town.is_closed() {
        let Some(parcel) = town.next_at(desk.id()) else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        town.later(&parcel, Duration::from_millis(random.between(500, 1_500)));
        let turn = desk.turn().await;
        if !matches!(turn.scan_badge(BADGE).await, Answer::Yes(_)) {
            continue;
        }
        town.gesture(desk.id(), Some(&parcel));
        let answer = turn.scan_waybill(&parcel).await;
        if answer.words().contains("has been collected")
            && staff::books_say(&town, &parcel) == "collected"
        {
            // Given out together with another one of the household's before it was on the shelf.
            town.moved(&parcel, Where::Home);
            count(&town.counts.handed_by_staff);
        }
        // A word that was meant for the badge doesn't count.
        if answer.words().contains("keep the parcel at the desk") {
            desk.put(&parcel);
            town.change(&parcel, |parcel| {
                parcel.at = Where::Shelf;
                parcel.confirmed = true;
            });
            count(&town.counts.brought);
        }
    }
}

/// Brings one parcel to its bank, or finds out whether it is registered.
async fn bring(town: &Town, bank: &Bank, id: &str, random: &mut Random) {
    let turn = bank.turn().await;
    town.step_up(bank).await;
    if matches!(turn.scan_badge(BADGE).await, Answer::Silence) {
        count(&town.counts.silences);
        return;
    }
    // Gone in the meantime, or cancelled.
    let parcel = town.parcel(id);
    let inside = match parcel.at {
        Where::Inside(_, number) => Some(number),
        Where::Van if !parcel.cancelled => None,
        _ => return,
    };
    town.gesture(bank.id(), Some(id));
    let answer = turn.scan_waybill(id).await;
    let door = match &answer {
        Answer::Opened(number) => Some(*number),
        Answer::Silence => town.look_on(bank).await,
        answer => {
            match inside {
                Some(number) => still_inside(town, bank, &turn, id, number, answer).await,
                None => not_taken(town, bank, &turn, id, answer).await,
            }
            None
        }
    };
    let Some(number) = door else {
        return;
    };
    if !display_says(bank, &format!("Compartment {number}: put the parcel in")).await {
        // It came open for somebody else.
        count(&town.counts.late_doors);
        turn.close(|| bank.close(number)).await;
        return;
    }
    match inside {
        None => put_in(town, bank, &turn, id, number, random).await,
        Some(at) if at == number => {
            let answer = turn.close(|| bank.close(number)).await;
            confirm(town, id, number, &answer);
        }
        Some(at) => {
            turn.close(|| bank.close(number)).await;
            fetch_by_hand(town, bank, &turn, id, at).await;
        }
    }
}

/// In front of the open compartment, with the parcel in the hands.
async fn put_in(
    town: &Town,
    bank: &Bank,
    turn: &Turn<'_>,
    id: &str,
    number: u16,
    random: &mut Random,
) {
    sleep(Duration::from_millis(random.between(30, 200))).await;
    let inside = bank.inside(number);
    let may_put = inside.iter().all(|other| town.same_recipient(other, id));
    let forgets = random.chance(3);
    let put = may_put && !forgets && bank.put(number, id);
    if put {
        town.change(id, |parcel| {
            parcel.at = Where::Inside(bank.id().clone(), number);
            parcel.confirmed = false;
        });
        count(&town.counts.brought);
    } else if !may_put {
        let what = format!(
            "{}/{number} opened for {id}, and {inside:?} of somebody else lies in it",
            bank.id()
        );
        town.fails(what);
    }
    let answer = turn.close(|| bank.close(number)).await;
    if put {
        confirm(town, id, number, &answer);
    }
}

/// The display says where a parcel is registered.
fn confirm(town: &Town, id: &str, number: u16, answer: &Answer) {
    if answer.words().contains("Stored in compartment") {
        let here = registered(answer.words()) == Some(number);
        if here {
            town.change(id, |parcel| parcel.confirmed = true);
        }
    }
}

/// The answer to a waybill whose parcel the courier has in his hands, and no door opened.
async fn not_taken(town: &Town, bank: &Bank, turn: &Turn<'_>, id: &str, answer: &Answer) {
    if answer.words().contains(DESK) {
        town.change(id, |parcel| parcel.goes_to = ident(DESK));
    } else if registered(answer.words()).is_some() {
        // The door was shut over another one of the household's: registered, and not put in.
        staff::put_in_by_hand(town, bank, turn, id).await;
    }
}

/// The answer to a waybill whose parcel lies inside already.
async fn still_inside(
    town: &Town,
    bank: &Bank,
    turn: &Turn<'_>,
    id: &str,
    number: u16,
    answer: &Answer,
) {
    confirm(town, id, number, answer);
    if town.parcel(id).confirmed || !matches!(answer, Answer::No(_)) {
        return;
    }
    let cancelled = answer.words().contains("is cancelled");
    town.change(id, |parcel| parcel.refused += 1);
    if cancelled || town.parcel(id).refused >= REFUSED_MAX {
        fetch_by_hand(town, bank, turn, id, number).await;
    }
}

/// Takes back what was cancelled: badge, then `0` for one compartment after the other.
async fn take_back(town: &Town, bank: &Bank) {
    let turn = bank.turn().await;
    town.step_up(bank).await;
    if matches!(turn.scan_badge(BADGE).await, Answer::Silence) {
        count(&town.counts.silences);
        return;
    }
    for _ in 0..4 {
        let list = town.cancelled_in(bank.id());
        if list.is_empty() {
            return;
        }
        town.gesture(bank.id(), None);
        let number = match turn.type_code("0").await {
            Answer::Opened(number) => number,
            Answer::Silence => match town.look_on(bank).await {
                Some(number) => number,
                None => return,
            },
            _ => return,
        };
        sleep(Duration::from_millis(100)).await;
        while let Some(taken) = bank.take(number, |inside| list.iter().any(|id| id == inside)) {
            town.took(&taken, "courier", bank.id(), number, Where::TakenBack);
            count(&town.counts.taken_back);
        }
        turn.close(|| bank.close(number)).await;
    }
}

/// Whether the display says this within a moment.
async fn display_says(bank: &Bank, words: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(1);
    loop {
        let shown = bank.display().shown();
        if shown.is_some_and(|(text, _)| text.contains(words)) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The number in 'Stored in compartment 7'.
fn registered(words: &str) -> Option<u16> {
    let (_, rest) = words.split_once("Stored in compartment ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
