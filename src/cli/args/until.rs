//! Until when, on the command line: a moment, or a number of hours.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::control::HOURS_MAX;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until {
    /// Ms since the Unix epoch.
    pub ms: i64,
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text, &TimeZone::system())
    }
}

impl Until {
    /// Reads RFC 3339, or `YYYY-MM-DD HH:MM` as the clocks in `zone` show it.
    fn read(text: &str, zone: &TimeZone) -> Result<Self, String> {
        let read = |text: &str| {
            let moment = text.parse::<Timestamp>();
            moment.or_else(|_| {
                DateTime::strptime("%Y-%m-%d %H:%M", text)
                    .and_then(|local| local.to_zoned(zone.clone()))
                    .map(|at| at.timestamp())
            })
        };
        match read(text) {
            Ok(at) => Ok(Self {
                ms: at.as_millisecond(),
            }),
            // The calendar ends with the year 9999; an earlier one tells whether the rest is sound.
            Err(_)
                if after_the_year(text)
                    .is_some_and(|rest| read(&format!("9996{rest}")).is_ok()) =>
            {
                Err("that is too far away: name a year before 9999".to_string())
            }
            Err(_) => Err(
                "write 2026-11-22T18:00:00+08:00, or 2026-11-22 18:00 for that time in your own \
                 time zone (TZ, else this machine's)"
                    .to_string(),
            ),
        }
    }
}

/// What stands after a year from 9999 on.
fn after_the_year(text: &str) -> Option<&str> {
    let year = text.split('-').next()?;
    let digits = year.bytes().all(|byte| byte.is_ascii_digit());
    let far = digits && (year.len() > 4 || year == "9999");
    far.then(|| &text[year.len()..])
}

/// Reads a number of hours.
pub fn hours(text: &str) -> Result<u32, String> {
    let hours = text.parse().ok().filter(|n| (1..=HOURS_MAX).contains(n));
    hours.ok_or_else(|| {
        format!(
            "write whole hours, 1 to {HOURS_MAX} ({} days)",
            HOURS_MAX / 24
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shanghai() -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(8))
    }

    #[test]
    fn a_time_says_its_offset_or_is_in_the_zone_of_the_caller() {
        let ms = |text: &str| Until::read(text, &shanghai()).map(|until| until.ms).ok();
        let wanted = Some(1_795_341_600_000);
        assert_eq!(ms("2026-11-22T18:00:00+08:00"), wanted);
        assert_eq!(ms("2026-11-22T10:00:00Z"), wanted);
        assert_eq!(ms("2026-11-22 18:00"), wanted);
        let utc = Until::read("2026-11-22 10:00", &TimeZone::UTC);
        assert_eq!(utc.map(|until| until.ms).ok(), wanted);
        for wrong in ["", "10:00", "2026-11-22", "2026-13-01 10:00", "tomorrow"] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_year_beyond_the_calendar_is_too_far_and_not_of_a_wrong_form() {
        let said = |text: &str| Until::read(text, &shanghai()).unwrap_err();
        for far in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59-08:00",
            "10000-01-01 10:00",
            "12345-02-03T00:00:00Z",
        ] {
            assert!(said(far).contains("too far"), "{far}: {}", said(far));
        }
        for wrong in [
            "9999-13-31 10:00",
            "99999",
            "9999-é",
            "２０２６-11-22 10:00",
        ] {
            assert!(
                said(wrong).starts_with("write "),
                "{wrong}: {}",
                said(wrong)
            );
        }
    }

    #[test]
    fn hours_are_whole_and_at_most_a_month() {
        assert_eq!((hours("1"), hours("744")), (Ok(1), Ok(744)));
        for wrong in ["0", "745", "-3", "1.5", "99999999999999999999", ""] {
            let said = hours(wrong).unwrap_err();
            assert!(said.contains("1 to 744 (31 days)"), "{wrong}: {said}");
        }
    }
}
