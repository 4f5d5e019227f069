"""A web server that takes webhooks: scripted answers, everything remembered, signatures checked by the example of docs/operations.md."""
import collections
import hashlib
import hmac
import http.server
import json
import pathlib
import re
import socket
import ssl
import threading
import time

from . import places
from .waiting import until

CLOSE, SILENT = object(), object()


# What the manual tells receivers to do is what checks every call here.
MANUAL = pathlib.Path(__file__).resolve().parents[3] / "docs/operations.md"
exec(re.search(r"```python\n(def signature_is_good.*?)```", MANUAL.read_text(encoding="utf-8"), re.S)[1])  # noqa: S102


class Hook:
    """`answers`: what each call gets, one after the other, then 200: a status, (status, headers), CLOSE, or SILENT."""

    def __init__(self, secret, answers=(), tls=None, address="127.0.0.1"):
        self.secret, self.answers = secret, collections.deque(answers)
        self.calls, self.bodies, self.bad = [], [], []
        self.changed = threading.Condition()
        hook, self.released = self, threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with hook.changed:
                    if not signature_is_good(hook.secret, self.headers, body):
                        hook.bad.append((dict(self.headers), body))
                    hook.bodies.append(body)
                    hook.calls.append((self.path, dict(self.headers), json.loads(body)))
                    answer = hook.answers.popleft() if hook.answers else 200
                    hook.changed.notify_all()
                if answer is SILENT:
                    hook.released.wait(120)
                    return
                if answer is CLOSE:
                    self.connection.close()
                    return
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.clients, self.serving = set(), 0

        class Server(http.server.ThreadingHTTPServer):
            def process_request(self, request, client_address):
                with hook.changed:
                    hook.clients.add(client_address[1])
                    hook.serving += 1
                super().process_request(request, client_address)

            def process_request_thread(self, request, client_address):
                try:
                    super().process_request_thread(request, client_address)
                finally:
                    with hook.changed:
                        hook.serving -= 1
                        hook.changed.notify_all()

        self.server = Server((address, 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else address}:{self.port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count=1, timeout=places.PATIENCE):
        """The bodies of the calls, once there are so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.calls) >= count, timeout), f"{len(self.calls)} calls, not {count}"
            return [body for _, _, body in self.calls]

    def settle(self):
        """Returns when all that was called before has been taken and remembered: of a caller that is gone. Not with TLS."""
        with socket.create_connection(self.server.server_address) as last:  # behind all others
            port = last.getsockname()[1]
            until(lambda: port in self.clients, what="the connections before this one")
        with self.changed:
            assert self.changed.wait_for(lambda: self.serving == 0, 60)

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
