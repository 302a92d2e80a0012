//! The listener of MQTT over TLS: which certificate it shows, whose it takes, and how both change while
//! connections are up.
//!
//! TLS 1.2 and 1.3 by `ring`. A connection goes by what holds when it is made; a renewed certificate or
//! another setting ends none, a revoked one ends its own. Sessions are resumed by tickets, which cost
//! the box no memory and a small device no signature; tickets die when it changes whose certificates are
//! taken.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use firmware_protocols::Ident;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::handshake::{Doorkeeper, Revoked};
use crate::ca::{
    Authority, CaError, Due, FOLDER, Facts, Pair, Record, Stamp, Turn, box_names, canonical, pem,
    take_turn,
};
use crate::certificate_time::CertificateTime;
use crate::clock::Clock;
use crate::config::{ClientCertificates, TlsSection};
use crate::disk::{Disk, Duty};
use crate::knocks::Knocks;

/// How much is sent in one record at most, with its head of 5 bytes: small devices have room for 4 KB,
/// and no message of the handshake is larger, as few can join its pieces.
const FRAGMENT_BYTES: usize = 4096 + 5;
/// One is used at each resumption, which brings the next.
const TICKETS: usize = 1;
/// How soon what was revoked is noticed.
const LOOK: Duration = Duration::from_secs(5);
/// How often the box's certificate is looked at.
const LOOK_AT_OWN: Duration = Duration::from_secs(60);
/// How soon addresses that come and go may lead to another certificate.
const NAMES_AGAIN: Duration = Duration::from_secs(600);

/// From here on the end of a certificate is worth a word that the daemon can't put off: a month, so that
/// a visit can still be planned.
const NEAR_ITS_END_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;

/// Why the listener can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority, or files with certificates.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// Certificate and key don't make a pair.
    #[error("{certificate} and its key can't be used together: {source}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// An authority that can't be used.
    #[error(
        "the certificate in {path} can't be used as an authority for devices: {reason}. Put that of a CA there"
    )]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate that nobody renews by himself.
    #[error(
        "this box's certificate for devices ends in {0} days: put a newer one into broker.tls.certificate_file, or if it is the estate's own, plan for a new CA"
    )]
    Ends(i64),
    /// The TLS library says no.
    #[error("TLS can't be set up: {0}")]
    Library(#[source] rustls::Error),
}

/// Where the authority is, and what the listener goes by.
#[derive(Clone)]
pub struct TlsHouse {
    /// The state folder.
    pub state_dir: PathBuf,
    /// The site, after which a new authority is named.
    pub site: Ident,
    /// The time.
    pub clock: Clock,
    /// Told when files can't be read or written.
    pub disk: Disk,
    /// Told who came to nothing.
    pub knocks: Knocks,
}

/// The listener of MQTT over TLS. Shared between the broker and whoever changes it.
pub struct TlsListener {
    house: TlsHouse,
    folder: PathBuf,
    /// Who changes what holds, one at a time.
    set: Mutex<Set>,
    holds: RwLock<Arc<Holds>>,
    revoked: watch::Sender<Revoked>,
}

/// What the listener was set up from.
struct Set {
    section: TlsSection,
    /// Of the operator's files.
    files: Vec<Option<Stamp>>,
    record: Option<Stamp>,
    looked: Instant,
    made: Instant,
}

/// What holds for the next connection.
struct Holds {
    config: Arc<ServerConfig>,
    facts: Facts,
    takes: Takes,
    ticketer: Arc<dyn ProducesTickets>,
}

/// Whose certificates are taken.
#[derive(Clone, PartialEq, Eq)]
struct Takes {
    policy: ClientCertificates,
    authorities: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for TlsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsListener")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl TlsListener {
    /// Sets a listener up. At the first start this makes the estate's authority, unless files of another
    /// are named; and at any, a certificate for this box if there is none that holds.
    pub fn open(section: &TlsSection, house: TlsHouse) -> Result<Self, TlsError> {
        let folder = house.state_dir.join(FOLDER);
        let record = Stamp::of(&Record::path(&folder));
        let revoked: Revoked = Arc::new(read_revoked(&folder)?);
        let (revoked, _) = watch::channel(revoked);
        let files = stamps(section);
        let holds = Self::prepare(&house, &folder, section, &revoked, None)?;
        Ok(Self {
            house,
            folder,
            set: Mutex::new(Set {
                section: section.clone(),
                files,
                record,
                looked: Instant::now(),
                made: Instant::now(),
            }),
            holds: RwLock::new(Arc::new(holds)),
            revoked,
        })
    }

    /// From now on as in `section`: its names, whose certificates it takes, its files. Where it listens
    /// stays. Connections stay up, but for those whose certificate was revoked. On an error nothing has
    /// changed.
    pub fn reload(&self, section: &TlsSection) -> Result<(), TlsError> {
        let mut set = self.lock();
        self.look_at_revoked(&mut set)?;
        self.apply(&mut set, section.clone())
    }

    /// Keeps the certificate of this box from ending, and notices what was revoked, until `stopped`.
    pub async fn keep(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            let this = Arc::clone(&self);
            // It reads and writes files.
            let looked = tokio::task::spawn_blocking(move || this.look_again(Instant::now())).await;
            if let Err(error) = looked {
                tracing::error!(%error, "looking after the certificates failed");
            }
        }
    }

    /// Makes the pair of this box beforehand, if there is none that holds, as a start would.
    pub fn make_pair(
        section: &TlsSection,
        folder: &Path,
        authority: &Authority,
        now_ms: i64,
    ) -> Result<(), CaError> {
        let turn = take_turn(folder)?;
        pair_of(&turn, folder, section, authority, now_ms)?.1
    }

    /// What the certificate says that is shown at the moment.
    pub fn facts(&self) -> Facts {
        self.now().facts.clone()
    }

    /// Resolves when the certificate of this serial number is revoked.
    pub(super) async fn until_revoked(&self, serial: &str) {
        let mut revoked = self.revoked.subscribe();
        // The sender is ours: it isn't gone before we are.
        let _ = revoked.wait_for(|revoked| revoked.contains(serial)).await;
    }

    pub(super) fn is_revoked(&self, serial: &str) -> bool {
        self.revoked.borrow().contains(serial)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.now().config))
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.house.clock.at_least_ms()
    }

    pub(super) fn knocks(&self) -> &Knocks {
        &self.house.knocks
    }

    fn now(&self) -> Arc<Holds> {
        Arc::clone(&self.holds.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether something has changed: what was revoked each time, the box's certificate each
    /// minute.
    fn look_again(&self, now: Instant) {
        let mut set = self.lock();
        if let Err(error) = self.look_at_revoked(&mut set) {
            return self
                .house
                .disk
                .refuses(Duty::Certificates, &error.to_string());
        }
        if now.duration_since(set.looked) < LOOK_AT_OWN {
            return;
        }
        set.looked = now;
        let looked = self
            .look_at_own(&mut set, now)
            .and_then(|()| self.ends_late());
        self.house.disk.note(Duty::Certificates, &looked);
    }

    /// Whether the certificate that is shown has some time left.
    fn ends_late(&self) -> Result<(), TlsError> {
        let left_ms = self.now().facts.not_after_ms - self.now_ms();
        match left_ms.div_euclid(DAY_MS) {
            days if days < NEAR_ITS_END_DAYS => Err(TlsError::Ends(days)),
            _ => Ok(()),
        }
    }

    fn look_at_revoked(&self, set: &mut Set) -> Result<(), CaError> {
        let stamp = Stamp::of(&Record::path(&self.folder));
        if stamp == set.record {
            return Ok(());
        }
        let revoked = read_revoked(&self.folder)?;
        set.record = stamp;
        self.revoked.send_if_modified(|known| {
            let other = **known != revoked;
            if other {
                *known = Arc::new(revoked);
            }
            other
        });
        Ok(())
    }

    fn look_at_own(&self, set: &mut Set, now: Instant) -> Result<(), TlsError> {
        let section = set.section.clone();
        if section.certificate_file.is_some() {
            if stamps(&section) != set.files {
                self.apply(set, section)?;
                tracing::info!("the files of [broker.tls] have changed, and were read again");
            }
            return Ok(());
        }
        let Some(authority) = Authority::open(&self.folder)? else {
            return Err(CaError::NoAuthority.into());
        };
        let (names, found_out) = names(&section);
        let facts = &self.now().facts;
        let due = Pair::due(facts, &authority, &names, !found_out, self.now_ms());
        match due {
            None => return Ok(()),
            Some(Due::Names) if found_out && now.duration_since(set.made) < NAMES_AGAIN => {
                return Ok(());
            }
            Some(due) => tracing::info!(?due, "this box gets a new certificate"),
        }
        set.made = now;
        self.apply(set, section)
    }

    fn apply(&self, set: &mut Set, section: TlsSection) -> Result<(), TlsError> {
        let files = stamps(&section);
        let before = self.now();
        let holds = Self::prepare(
            &self.house,
            &self.folder,
            &section,
            &self.revoked,
            Some(&before),
        )?;
        *self.holds.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(holds);
        set.section = section;
        set.files = files;
        Ok(())
    }

    fn prepare(
        house: &TlsHouse,
        folder: &Path,
        section: &TlsSection,
        revoked: &watch::Sender<Revoked>,
        before: Option<&Holds>,
    ) -> Result<Holds, TlsError> {
        let own = match (&section.certificate_file, &section.key_file) {
            (Some(certificate), Some(key)) => {
                Some((certificate, Pair::of_files(certificate, key)?))
            }
            _ => None,
        };
        let (pair, authority, from) = match own {
            Some((file, pair)) => (pair, Authority::open(folder)?, file.clone()),
            None => {
                let (pair, authority) = own_pair(house, folder, section)?;
                (pair, Some(authority), folder.to_path_buf())
            }
        };
        let takes = takes(section, folder, authority.as_ref())?;
        let ticketer = match before {
            Some(before) if before.takes == takes => Arc::clone(&before.ticketer),
            _ => Ticketer::new().map_err(TlsError::Library)?,
        };
        let verifier = verifier(&takes, section, folder, revoked)?;
        let time = Arc::new(CertificateTime(house.clock.clone()));
        let mut config = ServerConfig::builder_with_details(Arc::new(default_provider()), time)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(pair.chain, pair.key)
            .map_err(|source| TlsError::Pair {
                certificate: from,
                source,
            })?;
        config.max_fragment_size = Some(FRAGMENT_BYTES);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = TICKETS;
        config.ticketer = Arc::clone(&ticketer);
        Ok(Holds {
            config: Arc::new(config),
            facts: pair.facts,
            takes,
            ticketer,
        })
    }
}

/// The pair that the estate's own authority has made for this box, made anew if it is due. One that
/// can't be written is used all the same.
fn own_pair(
    house: &TlsHouse,
    folder: &Path,
    section: &TlsSection,
) -> Result<(Pair, Authority), CaError> {
    let turn = take_turn(folder)?;
    let now_ms = house.clock.at_least_ms();
    let (authority, made) = Authority::open_or_make(&turn, folder, &house.site, now_ms)?;
    if made {
        tracing::info!(
            sha256 = authority.facts().sha256,
            "the estate's certificate authority was made; its certificate for devices: linli ca export FILE"
        );
    }
    let (pair, written) = pair_of(&turn, folder, section, &authority, now_ms)?;
    house.disk.note(Duty::Certificates, &written);
    Ok((pair, authority))
}

/// This box's pair, made anew if it is due; and whether it could be kept.
fn pair_of(
    turn: &Turn,
    folder: &Path,
    section: &TlsSection,
    authority: &Authority,
    now_ms: i64,
) -> Result<(Pair, Result<(), CaError>), CaError> {
    let (names, found_out) = names(section);
    if let Some(pair) = Pair::open(folder)?
        && Pair::due(&pair.facts, authority, &names, !found_out, now_ms).is_none()
    {
        return Ok((pair, Ok(())));
    }
    let pair = Pair::make(authority, &names, now_ms)?;
    let written = pair.write(turn, folder);
    Ok((pair, written))
}

/// The names of this box's certificate, and whether nobody has set them.
fn names(section: &TlsSection) -> (Vec<String>, bool) {
    if section.names.is_empty() {
        (box_names(section.listen), true)
    } else {
        (canonical(&section.names), false)
    }
}

fn takes(section: &TlsSection, folder: &Path, own: Option<&Authority>) -> Result<Takes, TlsError> {
    let policy = section.client_certificates;
    let (policy, authorities) = match (policy, &section.client_ca_file, own) {
        (ClientCertificates::Off, ..) => (policy, Vec::new()),
        (_, Some(file), _) => (policy, pem::chain(file)?),
        (_, None, Some(own)) => (policy, vec![own.certificate().clone()]),
        // Nobody can have one yet.
        (ClientCertificates::Optional, None, None) => (ClientCertificates::Off, Vec::new()),
        (ClientCertificates::Required, None, None) => {
            tracing::debug!(folder = %folder.display(), "no authority for devices");
            return Err(CaError::NoAuthority.into());
        }
    };
    Ok(Takes {
        policy,
        authorities,
    })
}

fn verifier(
    takes: &Takes,
    section: &TlsSection,
    folder: &Path,
    revoked: &watch::Sender<Revoked>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    if takes.policy == ClientCertificates::Off {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let path = section.client_ca_file.as_deref().unwrap_or(folder);
    let unfit = |reason: String| TlsError::Authority {
        path: path.to_path_buf(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for authority in &takes.authorities {
        roots
            .add(authority.clone())
            .map_err(|e| unfit(e.to_string()))?;
    }
    let provider = Arc::new(default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match takes.policy {
        ClientCertificates::Required => builder,
        ClientCertificates::Off | ClientCertificates::Optional => builder.allow_unauthenticated(),
    };
    Ok(Arc::new(Doorkeeper {
        authorities: builder.build().map_err(|e| unfit(e.to_string()))?,
        revoked: revoked.subscribe(),
    }))
}

fn read_revoked(folder: &Path) -> Result<HashSet<String>, CaError> {
    let record = Record::read(folder)?;
    Ok(record.revoked().map(str::to_owned).collect())
}

/// What tells whether the operator has changed a file.
fn stamps(section: &TlsSection) -> Vec<Option<Stamp>> {
    let files = [
        &section.certificate_file,
        &section.key_file,
        &section.client_ca_file,
    ];
    files
        .into_iter()
        .map(|file| file.as_deref().and_then(Stamp::of))
        .collect()
}

/// The listener with where it listens.
#[derive(Debug, Clone)]
pub struct TlsAt {
    /// Where. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// What it goes by.
    pub listener: Arc<TlsListener>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca;
    use crate::config::Config;

    const NOW_MS: i64 = 1_795_338_201_000;

    fn section(more: &str) -> TlsSection {
        let text = format!("site = \"s\"\n[broker.tls]\nlisten = \"127.0.0.1:0\"\n{more}");
        Config::parse(&text).unwrap().broker.unwrap().tls.unwrap()
    }

    fn house(dir: &tempfile::TempDir, clock: &Clock) -> TlsHouse {
        TlsHouse {
            state_dir: dir.path().to_path_buf(),
            site: Ident::new("s").unwrap(),
            clock: clock.clone(),
            disk: Disk::new(clock.clone()),
            knocks: Knocks::default(),
        }
    }

    fn advance(clock: &Clock, days: u32) {
        for _ in 0..days {
            clock.advance(u32::try_from(DAY_MS).unwrap());
        }
    }

    #[test]
    fn looking_again_renews_and_notices_what_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(NOW_MS);
        let house = house(&dir, &clock);
        let listener = TlsListener::open(&section(""), house.clone()).unwrap();
        let first = listener.facts();
        let folder = dir.path().join(FOLDER);
        let door = Ident::new("door-1").unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let (_, facts) = ca::give_out(&folder, &door, &key, NOW_MS, 10).unwrap();
        let start = Instant::now();
        listener.look_again(start);
        assert!(!listener.is_revoked(&facts.serial));
        ca::revoke(&folder, &door, NOW_MS).unwrap();
        listener.look_again(start);
        assert!(listener.is_revoked(&facts.serial));

        advance(&clock, 240);
        listener.look_again(start + LOOK_AT_OWN);
        assert_eq!(listener.facts(), first, "a third and a bit is left");
        advance(&clock, 5);
        listener.look_again(start + LOOK_AT_OWN + LOOK);
        assert_eq!(listener.facts(), first, "it is looked at once a minute");
        listener.look_again(start + LOOK_AT_OWN * 2);
        assert!(listener.facts().not_after_ms > first.not_after_ms);
        assert!(!house.disk.is_refused(Duty::Certificates));
        // A list that can't be read leaves what was known, and is told.
        std::fs::write(Record::path(&folder), "no list").unwrap();
        listener.look_again(start + LOOK_AT_OWN * 2);
        assert!(house.disk.is_refused(Duty::Certificates));
        assert!(listener.is_revoked(&facts.serial));
    }

    #[test]
    fn an_end_that_nobody_puts_off_is_told_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::by_hand(NOW_MS);
        drop(TlsListener::open(&section(""), house(&dir, &clock)).unwrap());
        let server = dir.path().join(FOLDER).join("server.pem");
        let more = format!("certificate_file = {server:?}\nkey_file = {server:?}");
        let house = house(&dir, &clock);
        let listener = TlsListener::open(&section(&more), house.clone()).unwrap();
        let start = Instant::now();
        advance(&clock, 334);
        listener.look_again(start + LOOK_AT_OWN);
        assert!(!house.disk.is_refused(Duty::Certificates));
        advance(&clock, 2);
        listener.look_again(start + LOOK_AT_OWN * 2);
        assert!(house.disk.is_refused(Duty::Certificates));
        // Until then every five seconds nothing is said.
        listener.look_again(start + LOOK_AT_OWN * 2 + LOOK);
        assert!(house.disk.is_refused(Duty::Certificates));
    }
}
