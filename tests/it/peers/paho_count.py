"""A paho-mqtt device that publishes counted readings of lift-1 at QoS 1, one after the other, and prints each count once it
is acknowledged. Ends at the limit or when the connection breaks.

Usage: paho_count.py HOST PORT USERNAME PASSWORD FROM LIMIT BASE_MS
"""

import json
import sys
import threading

import paho.mqtt.client as mqtt

host, port, username, password = sys.argv[1:5]
first, limit, base = (int(text) for text in sys.argv[5:8])
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"count-{username or 'anonymous'}", protocol=mqtt.MQTTv5)
if username:
    client.username_pw_set(username, password)
broken = threading.Event()
client.on_disconnect = lambda *_: broken.set()
client.connect(host, int(port))
client.loop_start()
for seq in range(first, limit):
    payload = json.dumps({"ts": base - 600_000 + seq % 100_000, "seq": seq, "values": {"motor_temp_c": 40 + seq % 10}})
    message = client.publish("liftline/lift-1/telemetry", payload, qos=1)
    while not message.is_published() and not broken.is_set():
        try:
            message.wait_for_publish(timeout=0.2)
        except RuntimeError:
            break
    if broken.is_set() and not message.is_published():
        break
    print(seq, flush=True)
broken.set()
client.disconnect()
client.loop_stop()
