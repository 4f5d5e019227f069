"""A world whose names are served by knot as `sluice dns zone` wrote them, and receivers there that insist on what they say.

    world = StrictWorld(folder)
    insists = world.insists("tailspin.test", "fcrdns", "helo-is-ptr")
    world.publish()
    world.start()
    world.send("bob@tailspin.test")
    insists.seen[0].helo_spf  # by pyspf

Everything that a strict receiver looks at is asked of knot, by other people's programs: dnspython, pyspf, dkimpy."""
import dataclasses
import ipaddress
import json
import re
import threading

import dkim
import spf

from . import places, zone_server
from .client import message
from .signing import Key
from .world import HOSTS, POOLS, World

SERVER = "127.0.53.1"

# What it insists on, and how it refuses: RFC 7372 for the first, what receivers say for the others.
REFUSALS = {
    "fcrdns": "550 5.7.25 the reverse DNS of your address is missing or does not lead back to it",
    "helo-resolves": "550 5.7.1 your EHLO name does not resolve",
    "helo-is-ptr": "550 5.7.1 your EHLO name is not the name of your address",
    "helo-spf": "550 5.7.23 SPF of your EHLO name does not pass",
    "spf": "550 5.7.23 SPF does not pass",
}


@dataclasses.dataclass
class Seen:
    """What a connection showed at MAIL."""
    source: str
    ehlo: str
    mail_from: str
    ptr: str
    fcrdns: bool
    helo_resolves: bool
    helo_is_ptr: bool
    helo_spf: str
    spf: str
    refused: str = ""


class Strict:
    """Looks at each connection of a host, and refuses at MAIL what does not have all of `insists`."""

    def __init__(self, world, insists):
        self.world, self.insists, self.seen = world, insists, []

    def look(self, source, ehlo, mail_from):
        server = self.world.server
        kind = "AAAA" if ":" in source else "A"
        names = sorted(n.lower().rstrip(".") for n in server.records(ipaddress.ip_address(source).reverse_pointer + ".", "PTR"))
        confirmed = [n for n in names if source in server.records(n + ".", kind)]
        with self.world.judging:
            spf.DNSLookup = server.spf_lookup
            helo = spf.query(source, "", ehlo, strict=2).check()[0]
            sender = spf.query(source, mail_from, ehlo, strict=2).check()[0] if mail_from else helo
        return Seen(source, ehlo, mail_from, ",".join(names), bool(confirmed), bool(server.records(ehlo + ".", "A") | server.records(ehlo + ".", "AAAA")),
                    ehlo.lower() in confirmed, helo, sender)

    def judge(self, session, sender):
        seen = self.look(session.source, session.ehlo, sender)
        good = {"fcrdns": seen.fcrdns, "helo-resolves": seen.helo_resolves, "helo-is-ptr": seen.helo_is_ptr,
                "helo-spf": seen.helo_spf == "pass", "spf": seen.spf == "pass"}
        seen.refused = next((REFUSALS[demand] for demand in self.insists if not good[demand]), "")
        self.seen.append(seen)
        return seen.refused or None


class StrictWorld(World):
    """Tenant contoso signs; the zones of contoso.test and of the receivers have their MX beside what is planned."""

    def __init__(self, folder, **settings):
        self.dns_port = places.free_port(SERVER, "127.0.0.1")
        self.key = Key("contoso.test", "s1", "ed25519")
        self.key.file(folder / "s1.pem")
        self.server, self.judging, self.mx = None, threading.Lock(), dict(HOSTS)
        extra = settings.pop("extra", "")
        super().__init__(folder, **{
            "dns": f'servers = {{"{SERVER}@{self.dns_port}"}}  timeout = 5s',
            "delivery": "first-retry = 1s  max-retry = 2s  messages-per-connection = 1",
            "tenant": f'dkim "contoso.test" {{ selector = "s1"  key = "{folder}/s1.pem" }}',
            "extra": f'identity {{ name-servers = {{"ns.sluice.test {SERVER}"}}  ttl = 1s }}\n' + extra, **settings})

    def insists(self, domain, *demands):
        strict = Strict(self, demands)
        self.hosts[domain] = self.receiver.host(self.mx[domain], name=f"mx.{domain}", script={"mail": strict.judge})
        return strict

    def publish(self, change=None):
        """Serves what is planned. `change`: a function of the zones (name -> text), done to them before."""
        zones = self.folder / "zones"
        for old in zones.glob("*"):
            old.unlink()
        written = [json.loads(line) for line in self.daemon.cli("dns", "zone", "--out", str(zones), "--json").splitlines()]
        texts = {w["zone"]: (zones / w["file"]).read_text() for w in written}
        texts["contoso.test"] += "contoso.test. 60 IN MX 10 mail.contoso.test.\nmail.contoso.test. 60 IN A 127.0.3.1\n"
        for domain, address in self.mx.items():
            texts[domain] = (f"{domain}. 60 IN SOA ns.{domain}. h.{domain}. 1 3600 600 86400 1\n{domain}. 60 IN NS ns.{domain}.\nns.{domain}. 60 IN A {SERVER}\n"
                             f"{domain}. 60 IN MX 10 mx.{domain}.\nmx.{domain}. 60 IN {'AAAA' if ':' in address else 'A'} {address}\n")
        if change:
            change(texts)
        for name, text in texts.items():
            (zones / name.replace("/", "-")).write_text(text)
        if self.server:
            self.server.stop()
        self.server = zone_server.ZoneServer(self.folder / "knot", SERVER, self.dns_port, {n: zones / n.replace("/", "-") for n in texts}).start()

    def start(self):
        self.daemon.start()
        return self

    def send(self, *recipients, count=1, sender="alice@contoso.test", expect="Delivered", **how):
        """Each in a message of its own; returns the trace rows when all have ended as expected."""
        rows = []
        for n in range(count):
            for to in recipients:
                with self.connector() as client:
                    trace_id = client.send(sender, to, message(sender, to, subject=f"number {n}", **how), recipient_parameters="NOTIFY=NEVER")
                rows.append(self.daemon.trace_of(trace_id)[to])
                assert rows[-1]["status"] == expect, rows[-1]
        return rows

    def explain(self, to, sender="alice@contoso.test", *words):
        """address -> what explain foretells of it, with its checks by name."""
        (self.folder / "m.eml").write_bytes(message(sender, to))
        told = self.daemon.rows("explain", "--from", sender or "<>", "--to", to, "--client", "127.0.3.1", *words, "m.eml")[0]
        self.not_asked = told["not_asked"]
        return {s["outbound_ip"]: {**s, "checks": {c["check"]: c for c in s["checks"]}} for s in told["seen_by_receivers"]}

    def signature(self, data):
        """dkimpy's judgement, by knot's answers."""
        def lookup(name, timeout=5):
            strings = self.server.spf_lookup(name.decode(), "TXT")
            return b"".join(strings[0][1]) if strings else None
        return dkim.DKIM(data).verify(dnsfunc=lookup)

    def close(self):
        try:
            super().close()
        finally:
            if self.server:
                self.server.stop()


def line(name, kind, data=".*"):
    """A pattern for such a record's line in a zone's text."""
    return rf"(?m)^{re.escape(name)}\.\s+\d+ (?:IN )?{kind}\s+{data}\n"


def change(pattern, new=""):
    """For publish: in the one zone that has it."""
    def do(zones):
        (name,) = [n for n, text in zones.items() if re.search(pattern, text)]
        zones[name] = re.sub(pattern, lambda _: new and new + "\n", zones[name])
    return do


def both(*changes):
    def do(zones):
        for one in changes:
            one(zones)
    return do


def ehlo_by_pool():
    """Pools that say their PTR names."""
    return {name: (code, f"{spf_}  ehlo = ptr", at) for name, (code, spf_, at) in POOLS.items()}
