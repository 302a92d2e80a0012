//! What linli says about the estate's certificate authority.

use std::fmt::Display;
use std::path::Path;

use firmware_protocols::Ident;

use super::count;
use crate::ca::Facts;
use crate::cli::look::Look;

/// No device has a certificate.
pub const NONE_ISSUED: &str =
    "No device was given a certificate. To make one: linli ca issue ID --out FOLDER";

/// The authority was made, or is there.
pub fn made(authority: &Facts, made: bool, listens: bool) -> String {
    let what = match made {
        true => "The estate's CA was made",
        false => "The estate's CA is there already; nothing was changed",
    };
    let next = match listens {
        true => "",
        false => {
            "\nNo listener uses it yet: add to the configuration\n\n  [broker.tls]\n  listen = \"0.0.0.0:8883\"\n"
        }
    };
    format!(
        "{what}: {}\nSHA-256 {}\n\nIts key is in the state folder: include that in the backup, since nobody can make another like it.\nGive devices its certificate: linli ca export FILE\n{next}",
        authority.subject, authority.sha256
    )
}

/// The authority, this box's certificate, and how many devices have which.
pub fn shown(
    look: &Look,
    authority: &Facts,
    server: Option<&Facts>,
    from: Option<&Path>,
    [hold, revoked, ended]: [usize; 3],
) -> String {
    let mut text = format!(
        "CA        {}\n          SHA-256 {}\n          good until {}\n",
        authority.subject,
        authority.sha256,
        day(look, authority.not_after_ms)
    );
    match server {
        Some(server) => {
            let renewed = match from {
                None => "; the daemon renews it in time".to_owned(),
                Some(file) => format!("; from {}, which you renew", file.display()),
            };
            text.push_str(&format!(
                "This box  {}\n          SHA-256 {}\n          good until {}{renewed}\n",
                server.names.join(", "),
                server.sha256,
                day(look, server.not_after_ms)
            ));
        }
        None => text.push_str(
            "This box  has no certificate yet: the daemon makes it when [broker.tls] stands in the configuration\n",
        ),
    }
    text.push_str(&format!(
        "Devices   {} good, {revoked} revoked, {ended} ended (linli ca list)\n",
        count(hold as u64, "certificate", "certificates")
    ));
    text
}

/// The authority's certificate is in a file.
pub fn exported(file: &Path, authority: &Facts) -> String {
    format!(
        "{} holds the CA's certificate, which is no secret. Put it into devices: by it they know this box.\nSHA-256 {}\nTo try it: mosquitto_pub --cafile {} -h NAME -p 8883 …\n",
        file.display(),
        authority.sha256,
        file.display()
    )
}

/// A device's certificate was made.
pub fn given_out(
    look: &Look,
    id: &Ident,
    certificate: &Path,
    key: Option<&Path>,
    facts: &Facts,
    others: &[&str],
) -> String {
    let mut text = format!(
        "{} is the certificate of {id}, good until {}.\n",
        certificate.display(),
        day(look, facts.not_after_ms)
    );
    if let Some(key) = key {
        text.push_str(&format!(
            "{} is its key, which is nowhere else: move both into the device, and remove the key here.\n",
            key.display()
        ));
    }
    text.push_str(&format!(
        "With it the device logs in over TLS with {id} as its client id, and without a password.\n"
    ));
    for other in others {
        text.push_str(&format!(
            "Another certificate of {id} is good too. When the device has the new one: linli ca revoke --serial {other}\n"
        ));
    }
    text
}

/// Certificates were revoked.
pub fn revoked(whose: Option<&Ident>, how_many: usize) -> String {
    let whose = match whose {
        Some(id) => format!(" of {id}"),
        None => String::new(),
    };
    format!(
        "{}{whose} revoked. Whoever is connected with it is cut off within seconds, and isn't let in again.\n",
        count(how_many as u64, "certificate", "certificates")
    )
}

/// A device without a certificate that could be revoked.
pub fn has_none(id: &Ident) -> String {
    format!(
        "{id} has no certificate that is good. See linli ca list; one that isn't on it can be revoked by --serial"
    )
}

/// A serial number that can't be revoked.
pub fn no_such_serial(serial: &str) -> String {
    format!(
        "'{serial}' isn't the serial number of a certificate, or that was revoked already: see linli ca list"
    )
}

/// A request for something that isn't a device's id.
pub fn not_an_id(file: &Path, subject: &str) -> String {
    format!(
        "{} asks for '{subject}', which is no device's id. Make it with the id as its common name: openssl req -new … -subj /CN=ID",
        file.display()
    )
}

/// A file that is there already.
pub fn in_the_way(file: &Path) -> String {
    format!(
        "{} is there already: remove it, or choose another place",
        file.display()
    )
}

/// The state folder is the daemon's.
pub fn not_yours(path: &Path) -> String {
    format!(
        "{} belongs to the daemon's user and to nobody else: use sudo",
        path.display()
    )
}

/// A file that can't be read.
pub fn cannot_read(path: &Path, why: &dyn Display) -> String {
    format!("{} can't be read: {why}", path.display())
}

/// A file that can't be written.
pub fn cannot_write(path: &Path, why: &dyn Display) -> String {
    format!(
        "{} can't be written: {why}. Choose a folder that you may write in (--out)",
        path.display()
    )
}

/// A day, as long as anybody has to count in days.
pub fn day(look: &Look, at_ms: i64) -> String {
    match at_ms {
        i64::MAX => "?".to_owned(),
        _ => look.date_time(at_ms).chars().take(10).collect(),
    }
}

/// Why somebody came to nothing over TLS, and what to do; by the word of a knock.
#[allow(dead_code)]
pub fn knock(why: &str) -> Option<(&'static str, &'static str)> {
    Some(match why {
        "no-tls" => (
            "it doesn't speak TLS on the port for TLS",
            "Set the device to TLS, or to the port without",
        ),
        "tls-too-old" => (
            "it knows only versions of TLS before 1.2",
            "Update its firmware; older versions are not safe",
        ),
        "tls-nothing-in-common" => (
            "it has no cipher or curve in common with this box",
            "Let it offer ECDHE with P-256 or X25519, and AES-GCM or ChaCha20",
        ),
        "our-certificate-refused" => (
            "it doesn't take this box's certificate",
            "Give it the CA's certificate (linli ca export FILE), and see whether it uses a name that linli ca show lists (broker.tls.names)",
        ),
        "our-certificate-expired" => (
            "to it this box's certificate has ended, or isn't good yet",
            "See its clock, and until when the certificate is good: linli ca show",
        ),
        "certificate-missing" => (
            "it shows no certificate, and broker.tls.client_certificates is \"required\"",
            "Make it one: linli ca issue ID",
        ),
        "certificate-expired" => (
            "its certificate has ended",
            "Make it a new one: linli ca issue ID",
        ),
        "certificate-not-yet-valid" => (
            "its certificate isn't good yet by this box's clock",
            "See the clock: timedatectl",
        ),
        "certificate-foreign" => (
            "its certificate is of another CA",
            "Make it one of this estate's: linli ca issue ID; or name its CA in broker.tls.client_ca_file",
        ),
        "certificate-revoked" => (
            "its certificate was revoked",
            "If the device is to come back, make it a new one: linli ca issue ID",
        ),
        "certificate-unfit" => (
            "its certificate isn't one for logging in",
            "Make it one: linli ca issue ID",
        ),
        "tls-broken" => (
            "its handshake is against the standard, or it broke it off",
            "See the device's own log",
        ),
        _ => return None,
    })
}
