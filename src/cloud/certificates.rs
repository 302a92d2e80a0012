//! How long certificates hold: the gateway's own, the pinned authorities', the cloud's as seen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::views::CertificateView;

/// From here on a certificate's end is worth a word: a month, so that a visit can still be planned.
pub const NEAR_ITS_END_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whose {
    /// The gateway's own.
    Client,
    /// The pinned authorities': of several, the one that ends first.
    Ca,
    /// The cloud's, as last seen.
    Cloud,
}

/// The certificates that are known, with their ends. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Certificates(Arc<Mutex<BTreeMap<Whose, i64>>>);

impl Certificates {
    /// Notes a certificate. What can't be read is passed over: whether it is good is for TLS to say.
    pub fn note(&self, whose: Whose, certificate: &CertificateDer<'_>) {
        let Some(mut not_after_ms) = not_after_ms(certificate) else {
            return;
        };
        let mut known = self.lock();
        if let (Whose::Ca, Some(other_ms)) = (whose, known.get(&whose)) {
            not_after_ms = not_after_ms.min(*other_ms);
        }
        known.insert(whose, not_after_ms);
    }

    /// What there is, by the wall clock `now_ms`.
    pub fn views(&self, now_ms: i64) -> Vec<CertificateView> {
        let known = self.lock();
        let view = |(whose, not_after_ms): (&Whose, &i64)| CertificateView {
            what: whose.word().to_string(),
            not_after_ms: *not_after_ms,
            days_left: days_left(*not_after_ms, now_ms),
        };
        known.iter().map(view).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Whose, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Whose {
    fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Ca => "ca",
            Self::Cloud => "cloud",
        }
    }
}

/// Whole days until then; below 0 once it is over.
pub(super) fn days_left(not_after_ms: i64, now_ms: i64) -> i64 {
    not_after_ms.saturating_sub(now_ms).div_euclid(DAY_MS)
}

/// When a certificate ends, ms since the Unix epoch.
pub(super) fn not_after_ms(certificate: &CertificateDer<'_>) -> Option<i64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let end = certificate.tbs_certificate().validity().not_after;
    i64::try_from(end.to_unix_duration().as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_until_it_is_over() {
        let end_ms = 1_800_000_000_000;
        assert_eq!(days_left(end_ms, end_ms - 31 * DAY_MS), 31);
        assert_eq!(days_left(end_ms, end_ms - 30 * DAY_MS + 1), 29);
        assert_eq!(days_left(end_ms, end_ms - 1), 0);
        assert_eq!(days_left(end_ms, end_ms + 1), -1);
    }

    #[test]
    fn the_end_is_read_from_the_certificate() {
        let mut params = rcgen::CertificateParams::new(vec!["cloud.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2027, 3, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let known = Certificates::default();
        known.note(Whose::Cloud, certificate.der());
        known.note(
            Whose::Cloud,
            &CertificateDer::from(b"no certificate".to_vec()),
        );
        let views = known.views(1_803_772_800_000);
        assert_eq!(views.len(), 1);
        assert_eq!(views[0].what, "cloud");
        assert_eq!(views[0].not_after_ms, 1_803_859_200_000);
        assert_eq!(views[0].days_left, 1);
    }
}
