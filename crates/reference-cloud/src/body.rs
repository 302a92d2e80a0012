//! Bodies on the way in: the bounds on their size and time, their content coding and their form.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use cloud_protocol::secure::compressed::{self, ZSTD};
use cloud_protocol::{BODY_MAX_BYTES, CBOR, JSON, ProblemType};
use firmware_protocols::{Form, Value};
use http_body_util::BodyExt as _;

use crate::answer::{Refused, malformed, plain, problem};

/// The largest body of a call that has few fields.
pub(crate) const SMALL_MAX_BYTES: usize = 16 * 1024;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a body that nobody wants is read and thrown away.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// A body over its bound is read on up to here, so that the client hears the answer instead of a
/// broken pipe.
const PATIENCE_BYTES: usize = 4 * BODY_MAX_BYTES;

/// The content as it was sent, at most `max` bytes.
pub(crate) async fn content(body: Body, max: usize) -> Result<Vec<u8>, Refused> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, bounded(body, max)).await;
    whole.unwrap_or_else(|_| {
        let title = format!("No whole body came within {} s", BODY_TIMEOUT.as_secs());
        Err(Box::new(plain(408, &title)))
    })
}

/// Reads a body that isn't wanted, so that its sender hears why; within bounds, keeping nothing.
pub(crate) async fn drain(headers: &HeaderMap, body: Body) {
    // It waits for a word before it sends: the answer is one.
    if headers.contains_key(EXPECT) {
        return;
    }
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, bounded(body, 0)).await;
}

/// What the content says, in the coding and the form that the headers name.
pub(crate) fn value(headers: &HeaderMap, content: &[u8]) -> Result<(Value, Form), Refused> {
    let form = declared(headers)?;
    let content = unpacked(headers, content)?;
    let value = match form {
        Form::Cbor => Value::from_cbor(&content),
        Form::Json => Value::from_json(&content),
    };
    Ok((value.map_err(|e| malformed(e.to_string()))?, form))
}

fn unpacked<'a>(headers: &HeaderMap, content: &'a [u8]) -> Result<Cow<'a, [u8]>, Refused> {
    let mut codings = headers.get_all(CONTENT_ENCODING).into_iter();
    let coding = match (codings.next().map(|coding| coding.to_str()), codings.next()) {
        (None, _) => return Ok(Cow::Borrowed(content)),
        (Some(Ok(coding)), None) => coding.trim(),
        _ => "",
    };
    if coding.eq_ignore_ascii_case("identity") {
        return Ok(Cow::Borrowed(content));
    }
    if !coding.eq_ignore_ascii_case(ZSTD) {
        return Err(problem(
            ProblemType::Malformed,
            415,
            "The body's content coding isn't known",
            format!("send the body as it is, or with the header Content-Encoding: {ZSTD}"),
        ));
    }
    match compressed::unpack(content) {
        Ok(content) => Ok(Cow::Owned(content)),
        Err(compressed::Refused::TooLarge) => Err(too_large(BODY_MAX_BYTES)),
        Err(e @ compressed::Refused::Damaged) => Err(malformed(e.to_string())),
    }
}

fn declared(headers: &HeaderMap) -> Result<Form, Refused> {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    match declared.as_deref() {
        Some(CBOR) => Ok(Form::Cbor),
        Some(JSON) => Ok(Form::Json),
        _ => Err(problem(
            ProblemType::Malformed,
            415,
            "The body's type isn't known",
            format!("set the header Content-Type to {CBOR} or {JSON}"),
        )),
    }
}

async fn bounded(mut body: Body, max: usize) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| malformed(format!("the body broke off: {e}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= max {
            bytes.extend_from_slice(&data);
        } else if length > PATIENCE_BYTES {
            break;
        }
    }
    if length > max {
        return Err(too_large(max));
    }
    Ok(bytes)
}

fn too_large(max: usize) -> Refused {
    problem(
        ProblemType::TooLarge,
        413,
        "The body is too large",
        format!("at most {max} bytes are taken: send fewer items at a time"),
    )
}
