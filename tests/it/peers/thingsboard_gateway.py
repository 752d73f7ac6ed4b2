"""An unmodified ThingsBoard gateway (tb-mqtt-client) with two lifts behind it: sends their telemetry, answers commands to them.

Usage: thingsboard_gateway.py HOST PORT USERNAME PASSWORD
Prints "sent" once the telemetry is acknowledged, and each command as one JSON line. Each line of standard input is
DEVICE JSON: telemetry of a device, "sent" again when it is acknowledged; or DEVICE alone, which disconnects it.
"""

import json
import sys
import time

from tb_device_mqtt import TBPublishInfo
from tb_gateway_mqtt import TBGatewayMqttClient

host, port, username, password = sys.argv[1:5]
client = TBGatewayMqttClient(host, int(port), username=username or None, password=password or None, client_id=username or "gateway")


def commanded(_, body):
    if "method" not in body["data"]:
        return  # Its own answer: at a broker it comes on the topic that it listens to.
    print(json.dumps(body), flush=True)
    client.gw_send_rpc_reply(body["device"], body["data"]["id"], {"result": "done"})


def send(device, values):
    telemetry = {"ts": int(time.time() * 1000), "values": values}
    assert client.gw_send_telemetry(device, telemetry).get() == TBPublishInfo.TB_ERR_SUCCESS
    print("sent", flush=True)


client.gw_set_server_side_rpc_request_handler(commanded)
client.connect(timeout=10)
client.gw_connect_device("lift-1")
client.gw_connect_device("lift-2")
send("lift-1", {"floor": 3, "door_zone": True})
send("lift-2", {"floor": 5})
for line in sys.stdin:
    device, _, values = line.strip().partition(" ")
    if values:
        send(device, json.loads(values))
    else:
        assert client.gw_disconnect_device(device).get() == TBPublishInfo.TB_ERR_SUCCESS
        print("sent", flush=True)
client.disconnect()
