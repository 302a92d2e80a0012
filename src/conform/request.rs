//! A request before it is sent, and its signature: made as the contract has it, and open to be made
//! wrong in one place.

use cloud_protocol::secure::signed::{CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT, content_digest};
use cloud_protocol::{CBOR, JSON};
use firmware_protocols::{Form, Value};
use ring::signature::Ed25519KeyPair;

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub method: &'static str,
    /// Below the cloud's URL, with the query.
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Draft {
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: "GET",
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn post(path: impl Into<String>, value: &Value, form: Form) -> Self {
        let media_type = match form {
            Form::Cbor => CBOR,
            Form::Json => JSON,
        };
        Self {
            method: "POST",
            path: path.into(),
            headers: Vec::new(),
            body: value.write(form),
        }
        .with("content-type", media_type)
    }

    /// One more header, or another value of one that is there.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(there, _)| *there != name);
        self.headers.push((name, value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(there, _)| *there != name);
        self
    }
}

/// What is signed, and by whom.
pub(super) struct Signature<'a> {
    pub key: &'a Ed25519KeyPair,
    pub label: &'static str,
    pub method: String,
    pub target_uri: String,
    pub content: Vec<u8>,
    pub covered: Vec<&'static str>,
    /// In their order, each as it is written.
    pub params: Vec<(&'static str, String)>,
}

impl Signature<'_> {
    /// Another value of a parameter.
    pub fn param(mut self, name: &'static str, value: impl Into<String>) -> Self {
        for (there, old) in &mut self.params {
            if *there == name {
                *old = value.into();
                return self;
            }
        }
        self
    }

    /// Without a parameter.
    pub fn no_param(mut self, name: &str) -> Self {
        self.params.retain(|(there, _)| *there != name);
        self
    }

    /// The request with the three headers.
    pub fn onto(self, draft: Draft) -> Draft {
        let digest = content_digest(&self.content);
        let covered: Vec<String> = self.covered.iter().map(|c| format!("\"{c}\"")).collect();
        let params = self.params.iter();
        let params: String = params
            .map(|(name, value)| format!(";{name}={value}"))
            .collect();
        let params = format!("({}){params}", covered.join(" "));
        let mut base = String::new();
        for component in &self.covered {
            let value = match *component {
                "@method" => self.method.as_str(),
                "@target-uri" => self.target_uri.as_str(),
                _ => digest.as_str(),
            };
            base.push_str(&format!("\"{component}\": {value}\n"));
        }
        base.push_str(&format!("\"@signature-params\": {params}"));
        let signature = self.key.sign(base.as_bytes());
        draft
            .with(CONTENT_DIGEST, digest)
            .with(SIGNATURE_INPUT, format!("{}={params}", self.label))
            .with(
                SIGNATURE,
                format!("{}=:{}:", self.label, base64(signature.as_ref())),
            )
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
