"""A gateway that somebody else wrote, from SYNC.md alone: other libraries, another language.

Reads {"url", "token", "gateway"} from standard input, does everything that a gateway does once, checks each
answer, and prints what the cloud should know by then.
"""

import hashlib
import json
import sys
import time

import cbor2
import requests
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pyhpke import AEADId, CipherSuite, KDFId, KEMId

from signing import Signer, base64url, public_key

SUITE = CipherSuite.new(
    KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.CHACHA20_POLY1305
)
BYTES = {"enc", "ct", "chain", "head", "public_key", "proof"}
EPOCH = 1_760_000_000


def in_json(value, key=None):
    """As JSON carries it: byte strings are base64url."""
    if isinstance(value, bytes):
        return base64url(value)
    if isinstance(value, dict):
        return {name: in_json(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [in_json(inner) for inner in value]
    return value


def from_json(value, key=None):
    """Back again, where a field is a byte string."""
    if key in BYTES and isinstance(value, str):
        import base64

        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    if isinstance(value, dict):
        return {name: from_json(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [from_json(inner) for inner in value]
    return value


class Gateway:
    def __init__(self, url: str, name: str):
        self.url, self.name = url, name
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Accept-Encoding"] = "identity"
        self.key = Ed25519PrivateKey.generate()

    def call(self, method, path, body=None, form="json", packed=False, key=None, **more):
        headers = {"Accept": f"application/{form}"}
        content = None
        if body is not None:
            headers["Content-Type"] = f"application/{form}"
            content = json.dumps(in_json(body)).encode() if form == "json" else cbor2.dumps(body)
        if packed:
            headers |= {"Content-Encoding": "zstd", "Accept-Encoding": "zstd"}
            content = zstandard.compress(content) if content else content
        signer = Signer(key or self.key, self.name, more.get("ahead_s", 0))
        answer = self.http.request(
            method, self.url + path, data=content, headers=headers, auth=signer, stream=True, timeout=30
        )
        return answer.status_code, self.read(answer), answer

    @staticmethod
    def read(answer):
        content = answer.raw.read(decode_content=False)
        if answer.headers.get("Content-Encoding") == "zstd":
            content = zstandard.ZstdDecompressor().decompress(content, max_output_size=1 << 20)
        kind = answer.headers["Content-Type"]
        if kind == "application/cbor":
            return cbor2.loads(content)
        assert kind in ("application/json", "application/problem+json"), kind
        return from_json(json.loads(content))

    def path(self, call=""):
        return f"/v1/gateways/{self.name}{call}"


class Lane:
    """Items with their chain: h(n) = SHA-256(h(n-1) and the item in deterministic CBOR)."""

    def __init__(self):
        self.items, self.chains = [], [bytes(32)]

    def add(self, **fields):
        item = {"seq": len(self.items) + 1, "at": 1_760_000_000_000, **fields}
        encoded = cbor2.dumps(item, canonical=True)
        self.items.append(item)
        self.chains.append(hashlib.sha256(self.chains[-1] + encoded).digest())

    def after(self, after, last=None):
        return {"after": after, "chain": self.chains[after], "items": self.items[after:last]}


def seal(view, gateway, parcel, digits):
    key = view["sealing_key"]
    public = SUITE.kem.deserialize_public_key(key["public_key"])
    enc, context = SUITE.create_sender_context(public, info=b"linli/v1/pickup-code")
    aad = gateway.encode() + b"\0" + parcel.encode()
    return {"key": key["id"], "enc": enc, "ct": context.seal(digits.encode(), aad=aad)}


def refused(outcome, status, kind):
    got, problem, answer = outcome
    assert got == status and problem["type"] == f"urn:linli:problem:{kind}", (got, problem)
    assert answer.headers["Content-Type"] == "application/problem+json"
    return problem


def taken(outcome):
    status, body, _ = outcome
    assert status == 200, (status, body)
    return body


def enrol(gateway, token):
    body = {"token": token, "gateway": gateway.name, "public_key": public_key(gateway.key)}
    refused(gateway.call("POST", "/v1/enrol", {**body, "token": "guessed"}), 403, "token")
    for form in ("json", "cbor"):
        view = taken(gateway.call("POST", "/v1/enrol", body, form))
    other = Ed25519PrivateKey.generate()
    body["public_key"] = public_key(other)
    refused(gateway.call("POST", "/v1/enrol", body, key=other), 403, "token")
    assert abs(view["time"] / 1000 - time.time()) < 60 and view["lanes"] == {}
    return view


def uplink(gateway, view):
    lane, health = Lane(), Lane()
    digits = {f"S-{n}": f"{n:06}" for n in range(40)}
    for parcel, code in digits.items():
        sealed = seal(view, gateway.name, parcel, code)
        lane.add(kind="parcel", parcel=parcel, state="expected", since=1_760_000_000_000, code=sealed)
    lane.add(kind="parcel", parcel="S-0", state="deposited", since=1_760_000_000_001, bank="bank-a", compartment=7)
    lane.add(kind="weather", mm=[1, 20, 300], rain=True, wind=1.5, words="小雨")
    health.add(kind="audit", entries=2, head=hashlib.sha256(b"2").digest())

    def send(lanes, **how):
        body = {"epoch": EPOCH, "lanes": lanes}
        return gateway.call("POST", gateway.path("/uplink"), body, **how)

    parts = [(0, 2, {}), (2, 4, {"form": "cbor"}), (4, 20, {"packed": True})]
    for after, last, how in [*parts, (20, 42, {"form": "cbor", "packed": True}), (0, 42, {})]:
        acked = taken(send({"fulfilment": lane.after(after, last)}, **how))["acked"]
        assert acked == {"fulfilment": last}, acked
    for form in ("json", "cbor"):
        assert taken(send({"health": health.after(0)}, form=form))["acked"] == {"health": 1}
    gap = refused(send({"demand": {"after": 5, "chain": bytes(32), "items": []}}), 409, "gap")
    assert (gap["lane"], gap["expected"]) == ("demand", 1)
    refused(send({"fulfilment": {**lane.after(42), "chain": bytes(32)}}), 409, "fork")
    stands = taken(gateway.call("GET", gateway.path(), form="cbor"))
    assert stands["epoch"] == EPOCH
    assert stands["lanes"]["fulfilment"] == {"last": 42, "chain": lane.chains[42]}
    assert stands["lanes"]["health"] == {"last": 1, "chain": health.chains[1]}
    return digits


def downlink(gateway):
    read = []
    for form, packed in [("json", False), ("cbor", True), ("json", True)]:
        path = gateway.path(f"/downlink?after={len(read)}&wait=10")
        status, body, answer = gateway.call("GET", path, form=form, packed=packed)
        assert status == 200, body
        assert ("Content-Encoding" in answer.headers) == packed
        read.append(body["items"][0])
        assert [item["seq"] for item in body["items"]][:1] == [len(read)]
    return read


def change_key(gateway):
    old, new = gateway.key, Ed25519PrivateKey.generate()
    public = public_key(new)
    proof = new.sign(b"linli/v1/key-change\0" + gateway.name.encode() + b"\0" + public)
    body = {"public_key": public, "proof": proof}
    refused(gateway.call("POST", gateway.path("/key"), {**body, "proof": bytes(64)}), 401, "signature")
    for form in ("json", "cbor"):
        taken(gateway.call("POST", gateway.path("/key"), body, form))
    taken(gateway.call("GET", gateway.path()))
    gateway.key = new
    taken(gateway.call("GET", gateway.path()))
    refused(gateway.call("GET", gateway.path(), key=old), 401, "signature")


def wrong_requests(gateway):
    unsigned = gateway.http.get(gateway.url + gateway.path())
    assert unsigned.status_code == 401 and unsigned.json()["type"].endswith(":signature")
    _, _, answer = gateway.call("GET", gateway.path())
    again = gateway.http.send(answer.request)
    assert again.status_code == 401 and again.json()["type"].endswith(":replay"), again.text
    for ahead_s in (-320, 320):
        outcome = gateway.call("GET", gateway.path(), ahead_s=ahead_s)
        refused(outcome, 401, "clock")
        assert outcome[2].headers["Date"]
    stranger = Gateway(gateway.url, "nobody-knows")
    refused(stranger.call("GET", stranger.path()), 404, "unknown-gateway")


def main():
    told = json.load(sys.stdin)
    gateway = Gateway(told["url"], told["gateway"])
    view = enrol(gateway, told["token"])
    wrong_requests(gateway)
    digits = uplink(gateway, view)
    items = downlink(gateway)
    change_key(gateway)
    print(json.dumps({"codes": digits, "downlink": in_json(items)}))


if __name__ == "__main__":
    main()
