"""An SMTP client that sends exactly the bytes it is given."""
import base64
import re
import socket
import ssl

from . import places


class Refused(Exception):
    def __init__(self, stage, reply):
        super().__init__(f"{stage}: {reply}")
        self.stage, self.reply = stage, reply

    @property
    def code(self):
        return int(self.reply[:3])


class Client:
    def __init__(self, address, port, source=None, timeout=places.PATIENCE, implicit_tls=False, greet=True, hello="client.example.org"):
        self.socket = socket.create_connection((address, port), timeout, source_address=(source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.hello = hello
        self.extensions = {}
        if implicit_tls:
            self.wrap()
        if greet:
            self.greeting = self.reply()
            if self.greeting.startswith("2"):
                self.ehlo()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def wrap(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)

    def raw(self, data):
        self.socket.sendall(data)

    def reply(self):
        """The next reply, lines joined by LF, without line ends. Empty when the server has closed."""
        lines = []
        while True:
            while b"\n" not in self.buffer:
                got = self.socket.recv(65536)
                if not got:
                    return "\n".join(lines)
                self.buffer += got
            line, self.buffer = self.buffer.split(b"\n", 1)
            assert line.endswith(b"\r"), f"a bare LF ends the reply {line!r}"
            lines.append(line[:-1].decode("utf-8", "replace"))
            if lines[-1][3:4] != "-":
                return "\n".join(lines)

    def command(self, line):
        self.raw(line.encode("utf-8", "surrogateescape") + b"\r\n")
        return self.reply()

    def expect(self, line, first="2"):
        reply = self.command(line)
        if not reply.startswith(first):
            raise Refused(line.split(" ")[0], reply)
        return reply

    def ehlo(self):
        reply = self.expect(f"EHLO {self.hello}")
        self.extensions = {l[4:].split()[0].upper(): l[4:].partition(" ")[2] for l in reply.split("\n")[1:]}

    def starttls(self):
        self.expect("STARTTLS")
        self.wrap()
        self.ehlo()

    def login(self, user, password):
        token = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return self.expect(f"AUTH PLAIN {token}")

    def envelope(self, sender, recipients, parameters="", recipient_parameters=""):
        self.expect(f"MAIL FROM:<{sender}>{' ' + parameters if parameters else ''}")
        for recipient in [recipients] if isinstance(recipients, str) else recipients:
            self.expect(f"RCPT TO:<{recipient}>{' ' + recipient_parameters if recipient_parameters else ''}")

    def data(self, message):
        """Sends the message (CRLF line ends, unstuffed) and returns the trace id."""
        self.expect("DATA", "3")
        if message and not message.endswith(b"\r\n"):
            message += b"\r\n"
        self.raw(re.sub(rb"(\A|\r\n)\.", rb"\1..", message) + b".\r\n")
        reply = self.reply()
        m = re.match(r"250 2\.0\.0 Accepted ([0-9A-Z]{26})$", reply)
        if not m:
            raise Refused("dot", reply)
        return m[1]

    def send(self, sender, recipients, message, parameters="", recipient_parameters=""):
        self.envelope(sender, recipients, parameters, recipient_parameters)
        return self.data(message)

    def quit(self):
        reply = self.command("QUIT")
        self.close()
        return reply


def message(sender="alice@contoso.test", to="bob@fabrikam.test", subject="hello", body=b"Hello.\r\n", headers=()):
    """A plain message with CRLF line ends."""
    to = to if isinstance(to, str) else ", ".join(to)
    head = [f"From: <{sender}>" if sender else "From: MAILER-DAEMON <postmaster@contoso.test>", f"To: <{to}>", f"Subject: {subject}",
            "Date: Sun, 22 Nov 2026 10:00:00 +0000", f"Message-ID: <{abs(hash((sender, to, subject, body)))}@client.example.org>", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"

REPORT = ('Content-Type: multipart/report; report-type=delivery-status; boundary="b"', "MIME-Version: 1.0")
REPORT_BODY = (b"--b\r\nContent-Type: text/plain\r\n\r\nIt did not arrive.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
               b"Reporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; x@example.org\r\nAction: failed\r\n"
               b"Status: 5.1.1\r\n\r\n--b--\r\n")
