"""Signs requests as SYNC.md says, by http-message-signatures and cryptography."""

import base64
import datetime
import hashlib
import secrets

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public_key(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class OneKey(HTTPSignatureKeyResolver):
    def __init__(self, key: Ed25519PrivateKey):
        self.key = key

    def resolve_private_key(self, key_id: str):
        return self.key

    def resolve_public_key(self, key_id: str):
        return self.key.public_key()


class Signer(requests.auth.AuthBase):
    """Adds the three headers to a prepared request, whatever its content is by then."""

    def __init__(self, key: Ed25519PrivateKey, keyid: str, ahead_s: int = 0):
        self.signer = HTTPMessageSigner(
            signature_algorithm=algorithms.ED25519, key_resolver=OneKey(key)
        )
        self.keyid = keyid
        self.ahead = datetime.timedelta(seconds=ahead_s)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        content = request.body or b""
        if isinstance(content, str):
            content = content.encode()
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        request.headers["Content-Digest"] = f"sha-256=:{digest}:"
        for name in ("Signature-Input", "Signature"):
            request.headers.pop(name, None)
        self.signer.sign(
            request,
            key_id=self.keyid,
            created=datetime.datetime.now(datetime.timezone.utc) + self.ahead,
            nonce=secrets.token_urlsafe(16),
            label="linli",
            covered_component_ids=("@method", "@target-uri", "content-digest"),
            use_existing_digest=True,
        )
        return request
