"""An unmodified paho-mqtt device: publishes the lines "TOPIC PAYLOAD" of standard input at QoS 1 and waits for each PUBACK.

Usage: paho_publish.py HOST PORT VERSION USERNAME PASSWORD    (VERSION is 3.1.1 or 5; USERNAME may be empty)
Prints "acknowledged N" at the end.
"""

import sys
import threading

import paho.mqtt.client as mqtt

host, port, version, username, password = sys.argv[1:6]
protocol = mqtt.MQTTv5 if version == "5" else mqtt.MQTTv311
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"paho-{username or 'anonymous'}", protocol=protocol)
if username:
    client.username_pw_set(username, password)
answered = threading.Event()
refused = []


def connected(client, userdata, flags, reason, properties):
    if reason.is_failure:
        refused.append(str(reason))
    answered.set()


client.on_connect = connected
client.connect(host, int(port))
client.loop_start()
if not answered.wait(15):
    sys.exit("no answer to CONNECT")
if refused:
    sys.exit(f"refused: {refused[0]}")
acknowledged = 0
for line in sys.stdin:
    topic, _, payload = line.rstrip("\n").partition(" ")
    message = client.publish(topic, payload, qos=1)
    message.wait_for_publish(timeout=15)
    if not message.is_published():
        sys.exit("not acknowledged")
    acknowledged += 1
client.disconnect()
client.loop_stop()
print(f"acknowledged {acknowledged}")
