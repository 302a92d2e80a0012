//! Answers on the way out: their form, their compression, and problems.

use axum::body::Body;
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use cloud_protocol::secure::compressed::{self, ZSTD};
use cloud_protocol::{CBOR, JSON, PROBLEM_JSON, Problem, ProblemType};
use firmware_protocols::{Form, Value};

use crate::faults::Refusal;
use crate::store::StoreError;

/// A refusal on its way out. Boxed, as it is rarely there.
pub(crate) type Refused = Box<Problem>;

/// What a signature must have (RFC 9421 § 5.1); goes with every 401.
const SIGNATURE_WANTED: &str =
    "linli=(\"@method\" \"@target-uri\" \"content-digest\");created;nonce;keyid;alg=\"ed25519\"";

/// How long a gateway is asked to wait when the store fails.
const RETRY_AFTER_S: u64 = 5;

/// A problem of one of the contract's types.
pub(crate) fn problem(kind: ProblemType, status: u16, title: &str, detail: String) -> Refused {
    Box::new(Problem {
        kind: Some(kind),
        detail: Some(detail),
        ..plain(status, title)
    })
}

/// A problem that HTTP's status says all of.
pub(crate) fn plain(status: u16, title: &str) -> Problem {
    Problem {
        kind: None,
        status,
        title: title.to_string(),
        detail: None,
        lane: None,
        expected: None,
    }
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

/// The store doesn't answer: the gateway tries again, the reason is for the log.
pub(crate) fn failed(e: &StoreError) -> Refused {
    let source = std::error::Error::source(e);
    let source = source.map_or_else(String::new, |source| format!(": {source}"));
    tracing::error!("{e}{source}");
    Box::new(plain(503, "The cloud can't keep anything at the moment"))
}

/// The form to answer in: what `Accept` prefers, else `default`.
pub(crate) fn wanted(headers: &HeaderMap, default: Form) -> Form {
    let mut best = (0.0, default);
    for (range, weight) in weighted(headers, ACCEPT) {
        let form = match range {
            CBOR => Form::Cbor,
            JSON => Form::Json,
            "*/*" | "application/*" => default,
            _ => continue,
        };
        if weight > best.0 {
            best = (weight, form);
        }
    }
    best.1
}

/// Whether the answer may come in zstd.
pub(crate) fn takes_zstd(headers: &HeaderMap) -> bool {
    weighted(headers, ACCEPT_ENCODING).any(|(coding, weight)| coding == ZSTD && weight > 0.0)
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
    let mut response = respond(status, PROBLEM_JSON, problem.to_value().write(Form::Json));
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            let wanted = HeaderValue::from_static(SIGNATURE_WANTED);
            headers.insert(HeaderName::from_static("accept-signature"), wanted);
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Signature"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(ZSTD));
        }
        _ => {}
    }
    response
}

/// What is answered while the cloud plays unwell.
pub(crate) fn unwell(fault: Refusal) -> Response {
    let mut response = refusal(&plain(fault.status, "The cloud is unwell"));
    let headers = response.headers_mut();
    headers.remove(RETRY_AFTER);
    if let Some(seconds) = fault.retry_after_s {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The same answer in zstd, if that makes it smaller.
pub(crate) async fn packed(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return refusal(&plain(500, "The answer can't be written"));
    };
    let Some(packed) = compressed::pack(&body) else {
        return Response::from_parts(parts, Body::from(body));
    };
    parts
        .headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static(ZSTD));
    Response::from_parts(parts, Body::from(packed))
}

fn respond(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The elements of a header like `Accept` with their `q` (RFC 9110 § 12.4.2).
fn weighted(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = (&str, f32)> {
    let lines = headers.get_all(name).into_iter();
    let elements = lines.filter_map(|line| line.to_str().ok());
    elements.flat_map(|line| line.split(',')).map(|element| {
        let mut parts = element.split(';').map(str::trim);
        let what = parts.next().unwrap_or_default();
        let weight = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1.0, |q| q.parse().unwrap_or(0.0));
        (what, weight)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: Option<&'static str>) -> HeaderMap {
        let value = value.map(|value| (name, HeaderValue::from_static(value)));
        value.into_iter().collect()
    }

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
            assert_eq!(
                wanted(&headers(ACCEPT, accept), Form::Cbor),
                form,
                "{accept:?}"
            );
        }
    }

    #[test]
    fn an_answer_is_packed_only_for_those_who_say_so() {
        for (accept, takes) in [
            (None, false),
            (Some("gzip, zstd"), true),
            (Some("zstd;q=0"), false),
            (Some("*"), false),
        ] {
            assert_eq!(takes_zstd(&headers(ACCEPT_ENCODING, accept)), takes);
        }
    }
}
