//! What an answer says: the body of a good one, or the failure that another stands for.

use std::time::Duration;

use cloud_protocol::secure::compressed::{self, ZSTD};
use cloud_protocol::{CBOR, JSON, PROBLEM_JSON, Problem};
use firmware_protocols::Value;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::failure::{Between, Failure};
use super::http::Answer;

/// The longest that a cloud can ask to be left alone: fulfilment can't wait for a mistaken header.
const RETRY_AFTER_LONGEST: Duration = Duration::from_secs(3600);
/// How much of somebody else's words is shown.
const QUOTED_MAX: usize = 64;

/// The content of a good answer, unpacked and read; else why there is none.
pub(super) fn read(answer: &Answer) -> Result<Value, Failure> {
    let media_type = media_type(&answer.headers);
    let body = unpacked(answer)?;
    let body = body.as_deref().unwrap_or(&answer.body);
    match answer.status {
        StatusCode::OK => content(media_type.as_deref(), body),
        status => Err(refusal(
            status,
            &answer.headers,
            media_type.as_deref(),
            body,
        )),
    }
}

/// The cloud's clock when it answered, ms since the Unix epoch, to the second.
pub(super) fn date_ms(headers: &HeaderMap) -> Option<i64> {
    date(headers, &DATE).map(|s| s.saturating_mul(1000))
}

/// The body, if it came packed.
fn unpacked(answer: &Answer) -> Result<Option<Vec<u8>>, Failure> {
    let Some(coding) = answer.headers.get(CONTENT_ENCODING) else {
        return Ok(None);
    };
    match coding.to_str().map(|c| c.trim().to_ascii_lowercase()) {
        Ok(coding) if coding == ZSTD => compressed::unpack(&answer.body)
            .map(Some)
            .map_err(|e| Failure::Odd(format!("the cloud's answer can't be read: {e}"))),
        Ok(coding) if coding.is_empty() || coding == "identity" => Ok(None),
        _ => Err(Failure::Odd(
            "the cloud's answer can't be read: it is packed in a way that wasn't asked for"
                .to_owned(),
        )),
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

fn content(media_type: Option<&str>, body: &[u8]) -> Result<Value, Failure> {
    let value = match media_type {
        Some(CBOR) => Value::from_cbor(body),
        Some(JSON) => Value::from_json(body),
        Some("text/html" | "application/xhtml+xml") => {
            return Err(portal("a web page".to_owned()));
        }
        other => {
            let other = shown(other.unwrap_or("nothing"));
            return Err(Failure::Odd(format!(
                "what answers isn't the cloud: its answer is of the type '{other}'"
            )));
        }
    };
    value.map_err(|e| Failure::Odd(format!("the cloud's answer can't be read: {e}")))
}

fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    media_type: Option<&str>,
    body: &[u8],
) -> Failure {
    if status.is_redirection() {
        return portal(format!("it sends elsewhere{} (HTTP {status})", to(headers)));
    }
    if status == StatusCode::NETWORK_AUTHENTICATION_REQUIRED {
        return portal(format!("this network wants a login first (HTTP {status})"));
    }
    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return Failure::Between {
            words: format!("a proxy wants a login (HTTP {status})"),
            what: Between::Proxy,
        };
    }
    if status.is_success() || status.is_informational() {
        return Failure::Odd(format!("what answers isn't the cloud: HTTP {status}"));
    }
    let stated = match media_type {
        Some(PROBLEM_JSON | JSON) => Value::from_json(body).ok(),
        _ => None,
    };
    let mut problem = stated
        .and_then(|value| Problem::from_value(&value).ok())
        .unwrap_or_else(|| unstated(status));
    problem.status = status.as_u16();
    let problem = Box::new(problem);
    match status.as_u16() {
        408 | 425 | 429 | 500.. => Failure::Busy {
            problem,
            retry_after: retry_after(headers),
        },
        _ => Failure::Refused(problem),
    }
}

fn portal(words: String) -> Failure {
    Failure::Between {
        words,
        what: Between::Portal,
    }
}

/// Where a redirect leads: the host is enough to know a portal by, and the rest may be personal.
fn to(headers: &HeaderMap) -> String {
    let location = headers.get(LOCATION).and_then(|l| l.to_str().ok());
    let host = location
        .and_then(|l| l.parse::<http::Uri>().ok())
        .and_then(|uri| uri.host().map(shown));
    host.map(|host| format!(" to {host}")).unwrap_or_default()
}

fn shown(text: &str) -> String {
    let shown = text.chars().filter(|c| !c.is_control());
    shown.take(QUOTED_MAX).collect()
}

fn unstated(status: StatusCode) -> Problem {
    Problem {
        kind: None,
        status: status.as_u16(),
        title: status.canonical_reason().unwrap_or("no reason").to_string(),
        detail: None,
        lane: None,
        expected: None,
    }
}

/// `Retry-After` in seconds or as a date, the date read by the cloud's own clock (`Date`), as ours
/// may not be set.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let seconds = date(headers, &RETRY_AFTER)?.saturating_sub(date(headers, &DATE)?);
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        }
    };
    Some(pause.min(RETRY_AFTER_LONGEST))
}

/// A date in a header, seconds since the Unix epoch.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let text = headers.get(name)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    Some(date.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn answer(status: u16, headers: &[(HeaderName, &'static str)], body: &[u8]) -> Answer {
        let headers = headers.iter();
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
                .collect(),
            body: body.to_vec(),
            cost: Default::default(),
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_clouds_clock() {
        let read = |retry: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(retry));
            if let Some(date) = date {
                headers.insert(DATE, HeaderValue::from_static(date));
            }
            retry_after(&headers).map(|d| d.as_secs())
        };
        let noon = Some("Fri, 31 Dec 1999 12:00:00 GMT");
        assert_eq!(read("120", None), Some(120));
        assert_eq!(read("86400", None), Some(3600));
        assert_eq!(read("Fri, 31 Dec 1999 12:00:30 GMT", noon), Some(30));
        assert_eq!(read("Fri, 31 Dec 1999 11:00:00 GMT", noon), Some(0));
        assert_eq!(read("Fri, 31 Dec 1999 12:00:30 GMT", None), None);
        assert_eq!(read("soon", noon), None);
        assert_eq!(read("-5", noon), None);
    }

    #[test]
    fn what_stands_between_is_named_with_a_remedy() {
        let json = (CONTENT_TYPE, JSON);
        let to_portal = (LOCATION, "http://login.hotel.example/?who=me");
        let cases = [
            (
                answer(200, &[(CONTENT_TYPE, "text/html; charset=utf-8")], b"<p>"),
                "what answers isn't the cloud: a web page",
                "captive portal",
            ),
            (
                answer(302, &[to_portal], b""),
                "what answers isn't the cloud: it sends elsewhere to login.hotel.example (HTTP 302 Found)",
                "captive portal",
            ),
            (
                answer(511, std::slice::from_ref(&json), b"{}"),
                "what answers isn't the cloud: this network wants a login first (HTTP 511 Network \
                 Authentication Required)",
                "captive portal",
            ),
            (
                answer(407, &[], b""),
                "what answers isn't the cloud: a proxy wants a login (HTTP 407 Proxy Authentication \
                 Required)",
                "proxy",
            ),
        ];
        for (answer, words, remedy) in cases {
            let failure = read(&answer).unwrap_err();
            assert_eq!(failure.to_string(), words);
            assert!(failure.remedy().unwrap().contains(remedy), "{words}");
        }
    }

    #[test]
    fn a_packed_answer_is_read_and_a_bomb_is_not() {
        let packed = [(CONTENT_TYPE, JSON), (CONTENT_ENCODING, ZSTD)];
        let body = format!("{{\"a\":\"{}\"}}", "long ".repeat(200));
        let body = compressed::pack(body.as_bytes()).unwrap();
        assert!(read(&answer(200, &packed, &body)).is_ok());
        let bomb = compressed::pack(&vec![b' '; cloud_protocol::BODY_MAX_BYTES + 1]).unwrap();
        assert!(bomb.len() < 1_000);
        for bad in [bomb.as_slice(), b"not zstd at all", &body[..20]] {
            let failure = read(&answer(200, &packed, bad)).unwrap_err();
            assert!(matches!(failure, Failure::Odd(_)), "{failure}");
        }
        let gzip = [(CONTENT_TYPE, JSON), (CONTENT_ENCODING, "gzip")];
        let failure = read(&answer(200, &gzip, b"{}")).unwrap_err();
        assert!(failure.to_string().contains("wasn't asked for"));
    }

    #[test]
    fn the_date_is_read_to_the_second() {
        let told = answer(200, &[(DATE, "Sun, 01 Nov 2026 00:00:07 GMT")], b"");
        assert_eq!(date_ms(&told.headers), Some(1_793_491_207_000));
        assert_eq!(date_ms(&answer(200, &[(DATE, "noon")], b"").headers), None);
    }
}
