"""Other people's mail servers, unpacked by tools/setup below build-peers/, and the namespace in which they run.

`namespace_words` gives a command a network and mounts of its own (root: unshare -n -m; else a user namespace with many ids),
in which documentation addresses can stand on lo, port 25 is free, and OpenSMTPD finds its fixed paths through an overlay.
Inside it the classes below start the real servers; they end with it."""
import os
import pathlib
import shutil
import subprocess

from .places import PEERS
from .waiting import until

POSTFIX = PEERS / "postfix"
OPENSMTPD = PEERS / "opensmtpd"


def postfix_program(name):
    """The words that run one of Postfix's programs; None when it is not unpacked."""
    path = POSTFIX / "usr/sbin" / name
    return ["env", f"LD_LIBRARY_PATH={POSTFIX / 'usr/lib/postfix'}", str(path)] if path.exists() else None


def namespace_words():
    """The words before a command that give it a network namespace; None when the system forbids them."""
    common = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    words = common if os.geteuid() == 0 else [*common, "-r", "--map-auto"]
    return words if subprocess.run([*words, "true"], capture_output=True).returncode == 0 else None


def add_accounts(folder, names):
    """Gives the namespace users and groups of these names, on copies of the system's files."""
    for path, line in (("/etc/passwd", "{0}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin\n"), ("/etc/group", "{0}:x:{1}:\n")):
        text = pathlib.Path(path).read_text()
        for number, name in enumerate(names):
            if f"\n{name}:" not in text:
                text += line.format(name, 59000 + number)
        copy = folder / ("copy-of-" + path[5:])
        copy.write_text(text)
        copy.chmod(0o644)
        subprocess.run(["mount", "--bind", copy, path], check=True)


def overlay(folder, root, *tops):
    """Shows root/TOP over /TOP for each top folder, writable in memory."""
    memory = folder / "overlay"
    memory.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", memory], check=True)
    for top in tops:
        upper, work = memory / top.replace("/", "_"), memory / (top.replace("/", "_") + "-work")
        upper.mkdir()
        work.mkdir()
        lower = f"{root / top}:/{top}" if (root / top).exists() else f"/{top}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", f"/{top}"], check=True)


class Postfix:
    """Postfix at one address. Each user of `domains` has a mailbox in one folder; without domains it only relays. Its own users must
    be able to reach `folder`."""

    USERS = ("postfix", "postdrop", "vmail")

    def __init__(self, folder, address, domains=(), port=25, certificate=None, extra="", services=""):
        self.folder = pathlib.Path(folder)
        self.maildir = self.folder / "mail"
        for name in ("etc", "queue", "data", "mail"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        library = POSTFIX / "usr/lib/postfix"
        self.environment = dict(os.environ, MAIL_CONFIG=str(self.folder / "etc"), LD_LIBRARY_PATH=str(library))
        (self.folder / "etc/main.cf").write_text(f"""compatibility_level = 3.6
config_directory = {self.folder / 'etc'}
queue_directory = {self.folder / 'queue'}
data_directory = {self.folder / 'data'}
command_directory = {POSTFIX / 'usr/sbin'}
daemon_directory = {library / 'sbin'}
shlib_directory = {library}
meta_directory = {POSTFIX / 'etc/postfix'}
mail_owner = postfix
setgid_group = postdrop
import_environment = LD_LIBRARY_PATH={library} MAIL_CONFIG TZ
maillog_file = {self.folder / 'data/maillog'}
maillog_file_prefixes = {self.folder}
inet_interfaces = {address}
inet_protocols = ipv4
myhostname = mx.{domains[0] if domains else 'relay.test'}
mydestination =
virtual_mailbox_domains = {' '.join(domains)}
virtual_mailbox_base = {self.maildir}
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:59002
virtual_gid_maps = static:59002
virtual_minimum_uid = 1
alias_maps =
local_recipient_maps =
smtpd_peername_lookup = no
smtpd_tls_security_level = {'may' if certificate else 'none'}
smtpd_tls_chain_files = {f'{certificate[1]}, {certificate[0]}' if certificate else ''}
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination
mynetworks =
{extra}
""")
        master = (POSTFIX / "usr/share/postfix/master.cf.dist").read_text()
        lines = [line for line in master.splitlines() if not line.startswith(("smtp      inet", "#"))]
        (self.folder / "etc/master.cf").write_text(f"{port} inet n - n - - smtpd\npostlog unix-dgram n - n - 1 postlogd\n" + "\n".join(
            line for line in lines if not line.startswith("postlog")).replace("       y       ", "       n       ") + "\n" + services)
        os.chown(self.folder / "data", 59000, 59000)
        os.chown(self.maildir, 59002, 59002)

    def command(self, *words):
        return subprocess.run([POSTFIX / "usr/sbin/postfix", *words], env=self.environment, capture_output=True, text=True)

    def start(self):
        ran = self.command("start")
        if ran.returncode != 0:
            raise AssertionError(f"postfix start: {ran.stdout}{ran.stderr}{self.log()}")
        return self

    def log(self):
        path = self.folder / "data/maillog"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    def mails(self):
        return [p.read_bytes() for p in sorted(self.maildir.rglob("new/*"))]

    def start_in_front(self):
        """As start, but the master process is a child of ours, which can wait for it and learn what it used."""
        self.process = subprocess.Popen([POSTFIX / "usr/sbin/postfix", "start-fg"], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def stop(self):
        self.command("stop")


class OpenSmtpd:
    """OpenSMTPD at one address, without TLS (the handshake of 6.8 with OpenSSL 3 fails). Its paths are compiled in, so its files
    are shown over the system's by an overlay."""

    USERS = ("opensmtpd", "opensmtpq", "vmail")

    def __init__(self, folder, address, domain):
        self.folder = pathlib.Path(folder)
        self.maildir = self.folder / "mail"
        self.maildir.mkdir(parents=True)
        overlay(self.folder, OPENSMTPD, "usr")
        for path in ("/var/spool", "/var/lib", "/run"):
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path], check=True)
        pathlib.Path("/var/lib/opensmtpd/empty").mkdir(parents=True)
        shutil.chown(self.maildir, 59002, 59002)
        self.config = self.folder / "smtpd.conf"
        self.config.write_text(f"""listen on {address} port 25 hostname mx.{domain}
table people {{ "@" = vmail }}
action keep maildir "{self.maildir}" virtual <people>
match from any for domain "{domain}" action keep
""")
        self.config.chmod(0o600)

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/smtpd", "-d", "-f", self.config], stdout=subprocess.DEVNULL, stderr=open(self.folder / "log", "wb"))
        return self

    def log(self):
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def mails(self):
        return [p.read_bytes() for p in sorted(self.maildir.rglob("new/*"))]


class Knot:
    """An authoritative server for zones, given as name -> text, at one address and port 53."""

    def __init__(self, folder, address, zones):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, text in zones.items():
            (self.folder / f"{name}.zone").write_text(f"$ORIGIN {name}.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A {address}\n{text}")
        (self.folder / "knot.conf").write_text(f"""server:
    listen: {address}@53
    rundir: {self.folder}
database:
    storage: {self.folder}
template:
  - id: default
    storage: {self.folder}
    file: "%s.zone"
zone:
""" + "".join(f"  - domain: {name}.\n" for name in zones))

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/knotd", "-c", self.folder / "knot.conf"], stdout=open(self.folder / "log", "wb"), stderr=subprocess.STDOUT)
        until(lambda: b"server started" in (self.folder / "log").read_bytes(), what=lambda: (self.folder / "log").read_text())
        return self
