"""Which addresses rest, as a real daemon asks a DNS that the test makes up: listed ones, unconfirmed ones; and who never does, whatever
the DNS says."""
import contextlib
import ipaddress
import json
import subprocess

from lab.client import GTUBE, message
from lab.name_server import SILENT, NameServer
from lab.waiting import until
from lab.world import ON_PREM, world_inside, zone

ALICE, BOB = "alice@contoso.test", "bob@fabrikam.test"
NORMAL, OTHER, V6, RISKY = "192.0.2.17", "192.0.2.18", "2001:db8:25::10", "198.51.100.9"
FAST = 'every = 1s  gap = 10ms  defaults = no'
BL = 'blocklist "The List" { zone = "bl.test"  families = {ipv4, ipv6}  codes = {"127.0.0.2 lists a source of spam"}  removal = "https://bl.test/remove?ip=%" }'


def reverse(ip):
    return ipaddress.ip_address(ip).reverse_pointer


def entry(ip, zone="bl.test"):
    return reverse(ip).rsplit(".", 2)[0] + "." + zone


class Internet:
    """The names of the world, a reverse tree with its SOA, and a list that does its work."""

    def __init__(self):
        self.ns = NameServer()
        self.ns.load(zone())
        self.ns.load("in-addr.arpa. IN SOA a.in-addr-servers.arpa. nstld.iana.org. 1 1800 900 604800 3600\n"
                     "ip6.arpa. IN SOA b.ip6-servers.arpa. nstld.iana.org. 1 1800 900 604800 3600\n")
        self.open_list("bl.test")

    def open_list(self, name):
        """RFC 5782 5: 127.0.0.2 is on it, 127.0.0.1 is not."""
        self.ns.put(f"2.0.0.127.{name}", "A", "127.0.0.2")
        self.ns.put("2.0.0.0.0.0.f.7.f.f.f.f." + "0." * 20 + name, "A", "127.0.0.2")

    def list(self, ip, text="Listed by hand, see https://bl.test/why"):
        self.ns.put(entry(ip), "A", "127.0.0.2")
        self.ns.put(entry(ip), "TXT", f'"{text}"')

    def delist(self, ip):
        self.ns.put(entry(ip), "A")
        self.ns.put(entry(ip), "TXT")

    def name(self, ip, name):
        self.ns.put(reverse(ip), "PTR", name + ".")
        self.ns.put(name, "AAAA" if ":" in ip else "A", ip)

    def dns(self):
        return f'servers = {{"127.0.0.1@{self.ns.port}"}}  timeout = 1s'


@contextlib.contextmanager
def watched(folder, extra, normal=(NORMAL, OTHER), **settings):
    """A world at addresses of the Internet, which asks the Internet above."""
    for ip in (NORMAL, OTHER, RISKY, V6):
        subprocess.run(["ip", "addr", "add", f"{ip}/{128 if ':' in ip else 32}", "dev", "lo", *(["nodad"] if ":" in ip else [])], check=True)
    net = Internet()
    with world_inside(folder, pools={"normal": list(normal), "high-risk": [RISKY]}, dns=net.dns(), extra=extra, **settings) as world:
        world.net = net
        world.host("fabrikam.test")
        yield world
    net.ns.stop()


def send(world, risky=False, subject="x"):
    with world.connector(ON_PREM) as client:
        return client.send(ALICE, BOB, message(ALICE, BOB, subject, GTUBE if risky else b"x\r\n"))


def sources(world):
    return {r["ip"]: r for r in world.daemon.rows("source")}


def state(world, ip):
    return sources(world)[ip]["state"]


def rests(world, ip, why=""):
    return until(lambda: state(world, ip) == "resting" and why in sources(world)[ip]["why"], what=lambda: f"{ip} rests for {why}: {sources(world)[ip]}\n" + "\n".join(world.daemon.lines[-20:]))


def healthy(world, *ips):
    return until(lambda: all(state(world, ip) == "healthy" for ip in ips), what=lambda: f"{ips} are healthy: {sources(world)}")


def seen(world):
    return [m.source for m in world.hosts["fabrikam.test"].messages]


def listed(folder):
    with watched(folder, f"blocklists {{ {FAST} }}\n{BL}") as world:
        net, daemon = world.net, world.daemon
        net.list(NORMAL)
        net.list(RISKY)
        world.start("fabrikam.test")
        rests(world, NORMAL, "listed by The List: Listed by hand, see https://bl.test/why")
        daemon.wait_log(f"listed source={RISKY}")
        for i in range(4):
            send(world)
        send(world, risky=True)
        world.receiver.wait(lambda: len(seen(world)) == 5)
        assert sorted(seen(world)) == [OTHER] * 4 + [RISKY], seen(world)
        assert state(world, RISKY) == "healthy"
        daemon.wait_log(f"source-listed.*{NORMAL}")
        # Both: the mail waits, and says why.
        net.list(OTHER)
        rests(world, OTHER)
        waiting = send(world, subject="waits")
        rows = until(lambda: [e for e in daemon.events(waiting) if e["event"] == "DEFER"])
        assert f"pool normal: every address of the pool rests: {NORMAL}: listed by The List: Listed by hand" in rows[0]["reply"], rows
        assert "; 1 other rests" in rows[0]["reply"]
        assert any("listed by The List" in (r["why"] or "") for r in daemon.rows("queue")), daemon.rows("queue")
        # A restart forgets nothing, though nobody can be asked.
        net.ns.rules.append(lambda name, rtype: SILENT if name.endswith("bl.test") else None)
        daemon.stop()
        since = daemon.mark()
        daemon.start()
        assert state(world, NORMAL) == state(world, OTHER) == "resting" and "Listed by hand" in sources(world)[OTHER]["why"]
        daemon.wait_log("blocklist is not believed", since=since)
        assert state(world, NORMAL) == "resting"
        # Delisted: back by itself.
        net.ns.rules.clear()
        net.delist(OTHER)
        daemon.wait_log(f"delisted source={OTHER}", since=since)
        healthy(world, OTHER)
        world.receiver.wait(lambda: len(seen(world)) == 6)
        assert seen(world)[-1] == OTHER
        net.delist(NORMAL)
        healthy(world, NORMAL, OTHER)
        assert seen(world).count(NORMAL) == 0


def test_listed_rests_in_normal_and_comes_back(in_namespace):
    in_namespace(listed)
