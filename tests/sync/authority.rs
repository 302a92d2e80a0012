//! A certificate authority of a test's own, and what it gives out.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

pub const DAY_S: i64 = 86_400;

/// From when to when, seconds from now.
pub type Span = (i64, i64);

/// A certificate that is good now.
pub const GOOD: Span = (-DAY_S, 90 * DAY_S);

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        Self::that_holds(GOOD)
    }

    pub fn that_holds(span: Span) -> Self {
        let mut params = params(&[], span);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server with a certificate for this name.
    pub fn server(&self, name: &str, span: Span) -> Arc<ServerConfig> {
        self.server_of(rustls::ALL_VERSIONS, name, span)
    }

    /// One that speaks only these versions of TLS.
    pub fn server_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        name: &str,
        span: Span,
    ) -> Arc<ServerConfig> {
        let (certificate, key) = self.signed(params(&[name], span));
        let config = builder(versions).with_no_client_auth();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = config.with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }

    /// A server on localhost that wants certificates of this authority.
    pub fn server_with_clients(&self) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::new(default_provider()),
        );
        let (certificate, key) = self.signed(params(&["localhost"], GOOD));
        let config =
            builder(rustls::ALL_VERSIONS).with_client_cert_verifier(verifier.build().unwrap());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = config.with_single_cert(vec![certificate.der().clone()], key);
        Arc::new(config.unwrap())
    }

    /// A gateway's certificate and its key, PEM.
    pub fn client(&self, span: Span) -> (String, String) {
        let mut params = params(&["estate-1"], span);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = self.signed(params);
        (certificate.pem(), key.serialize_pem())
    }

    fn signed(&self, params: CertificateParams) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

fn builder(
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
}

fn params(names: &[&str], (from_s, to_s): Span) -> CertificateParams {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = |s: i64| {
        let s = u64::try_from(s + i64::try_from(now.as_secs()).unwrap()).unwrap();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(s)
    };
    params.not_before = at(from_s);
    params.not_after = at(to_s);
    params
}
