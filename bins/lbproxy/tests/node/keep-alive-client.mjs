// Requests with pauses about as long as Node keeps an idle connection: `node keep-alive-client.mjs URL FROM TO STEP`.
//
// The instance closes an idle connection at the same moment at which the proxy would use it again. Each pause has a
// path of its own, `/pause/MS/…`, behind which the proxy keeps a pool of its own, so that a connection has been idle
// for just that long. The requests are POST: nobody may repeat them for us, so a lost one is seen.

import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { setTimeout as pause } from "node:timers/promises";

const [base, ...numbers] = process.argv.slice(2);
const [from, to, step, rounds] = numbers.map(Number);

async function post(path, agent) {
  const request = http.request(base + path, { method: "POST", agent, headers: { "Content-Length": 5 } });
  request.end("hello");
  // A lost answer is to be told by its path.
  request.setTimeout(30_000, () => request.destroy(new Error(`${path}: no answer within 30 s`)));
  const [response] = await once(request, "response");
  const chunks = [];
  for await (const chunk of response) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  assert.equal(response.statusCode, 200, `${path}: ${response.statusCode} ${body}`);
  return JSON.parse(body);
}

async function lane(ms) {
  // A connection for each request: what the client's side keeps is not the question.
  const agent = new http.Agent();
  const connections = new Set();
  for (let round = 0; round < rounds; round++) {
    if (round > 0) await pause(ms);
    connections.add((await post(`/pause/${ms}/`, agent)).connection);
  }
  console.log(`pause ${ms}: ${rounds} requests on ${connections.size} connections`);
}

const lanes = [];
for (let ms = from; ms <= to; ms += step) lanes.push(lane(ms));
await Promise.all(lanes);
