// What clients do with the Express application, through the proxy: `node express-client.mjs URL`.
//
// Plain `http.request` rather than `fetch`, so that nothing is decoded or retried on the way.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { Readable } from "node:stream";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { WebSocket } from "ws";
import { pattern, text } from "./data.mjs";

const base = process.argv[2];
const agent = new http.Agent({ keepAlive: true });
const limit = { timeout: 60_000 };

/** Sends a request; the response's body is not read yet. */
async function open(path, { body, informational, ...options } = {}) {
  const request = http.request(base + path, { agent, ...options });
  if (informational) request.on("information", informational);
  if (body instanceof Readable) body.pipe(request);
  else request.end(body);
  const [response] = await once(request, "response");
  return response;
}

/** Reads the whole of a response. */
async function read(response) {
  const chunks = [];
  for await (const chunk of response) chunks.push(chunk);
  assert.equal(response.complete, true, "the response must not be cut");
  const body = Buffer.concat(chunks);
  return { status: response.statusCode, headers: response.headers, body, json: () => JSON.parse(body) };
}

const send = async (path, options) => read(await open(path, options));

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

test("requests visit the three instances in turn", limit, async () => {
  const counts = { a: 0, b: 0, c: 0 };
  for (let i = 0; i < 30; i++) counts[(await send("/who")).json().instance] += 1;
  assert.deepEqual(counts, { a: 10, b: 10, c: 10 });
});

test("trust proxy sees the client that the proxy saw", limit, async () => {
  const who = (await send("/who", { localAddress: "127.0.0.9", headers: { Host: "shop.example.com" } })).json();
  assert.equal(who.ip, "127.0.0.9");
  assert.deepEqual(who.ips, ["127.0.0.9"]);
  assert.equal(who.protocol, "http");
  assert.equal(who.hostname, "shop.example.com");
});

test("nobody can claim another address or scheme", limit, async () => {
  const claimed = { "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Real-IP": "203.0.113.7" };
  const who = (await send("/who", { headers: claimed })).json();
  assert.deepEqual(who.ips, ["127.0.0.1"]);
  assert.equal(who.protocol, "http");
  assert.doesNotMatch(JSON.stringify(who.headers), /203\.0\.113\.7/);
});

test("a trusted proxy before us is believed", limit, async () => {
  const claimed = { "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https" };
  const trusting = new URL(process.argv[3]);
  const who = (await send("/who", { hostname: trusting.hostname, port: trusting.port, headers: claimed })).json();
  assert.equal(who.headers["x-forwarded-for"], "203.0.113.7, 127.0.0.1");
  assert.equal(who.protocol, "https");
});

test("a JSON body comes back as it was sent", limit, async () => {
  const body = JSON.stringify({ text: "ä€😀", nested: { list: [1, 2, 3] } });
  const headers = { "Content-Type": "application/json" };
  const answer = await send("/echo", { method: "POST", headers, body });
  assert.deepEqual(answer.json().body, JSON.parse(body));
});

for (const bytes of [0, 1, 65_536, 8 * 1024 * 1024 + 1]) {
  const body = pattern(bytes);

  test(`an upload of ${bytes} bytes arrives whole, with its length`, limit, async () => {
    const headers = { "Content-Length": bytes };
    const answer = (await send("/upload", { method: "POST", headers, body })).json();
    assert.deepEqual(answer, { bytes, sha256: sha256(body), framing: `content-length ${bytes}` });
  });

  test(`an upload of ${bytes} bytes arrives whole, in chunks`, limit, async () => {
    const headers = { "Transfer-Encoding": "chunked" };
    const pieces = Readable.from(slices(body, 70_001));
    const answer = (await send("/upload", { method: "POST", headers, body: pieces })).json();
    assert.deepEqual(answer, { bytes, sha256: sha256(body), framing: "chunked" });
  });

  test(`a download of ${bytes} bytes arrives whole, with its length`, limit, async () => {
    const answer = await send(`/download/${bytes}`);
    assert.equal(answer.headers["content-length"], String(bytes));
    assert.equal(sha256(answer.body), sha256(body));
  });

  test(`a download of ${bytes} bytes arrives whole, in chunks`, limit, async () => {
    const answer = await send(`/download/${bytes}?chunked`);
    if (bytes > 0) assert.equal(answer.headers["content-length"], undefined);
    assert.equal(sha256(answer.body), sha256(body));
  });
}

function* slices(bytes, size) {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

test("an upload after `100 Continue` arrives whole", limit, async () => {
  const body = pattern(100_000);
  const request = http.request(`${base}/upload`, {
    agent,
    method: "POST",
    headers: { Expect: "100-continue", "Content-Length": body.length },
  });
  request.flushHeaders();
  await once(request, "continue");
  request.end(body);
  const [response] = await once(request, "response");
  assert.equal((await read(response)).json().sha256, sha256(body));
});

test("a request without a body hears the `100 Continue` that Node sends", limit, async () => {
  const request = http.request(`${base}/who`, { agent, headers: { Expect: "100-continue" } });
  // The two may come together.
  const answered = once(request, "response");
  request.flushHeaders();
  await once(request, "continue");
  request.end();
  const [response] = await answered;
  assert.equal((await read(response)).status, 200);
});

test("thirty-two uploads and downloads at a time do not mix", limit, async () => {
  const one = async (i) => {
    const body = pattern(100_000 + i);
    const up = await send("/upload", { method: "POST", headers: { "Content-Length": body.length }, body });
    assert.equal(up.json().sha256, sha256(body));
    const down = await send(`/download/${200_000 + i}?chunked`);
    assert.equal(sha256(down.body), sha256(pattern(200_000 + i)));
  };
  await Promise.all(Array.from({ length: 32 }, (_, i) => one(i)));
});

test("a compressed response stays as Express made it", limit, async () => {
  const answer = await send("/text", { headers: { "Accept-Encoding": "gzip" } });
  assert.equal(answer.headers["content-encoding"], "gzip");
  assert.equal(answer.headers.vary, "Accept-Encoding");
  assert.equal(answer.headers["content-length"], undefined);
  assert.equal(gunzipSync(answer.body).toString(), text);
});

test("a client that accepts no compression gets none", limit, async () => {
  const answer = await send("/text", { headers: { "Accept-Encoding": "identity" } });
  assert.equal(answer.headers["content-encoding"], undefined);
  assert.equal(answer.body.toString(), text);
});

test("a file can be asked for again, and in part", limit, async () => {
  const whole = await send("/file");
  const again = await send("/file", { headers: { "If-None-Match": whole.headers.etag } });
  assert.equal(again.status, 304);
  assert.equal(again.headers.etag, whole.headers.etag);
  assert.equal(again.body.length, 0);
  const part = await send("/file", { headers: { Range: "bytes=10-19" } });
  assert.equal(part.status, 206);
  assert.equal(part.headers["content-range"], `bytes 10-19/${whole.body.length}`);
  assert.deepEqual(part.body, whole.body.subarray(10, 20));
});

test("responses without a body keep the connection", limit, async () => {
  const one = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const head = await send("/download/1000", { method: "HEAD", agent: one });
  assert.equal(head.headers["content-length"], "1000");
  assert.equal(head.body.length, 0);
  const empty = await send("/empty", { agent: one });
  assert.equal(empty.status, 204);
  const last = http.get(`${base}/who`, { agent: one });
  const [response] = await once(last, "response");
  assert.equal((await read(response)).status, 200);
  assert.equal(last.reusedSocket, true);
  one.destroy();
});

test("two cookies stay two headers", limit, async () => {
  const answer = await send("/cookies");
  assert.deepEqual(answer.headers["set-cookie"], ["first=1; Path=/; HttpOnly", "second=two%20words; Path=/"]);
});

test("early hints come before the response", limit, async () => {
  const informed = [];
  const answer = await send("/hints", { informational: (info) => informed.push(info) });
  assert.equal(answer.body.toString(), "hinted");
  assert.deepEqual(
    informed.map((info) => [info.statusCode, info.headers.link]),
    [[103, "</style.css>; rel=preload; as=style"]],
  );
});

test("events arrive while their response is open, and its end reaches the instance", limit, async () => {
  const own = new http.Agent();
  const stream = await open("/one/events", { agent: own });
  assert.match(stream.headers["content-type"], /^text\/event-stream/);
  stream.setEncoding("utf8");
  const next = async () => (await once(stream, "data"))[0];
  assert.equal(await next(), "data: hello from a\n\n");
  for (const news of ["first", "second", "third"]) {
    const event = next();
    const headers = { "Content-Type": "text/plain" };
    const published = await send("/one/publish", { method: "POST", headers, body: news });
    assert.deepEqual(published.json(), { readers: 1 });
    assert.equal(await event, `data: ${news}\n\n`);
  }
  // Within a second of the request, the end of a client's stream may still mean that it only has nothing more to say.
  await pause(1100);
  stream.on("error", () => {}); // we are the ones who leave
  stream.destroy();
  assert.equal((await send("/one/readers-gone")).body.toString(), "none");
});

test("a WebSocket carries text, a megabyte, pings, its protocol and its close code", limit, async () => {
  const socket = new WebSocket(`${base.replace("http", "ws")}/socket`, ["chat.v1", "chat.v2"]);
  await once(socket, "open");
  assert.equal(socket.protocol, "chat.v2");
  socket.send("hello");
  assert.equal(String((await once(socket, "message"))[0]), "hello");
  const megabyte = pattern(1024 * 1024);
  socket.send(megabyte);
  assert.equal(sha256((await once(socket, "message"))[0]), sha256(megabyte));
  socket.ping("are you there");
  assert.equal(String((await once(socket, "pong"))[0]), "are you there");
  socket.send("close 4001");
  const [code, reason] = await once(socket, "close");
  assert.deepEqual([code, String(reason)], [4001, "as asked"]);
});

test("a path that the application does not know is the application's 404", limit, async () => {
  const answer = await send("/nothing/here");
  assert.equal(answer.status, 404);
  assert.match(answer.body.toString(), /Cannot GET \/nothing\/here/);
});
