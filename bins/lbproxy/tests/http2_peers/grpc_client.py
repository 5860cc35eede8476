"""A gRPC client that tries everything once, through the proxy.

Arguments: what to try, the target, and for TLS the authority's certificate. It fails by an exception.
"""

import concurrent.futures
import json
import queue
import sys
import threading
import time

import grpc

what, target, *authority = sys.argv[1:]

RETRYING = {
    "methodConfig": [
        {
            "name": [{"service": "test.Service", "method": "Flaky"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "0.2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
OPTIONS = [
    ("grpc.service_config", json.dumps(RETRYING)),
    ("grpc.enable_retries", 1),
    ("grpc.primary_user_agent", "peer"),
]


def connect():
    if not authority:
        return grpc.insecure_channel(target, OPTIONS)
    credentials = grpc.ssl_channel_credentials(open(authority[0], "rb").read())
    return grpc.secure_channel(target, credentials, OPTIONS + [("grpc.ssl_target_name_override", "a.test")])


channel = connect()
unary = channel.unary_unary("/test.Service/Unary")
plain = channel.unary_unary("/test.Service/Plain")
download = channel.unary_stream("/test.Service/Download")
upload = channel.stream_unary("/test.Service/Upload")
chat = channel.stream_stream("/test.Service/Chat")
fail = channel.unary_unary("/test.Service/Fail")
hang = channel.unary_unary("/test.Service/Hang")
trickle = channel.unary_stream("/test.Service/Trickle")
busy = channel.unary_unary("/busy.Service/Busy")
flaky = channel.unary_unary("/test.Service/Flaky")


def say(line):
    print(line, flush=True)


def equal(seen, expected):
    assert seen == expected, f"{seen!r}, not {expected!r}"


def failed(call):
    """The error that a call ends with."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"it did not fail: {answer!r}")


def calls():
    for n in range(200):
        message = b"message %d" % n
        answer, call = unary.with_call(message, metadata=[("x-asked", str(n)), ("x-data-bin", b"\0\xff")], timeout=10)
        equal(answer, message)
        initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
        equal(initial["x-asked"], str(n))
        equal(trailing["x-trailer"], "sent last")
        equal(trailing["x-trailer-bin"], bytes(range(256)))
        equal(call.code(), grpc.StatusCode.OK)
    equal(unary(b""), b"")


def large():
    for size in (16_384, 65_535, 65_536, 1_000_000, 4_000_000):
        equal(unary(b"x" * size, timeout=20), b"x" * size)
    compressible = b"y" * 1_000_000
    equal(unary(compressible, compression=grpc.Compression.Gzip), compressible)


def streams():
    for n in (0, 1, 1000):
        equal([*download(b"%d" % n)], [b"message %d" % i for i in range(n)])
    equal(upload(iter([])), b"0 messages, 0 bytes")
    equal(upload(b"x" * 1024 for _ in range(500)), b"500 messages, 512000 bytes")
    # Each message is answered before the next one is sent.
    said = queue.Queue()
    answers = chat(iter(said.get, None))
    for n in range(200):
        said.put(b"turn %d" % n)
        equal(next(answers), b"turn %d" % n)
    said.put(None)
    equal(next(answers, "the end"), "the end")
    equal(answers.code(), grpc.StatusCode.OK)


def many():
    """More at once than a connection allows streams, from many threads."""
    pending = [unary.future(b"%d" % n) for n in range(400)]
    equal([future.result(30) for future in pending], [b"%d" % n for n in range(400)])
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        equal(sorted(pool.map(lambda n: int(unary(b"%d" % n)), range(400))), [*range(400)])


def statuses():
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        error = failed(lambda: fail(b"%d" % code.value[0]))
        equal((error.code(), error.details()), (code, "100 % ünd\nmore"))
        equal(dict(error.trailing_metadata())["x-why"], "it was asked to")
    # A method that the endpoint does not have, and one that no route takes.
    equal(failed(lambda: channel.unary_unary("/test.Service/None")(b"")).code(), grpc.StatusCode.UNIMPLEMENTED)
    error = failed(lambda: channel.unary_unary("/none.Service/None")(b""))
    equal((error.code(), error.details()), (grpc.StatusCode.UNIMPLEMENTED, "no route matches"))
    error = failed(lambda: channel.unary_unary("/dead.Service/None")(b""))
    equal((error.code(), error.details()), (grpc.StatusCode.UNAVAILABLE, "the service cannot be reached"))
    error = failed(lambda: channel.unary_unary("/small.Service/Unary")(b"x" * 2000))
    equal((error.code(), error.details()), (grpc.StatusCode.RESOURCE_EXHAUSTED, "the request body is too large"))


def deadlines():
    start = time.monotonic()
    error = failed(lambda: hang(b"deadline", timeout=2))
    equal(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    assert 1.9 < time.monotonic() - start < 20
    # One that the route has, which is shorter than ours.
    error = failed(lambda: channel.unary_unary("/hurried.Service/Hang")(b"route", timeout=30))
    equal((error.code(), error.details()), (grpc.StatusCode.DEADLINE_EXCEEDED, "the service did not answer in time"))


def cancellations():
    call = hang.future(b"cancelled")
    # Once the instance has it.
    input()
    call.cancel()
    equal(call.code(), grpc.StatusCode.CANCELLED)
    stream = trickle(b"stream")
    equal(next(stream), b"first")
    stream.cancel()
    equal(failed(lambda: next(stream)).code(), grpc.StatusCode.CANCELLED)


def retries():
    # By the proxy, of which the client sees nothing: half of these go to an instance that is always busy.
    for _ in range(20):
        equal(busy(b""), b"b")
    # By the client, which the proxy lets be.
    equal(flaky(b"by the client", timeout=20), b"2")


def everything():
    for part in (calls, large, streams, many, statuses, deadlines, cancellations, retries):
        part()
        say(f"ok {part.__name__}")


def load():
    """Calls until told to stop; all succeed, whatever happens to instances."""
    over = threading.Event()
    done = []

    def work(n):
        while not over.is_set():
            message = b"%d %d" % (n, len(done))
            equal(plain(message, timeout=20), message)
            done.append(message)
            if len(done) == 200:
                say("going")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        workers = [pool.submit(work, n) for n in range(8)]
        for line in sys.stdin:
            before = len(done)
            while len(done) < before + 400 and not any(worker.done() for worker in workers):
                time.sleep(0.01)
            say(f"went on {line.strip()}")
        over.set()
        for worker in workers:
            worker.result()
    say(f"ok {len(done) > 400}")


def conversation():
    """A stream that lives as long as there is something to say, over a stop of the proxy."""
    said = queue.Queue()
    answers = chat(iter(said.get, None))
    for line in sys.stdin:
        said.put(line.strip().encode())
        say(f"heard {next(answers).decode()}")
    said.put(None)
    equal(next(answers, "the end"), "the end")
    equal(answers.code(), grpc.StatusCode.OK)
    say("ok conversation")


{"everything": everything, "load": load, "conversation": conversation}[what]()
channel.close()
