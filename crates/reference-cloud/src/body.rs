//! Bodies: content negotiation, the bound on their size, and answers and problems on the way out.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use cloud_protocol::{BODY_MAX_BYTES, CBOR, JSON, PROBLEM_JSON, Problem, ProblemType};
use firmware_protocols::{Form, Value};
use http_body_util::BodyExt as _;

use crate::faults::Refusal;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A body over its bound is read on up to here, so that the client hears the answer instead of a
/// broken pipe.
const PATIENCE_BYTES: usize = 4 * BODY_MAX_BYTES;

/// A refusal on its way out. Boxed, as it is rarely there.
pub(crate) type Refused = Box<Problem>;

/// A problem of one of the contract's types.
pub(crate) fn problem(kind: ProblemType, status: u16, title: &str, detail: String) -> Refused {
    Box::new(Problem {
        kind: Some(kind),
        status,
        title: title.to_string(),
        detail: Some(detail),
        lane: None,
        expected: None,
    })
}

/// A body that can't be read.
pub(crate) fn malformed(detail: String) -> Refused {
    problem(
        ProblemType::Malformed,
        400,
        "The request can't be read",
        detail,
    )
}

/// Reads the body in the form that its content type names.
pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<(Value, Form), Refused> {
    let form = declared(headers)?;
    let bytes = tokio::time::timeout(BODY_TIMEOUT, bounded(body))
        .await
        .map_err(|_| malformed(format!("no whole body within {} s", BODY_TIMEOUT.as_secs())))??;
    let value = match form {
        Form::Cbor => Value::from_cbor(&bytes),
        Form::Json => Value::from_json(&bytes),
    };
    Ok((value.map_err(|e| malformed(e.to_string()))?, form))
}

/// The form to answer in: what `Accept` prefers, else `default`.
pub(crate) fn wanted(headers: &HeaderMap, default: Form) -> Form {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let mut best = (0.0, default);
    for range in accept.unwrap_or_default().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let form = match parts.next() {
            Some(CBOR) => Form::Cbor,
            Some(JSON) => Form::Json,
            Some("*/*" | "application/*") => default,
            _ => continue,
        };
        let weight = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1.0, |q| q.parse().unwrap_or(0.0));
        if weight > best.0 {
            best = (weight, form);
        }
    }
    best.1
}

/// An answer with a body.
pub(crate) fn answer(status: StatusCode, value: &Value, form: Form) -> Response {
    let media_type = match form {
        Form::Cbor => CBOR,
        Form::Json => JSON,
    };
    respond(status, media_type, value.write(form))
}

/// A problem as RFC 9457 JSON.
pub(crate) fn refusal(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    respond(status, PROBLEM_JSON, problem.to_value().write(Form::Json))
}

/// What is answered while the cloud plays unwell.
pub(crate) fn unwell(fault: Refusal) -> Response {
    let mut response = refusal(&Problem {
        kind: None,
        status: fault.status,
        title: "The cloud is unwell".to_string(),
        detail: None,
        lane: None,
        expected: None,
    });
    if let Some(seconds) = fault.retry_after_s {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn respond(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(
        HeaderName::from_static("cache-control"),
        HeaderValue::from_static("no-store"),
    );
    response
}

fn declared(headers: &HeaderMap) -> Result<Form, Refused> {
    let declared = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    match declared {
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

async fn bounded(mut body: Body) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| malformed(format!("the body broke off: {e}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= BODY_MAX_BYTES {
            bytes.extend_from_slice(&data);
        } else if length > PATIENCE_BYTES {
            break;
        }
    }
    if length > BODY_MAX_BYTES {
        return Err(problem(
            ProblemType::TooLarge,
            413,
            "The body is too large",
            format!("at most {BODY_MAX_BYTES} bytes are taken: send fewer items at a time"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_an_answer_follows_accept() {
        let cases = [
            (None, Form::Cbor),
            (Some("application/json"), Form::Json),
            (Some("text/html"), Form::Cbor),
            (Some("*/*"), Form::Cbor),
            (Some("application/cbor;q=0.5, application/json"), Form::Json),
            (
                Some("application/json; q=0.1, application/cbor; q=0.2"),
                Form::Cbor,
            ),
            (Some("application/json;q=0"), Form::Cbor),
            (Some("application/json;q=x, ;;,"), Form::Cbor),
        ];
        for (accept, form) in cases {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(wanted(&headers, Form::Cbor), form, "{accept:?}");
        }
    }
}
