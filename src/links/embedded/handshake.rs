//! The handshake of TLS with a client: whose certificate is taken, and why it came to nothing.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use firmware_protocols::Ident;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, DistinguishedName, Error,
    SignatureScheme,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::certificate::ClientCertificate;
use super::stream::Stream;
use super::tls::TlsListener;
use crate::ca::Facts;
use crate::knocks::{Knock, why};

/// How long, and for how many bytes, a connection is read on that came to nothing, so that the alert
/// which says why isn't lost to a reset.
const FAREWELL: Duration = Duration::from_millis(200);
const FAREWELL_BYTES: usize = 64 * 1024;
/// How much of what somebody calls himself is kept.
const NAME_MAX_CHARS: usize = 64;

/// The serial numbers of what was revoked.
pub(super) type Revoked = Arc<HashSet<String>>;

tokio::task_local! {
    /// Whom the certificate names that this task's client has shown, if it was refused.
    static REFUSED: RefCell<String>;
}

impl TlsListener {
    /// Makes TLS of a connection. `None`: it came to nothing, and that was taken down.
    pub(super) async fn accept(&self, client: TcpStream, from: SocketAddr) -> Option<Stream> {
        let handshake = self.acceptor().accept(client).into_fallible();
        let shaken = async {
            let shaken = handshake.await;
            (shaken, REFUSED.with(RefCell::take))
        };
        let (shaken, refused) = REFUSED.scope(RefCell::default(), shaken).await;
        match shaken {
            Ok(stream) => {
                let certificate = self.shown(&stream, from);
                Some(Stream::tls(stream, certificate))
            }
            Err((error, client)) => {
                if let Some(why) = reason(&error) {
                    self.knocked(&refused, from, why);
                }
                farewell(client).await;
                None
            }
        }
    }

    /// The certificate that a client has shown. Whoever resumes a session isn't verified again by TLS,
    /// so what may have changed since is looked at here: one that doesn't hold any more names nobody.
    fn shown(&self, stream: &TlsStream<TcpStream>, from: SocketAddr) -> Option<ClientCertificate> {
        let der = stream.get_ref().1.peer_certificates()?.first()?;
        let Some(facts) = Facts::of(der) else {
            self.knocked("", from, why::UNFIT);
            return Some(ClientCertificate::of_nobody());
        };
        let over = if self.is_revoked(&facts.serial) {
            Some(why::REVOKED)
        } else if facts.not_after_ms < self.now_ms() {
            Some(why::EXPIRED)
        } else {
            None
        };
        if let Some(why) = over {
            self.knocked(&facts.subject, from, why);
            return Some(ClientCertificate::of_nobody());
        }
        Some(ClientCertificate {
            names: facts
                .devices()
                .filter_map(|id| Ident::new(id).ok())
                .collect(),
            serial: facts.serial,
        })
    }

    fn knocked(&self, name: &str, from: SocketAddr, why: &'static str) {
        let name: String = name.chars().take(NAME_MAX_CHARS).collect();
        tracing::info!(%from, certificate = ?name, why, "a connection with TLS came to nothing");
        self.knocks().note(Knock {
            client_id: name,
            username: None,
            from: Some(from.ip()),
            why,
        });
    }
}

/// Why a handshake came to nothing: a word for programs. `None`: the client just went.
fn reason(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidMessage(_) => why::NO_TLS,
        Error::PeerIncompatible(what) => match what {
            // Only older versions do without.
            rustls::PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | rustls::PeerIncompatible::SupportedVersionsExtensionRequired
            | rustls::PeerIncompatible::Tls12NotOffered
            | rustls::PeerIncompatible::Tls12NotOfferedOrEnabled
            | rustls::PeerIncompatible::Tls13RequiredForQuic => why::OLD_TLS,
            _ => why::NOTHING_IN_COMMON,
        },
        Error::NoCertificatesPresented => why::MISSING,
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => why::OURS_EXPIRED,
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied => why::OURS_REFUSED,
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => return None,
            AlertDescription::ProtocolVersion => why::OLD_TLS,
            _ => why::BROKEN,
        },
        Error::InvalidCertificate(what) => match what {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => why::EXPIRED,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                why::EARLY
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => why::FOREIGN,
            CertificateError::Revoked => why::REVOKED,
            _ => why::UNFIT,
        },
        _ => why::BROKEN,
    })
}

/// Lets the client read why.
async fn farewell(mut client: TcpStream) {
    let _ = client.shutdown().await;
    let mut buffer = [0; 4096];
    let drained = async {
        let mut left = FAREWELL_BYTES;
        while left > 0 {
            match client.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => left = left.saturating_sub(read),
            }
        }
    };
    let _ = timeout(FAREWELL, drained).await;
}

/// Takes the certificates of some authorities, but for those that were revoked.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    /// Knows the authorities.
    pub authorities: Arc<dyn ClientCertVerifier>,
    /// What was revoked.
    pub revoked: watch::Receiver<Revoked>,
}

impl ClientCertVerifier for Doorkeeper {
    fn offer_client_auth(&self) -> bool {
        self.authorities.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.authorities.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let facts = Facts::of(end_entity);
        let verified = self
            .authorities
            .verify_client_cert(end_entity, intermediates, now)
            .and_then(|verified| match &facts {
                Some(facts) if self.revoked.borrow().contains(&facts.serial) => {
                    Err(CertificateError::Revoked.into())
                }
                Some(_) => Ok(verified),
                None => Err(CertificateError::BadEncoding.into()),
            });
        if verified.is_err() {
            let name = facts.map(|facts| facts.subject).unwrap_or_default();
            // Outside of a task of ours nobody asks.
            let _ = REFUSED.try_with(|refused| refused.replace(name));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
