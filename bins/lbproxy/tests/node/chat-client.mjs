// Socket.IO clients that do as they are told: `node chat-client.mjs URL`, one command a line on standard input, one
// event a line on standard output.
//
//   open COUNT TRANSPORTS   opens clients, e.g. `open 3 polling,websocket` (a browser's way: poll, then upgrade)
//   say                     every client sends a message and waits for its echo; then `all-said`
//
//   connected CLIENT INSTANCE TRANSPORT     for good: the upgrade, if any, is over
//   said CLIENT INSTANCE                    the echo came, and from there
//   lost CLIENT
//   failed CLIENT REASON                    could not connect (and goes on trying)

import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const url = process.argv[2];
const clients = [];

function open(client, transports) {
  // A browser keeps its cookies when it connects anew; the jar of Socket.IO's client for Node ends with the connection.
  const extraHeaders = {};
  const socket = io(url, {
    forceNew: true,
    transports,
    extraHeaders,
    withCredentials: true,
    reconnectionDelay: 50,
    reconnectionDelayMax: 200,
  });
  socket.io.on("open", () => {
    const cookies = [...socket.io.engine._cookieJar.cookies].map(([name, { value }]) => `${name}=${value}`);
    if (cookies.length > 0) extraHeaders.cookie = cookies.join("; ");
  });
  socket.on("hello", (instance) => {
    const { engine } = socket.io;
    const connected = () => console.log(`connected ${client} ${instance} ${engine.transport.name}`);
    if (engine.transport.name === transports.at(-1)) connected();
    else engine.once("upgrade", connected);
  });
  socket.on("disconnect", () => console.log(`lost ${client}`));
  socket.on("connect_error", (error) => console.log(`failed ${client} ${error.message}`));
  return socket;
}

async function say(socket, client) {
  const text = `message ${Math.random()} of ${client} ` + "ä€😀".repeat(2000);
  const [echo, instance] = await new Promise((done) => socket.emit("echo", text, (...answer) => done(answer)));
  assert.equal(echo, text);
  console.log(`said ${client} ${instance}`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count, transports] = line.split(" ");
  if (command === "open") {
    for (let i = 0; i < Number(count); i++) clients.push(open(clients.length, transports.split(",")));
  } else {
    await Promise.all(clients.map(say));
    console.log("all-said");
  }
}
process.exit(0);
