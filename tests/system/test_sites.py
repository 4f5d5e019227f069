"""Several sites share one configuration; each node says where it stands (`here`). Its mail leaves from its own site's addresses, with its
site's name in EHLO, and all nodes agree on what has to be in the DNS."""
import threading

import pytest

from conftest import missing
from lab import places, zone_server
from lab.client import Client, message
from lab.daemon import Daemon
from lab.receiver import Receiver
from lab.strict import SERVER, Strict

RECEIVERS = {"fabrikam.test": "127.0.10.1", "tailspin.test": "127.0.10.2", "woodgrove.test": "127.0.10.3"}
SITES = {"dub": 4, "ams": 5}  # 127.0.N.x
CLASSES = {"normal": ("on", 16), "high-risk": ("hn", 32), "relay": ("rl", 48), "high-risk-relay": ("rh", 64)}

SHARED = """
{sites}
pool "normal"          {{ class = "on" }}
pool "high-risk"       {{ class = "hn"  ehlo = ptr }}
pool "relay"           {{ class = "rl"  spf = unpublished }}
pool "high-risk-relay" {{ class = "rh"  spf = hidden }}
identity {{ name-servers = {{"ns.sluice.test {server}"}}  ttl = 1s }}
tenant "contoso" {{ domains = {{"contoso.test"}}  connector "c" {{ addresses = {{"127.0.3.1"}} }} }}
destination "insists" {{ domains = {{"tailspin.test"}}  ehlo = ptr }}
destination "plain"   {{ domains = {{"woodgrove.test"}}  ehlo = site }}
delivery {{ port = {delivery_port}  allow-private = true  messages-per-connection = 1  first-retry = 1s  max-retry = 2s }}
dns {{ servers = {{"{server}@{dns_port}"}}  timeout = 5s }}
"""


def addresses(site, pool="normal"):
    return {f"127.0.{SITES[site]}.{CLASSES[pool][1] + n}" for n in range(2)}


class Nodes:
    def __init__(self, folder):
        self.folder, self.judging = folder, threading.Lock()
        self.delivery_port, self.dns_port = places.free_port(*RECEIVERS.values()), places.free_port(SERVER)
        sites = "\n".join(f'site "{site}" {{ ehlo = "{site}.out.sluice.test"  ptr = "mail-{site}{{class}}{{n}}.sluice.test"\n' + "\n".join(
            f'  pool "{pool}" {{ addresses = {{"127.0.{net}.{at}/31"}} }}' for pool, (_, at) in CLASSES.items()) + "\n}" for site, net in SITES.items())
        secret = folder / "ownership.secret"  # else each node has tokens of its own
        secret.write_text("ab" * 32 + "\n")
        secret.chmod(0o600)
        (folder / "shared.conf").write_text(f'tenants {{ secret = "{secret}" }}\n' + SHARED.format(sites=sites, server=SERVER, delivery_port=self.delivery_port, dns_port=self.dns_port))
        self.ports, self.daemons = {}, {}
        for site in SITES:
            (folder / site).mkdir()
            self.ports[site] = places.free_port()
            self.daemons[site] = Daemon(folder / site, f"""node = "mta1.{site}.sluice.test"
here = "{site}"
state = "state"
include("../shared.conf")
listener "relay" {{ bind = {{"127.0.0.1:{self.ports[site]}"}}  auth = none }}
api {{ socket = "api.sock" }}
""")
        self.receiver = Receiver(self.delivery_port)
        self.hosts = {}

    def insists(self, domain, *demands):
        strict = Strict(self, demands)
        self.hosts[domain] = self.receiver.host(RECEIVERS[domain], name=f"mx.{domain}", script={"mail": strict.judge})
        return strict

    def publish(self):
        zones = self.folder / "zones"
        files = {w["zone"]: zones / w["file"] for w in self.daemons["dub"].rows("dns", "zone", "--out", str(zones))}
        files["contoso.test"].write_text(files["contoso.test"].read_text() + "contoso.test. 60 IN MX 10 mx.contoso.test.\n")
        for domain, address in RECEIVERS.items():
            files[domain] = zones / domain
            files[domain].write_text(f"{domain}. 60 SOA ns.{domain}. h.{domain}. 1 3600 600 86400 1\n{domain}. 60 NS ns.{domain}.\nns.{domain}. 60 A {SERVER}\n"
                                     f"{domain}. 60 MX 10 mx.{domain}.\nmx.{domain}. 60 A {address}\n")
        self.server = zone_server.ZoneServer(self.folder / "knot", SERVER, self.dns_port, files).start()

    def send(self, site, to, sender="alice@contoso.test"):
        with Client("127.0.0.1", self.ports[site], source="127.0.3.1") as client:
            trace_id = client.send(sender, to, message(sender, to), recipient_parameters="NOTIFY=NEVER")
        row = self.daemons[site].trace_of(trace_id)[to]
        assert row["status"] == "Delivered", row
        return row

    def close(self):
        try:
            for daemon in self.daemons.values():
                daemon.stop()
        finally:
            for daemon in self.daemons.values():
                daemon.kill()
            self.receiver.close()
            self.server.stop()


@pytest.fixture
def nodes(folder):
    if not zone_server.available():
        missing("knotd, named-checkzone, kzonecheck or nsupdate is not installed")
    nodes = Nodes(folder)
    yield nodes
    nodes.close()


def test_two_nodes_one_configuration(nodes):
    fab, tail, wood = (nodes.insists(d, *demands) for d, demands in (("fabrikam.test", ("fcrdns", "helo-resolves", "helo-spf", "spf")),
                                                                     ("tailspin.test", ("fcrdns", "helo-is-ptr", "helo-spf")), ("woodgrove.test", ("fcrdns", "helo-spf"))))
    nodes.publish()
    plans = [daemon.cli("dns", "plan", "--json") for daemon in nodes.daemons.values()]
    assert plans[0] == plans[1] and all(f'"{site}.out.sluice.test.","type":"TXT"' in plans[0] for site in SITES)
    for daemon in nodes.daemons.values():
        daemon.start()
    # Of the other site's addresses a node knows the names; what is watched there it does not claim to know.
    shown = nodes.daemons["dub"].cli("source", "show", sorted(addresses("ams"))[0])
    assert "elsewhere" in shown and "by the nodes of its own site" in shown and "not required" not in shown, shown
    for site in SITES:
        ehlo = f"{site}.out.sluice.test"
        for receiver in (fab, tail, wood):
            receiver.seen.clear()
        for _ in range(2):
            for domain in RECEIVERS:
                nodes.send(site, f"bob@{domain}")
        for receiver in (fab, tail, wood):
            assert {s.source for s in receiver.seen} == addresses(site) and {(s.helo_spf, s.spf) for s in receiver.seen} == {("pass", "pass")}, receiver.seen
        assert {s.ehlo for s in fab.seen + wood.seen} == {ehlo} and all(s.helo_is_ptr and s.ptr.startswith(f"mail-{site}on") for s in tail.seen)
        # Reports: another pool, which says its PTR names, but for a destination that wants the site's.
        fab.seen.clear(), wood.seen.clear()
        for _ in range(2):
            nodes.send(site, "bob@fabrikam.test", "")
            nodes.send(site, "bob@woodgrove.test", "")
        assert {s.source for s in fab.seen} == addresses(site, "high-risk") and all(s.helo_is_ptr and s.spf == "pass" for s in fab.seen), fab.seen
        assert {s.ehlo for s in wood.seen} == {ehlo} and {s.spf for s in wood.seen} == {"pass"}, wood.seen
        told = nodes.daemons[site].rows("explain", "--from", "alice@contoso.test", "--to", "bob@tailspin.test", "--client", "127.0.3.1", str(mail(nodes)))[0]
        assert {s["outbound_ip"] for s in told["seen_by_receivers"]} == addresses(site) and all(s["ptr"] == s["ehlo"] for s in told["seen_by_receivers"])
    assert not nodes.receiver.faults


def mail(nodes):
    (nodes.folder / "m.eml").write_bytes(message("alice@contoso.test", "bob@tailspin.test"))
    return nodes.folder / "m.eml"


def test_a_node_has_to_say_where_it_is(nodes):
    """Without `here` it can't be known whose addresses are its own; another's addresses need not be on this host."""
    nodes.publish()
    daemon = nodes.daemons["dub"]
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace('here = "dub"\n', ""))
    ran = daemon.run("check")
    assert ran.returncode == 1 and "`here` must say" in ran.stdout, ran
    shared = (nodes.folder / "shared.conf").read_text()
    (nodes.folder / "shared.conf").write_text(shared.replace("127.0.5.", "192.0.2."))
    daemon.config.write_text(text)
    daemon.start()
    other = nodes.daemons["ams"]
    other.start(wait=False)
    assert other.wait() == 78 and any("can't send from 192.0.2.16" in line for line in other.lines), other.lines[-5:]
    other.process = None
