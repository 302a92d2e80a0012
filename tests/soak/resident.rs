//! Residents: each waits for the notice, goes, types the code, takes what is theirs, closes the door.

use std::sync::Arc;
use std::time::Duration;

use simulator::front::Answer;
use simulator::{Bank, Random};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::site::DESK;
use crate::staff;
use crate::town::{Town, Where, count};

/// How many in a hundred leave before an answer comes, if it takes long.
const IMPATIENT_PERCENT: u64 = 40;

/// Fetches a parcel; returns when it is at home, is cancelled, or the town is closed.
pub async fn fetch(town: Arc<Town>, id: String, mut random: Random) {
    let delay = Duration::from_millis(random.between(0, 8_000));
    let code = loop {
        let parcel = town.parcel(&id);
        if town.is_closing() || parcel.at == Where::TakenBack {
            return;
        }
        if parcel.at != Where::Van
            && let Some(code) = town.code(&id)
        {
            break code;
        }
        sleep(Duration::from_millis(200)).await;
    };
    sleep(delay).await;
    if town.is_closing() {
        return;
    }
    while !town.is_closed() {
        let parcel = town.parcel(&id);
        match &parcel.at {
            Where::Home | Where::TakenBack => return,
            Where::Inside(bank, _) => {
                let bank = Arc::clone(&town.banks[bank]);
                at_bank(&town, &bank, &id, &code, &mut random).await;
            }
            Where::Shelf => at_desk(&town, &id, &code, &mut random).await,
            Where::Van => {}
        }
        if town.parcel(&id).cancelled {
            return;
        }
        sleep(Duration::from_millis(random.between(300, 2_000))).await;
    }
}

async fn at_bank(town: &Town, bank: &Bank, id: &str, code: &str, random: &mut Random) {
    let turn = bank.turn().await;
    if random.chance(80) {
        town.step_up(bank).await;
    }
    if town.parcel(id).at == Where::Home {
        return;
    }
    town.gesture(bank.id(), Some(id));
    if random.chance(2) {
        // A slip of the finger first.
        turn.type_code(&mistyped(code)).await;
        town.gesture(bank.id(), Some(id));
    }
    let number = match turn.type_code(code).await {
        Answer::Opened(number) => number,
        Answer::Silence if !random.chance(IMPATIENT_PERCENT) => match town.look_on(bank).await {
            Some(number) => number,
            None => return,
        },
        _ => return,
    };
    sleep(Duration::from_millis(random.between(30, 200))).await;
    let forgets = random.chance(3);
    let list = match forgets {
        true => Vec::new(),
        false => to_take(town, bank, id, number).await,
    };
    let mine = |inside: &str| list.iter().any(|id| id == inside);
    let taken: Vec<String> = std::iter::from_fn(|| bank.take(number, mine)).collect();
    for parcel in &taken {
        town.took(parcel, id, bank.id(), number, Where::Home);
        count(&town.counts.fetched);
    }
    if taken.is_empty() && !forgets {
        count(&town.counts.late_doors);
    }
    turn.close(|| bank.close(number)).await;
}

/// What one takes out of a compartment: what is one's own. If more than one parcel is, the display
/// says which; if it says nothing, nothing is taken.
async fn to_take(town: &Town, bank: &Bank, id: &str, number: u16) -> Vec<String> {
    let inside = bank.inside(number).into_iter();
    let mine: Vec<String> = inside.filter(|i| town.same_recipient(i, id)).collect();
    if mine.len() < 2 {
        return mine;
    }
    for _ in 0..50 {
        let shown = bank.display().shown().map(|(text, _)| text);
        let shown = shown.unwrap_or_default();
        if shown.contains(&format!("Compartment {number}: take your parcel")) {
            return mine;
        }
        if let Some((_, names)) = shown.split_once("you take only ") {
            return mine.into_iter().filter(|id| names.contains(id)).collect();
        }
        sleep(Duration::from_millis(10)).await;
    }
    Vec::new()
}

/// At the terminal, or by the staff's command line; the staff looks into the books if it isn't clear
/// whether the code was accepted.
async fn at_desk(town: &Town, id: &str, code: &str, random: &mut Random) {
    let turn = town.desk.turn().await;
    town.gesture(town.desk.id(), Some(id));
    let yes = match random.chance(50) {
        true => {
            let answer = turn.type_code(code).await;
            matches!(&answer, Answer::Yes(words) if words.contains("hand the parcel over"))
        }
        false => {
            let args = ["desk", "hand-over", "--desk", DESK];
            let input = format!("{code}\n");
            let said = block_in_place(|| town.site.linli_with(&args, &input));
            said.ok && said.out.contains(id)
        }
    };
    let yes = yes || {
        let collected = staff::books_say(town, id) == "collected";
        if collected {
            count(&town.counts.handed_by_staff);
        }
        collected
    };
    if yes && town.desk.take(id) {
        town.moved(id, Where::Home);
        count(&town.counts.fetched);
    }
}

/// The code with its last digit off by one.
fn mistyped(code: &str) -> String {
    let (rest, last) = code.split_at(code.len() - 1);
    let last: u32 = last.parse().unwrap();
    format!("{rest}{}", (last + 1) % 10)
}
