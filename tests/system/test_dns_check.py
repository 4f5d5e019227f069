"""What receivers see, asked of a real server: a world that is right has no fault; one record that is wrong is one fault, with what to put
there, and nothing else is said; a server that does not answer is no fault of a record."""
import json
import re
import subprocess

import dns.flags
import pytest

from conftest import missing
from lab import zone_server
from test_dns_plan import NAME_SERVERS, SERVER, Planned, Pool, Setup

EHLO, INCLUDE, CUSTOMER = "out.outbound.example.net", "spf.example.net", "contoso.com"
FIRST = "mail-bl2on0001.outbound.example.net"


class Live:
    """The plan, served; and the customer's MX, which no plan knows."""

    def __init__(self, folder):
        self.folder = folder
        subprocess.run(["openssl", "genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", folder / "s1.pem"], check=True, capture_output=True)
        self.planned = Planned(folder, Setup({"bl2": EHLO}, [
            Pool("normal", "on", "published", ["192.0.2.16/30", "2001:db8:25::10"]),
            Pool("high-risk", "hn", "published", ["198.51.100.8/31"]),
            Pool("relay", "rl", "unpublished", ["203.0.113.8"]),
            Pool("high-risk-relay", "rh", "hidden", ["203.0.113.16"])], NAME_SERVERS + f"""
tenant "fabrikam" {{
    domains = {{"fabrikam.com"}}
    dkim "fabrikam.com" {{ selector = "s1"  key = "{folder}/s1.pem" }}
}}"""))
        config = self.planned.config.read_text().replace(f'domains = {{"{CUSTOMER}"}}', f'domains = {{"{CUSTOMER}"}} dkim "{CUSTOMER}" {{ selector = "s1"  key = "{folder}/s1.pem" }}')
        self.planned.config.write_text(config.replace("timeout = 5s", "timeout = 2s"))
        zones = folder / "zones"
        written = [json.loads(line) for line in self.planned.run("zone", "--out", zones, "--json").splitlines()]
        self.zones = {w["zone"]: zones / w["file"] for w in written}
        for domain in (CUSTOMER, "fabrikam.com"):
            self.zones[domain].write_text(self.zones[domain].read_text() + f"{domain}. 60 IN MX 10 mx.example.org.\n")

    def serve(self, without=()):
        return zone_server.ZoneServer(self.folder / "knot", SERVER, self.planned.port, {z: f for z, f in self.zones.items() if z not in without}).start()

    def change(self, old, new):
        """In the one zone that has it: a regular expression over whole lines."""
        (path,) = [f for f in self.zones.values() if re.search(old, f.read_text(), re.M)]
        path.write_text(re.sub(old, new, path.read_text(), flags=re.M))

    def add(self, zone, line):
        self.zones[zone].write_text(self.zones[zone].read_text() + line + "\n")

    def faults(self, code=1):  # 1: something is wrong
        return [json.loads(line) for line in self.planned.run("check", "--json", code=code).splitlines()]


@pytest.fixture
def live(folder):
    if not zone_server.available():
        missing("knotd, named-checkzone, kzonecheck or nsupdate is not installed")
    return Live(folder)


def line(name, rtype, data=".*"):
    return rf"^{re.escape(name)}\.\s+(\d+) IN {rtype}\s+{data}$|^{re.escape(name)}\.\s+(\d+) {rtype}\s+{data}$"


def lookup_heavy(live):
    live.change(line(INCLUDE, "TXT"), f'{INCLUDE}. 60 IN TXT "v=spf1 ip4:192.0.2.16/30 ip4:198.51.100.8/31 ip6:2001:db8:25::10 ' + " ".join(f"a:{EHLO[4:]}" for _ in range(0)) + " ".join(f"exists:%{{i}}.{n}.{FIRST}" for n in "ab") + f' {" ".join(f"a:{FIRST}" for _ in range(7))} -all"')


# What is done to the world; the code and subject of the one fault; what has to stand in the advice.
WRONG = {
    "no PTR": (lambda w: w.change(line("16.16-30.2.0.192.in-addr.arpa", "PTR"), ""), "no-ptr", "192.0.2.16", f"16.16-30.2.0.192.in-addr.arpa. 3600 PTR {FIRST}."),
    "no PTR, IPv6": (lambda w: w.change(r"^0\.1\.0\..*ip6\.arpa\. .*PTR.*$", ""), "no-ptr", "2001:db8:25::10", f"ip6.arpa. 3600 PTR {FIRST}."),
    "wrong A": (lambda w: w.change(line(FIRST, "A"), f"{FIRST}. 60 IN A 192.0.2.99"), "not-confirmed", "192.0.2.16", f"{FIRST}. 3600 A 192.0.2.16"),
    "PTR to nowhere": (lambda w: w.change(line("16.16-30.2.0.192.in-addr.arpa", "PTR"), "16.16-30.2.0.192.in-addr.arpa. 60 IN PTR gone.outbound.example.net."),
                       "not-confirmed", "192.0.2.16", f"PTR {FIRST}."),
    "CNAME chain": (lambda w: (w.change(line("16.16-30.2.0.192.in-addr.arpa", "PTR"), "16.16-30.2.0.192.in-addr.arpa. 60 IN PTR a.outbound.example.net."),
                               [w.add("example.net", f"{a}.outbound.example.net. 60 IN CNAME {b}") for a, b in (("a", "b.outbound.example.net."), ("b", FIRST + "."))]),
                    "ptr-alias", "192.0.2.16", f"PTR {FIRST}."),
    "another's name": (lambda w: (w.change(line("16.16-30.2.0.192.in-addr.arpa", "PTR"), "16.16-30.2.0.192.in-addr.arpa. 60 IN PTR host.fabrikam.com."),
                                  w.add("fabrikam.com", "host.fabrikam.com. 60 IN A 192.0.2.16")), "other-organisation", "192.0.2.16", f"PTR {FIRST}."),
    "a line's name": (lambda w: (w.change(line("16.16-30.2.0.192.in-addr.arpa", "PTR"), "16.16-30.2.0.192.in-addr.arpa. 60 IN PTR 192-0-2-16.outbound.example.net."),
                                 w.add("example.net", "192-0-2-16.outbound.example.net. 60 IN A 192.0.2.16")), "generic-name", "192.0.2.16", f"PTR {FIRST}."),
    "EHLO without address": (lambda w: w.change(line(EHLO, "A+"), ""), "ehlo-no-address", EHLO, f"{EHLO}. 3600 A 192.0.2.16"),
    "EHLO too big": (lambda w: [w.add("example.net", f"{EHLO}. 3600 IN A 10.0.0.{i}") for i in range(1, 30)], "ehlo-too-big", EHLO, f"{EHLO}. 3600 A 192.0.2.16"),
    "SPF without an address": (lambda w: w.change(line(EHLO, "TXT"), f'{EHLO}. 60 IN TXT "v=spf1 ip4:192.0.2.16/30 ip4:198.51.100.8 ip4:203.0.113.8 ip6:2001:db8:25::10 -all"'),
                               "ehlo-spf", EHLO, "198.51.100.8/31"),
    "no SPF of the EHLO": (lambda w: w.change(line(EHLO, "TXT"), ""), "ehlo-spf", EHLO, "198.51.100.8/31"),
    "SPF open": (lambda w: w.change(line(EHLO, "TXT"), f'{EHLO}. 60 IN TXT "v=spf1 +all"'), "spf-open", EHLO, "-all"),
    "SPF broken": (lambda w: w.change(line(EHLO, "TXT"), f'{EHLO}. 60 IN TXT "v=spf1 ip4:192.0.2.0/24 ipv4:198.51.100.8 -all"'), "spf-broken", EHLO, "-all"),
    "include misses": (lambda w: w.change(line(INCLUDE, "TXT"), f'{INCLUDE}. 60 IN TXT "v=spf1 ip4:192.0.2.16/30 ip4:198.51.100.8 ip6:2001:db8:25::10 -all"'),
                       "include-misses", INCLUDE, "198.51.100.8/31"),
    "include leaks": (lambda w: w.change(line(INCLUDE, "TXT"), f'{INCLUDE}. 60 IN TXT "v=spf1 ip4:192.0.2.16/30 ip4:198.51.100.8/31 ip4:203.0.113.8 ip6:2001:db8:25::10 -all"'),
                      "include-leaks", INCLUDE, "198.51.100.8/31"),
    "include gone": (lambda w: w.change(line(INCLUDE, "TXT"), ""), "include-misses", INCLUDE, "198.51.100.8/31"),
    "lookups": (lookup_heavy, "spf-lookups", INCLUDE, "198.51.100.8/31"),
    "DKIM missing": (lambda w: w.change(line(f"s1._domainkey.{CUSTOMER}", "TXT"), ""), "dkim-missing", f"s1._domainkey.{CUSTOMER}", "v=DKIM1; k=rsa; p="),
    "DKIM differs": (lambda w: w.change(line(f"s1._domainkey.{CUSTOMER}", "TXT"), f's1._domainkey.{CUSTOMER}. 60 IN TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="'),
                     "dkim-differs", f"s1._domainkey.{CUSTOMER}", "v=DKIM1; k=rsa; p="),
    "no SPF of a customer": (lambda w: w.change(line(CUSTOMER, "TXT", '"v=spf1.*'), ""), "no-spf", CUSTOMER, f"include:{INCLUDE}"),
    "no include": (lambda w: w.change(line(CUSTOMER, "TXT", '"v=spf1.*'), f'{CUSTOMER}. 60 IN TXT "V=spf1 ip4:10.0.0.1 ~all"'), "no-include", CUSTOMER, f'TXT "v=spf1 include:{INCLUDE} ip4:10.0.0.1 ~all"'),
    "a customer's empty lookups": (lambda w: w.change(line(CUSTOMER, "TXT", '"v=spf1.*'), f'{CUSTOMER}. 60 IN TXT "v=spf1 {" ".join(f"a:n{n}.{CUSTOMER}" for n in range(3))} include:{INCLUDE} -all"'),
                                   "spf-over", CUSTOMER, "2 of them without an answer"),
    "a customer's lookups": (lambda w: w.change(line(CUSTOMER, "TXT", '"v=spf1.*'), f'{CUSTOMER}. 60 IN TXT "v=spf1 include:{INCLUDE} {" ".join(f"a:{FIRST}" for _ in range(10))} -all"'),
                             "spf-over", CUSTOMER, "10 look-ups in all"),
    "a customer's SPF open": (lambda w: w.change(line(CUSTOMER, "TXT", '"v=spf1.*'), f'{CUSTOMER}. 60 IN TXT "v=spf1 include:{INCLUDE} +all"'), "spf-open", CUSTOMER, f"include:{INCLUDE} -all"),
    "no DMARC": (lambda w: w.change(line(f"_dmarc.{CUSTOMER}", "TXT"), ""), "no-dmarc", CUSTOMER, f"_dmarc.{CUSTOMER}. 3600 TXT"),
    "two of DMARC": (lambda w: w.add(CUSTOMER, f'_dmarc.{CUSTOMER}. 3600 IN TXT "v=DMARC1; p=reject"'), "dmarc-broken", CUSTOMER, f"_dmarc.{CUSTOMER}. 3600 TXT"),
    "no MX": (lambda w: w.change(line(CUSTOMER, "MX"), ""), "no-sender-dns", CUSTOMER, f"{CUSTOMER}. MX 10"),
}


def test_a_right_world(live):
    server = live.serve()
    try:
        assert live.faults(code=0) == []
        assert "9 addresses and 2 domains are as receivers want them" in live.planned.run("check")
    finally:
        server.stop()


@pytest.mark.parametrize("case", WRONG)
def test_one_record_is_wrong(live, case):
    change, code, subject, put = WRONG[case]
    change(live)
    server = live.serve()
    try:
        found = live.faults()
        assert [(f["status"], f["code"], f["subject"]) for f in found] == [("fault", code, subject)], found
        assert put in found[0]["put"] and found[0]["what"], found
        text = live.planned.run("check", code=1)
        assert subject in text and code in text and put in text
    finally:
        server.stop()


def spf(live, terms):
    live.change(line(CUSTOMER, "TXT", '"v=spf1.*'), f'{CUSTOMER}. 60 IN TXT "{terms}"')


def ten_lookups(live):
    for n in range(9):
        live.add("fabrikam.com", f'p{n}.fabrikam.com. 60 IN TXT "v=spf1 ip4:10.0.{n}.0/24 -all"')
    spf(live, f'v=spf1 {" ".join(f"include:p{n}.fabrikam.com" for n in range(9))} include:{INCLUDE} -all')


def keys_in_pieces(live):
    """A record of many short strings, behind a CNAME."""
    path = live.zones[CUSTOMER]
    (record,) = [l for l in path.read_text().splitlines() if l.startswith("s1._domainkey.")]
    text = record.split(" TXT ")[1].replace('" "', "").strip('"')
    path.write_text(path.read_text().replace(record, f"s1._domainkey.{CUSTOMER}. 60 IN CNAME key.fabrikam.com."))
    live.add("fabrikam.com", "key.fabrikam.com. 60 IN TXT " + " ".join(f'"{text[i:i + 50]}"' for i in range(0, len(text), 50)))


# Unusual, and right: nothing is said.
RIGHT = {
    "another PTR beside": lambda w: w.add("16-30.2.0.192.in-addr.arpa", "16.16-30.2.0.192.in-addr.arpa. 60 IN PTR aaa.fabrikam.com."),
    "EHLO with AAAA only": lambda w: w.change(line(EHLO, "A"), ""),
    "a key in pieces": keys_in_pieces,
    "redirect": lambda w: spf(w, f"v=spf1 redirect={INCLUDE}"),
    "redirect to a record of one's own": lambda w: (spf(w, f"v=spf1 redirect=_spf.{CUSTOMER}"), w.add(CUSTOMER, f'_spf.{CUSTOMER}. 60 IN TXT "v=spf1 include:{INCLUDE} ~all"')),
    "capitals": lambda w: spf(w, f"V=SPF1 INCLUDE:{INCLUDE.upper()} ?ALL"),
    "ten lookups": ten_lookups,
    "two empty lookups": lambda w: spf(w, f"v=spf1 a:n1.{CUSTOMER} a:n2.{CUSTOMER} include:{INCLUDE} -all"),
    "no all": lambda w: spf(w, f"v=spf1 include:{INCLUDE}"),
    "by a macro": lambda w: (spf(w, "v=spf1 include:%{d}._m.fabrikam.com -all"), w.add("fabrikam.com", f'{CUSTOMER}._m.fabrikam.com. 60 IN TXT "v=spf1 include:{INCLUDE} -all"')),
    "by address": lambda w: spf(w, "v=spf1 ip4:192.0.2.16/30 ip4:198.51.100.8/31 ip6:2001:db8:25::10 -all"),
    "DMARC behind a CNAME": lambda w: (w.change(line(f"_dmarc.{CUSTOMER}", "TXT"), f"_dmarc.{CUSTOMER}. 60 IN CNAME dm.fabrikam.com."),
                                       w.add("fabrikam.com", 'dm.fabrikam.com. 60 IN TXT "v=DMARC1;p=none;" " rua=mailto:x@example.org"')),
}


@pytest.mark.parametrize("case", RIGHT)
def test_unusual_and_right(live, case):
    RIGHT[case](live)
    server = live.serve()
    try:
        assert live.faults(code=0) == []
    finally:
        server.stop()


def test_what_others_wrote_does_not_paint_the_terminal(live):
    spf(live, r"v=spf1 \\027[2Jinclude:x\\007 -all")
    server = live.serve()
    try:
        (found,) = live.faults()
        assert (found["code"], found["subject"]) == ("spf-broken", CUSTOMER) and '"?[2Jinclude:x?"' in found["what"], found
        for words in ("check",), ("zone", "--diff"):
            text = live.planned.run(*words, code=1)
            assert CUSTOMER in text and not [c for c in text if c < " " and c != "\n"]
    finally:
        server.stop()


def test_a_large_answer_is_a_warning(live):
    """Of a customer's TXT records all go out with each answer; it is worth a line, and no fault."""
    for n in range(6):
        live.add(CUSTOMER, f'{CUSTOMER}. 3600 IN TXT "verification-{n}={"x" * 200}"')
    server = live.serve()
    try:
        (found,) = live.faults(code=0)
        assert (found["status"], found["code"], found["subject"]) == ("warning", "txt-size", CUSTOMER) and "by TCP" in found["what"], found
        assert server.ask(f"{CUSTOMER}.", "TXT").flags & dns.flags.TC
        assert "7 TXT records take 1" in live.planned.run("check") and "fewer TXT records" in live.planned.run("check")
    finally:
        server.stop()


def test_no_answer_is_no_fault(live):
    """Zones that their server does not know, then no server at all."""
    server = live.serve(without=("2.0.192.in-addr.arpa", "16-30.2.0.192.in-addr.arpa"))
    try:
        found = live.faults(code=3)
        assert {f["status"] for f in found} == {"unknown"}, found
        assert {f["subject"] for f in found} == {f"{n}.2.0.192.in-addr.arpa PTR" for n in (16, 17, 18, 19)}, found
        assert "can't be told" in live.planned.run("check", code=3)
    finally:
        server.stop()
    live.planned.config.write_text(live.planned.config.read_text().replace("timeout = 2s", "timeout = 1s"))
    found = live.faults(code=3)
    assert {(f["status"], f["code"], f["put"]) for f in found} == {("unknown", "unanswered", None)} and len(found) > 9
