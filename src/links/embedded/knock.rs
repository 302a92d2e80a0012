//! Why a client wasn't let in, as exactly as the technician needs it. The client itself is told less:
//! only the code of its [`Refusal`].

use std::net::IpAddr;

use firmware_protocols::Ident;

use super::Shared;
use super::admission::mapped_client;
use super::answers::Refusal;
use super::connect::Connect;
use crate::knocks::{Knock, why};

/// Notes a client that showed its CONNECT and was refused.
pub(super) fn note(shared: &Shared, connect: &Connect, from: IpAddr, refusal: Refusal) {
    shared.knocks.note(Knock {
        client_id: connect.client_id.clone(),
        username: connect.username.clone(),
        from: Some(from),
        why: reason(shared, connect, from, refusal),
    });
}

/// Notes a client whose first packet couldn't be read.
pub(super) fn note_unread(shared: &Shared, from: IpAddr, why: &'static str) {
    shared.knocks.note(Knock {
        client_id: String::new(),
        username: None,
        from: Some(from),
        why,
    });
}

/// The word for a refusal that has only one meaning.
pub(super) const fn word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Version => why::VERSION,
        Refusal::Malformed => why::MALFORMED,
        Refusal::ClientId => why::CLIENT_ID,
        Refusal::Login => why::WRONG_PASSWORD,
        Refusal::Certificate => why::CERTIFICATE_OF_ANOTHER,
        Refusal::WillTopic => why::WILL_TOPIC,
        Refusal::WillPayload => why::WILL_PAYLOAD,
        Refusal::WillQos => why::WILL_QOS,
        Refusal::AuthMethod => why::AUTH_METHOD,
        Refusal::Throttled => why::THROTTLED,
        Refusal::Unavailable => why::NO_ROOM,
    }
}

fn reason(shared: &Shared, connect: &Connect, from: IpAddr, refusal: Refusal) -> &'static str {
    if refusal != Refusal::Login {
        return word(refusal);
    }
    let admitted = shared.clients.now();
    let mapped = mapped_client(&admitted, connect);
    let Some(id) = mapped
        .clone()
        .or_else(|| Ident::new(&connect.client_id).ok())
    else {
        return why::CLIENT_ID;
    };
    if !admitted.has(&id) {
        return why::UNKNOWN;
    }
    if mapped.is_none() && connect.username.as_deref() != Some(id.as_str()) {
        let nothing = connect.username.is_none() && connect.password.is_none();
        return if nothing {
            why::NO_PASSWORD
        } else {
            why::USER_NAME
        };
    }
    if connect.password.as_ref().is_none_or(Vec::is_empty) {
        return why::NO_PASSWORD;
    }
    if let Some(objection) = shared
        .pairing
        .objection(connect, &id, from, mapped.is_some())
    {
        return objection;
    }
    if shared.credentials.has_password(&id) {
        return why::WRONG_PASSWORD;
    }
    why::NONE_STORED
}

/// What a client that says something else than MQTT says, by its first byte.
pub(super) const fn first_byte(byte: u8) -> &'static str {
    match byte {
        // A TLS record with a handshake in it.
        0x16 => why::TLS_ON_PLAIN,
        // A CONNECT that broke off, or is longer than any that is taken.
        0x10 => why::MALFORMED,
        _ => why::NOT_MQTT,
    }
}
