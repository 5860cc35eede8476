// One instance of a Socket.IO application that keeps its sessions to itself, as they all do without an adapter.

import { createServer } from "node:http";
import { Server } from "socket.io";
import { listen, name } from "./instance.mjs";

const server = createServer((req, res) => {
  res.statusCode = req.url === "/healthz" ? 200 : 404;
  res.end();
});

const io = new Server(server);
io.on("connection", (socket) => {
  socket.emit("hello", name);
  socket.on("echo", (text, answer) => answer(text, name));
});

listen(server);
