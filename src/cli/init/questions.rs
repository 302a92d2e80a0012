//! The questions of the first set-up, but those about serial ports: what wasn't said on the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use firmware_protocols::Ident;

use super::answers::{Answers, Bank, Cloud, Desk, Device, Runs};
use super::dialogue::{agrees, ask, count, token, until_taken};
use super::short;
use crate::cli::stop::Stop;
use crate::cli::words::init as say;
use crate::cloud::CloudUrl;

/// The bank that stands there if nobody says otherwise.
const USUAL_BANK: &str = "8S 6M 2L";
/// MQTT's own port.
const MQTT_PORT: u16 = 1883;

/// The site's id.
pub fn site() -> Result<Ident, Stop> {
    ask(say::ASK_SITE, None, short::ident)
}

/// What stands where.
pub fn estate(answers: &mut Answers) -> Result<(), Stop> {
    if answers.buildings.is_empty() {
        buildings(answers)?;
    }
    if answers.banks.is_empty() {
        for n in 1..=count(say::ASK_BANKS, "1")? {
            bank(answers, n)?;
        }
    }
    if answers.desks.is_empty() {
        for n in 1..=count(say::ASK_DESKS, "0")? {
            desk(answers, n)?;
        }
    }
    if answers.devices.is_empty() {
        for n in 1..=count(say::ASK_DEVICES, "0")? {
            device(answers, n)?;
        }
    }
    Ok(())
}

fn buildings(answers: &mut Answers) -> Result<(), Stop> {
    let once = || {
        ask(say::ASK_BUILDINGS, Some("b1"), |typed| {
            let parts = typed.split([' ', ',']).filter(|part| !part.is_empty());
            let ids: Vec<Ident> = parts.map(short::ident).collect::<Result<_, _>>()?;
            match ids.is_empty() {
                true => Err(say::BUILDING_WANTED.to_string()),
                false => Ok(ids),
            }
        })
    };
    until_taken(once, |ids| {
        answers.buildings.clear();
        ids.into_iter().try_for_each(|id| answers.add_building(id))
    })
}

fn bank(answers: &mut Answers, n: usize) -> Result<(), Stop> {
    // bank-a to bank-z, then bank-27.
    let letter = u8::try_from(n)
        .ok()
        .filter(|n| *n <= 26)
        .map(|n| b'a' + n - 1);
    let usual = match letter {
        Some(letter) => format!("bank-{}", char::from(letter)),
        None => format!("bank-{n}"),
    };
    let (id, building, address) = placed(answers, &say::ask_bank(n), &usual)?;
    let runs: Runs = ask(&say::ask_runs(&id), Some(USUAL_BANK), str::parse)?;
    taken(answers.add_bank(Bank {
        id,
        building,
        address,
        runs,
    }))
}

fn desk(answers: &mut Answers, n: usize) -> Result<(), Stop> {
    let (id, building, address) = placed(answers, &say::ask_desk(n), &format!("desk-{n}"))?;
    taken(answers.add_desk(Desk {
        id,
        building,
        address,
    }))
}

fn device(answers: &mut Answers, n: usize) -> Result<(), Stop> {
    let id = fresh(answers, &say::ask_device(n), &format!("door-{n}"))?;
    let building = building(answers, &id)?;
    taken(answers.add_device(Device {
        id,
        building,
        point: None,
    }))
}

fn placed(answers: &Answers, question: &str, usual: &str) -> Result<(Ident, Ident, String), Stop> {
    let id = fresh(answers, question, usual)?;
    let building = building(answers, &id)?;
    let address = ask(&say::ask_where(&id), Some(""), short::place)?;
    Ok((id, building, address))
}

/// An id that nothing has yet.
pub fn fresh(answers: &Answers, question: &str, usual: &str) -> Result<Ident, Stop> {
    ask(question, Some(usual), |typed| {
        let id = short::ident(typed)?;
        answers.is_free(&id).map(|()| id)
    })
}

fn building(answers: &Answers, id: &Ident) -> Result<Ident, Stop> {
    match answers.buildings.as_slice() {
        [only] => Ok(only.clone()),
        all => {
            let first = all.first().map(Ident::as_str);
            ask(&say::ask_building(id), first, |typed| {
                let building = short::ident(typed)?;
                answers.is_building(&building).map(|()| building)
            })
        }
    }
}

/// Where it listens, and whether over TLS too.
pub fn network(listen: Option<SocketAddr>, mqtts: bool) -> Result<(SocketAddr, bool), Stop> {
    if let Some(listen) = listen {
        return Ok((listen, mqtts));
    }
    let listen = ask(say::ASK_LISTEN, Some("1"), |typed| match typed {
        "1" => Ok(here(Ipv4Addr::LOCALHOST)),
        "2" => Ok(here(Ipv4Addr::UNSPECIFIED)),
        typed => {
            let read: Option<SocketAddr> = typed.parse().ok();
            read.ok_or(say::LISTEN_WRONG)
        }
    })?;
    if mqtts || listen.ip().is_loopback() {
        return Ok((listen, mqtts));
    }
    Ok((listen, agrees(say::ASK_MQTTS, true)?))
}

/// This machine only.
pub const fn here(ip: Ipv4Addr) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(ip), MQTT_PORT)
}

/// The cloud, with its token if there is one; `token_file` is where the configuration finds it.
pub fn cloud(token_file: &str) -> Result<Option<Cloud>, Stop> {
    let url = ask(say::ASK_CLOUD, Some("none"), |typed| match typed {
        "none" => Ok(None),
        url => CloudUrl::new(url)
            .map(|_| Some(url.to_string()))
            .map_err(|e| e.to_string()),
    })?;
    let Some(url) = url else {
        return Ok(None);
    };
    let token = token()?.map(|token| (token, token_file.to_string()));
    Ok(Some(Cloud { url, token }))
}

/// What was checked before it came here.
pub fn taken(added: Result<(), String>) -> Result<(), Stop> {
    added.map_err(|why| Stop::new(crate::cli::stop::FAILED, why))
}
