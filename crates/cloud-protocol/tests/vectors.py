"""Writes vectors.json: the vectors of SYNC.md, by an implementation that shares nothing with the crate.

Deterministic CBOR and HPKE are written out here, from RFC 8949 § 4.2.1 and RFC 9180; hashes are Python's,
the curves and the AEAD those of the package `cryptography`, and zstd is the program of that name.

    python3 crates/cloud-protocol/tests/vectors.py > crates/cloud-protocol/vectors.json
"""

import base64
import hashlib
import hmac
import json
import struct
import subprocess
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

GATEWAY = "willow-court"
CLOUD = "https://cloud.example"
BODY_MAX = 1 << 20


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64(data):
    return base64.b64encode(data).decode()


# --- CBOR, RFC 8949 § 4.2.1 --------------------------------------------------------------------------

def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for info, form, limit in ((24, ">B", 1 << 8), (25, ">H", 1 << 16), (26, ">I", 1 << 32), (27, ">Q", 1 << 64)):
        if n < limit:
            return bytes([major << 5 | info]) + struct.pack(form, n)
    raise ValueError(n)


def cbor(value):
    if value is True or value is False:
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, dict):
        pairs = sorted((cbor(key), cbor(entry)) for key, entry in value.items())
        return head(5, len(value)) + b"".join(key + entry for key, entry in pairs)
    raise TypeError(value)


def as_json(value):
    """The same in JSON: byte strings as base64url."""
    if isinstance(value, bytes):
        return b64url(value)
    if isinstance(value, list):
        return [as_json(entry) for entry in value]
    if isinstance(value, dict):
        return {key: as_json(entry) for key, entry in value.items()}
    return value


def text(value):
    return json.dumps(as_json(value), ensure_ascii=False, separators=(",", ":"))


# --- HPKE, RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode ------------

KEM = b"KEM" + struct.pack(">H", 0x0020)
SUITE = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0003)


def extract(suite, salt, label, ikm):
    return hmac.new(salt, b"HPKE-v1" + suite + label + ikm, hashlib.sha256).digest()


def expand(suite, prk, label, info, length):
    info = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([n]), hashlib.sha256).digest()
        out, n = out + block, n + 1
    return out[:length]


def derive_key_pair(ikm):
    private = expand(KEM, extract(KEM, b"", b"dkp_prk", ikm), b"sk", b"", 32)
    return private, X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def seal(public, ephemeral, info, aad, plain):
    private, enc = derive_key_pair(ephemeral)
    shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    prk = extract(KEM, b"", b"eae_prk", shared)
    secret = expand(KEM, prk, b"shared_secret", enc + public, 32)
    context = b"\0" + extract(SUITE, b"", b"psk_id_hash", b"") + extract(SUITE, b"", b"info_hash", info)
    prk = extract(SUITE, secret, b"secret", b"")
    key = expand(SUITE, prk, b"key", context, 32)
    nonce = expand(SUITE, prk, b"base_nonce", context, 12)
    return enc, ChaCha20Poly1305(key).encrypt(nonce, plain, aad)


def of_the_rfc():
    """RFC 9180 appendix A.2.1: holds, or nothing of this file counts."""
    _, public = derive_key_pair(bytes.fromhex("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df"))
    ephemeral = bytes.fromhex("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b")
    enc, ct = seal(public, ephemeral, b"Ode on a Grecian Urn", b"Count-0", b"Beauty is truth, truth beauty")
    assert public.hex() == "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
    assert enc.hex() == "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
    assert ct.hex() == "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"


def sealed_code(name, seed, key, parcel, digits, ephemeral):
    private, public = derive_key_pair(seed)
    aad = GATEWAY.encode() + b"\0" + parcel.encode()
    enc, ct = seal(public, ephemeral, b"linli/v1/pickup-code", aad, digits.encode())
    vector = {
        "name": name, "seed": seed.hex(), "private_key": private.hex(), "public_key": public.hex(),
        "ephemeral_seed": ephemeral.hex(), "key": key, "gateway": GATEWAY, "parcel": parcel,
        "info": b"linli/v1/pickup-code".hex(), "aad": aad.hex(), "enc": enc.hex(), "ct": ct.hex(), "digits": digits,
    }
    return vector, {"key": key, "enc": enc, "ct": ct}


# --- Signed requests, RFC 9421 and RFC 9530 ----------------------------------------------------------

def signed(name, seed, keyid, method, target, content, created, nonce, more=()):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    uri = CLOUD + target
    digest = f"sha-256=:{b64(hashlib.sha256(content).digest())}:"
    params = (
        f'("@method" "@target-uri" "content-digest");created={created};nonce="{nonce}"'
        f';keyid="{keyid}";alg="ed25519"'
    )
    base = f'"@method": {method}\n"@target-uri": {uri}\n"content-digest": {digest}\n"@signature-params": {params}'
    return {
        "name": name, "key_seed": seed.hex(), "public_key": key.public_key().public_bytes_raw().hex(),
        "method": method, "target_uri": uri, "headers": dict(more), "content": content.hex(),
        "created": created, "nonce": nonce, "keyid": keyid, "signature_base": base,
        "content_digest": digest, "signature_input": f"linli={params}",
        "signature": f"linli=:{b64(key.sign(base.encode()))}:",
    }


def key_change(seed):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes_raw()
    message = b"linli/v1/key-change\0" + GATEWAY.encode() + b"\0" + public
    proof = key.sign(message)
    vector = {
        "gateway": GATEWAY, "new_key_seed": seed.hex(), "public_key": public.hex(),
        "message": message.hex(), "proof": proof.hex(), "json": text({"public_key": public, "proof": proof}),
    }
    return vector, {"public_key": public, "proof": proof}


# --- zstd --------------------------------------------------------------------------------------------

def zstd(data, *options):
    command = ["zstd", "-q", "-c", *options]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def opens(name, packed, content):
    return {"name": name, "packed": packed.hex(), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def refused(name, packed, why):
    return {"name": name, "packed": packed.hex(), "refused": why}


def packed():
    body = text({"epoch": 1760000000, "lanes": {}}).encode()
    # A last block of nothing, and one that is a byte repeated so many times.
    magic, empty = bytes.fromhex("28b52ffd"), bytes.fromhex("010000")
    repeated = lambda count: (count << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    half = zstd(bytes(BODY_MAX // 2), "-19", "--no-check", f"--stream-size={BODY_MAX // 2}")
    return [
        opens("a small batch", zstd(body, "--no-check"), body),
        opens("the same with a checksum", zstd(body), body),
        opens("as much as may come out", zstd(bytes(BODY_MAX), "-19"), bytes(BODY_MAX)),
        opens("two frames, as much together", half + half, bytes(BODY_MAX)),
        opens("a window of 8 MiB, with little in it", magic + b"\x00\x68" + repeated(9), bytes(9)),
        opens("a frame to be skipped, before", bytes.fromhex("502a4d1804000000") + b"skip" + zstd(body), body),
        refused("a byte too much", zstd(bytes(BODY_MAX + 1), "-19"), "too-large"),
        refused("a bomb: 64 MiB", zstd(bytes(64 << 20), "-19", "--no-check"), "too-large"),
        refused("two frames, too much together", half + half + zstd(b"x"), "too-large"),
        refused("an exbibyte announced, nothing in it", magic + b"\xe0" + struct.pack("<Q", 1 << 60) + empty, "any"),
        refused("broken off", zstd(bytes(BODY_MAX), "-19")[:-6], "any"),
        refused("not zstd", body, "malformed"),
        refused("something behind it", zstd(body) + b"\n", "malformed"),
    ]


# --- The items of SYNC.md ----------------------------------------------------------------------------

def items(code):
    at = 1_760_000_000_000
    fulfilment = [
        ("a parcel with its code", {"seq": 1, "at": at, "kind": "parcel", "parcel": "P-1", "state": "expected", "since": at, "code": code}),
        ("a parcel in a compartment", {"seq": 2, "at": at + 123_456, "kind": "parcel", "parcel": "P-1", "state": "deposited", "since": at + 123_000, "bank": "bank-a", "compartment": 7}),
        ("no place", {"seq": 3, "at": at + 200_000, "kind": "unplaceable", "parcel": "P-2", "point": "bank-a", "size": "L", "zone": "chilled", "desk": "desk-1"}),
        ("a claim", {"seq": 4, "at": at + 300_000, "kind": "claim", "parcel": "P-1", "claim": "damaged", "operator": "Li Na", "desk": "desk-1", "note": "鸡蛋碎了 eggs broken", "compensation_fen": 1_250, "keeps": False, "returned_as": "P-1-R"}),
        ("a return", {"seq": 5, "at": at + 300_000, "kind": "parcel", "parcel": "P-1-R", "state": "deposited", "since": at + 300_000, "desk": "desk-1", "return_of": "P-1"}),
    ]
    demand = [
        ("an hour of a building", {"seq": 1, "at": at + 3_600_000, "kind": "demand", "scope": {"building": "b1"}, "start": at + 400_000, "minutes": 60, "revision": 1, "series": {"comings": 23, "goings": 300, "intent:eggs": 70_000}}),
    ]
    audit_head = bytes.fromhex("969eaea871841ec35a0e4a7f010abbb27157ef89fe08e7794b5d537cad9bd22e")
    health = [
        ("counters", {"seq": 1, "at": at, "kind": "health", "counters": {"events": 1 << 32, "starts": 1}}),
        ("the head of the audit", {"seq": 2, "at": at, "kind": "audit", "entries": 2, "head": audit_head}),
        ("a kind of a later version, with fields of its own", {"seq": 3, "at": at, "kind": "weather", "rain": True, "more": {"mm": [1, 20, 300]}}),
    ]
    return {"fulfilment": fulfilment, "demand": demand, "health": health}


def chains(lanes):
    for lane, entries in lanes.items():
        chain, vectors = bytes(32), []
        for name, item in entries:
            chain = hashlib.sha256(chain + cbor(item)).digest()
            vectors.append({"name": name, "json": text(item), "cbor": cbor(item).hex(), "chain": chain.hex()})
        yield {"lane": lane, "items": vectors}


def main():
    of_the_rfc()
    gateway_seed, next_seed = bytes(range(32)), bytes(range(32, 64))
    code, field = sealed_code("the code of P-1", bytes([0x11] * 32), "k-2026", "P-1", "004711", bytes([0x22] * 32))
    longest, _ = sealed_code("sixteen digits, an id in Chinese", bytes([0x11] * 32), "k-2026", "包裹-7", "0123456789012345", bytes([0x33] * 32))
    lanes = items(field)
    change, change_body = key_change(next_seed)
    created = 1_760_000_000
    first = dict(lanes["fulfilment"][0][1])
    batch = {"epoch": created, "lanes": {"fulfilment": {"after": 0, "chain": bytes(32), "items": [first]}}}
    uplink = f"/v1/gateways/{GATEWAY}/uplink"
    as_cbor, as_text = ("Content-Type", "application/cbor"), ("Content-Type", "application/json")
    public = Ed25519PrivateKey.from_private_bytes(gateway_seed).public_key().public_bytes_raw()
    enrolment = {"token": "7Q4N-PSXE-2M9K", "gateway": GATEWAY, "public_key": public}
    packed_batch = zstd(cbor(batch), "--no-check")
    requests = [
        signed("an uplink", gateway_seed, GATEWAY, "POST", uplink, b'{"epoch":1760000000,"lanes":{}}', created, "AAECAwQFBgcICQoLDA0ODw", [as_text]),
        signed("a batch in CBOR", gateway_seed, GATEWAY, "POST", uplink, cbor(batch), created + 1, "EBESExQVFhcYGRobHB0eHw", [as_cbor]),
        signed("the same in zstd: the digest is of what is sent", gateway_seed, GATEWAY, "POST", uplink, packed_batch, created + 2, "ICEiIyQlJicoKSorLC0uLw", [as_cbor, ("Content-Encoding", "zstd")]),
        signed("a long poll: the digest of nothing", gateway_seed, GATEWAY, "GET", f"/v1/gateways/{GATEWAY}/downlink?after=17&wait=300", b"", created + 3, "MDEyMzQ1Njc4OTo7PD0-Pw", [("Accept", "application/cbor")]),
        signed("the gateway as the cloud sees it", gateway_seed, GATEWAY, "GET", f"/v1/gateways/{GATEWAY}", b"", created + 4, "QEFCQ0RFRkdISUpLTE1OTw"),
        signed("an enrolment", gateway_seed, GATEWAY, "POST", "/v1/enrol", text(enrolment).encode(), created + 5, "UFFSU1RVVldYWVpbXF1eXw", [as_text]),
        signed("a change of key", gateway_seed, GATEWAY, "POST", f"/v1/gateways/{GATEWAY}/key", text(change_body).encode(), created + 6, "YGFiY2RlZmdoaWprbG1ubw", [as_text]),
    ]
    vectors = {
        "about": "Test vectors of the sync API (SYNC.md), written by tests/vectors.py. Bytes are in hex. requests: what is signed and the headers that come of it; content is the body as sent, headers what else is sent. sealed_codes: seed gives the cloud's key pair by RFC 9180's DeriveKeyPair, ephemeral_seed the sender's, which a real sender draws anew each time. chains: a lane each, from the start of an epoch; json and cbor say the same, chain is the one up to and including the item. key_changes: message is what the new key signs. packed: what comes out of a body in zstd, or with what it is refused (any: with one of the two).",
        "requests": requests,
        "sealed_codes": [code, longest],
        "chains": list(chains(lanes)),
        "key_changes": [change],
        "packed": packed(),
    }
    json.dump(vectors, sys.stdout, ensure_ascii=False, indent=1)
    print()


main()
