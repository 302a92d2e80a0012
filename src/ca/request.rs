//! Certificate requests (PKCS #10, RFC 2986) of devices that make their key themselves and never let
//! it out, as those with a secure element do.

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::request::CertReq;

use super::CaError;

/// id-ecPublicKey, ecdsa-with-SHA256 and prime256v1.
const EC_KEY: &str = "1.2.840.10045.2.1";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const P256: &str = "1.2.840.10045.3.1.7";
/// An uncompressed point on P-256.
const POINT_BYTES: usize = 65;

/// A request whose sender has shown that the key is his.
#[derive(Debug)]
pub struct Request {
    /// What it calls itself: the common name of its subject; empty without one.
    pub subject: String,
    point: Vec<u8>,
}

impl Request {
    /// Reads a request in PEM or DER. Whatever it asks for beside its key and name is passed over.
    pub fn read(bytes: &[u8]) -> Result<Self, CaError> {
        let not_one = CaError::Request("it isn't a certificate request in PEM or DER (PKCS #10)");
        let der = match CertificateSigningRequestDer::from_pem_slice(bytes) {
            Ok(der) => der.as_ref().to_vec(),
            Err(_) => bytes.to_vec(),
        };
        let Ok(request) = CertReq::from_der(&der) else {
            return Err(not_one);
        };
        let key = &request.info.public_key;
        let curve = key.algorithm.parameters.as_ref();
        let curve = curve.and_then(|any| any.decode_as().ok());
        let curve = curve.map(|oid: x509_cert::der::asn1::ObjectIdentifier| oid.to_string());
        let kinds = (
            key.algorithm.oid.to_string(),
            request.algorithm.oid.to_string(),
        );
        let point = key.subject_public_key.raw_bytes();
        if (kinds.0.as_str(), kinds.1.as_str()) != (EC_KEY, ECDSA_SHA256)
            || curve.as_deref() != Some(P256)
            || point.len() != POINT_BYTES
        {
            return Err(CaError::Request(
                "its key isn't ECDSA on P-256 with SHA-256: make it with 'openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256'",
            ));
        }
        let Ok(said) = request.info.to_der() else {
            return Err(not_one);
        };
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(&said, request.signature.raw_bytes())
            .map_err(|_| CaError::Request("its signature doesn't hold: make it anew"))?;
        let subject = request.info.subject.common_name().ok().flatten();
        Ok(Self {
            subject: subject
                .map(|name| name.value().into_owned())
                .unwrap_or_default(),
            point: point.to_vec(),
        })
    }
}

impl PublicKeyData for Request {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn request(key: &KeyPair) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "door-7");
        params.serialize_request(key).unwrap().der().to_vec()
    }

    #[test]
    fn a_request_shows_its_key_and_name_in_both_forms() {
        let key = KeyPair::generate().unwrap();
        let der = request(&key);
        let read = Request::read(&der).unwrap();
        assert_eq!(read.subject, "door-7");
        assert_eq!(read.der_bytes(), key.public_key_raw());
        let params = CertificateParams::new(Vec::new()).unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        assert!(Request::read(pem.as_bytes()).is_ok());
    }

    #[test]
    fn what_isnt_signed_by_its_own_key_is_refused() {
        let der = request(&KeyPair::generate().unwrap());
        let mut refused = 0;
        for at in 0..der.len() {
            let mut bent = der.clone();
            bent[at] ^= 1;
            match Request::read(&bent) {
                Err(_) => refused += 1,
                // Only where the encoding has room for two ways to say the same.
                Ok(read) => assert_eq!(read.subject, "door-7", "byte {at}"),
            }
        }
        assert!(refused + 3 > der.len(), "{refused} of {}", der.len());
    }

    #[test]
    fn other_keys_are_refused_with_the_remedy() {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let error = Request::read(&request(&key)).unwrap_err().to_string();
        assert!(error.contains("P-256"), "{error}");
        assert!(Request::read(b"nothing of the kind").is_err());
    }
}
