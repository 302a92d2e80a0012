"""The reference cloud in a box, as its operator uses it: by HTTP from the machine itself."""

import base64
import hashlib
import http.client
import json

from box import Failed, until

CLOUD = ("127.0.0.1", 8470)
NEXT_CENTURY_MS = 4_000_000_000_000


class Cloud:
    """What the operator says to one gateway, and hears of it."""

    def __init__(self, box, gateway):
        self._box, self._gateway = box, f"/v1/admin/gateways/{gateway}"
        self._name = gateway

    def token(self):
        """A one-time token to enrol with."""
        return self._call("POST", "/v1/admin/tokens", {"gateway": self._name})["token"]

    def courier(self, name, badge):
        """A courier with a badge comes."""
        digest = hashlib.sha256(b"linli/v1/badge\0" + badge.encode()).digest()
        digest = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        self.say({"kind": "courier", "courier": name, "badge": digest, "valid_until": NEXT_CENTURY_MS})

    def announce(self, parcel, point, **more):
        """A parcel comes. Returns its code, once the gateway has sent it."""
        said = {
            "kind": "parcel.expected",
            "parcel": parcel,
            "recipient": f"recipient-of-{parcel}",
            "size": "S",
            "zone": "ambient",
            "point": point,
            "deadline": NEXT_CENTURY_MS,
            "consent": True,
        }
        self.say({**said, **more})
        return until(f"the code of {parcel} to come to the cloud", lambda: self.parcel(parcel).get("code"))

    def cancel(self, parcel):
        self.say({"kind": "parcel.cancelled", "parcel": parcel})

    def say(self, what):
        """Something for the gateway."""
        return self._call("POST", f"{self._gateway}/downlink", what)

    def parcel(self, parcel):
        """What it knows of a parcel."""
        return self._call("GET", f"{self._gateway}/parcels/{parcel}")

    def lanes(self):
        """What it has of each lane."""
        return self._call("GET", f"{self._gateway}/lanes")

    def audit(self):
        """Where the chain over the gateway's history stands."""
        return self._call("GET", f"{self._gateway}/audit")

    def _call(self, method, path, body=None):
        connection = http.client.HTTPConnection(*CLOUD, timeout=60)
        with self._box.network():
            connection.connect()
        headers = {"content-type": "application/json"}
        connection.request(method, path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if answer.status >= 300:
            raise Failed(f"the cloud answered {method} {path} with {answer.status}: {text}")
        return json.loads(text)
