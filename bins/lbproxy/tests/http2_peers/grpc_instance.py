"""One instance of a gRPC service, which says what becomes of its calls.

Arguments: its name, an address, and for TLS a certificate and its key. Messages are plain bytes.
"""

import concurrent.futures
import sys
import threading

import grpc

name, address, *pair = sys.argv[1:]
calls = {}
lock = threading.Lock()


def say(line):
    print(line, flush=True)


def count(key):
    with lock:
        calls[key] = calls.get(key, 0) + 1
        return calls[key]


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata([("x-instance", name), ("x-asked", metadata.get("x-asked", ""))])
    context.set_trailing_metadata([("x-trailer", "sent last"), ("x-trailer-bin", bytes(range(256)))])
    return request


def download(request, context):
    for n in range(int(request)):
        yield b"message %d" % n


def upload(requests, context):
    sizes = [len(message) for message in requests]
    return b"%d messages, %d bytes" % (len(sizes), sum(sizes))


def chat(requests, context):
    for message in requests:
        yield message


def fail(request, context):
    code = next(code for code in grpc.StatusCode if code.value[0] == int(request))
    context.set_trailing_metadata([("x-why", "it was asked to")])
    context.abort(code, "100 % ünd\nmore")


def hang(request, context):
    """Until the call is over."""
    over = threading.Event()
    context.add_callback(over.set)
    remaining = context.time_remaining()
    say(f"hanging {request.decode()} {remaining is not None and remaining < 60}")
    over.wait(60)
    say(f"released {request.decode()}")
    return b""


def trickle(request, context):
    """A message, and then nothing until the call is over."""
    over = threading.Event()

    def release():
        # Here, since who cancels at once has the library not come back to us after the message.
        say(f"released {request.decode()}")
        over.set()

    context.add_callback(release)
    yield b"first"
    over.wait(60)


def busy(request, context):
    """Instance `a` is always busy."""
    if name == "a":
        context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
    return name.encode()


def flaky(request, context):
    """Works at the third attempt."""
    metadata = dict(context.invocation_metadata())
    if count(request) < 3:
        context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
    return metadata.get("grpc-previous-rpc-attempts", "none").encode()


class Service(grpc.GenericRpcHandler):
    methods = {
        "/test.Service/Unary": grpc.unary_unary_rpc_method_handler(unary),
        "/test.Service/Download": grpc.unary_stream_rpc_method_handler(download),
        "/test.Service/Upload": grpc.stream_unary_rpc_method_handler(upload),
        "/test.Service/Chat": grpc.stream_stream_rpc_method_handler(chat),
        "/test.Service/Fail": grpc.unary_unary_rpc_method_handler(fail),
        "/test.Service/Hang": grpc.unary_unary_rpc_method_handler(hang),
        "/test.Service/Plain": grpc.unary_unary_rpc_method_handler(lambda request, _: request),
        "/hurried.Service/Hang": grpc.unary_unary_rpc_method_handler(hang),
        "/small.Service/Unary": grpc.unary_unary_rpc_method_handler(unary),
        "/test.Service/Trickle": grpc.unary_stream_rpc_method_handler(trickle),
        "/busy.Service/Busy": grpc.unary_unary_rpc_method_handler(busy),
        "/test.Service/Flaky": grpc.unary_unary_rpc_method_handler(flaky),
    }

    def service(self, details):
        return self.methods.get(details.method)


server = grpc.server(concurrent.futures.ThreadPoolExecutor(40), handlers=[Service()])
if pair:
    cert, key = (open(file, "rb").read() for file in pair)
    port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, cert)]))
else:
    port = server.add_insecure_port(address)
server.start()
say(f"listening {address.rsplit(':', 1)[0]}:{port}")
# Until nobody wants it any more; what runs may finish.
sys.stdin.read()
server.stop(10).wait()
