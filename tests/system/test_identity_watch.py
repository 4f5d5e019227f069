"""The daemon repeats the survey against a real server: a fault is told once it is there, stays while nobody answers and across a restart, and is
over when its record is right."""
import json
import re
import subprocess
import urllib.request

import pytest

from conftest import missing
from lab import places, zone_server
from lab.client import message
from lab.daemon import Daemon
from lab.waiting import until
from lab.world import zone
from test_dns_check import EHLO, line
from test_dns_plan import SERVER, Planned, Pool, Setup

CUSTOMER = "contoso.com"


class Watched:
    """A daemon that asks every second, and the server that it asks."""

    def __init__(self, folder):
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / "s1.pem"], check=True)
        (folder / "s1.pem").chmod(0o600)
        self.monitor = places.free_port()
        self.planned = Planned(folder, Setup({"bl2": EHLO}, [
            Pool("normal", "on", "published", ["127.0.1.16/31"]), Pool("rest", "re", "unpublished", ["127.0.1.48"], carries=("high-risk", "relay", "high-risk-relay"))],
            f'identity {{ name-servers = {{"ns.outbound.example.net {SERVER}"}}  check = 1s }} api {{ bind = {{"127.0.0.1:{self.monitor}"}} }}'))
        text = self.planned.config.read_text().replace("timeout = 5s", "timeout = 1s").replace(
            f'domains = {{"{CUSTOMER}"}}', f'domains = {{"{CUSTOMER}"}}  dkim "{CUSTOMER}" {{ selector = "s1"  key = "{folder}/s1.pem" }}')
        self.daemon = Daemon(folder, text)
        written = [json.loads(row) for row in self.planned.run("zone", "--out", folder / "zones", "--json").splitlines()]
        self.zones = {w["zone"]: folder / "zones" / w["file"] for w in written}
        self.customer = self.zones[CUSTOMER]
        self.right = self.customer.read_text() + f"{CUSTOMER}. 60 IN MX 10 mx.example.org.\n"
        self.serve(self.right)

    def serve(self, text):
        self.customer.write_text(text)
        self.server = zone_server.ZoneServer(self.planned.folder / "knot", SERVER, self.planned.port, self.zones).start()

    def status(self):
        return self.daemon.rows("status")[0]

    def last(self):
        ran = self.daemon.run("dns", "check", "--last", "--json")
        return ran.returncode, [json.loads(row) for row in ran.stdout.splitlines()]

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/metrics", timeout=10) as reply:
            return reply.read().decode()


@pytest.fixture
def watched(folder):
    if not zone_server.available():
        missing("knotd, named-checkzone, kzonecheck or nsupdate is not installed")
    world = Watched(folder)
    yield world
    try:
        world.daemon.stop()
    finally:
        world.daemon.kill()
        world.server.stop()


def test_a_fault_comes_stays_and_goes(watched):
    daemon = watched.daemon.start()
    assert watched.status()["identity_checked"] == "never" or watched.status()["identity_faults"] == 0
    until(lambda: watched.status()["identity_checked"] != "never", what="the first survey")
    assert watched.status()["identity_faults"] == 0 and watched.last() == (0, [])
    assert "nothing was wrong" in daemon.cli("dns", "check", "--last")

    # Two records of one customer are wrong: one alert, for that tenant.
    watched.server.stop()
    broken = re.sub(line(f"_dmarc.{CUSTOMER}", "TXT"), "", watched.right, flags=re.M)
    broken = re.sub(line(CUSTOMER, "MX"), "", broken, flags=re.M)
    since = daemon.mark()
    watched.serve(broken + f'{CUSTOMER}. 60 IN TXT "verification={"x" * 200}" "{"y" * 250}"\n')
    told = daemon.wait_log(f"alert=identity-fault subject={CUSTOMER} ", since=since)
    assert "tenant=contoso" in told and "no-dmarc" in told and "no-sender-dns" in told and f"_dmarc.{CUSTOMER}. 3600 TXT" in told
    code, rows = watched.last()
    assert code == 1 and {(r["status"], r["code"], r["subject"]) for r in rows if r["status"] != "unknown"} == {
        ("fault", "no-dmarc", CUSTOMER), ("fault", "no-sender-dns", CUSTOMER), ("warning", "txt-size", CUSTOMER)}, rows
    text = daemon.run("dns", "check", "--last").stdout
    assert "no-dmarc, put:" in text and "asked 20" in text
    status = watched.status()
    assert status["identity_faults"] == 2 and f"{CUSTOMER} no-dmarc" in status["identity_worst"] and status["identity_warnings"] == 1
    metrics = watched.metrics()
    assert 'sluice_identity_faults{code="no-dmarc"} 1' in metrics and 'sluice_identity_faults{code="no-ptr"} 0' in metrics

    # Nobody answers: what was known stays, and nothing else is blamed; for the next daemon too.
    first = {r["code"]: r["since"] for r in rows}
    watched.server.stop()
    until(lambda: watched.status()["identity_unanswered"] > 0, what="a survey without answers")
    code, rows = watched.last()
    assert code == 1 and {r["code"] for r in rows if r["status"] == "fault"} == {"no-dmarc", "no-sender-dns"}
    assert not any("identity fault: over" in text or ": over alert=identity-fault" in text for text in daemon.lines[since:])
    daemon.stop()
    daemon.start()
    code, rows = watched.last()
    assert code == 1 and {r["code"]: r["since"] for r in rows if r["status"] == "fault"} == {c: first[c] for c in ("no-dmarc", "no-sender-dns")}

    # Put right: over.
    since = daemon.mark()
    watched.serve(watched.right)
    daemon.wait_log(f"over.*alert=identity-fault subject={CUSTOMER} ", since=since)
    assert watched.last() == (0, []) and watched.status()["identity_faults"] == 0


def test_off_and_reload(watched):
    daemon = watched.daemon
    config = daemon.config.read_text()
    daemon.config.write_text(config.replace("check = 1s", "check = off"))
    daemon.start()
    assert watched.status()["identity_check"] == "off"
    ran = daemon.run("dns", "check", "--last")
    assert ran.returncode == 1 and "does not look" in ran.stderr
    daemon.config.write_text(config)
    daemon.cli("reload")
    until(lambda: watched.status()["identity_checked"] != "never", what="a survey after the reload")
    for words, said in ((["plan", "--last"], "belongs to sluice dns check"), (["check", "--diff"], "belongs to sluice dns zone")):
        ran = daemon.run("dns", *words)
        assert ran.returncode == 2 and said in ran.stderr
    # What is open is over when nobody asks any more: at once, and after a restart too.
    def fault():
        return [r["subject"] for r in daemon.rows("alerts", "--open", "--kind", "identity-fault")]

    watched.server.stop()
    watched.serve(re.sub(line(f"_dmarc.{CUSTOMER}", "TXT"), "", watched.right, flags=re.M))
    until(fault, what="a fault's alert")
    daemon.config.write_text(config.replace("check = 1s", "check = off"))
    daemon.cli("reload")
    until(lambda: not fault(), what=fault)
    for written in ("0", "10d", "sometimes"):
        daemon.config.write_text(config.replace("check = 1s", f'check = "{written}"'))
        ran = daemon.run("check")
        assert ran.returncode == 1 and "is not auto, off or a time from 1s to 7d" in ran.stdout


def test_a_refusal_says_what_was_known(make_world):
    """A receiver refuses for the names; the trace says what the survey knew of them."""
    world = make_world(extra="identity { check = 1s }")
    (world.folder / "zone").write_text(zone(extra="1.1.0.127.in-addr.arpa. IN PTR x.sluice.test.\nx.sluice.test. IN A 127.0.1.1\n"))
    world.host("fabrikam.test", refuse={"bob@fabrikam.test": "550 5.7.25 no reverse name", "carol@fabrikam.test": "550 5.1.1 nobody here"})
    world.start("fabrikam.test")
    told = world.daemon.wait_log("alert=identity-fault subject=no-ptr ")  # sixteen addresses, one alert
    assert "16 subjects" in told and not any("alert=identity-fault subject=127.0.1." in text for text in world.daemon.lines)
    ids = {}
    for to in ("bob", "carol"):
        with world.connector() as client:
            ids[to] = client.send("alice@contoso.test", f"{to}@fabrikam.test", message(to=f"{to}@fabrikam.test"))
        world.daemon.trace_of(ids[to], "Failed")
    (row,) = world.daemon.trace("--trace-id", ids["bob"])
    assert f"{row['outbound_ip']}: no-ptr" in row["identity"] and "contoso.test: no-dkim" in row["identity"] and row["rule"] == "own", row
    assert "known then: " in world.daemon.cli("trace", "show", ids["bob"])
    (row,) = world.daemon.trace("--trace-id", ids["carol"])
    assert row["identity"] is None
