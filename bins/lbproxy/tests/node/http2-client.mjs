// What Node's own client for HTTP/2 does through the proxy: `node http2-client.mjs URL TLS-URL`, with the authority of
// the second in NODE_EXTRA_CA_CERTS. In the clear it begins with HTTP/2, without asking.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import { Readable } from "node:stream";
import { test } from "node:test";
import { Receiver, Sender } from "ws";
import { pattern } from "./data.mjs";

const [clear, secure] = process.argv.slice(2);
const limit = { timeout: 120_000 };

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

function* slices(bytes, size) {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

/** An open stream and the head of its answer, once it is there. */
function open(session, path, { body, ...headers } = {}) {
  const stream = session.request({ ":path": path, ...headers }, { endStream: body === undefined });
  if (body instanceof Readable) body.pipe(stream);
  else if (body !== undefined) stream.end(body);
  return stream;
}

async function send(session, path, options) {
  const stream = open(session, path, options);
  const answer = { interim: [] };
  stream.on("headers", (headers) => answer.interim.push(headers));
  stream.on("trailers", (trailers) => (answer.trailers = trailers));
  [answer.headers] = await once(stream, "response");
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  answer.status = answer.headers[":status"];
  answer.body = Buffer.concat(chunks);
  answer.json = () => JSON.parse(answer.body);
  return answer;
}

/** A WebSocket that is a stream of this connection (RFC 8441), with the frames of `ws`. */
async function socket(session, path, headers) {
  const stream = session.request(
    { ":method": "CONNECT", ":protocol": "websocket", ":path": path, "sec-websocket-version": 13, ...headers },
    { endStream: false },
  );
  const closed = new Promise((resolve) => stream.once("close", resolve));
  const [answer] = await once(stream, "response");
  const receiver = new Receiver({ isServer: false });
  // What comes before anybody asks for it is kept.
  const messages = [];
  const waiting = [];
  const say = (message) => (waiting.length > 0 ? waiting.shift()(message) : messages.push(message));
  receiver.on("message", (data, binary) => say(binary ? data : String(data)));
  receiver.on("conclude", (code, reason) => {
    stream.end();
    say({ code, reason: String(reason) });
  });
  stream.on("error", () => {});
  // What is no WebSocket has no frames.
  if (answer[":status"] === 200) stream.pipe(receiver);
  else stream.resume();
  const sender = new Sender(stream);
  return {
    answer,
    stream,
    closed,
    send: (data) => sender.send(data, { binary: typeof data !== "string", mask: true, fin: true, compress: false }),
    close: (code, reason) => sender.close(code, reason, true),
    said: () => (messages.length > 0 ? messages.shift() : new Promise((resolve) => waiting.push(resolve))),
  };
}

for (const base of [clear, secure]) {
  const way = base.startsWith("https") ? "by ALPN" : "by prior knowledge";
  const connected = async (act) => {
    // Node refuses its own streams beyond what it may keep of their bodies, in megabytes.
    const session = http2.connect(base, { maxSessionMemory: 1000 });
    await once(session, "connect");
    await act(session);
    await new Promise((closed) => session.close(closed));
  };

  test(`${way}: three hundred exchanges at once on a connection do not mix`, limit, () =>
    connected(async (session) => {
      const one = async (i) => {
        const length = (i * 7919) % 200_000;
        const down = await send(session, `/download/${length}${i % 2 ? "?chunked" : ""}`);
        assert.equal(sha256(down.body), sha256(pattern(length)), `${length} bytes down`);
        const up = await send(session, "/upload", { ":method": "POST", body: pattern(length) });
        assert.deepEqual(up.json().sha256, sha256(pattern(length)), `${length} bytes up`);
      };
      await Promise.all(Array.from({ length: 300 }, (_, i) => one(i)));
    }));

  test(`${way}: the instance is told what it would be by HTTP/1`, limit, () =>
    connected(async (session) => {
      const who = (await send(session, "/who", { ":authority": "shop.example.com", cookie: ["a=1", "b=2"] })).json();
      assert.deepEqual([who.hostname, who.ip], ["shop.example.com", "127.0.0.1"]);
      assert.equal(who.protocol, base.split(":")[0]);
      assert.equal(who.headers.cookie, "a=1; b=2");
    }));

  test(`${way}: bodies of thirty-two megabytes arrive whole, both ways at once`, limit, () =>
    connected(async (session) => {
      const body = pattern(32 * 1_048_576 + 1);
      const uploads = [
        send(session, "/upload", { ":method": "POST", body: Readable.from(slices(body, 70_001)) }),
        send(session, "/upload", { ":method": "POST", "content-length": body.length, body }),
      ];
      const downloads = [send(session, `/download/${body.length}`), send(session, `/download/${body.length}?chunked`)];
      for (const up of await Promise.all(uploads)) assert.equal(up.json().sha256, sha256(body));
      for (const down of await Promise.all(downloads)) assert.equal(sha256(down.body), sha256(body));
    }));

  test(`${way}: empty answers, hints before the answer and trailers after it`, limit, () =>
    connected(async (session) => {
      const head = await send(session, "/download/1000", { ":method": "HEAD" });
      assert.deepEqual([head.headers["content-length"], head.body.length], ["1000", 0]);
      assert.equal((await send(session, "/empty")).status, 204);
      const file = await send(session, "/file");
      assert.equal((await send(session, "/file", { "if-none-match": file.headers.etag })).status, 304);
      const hinted = await send(session, "/hints");
      assert.equal(hinted.body.toString(), "hinted");
      assert.deepEqual(hinted.interim.map((hint) => hint[":status"]), [103]);
      const { body, trailers } = await send(session, "/trailers");
      assert.equal(body.toString(), "with trailers");
      assert.equal(trailers["x-checksum"], "abc123");
    }));

  test(`${way}: a stream that is reset is missed by the instance, others are not disturbed`, limit, () =>
    connected(async (session) => {
      for (let i = 0; i < 10; i++) {
        const id = `${way.replaceAll(" ", "-")}-${i}`;
        const down = open(session, `/endless/${id}-down`);
        await once(down, "readable");
        down.close(http2.constants.NGHTTP2_CANCEL);
        assert.deepEqual((await send(session, `/watched/${id}-down`)).json().ended, { whole: false });
        const up = session.request({ ":path": `/watched/${id}-up`, ":method": "POST" });
        up.write(pattern(100_000));
        assert.equal((await send(session, `/watched/${id}-up-began`)).json().ended, "began");
        // `close` would end the body in good order before it resets the stream.
        up.on("error", () => {});
        up.destroy(new Error("given up"));
        assert.equal((await send(session, `/watched/${id}-up`)).json().ended.whole, false);
      }
    }));

  test(`${way}: a slow reader of one stream does not hold the others up`, limit, () =>
    connected(async (session) => {
      const slow = open(session, "/download/8388608");
      await once(slow, "response");
      slow.pause();
      for (let i = 0; i < 20; i++) assert.equal((await send(session, "/download/100000")).body.length, 100_000);
      let bytes = 0;
      for await (const chunk of slow) bytes += chunk.length;
      assert.equal(bytes, 8_388_608);
    }));

  test(`${way}: WebSockets are streams like any other`, limit, () =>
    connected(async (session) => {
      if (!session.remoteSettings.enableConnectProtocol) await once(session, "remoteSettings");
      assert.ok(session.remoteSettings.enableConnectProtocol);
      const one = async (i) => {
        const id = `h2-${way.replaceAll(" ", "-")}-${i}`;
        const open = await socket(session, `/socket?id=${id}`, { "sec-websocket-protocol": "chat.v1, chat.v2" });
        assert.equal(open.answer[":status"], 200);
        assert.equal(open.answer["sec-websocket-protocol"], "chat.v2");
        for (const length of [0, 125, 126, 65_536, 1_048_576]) {
          open.send(pattern(length + i));
          assert.equal(sha256(await open.said()), sha256(pattern(length + i)), `${length + i} bytes`);
          open.send(`${i} ${"x".repeat(length)}`);
          assert.equal(await open.said(), `${i} ${"x".repeat(length)}`);
        }
        open.close(4000 + i, "done");
        assert.deepEqual(await open.said(), { code: 4000 + i, reason: "done" });
        await open.closed;
        assert.deepEqual((await send(session, `/ended/${id}`)).json(), { code: 4000 + i, reason: "done" });
      };
      await Promise.all(Array.from({ length: 10 }, (_, i) => one(i)));
    }));

  test(`${way}: a WebSocket that vanishes is missed by the other side`, limit, () =>
    connected(async (session) => {
      if (!session.remoteSettings.enableConnectProtocol) await once(session, "remoteSettings");
      const id = `h2-${way.replaceAll(" ", "-")}-gone`;
      const ours = await socket(session, `/socket?id=${id}`);
      ours.stream.destroy(new Error("given up"));
      assert.equal((await send(session, `/ended/${id}`)).json().code, 1006);
      const theirs = await socket(session, "/socket");
      const end = once(theirs.stream, "end");
      theirs.send("vanish");
      await end;
      theirs.stream.end();
      await theirs.closed;
      const nowhere = await socket(session, "/nowhere");
      assert.equal(nowhere.answer[":status"], 400);
      const other = await socket(session, "/socket", { ":protocol": "gopher" });
      assert.equal(other.answer[":status"], 501);
      other.stream.destroy();
      assert.equal((await send(session, "/who")).status, 200);
    }));
}
