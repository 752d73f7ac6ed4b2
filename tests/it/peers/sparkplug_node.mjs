// An unmodified Sparkplug B edge node (sparkplug-client of Eclipse Tahu) with one device behind it.
//
// Usage: sparkplug_node.mjs HOST PORT USERNAME PASSWORD GROUP NODE DEVICE
// Prints "birth" whenever it has published its births, "rebirth" when it is asked for them, and each command to the device
// as one JSON line; it carries them out. Each line of standard input is JSON: the device's metrics, or "lose", which loses
// three messages on the way.
import readline from "node:readline";
import { newClient } from "sparkplug-client";

const [host, port, username, password, groupId, edgeNode, device] = process.argv.slice(2);
const client = newClient({
  serverUrl: `mqtt://${host}:${port}`,
  username,
  password,
  groupId,
  edgeNode,
  clientId: username || edgeNode,
  version: "spBv1.0",
});
const say = (what) => console.log(typeof what === "string" ? what : JSON.stringify(what));
const now = () => Date.now();

function births() {
  client.publishNodeBirth({
    timestamp: now(),
    metrics: [{ name: "Node Control/Rebirth", type: "Boolean", value: false }],
  });
  client.publishDeviceBirth(device, {
    timestamp: now(),
    metrics: [
      { name: "floor", type: "Int32", value: 1 },
      { name: "Door/door_zone", type: "Boolean", value: true },
    ],
  });
  say("birth");
}

client.on("birth", births);
client.on("error", (problem) => {
  console.error(problem);
  process.exit(1);
});
client.on("ncmd", (payload) => {
  if (payload.metrics.some((metric) => metric.name === "Node Control/Rebirth" && metric.value === true)) {
    say("rebirth");
    births();
  }
});
client.on("dcmd", (to, payload) => {
  const metrics = Object.fromEntries(payload.metrics.map(({ name, value }) => [name, value]));
  say({ device: to, metrics });
  const id = Object.entries(metrics).find(([name]) => name.endsWith("/id"))[1];
  const answer = (state) =>
    client.publishDeviceData(device, {
      timestamp: now(),
      metrics: [
        { name: "command/id", type: "String", value: id },
        { name: "command/state", type: "String", value: state },
        { name: "command/detail", type: "String", value: "done" },
      ],
    });
  answer("delivered");
  answer("applied");
});
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const said = JSON.parse(line);
  if (said === "lose") client.seq = (client.seq + 3) % 256;
  else client.publishDeviceData(device, { timestamp: now(), metrics: said });
});
