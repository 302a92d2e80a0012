"""As much of MQTT 3.1.1 as a device needs: connect, subscribe, publish at QoS 1, acknowledge. A foreign
client of the gateway: it shares no code with it.
"""

import socket
import struct
import threading

from box import Failed

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, DISCONNECT = 1, 2, 3, 4, 8, 9, 14
ANSWER_WITHIN_S = 60


class Refused(Failed):
    """The broker let the client not in; `code` is the one of CONNACK."""

    def __init__(self, code):
        super().__init__(f"the broker refused the login with {code}")
        self.code = code


class Client:
    """One connection. `heard(topic, payload)` is called for what comes, by a thread of its own."""

    def __init__(self, address, name, password, heard):
        self._heard = heard
        self._socket = socket.create_connection(address, timeout=ANSWER_WITHIN_S)
        self._sending = threading.Lock()
        self._answers = threading.Condition()
        self._acknowledged, self._next = set(), 0
        self._gone = False
        # Clean session, user name, password; no silence is too long.
        body = _text("MQTT") + bytes([4, 0b11000010]) + struct.pack(">H", 0)
        self._send(CONNECT, 0, body + _text(name) + _text(name) + _text(password))
        kind, _, answer = self._receive()
        if kind != CONNACK or answer[1] != 0:
            self._socket.close()
            raise Refused(answer[1] if kind == CONNACK else -1)
        # From here on the other thread waits, for as long as it takes.
        self._socket.settimeout(None)
        threading.Thread(target=self._listen, daemon=True).start()

    def subscribe(self, topic):
        """Returns when it is granted."""
        self._ask(SUBSCRIBE, 0b0010, lambda number: number + _text(topic) + b"\x01")

    def publish(self, topic, payload):
        """Returns when the gateway has it on disk."""
        self._ask(PUBLISH, 0b0010, lambda number: _text(topic) + number + payload)

    def close(self):
        """Leaves on purpose."""
        try:
            self._send(DISCONNECT, 0, b"")
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()

    def _ask(self, kind, flags, body):
        with self._answers:
            self._next = self._next % 65535 + 1
            number = self._next
        self._send(kind, flags, body(struct.pack(">H", number)))
        with self._answers:
            answered = self._answers.wait_for(
                lambda: self._gone or number in self._acknowledged, timeout=ANSWER_WITHIN_S
            )
            if not answered or number not in self._acknowledged:
                raise Failed("the gateway did not acknowledge: the connection is " + ("gone" if self._gone else "silent"))
            self._acknowledged.discard(number)

    def _listen(self):
        try:
            while True:
                kind, flags, body = self._receive()
                if kind == PUBLISH:
                    self._delivered(flags, body)
                elif kind in (PUBACK, SUBACK):
                    with self._answers:
                        self._acknowledged.add(struct.unpack(">H", body[:2])[0])
                        self._answers.notify_all()
        except (OSError, EOFError):
            with self._answers:
                self._gone = True
                self._answers.notify_all()

    def _delivered(self, flags, body):
        (length,) = struct.unpack(">H", body[:2])
        topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
        if flags & 0b0110:
            self._send(PUBACK, 0, rest[:2])
            rest = rest[2:]
        self._heard(topic, rest)

    def _send(self, kind, flags, body):
        length, rest = b"", len(body)
        while True:
            rest, low = divmod(rest, 128)
            length += bytes([low | (0x80 if rest else 0)])
            if not rest:
                break
        with self._sending:
            self._socket.sendall(bytes([kind << 4 | flags]) + length + body)

    def _receive(self):
        head = self._exactly(1)[0]
        length, shift = 0, 0
        while True:
            byte = self._exactly(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return head >> 4, head & 0xF, self._exactly(length)

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data


def _text(text):
    data = text.encode()
    return struct.pack(">H", len(data)) + data
