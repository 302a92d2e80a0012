//! Signed requests: HTTP Message Signatures (RFC 9421) by Ed25519, over `@method`, `@target-uri` and
//! `content-digest` (RFC 9530), with `created`, `nonce` and `keyid`.
//!
//! The structured fields are read and written by the crate `sfv`, the signatures made by `ring`. What
//! is here is the signature base between the two (RFC 9421 § 2.5), for requests: derived components
//! without parameters and single header fields. A signature that covers anything else is refused.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use sfv::{Dictionary, FieldType as _, InnerList, Item, ListEntry, Parser};
use sha2::{Digest as _, Sha256};

/// The header with the digest of the content.
pub const CONTENT_DIGEST: &str = "content-digest";
/// The header that says what is signed.
pub const SIGNATURE_INPUT: &str = "signature-input";
/// The header with the signatures.
pub const SIGNATURE: &str = "signature";
/// What a signature must cover.
pub const COVERED: [&str; 3] = ["@method", "@target-uri", CONTENT_DIGEST];
/// How far a request's `created` may be from the cloud's time, seconds, before or after.
pub const CREATED_WITHIN_S: i64 = 300;
/// The longest nonce, characters.
pub const NONCE_MAX: usize = 64;
/// The longest `signature-input` and `signature`, bytes.
pub const HEADER_MAX: usize = 2_048;

const LABEL: &str = "linli";

/// A request as a signature sees it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// In capitals.
    pub method: &'a str,
    /// The whole URI as it was asked for: scheme, authority, path and query.
    pub target_uri: &'a str,
    /// Its header fields: the value of the one that has this name in small letters.
    pub field: &'a dyn Fn(&str) -> Option<String>,
}

/// The three headers to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    /// [`CONTENT_DIGEST`]
    pub content_digest: String,
    /// [`SIGNATURE_INPUT`]
    pub signature_input: String,
    /// [`SIGNATURE`]
    pub signature: String,
}

/// Why a request doesn't count as signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// A header is missing.
    #[error("the header '{0}' is missing")]
    Missing(&'static str),
    /// A header can't be read.
    #[error("the header '{0}' can't be read: {1}")]
    Unreadable(&'static str, &'static str),
    /// The signature leaves something out.
    #[error("the signature doesn't cover '{0}'")]
    Uncovered(&'static str),
    /// The signature covers something that this reader can't check.
    #[error("the signature covers '{0}', which isn't there or isn't understood here")]
    Unknown(String),
    /// A parameter is missing or wrong.
    #[error("the signature's parameter '{0}' is missing or wrong")]
    Parameter(&'static str),
    /// The content isn't what the digest says.
    #[error("the content isn't the one that was signed")]
    Content,
}

/// What a request's signature says of itself. Not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// Who claims to have signed.
    pub keyid: String,
    /// When, seconds since the Unix epoch.
    pub created: i64,
    /// Never the same twice.
    pub nonce: String,
    base: String,
    signature: Vec<u8>,
}

/// `Content-Digest` of the content as it is sent (after its content coding).
pub fn content_digest(content: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(content)))
}

/// Whether the content is the one of a `Content-Digest`: by its `sha-256`, which must be there.
pub fn check_content(header: &str, content: &[u8]) -> Result<(), Unsigned> {
    let stated: Dictionary = parsed(CONTENT_DIGEST, header)?;
    let digest = match stated.get("sha-256") {
        Some(ListEntry::Item(item)) => item.bare_item.as_byte_sequence(),
        _ => None,
    };
    match digest {
        Some(digest) if digest == Sha256::digest(content).as_slice() => Ok(()),
        Some(_) => Err(Unsigned::Content),
        None => Err(Unsigned::Unreadable(CONTENT_DIGEST, "it has no 'sha-256'")),
    }
}

/// A fresh nonce: 16 random bytes, or `None` if the system has none to give.
pub fn nonce() -> Option<String> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// Signs a request with this content. `created`: seconds since the Unix epoch.
///
/// `keyid` and `nonce` are ASCII without quotes and backslashes, as identifiers and [`nonce`] are.
pub fn sign(
    key: &Ed25519KeyPair,
    (method, target_uri): (&str, &str),
    content: &[u8],
    keyid: &str,
    (created, nonce): (i64, &str),
) -> SignedHeaders {
    let content_digest = content_digest(content);
    let covered = COVERED.map(|name| format!("\"{name}\"")).join(" ");
    let params = format!(
        "({covered});created={created};nonce=\"{nonce}\";keyid=\"{keyid}\";alg=\"ed25519\""
    );
    let base = format!(
        "\"@method\": {method}\n\"@target-uri\": {target_uri}\n\"content-digest\": \
         {content_digest}\n\"@signature-params\": {params}"
    );
    let signature = STANDARD.encode(key.sign(base.as_bytes()).as_ref());
    SignedHeaders {
        content_digest,
        signature_input: format!("{LABEL}={params}"),
        signature: format!("{LABEL}=:{signature}:"),
    }
}

/// Reads what a request's headers say of its signature: the first one that covers [`COVERED`].
pub fn read(request: Request<'_>) -> Result<Stated, Unsigned> {
    let inputs: Dictionary = parsed(SIGNATURE_INPUT, &needed(request, SIGNATURE_INPUT)?)?;
    let signatures: Dictionary = parsed(SIGNATURE, &needed(request, SIGNATURE)?)?;
    let mut refusal = Unsigned::Unreadable(SIGNATURE_INPUT, "it has no signature");
    for (label, input) in &inputs {
        let signature = match signatures.get(label) {
            Some(ListEntry::Item(item)) => item.bare_item.as_byte_sequence(),
            _ => None,
        };
        let (ListEntry::InnerList(input), Some(signature)) = (input, signature) else {
            continue;
        };
        match stated(request, input, signature) {
            Ok(stated) => return Ok(stated),
            Err(e) => refusal = e,
        }
    }
    Err(refusal)
}

impl Stated {
    /// Whether the private half of `public_key` (Ed25519, raw) signed it.
    pub fn is_by(&self, public_key: &[u8; 32]) -> bool {
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(self.base.as_bytes(), &self.signature)
            .is_ok()
    }
}

fn stated(request: Request<'_>, input: &InnerList, signature: &[u8]) -> Result<Stated, Unsigned> {
    for name in COVERED {
        let covers = |item: &Item| {
            item.bare_item
                .as_string()
                .is_some_and(|s| s.as_str() == name)
        };
        if !input.items.iter().any(covers) {
            return Err(Unsigned::Uncovered(name));
        }
    }
    let text = |name: &'static str| {
        let value = input.params.get(name).and_then(|v| v.as_string());
        let value = value.ok_or(Unsigned::Parameter(name))?;
        Ok::<_, Unsigned>(value.as_str().to_string())
    };
    let created = input.params.get("created").and_then(|v| v.as_integer());
    let nonce = text("nonce")?;
    if nonce.is_empty() || nonce.len() > NONCE_MAX {
        return Err(Unsigned::Parameter("nonce"));
    }
    if input
        .params
        .get("alg")
        .is_some_and(|v| v.as_string().is_none_or(|s| s.as_str() != "ed25519"))
    {
        return Err(Unsigned::Parameter("alg"));
    }
    Ok(Stated {
        keyid: text("keyid")?,
        created: i64::from(created.ok_or(Unsigned::Parameter("created"))?),
        nonce,
        base: base(request, input)?,
        signature: signature.to_vec(),
    })
}

/// RFC 9421 § 2.5.
fn base(request: Request<'_>, input: &InnerList) -> Result<String, Unsigned> {
    let mut base = String::new();
    let mut seen: Vec<&str> = Vec::new();
    for item in &input.items {
        let unknown = || Unsigned::Unknown(item.serialize());
        let name = item.bare_item.as_string().ok_or_else(unknown)?.as_str();
        if !item.params.is_empty() || seen.contains(&name) {
            return Err(unknown());
        }
        seen.push(name);
        let value = component(request, name).ok_or_else(unknown)?;
        base.push_str(&format!("\"{name}\": {value}\n"));
    }
    let params = Vec::from([ListEntry::InnerList(input.clone())]).serialize();
    let params = params.ok_or(Unsigned::Unreadable(SIGNATURE_INPUT, "it is empty"))?;
    base.push_str(&format!("\"@signature-params\": {params}"));
    Ok(base)
}

/// A component's value, RFC 9421 § 2.1 and § 2.2.
fn component(request: Request<'_>, name: &str) -> Option<String> {
    let after_scheme = || request.target_uri.split_once("://");
    let rest = || Some(after_scheme()?.1);
    let path_from = |rest: &str| rest.find(['/', '?']).unwrap_or(rest.len());
    let path_and_query = || rest().map(|rest| &rest[path_from(rest)..]);
    let value = match name {
        "@method" => request.method.to_string(),
        "@target-uri" => request.target_uri.to_string(),
        "@scheme" => after_scheme()?.0.to_ascii_lowercase(),
        "@authority" => {
            let (scheme, rest) = after_scheme()?;
            authority(scheme, &rest[..path_from(rest)])
        }
        "@path" => match path_and_query()?.split('?').next()? {
            "" => "/".to_string(),
            path => path.to_string(),
        },
        "@query" => {
            let query = path_and_query()?.split_once('?').map_or("", |(_, q)| q);
            format!("?{query}")
        }
        name if name.starts_with('@') => return None,
        name => (request.field)(name)?.trim().to_string(),
    };
    (!value.contains(['\n', '\r'])).then_some(value)
}

/// In small letters, and without the port if it is the scheme's own (RFC 9110 § 4.2.3).
fn authority(scheme: &str, authority: &str) -> String {
    let own_port = match scheme.to_ascii_lowercase().as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let authority = authority.to_ascii_lowercase();
    match authority.strip_suffix(own_port) {
        Some(host) => host.to_string(),
        None => authority,
    }
}

fn needed(request: Request<'_>, name: &'static str) -> Result<String, Unsigned> {
    let value = (request.field)(name).ok_or(Unsigned::Missing(name))?;
    if value.len() > HEADER_MAX {
        return Err(Unsigned::Unreadable(name, "it is too long"));
    }
    Ok(value)
}

fn parsed(name: &'static str, value: &str) -> Result<Dictionary, Unsigned> {
    Parser::new(value)
        .parse()
        .map_err(|_| Unsigned::Unreadable(name, "it isn't a structured field"))
}

#[cfg(test)]
#[path = "signed_tests.rs"]
mod tests;
