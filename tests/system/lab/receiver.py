"""A strict, scriptable SMTP receiver that remembers everything: address, EHLO, TLS, envelope, exact bytes.

    receiver = Receiver(port)
    host = receiver.host("127.0.10.1", script={"rcpt": ["451 4.7.1 later"]})
    receiver.wait(lambda: len(host.messages) == 1)

A script maps a stage to an action, or to a list of actions that are used up one after the other; then the stage is
answered as a good receiver would. Stages: connect, ehlo, helo, starttls, handshake, mail, rcpt, data, dot, rset, quit. An
action is a reply ("450 4.2.0 busy"), raw bytes, CLOSE, RESET, SILENT, a function of (session, argument) that returns an
action or None (answer as usual), or, for the handshake, any action: the handshake is then broken by it."""
import collections
import contextlib
import dataclasses
import re
import socket
import ssl
import struct
import threading
import time

from . import places

CLOSE, RESET, SILENT = object(), object(), object()

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


@dataclasses.dataclass
class Message:
    """One accepted or refused transaction. `data` is without the stuffed dots, `wire` as it came, without the last dot."""
    session: "Session"
    mail_from: str
    mail_parameters: str
    recipients: list
    recipient_parameters: list
    data: bytes = b""
    wire: bytes = b""
    reply: str = ""
    time: float = 0.0

    @property
    def source(self):
        return self.session.source

    @property
    def ehlo(self):
        return self.session.ehlo

    @property
    def tls(self):
        return self.session.tls

    @property
    def accepted(self):
        return self.reply.startswith("2")

    def header(self, name):
        """The unfolded value of the first field of this name, or None."""
        head = re.split(rb"\r\n\r\n", self.data, maxsplit=1)[0] + b"\r\n"
        m = re.search(rb"(?im)^" + re.escape(name.encode()) + rb":[ \t]*((?:.*\r\n)(?:[ \t].*\r\n)*)", head)
        return re.sub(rb"\r\n(?=[ \t])", b"", m[1]).decode("utf-8", "replace").strip() if m else None

    @property
    def body(self):
        return self.data.split(b"\r\n\r\n", 1)[1] if b"\r\n\r\n" in self.data else b""


class Gone(Exception):
    pass


class Session:
    """One connection. `commands` are the lines as they came; `faults` what a strict receiver would not stand."""

    def __init__(self, host, connection, peer):
        self.host, self.socket, self.source, self.source_port = host, connection, peer[0], peer[1]
        self.ehlo, self.esmtp, self.tls = None, False, None
        self.commands, self.messages, self.faults = [], [], []
        self.buffer = b""
        self.current = None
        self.open = True

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as e:
            raise Gone from e

    def reply(self, text):
        self.send("".join(line + "\r\n" for line in text.split("\n")).encode("utf-8", "surrogateescape"))

    def fill(self):
        try:
            got = self.socket.recv(65536)
        except (OSError, ssl.SSLError) as e:
            raise Gone from e
        if not got:
            raise Gone
        self.buffer += got

    def line(self):
        while b"\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\n", 1)
        if not line.endswith(b"\r"):
            self.faults.append(f"a bare LF ends {line[:80]!r}")
        line = line.removesuffix(b"\r")
        if b"\r" in line:
            self.faults.append(f"a bare CR in {line[:80]!r}")
        return line

    def data(self):
        while not (self.buffer.startswith(b".\r\n") or b"\r\n.\r\n" in self.buffer):
            self.fill()
        if self.buffer.startswith(b".\r\n"):
            wire, self.buffer = b"", self.buffer[3:]
        else:
            wire, self.buffer = self.buffer.split(b"\r\n.\r\n", 1)
            wire += b"\r\n"
        for number, line in enumerate(wire.split(b"\r\n")[:-1]):
            if b"\r" in line or b"\n" in line:
                self.faults.append(f"a bare CR or LF in line {number + 1} of the data")
            if line.startswith(b".") and not line.startswith(b".."):
                self.faults.append(f"an unstuffed dot in line {number + 1} of the data")
        return wire, re.sub(rb"(\A|\r\n)\.", rb"\1", wire)

    def act(self, action, argument=None):
        """Does what the script says. Returns the reply it gave; None when the stage is to be answered as usual."""
        if callable(action):
            action = action(self, argument)
        if action is None:
            return None
        if action is CLOSE:
            raise Gone
        if action is RESET:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise Gone
        if action is SILENT:
            while True:  # until the other side goes
                self.fill()
                self.buffer = b""
        if isinstance(action, bytes):
            self.send(action)
            return action.decode("latin-1")
        self.reply(action)
        return action

    def stage(self, name, argument, usual):
        given = self.act(self.host.next_action(name), argument)
        if given is None:
            self.reply(usual)
            given = usual
        return given

    def run(self):
        self.stage("connect", None, f"220 {self.host.name} ESMTP")
        while True:
            line = self.line().decode("utf-8", "surrogateescape")
            self.commands.append(line)
            verb, _, argument = line.partition(" ")
            handler = getattr(self, "do_" + verb.lower(), None)
            if handler is None:
                self.faults.append(f"unknown command {line[:80]!r}")
                self.reply("500 5.5.1 what?")
            elif handler(argument):
                return

    def do_ehlo(self, argument):
        self.ehlo, self.esmtp, self.current = argument, True, None
        lines = [self.host.name, *self.host.extensions]
        if self.host.tls and not self.tls:
            lines.append("STARTTLS")
        self.stage("ehlo", argument, "\n".join(f"250{'-' if i + 1 < len(lines) else ' '}{l}" for i, l in enumerate(lines)))

    def do_helo(self, argument):
        self.ehlo, self.current = argument, None
        self.stage("helo", argument, f"250 {self.host.name}")

    def do_starttls(self, _):
        if self.buffer:
            self.faults.append("commands in the same packet as STARTTLS")
        if not self.stage("starttls", None, "220 2.0.0 go ahead").startswith("2"):
            return
        self.act(self.host.next_action("handshake"))
        try:
            self.socket = self.host.tls.wrap_socket(self.socket, server_side=True)
        except (OSError, ssl.SSLError) as e:
            raise Gone from e
        self.tls, self.ehlo, self.current = self.socket.version(), None, None

    def do_mail(self, argument):
        if self.ehlo is None:
            self.faults.append("MAIL before EHLO")
        m = re.match(r"(?i)FROM:<(.*?)>(?: (.*))?$", argument)
        if not m:
            self.faults.append(f"bad MAIL {argument!r}")
            self.reply("501 5.5.4 syntax")
            return
        if self.current:
            self.faults.append("MAIL within a transaction")
        extensions = {e.split()[0] for e in self.host.extensions} if self.esmtp else set()
        for parameter in (m[2] or "").split():
            key = {"BODY": "8BITMIME", "RET": "DSN", "ENVID": "DSN"}.get(parameter.split("=")[0].upper(), parameter.split("=")[0].upper())
            if key not in extensions:
                self.faults.append(f"MAIL with {parameter}, which was not offered")
        if not m[1].isascii() and "SMTPUTF8" not in (m[2] or ""):
            self.faults.append("an address outside ASCII without SMTPUTF8")
        if self.stage("mail", m[1], "250 2.1.0 fine").startswith("2"):
            self.current = Message(self, m[1], m[2] or "", [], [])

    def do_rcpt(self, argument):
        m = re.match(r"(?i)TO:<(.+?)>(?: (.*))?$", argument)
        if not m:
            self.faults.append(f"bad RCPT {argument!r}")
            self.reply("501 5.5.4 syntax")
        elif not self.current:
            self.reply("503 5.5.1 MAIL first")
        else:
            usual = self.host.refuse.get(m[1].lower(), "250 2.1.5 fine")
            if self.stage("rcpt", m[1], usual).startswith("2"):
                self.current.recipients.append(m[1])
                self.current.recipient_parameters.append(m[2] or "")

    def do_data(self, _):
        if not self.current or not self.current.recipients:
            self.reply("554 5.5.1 no valid recipients")
            return
        if not self.stage("data", None, "354 go ahead").startswith("3"):
            self.current = None
            return
        message, self.current = self.current, None
        message.wire, message.data = self.data()
        extensions = {e.split()[0] for e in self.host.extensions} if self.esmtp else set()
        if not message.wire.isascii() and "8BITMIME" not in extensions:
            self.faults.append("eight-bit data, but 8BITMIME was not offered")
        message.time = time.time()
        self.host.receiver.record(lambda: self.host.seen.append(message))
        # The message counts before the reply leaves: a sender that dies of a lost reply finds it recorded.
        given = self.host.next_action("dot")
        if callable(given):
            given = given(self, message)
        message.reply = given if isinstance(given, str) else "" if given is not None else "250 2.0.0 taken"
        self.host.receiver.record(lambda: (self.messages.append(message), self.host.messages.append(message)) if message.accepted else None)
        self.act(given if given is not None else message.reply)

    def do_rset(self, _):
        self.current = None
        self.stage("rset", None, "250 2.0.0 fine")

    def do_noop(self, _):
        self.reply("250 2.0.0 fine")

    def do_quit(self, _):
        self.host.receiver.record(lambda: setattr(self, "open", False))  # before the other side may know that it ends, and open another
        self.stage("quit", None, "221 2.0.0 bye")
        return True


class Host:
    """One mail host at one address. `seen` are all the messages that came up to the final dot, `messages` the accepted ones."""

    def __init__(self, receiver, address, name, script, refuse, extensions, tls):
        self.receiver, self.address, self.name = receiver, address, name
        self.script = {stage: collections.deque(a) if isinstance(a, list) else a for stage, a in (script or {}).items()}
        self.refuse = {k.lower(): v for k, v in (refuse or {}).items()}
        self.extensions, self.tls = tuple(extensions), tls
        self.sessions, self.seen, self.messages = [], [], []
        self.listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, receiver.port))
        self.listener.listen(512)
        threading.Thread(target=self.accept, daemon=True).start()

    def next_action(self, stage):
        with self.receiver.changed:
            action = self.script.get(stage)
            if isinstance(action, collections.deque):
                return action.popleft() if action else None
            return action

    def accept(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(self, connection, peer)
            self.receiver.record(lambda s=session: self.sessions.append(s))
            threading.Thread(target=self.serve, args=(session,), daemon=True).start()

    def serve(self, session):
        with contextlib.suppress(Gone, OSError):
            session.run()
        with contextlib.suppress(OSError):
            session.socket.close()
        self.receiver.record(lambda: setattr(session, "open", False))

    @property
    def faults(self):
        return [f for s in self.sessions for f in s.faults]

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for session in self.sessions:
            if session.open:
                with contextlib.suppress(OSError):
                    session.socket.shutdown(socket.SHUT_RDWR)


class Receiver:
    """All the hosts of one test; they share a port, as the world shares port 25."""

    def __init__(self, port):
        self.port = port
        self.hosts = {}
        self.changed = threading.Condition()

    def host(self, address, name=None, script=None, refuse=None, extensions=EXTENSIONS, tls=None):
        if address in self.hosts:
            self.hosts[address].close()
        self.hosts[address] = Host(self, address, name or f"mx.{address}.test", script, refuse, extensions, tls)
        return self.hosts[address]

    def record(self, change):
        with self.changed:
            change()
            self.changed.notify_all()

    def wait(self, condition, timeout=places.PATIENCE, what=None):
        """Waits until condition() holds; it is asked again after each event of any host."""
        with self.changed:
            if not self.changed.wait_for(condition, timeout):
                raise AssertionError(f"receiver: not within {timeout} s: {what or 'condition'}; {self.summary()}")

    @property
    def messages(self):
        return [m for h in self.hosts.values() for m in h.messages]

    @property
    def sessions(self):
        return [s for h in self.hosts.values() for s in h.sessions]

    @property
    def faults(self):
        return [f"{h.address}: {f}" for h in self.hosts.values() for f in h.faults]

    def summary(self):
        return "; ".join(f"{h.address}: {len(h.sessions)} sessions, {len(h.messages)} taken of {len(h.seen)}, "
                         f"last commands {[c for s in h.sessions[-1:] for c in s.commands[-4:]]}" for h in self.hosts.values())

    def close(self):
        for host in self.hosts.values():
            host.close()


def tls_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
