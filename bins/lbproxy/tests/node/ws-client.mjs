// WebSockets through the proxy as two libraries for Node speak them: `node ws-client.mjs URL`.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { WebSocket as FromUndici, getGlobalDispatcher } from "undici";
import { WebSocket } from "ws";
import { pattern } from "./data.mjs";

const base = process.argv[2];
const url = `${base.replace("http", "ws")}/socket`;
const limit = { timeout: 60_000 };
let last = 0;

/** An open socket, the name it goes by at the instance, and how it ends. */
async function open(options) {
  const id = `ws-${(last += 1)}`;
  const socket = new WebSocket(`${url}?id=${id}`, options);
  const closed = once(socket, "close").then(([code, reason]) => ({ code, reason: String(reason) }));
  await once(socket, "open");
  return { socket, id, closed };
}

/** How the instance saw it end. */
async function ended(id) {
  const answer = await fetch(`${base}/ended/${id}`);
  assert.equal(answer.status, 200);
  return answer.json();
}

async function said(socket) {
  const [data, binary] = await once(socket, "message");
  return binary ? data : String(data);
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

for (const perMessageDeflate of [false, true]) {
  const how = perMessageDeflate ? "compressed" : "plain";

  test(`text and bytes of every size come back, ${how}`, limit, async () => {
    const { socket, closed } = await open({ perMessageDeflate });
    assert.equal(socket.extensions, perMessageDeflate ? "permessage-deflate" : "");
    // Where the length of a frame takes another form, and beyond every buffer on the way.
    for (const length of [0, 1, 125, 126, 65_535, 65_536, 1_048_576, 5_000_001]) {
      const bytes = length < 100_000 ? randomBytes(length) : pattern(length);
      socket.send(bytes);
      assert.equal(sha256(await said(socket)), sha256(bytes), `${length} bytes`);
      const text = "ä€😀".repeat(length / 9);
      socket.send(text);
      assert.equal(await said(socket), text);
    }
    socket.close(1000);
    assert.equal((await closed).code, 1000);
  });
}

test("a message in fragments, with pings between them, comes back whole", limit, async () => {
  const { socket } = await open({ perMessageDeflate: false });
  const pieces = Array.from({ length: 20 }, (_, i) => pattern(10_000 + i));
  const whole = said(socket);
  for (const [i, piece] of pieces.entries()) {
    socket.send(piece, { fin: i === pieces.length - 1, binary: true });
    socket.ping(String(i));
  }
  assert.equal(sha256(await whole), sha256(Buffer.concat(pieces)));
  socket.terminate();
});

test("a thousand small messages keep their order", limit, async () => {
  const { socket } = await open();
  const seen = [];
  const all = new Promise((done) => {
    socket.on("message", (data) => seen.push(Number(data)) === 1000 && done());
  });
  for (let i = 0; i < 1000; i++) socket.send(String(i));
  await all;
  assert.deepEqual(seen, Array.from({ length: 1000 }, (_, i) => i));
  socket.terminate();
});

test("pings go both ways", limit, async () => {
  const { socket } = await open();
  const payload = pattern(125);
  socket.ping(payload);
  assert.deepEqual((await once(socket, "pong"))[0], payload);
  const pinged = once(socket, "ping");
  socket.send("ping me");
  assert.equal(String((await pinged)[0]), "are you there");
  assert.equal(await said(socket), "pong are you there");
  socket.terminate();
});

for (const [code, reason] of [[1000, ""], [1001, "going away"], [3000, "ä€😀"], [4999, "x".repeat(123)]]) {
  test(`code ${code} of the client reaches the instance, and comes back`, limit, async () => {
    const { socket, id, closed } = await open();
    socket.close(code, reason);
    assert.deepEqual(await ended(id), { code, reason });
    assert.equal((await closed).code, code);
  });
}

test("a close without a code is one for both", limit, async () => {
  const { socket, id, closed } = await open();
  socket.close();
  assert.deepEqual(await ended(id), { code: 1005, reason: "" });
  assert.equal((await closed).code, 1005);
});

test("a code of the instance reaches the client", limit, async () => {
  const { socket, id, closed } = await open();
  socket.send("close 4001");
  assert.deepEqual(await closed, { code: 4001, reason: "as asked" });
  assert.equal((await ended(id)).code, 4001);
});

test("a side that vanishes is missed by the other, whichever it is", limit, async () => {
  const ours = await open();
  ours.socket.terminate();
  assert.deepEqual(await ended(ours.id), { code: 1006, reason: "" });
  const theirs = await open();
  theirs.socket.send("vanish");
  assert.equal((await theirs.closed).code, 1006);
});

test("what was sent just before the close arrives before it", limit, async () => {
  const { socket, closed } = await open({ perMessageDeflate: false });
  const body = pattern(1_048_576);
  const seen = [];
  socket.on("message", (data) => seen.push(sha256(data)));
  for (let i = 0; i < 8; i++) socket.send(body);
  socket.send("close 4001");
  assert.equal((await closed).code, 4001);
  assert.deepEqual(seen, Array(8).fill(sha256(body)));
});

test("two hundred at once do not mix, and an idle one is still there afterwards", limit, async () => {
  const idle = await open();
  const one = async (i) => {
    const { socket, closed } = await open();
    for (let round = 0; round < 5; round++) {
      const text = `${i} ${round} ${"x".repeat(i * 10)}`;
      socket.send(text);
      assert.equal(await said(socket), text);
    }
    socket.close(4000 + i);
    assert.equal((await closed).code, 4000 + i);
  };
  await Promise.all(Array.from({ length: 200 }, (_, i) => one(i)));
  // Longer than the connection's and the request's idle timeouts, which the test has made short.
  await pause(2500);
  idle.socket.send("still there");
  assert.equal(await said(idle.socket), "still there");
  idle.socket.terminate();
});

test("a tunnel that nobody uses is closed when its patience ends", limit, async () => {
  const socket = new WebSocket(url.replace("/socket", "/impatient/socket"));
  const closed = once(socket, "close");
  await once(socket, "open");
  socket.send("hello");
  assert.equal(await said(socket), "hello");
  assert.equal((await closed)[0], 1006);
});

test("a place that has no sockets says so", limit, async () => {
  const socket = new WebSocket(url.replace("/socket", "/nowhere"));
  const [, response] = await once(socket, "unexpected-response");
  assert.equal(response.statusCode, 400);
});

test("undici's sockets get through as well", limit, async () => {
  const socket = new FromUndici(`${url}?id=undici`, ["chat.v1", "chat.v2"]);
  socket.binaryType = "arraybuffer";
  await once(socket, "open");
  assert.equal(socket.protocol, "chat.v2");
  socket.send("hello");
  assert.equal((await once(socket, "message"))[0].data, "hello");
  const megabyte = pattern(1_048_576);
  socket.send(megabyte);
  assert.equal(sha256(Buffer.from((await once(socket, "message"))[0].data)), sha256(megabyte));
  socket.close(4321, "done");
  assert.deepEqual(await ended("undici"), { code: 4321, reason: "done" });
  await getGlobalDispatcher().close();
});
