//! The questions about the serial ports of this machine: what hangs on each. A scan helps, if wanted.

use std::path::Path;
use std::time::Duration;

use firmware_protocols::Ident;

use super::answers::{Answers, Board, Device, OnPort, Port, channels};
use super::dialogue::{ask, tell, until_taken};
use super::questions::{fresh, taken};
use super::short::{self, Spoken};
use crate::cli::stop::Stop;
use crate::cli::words::init as say;
use crate::cli::words::scan as words;
use crate::cli::words::serial;
use crate::config::serial::Protocol;
use crate::links::serial::list::{SerialFile, list};
use crate::links::serial::scan::{Outcome, Plan, Wanted, scan};

/// What is typed about a port.
enum Hangs {
    Nothing,
    Scan,
    Spoken(Protocol),
}

/// Asks about every port of this machine.
pub fn ports(answers: &mut Answers) -> Result<(), Stop> {
    let found = list(Path::new("/"));
    if found.is_empty() {
        tell(say::NO_PORTS);
    }
    for port in &found {
        one(answers, port)?;
    }
    Ok(())
}

fn one(answers: &mut Answers, file: &SerialFile) -> Result<(), Stop> {
    tell("");
    tell(&say::port_found(file.path(), &about(file)));
    let mut heard = Outcome::default();
    let protocol = loop {
        let usual = heard.found.first().map_or("none", |f| f.protocol.word());
        match ask(say::ASK_SPOKEN, Some(usual), hangs)? {
            Hangs::Nothing => return Ok(()),
            Hangs::Scan => heard = scanned(file.path())?,
            Hangs::Spoken(protocol) => break protocol,
        }
    };
    heard.found.retain(|found| found.protocol == protocol);
    let id = port_id(answers)?;
    let rate = heard.found.first().map(|found| found.rate.baud);
    let usual = rate.unwrap_or(protocol.default_baud()).to_string();
    let baud = ask(say::ASK_BAUD, Some(&usual), short::baud)?;
    taken(answers.add_port(Port {
        id: id.clone(),
        path: file.path().to_path_buf(),
        protocol,
        baud: Some(baud).filter(|baud| *baud != protocol.default_baud()),
    }))?;
    let addresses: Vec<u8> = heard.found.iter().map(|found| found.address).collect();
    match protocol {
        Protocol::Linli => controllers(answers, &id, &addresses),
        Protocol::Lines => typist(answers, &id),
        Protocol::Osdp => readers(answers, &id, &addresses),
        Protocol::Modbus => {
            tell(say::MODBUS_LATER);
            Ok(())
        }
        boards => boards_of(answers, &id, boards, &addresses),
    }
}

fn hangs(typed: &str) -> Result<Hangs, String> {
    match typed {
        "none" => Ok(Hangs::Nothing),
        "scan" => Ok(Hangs::Scan),
        word => {
            let spoken: Result<Spoken, String> = word.parse();
            spoken
                .map(|spoken| Hangs::Spoken(spoken.0))
                .map_err(|_| say::spoken_wrong())
        }
    }
}

fn about(file: &SerialFile) -> String {
    let mut parts = Vec::new();
    if file.path() != file.device {
        parts.push(file.device.display().to_string());
    }
    parts.extend(file.usb.as_ref().and_then(|usb| usb.name.clone()));
    if !file.used_by.is_empty() {
        parts.push(say::used_by(&file.used_by));
    }
    parts.join(", ")
}

/// What 'linli serial scan' would find. Ctrl-C ends it with everything.
fn scanned(path: &Path) -> Result<Outcome, Stop> {
    let plan = Plan::new(&Wanted {
        protocols: Vec::new(),
        bauds: Vec::new(),
        addresses: None,
        timeout: Duration::from_millis(60),
        listen: Duration::from_millis(1_500),
    });
    let port = crate::cli::serial::section(path, Protocol::Lines)?;
    let shown = path.display().to_string();
    tell(&words::begins(
        &shown,
        plan.requests(),
        plan.listen,
        plan.longest(),
    ));
    let mut outcome = Outcome::default();
    let ended =
        crate::cli::serial::runtime()?.block_on(scan(&port, &plan, &mut outcome, |progress| {
            tell(&words::progress(&progress))
        }));
    if let Err(fault) = &ended {
        tell(&serial::cannot_open(&shown, fault, "serial", 0));
    }
    for remark in words::remarks(&outcome) {
        tell(&remark);
    }
    Ok(outcome)
}

fn port_id(answers: &Answers) -> Result<Ident, Stop> {
    let usual = format!("port-{}", answers.ports.len() + 1);
    ask(say::ASK_PORT, Some(&usual), |typed| {
        let id = short::ident(typed)?;
        match answers.ports.iter().any(|port| port.id == id) {
            true => Err(say::twice("port", &id)),
            false => Ok(id),
        }
    })
}

/// The boards of banks.
fn boards_of(
    answers: &mut Answers,
    port: &Ident,
    protocol: Protocol,
    found: &[u8],
) -> Result<(), Stop> {
    let mut found = found.to_vec();
    for first in std::iter::once(true).chain(std::iter::repeat(false)) {
        let over_mqtt = answers.over_mqtt().into_iter();
        let free: Vec<Ident> = over_mqtt
            .filter(|id| answers.bank(id).is_ok())
            .cloned()
            .collect();
        if free.is_empty() {
            if first {
                tell(say::NO_POINT);
            }
            return Ok(());
        }
        let Some(bank) = one_of(say::ASK_BOARDS_OF, &free, first)? else {
            return Ok(());
        };
        while !boards_of_bank(answers, &bank, port, protocol, &found)? {
            tell(&say::left_over(&bank));
            answers.boards.retain(|board| board.bank != bank);
        }
        let used = |address: &u8| {
            let mut on = answers.boards.iter();
            on.any(|board| board.port == *port && board.address == *address)
        };
        found.retain(|address| !used(address));
    }
    Ok(())
}

/// The boards of one bank; says whether they open all of it.
fn boards_of_bank(
    answers: &mut Answers,
    bank: &Ident,
    port: &Ident,
    protocol: Protocol,
    found: &[u8],
) -> Result<bool, Stop> {
    let most = channels(protocol).unwrap_or(1);
    let count = answers.bank(bank).map_or(1, |bank| bank.runs.count());
    let usual: Vec<String> = match found.is_empty() {
        true => (0..count.div_ceil(most)).map(|n| n.to_string()).collect(),
        false => found.iter().map(u8::to_string).collect(),
    };
    let at = ask(say::ASK_BOARDS_AT, Some(&usual.join(" ")), addresses)?;
    let mut next = 1_u16;
    for (index, address) in at.iter().enumerate() {
        if next > count {
            break;
        }
        let rest = count - (next - 1);
        let boards = u16::try_from(at.len() - index).unwrap_or(u16::MAX);
        let share = match protocol {
            // Nobody knows how many locks such a board has.
            Protocol::Wkly => rest.div_ceil(boards),
            _ => rest.min(most),
        };
        let usual = format!("{next}-{}", next + share - 1);
        let once = || ask(&say::ask_board(*address), Some(&usual), short::range);
        until_taken(once, |compartments| {
            answers.add_board(Board {
                bank: bank.clone(),
                port: port.clone(),
                address: *address,
                compartments,
            })?;
            next = compartments[1].saturating_add(1);
            Ok(())
        })?;
    }
    Ok(all_opened(answers, bank, count))
}

fn all_opened(answers: &Answers, bank: &Ident, count: u16) -> bool {
    let boards = answers.boards.iter().filter(|board| board.bank == *bank);
    let opened: u16 = boards
        .map(|board| board.compartments[1] - board.compartments[0] + 1)
        .sum();
    opened == count
}

/// Controllers with firmware of ours.
fn controllers(answers: &mut Answers, port: &Ident, found: &[u8]) -> Result<(), Stop> {
    let mut next = found.first().copied().unwrap_or(1);
    let mut first = true;
    loop {
        let free: Vec<Ident> = answers.over_mqtt().into_iter().cloned().collect();
        if free.is_empty() {
            return Ok(());
        }
        let Some(device) = one_of(say::ASK_CONTROLLER, &free, first)? else {
            return Ok(());
        };
        first = false;
        let usual = next.to_string();
        until_taken(
            || ask(say::ASK_ADDRESS, Some(&usual), address),
            |address| {
                next = address.saturating_add(1);
                answers.add_on_port(OnPort {
                    device: device.clone(),
                    port: port.clone(),
                    address: Some(address),
                    what: None,
                })
            },
        )?;
    }
}

/// A scanner or keypad that types lines.
fn typist(answers: &mut Answers, port: &Ident) -> Result<(), Stop> {
    let points: Vec<Ident> = answers.points().cloned().collect();
    let Some(first) = points.first() else {
        tell(say::NO_POINT);
        return Ok(());
    };
    let id = fresh(answers, say::ASK_TYPIST, "scanner-1")?;
    let point = ask(say::ASK_POINT, Some(first.as_str()), |typed| {
        let point = short::ident(typed)?;
        answers.is_point(&point).map(|()| point)
    })?;
    at_point(answers, &id, point)?;
    until_taken(
        || {
            ask(say::ASK_MEANING, Some("scan"), |typed| {
                Ok::<_, String>(typed.to_string())
            })
        },
        |what| {
            answers.add_on_port(OnPort {
                device: id.clone(),
                port: port.clone(),
                address: None,
                what: Some(what),
            })
        },
    )
}

/// OSDP readers and keypads.
fn readers(answers: &mut Answers, port: &Ident, found: &[u8]) -> Result<(), Stop> {
    let mut left: Vec<u8> = found.to_vec();
    left.reverse();
    let mut next = left.pop().unwrap_or(0);
    for n in 1_u32.. {
        let usual = format!("reader-{n}");
        let usual = if n == 1 || !left.is_empty() {
            usual.as_str()
        } else {
            "none"
        };
        let id = ask(say::ASK_READER, Some(usual), |typed| match typed {
            "none" => Ok(None),
            typed => {
                let id = short::ident(typed)?;
                answers.is_free(&id).map(|()| Some(id))
            }
        })?;
        let Some(id) = id else {
            return Ok(());
        };
        let place = ask(say::ASK_DOOR, Some(id.as_str()), short::ident)?;
        let door = match answers.is_point(&place) {
            Ok(()) => {
                at_point(answers, &id, place)?;
                None
            }
            Err(_) => {
                let building = answers.buildings.first().cloned();
                let building = building.unwrap_or_else(|| id.clone());
                taken(answers.add_device(Device {
                    id: id.clone(),
                    building,
                    point: None,
                }))?;
                Some(place.to_string())
            }
        };
        let usual = next.to_string();
        until_taken(
            || ask(say::ASK_ADDRESS, Some(&usual), address),
            |address| {
                next = left.pop().unwrap_or(address.saturating_add(1));
                answers.add_on_port(OnPort {
                    device: id.clone(),
                    port: port.clone(),
                    address: Some(address),
                    what: door.clone(),
                })
            },
        )?;
    }
    Ok(())
}

fn at_point(answers: &mut Answers, id: &Ident, point: Ident) -> Result<(), Stop> {
    let building = answers.building_of(&point).cloned();
    let building = building.unwrap_or_else(|| point.clone());
    taken(answers.add_device(Device {
        id: id.clone(),
        building,
        point: Some(point),
    }))
}

fn one_of(question: &str, ids: &[Ident], wanted: bool) -> Result<Option<Ident>, Stop> {
    let usual = ids.first().filter(|_| wanted).map_or("none", Ident::as_str);
    ask(question, Some(usual), |typed| match typed {
        "none" => Ok(None),
        typed => {
            let id = short::ident(typed)?;
            match ids.contains(&id) {
                true => Ok(Some(id)),
                false => Err(say::unknown("such device", &id, ids.iter())),
            }
        }
    })
}

fn address(typed: &str) -> Result<u8, &'static str> {
    typed.parse().map_err(|_| say::ADDRESSES_WRONG)
}

fn addresses(typed: &str) -> Result<Vec<u8>, &'static str> {
    let parts = typed.split([' ', ',']).filter(|part| !part.is_empty());
    let all: Vec<u8> = parts.map(address).collect::<Result<_, _>>()?;
    let mut seen = std::collections::BTreeSet::new();
    match !all.is_empty() && all.iter().all(|address| seen.insert(*address)) {
        true => Ok(all),
        false => Err(say::ADDRESSES_WRONG),
    }
}
