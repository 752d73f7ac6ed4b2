"""An unmodified ThingsBoard device (tb-mqtt-client): sends telemetry and attributes, then answers commands.

Usage: thingsboard_device.py HOST PORT USERNAME PASSWORD FLOOR
Prints "sent" once its telemetry is acknowledged, and each command as one JSON line.
"""

import json
import sys
import time

from tb_device_mqtt import TBDeviceMqttClient, TBPublishInfo

host, port, username, password, floor = sys.argv[1:6]
client = TBDeviceMqttClient(host, int(port), username=username, password=password, client_id=username)


def commanded(request_id, body):
    print(json.dumps({"id": request_id, **body}), flush=True)
    client.send_rpc_reply(request_id, {"result": "done"})


client.set_server_side_rpc_request_handler(commanded)
client.connect(timeout=10)
telemetry = {"ts": int(time.time() * 1000), "values": {"floor": int(floor), "door_zone": True}}
assert client.send_telemetry(telemetry).get() == TBPublishInfo.TB_ERR_SUCCESS
assert client.send_attributes({"trips": 7}).get() == TBPublishInfo.TB_ERR_SUCCESS
print("sent", flush=True)
while True:
    time.sleep(1)
