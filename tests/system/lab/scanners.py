"""Spam scanners: the real Rspamd and spamd with a private configuration and no network, and one that misbehaves as told.

All of them know the same words in a message: SPAMMY makes it spam, MALWARE malware."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading

from . import places
from .waiting import until

SPAMMY, MALWARE = b"SLUICE-TEST-SPAM", b"SLUICE-TEST-MALWARE"


def unpacked(peer, path):
    """A program or folder of a peer: unpacked by tools/setup, else the machine's own; None when there is neither."""
    found = places.PEERS / peer / path
    if not found.exists():
        found = pathlib.Path("/") / path
    return found if found.exists() else None


class Program:
    """A scanner in a process of its own; ready once it answers a ping."""

    def __init__(self, folder, command, environment=None):
        self.folder = folder
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(command, cwd=folder, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)
        until(self.started, timeout=60, what=lambda: f"{command[0]} does not start:\n{self.said()}")

    def started(self):
        assert self.process.poll() is None, f"{self.process.args[0]} ends at its start:\n{self.said()}"
        return self.answers()

    def said(self):
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as s:
                s.sendall(self.PING)
                return self.PONG in s.recv(4096)
        except OSError:
            return False

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)
        self.log.close()


RSPAMD_CONF = """options {{
  pidfile = "{folder}/pid";
  filters = "";
  cache_file = "{folder}/symbols.cache";
  control_socket = "{folder}/control.sock mode=0600";
  tempdir = "{folder}";
  url_tld = "{folder}/tld.dat";
  hs_cache_dir = "{folder}";
  stats_file = "{folder}/stats.ucl";
  disable_hyperscan = true;
  dns {{ nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }}
  explicit_modules = ["settings"];
}}
logging {{ type = "console"; level = "info"; }}
actions {{ reject = 15; add_header = 6; greylist = 4; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; max_tasks = 0; }}
modules {{ path = "{folder}/empty"; }}
group "test" {{ }}
lua = "{folder}/rules.lua";
"""

# TEST_FACTS tells what we told it.
RSPAMD_RULES = """
local function word(name, score, text, option)
  rspamd_config:register_symbol({ name = name, score = score, callback = function(task)
    if tostring(task:get_content()):find(text, 1, true) then return true, 1.0, option end
  end })
end
word('TEST_SPAMMY', 8.0, 'SLUICE-TEST-SPAM')
word('TEST_VIRUS', 1.0, 'SLUICE-TEST-MALWARE', 'Test.Malware')
rspamd_config:register_symbol({ name = 'TEST_CHANGES', score = 0.0, callback = function(task)
  if not task:get_header('X-Change') then return end
  task:set_milter_reply({ remove_headers = { ['X-Change'] = 0, ['X-Twice'] = -1 },
    add_headers = { ['X-Scanned'] = { value = 'by the real one;\\r\\n\\tfolded', order = 1 }, ['X-Bar'] = '+++' } })
  if task:get_header('X-Change') == 'subject' then
    task:set_metric_subject('*** SPAM *** %s')
    task:set_pre_result('rewrite subject', 'told to', 'test')
  end
  return true
end })
rspamd_config:register_symbol({ name = 'TEST_FACTS', score = 0.0, callback = function(task)
  local from, rcpt = task:get_from('smtp'), {}
  for _, r in ipairs(task:get_recipients('smtp') or {}) do rcpt[#rcpt + 1] = r.addr end
  local received = task:get_header('Received') or ''
  local tls = task:get_request_header('TLS-Version')
  return true, 1.0, table.concat({ 'ip=' .. tostring(task:get_from_ip()), 'helo=' .. tostring(task:get_helo()),
    'user=' .. tostring(task:get_user()), 'from=' .. (from and from[1] and from[1].addr or ''),
    'rcpt=' .. table.concat(rcpt, ','), 'qid=' .. tostring(task:get_queue_id()), 'tls=' .. tostring(tls),
    'tag=' .. tostring(task:get_request_header('MTA-Tag')), 'size=' .. task:get_size(),
    'host=' .. tostring(task:get_hostname()), 'by=' .. (received:match('by (%S+)') or '') }, ' ')
end })
"""


class Rspamd(Program):
    PING, PONG = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", b" 200 "
    kind = "rspamd"

    @staticmethod
    def missing():
        return None if unpacked("rspamd", "usr/bin/rspamd") else "no Rspamd (tools/setup test)"

    def __init__(self, folder):
        self.port = places.free_port()
        (folder / "empty").mkdir()
        (folder / "tld.dat").write_text("com\ntest\n")
        (folder / "rules.lua").write_text(RSPAMD_RULES)
        (folder / "rspamd.conf").write_text(RSPAMD_CONF.format(folder=folder, port=self.port))
        program, share = unpacked("rspamd", "usr/bin/rspamd"), unpacked("rspamd", "usr/share/rspamd")
        folders = {"SHAREDIR": share, "LUALIBDIR": share / "lualib", "RULESDIR": share / "rules", "PLUGINSDIR": share / "plugins", "DBDIR": folder}
        super().__init__(folder, [str(program), "-c", str(folder / "rspamd.conf"), "-f", "--insecure", *(f"--var={k}={v}" for k, v in folders.items())],
                         {"LD_LIBRARY_PATH": str(unpacked("rspamd", "usr/lib/rspamd"))})

    @property
    def config(self):
        return f'rspamd = "http://127.0.0.1:{self.port}"'

    def facts(self, queue_id):
        """What it was told of a message."""
        text = (self.folder / "log").read_text(errors="replace")
        found = re.search(r"TEST_FACTS\(0\.00\)\{([^}]*qid=" + queue_id + r"[^}]*);\}", text)
        return dict(part.split("=", 1) for part in found.group(1).split(" ")) if found else None


SPAMD_RULES = r"""required_score 5
body GTUBE /XJS\*C4JDBQADN1\.NSBN3\*2IDNEN\*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL\*C\.34X/
score GTUBE 1000
body LOCAL_SPAMMY /SLUICE-TEST-SPAM/
score LOCAL_SPAMMY 8
body CLAMAV /SLUICE-TEST-MALWARE/
score CLAMAV 0.1
header LOCAL_RECEIVED Received =~ /by mta01\.bl2\.sluice\.test/
score LOCAL_RECEIVED -0.1
"""


class Spamd(Program):
    PING, PONG = b"PING SPAMC/1.5\r\n\r\n", b"PONG"
    kind = "spamd"

    @staticmethod
    def missing():
        return None if unpacked("spamd", "usr/sbin/spamd") else "no spamd (tools/setup test)"

    def __init__(self, folder):
        self.port = places.free_port()
        for name in ("rules", "site", "home"):
            (folder / name).mkdir()
        (folder / "rules" / "10_test.cf").write_text(SPAMD_RULES)
        (folder / "site" / "init.pre").write_text("loadplugin Mail::SpamAssassin::Plugin::Check\n")
        user, modules = [], unpacked("spamassassin", "usr/share/perl5")
        if os.getuid() == 0:  # it becomes nobody, who must be able to read all of it
            user = ["-u", "nobody"]
            if places.PEERS in modules.parents:
                modules = shutil.copytree(modules, folder / "perl5")
            os.chmod(folder, 0o755)
            shutil.chown(folder / "home", "nobody")
        super().__init__(folder, ["perl", "-T", "-I", str(modules), str(unpacked("spamd", "usr/sbin/spamd")),
                                  "-L", "-x", "--listen", f"127.0.0.1:{self.port}", f"--configpath={folder}/rules", f"--siteconfigpath={folder}/site",
                                  f"--helper-home-dir={folder}/home", "--max-children", "2", "--min-children", "1", f"--pidfile={folder}/pid", "--syslog=stderr", *user])

    @property
    def config(self):
        return f'spamd = "127.0.0.1:{self.port}"'


ANSWER = {"score": 1.25, "required_score": 15.0, "action": "no action", "symbols": {"FAKE": {"score": 1.25}}}


class Fake:
    """Rspamd as far as needed. `how`: well, slow (takes the message and says nothing), garbage, huge, half (closes in the
    middle), hangup (closes at once). `pongs`: answers a ping. Counts connections and messages."""

    kind = "rspamd"

    def __init__(self, how="well", answer=None, keep=True):
        self.how, self.answer, self.keep, self.pongs = how, {**ANSWER, **(answer or {})}, keep, True
        self.connections, self.heads, self.bodies, self.open = 0, [], [], []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", places.free_port()), backlog=64)  # which nobody takes when it is dead
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def config(self):
        return f'rspamd = "http://127.0.0.1:{self.port}"'

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.open.append(s)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            with s, s.makefile("rb") as f:
                while self.how != "hangup" and self.one(s, f) and self.keep:
                    pass
        except OSError:
            pass

    def one(self, s, f):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = f.readline()
            if not line:
                return False
            head += line
        if head.startswith(b"GET /ping") and not self.pongs:
            return False
        if head.startswith(b"GET /ping"):
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npong\r\n")
            return True
        body = f.read(int(re.search(rb"(?i)content-length: (\d+)", head).group(1)))
        with self.lock:
            self.heads.append(head.decode("utf-8", "replace"))
            self.bodies.append(body)
        answer = json.dumps(self.answer).encode()
        connection = b"" if self.keep else b"Connection: close\r\n"
        said = {
            "well": b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (connection, len(answer), answer),
            "garbage": b"220 this is no scanner\r\n\r\n",
            "huge": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"[" * 100000,
            "half": b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + answer[:40],
        }.get(self.how)
        if self.how == "hangup":  # on a connection that was kept
            return False
        if said is None:  # slow: until the other side has enough
            f.read(1)
            return False
        s.sendall(said)
        return self.how == "well"

    def close(self):
        with contextlib.suppress(OSError):  # closed already
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which holds the port
        self.listener.close()
        with self.lock:
            for s in self.open:
                s.close()
