"""An unmodified paho-mqtt device that listens for commands, prints each as one JSON line, and answers it. It says that it
is on line, and leaves a last will that says the opposite.

Usage: paho_device.py HOST PORT VERSION USERNAME PASSWORD DEVICE ANSWER
VERSION is 3.1.1 or 5; ANSWER is applied, failed, or silent (no answer). Prints "listening" once it is subscribed.
"""

import json
import sys
import time

import paho.mqtt.client as mqtt

host, port, version, username, password, device, answer = sys.argv[1:8]
protocol = mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device, protocol=protocol)
if username:
    client.username_pw_set(username, password)
client.will_set(f"liftline/{device}/status", "offline", qos=1, retain=True)


def connected(client, userdata, flags, reason, properties):
    if reason.is_failure:
        print(f"refused: {reason}", flush=True)
        client.disconnect()
    else:
        online = json.dumps({"ts": int(time.time() * 1000), "online": True})
        client.publish(f"liftline/{device}/status", online, qos=1, retain=True)
        client.subscribe(f"liftline/{device}/commands", qos=1)


def commanded(client, userdata, message):
    command = json.loads(message.payload)
    print(json.dumps(command), flush=True)
    if answer == "silent":
        return
    now = int(time.time() * 1000)
    detail = "done" if answer == "applied" else "the controller is in inspection mode"
    topic = f"liftline/{device}/commands/{command['id']}/result"
    client.publish(topic, json.dumps({"ts": now, "state": "delivered"}), qos=1)
    client.publish(topic, json.dumps({"ts": now, "state": answer, "detail": detail}), qos=1)


client.on_connect = connected
client.on_subscribe = lambda *_: print("listening", flush=True)
client.on_message = commanded
client.connect(host, int(port))
client.loop_forever()
