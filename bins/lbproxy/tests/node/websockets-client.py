"""WebSockets through the proxy as Python's `websockets` speaks them: `websockets-client.py URL [AUTHORITY]`."""

import asyncio
import hashlib
import json
import ssl
import sys
import urllib.request

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as connect_sync

BASE = sys.argv[1]
TLS = ssl.create_default_context(cafile=sys.argv[2]) if len(sys.argv) > 2 else None
URL = BASE.replace("http", "ws", 1) + "/socket"
PATIENCE = 60


def ended(name):
    """How the instance saw a socket end."""
    with urllib.request.urlopen(f"{BASE}/ended/{name}", context=TLS, timeout=PATIENCE) as answer:
        return json.load(answer)


def opened(name, **options):
    return connect(f"{URL}?id={name}", ssl=TLS, max_size=None, **options)


async def sizes(how, compression):
    # Where the length of a frame takes another form, and beyond every buffer on the way.
    async with opened(f"py-sizes-{how}", compression=compression) as socket:
        for length in [0, 1, 125, 126, 65_535, 65_536, 1_048_576, 5_000_001]:
            data = hashlib.shake_256(b"seed").digest(length)
            await socket.send(data)
            assert await socket.recv() == data, f"{length} bytes"
            text = "ä€😀" * (length // 9)
            await socket.send(text)
            assert await socket.recv() == text, f"{length} characters"


async def fragments():
    async with opened("py-fragments") as socket:
        await socket.send(str(i) * 1000 for i in range(100))
        assert await socket.recv() == "".join(str(i) * 1000 for i in range(100))


async def pings():
    async with opened("py-pings") as socket:
        for _ in range(10):
            assert await (await socket.ping(b"x" * 125)) < PATIENCE
        await socket.send("ping me")
        assert await socket.recv() == "pong are you there"


async def closes():
    for code, reason in [(1000, ""), (1001, "away"), (3000, "ä€😀"), (4999, "x" * 123)]:
        socket = await opened(f"py-close-{code}")
        await socket.close(code, reason)
        assert (await asyncio.to_thread(ended, f"py-close-{code}")) == {"code": code, "reason": reason}
    socket = await opened("py-closed")
    await socket.send("close 4001")
    try:
        await socket.recv()
        raise AssertionError("it was to close")
    except ConnectionClosed as closed:
        assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "as asked")
    socket = await opened("py-vanished")
    await socket.send("vanish")
    try:
        await socket.recv()
        raise AssertionError("it was to vanish")
    except ConnectionClosed as closed:
        assert closed.rcvd is None, "a cut must not look like a close"
    socket = await opened("py-vanishing")
    socket.transport.abort()
    assert (await asyncio.to_thread(ended, "py-vanishing"))["code"] == 1006


async def subprotocol_and_refusal():
    async with opened("py-protocol", subprotocols=["chat.v1", "chat.v2"]) as socket:
        assert socket.subprotocol == "chat.v2"
        assert socket.response.headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
    try:
        await connect(BASE.replace("http", "ws", 1) + "/nowhere", ssl=TLS)
        raise AssertionError("there is nothing there")
    except InvalidStatus as refused:
        assert refused.response.status_code == 400


async def many():
    async def one(i):
        async with opened(f"py-many-{i}", ping_interval=0.2) as socket:
            for turn in range(5):
                message = f"{i} {turn} " + "x" * (i * 10)
                await socket.send(message)
                assert await socket.recv() == message

    # Idle meanwhile, but for its own pings, and longer than a connection may be that is no tunnel.
    async with opened("py-idle", ping_interval=0.5) as idle:
        await asyncio.gather(*(one(i) for i in range(150)))
        await asyncio.sleep(2.5)
        await idle.send("still there")
        assert await idle.recv() == "still there"


def synchronous():
    with connect_sync(f"{URL}?id=py-sync", ssl=TLS, max_size=None) as socket:
        for length in [1, 1000, 3_000_000]:
            socket.send(b"y" * length)
            assert socket.recv(PATIENCE) == b"y" * length
        assert socket.ping().wait(PATIENCE)
    assert ended("py-sync") == {"code": 1000, "reason": ""}


async def main():
    await asyncio.wait_for(sizes("plain", None), PATIENCE)
    await asyncio.wait_for(sizes("compressed", "deflate"), PATIENCE)
    for check in [fragments, pings, closes, subprotocol_and_refusal, many]:
        await asyncio.wait_for(check(), PATIENCE)
        print("ok", check.__name__)
    await asyncio.to_thread(synchronous)


asyncio.run(main())
print("all is well")
