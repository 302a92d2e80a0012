//! The time by which certificates are judged: the box's clock, or while that can't be right, the latest
//! time that is known to be past. So a certificate that ended before that stays refused.

use std::fmt;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::clock::Clock;

/// The time by which certificates are judged.
pub struct CertificateTime(pub Clock);

impl TimeProvider for CertificateTime {
    fn current_time(&self) -> Option<UnixTime> {
        let ms = u64::try_from(self.0.at_least_ms()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(ms)))
    }
}

impl fmt::Debug for CertificateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateTime")
    }
}
