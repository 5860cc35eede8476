// One instance of an Express application of the usual kind: JSON, files, uploads, compression, events.

import compression from "compression";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import express from "express";
import { WebSocketServer } from "ws";
import { pattern, text } from "./data.mjs";
import { listen, name } from "./instance.mjs";

const app = express();
// One proxy stands in front of us: `req.ip` and `req.protocol` are what it says, and nothing that came before it.
app.set("trust proxy", 1);
app.use((req, res, next) => {
  res.set("X-Instance", name);
  next();
});

app.get("/healthz", (req, res) => res.send("ok"));

app.get("/who", (req, res) => {
  const { ip, ips, protocol, hostname, headers } = req;
  res.json({ instance: name, ip, ips, protocol, hostname, headers });
});

app.post("/echo", express.json(), (req, res) => res.json({ instance: name, body: req.body }));

app.post("/upload", (req, res) => {
  const hash = createHash("sha256");
  let bytes = 0;
  req.on("data", (chunk) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  req.on("end", () => res.json({ bytes, sha256: hash.digest("hex"), framing: framing(req) }));
});

// Tells how an upload that gave itself a name ended; it is read, and never answered unless it ends well.
const uploads = new Map();
app.post("/watched/:id", (req, res) => {
  let bytes = 0;
  req.on("data", (chunk) => {
    if (bytes === 0) tell(uploads, `${req.params.id}-began`, "began");
    bytes += chunk.length;
  });
  req.on("error", () => {});
  req.on("close", () => tell(uploads, req.params.id, { bytes, whole: req.complete }));
  req.on("end", () => res.json({ bytes }));
});
// A response that goes on until its reader has gone.
app.get("/endless/:id", (req, res) => {
  const more = () => {
    while (!res.destroyed && res.write(pattern(65_536)));
  };
  res.on("drain", more);
  res.on("close", () => tell(uploads, req.params.id, { whole: res.writableFinished }));
  res.type("application/octet-stream");
  more();
});
app.get("/watched/:id", async (req, res) => res.json({ ended: await told(uploads, req.params.id) }));

// Refuses an upload without reading it.
app.post("/refused", (req, res) => res.status(413).set("Connection", "close").send("too much"));

app.get("/trailers", (req, res) => {
  res.set({ Trailer: "X-Checksum", "Content-Type": "text/plain" });
  res.write("with ");
  res.addTrailers({ "X-Checksum": "abc123" });
  res.end("trailers");
});

app.get("/download/:bytes", (req, res) => {
  const body = pattern(Number(req.params.bytes));
  if (req.query.chunked === undefined) {
    res.send(body);
    return;
  }
  res.type("application/octet-stream");
  for (let start = 0; start < body.length; start += 50_000) res.write(body.subarray(start, start + 50_000));
  res.end();
});

app.get("/text", compression({ threshold: 1024 }), (req, res) => res.type("text/plain").send(text));

app.get("/file", (req, res) => res.sendFile(new URL("express-instance.mjs", import.meta.url).pathname));

app.get("/empty", (req, res) => res.status(204).end());

app.get("/cookies", (req, res) => {
  res.cookie("first", "1", { httpOnly: true });
  res.cookie("second", "two words");
  res.send("set");
});

app.get("/hints", (req, res) => {
  res.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" }, () => res.send("hinted"));
});

// Which of the connections that were ever made to us this one is.
app.post("/pause/:ms", (req, res) => {
  req.resume().on("end", () => res.json({ connection: req.socket.number }));
});

// Events come when somebody publishes them, and the response stays open between them.
const readers = new Set();
app.get("/one/events", (req, res) => {
  res.set({ "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
  res.write(`data: hello from ${name}\n\n`);
  readers.add(res);
  res.on("close", () => {
    readers.delete(res);
    if (readers.size === 0) lastReaderGone();
  });
});
let lastReaderGone = () => {};
app.post("/one/publish", express.text(), (req, res) => {
  for (const reader of readers) reader.write(`data: ${req.body}\n\n`);
  res.json({ readers: readers.size });
});
// Answers once nobody reads events any more.
app.get("/one/readers-gone", (req, res) => {
  if (readers.size === 0) res.send("none");
  else lastReaderGone = () => res.send("none");
});

const server = createServer(app);
let connections = 0;
server.on("connection", (socket) => {
  connections += 1;
  socket.number = `${name}${connections}`;
});
// Node's own default unless the test asks for another.
if (process.env.KEEP_ALIVE_MS) server.keepAliveTimeout = Number(process.env.KEEP_ALIVE_MS);

// How each socket ended that gave itself a name in its query.
const ended = new Map();
const sockets = new WebSocketServer({
  server,
  perMessageDeflate: { threshold: 1024 },
  handleProtocols: (offered) => (offered.has("chat.v2") ? "chat.v2" : false),
});
sockets.shouldHandle = (req) => address(req).pathname.endsWith("/socket");
sockets.on("connection", (socket, req) => {
  const id = address(req).searchParams.get("id");
  socket.on("message", (data, binary) => {
    const text = binary || data.length > 100 ? "" : String(data);
    if (text === "close 4001") socket.close(4001, "as asked");
    else if (text === "vanish") socket.terminate();
    else if (text === "ping me") socket.ping("are you there");
    else socket.send(data, { binary });
  });
  socket.on("pong", (data) => socket.send(`pong ${data}`));
  if (id !== null) socket.on("close", (code, reason) => tell(ended, id, { code, reason: String(reason) }));
});
// Answers once that socket has ended.
app.get("/ended/:id", async (req, res) => res.json(await told(ended, req.params.id)));

listen(server);

function framing(req) {
  return req.headers["transfer-encoding"] ?? `content-length ${req.headers["content-length"]}`;
}

function address(req) {
  return new URL(req.url, "http://any");
}

/** A promise of what will be told of this key, for both sides. */
function news(map, key) {
  if (!map.has(key)) {
    let resolve;
    const promise = new Promise((done) => (resolve = done));
    map.set(key, { promise, resolve });
  }
  return map.get(key);
}
function tell(map, key, what) {
  news(map, key).resolve(what);
}
function told(map, key) {
  return news(map, key).promise;
}
