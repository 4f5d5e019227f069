"""Milters for the tests: real ones of Debian's as processes, and one that says any bytes at all.

    with Obedient(folder / "m.sock") as milter: ...   # libmilter, see milter_program.py
    with Rude(lambda connection: connection.sendall(b"HTTP/1.1 400\\r\\n")) as milter: ..."""
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading

from . import places
from .waiting import until

PROGRAM = str(pathlib.Path(__file__).with_name("milter_program.py"))
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def library_missing():
    """Why there is no libmilter here, or None."""
    ran = subprocess.run([PYTHON, "-c", "import Milter"], capture_output=True, text=True)
    return None if ran.returncode == 0 else "python3-milter is not installed (tools/setup test)"


class Process:
    """A program that listens on a Unix socket."""

    def __init__(self, path, *command):
        self.path = pathlib.Path(path)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines, self.changed = [], threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()
        until(self.listens, what=lambda: f"{command[0]} listens at {path}: {self.lines}")

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self.changed.notify_all()

    def listens(self):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.path)) == 0

    @property
    def socket(self):
        return f"unix:{self.path}"

    def close(self):
        self.process.kill()
        self.process.wait()
        self.path.unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Obedient(Process):
    def __init__(self, path):
        super().__init__(path, PYTHON, PROGRAM, f"unix:{path}")

    def told(self, event, count=1):
        """What it was told of that kind, in order; waits until it has said so `count` times."""
        def said():
            return [s for s in (json.loads(line) for line in self.lines if line.startswith("{")) if s["event"] == event]

        with self.changed:
            self.changed.wait_for(lambda: len(said()) >= count, timeout=places.PATIENCE)
            return said()


class OpenDkim(Process):
    def __init__(self, path, folder, *lines):
        config = pathlib.Path(folder) / "opendkim.conf"
        config.write_text("\n".join([f"Socket local:{path}", "Background no", "Syslog no", "UMask 000", "RequireSafeKeys no", *lines]) + "\n")
        super().__init__(path, "/usr/sbin/opendkim", "-f", "-x", str(config))


SIGNATURE = b"SLUICE-BAD-TEST"


class ClamAv:
    """clamd with one signature of the test's own, and clamav-milter before it."""

    def __init__(self, folder, *lines):
        folder = pathlib.Path(folder)
        (folder / "signatures").mkdir()
        (folder / "signatures" / "test.ndb").write_text(f"Sluice.Test.Bad:0:*:{SIGNATURE.hex()}\n")
        clamd, milter = folder / "clamd.conf", folder / "clamav-milter.conf"
        clamd.write_text(f"LocalSocket {folder}/clamd.sock\nDatabaseDirectory {folder}/signatures\nForeground yes\n")
        milter.write_text(f"MilterSocket unix:{folder}/clam.sock\nClamdSocket unix:{folder}/clamd.sock\nForeground yes\n" + "\n".join(lines) + "\n")
        self.daemon = Process(folder / "clamd.sock", "/usr/sbin/clamd", "-c", str(clamd))
        try:
            self.milter = Process(folder / "clam.sock", "/usr/sbin/clamav-milter", "-c", str(milter))
        except BaseException:
            self.daemon.close()
            raise
        self.socket = self.milter.socket

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.milter.close()
        self.daemon.close()


def packet(command, data=b""):
    return struct.pack(">I", len(data) + 1) + command + data


def agreement(actions=0, steps=0x27f):
    """Its answer to the negotiation: asked for the end of the message only, unless `steps` says otherwise."""
    return packet(b"O", struct.pack(">III", 6, actions, steps))


class Rude:
    """Listens on TCP; `serve` gets each connection in a thread and may do anything; it is closed afterwards."""

    def __init__(self, serve):
        self.serve = serve
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.over = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def socket(self):
        return f"inet:{self.port}@127.0.0.1"

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.run, args=(connection,), daemon=True).start()

    def run(self, connection):
        with connection:
            try:
                self.serve(self, connection)
            except OSError:
                pass

    def read(self, connection):
        """The next packet: (command, data); (b"", b"") at the end."""
        def exactly(size):
            got = b""
            while len(got) < size:
                piece = connection.recv(size - len(got))
                if not piece:
                    return None
                got += piece
            return got
        head = exactly(4)
        body = head and exactly(struct.unpack(">I", head)[0])
        return (body[:1], body[1:]) if body else (b"", b"")

    def until(self, connection, command):
        while True:
            got, data = self.read(connection)
            if got in (command, b""):
                return data

    def close(self):
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
