"""Servers that are lame, silent or broken: what they don't tell is no fault of a record, neither for `sluice dns check` nor for the strict
receiver of explain; what they tell in a roundabout way (truncated, by TCP) is as good as told."""
import json
import re
import subprocess
import time

import pytest

from conftest import missing
from lab import places, zone_server
from lab.lame_dns import ANSWERS, LameDns
from test_dns_check import CUSTOMER, EHLO, FIRST, INCLUDE, SERVER, Live

PTR = "16.16-30.2.0.192.in-addr.arpa"
KEY = f"s1._domainkey.{CUSTOMER}"
OURS = re.compile(r"(^|\.)(example\.net|contoso\.com|fabrikam\.com|in-addr\.arpa|ip6\.arpa)$")
GOOD = ("truncated",)
REFERRALS = ("upward referral", "referral to another's zone")  # of a forwarder libunbound makes "no record" of them; a resolver gives none
IP = "192.0.2.16"


class Lame(Live):
    """The world of test_dns_check behind a server that spoils some answers."""

    def __init__(self, folder):
        super().__init__(folder)
        self.port = places.free_port(SERVER)
        config = self.planned.config
        config.write_text(config.read_text().replace(f"{SERVER}@{self.planned.port}", f"{SERVER}@{self.port}").replace("timeout = 2s", "timeout = 5s"))
        self.server = self.serve()
        self.lame = LameDns(SERVER, self.port, self.server).start()
        (folder / "m.eml").write_bytes(b"From: alice@contoso.com\r\nSubject: x\r\n\r\nx\r\n")

    def spoil_all(self, how):
        """All that is said of us but the sender's MX, without which the mail would be refused (451). Nobody waits long for what never comes."""
        config = self.planned.config
        config.write_text(config.read_text().replace("timeout = 5s", "timeout = 5s" if how in GOOD else "timeout = 1s"))
        self.lame.spoil = lambda name, rtype: how if OURS.search(name) and (name, rtype) != (CUSTOMER, "MX") else None

    def explained(self, *words):
        ran = subprocess.run([places.program("sluice"), "-c", self.planned.config, "explain", *words, "--from", f"alice@{CUSTOMER}",
                              "--to", "bob@[192.0.2.250]", self.folder / "m.eml"], capture_output=True, text=True)
        assert ran.returncode in (0, 1), ran.stderr
        return ran.stdout

    def explain(self):
        """address -> check -> what explain says."""
        (told,) = (json.loads(line) for line in self.explained("--json").splitlines())
        return {s["outbound_ip"]: {c["check"]: c for c in s["checks"]} for s in told["seen_by_receivers"]}

    def stop(self):
        self.lame.stop()
        self.server.stop()


@pytest.fixture
def lame(folder):
    if not zone_server.available():
        missing("knotd, named-checkzone, kzonecheck or nsupdate is not installed")
    lame = Lame(folder)
    yield lame
    lame.stop()


def verdicts(checks):
    return {name: c["verdict"] for name, c in checks.items() if c["verdict"] not in ("pass", "note")}


# One question that is spoilt; what explain can't tell then of 192.0.2.16; what nobody looks at without it.
QUESTIONS = {
    "PTR": (PTR, "PTR", {"ptr": "unknown", "fcrdns": "unknown", "ptr-name": "void", "ehlo-ptr": "void", "organisation": "void"}),
    "its name": (FIRST, "A", {"fcrdns": "unknown"}),
    "EHLO": (EHLO, "A", {"ehlo-address": None}),  # there is an AAAA, which is enough
    "SPF of EHLO": (EHLO, "TXT", {"ehlo-spf": "unknown"}),
    "include": (INCLUDE, "TXT", {"spf": "unknown"}),
    "key": (KEY, "TXT", {"dkim": "unknown"}),
    "DMARC": (f"_dmarc.{CUSTOMER}", "TXT", {"dmarc": "unknown"}),
}


@pytest.mark.parametrize("case", QUESTIONS)
def test_one_question_without_answer(lame, case):
    spoilt, kind, unknown = QUESTIONS[case]
    lame.lame.spoil = lambda name, rtype: "servfail" if (name, rtype) == (spoilt, kind) else None
    told = lame.explain()
    assert verdicts(told[IP]) == {k: v for k, v in unknown.items() if v}, told[IP]
    assert not any(c["put"] for c in told[IP].values() if c["verdict"] == "unknown")
    found = lame.faults(code=3)
    assert {(f["status"], f["subject"]) for f in found} == {("unknown", f"{spoilt if case != 'PTR' else '16.2.0.192.in-addr.arpa'} {kind}")}, found


@pytest.mark.parametrize("how", [how for how in ANSWERS if how not in REFERRALS])
def test_a_server_that(lame, how):
    """Spoils everything that is said of us: all is unknown, or all is as ever; nothing is a fault."""
    lame.spoil_all(how)
    before = time.monotonic()
    told = lame.explain()
    took = time.monotonic() - before
    assert len(told) == 4 and took < 25, took  # EXPLAIN_MS, and a start
    for address, checks in told.items():
        if how in GOOD:
            assert verdicts(checks) == {}, (address, checks)
        else:
            assert set(verdicts(checks).values()) == {"unknown", "void"} and checks["fcrdns"]["verdict"] == checks["dmarc"]["verdict"] == "unknown", (address, checks)
            assert not any(c["put"] for c in checks.values())
    assert lame.lame.spoilt
    found = lame.faults(code=0 if how in GOOD else 3)
    assert {f["status"] for f in found} == (set() if how in GOOD else {"unknown"}), found


def test_silence_in_text(lame):
    lame.spoil_all("silent")
    text = lame.explained()
    assert "because the DNS did not answer, which is no fault of a record" in text and "FAIL" not in text and "put:" not in text, text


# ---- full recursion, from the root on

# Of old and new lists of hints.
ROOTS = "198.41.0.4 199.9.14.201 170.247.170.2 192.33.4.12 199.7.91.13 192.203.230.10 192.5.5.241 192.112.36.4 198.97.190.53 192.36.148.17 192.58.128.30 193.0.14.129 199.7.83.42 202.12.27.33".split()
LAME = "127.0.53.2"


class Internet(Lame):
    """A root of its own. The zones of names and addresses are delegated to `servers`: "good", or "lame", which spoils what it is told to."""

    def __init__(self, folder, *servers):
        Live.__init__(self, folder)
        for address in ROOTS:
            subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True)
        config = self.planned.config
        config.write_text(re.sub(r"dns \{.*\}", "dns { timeout = 4s }", config.read_text()))
        zones = "".join(f"{zone}. 60 NS ns-{server}.\n" for zone in self.zones for server in (servers if OURS.search(zone) and zone != CUSTOMER else ["good"]))
        root = folder / "root.zone"
        root.write_text(f". 60 SOA a.root-servers.net. h.example.org. 1 3600 600 86400 60\n. 60 NS a.root-servers.net.\na.root-servers.net. 60 A {ROOTS[0]}\n"
                        f"ns-good. 60 A {SERVER}\nns-lame. 60 A {LAME}\n{zones}")
        self.planned.port = 53
        self.root = zone_server.ZoneServer(folder / "root", ROOTS[0], 53, {"": root}, more=ROOTS[1:]).start()
        self.server = self.serve()
        self.lame = LameDns(LAME, 53, self.server).start()
        (folder / "m.eml").write_bytes(b"From: alice@contoso.com\r\nSubject: x\r\n\r\nx\r\n")

    def stop(self):
        super().stop()
        self.root.stop()


def lame_delegations(folder):
    internet = Internet(folder, "lame")
    try:
        assert all(verdicts(checks) == {} for checks in internet.explain().values())
        for how in ("refused", "servfail", *REFERRALS):
            internet.lame.spoil, internet.lame.spoilt = lambda name, rtype: how, 0
            for address, checks in internet.explain().items():
                found = verdicts(checks)
                assert internet.lame.spoilt and "fail" not in found.values() and checks["ehlo-spf"]["verdict"] == checks["ptr"]["verdict"] == "unknown", (how, address, found)
            assert {f["status"] for f in internet.faults(code=3)} == {"unknown"}, how
    finally:
        internet.stop()


def one_of_two_is_lame(folder):
    internet = Internet(folder, "lame", "good")
    try:
        for how in ("refused", "silent", *REFERRALS):
            internet.lame.spoil = lambda name, rtype: how
            taken = {"unknown", "void"} if how == REFERRALS[1] else set()  # which libunbound takes for an answer, without asking the other
            for address, checks in internet.explain().items():
                assert set(verdicts(checks).values()) <= taken, (how, address, checks)
            assert {f["status"] for f in internet.faults(code=3 if taken else 0)} <= taken, how
    finally:
        internet.stop()


@pytest.mark.parametrize("function", [lame_delegations, one_of_two_is_lame])
def test_recursion(in_namespace, function):
    if not zone_server.available():
        missing("knotd, named-checkzone, kzonecheck or nsupdate is not installed")
    in_namespace(function)
