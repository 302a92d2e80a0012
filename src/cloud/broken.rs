//! Why no answer came: what the name server, the system, TLS and HTTP say, told apart and put into
//! words.

use std::error::Error;
use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

use super::connect::{NotConnected, Step};
use super::failure::Failure;
use super::http::NoAnswer;

/// What kept an answer away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is no such name.
    NoName,
    /// No name server says where the cloud is.
    NoResolver,
    /// There is no way to the cloud: no network is up, or none leads there.
    NoRoute,
    /// Nobody listens there.
    NoWay,
    /// No connection came about within the time.
    NoConnection,
    /// The time for the request ran out.
    TimedOut,
    /// Both don't agree on TLS.
    Tls(TlsFault),
    /// All else: the connection broke, …
    Other,
}

/// What is wrong with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsFault {
    /// The certificate is for another name.
    Name,
    /// It is by an authority that isn't trusted.
    Issuer,
    /// It is over.
    Expired,
    /// It doesn't hold yet.
    NotYet,
    /// What listens doesn't speak TLS.
    NotTls,
    /// The cloud wants a certificate of the gateway's, or doesn't take the one it has.
    Client,
    /// All else.
    Other,
}

impl Cause {
    /// Whether waiting alone won't help.
    pub fn lasts(self) -> bool {
        matches!(self, Self::NoName | Self::Tls(_))
    }

    /// What a person can do.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NoName => {
                "check the host in the cloud's URL; if it is right, this network's name server \
                 doesn't know it: resolvectl status"
            }
            Self::NoResolver => {
                "check that this box has a network, and its name server: resolvectl status"
            }
            Self::NoRoute => "check the cable or the SIM, and the routes: ip route",
            Self::NoWay => {
                "check the host and the port in the cloud's URL; if they are right, the cloud is down \
                 or a firewall turns this box away"
            }
            Self::NoConnection => {
                "check the signal, and that this network lets this box out to the cloud's host and port"
            }
            Self::TimedOut => "check the signal; if it is good, ask the cloud's operator",
            Self::Tls(fault) => fault.remedy(),
            Self::Other => {
                "wait: it is tried again by itself; if it lasts, check the signal and what stands \
                 between here and the cloud"
            }
        }
    }
}

impl TlsFault {
    fn remedy(self) -> &'static str {
        match self {
            Self::Name => {
                "check the host in the cloud's URL; if it is right, somebody else answers there: a \
                 captive portal, or a firewall that looks into TLS"
            }
            Self::Issuer => {
                "check this machine's certificate authorities (the package ca-certificates, or the \
                 file that SSL_CERT_FILE names); if the cloud has an authority of its own, name its \
                 file as ca_file in [cloud]; if neither, a firewall looks into TLS here"
            }
            Self::Expired => {
                "check this box's clock (timedatectl); if it is right, the cloud's operator must renew \
                 the certificate"
            }
            Self::NotYet => {
                "set this box's clock (timedatectl), or connect it to a time server; if it is right, \
                 tell the cloud's operator"
            }
            Self::NotTls => {
                "check the scheme and the port in the cloud's URL, and whether a captive portal is in \
                 the way"
            }
            Self::Client => {
                "name a certificate that the cloud takes, and its key, as client_certificate_file and \
                 client_key_file in [cloud]; the cloud's operator gives it out"
            }
            Self::Other => {
                "check this box's clock, the cloud's URL and what stands between; if they are right, \
                 tell the cloud's operator"
            }
        }
    }
}

/// What a call without an answer came to.
pub(super) fn failure(e: &NoAnswer, host: (&str, u16)) -> Failure {
    let at = format!("{}:{}", host.0, host.1);
    let (words, cause) = match e {
        NoAnswer::TimedOut => (
            format!("no answer from {at} within the time"),
            Cause::TimedOut,
        ),
        NoAnswer::TooLarge => {
            return Failure::Odd(format!(
                "the cloud's answer is over {} bytes",
                cloud_protocol::BODY_MAX_BYTES
            ));
        }
        NoAnswer::Request(e) => match source_of::<NotConnected>(e) {
            Some(e) => return not_connected(e, host),
            None => broke(e, &at),
        },
        NoAnswer::Answer(e) => broke(e, &at),
    };
    Failure::Network { words, cause }
}

/// What a step on the way came to.
pub(super) fn not_connected(e: &NotConnected, (host, port): (&str, u16)) -> Failure {
    let at = format!("{host}:{port}");
    let (words, cause) = match (e.step, e.source.kind()) {
        (Step::Name, _) => no_name(&e.source, host),
        (Step::Tcp, io::ErrorKind::TimedOut) => (
            format!("no connection to {at} within the time"),
            Cause::NoConnection,
        ),
        (Step::Tcp, kind) => (
            format!("cannot connect to {at}: {}", e.source),
            of_kind(kind),
        ),
        (Step::Tls, io::ErrorKind::TimedOut) => (
            format!("{at} took the connection, but no TLS came about within the time"),
            Cause::NoConnection,
        ),
        (Step::Tls, _) => match tls_error(&e.source) {
            Some(e) => tls(e, &at),
            None => (
                format!("{at} hung up before TLS came about: {}", e.source),
                Cause::Other,
            ),
        },
    };
    Failure::Network { words, cause }
}

/// The C library's words are the only sign of whether the name server answered.
fn no_name(e: &io::Error, host: &str) -> (String, Cause) {
    let words = e.to_string();
    if e.kind() == io::ErrorKind::TimedOut
        || words.contains("Temporary failure")
        || words.contains("no name server")
    {
        return (
            format!("no name server says where {host} is: {words}"),
            Cause::NoResolver,
        );
    }
    (format!("cannot find {host}: {words}"), Cause::NoName)
}

fn of_kind(kind: io::ErrorKind) -> Cause {
    match kind {
        io::ErrorKind::ConnectionRefused => Cause::NoWay,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => Cause::NoRoute,
        _ => Cause::Other,
    }
}

/// A connection that was there and broke. In TLS 1.3 a refused certificate shows only here.
fn broke(e: &(dyn Error + 'static), at: &str) -> (String, Cause) {
    if let Some(e) = tls_error(e) {
        return tls(e, at);
    }
    let mut inner = e;
    while let Some(source) = inner.source() {
        inner = source;
    }
    (
        format!("the connection to {at} broke: {inner}"),
        Cause::Other,
    )
}

fn tls(e: &rustls::Error, at: &str) -> (String, Cause) {
    let (words, fault) = match e {
        rustls::Error::InvalidCertificate(e) => certificate(e, at),
        rustls::Error::AlertReceived(alert) => (
            format!("{at} refuses the TLS connection: {alert:?}"),
            of_alert(*alert),
        ),
        rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => (
            format!("what listens on {at} doesn't speak TLS"),
            TlsFault::NotTls,
        ),
        other => (
            format!("TLS with {at} doesn't come about: {other}"),
            TlsFault::Other,
        ),
    };
    (words, Cause::Tls(fault))
}

fn certificate(e: &CertificateError, at: &str) -> (String, TlsFault) {
    use CertificateError as E;
    let (words, fault) = match e {
        E::NotValidForName => ("is for another name".to_owned(), TlsFault::Name),
        E::NotValidForNameContext { presented, .. } => {
            let presented: Vec<_> = presented.iter().take(3).map(|n| bare_name(n)).collect();
            (
                format!("is for another name: {}", presented.join(", ")),
                TlsFault::Name,
            )
        }
        E::UnknownIssuer => (
            "is by an authority that isn't trusted here".to_owned(),
            TlsFault::Issuer,
        ),
        E::BadSignature => (
            "isn't signed by the authority of that name that is trusted here".to_owned(),
            TlsFault::Issuer,
        ),
        E::Expired => ("has expired".to_owned(), TlsFault::Expired),
        E::ExpiredContext { time, not_after } => (
            format!(
                "expired on {}; this box takes it to be {}",
                date(*not_after),
                date(*time)
            ),
            TlsFault::Expired,
        ),
        E::NotValidYet => ("doesn't hold yet".to_owned(), TlsFault::NotYet),
        E::NotValidYetContext { time, not_before } => (
            format!(
                "holds only from {}; this box takes it to be {}",
                date(*not_before),
                date(*time)
            ),
            TlsFault::NotYet,
        ),
        other if other.to_string().contains("CaUsedAsEndEntity") => (
            "is an authority's own (CA:TRUE), not a server's: have one made for the server, by an \
             authority that ca_file can name"
                .to_owned(),
            TlsFault::Issuer,
        ),
        other => (format!("isn't good: {other}"), TlsFault::Other),
    };
    (format!("the certificate of {at} {words}"), fault)
}

/// `DnsName("example.com")` is `example.com`.
fn bare_name(shown: &str) -> &str {
    let inside = shown
        .split_once('"')
        .and_then(|(_, rest)| rest.rsplit_once('"'));
    inside.map_or(shown.trim(), |(name, _)| name)
}

fn of_alert(alert: AlertDescription) -> TlsFault {
    match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => TlsFault::Client,
        _ => TlsFault::Other,
    }
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_second(seconds) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => format!("{seconds} s after 1970"),
    }
}

/// The error of this type in what led to `e`.
fn source_of<'a, T: Error + 'static>(e: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut inner = Some(e);
    while let Some(e) = inner {
        if let Some(found) = e.downcast_ref::<T>() {
            return Some(found);
        }
        inner = e.source();
    }
    None
}

/// The TLS library's error in what led to `e`. I/O errors hide what they wrap from `source`, and
/// TLS errors come wrapped in them, sometimes twice.
fn tls_error<'a>(e: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut inner = Some(e);
    while let Some(e) = inner {
        if let Some(found) = e.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let wrapped = e.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => e.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: (&str, u16) = ("cloud.example", 443);

    fn at(step: Step, source: io::Error) -> (String, Option<&'static str>, &'static str) {
        let failure = not_connected(&NotConnected { step, source }, HOST);
        (failure.to_string(), failure.remedy(), failure.advice())
    }

    #[test]
    fn names_are_told_apart_from_name_servers() {
        let unknown =
            io::Error::other("failed to lookup address information: Name or service not known");
        let (words, remedy, _) = at(Step::Name, unknown);
        assert!(words.starts_with("cannot find cloud.example: "), "{words}");
        assert!(remedy.unwrap().contains("the cloud's URL"));
        for silent in [
            io::Error::other(
                "failed to lookup address information: Temporary failure in name resolution",
            ),
            io::Error::other("no name server says within 8 s where cloud.example is"),
            io::ErrorKind::TimedOut.into(),
        ] {
            let (words, remedy, advice) = at(Step::Name, silent);
            assert!(
                words.starts_with("no name server says where cloud.example is"),
                "{words}"
            );
            assert_eq!(remedy, None, "it may come back by itself");
            assert!(advice.contains("resolvectl status"));
        }
    }

    #[test]
    fn ways_that_are_not_there_are_told_apart() {
        let of = |code| at(Step::Tcp, io::Error::from_raw_os_error(code));
        let (words, remedy, advice) = of(nix::libc::ECONNREFUSED);
        assert_eq!(
            words,
            "cannot connect to cloud.example:443: Connection refused (os error 111)"
        );
        assert!(remedy.is_none() && advice.contains("the port in the cloud's URL"));
        for code in [nix::libc::ENETUNREACH, nix::libc::EHOSTUNREACH] {
            assert!(of(code).2.contains("ip route"));
        }
        let (words, _, advice) = at(Step::Tcp, io::ErrorKind::TimedOut.into());
        assert_eq!(words, "no connection to cloud.example:443 within the time");
        assert!(advice.contains("check the signal"));
        let (words, ..) = at(Step::Tls, io::ErrorKind::TimedOut.into());
        assert!(
            words.contains("but no TLS came about within the time"),
            "{words}"
        );
        let (words, ..) = at(Step::Tls, io::ErrorKind::UnexpectedEof.into());
        assert!(words.contains("hung up before TLS came about"), "{words}");
    }

    #[test]
    fn a_tls_error_is_found_however_it_is_wrapped() {
        let error = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        let (words, cause) = broke(&wrapped, "h:1");
        assert_eq!(words, "h:1 refuses the TLS connection: CertificateRequired");
        assert_eq!(cause, Cause::Tls(TlsFault::Client));
        assert!(cause.lasts());
        let (words, cause) = broke(&io::Error::other("gone"), "h:1");
        assert_eq!(
            (words.as_str(), cause),
            ("the connection to h:1 broke: gone", Cause::Other)
        );
    }
}
