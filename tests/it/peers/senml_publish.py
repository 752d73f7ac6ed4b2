"""Publishes a SenML pack, encoded by kpn-senml in JSON and in CBOR, with paho-mqtt.

Usage: senml_publish.py HOST PORT USERNAME PASSWORD DEVICE
"""

import sys

import paho.mqtt.client as mqtt
from kpn_senml import SenmlPack, SenmlRecord

host, port, username, password, device = sys.argv[1:6]


def pack(kelvin, door_zone):
    records = SenmlPack(f"urn:dev:ow:{device}:")
    records.add(SenmlRecord("motor_temp_c", unit="K", value=kelvin))
    records.add(SenmlRecord("door_zone", value=door_zone))
    return records


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device)
client.username_pw_set(username, password)
client.connect(host, int(port))
client.loop_start()
for payload in [pack(313.15, True).to_json(), pack(314.15, False).to_cbor()]:
    client.publish(f"liftline/{device}/senml", bytes(payload) if not isinstance(payload, str) else payload, qos=1).wait_for_publish(10)
client.disconnect()
