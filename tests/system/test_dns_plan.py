"""The plan of the DNS: served by a real server, it is what receivers want to see. Each address has a name that points back,
EHLO names resolve in one small answer, and an SPF implementation that is not ours lets through every address that may
send and no other."""
import base64
import ipaddress
import json
import os
import pathlib
import random
import resource
import subprocess

import dns.flags
import pytest
import spf

from conftest import missing
from lab import places, zone_server

SERVER = "127.0.53.1"
NAME_SERVERS = 'identity { name-servers = {"ns.outbound.example.net 127.0.53.1"} }'


class Pool:
    def __init__(self, name, code, spf_, addresses, ehlo="site", carries=(), written=True):
        self.name, self.code, self.spf, self.ehlo, self.carries, self.written = name, code, spf_, ehlo, carries, written
        self.addresses = addresses if isinstance(addresses, dict) else {"": addresses}  # by site

    def options(self):
        return (f'class = "{self.code}"  ehlo = "{self.ehlo}"' + (f"  spf = {self.spf}" if self.written else "")
                + (f"  carries = {{{', '.join(self.carries)}}}" if self.carries else ""))


def quoted(addresses):
    return "addresses = {" + ", ".join(f'"{a}"' for a in addresses) + "}"


def expand(written):
    if "/" in written:
        return list(ipaddress.ip_network(written))
    first, _, last = written.partition("-")
    first, last = ipaddress.ip_address(first), ipaddress.ip_address(last or first)
    return [type(first)(n) for n in range(int(first), int(last) + 1)]


class Setup:
    """A configuration: sites (name -> EHLO name), pools, more text; and what it means, one row an address."""

    def __init__(self, sites, pools, more="", domain="example.net"):
        self.sites, self.pools, self.more, self.domain = sites, pools, more, domain

    def text(self):
        lines = ['node = "mail.outbound.example.net"', self.more]
        several = len(self.sites) > 1
        for site, ehlo in self.sites.items():
            lines.append(f'site "{site}" {{ ehlo = "{ehlo}"  ptr = "mail-{site}{{class}}{{n}}.outbound.example.net"')
            lines += [f'  pool "{p.name}" {{ {quoted(p.addresses[site])} }}' for p in self.pools if several]
            lines.append("}")
        for p in self.pools:
            lines.append(f'pool "{p.name}" {{ {p.options()}  {"" if several else quoted(p.addresses[""])} }}')
        return "\n".join(lines) + "\n"

    def rows(self):
        names = self.sites if len(self.sites) > 1 else {"": next(iter(self.sites.values()), "mail.outbound.example.net")}
        return [{"ip": ip, "pool": p.name, "spf": p.spf, "says": names[site] if p.ehlo == "site" else p.ehlo}
                for p in self.pools for site, written in p.addresses.items() for w in written for ip in expand(w)]


def four_pools(folder, more_normal=(), more_relay=()):
    return Setup({"bl2": "NAM02-BL2-obe.outbound.example.net"}, [
        Pool("normal", "on", "published", ["192.0.2.16/28", "2001:db8:25::10-2001:db8:25::1f", *more_normal]),
        Pool("high-risk", "hn", "published", ["198.51.100.8/29"], written=False),
        Pool("relay", "rl", "unpublished", ["203.0.113.8/29", *more_relay], written=False),
        Pool("high-risk-relay", "rh", "hidden", ["203.0.113.16/29"])], NAME_SERVERS)


def zones_of_ones_own(folder):
    """The cuts configured, EHLO of all kinds, a whole /24, keys."""
    subprocess.run(["openssl", "genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", folder / "s1.pem"], check=True, capture_output=True)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / "s2.pem"], check=True)
    return Setup({"s": "s.outbound.example.net"}, [
        Pool("normal", "on", "published", ["192.0.2.16/28", "2001:db8:25::10-2001:db8:25::1f", "198.18.0.0/24"]),
        Pool("high-risk", "hn", "published", ["198.51.100.8/29", "2001:db8:26::1"], ehlo="ptr"),
        Pool("relay", "rl", "unpublished", ["203.0.113.0/29"], ehlo="relay.outbound.example.net"),
        Pool("high-risk-relay", "rh", "hidden", ["203.0.113.9"], ehlo="ptr")], f"""
identity {{
    domain = "protection.example.net"  ttl = 5min  dmarc = "p=quarantine; rua=mailto:dmarc@example.net"
    zones = {{"protection.example.net", "outbound.example.net", "100.51.198.in-addr.arpa", "0/28.113.0.203.in-addr.arpa", "0-127.2.0.192.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"}}
    name-servers = {{"ns1.protection.example.net 127.0.53.1", "ns2.example.org"}}
}}
tenant "fabrikam" {{
    domains = {{"fabrikam.com"}}
    dkim "fabrikam.com" {{ selector = "s1"  key = "{folder}/s1.pem"  ed25519-selector = "s2"  ed25519-key = "{folder}/s2.pem" }}
}}""", "protection.example.net")


def three_sites(folder):
    return Setup({s: f"{s}.outbound.example.net" for s in "abc"}, [
        Pool("normal", "on", "published", {s: [f"10.{i}.0.0/27", f"10.{i}.0.64/28", f"2001:db8:{i}::/124"] for i, s in enumerate("abc")}),
        Pool("rest", "re", "unpublished", {s: [f"10.{i}.1.1", f"10.{i}.1.7-10.{i}.1.12"] for i, s in enumerate("abc")}, carries=("high-risk", "relay", "high-risk-relay"))],
        NAME_SERVERS + """
here = "b"
destination "insists" { domains = {"insists.test"}  ehlo = ptr }
destination "special" { domains = {"special.test"}  ehlo = "special.outbound.example.net" }""")


def one_server(folder):
    return Setup({}, [Pool("normal", "on", "published", ["192.0.2.1", "2001:db8::1"]),
                      Pool("rest", "re", "unpublished", ["192.0.2.2"], carries=("high-risk", "relay", "high-risk-relay"))], NAME_SERVERS)


def scattered(step, count):
    """Every other address or worse, so that SPF records must be split, or ask by exists."""
    rng = random.Random(count)

    def addresses(pool):
        some = [str(ipaddress.ip_address("10.0.0.0") + (pool * 16384 + n * step + rng.randrange(step // 2))) for n in range(count)]
        some += [str(ipaddress.ip_address("2001:db8::") + (pool << 64) + n * 16 + rng.randrange(16)) for n in range(count // 4)]
        rng.shuffle(some)
        return some

    return Setup({"s": "s.outbound.example.net"}, [
        Pool(name, f"c{i}", spf_, addresses(i)) for i, (name, spf_) in enumerate(
            [("normal", "published"), ("high-risk", "published"), ("relay", "unpublished"), ("high-risk-relay", "hidden")])], NAME_SERVERS)


def scattered_sites(folder):
    """Each site's set fits its EHLO name's record, that of all together only asks by exists."""
    rng = random.Random(7208)

    def addresses(site, pool, count):
        return [str(ipaddress.ip_address("10.0.0.0") + (site << 16) + (pool << 12) + 7 * n + rng.randrange(6)) for n in range(count)] + [f"2001:db8:{site}:{pool}::{rng.randrange(99):x}"]

    return Setup({s: f"{s}.outbound.example.net" for s in "abc"}, [
        Pool("normal", "on", "published", {s: addresses(i, 0, 110) for i, s in enumerate("abc")}),
        Pool("rest", "re", "unpublished", {s: addresses(i, 1, 3) for i, s in enumerate("abc")}, carries=("high-risk", "relay", "high-risk-relay"))],
        NAME_SERVERS + '\nhere = "b"')


def anything(seed):
    """Two or three sites and pools of any kind, with any addresses: dense, scattered, single; some sets fit one record, some are split, some ask by exists."""
    rng = random.Random(seed)
    sites = {f"s{i}": f"s{i}.outbound.example.net" for i in range(rng.randint(2, 3))}
    classes = ["normal", "high-risk", "relay", "high-risk-relay"]

    def some(site, pool):
        """Written in any order; no address twice."""
        gap, left, at, out = rng.choice([1, 2, 4, 60]), rng.randint(1, rng.choice([2, 6, 24])), rng.randrange(64), []
        while left > 0 and at < 2000:
            base = int(ipaddress.ip_address("10.0.0.0")) + (site << 16) + (pool << 11)
            size = rng.choice([1, 1, 1, 2, 4, rng.randint(1, 9)])
            if size in (2, 4) and rng.random() < .5:
                at += -at % size
                out.append(f"{ipaddress.ip_address(base + at)}/{33 - size.bit_length()}")
            else:
                out.append(f"{ipaddress.ip_address(base + at)}" + (f"-{ipaddress.ip_address(base + at + size - 1)}" if size > 1 else ""))
            at, left = at + size + rng.randrange(gap + 1), left - 1
        for n in range(rng.choice([0, 0, 1, 5])):
            v6 = ipaddress.ip_address("2001:db8::") + (site << 80) + (pool << 64) + n * rng.choice([256, 256 * 7]) + rng.randrange(200)
            out.append(f"{v6}" + (f"-{v6 + 9}" if rng.random() < .5 else ""))
        rng.shuffle(out)
        return out

    pools = []
    for i, carries in enumerate([["normal"], ["high-risk"], ["relay", "high-risk-relay"], ["high-risk-relay"]][:rng.randint(3, 4)]):
        name = f"p{i}"
        pools.append(Pool(name, f"c{i}", rng.choice(["published", "published", "unpublished", "hidden"]) if i else "published",
                          {site: some(n, i) for n, site in enumerate(sites)}, rng.choice(["site", "site", "ptr", f"{name}.outbound.example.net"]), carries))
    assert {c for p in pools for c in p.carries} == set(classes)
    return Setup(sites, pools, NAME_SERVERS + f'\nhere = "{rng.choice(list(sites))}"')


def no_servers(folder):
    """Nobody to delegate a part of a /24 to: whoever has the /24 needs no more than its own file."""
    setup = four_pools(folder)
    setup.more = ""
    return setup


def cut_out(folder):
    """Our zone is cut out of another one that has names too, ours or a customer's; the servers stand below the cut."""
    return Setup({"bl2": "bl2.outbound.example.net", "am5": "am5.example.net"}, [
        Pool("normal", "on", "published", {"bl2": ["192.0.2.16/28"], "am5": ["198.51.100.8/29"]}),
        Pool("rest", "re", "unpublished", {"bl2": ["203.0.113.8/29"], "am5": ["203.0.113.16/29"]}, carries=("high-risk", "relay", "high-risk-relay"))], """
here = "bl2"
identity {
    domain = "outbound.example.net"  zones = {"outbound.example.net", "mail.fabrikam.com"}
    name-servers = {"ns1.outbound.example.net 127.0.53.1", "ns2.mail.fabrikam.com 127.0.53.1"}
}
destination "special" { domains = {"special.test"}  ehlo = "special.mail.fabrikam.com" }
tenant "fabrikam" { domains = {"fabrikam.com"} }""", "outbound.example.net")


CONFIGURATIONS = {
    "cut out of another zone": cut_out,
    "no servers": no_servers,
    "four pools": four_pools,
    "zones of one's own": zones_of_ones_own,
    "three sites": three_sites,
    "one server": one_server,
    "split in few": lambda folder: scattered(2, 24),
    "split in many": lambda folder: scattered(40, 62),
    "by exists": lambda folder: scattered(6, 160),
    "by exists for all sites only": scattered_sites,
    **{f"any, {seed}": lambda folder, seed=seed: anything(seed) for seed in (3, 15, 19, 28, 33)},
}


class Planned:
    """A configuration, its plan, and what it should say."""

    def __init__(self, folder, setup):
        self.folder, self.setup = folder, setup
        self.config, self.port = folder / "sluice.conf", places.free_port(SERVER, "127.0.0.1")
        self.write(setup)
        self.records = [json.loads(line) for line in self.run("plan", "--json").splitlines()]

    def write(self, setup):
        self.config.write_text(setup.text() + f'dns {{ servers = {{"{SERVER}@{self.port}"}} timeout = 5s }}\nstate = "{self.folder}/state"\ntenant "contoso" {{ domains = {{"contoso.com"}} }}\n')

    def run(self, *words, code=0):
        ran = subprocess.run([places.program("sluice"), "-c", self.config, "dns", *words], capture_output=True, text=True)
        assert ran.returncode == code, (words, ran.returncode, ran.stdout[-3000:], ran.stderr[-3000:])
        self.said = ran.stderr
        return ran.stdout

    def names_of(self, rtype):
        return {r["name"] for r in self.records if r["type"] == rtype}

    def data(self, name, rtype):
        return {r["data"] for r in self.records if r["name"] == name and r["type"] == rtype}


@pytest.fixture
def planned(folder, request):
    if not zone_server.available():
        missing("knotd, named-checkzone, kzonecheck or nsupdate is not installed")
    return Planned(folder, CONFIGURATIONS[request.param](folder))


@pytest.fixture
def served(planned, folder):
    zones = folder / "zones"
    written = [json.loads(line) for line in planned.run("zone", "--out", zones, "--json").splitlines()]
    assert ("name-servers" in planned.said) == ("name-servers" not in planned.setup.more)
    assert {w["file"] for w in written} == {p.name for p in zones.iterdir()}
    for w in written:
        assert w["file"] == w["zone"].replace("/", "-") + ".zone"
        for words in (["named-checkzone", "-i", "local", w["zone"], zones / w["file"]], ["kzonecheck", "-o", w["zone"], zones / w["file"]]):
            ran = subprocess.run(words, capture_output=True, text=True)
            assert ran.returncode == 0, (words, ran.stdout, ran.stderr)
            assert "error" not in (ran.stdout + ran.stderr).lower(), (words, ran.stdout, ran.stderr)
    planned.zones = {w["zone"]: zones / w["file"] for w in written}
    server = zone_server.ZoneServer(folder / "knot", SERVER, planned.port, planned.zones).start()
    planned.server = server
    yield planned
    server.stop()


def check_spf(served, ip, sender, helo):
    query = spf.query(str(ip), sender, helo, strict=2)
    result = query.check()[0]
    assert query.lookups < 10, (sender, helo, query.lookups)
    return result


everything = pytest.mark.parametrize("planned", CONFIGURATIONS, indirect=True)


@everything
def test_receivers_see_the_plan(served, monkeypatch):
    rows, server = served.setup.rows(), served.server
    assert len(rows) > 2 and len({r["ip"] for r in rows}) == len(rows)

    # Every record is served as planned, and no other of that name and type.
    for name, rtype in {(r["name"], r["type"]) for r in served.records}:
        if rtype in ("NS", "CNAME"):
            continue
        assert {d.lower() for d in server.records(name, rtype)} == {d.lower() for d in served.data(name, rtype)}, (name, rtype)
        assert rtype != "TXT" or len(served.data(name, rtype)) == 1, name
    for record in served.records:
        assert record["name"].endswith(".") and isinstance(record["ttl"], int) and set(record) == {"name", "type", "ttl", "data"}
        if record["type"] == "TXT" and "v=spf1" in record["data"]:
            assert len("".join(record["data"].replace('" "', "").strip('"'))) < 450, record
            assert not server.ask(record["name"], "TXT").flags & dns.flags.TC, record

    # Forward-confirmed, each with its own name.
    names = {}
    for row in rows:
        ptr = server.records(row["ip"].reverse_pointer + ".", "PTR")
        assert len(ptr) == 1, (row, ptr)
        name = ptr.pop()
        assert str(row["ip"]) in server.records(name, "A" if row["ip"].version == 4 else "AAAA"), (row, name)
        row["ptr"] = name.rstrip(".")
        names.setdefault((name, row["ip"].version), []).append(row["ip"])
    if len(rows) > 15:
        assert all(len(ips) == 1 for ips in names.values()), names

    # EHLO names resolve, in one answer of 512 octets.
    for row in rows:
        if row["says"] == "ptr":
            row["says"] = row["ptr"]
    for name in {r["says"] for r in rows}:
        answers = [server.ask(name + ".", rtype) for rtype in ("A", "AAAA")]
        addresses = {str(r) for a in answers for rrset in a.answer for r in rrset}
        assert 1 <= len(addresses) <= 15, (name, addresses)
        assert all(len(a.to_wire()) <= 512 and not a.flags & dns.flags.TC for a in answers)
        assert addresses <= {str(r["ip"]) for r in rows}

    # SPF by somebody else's judgement.
    monkeypatch.setattr(spf, "DNSLookup", server.spf_lookup)
    rows_ips = {r["ip"] for r in rows}
    strangers = [near for ip in sorted(rows_ips, key=str)[::9] for near in (ip - 1, ip + 1) if near not in rows_ips]  # the networks end where the addresses do
    strangers += [ipaddress.ip_address(a) for a in ("192.0.2.15", "192.0.2.32", "10.0.0.255", "10.200.0.1", "2001:db8:25::20", "2001:db9::1", "203.0.113.99")]
    for row in rows:
        hidden = row["spf"] == "hidden"
        assert check_spf(served, row["ip"], "", row["says"]) in (("none", "fail") if hidden else ("pass",)), row
        wanted = "pass" if row["spf"] == "published" else "fail"
        assert check_spf(served, row["ip"], "bob@contoso.com", row["says"]) == wanted, row
        if row["spf"] == "published":
            assert check_spf(served, row["ip"], f"bob@{row['pool']}.spf.{served.setup.domain}", row["says"]) == "pass", row
    for ip in strangers:
        if ip not in rows_ips:
            assert check_spf(served, ip, "", rows[0]["says"]) == "fail", ip
            assert check_spf(served, ip, "bob@contoso.com", rows[0]["says"]) == "fail", ip


@everything
def test_ranges_are_the_published_addresses(planned):
    rows = planned.setup.rows()
    lines = [json.loads(line) for line in planned.run("ranges", "--json").splitlines()]
    ranges = [ipaddress.ip_network(line["range"]) for line in lines]
    inside = [ip for r in ranges for ip in r]
    assert sorted(map(str, inside)) == sorted(str(r["ip"]) for r in rows if r["spf"] == "published")
    assert len({line["serial"] for line in lines}) == 1 and lines[0]["serial"] == int(planned.config.stat().st_mtime)
    text = planned.run("ranges").splitlines()
    assert text == [f"serial {lines[0]['serial']}"] + [str(line["range"]) for line in lines]


def test_the_serial_of_the_ranges(folder):
    """It rises when the ranges change, also where the file's time goes back, and at no other time; who can't write the memory gets the same."""
    planned = Planned(folder, four_pools(folder))
    memory = folder / "state/dns-ranges"
    memory.parent.mkdir(exist_ok=True)

    def serial(time, more_normal=(), more_relay=()):
        planned.write(four_pools(folder, more_normal, more_relay))
        os.utime(planned.config, (time, time))
        return int(planned.run("ranges").split()[1])

    assert serial(1000000) == 1000000
    assert serial(2000000) == serial(500000) == serial(3000000, more_relay=["198.18.0.1"]) == 1000000
    assert serial(4000000, ["198.18.0.1"]) == 4000000
    assert serial(1000000) == 4000001, "an older file was put back"
    memory.rename(folder / "away")
    memory.mkdir()
    assert serial(4000000) == 4000000 and not planned.said
    memory.rmdir()
    (folder / "away").rename(memory)
    assert serial(9000000) == 4000001
    memory.write_text("broken")
    (folder / "mine").write_text("mine")
    (folder / "state/dns-ranges.new").symlink_to(folder / "mine")  # by the daemon's user, for root to write to
    assert serial(9000000) == 9000000
    assert (folder / "mine").read_text() == "mine" and memory.read_text().startswith("serial 9000000\n")


@pytest.mark.parametrize("planned", ["zones of one's own"], indirect=True)
def test_customers_and_keys(planned):
    assert planned.data("fabrikam.com.", "TXT") == {'"v=spf1 include:spf.protection.example.net -all"'}
    assert planned.data("_dmarc.fabrikam.com.", "TXT") == {'"v=DMARC1; p=quarantine; rua=mailto:dmarc@example.net"'}
    for selector, kind in (("s1", "rsa"), ("s2", "ed25519")):
        (data,) = planned.data(f"{selector}._domainkey.fabrikam.com.", "TXT")
        public = subprocess.run(["openssl", "pkey", "-in", planned.folder / f"{selector}.pem", "-pubout", "-outform", "DER"], capture_output=True, check=True).stdout
        if kind == "ed25519":
            public = public[-32:]
        assert data.replace('" "', "").strip('"') == f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode()}"
    assert planned.data("0-127.2.0.192.in-addr.arpa.", "NS") == {"ns1.protection.example.net.", "ns2.example.org."}


@pytest.mark.parametrize("planned", ["by exists"], indirect=True)
def test_scattered_addresses_say_why(planned):
    assert "spf.example.net: its 400" in planned.said and "exists" in planned.said
    assert planned.data("spf.example.net.", "TXT") == {'"v=spf1 exists:%{ir}.%{v}.spf.example.net -all"'}


@pytest.mark.parametrize("planned", ["by exists for all sites only"], indirect=True)
def test_sites_apart_fit_where_all_do_not(planned):
    for name in ("spf.example.net.", "normal.spf.example.net."):
        assert planned.data(name, "TXT") == {f'"v=spf1 exists:%{{ir}}.%{{v}}.{name[:-1]} -all"'}
    for site in "abc":
        (text,) = planned.data(f"{site}.outbound.example.net.", "TXT")
        assert "include:_1" in text and "exists" not in text


@pytest.mark.parametrize("planned", ["split in many"], indirect=True)
def test_a_split_record_is_within_bounds(planned):
    (top,) = planned.data("spf.example.net.", "TXT")
    assert 2 <= top.count("include:") <= 8 and "exists" not in top and not planned.said


@pytest.mark.parametrize("planned", ["four pools"], indirect=True)
def test_names_stay_when_addresses_come(planned):
    before = {(r["name"], r["type"], r["data"]) for r in planned.records if r["type"] != "TXT"}
    more = Planned(planned.folder, four_pools(planned.folder, ["192.0.2.64/27", "2001:db8:99::1"], ["198.18.0.1"]))
    after = {(r["name"], r["type"], r["data"]) for r in more.records}
    assert before <= after
    assert more.data("65.64-27.2.0.192.in-addr.arpa.", "PTR") == {"mail-bl2on0018.outbound.example.net."}


@pytest.mark.parametrize("planned", ["zones of one's own"], indirect=True)
def test_an_update_script_makes_the_zones(planned, folder):
    """Into empty zones, then again onto what stands there; the zones of others are left out."""
    zones = folder / "empty"
    zones.mkdir()
    ours = [z for z in ("protection.example.net", "outbound.example.net", "100.51.198.in-addr.arpa", "0/28.113.0.203.in-addr.arpa", "0-127.2.0.192.in-addr.arpa",
                        "8.b.d.0.1.0.0.2.ip6.arpa", "0.18.198.in-addr.arpa")]
    for i, name in enumerate(ours):
        (zones / str(i)).write_text(f"{name}. 60 SOA ns.example.org. h.example.org. 1 3600 600 86400 60\n{name}. 60 NS ns.example.org.\nstale.{name}. 60 TXT kept\n")
    (zones / "1").write_text((zones / "1").read_text() + "s.outbound.example.net. 60 A 192.0.2.99\n")
    server = zone_server.ZoneServer(folder / "knot", SERVER, planned.port, {name: zones / str(i) for i, name in enumerate(ours)}, update=True).start()
    try:
        for _ in range(2):
            script = f"server {SERVER} {server.port}\n" + planned.run("zone", "--nsupdate")
            ran = subprocess.run(["nsupdate"], input=script, capture_output=True, text=True, timeout=60)
            assert ran.returncode == 0 and not ran.stderr, ran.stderr
            assert "contoso" not in script and "fabrikam" not in script
            for record in planned.records:
                zone = max((z for z in ours if record["name"].endswith(z + ".")), key=len, default=None)
                if zone and record["type"] not in ("NS", "CNAME"):
                    assert {d.lower() for d in server.records(record["name"], record["type"])} == {d.lower() for d in planned.data(record["name"], record["type"])}, record
        assert server.records("stale.outbound.example.net.", "TXT") == {'"kept"'}
    finally:
        server.stop()


@pytest.mark.parametrize("planned", ["no servers", "zones of one's own", "three sites"], indirect=True)
def test_the_plan_beside_what_is_live(served):
    """As planned; then a customer who says it otherwise, a record missing, one too many, and a server that is gone."""
    served.server.stop()
    customer = served.zones["contoso.com"]
    text = customer.read_text()
    (spf_line,) = [line for line in text.splitlines() if "v=spf1" in line]
    wordy = spf_line.replace('"v=spf1 ', '"v=spf1 mx ip4:203.0.113.77 ').replace("-all", "~all") + '\ncontoso.com. 60 IN TXT "some-verification=1"'
    text = text.replace(spf_line, wordy).replace("p=none", "p=reject").replace("p=quarantine", "p=reject")
    customer.write_text(text)
    served.server.start()
    assert "as planned" in served.run("zone", "--diff")

    served.server.stop()
    (forward,) = [f for z, f in served.zones.items() if f.read_text().count(" A 192.0.2.16\n") or f.read_text().count(" A 10.0.0.0\n")]
    first = "192.0.2.16" if "192.0.2.16" in forward.read_text() else "10.0.0.0"
    name = next(r["name"] for r in served.records if r["type"] == "A" and r["data"] == first and r["name"].startswith("mail-"))
    forward.write_text(forward.read_text().replace(f"{name} ", f";{name} ", 1) + f"{name} 60 IN A 192.0.2.99\n")
    customer.write_text(text.replace("include:spf.", "include:other."))
    served.server.start()
    lines = [json.loads(line) for line in served.run("zone", "--diff", "--json", code=1).splitlines()]
    wanted = [("missing", name, "A", first), ("other", name, "A", "192.0.2.99"),
              ("missing", "contoso.com.", "TXT", f'"v=spf1 include:spf.{served.setup.domain} -all"')]
    found = [(d["state"], d["name"], d["type"], d["data"]) for d in lines]
    assert all(w in found for w in wanted) and len(found) == 4, found
    assert f"+ {name} A {first}\n" in served.run("zone", "--diff", code=1)

    served.server.stop()
    served.config.write_text(served.config.read_text().replace("timeout = 5s", "timeout = 1s"))
    lines = [json.loads(line) for line in served.run("zone", "--diff", "--json", code=3).splitlines()]
    assert {d["state"] for d in lines} == {"unknown"} and len(lines) == len({(r["name"], r["type"]) for r in served.records})
    served.server.start()


@pytest.mark.parametrize("planned", ["no servers", "zones of one's own", "by exists"], indirect=True)
def test_check_as_receivers_do(served):
    """Nothing is wrong with what is planned; then a PTR is missing, relayed mail is let through, and the server is gone."""
    def check(code):
        return {(f["status"], f["code"], f["subject"]): f for f in map(json.loads, served.run("check", "--json", code=code).splitlines())}

    customers = {("fault", "no-sender-dns", d) for d in ("contoso.com", "fabrikam.com")} | {("fault", "no-dkim", "contoso.com")}
    assert set(check(1)) <= customers
    if "exists:" in str(served.data("spf.example.net.", "TXT")):
        return

    served.server.stop()
    victim = str(served.setup.rows()[0]["ip"])
    reverse = ipaddress.ip_address(victim).reverse_pointer
    for file in served.zones.values():
        lines = [line for line in file.read_text().splitlines() if not line.startswith(f"{reverse}. ")]
        file.write_text("\n".join(lines).replace('"v=spf1 ip4:', '"v=spf1 ip4:203.0.113.0/28 ip4:') + "\n")
    served.server.start()
    found = check(1)
    include = f"spf.{served.setup.domain}"
    assert set(found) - customers == {("fault", "no-ptr", victim), ("fault", "include-leaks", include)}, found
    assert f"{reverse}. " in found["fault", "no-ptr", victim]["put"] and " PTR mail-" in found["fault", "no-ptr", victim]["put"]
    assert f"{include}. " in found["fault", "include-leaks", include]["put"]

    served.server.stop()
    served.config.write_text(served.config.read_text().replace("timeout = 5s", "timeout = 1s"))
    assert {(status, code) for status, code, _ in check(1)} - {("fault", "no-dkim")} == {("unknown", "unanswered")}
    served.server.start()


# BIND listens at addresses of interfaces only.
PRIMARY = {"knot": (zone_server.ZoneServer, SERVER), "bind": (zone_server.Bind, "127.0.0.1")}


class Published:
    """A configuration with a primary of its own, whose zones hold what others put there."""

    def __init__(self, folder, server):
        if not zone_server.available() or (server == "bind" and not zone_server.NAMED.exists()):
            missing(f"{server} or nsupdate is not there (tools/setup test)")
        self.program, self.address = PRIMARY[server]
        self.folder, self.secret = folder, base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
        (folder / "state").mkdir()
        self.key(self.secret)
        self.setup = setup = four_pools(folder, ["192.0.2.64/30", "2001:db8:25:1::7"])
        self.planned = Planned(folder, setup)
        setup.more = (setup.more + "\n").replace("identity {", f'identity {{ primary = "{self.address}@{self.planned.port}"  key = "{folder}/key" ')
        self.planned.write(setup)
        self.ours = sorted({r["zone"] for line in self.planned.run("zone", "--out", folder / "all", "--json").splitlines() for r in [json.loads(line)]
                            if "; All that" in (folder / "all" / r["file"]).read_text()})

    def key(self, secret):
        (self.folder / "key").write_text(f'key "sluice" {{ algorithm hmac-sha256; secret "{secret}"; }};\n')

    def start(self, more="", without=()):
        zones = self.folder / "zones"
        zones.mkdir()
        for name in self.ours:
            (zones / name).write_text(f"{name}. 60 IN SOA ns.example.org. h.example.org. 1 3600 600 86400 60\n{name}. 60 IN NS ns.example.org.\nother.{name}. 60 IN TXT kept\n"
                                      + "".join(f"{line}\n" for line in more.splitlines() if line.split(" ")[0].endswith(f"{name}.")))
        self.primary = self.program(self.folder / "server", self.address, self.planned.port, {n: zones / n for n in self.ours if n not in without}, secret=self.secret).start()
        return self

    def check(self, records):
        for name, rtype in {(r["name"], r["type"]) for r in records}:
            if any(name.endswith(f"{z}.") for z in self.ours) and (rtype != "CNAME" and rtype != "NS"):
                assert {d.lower() for d in self.primary.records(name, rtype)} == {r["data"].lower() for r in records if (r["name"], r["type"]) == (name, rtype)}, (name, rtype)

    def serials(self):
        return {z: self.primary.records(f"{z}.", "SOA") for z in self.ours}


@pytest.mark.parametrize("server", PRIMARY)
def test_publish_with_tsig(folder, server):
    """A primary holds what is planned, and after a change no more than that; what others put there stays."""
    it = Published(folder, server).start()
    planned, primary, setup = it.planned, it.primary, it.setup
    try:
        assert "contoso.com: not sent: it is the customer's" in planned.run("publish")
        it.check(planned.records)
        assert primary.records("mail-bl2on0019.outbound.example.net.", "A") == {"192.0.2.66"}

        setup.pools[0].addresses[""].remove("192.0.2.64/30")
        planned.write(setup)
        planned.records = [json.loads(line) for line in planned.run("plan", "--json").splitlines()]
        planned.run("publish", "--json")
        it.check(planned.records)
        assert not primary.records("mail-bl2on0019.outbound.example.net.", "A")
        assert not primary.records("66.64-30.2.0.192.in-addr.arpa.", "PTR")
        assert all(primary.records(f"other.{z}.", "TXT") == {'"kept"'} for z in it.ours)

        it.key(f"{it.secret[:-8]}AAAAAAA=")
        planned.run("publish", code=1)
        assert "nsupdate failed" in planned.said
    finally:
        primary.stop()


EHLO_NAME = "nam02-bl2-obe.outbound.example.net."
STANDING = f"""{EHLO_NAME} 60 IN TXT "a-verification=of somebody else"
{EHLO_NAME} 60 IN TXT "v=spf1 " "ip4:198.18.0.1 -all"
{EHLO_NAME} 60 IN A 198.18.0.1
spf.example.net. 60 IN TXT "another-verification"
16.16-28.2.0.192.in-addr.arpa. 60 IN PTR old.example.net.
"""


@pytest.mark.parametrize("server", PRIMARY)
def test_publish_takes_away_nothing_of_others(folder, server):
    """Other TXT and A records at names of ours stay; an SPF record there does not, for two are none. What is there is not sent twice."""
    it = Published(folder, server).start(STANDING)
    planned, primary = it.planned, it.primary
    try:
        planned.run("publish")
        for _ in range(2):
            assert primary.records(EHLO_NAME, "TXT") == planned.data("NAM02-BL2-obe.outbound.example.net.", "TXT") | {'"a-verification=of somebody else"'}
            assert primary.records(EHLO_NAME, "A") == planned.data("NAM02-BL2-obe.outbound.example.net.", "A") | {"198.18.0.1"}
            assert primary.records("spf.example.net.", "TXT") == planned.data("spf.example.net.", "TXT") | {'"another-verification"'}
            assert primary.records("16.16-28.2.0.192.in-addr.arpa.", "PTR") == {"mail-bl2on0001.outbound.example.net."}
            it.setup.pools[0].addresses[""] = it.setup.pools[0].addresses[""][:2]  # changes the SPF records
            planned.write(it.setup)
            planned.records = [json.loads(line) for line in planned.run("plan", "--json").splitlines()]
            planned.run("publish")
        before = it.serials()
        planned.run("publish")
        assert it.serials()["example.net"] == before["example.net"]
    finally:
        primary.stop()


@pytest.mark.parametrize("server", PRIMARY)
def test_publish_says_which_zone_failed(folder, server):
    """One zone is not there: the others are sent all the same, it is said which one was not, and the next time nothing is forgotten."""
    it = Published(folder, server).start(without=["16-28.2.0.192.in-addr.arpa"])
    try:
        ran = it.planned.run("publish", code=1)
        assert "sluice: 16-28.2.0.192.in-addr.arpa: nsupdate failed" in it.planned.said
        assert "\nexample.net: " in "\n" + ran and "16-28" not in ran
        rows = {r["zone"]: r for r in map(json.loads, it.planned.run("publish", "--json", code=1).splitlines())}
        assert {z for z, r in rows.items() if not r["done"]} == {"16-28.2.0.192.in-addr.arpa"} and rows["example.net"]["why"] is None and set(rows) == set(it.ours)
        memory = (folder / "state/dns-published").read_text()
        it.primary.stop()
        it.planned.run("publish", code=1)  # nobody there
        assert (folder / "state/dns-published").read_text() == memory
        it.primary.start()
    finally:
        it.primary.stop()


def big(scatter):
    """Four sites with 65,536 addresses."""
    pools = [("normal", "on", "published", 0, 32), ("high-risk", "hn", "published", 32, 16), ("relay", "rl", "unpublished", 48, 8), ("high-risk-relay", "rh", "unpublished", 56, 8)]

    def addresses(site, first, count):
        if not scatter:
            return [f"10.{site}.{first}.0-10.{site}.{first + count - 1}.255"]
        return [f"10.{site}.{2 * first + n // 128}.{n % 128 * 2}" for n in range(count * 256)]

    return Setup({f"s{i}": f"s{i}.outbound.example.net" for i in range(4)}, [
        Pool(name, code, spf_, {f"s{i}": addresses(i, first, count) for i in range(4)}) for name, code, spf_, first, count in pools], NAME_SERVERS + '\nhere = "s0"')


@pytest.mark.parametrize("scatter", [False, True])
def test_the_largest_configuration(folder, scatter):
    """Processor time: this machine may be busy. Sanitizers take theirs."""
    seconds = 2.0 * (6 if b"__asan_init" in pathlib.Path(places.program("sluice")).read_bytes() else 1)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    planned = Planned(folder, big(scatter))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{len(planned.records)} records in {took:.2f} s")
    assert sum(r["type"] == "PTR" for r in planned.records) == 65536
    assert took < seconds, took


def test_bad_words(folder):
    planned = Planned(folder, four_pools(folder))
    for words in (["plam"], [], ["plan", "more"], ["plan", "--out", "x"], ["publish", "--diff"], ["zone"], ["zone", "--out", folder / "a", "--nsupdate"]):
        planned.run(*words, code=2)
        assert "sluice:" in planned.said
    planned.run("publish", code=2)
    assert "primary" in planned.said
    planned.run("zone", "--out", folder / "no" / "such", code=1)
    assert "No such file" in planned.said
    planned.config.write_text(planned.config.read_text().replace("{n}", ""))
    planned.run("plan", code=2)
    assert "needs {n}" in planned.said
