// A hub as people run it: the `liftline` binary in a process and a folder of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import fs from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import mqtt from "mqtt";

export const USER = { username: "dora", password: "correct horse battery" };
const SECRET = "a-secret-for-the-tests";
/** Lifts of the tests, all at one site. */
export const LIFTS = Array.from({ length: 12 }, (_, index) => `lift-${index + 1}`);

const root = fileURLToPath(new URL("../../../", import.meta.url));
const binary = path.join(root, "target/debug/liftline");

const ORGANISATION = `
organisation = "Test Lifts"

[[sites]]
name = "Test Tower"
address = "5 Proof Lane"
time_zone = "Asia/Shanghai"

[[people]]
name = "Tom Technician"
role = "technician"
sms = "+15550100001"

[[rotas]]
level = "maintainer"
time_zone = "Asia/Shanghai"
first_handover = "2026-01-05T08:00"
members = ["Tom Technician"]
`;

export class Hub {
  /** Sets a hub up with an organisation, devices and a dispatcher, and starts it. */
  static async start() {
    if (!existsSync(binary)) throw new Error(`${binary} is not built: run ./dev test, which builds it`);
    const hub = new Hub();
    hub.folder = await fs.mkdtemp(path.join(os.tmpdir(), "liftline-browser-"));
    hub.web = `127.0.0.1:${await freePort()}`;
    // Picked by the first start: a hub that comes back has to be where it was.
    hub.mqtt = "127.0.0.1:0";
    try {
      await hub.#configure();
      await fs.writeFile(path.join(hub.folder, "organisation.toml"), ORGANISATION);
      const devices = LIFTS.map((id, n) => `${id},lift,Test Tower,Lift ${n + 1},${100001 + n},${SECRET}`);
      await fs.writeFile(
        path.join(hub.folder, "devices.csv"),
        ["device,profile,site,name,plate,secret", ...devices, ""].join("\n"),
      );
      await hub.tool(["import", "organisation.toml"]);
      await hub.tool(["device", "import", "devices.csv"]);
      await hub.tool(["user", "add", USER.username, "--name", "Dora Dispatch"], USER.password);
      await hub.run();
    } catch (failure) {
      await hub.stop();
      throw failure;
    }
    return hub;
  }

  get url() {
    return `http://${this.web}`;
  }

  async #configure() {
    const config = [
      "[hub]",
      'data_dir = "data"',
      `listen = "${this.web}"`,
      "[board]",
      `public_url = "http://${this.web}"`,
      "[gateway.front_door]",
      `listen = "${this.mqtt}"`,
    ];
    await fs.writeFile(path.join(this.folder, "liftline.toml"), config.join("\n") + "\n");
  }

  /** Starts the process and waits until it says where it is. */
  async run() {
    const log = await fs.open(path.join(this.folder, "log"), "a");
    this.process = spawn(binary, ["serve"], { cwd: this.folder, stdio: ["ignore", "pipe", log.fd] });
    await log.close();
    for await (const line of readline.createInterface(this.process.stdout)) {
      if (line.startsWith("mqtt: ")) this.mqtt = line.slice("mqtt: ".length);
      if (line.startsWith("web: http://")) {
        this.web = line.slice("web: http://".length);
        this.process.stdout.resume();
        return;
      }
    }
    throw new Error(`the hub did not come up:\n${await fs.readFile(path.join(this.folder, "log"), "utf8")}`);
  }

  /** Ends the process as a crash would. It can be run again, at the same addresses. */
  async kill() {
    this.#hangUp();
    if (this.process && this.process.exitCode === null && this.process.signalCode === null) {
      const ended = once(this.process, "exit");
      this.process.kill("SIGKILL");
      await ended;
    }
    await this.#configure();
  }

  /** Ends it for good and removes its folder. */
  async stop() {
    await this.kill();
    await fs.rm(this.folder, { recursive: true, force: true });
  }

  /** Runs `liftline ARGS` in the hub's folder and returns what it printed. */
  async tool(args, stdin = "") {
    const process = spawn(binary, args, { cwd: this.folder });
    let [out, err] = ["", ""];
    process.stdout.on("data", (chunk) => (out += chunk));
    process.stderr.on("data", (chunk) => (err += chunk));
    process.stdin.end(stdin);
    const [code] = await once(process, "close");
    if (code !== 0) throw new Error(`liftline ${args.join(" ")} failed:\n${err}`);
    return out;
  }

  #devices = new Map();

  /** Publishes as a device, at QoS 1: returns once the hub has it in its journal. */
  async publish(device, kind, payload) {
    let client = this.#devices.get(device);
    if (!client) {
      client = await mqtt.connectAsync(`mqtt://${this.mqtt}`, {
        clientId: device,
        username: device,
        password: SECRET,
        protocolVersion: 5,
        reconnectPeriod: 0,
      });
      this.#devices.set(device, client);
    }
    const text = typeof payload === "string" ? payload : JSON.stringify(payload);
    await client.publishAsync(`liftline/${device}/${kind}`, text, { qos: 1 });
  }

  #hangUp() {
    for (const client of this.#devices.values()) client.end(true);
    this.#devices.clear();
  }

  #cookie;

  /** The cookie of a session. */
  async cookie() {
    this.#cookie ??= await this.#logIn();
    return this.#cookie;
  }

  async #logIn() {
    const answer = await fetch(`${this.url}/api/v1/login`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(USER),
    });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.headers.getSetCookie()[0].split(";")[0];
  }

  /** A logged-in client of its API. */
  async api() {
    const cookie = await this.cookie();
    const call = async (method, path, body, csrf = "") => {
      const headers = { cookie, "content-type": "application/json", "x-csrf-token": csrf };
      const answer = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
      return answer.json();
    };
    const { csrf } = await call("GET", "/api/v1/me");
    return {
      get: (path) => call("GET", path),
      post: (path, body) => call("POST", path, body, csrf),
      /** Waits until there is an open ticket like this and returns it. */
      ticket: (like) =>
        until(`a ticket for which ${like}`, async () => {
          const { tickets } = await call("GET", "/api/v1/tickets?state=open");
          return tickets.find(like);
        }),
    };
  }
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Looks again and again until there is something. */
export async function until(what, look, limit = 15_000) {
  const end = Date.now() + limit;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`there is still no sign of ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
