// What undici, the client behind Node's `fetch`, does through the proxy: `node undici-client.mjs URL TLS-URL`, with the
// authority of the second in NODE_EXTRA_CA_CERTS.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { Client, EventSource, Pool, fetch } from "undici";
import { pattern } from "./data.mjs";

const [clear, secure] = process.argv.slice(2);
const limit = { timeout: 120_000 };
const MIB = 1_048_576;

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

function* slices(bytes, size) {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
}

async function read(response) {
  const body = Buffer.from(await response.body.arrayBuffer());
  return { status: response.statusCode, headers: response.headers, trailers: response.trailers, body };
}

const get = async (on, path, more) => read(await on.request({ path, method: "GET", ...more }));
const post = async (on, path, body, headers) => read(await on.request({ path, method: "POST", body, headers }));

/** Counts the connections that a client or pool makes. */
function counted(on) {
  on.made = 0;
  on.on("connect", () => (on.made += 1));
  return on;
}

const ways = [
  ["HTTP/1.1", clear, {}],
  ["HTTP/1.1 over TLS", secure, {}],
  ["HTTP/2", secure, { allowH2: true }],
];

for (const [way, base, options] of ways) {
  const client = (more) => counted(new Client(base, { ...options, ...more }));
  const pool = (more) => counted(new Pool(base, { ...options, ...more }));

  test(`${way}: requests one after the other share a connection`, limit, async () => {
    const one = client();
    for (let i = 0; i < 50; i++) {
      const { status, body } = await get(one, "/who");
      assert.equal(status, 200);
      const seen = JSON.parse(body);
      assert.equal(seen.protocol, base.split(":")[0]);
      assert.equal(seen.ip, "127.0.0.1");
    }
    assert.equal(one.made, 1);
    await one.close();
  });

  test(`${way}: empty answers leave the connection in order`, limit, async () => {
    const one = client();
    for (let i = 0; i < 10; i++) {
      assert.equal((await get(one, "/empty")).status, 204);
      const { headers } = await get(one, "/file");
      const again = await get(one, "/file", { headers: { "if-none-match": headers.etag } });
      assert.deepEqual([again.status, again.body.length], [304, 0]);
    }
    assert.equal(one.made, 1);
    // This one it closes the connection after, whatever the answer.
    const head = await read(await one.request({ path: "/download/1000", method: "HEAD" }));
    assert.equal(head.headers["content-length"], "1000");
    assert.equal(head.body.length, 0);
    await one.close();
  });

  test(`${way}: many at once over few connections do not mix`, limit, async () => {
    // With more than one stream on a connection, this version's assertions fail whoever is asked; `http2-client.mjs` has those.
    const few = pool({ connections: 4, pipelining: way === "HTTP/2" ? 1 : 8 });
    const one = async (i) => {
      const length = (i * 7919) % 200_000;
      const down = await get(few, `/download/${length}${i % 2 ? "?chunked" : ""}`);
      assert.equal(sha256(down.body), sha256(pattern(length)), `${length} bytes down`);
      const up = await post(few, "/upload", pattern(length));
      assert.deepEqual(JSON.parse(up.body).sha256, sha256(pattern(length)), `${length} bytes up`);
    };
    await Promise.all(Array.from({ length: 200 }, (_, i) => one(i)));
    assert.ok(few.made <= 4, `${few.made} connections`);
    await few.close();
  });

  test(`${way}: a large upload arrives whole, with its length and without`, limit, async () => {
    const one = client();
    const body = pattern(32 * MIB + 1);
    const known = JSON.parse((await post(one, "/upload", body)).body);
    assert.deepEqual([known.bytes, known.sha256], [body.length, sha256(body)]);
    const streamed = JSON.parse((await post(one, "/upload", Readable.from(slices(body, 70_001)))).body);
    assert.deepEqual([streamed.bytes, streamed.sha256], [body.length, sha256(body)]);
    await one.close();
  });

  test(`${way}: a large download arrives whole, with its length and without`, limit, async () => {
    const one = client();
    for (const path of [`/download/${32 * MIB + 1}`, `/download/${32 * MIB + 1}?chunked`]) {
      const hash = createHash("sha256");
      const { body } = await one.request({ path, method: "GET" });
      await pipeline(body, hash);
      assert.equal(hash.digest("hex"), sha256(pattern(32 * MIB + 1)));
    }
    await one.close();
  });

  test(`${way}: a client that leaves a download is missed by the instance, others are not disturbed`, limit, async () => {
    const two = pool({ connections: 2 });
    for (let i = 0; i < 5; i++) {
      const id = `${way.replaceAll(/[^A-Z0-9]/g, "")}-endless-${i}`;
      const leave = new AbortController();
      const { body } = await two.request({ path: `/endless/${id}`, method: "GET", signal: leave.signal });
      await once(body, "readable");
      leave.abort();
      await assert.rejects(async () => {
        for await (const _ of body);
      });
      const { ended } = JSON.parse((await get(two, `/watched/${id}`)).body);
      assert.deepEqual(ended, { whole: false });
      assert.equal((await get(two, "/who")).status, 200);
    }
    await two.close();
  });

  test(`${way}: an upload that breaks off is never taken for a whole one`, limit, async () => {
    const two = pool({ connections: 2 });
    for (let i = 0; i < 5; i++) {
      const id = `${way.replaceAll(/[^A-Z0-9]/g, "")}-cut-${i}`;
      const leave = new AbortController();
      // Begins, and is not ended.
      const body = new Readable({ read() {} });
      body.push(pattern(100_000));
      const sent = two.request({ path: `/watched/${id}`, method: "POST", body, signal: leave.signal });
      assert.equal(JSON.parse((await get(two, `/watched/${id}-began`)).body).ended, "began");
      leave.abort();
      await assert.rejects(sent);
      const { ended } = JSON.parse((await get(two, `/watched/${id}`)).body);
      assert.equal(ended.whole, false);
      assert.ok(ended.bytes > 0);
      assert.equal((await get(two, "/who")).status, 200);
    }
    await two.close();
  });

  test(`${way}: trailers arrive`, limit, async () => {
    const one = client();
    const { body, trailers } = await get(one, "/trailers");
    assert.equal(body.toString(), "with trailers");
    if (way !== "HTTP/2") assert.equal(trailers["x-checksum"], "abc123");
    await one.close();
  });

  test(`${way}: two cookies stay two`, limit, async () => {
    const one = client();
    const { headers } = await get(one, "/cookies");
    assert.deepEqual(headers["set-cookie"], ["first=1; Path=/; HttpOnly", "second=two%20words; Path=/"]);
    await one.close();
  });
}

test("pipelined requests are answered in their order, on one connection", limit, async () => {
  const one = counted(new Client(clear, { pipelining: 10 }));
  const order = [];
  const ask = async (i) => {
    const { body } = await get(one, `/download/${i * 1000}`);
    assert.equal(body.length, i * 1000);
    order.push(i);
  };
  await Promise.all(Array.from({ length: 100 }, (_, i) => ask(i)));
  assert.deepEqual(order, Array.from({ length: 100 }, (_, i) => i));
  assert.equal(one.made, 1);
  await one.close();
});

test("a refusal that does not wait for the upload reaches whoever sends it", limit, async () => {
  const one = new Client(clear);
  for (let i = 0; i < 5; i++) {
    // As much as the buffers on the way hold: what is refused beyond them may end in a reset, as in front of any server.
    const { status, body } = await post(one, "/refused", pattern(50_000));
    assert.deepEqual([status, body.toString()], [413, "too much"]);
  }
  await one.close();
});

test("`fetch` decodes what Express compressed", limit, async () => {
  const answer = await fetch(`${clear}/text`);
  assert.equal(answer.headers.get("content-encoding"), "gzip");
  assert.match(await answer.text(), /^the quick brown fox/);
});

test("an EventSource hears what is published", limit, async () => {
  const source = new EventSource(`${clear}/one/events`);
  const [hello] = await once(source, "message");
  assert.match(hello.data, /^hello from /);
  const next = once(source, "message");
  await fetch(`${clear}/one/publish`, { method: "POST", headers: { "content-type": "text/plain" }, body: "news" });
  assert.equal((await next)[0].data, "news");
  source.close();
});
