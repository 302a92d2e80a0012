//! Relay boards as locks: the flash, and who confirms it.

use firmware_protocols::event::Door;

use super::*;

/// A bank of one board at address 5 with four locks; `relay` is more of its settings.
pub(super) fn bank(relay: &str) -> Vec<BankPlan> {
    let board = format!(
        "port = 'climate'\naddress = 5\ncompartments = [1, 4]\nrelay = {{ flash_address = 0x200, flash_time = 7, {relay} }}"
    );
    vec![BankPlan {
        id: Ident::new("bank-a").unwrap(),
        boot: 1,
        compartments: 4,
        boards: vec![toml::from_str(&board).unwrap()],
    }]
}

/// The flash of compartment 2.
const FLASH: [u8; 6] = [5, 5, 2, 1, 0, 7];

const OPEN_2: Order = Order::Open { compartment: 2 };

fn doors(bed: &Bed) -> Vec<(u16, Door)> {
    let events = bed.heard.events.lock().unwrap();
    let doors = events.iter().filter_map(|(_, kind)| match kind {
        Kind::Compartment {
            compartment, door, ..
        } => Some((*compartment, *door)),
        _ => None,
    });
    doors.collect()
}

fn flashes(bed: &Bed) -> usize {
    let requests = bed.requests();
    let writes = requests.iter().filter(|it| !(1..=4).contains(&it[1]));
    writes.inspect(|it| assert_eq!(**it, FLASH)).count()
}

#[tokio::test]
async fn the_contact_confirms_whatever_the_board_replies() {
    for reply in ["the request again", "nothing", "something else"] {
        let open = Arc::new(Mutex::new(false));
        let door = Arc::clone(&open);
        let bed = Bed::with_banks(
            &[("cellar", CLIMATE)],
            bank("contact_address = 8"),
            move |r| match (r[0], r[1]) {
                (1, _) => words(r, &[1, 2]),
                (_, 2) => {
                    assert_eq!(r, [5, 2, 0, 8, 0, 4]);
                    bits(
                        r,
                        if *door.lock().unwrap() {
                            0b1101
                        } else {
                            0b1111
                        },
                    )
                }
                _ => {
                    *door.lock().unwrap() = true;
                    match reply {
                        "the request again" => with_sum(r),
                        "nothing" => Vec::new(),
                        _ => with_sum(&[5, 5, 2, 1, 0xff, 0]),
                    }
                }
            },
        )
        .await;
        until("all doors", || (doors(&bed).len() == 4).then_some(())).await;
        bed.command("bank-a", "o-1", OPEN_2).await;
        let result = bed.result("o-1").await;
        assert_eq!(result, (Done::Done, String::new()), "{reply}");
        assert_eq!(doors(&bed)[4..], [(2, Door::Open)]);
        *open.lock().unwrap() = false;
        until("the closed door", || (doors(&bed).len() == 6).then_some(())).await;
        assert_eq!(flashes(&bed), 1, "{reply}: once");
        let heard = bed.stop().await;
        assert_eq!(*heard.sent.lock().unwrap(), ["o-1"]);
    }
}

#[tokio::test]
async fn a_refusal_is_the_result_with_its_remedy() {
    let bed = Bed::with_banks(&[], bank("contact_address = 8"), |r| match r[1] {
        2 => bits(r, 0b1111),
        _ => refusal(r, 2),
    })
    .await;
    bed.command("bank-a", "o-1", OPEN_2).await;
    let (outcome, reason) = bed.result("o-1").await;
    assert_eq!(outcome, Done::Failed);
    assert!(
        reason.starts_with("relay.flash_address: the device has no such address"),
        "{reason}"
    );
    bed.stop().await;
}

#[tokio::test]
async fn without_contacts_the_boards_word_must_do_and_silence_is_not_known() {
    let answers = Arc::new(Mutex::new(true));
    let board = Arc::clone(&answers);
    let bed = Bed::with_banks(&[], bank(""), move |r| match r[1] {
        1 => refusal(r, 2),
        _ if *board.lock().unwrap() => with_sum(r),
        _ => Vec::new(),
    })
    .await;
    until("the board", || {
        (bed.slave("bank-a").answers == Some(true)).then_some(())
    })
    .await;
    let note = bed.slave("bank-a").note.unwrap();
    assert!(note.starts_with("no relay.contact_address"), "{note}");
    bed.command("bank-a", "o-1", OPEN_2).await;
    assert_eq!(bed.result("o-1").await, (Done::Done, String::new()));
    *answers.lock().unwrap() = false;
    bed.command("bank-a", "o-2", OPEN_2).await;
    let (outcome, reason) = bed.result("o-2").await;
    assert_eq!(outcome, Done::Failed);
    assert!(
        reason.contains("it isn't known whether it opened"),
        "{reason}"
    );
    assert_eq!(flashes(&bed), 2, "once for each command");
    assert!(
        doors(&bed).is_empty(),
        "no door was seen: {:?}",
        doors(&bed)
    );
    bed.stop().await;
}

#[tokio::test]
async fn an_echo_is_no_answer_of_a_board() {
    // The adapter hears itself, and the board is dead.
    let bed = Bed::with_banks(&[], bank(""), with_sum).await;
    bed.command("bank-a", "o-1", OPEN_2).await;
    let (outcome, reason) = bed.result("o-1").await;
    assert_eq!(outcome, Done::Failed, "{reason}");
    assert_eq!(bed.slave("bank-a").answered, 0);
    assert_eq!(bed.status.view().echo, Some(true));
    assert_eq!(flashes(&bed), 1);
    bed.stop().await;
}

#[tokio::test]
async fn a_command_comes_before_the_polls_that_are_due() {
    // Eight sensors that never answer are always due; a command waits for one of them at most.
    let devices: Vec<(String, String)> = (20..28)
        .map(|n| {
            (
                format!("dead-{n}"),
                CLIMATE.replace("address = 1\n", &format!("address = {n}\n")),
            )
        })
        .collect();
    let devices: Vec<_> = devices
        .iter()
        .map(|(id, on)| (id.as_str(), on.as_str()))
        .collect();
    let bed = Bed::with_banks(&devices, bank("contact_address = 8"), |r| match r[0] {
        5 if r[1] == 2 => bits(r, 0b1101),
        5 => with_sum(r),
        _ => Vec::new(),
    })
    .await;
    let asked = bed.requests().len();
    bed.command("bank-a", "o-1", OPEN_2).await;
    assert_eq!(bed.result("o-1").await.0, Done::Done);
    let requests = bed.requests();
    let flash = requests.iter().position(|it| *it == FLASH).unwrap();
    assert!(flash <= asked + 1, "{flash} after {asked}");
    bed.stop().await;
}

#[tokio::test]
async fn a_board_that_is_gone_makes_its_doors_unknown() {
    let answers = Arc::new(Mutex::new(true));
    let board = Arc::clone(&answers);
    let bed = Bed::with_banks(&[], bank("contact_address = 8"), move |r| {
        match *board.lock().unwrap() {
            true => bits(r, 0b1111),
            false => Vec::new(),
        }
    })
    .await;
    until("all doors", || (doors(&bed).len() == 4).then_some(())).await;
    *answers.lock().unwrap() = false;
    until("no doors", || (doors(&bed).len() == 8).then_some(())).await;
    assert!(
        doors(&bed)[4..]
            .iter()
            .all(|(_, door)| *door == Door::Unknown)
    );
    assert_eq!(bed.slave("bank-a").answers, Some(false));
    let heard = bed.stop().await;
    let presence = heard.presence.lock().unwrap();
    let online: Vec<bool> = presence.iter().map(|(_, online)| *online).collect();
    assert_eq!(online, [true, false]);
}
