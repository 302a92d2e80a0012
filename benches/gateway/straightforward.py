"""What one writes in an afternoon: subscribe, insert, commit, acknowledge. The bench's peer.

    straightforward.py HOST PORT DATABASE

Python's own defaults for SQLite: a rollback journal, synchronous=FULL. Writes one byte to standard
output when it has subscribed and one for every event that is committed.
"""

import os
import sqlite3
import sys
import time

import paho.mqtt.client as mqtt

host, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
database = sqlite3.connect(path)
database.execute(
    "CREATE TABLE IF NOT EXISTS events ("
    " id INTEGER PRIMARY KEY, device TEXT, received_ms INTEGER, payload BLOB)"
)


def told():
    os.write(1, b".")


def on_connect(client, userdata, flags, reason_code, properties):
    client.subscribe("linli/v1/+/event", qos=1)


def on_subscribe(client, userdata, mid, reason_codes, properties):
    told()


def on_message(client, userdata, message):
    device = message.topic.split("/")[2]
    row = (device, int(time.time() * 1000), message.payload)
    database.execute("INSERT INTO events (device, received_ms, payload) VALUES (?, ?, ?)", row)
    database.commit()
    client.ack(message.mid, message.qos)
    told()


client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2,
    client_id="straightforward",
    clean_session=False,
    manual_ack=True,
)
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_message = on_message
client.connect(host, port)
client.loop_forever()
