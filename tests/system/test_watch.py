"""Which addresses rest, as a real daemon asks a DNS that the test makes up: listed ones, unconfirmed ones; and who never does, whatever
the DNS says."""
import contextlib
import datetime
import ipaddress
import json
import subprocess

from conftest import missing
from lab import places, zone_server
from lab.client import GTUBE, message
from lab.name_server import SILENT, NameServer
from lab.waiting import until
from lab.world import ON_PREM, world_inside, zone

ALICE, BOB = "alice@contoso.test", "bob@fabrikam.test"
NORMAL, OTHER, V6, RISKY = "192.0.2.17", "192.0.2.18", "2001:db8:25::10", "198.51.100.9"
NOT_ASKED = "identity { require = none }\n"
GATE = "identity { require = fcrdns  recheck = 1s }"
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
        self.ns.put(entry(ip), "TXT", f'"{text}"')  # first: the address is what is waited for
        self.ns.put(entry(ip), "A", "127.0.0.2")

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
    with world_inside(folder, **{"pools": {"normal": list(normal), "high-risk": [RISKY]}, "dns": net.dns(), "extra": extra, **settings}) as world:
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
    with watched(folder, NOT_ASKED + f"blocklists {{ {FAST} }}\n{BL}") as world:
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
        shown = daemon.rows("source", "show", NORMAL)[0]
        (bl,) = shown["lists"]
        assert (bl["list"], bl["state"], bl["text"], bl["removal"], bl["rests"]) == ("The List", "listed", "Listed by hand, see https://bl.test/why", f"https://bl.test/remove?ip={NORMAL}", True), bl
        assert (shown["pool"], shown["state"], shown["causes"], shown["listed"], shown["when_listed"], shown["fcrdns"]["state"]) == ("normal", "resting", "listed", 1, "rest", "not required"), shown
        text = daemon.cli("source", "show", NORMAL)
        assert all(w in text for w in ("resting", "Listed by hand", "https://bl.test/remove?ip=192.0.2.17", "mail-bl2on0001.sluice.test")), text
        risky = daemon.rows("source", "show", RISKY)[0]
        assert (risky["state"], risky["causes"], risky["listed"], risky["when_listed"], risky["why"]) == ("healthy", None, 1, "stay", "on The List, and stays"), risky
        status = daemon.rows("status")[0]
        assert (status["sources_listed"], status["blocklists"], status["blocklists_answering"], status["sources_unconfirmed"]) == (2, 1, 1, 0), status
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
        history = until(lambda: len(daemon.rows("source", "show", NORMAL)[0]["history"]) == 4 and daemon.rows("source", "show", NORMAL)[0]["history"])
        assert [(c["event"], c["by"]) for c in reversed(history)] == [("listed", "The List"), ("rests", "listed"), ("delisted", "The List"), ("usable", "listed")], history
        assert history[-1]["text"] == "Listed by hand, see https://bl.test/why"
        assert [c["event"] for c in daemon.rows("source", "show", RISKY)[0]["history"]] == ["listed"]
        assert "delisted by The List" in daemon.cli("source", "show", NORMAL)
        (alert,) = until(lambda: [a for a in daemon.rows("source", "show", NORMAL)[0]["alerts"] if a["ended"]])
        assert alert["alert"] == "source-listed" and "Listed by hand" in alert["text"], alert


def knot(folder):
    """The same of a real server: an IPv6 address on a list, an IPv4 one whose PTR goes; then the address leaves the configuration while the
    daemon is down, and its alert is over."""
    port, soa = places.free_port("127.0.0.1"), "@ 1 SOA ns.test. root.ns.test. 1 3600 600 86400 1\n@ 1 NS ns.test.\n"
    zones = {"test": "".join(f"{line}\n" for line in zone().splitlines() if " IN " in line).replace(" IN ", " 1 IN ") + "mail1.sluice.test. 1 A 192.0.2.17\nmail2.sluice.test. 1 A 192.0.2.18\nmail3.sluice.test. 1 AAAA 2001:db8:25::10\nmail4.sluice.test. 1 A 198.51.100.9\n",
             "bl.example": "2.0.0.127 1 A 127.0.0.2\n2.0.0.0.0.0.f.7.f.f.f.f" + ".0" * 20 + " 1 A 127.0.0.2\n", "in-addr.arpa": "", "ip6.arpa": "",
             "2.0.192.in-addr.arpa": "17 1 PTR mail1.sluice.test.\n18 1 PTR mail2.sluice.test.\n", "100.51.198.in-addr.arpa": "9 1 PTR mail4.sluice.test.\n",
             "wild.example": "* 1 A 127.0.0.2\n2.0.0.127 1 A 127.0.0.2\n", "8.b.d.0.1.0.0.2.ip6.arpa": f"{reverse(V6)}. 1 PTR mail3.sluice.test.\n"}
    for name, text in zones.items():
        (folder / f"{name}.zone").write_text(f"$ORIGIN {name}.\n" + soa + text)
    server = zone_server.ZoneServer(folder / "knot", "127.0.0.1", port, {name: folder / f"{name}.zone" for name in zones}, update=True).start()

    def update(*lines):
        subprocess.run(["nsupdate"], input="\n".join([f"server 127.0.0.1 {port}", *lines, "send", ""]), text=True, check=True)

    extra = GATE + f"""
        blocklists {{ {FAST} }}
        blocklist "Knot" {{ zone = "bl.example"  families = {{ipv4, ipv6}} }}
        blocklist "Wild" {{ zone = "wild.example" }}"""
    try:
        with watched(folder, extra, normal=(NORMAL, OTHER, V6), dns=f'servers = {{"127.0.0.1@{port}"}}  timeout = 2s') as world:
            daemon = world.daemon
            world.start("fabrikam.test")
            until(lambda: all(daemon.rows("source", "show", ip)[0]["fcrdns"]["state"] == "confirmed" for ip in (NORMAL, OTHER, V6, RISKY)))
            daemon.wait_log("blocklist answers as it should list=Knot")
            daemon.wait_log('blocklist is not believed list=Wild why="it lists everything"')  # though 127.0.0.1 is not on it: the name of 127.0.0.2 ends the wildcard
            update(f"update add {entry(V6, 'bl.example')}. 1 A 127.0.0.4", f'update add {entry(V6, "bl.example")}. 1 TXT "an infected host, {V6}"')
            update(f"update delete {reverse(NORMAL)}. PTR")
            rests(world, V6, f"listed by Knot: an infected host, {V6}")
            rests(world, NORMAL, "not forward-confirmed: it has no PTR record")
            for _ in range(3):
                send(world)
            world.receiver.wait(lambda: len(seen(world)) == 3)
            assert set(seen(world)) == {OTHER}
            update(f"update delete {entry(V6, 'bl.example')}. ANY")
            healthy(world, V6, OTHER)
            daemon.stop()
            world.settings["pools"]["normal"] = [OTHER, V6]
            world.rewrite()
            daemon.start()
            until(lambda: {(a["subject"], a["state"]) for a in daemon.rows("alerts") if a["kind"].startswith("source-") and not a["subject"].startswith("127.")} == {(NORMAL, "over"), (V6, "over")}, what=lambda: daemon.rows("alerts"))
    finally:
        server.stop()


def test_a_real_server(in_namespace):
    if not zone_server.available():
        missing("knotd or nsupdate is not installed")
    in_namespace(knot)


def test_listed_rests_in_normal_and_comes_back(in_namespace):
    in_namespace(listed)


class Lying:
    """What a list says instead of doing its work."""
    EVERYTHING = staticmethod(lambda name: "127.0.0.2")
    TOO_MUCH = staticmethod(lambda name: "127.255.255.255")
    OPEN_RESOLVER = staticmethod(lambda name: "127.255.255.254")
    NOT_OURS = staticmethod(lambda name: "203.0.113.80")
    GONE = staticmethod(lambda name: "NXDOMAIN")
    BROKEN = staticmethod(lambda name: "SERVFAIL")
    WILDCARD = staticmethod(lambda name: "NXDOMAIN" if name.startswith(("1.0.0.127.", "1.0.0.0.0.0.f.7.f.f.f.f.")) else "127.0.0.2")


LIARS = {"everything": (Lying.EVERYTHING, "it lists everything"), "too-much": (Lying.TOO_MUCH, "it was asked too much"),
         "open": (Lying.OPEN_RESOLVER, "it does not answer public resolvers"), "parked": (Lying.NOT_OURS, "it answers with an address of the Internet"),
         "gone": (Lying.GONE, "the list is gone"), "broken": (Lying.BROKEN, ""), "wildcard": (Lying.WILDCARD, "it lists everything")}


def liars(folder):
    """Seven lists that lie each in its way, and one that starts to after a while: nobody rests, each is said once, and left alone."""
    lists = "".join(f'blocklist "{n}" {{ zone = "{n}.test"  families = {{ipv4, ipv6}} }}\n' for n in LIARS)
    with watched(folder, NOT_ASKED + f"blocklists {{ {FAST} }}\n{BL}\n{lists}", normal=(NORMAL, OTHER, V6)) as world:
        net, daemon = world.net, world.daemon
        net.ns.rules.append(lambda name, rtype: next((lie(name) for n, (lie, _) in LIARS.items() if name.endswith(f".{n}.test")), None))
        world.start("fabrikam.test")
        for n in LIARS:
            daemon.wait_log(f"blocklist is not believed list={n}")
        daemon.wait_log('blocklist answers as it should list="The List"')
        # The good one turns bad: what is listed stays, what is not is not.
        net.list(V6, "an IPv6 listing")
        rests(world, V6, "listed by The List: an IPv6 listing")
        net.ns.rules.append(lambda name, rtype: "127.0.0.2" if name.endswith(".bl.test") else None)
        daemon.wait_log('blocklist is not believed list="The List" why="it lists everything"')
        for _ in range(4):
            send(world)
        world.receiver.wait(lambda: len(seen(world)) == 4)
        assert set(seen(world)) <= {NORMAL, OTHER}
        assert state(world, V6) == "resting" and state(world, NORMAL) == state(world, OTHER) == "healthy"
        shown = {l["list"]: l for l in daemon.rows("source", "show", NORMAL)[0]["lists"]}
        for n, (_, why) in LIARS.items():
            assert shown[n]["state"] == "not believed" and why in shown[n]["why"], shown[n]
        metrics = dict(line.rsplit(" ", 1) for line in daemon_metrics(world) if not line.startswith("#"))
        assert metrics['sluice_source_resting{pool="normal"}'] == "1" and metrics["sluice_sources_listed"] == "1"
        assert metrics['sluice_blocklist_answering{list="gone"}'] == "0" and metrics['sluice_blocklist_listed{list="The List"}'] == "1"
        assert len([line for line in daemon.lines if "is not believed list=gone" in line]) == 1
        # Polite: a list that refuses is asked again after a round, then after two, ...
        assert len(net.ns.asked(r"too-much\.test$")) < 12
        # No longer watched: whoever rested for it wakes.
        world.rewrite(extra=NOT_ASKED + "blocklists { watch = no }")
        daemon.cli("reload")
        healthy(world, NORMAL, OTHER, V6)
        assert daemon.rows("source", "show", V6)[0]["lists"] == []


def daemon_metrics(world):
    import http.client
    import socket
    connection = http.client.HTTPConnection("sluice")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(world.folder / "state/api.sock"))
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode().splitlines()


def test_lists_that_lie_rest_nobody(in_namespace):
    in_namespace(liars)


def gate(folder):
    with watched(folder, GATE + "\nblocklists { watch = no }", normal=(NORMAL, OTHER, V6)) as world:
        net, daemon = world.net, world.daemon
        for n, ip in enumerate((NORMAL, OTHER, V6, RISKY)):
            net.name(ip, f"mail{n}.sluice.test")
        net.ns.rules.append(lambda name, rtype: "SERVFAIL" if name.startswith("127.in-addr") else None)
        world.start("fabrikam.test")
        until(lambda: daemon.rows("source", "show", V6)[0]["fcrdns"]["state"] == "confirmed")
        assert daemon.rows("source", "show", NORMAL)[0]["fcrdns"]["name"] == "mail0.sluice.test"
        # One loses its PTR, one of IPv6 its way back: they rest, the mail leaves from the other.
        net.ns.put(reverse(NORMAL), "PTR")
        net.ns.put("mail2.sluice.test", "AAAA", "2001:db8:25::99")
        rests(world, NORMAL, "not forward-confirmed: it has no PTR record")
        rests(world, V6, "not forward-confirmed: its PTR name mail2.sluice.test has other addresses")
        for _ in range(4):
            send(world)
        world.receiver.wait(lambda: len(seen(world)) == 4)
        assert set(seen(world)) == {OTHER}
        daemon.wait_log(f"source-unconfirmed.*{NORMAL}")
        shown = daemon.rows("source", "show", NORMAL)[0]
        assert (shown["causes"], shown["fcrdns"]["state"], shown["fcrdns"]["why"]) == ("unconfirmed", "denied", "it has no PTR record"), shown
        # Everything is denied, the witness too; then all is silent: nobody else rests.
        net.ns.rules.insert(0, lambda name, rtype: "NXDOMAIN" if name.endswith(".arpa") else None)
        until(lambda: daemon.rows("source", "show", OTHER)[0]["fcrdns"]["state"] == "doubted", what=lambda: daemon.rows("source", "show", OTHER)[0]["fcrdns"])
        asked = len(net.ns.asked(reverse(OTHER)))
        until(lambda: len(net.ns.asked(reverse(OTHER))) > asked + 2)
        net.ns.rules[0] = lambda name, rtype: SILENT if name.endswith(".arpa") else None
        asked = len(net.ns.asked(reverse(OTHER)))
        until(lambda: len(net.ns.asked(reverse(OTHER))) > asked)
        assert state(world, OTHER) == "healthy" and state(world, NORMAL) == "resting"
        # What was known is known after a restart, and a damaged memory is no reason not to start.
        daemon.stop()
        daemon.start()
        assert state(world, NORMAL) == "resting" and "it has no PTR record" in sources(world)[NORMAL]["why"]
        daemon.stop()
        memory = folder / "state/watch.json"
        assert {n["ip"] for n in json.loads(memory.read_text())["notes"]} >= {NORMAL, V6}
        good = memory.read_text()
        memory.write_text(good[: len(good) // 2])
        since = daemon.mark()
        daemon.start()
        daemon.wait_log("knew can't be read: it asks anew", since=since)
        assert not [line for line in daemon.lines[since:] if "over alert=source-unconfirmed" in line], "nothing is over because nothing is known"
        assert state(world, NORMAL) == "healthy" and (folder / "state/watch.json.damaged").read_text() == good[: len(good) // 2]
        daemon.stop()
        memory.write_text(good)
        daemon.start()
        # The DNS is right again: back by themselves, first one, then by a reload the other.
        net.ns.rules.pop(0)
        net.name(NORMAL, "mail0.sluice.test")
        healthy(world, NORMAL)
        assert state(world, V6) == "resting"
        world.rewrite(extra="identity { require = none }\nblocklists { watch = no }")
        daemon.cli("reload")
        healthy(world, V6)


def test_unconfirmed_addresses_rest_and_a_dead_resolver_rests_nobody(in_namespace):
    in_namespace(gate)


def moved(folder):
    """A reload gives the address that is listed to another pool: at once it rests there, and open connections of it are no way out."""
    with watched(folder, NOT_ASKED + f"blocklists {{ {FAST} }}\n{BL}", normal=(OTHER,)) as world:
        net, daemon = world.net, world.daemon
        net.list(RISKY)
        world.start("fabrikam.test")
        daemon.wait_log(f"listed source={RISKY}")
        send(world, risky=True)
        world.receiver.wait(lambda: seen(world) == [RISKY])
        world.settings["pools"] = {"normal": [RISKY, OTHER], "high-risk": [NORMAL]}
        world.rewrite()
        daemon.cli("reload")
        assert state(world, RISKY) == "resting" and state(world, NORMAL) == "healthy"
        for _ in range(3):
            send(world)
        world.receiver.wait(lambda: len(seen(world)) == 4)
        assert seen(world)[1:] == [OTHER] * 3
        # Back again: it stays listed, and sends.
        world.settings["pools"] = {"normal": [OTHER], "high-risk": [RISKY]}
        world.rewrite()
        daemon.cli("reload")
        assert state(world, RISKY) == "healthy" and sources(world)[RISKY]["listed"] == 1
        send(world, risky=True)
        world.receiver.wait(lambda: len(seen(world)) == 5)
        assert seen(world)[4] == RISKY


def test_a_reload_moves_a_listed_address(in_namespace):
    in_namespace(moved)


def test_names_of_a_zone_file(make_world):
    """Where a zone file answers, `require = fcrdns` is heeded for private addresses too, when it is written: one that the file does not
    confirm rests, without any other witness than those that are right; and nobody asks a blocklist."""
    pools = {"normal": "127.0.1.16/30", "high-risk": "127.0.1.32", "relay": "127.0.1.48", "high-risk-relay": "127.0.1.64"}
    addresses = [f"127.0.1.{n}" for n in (16, 17, 18, 19, 32, 48, 64)]
    records = "".join(f"{reverse(ip)}. IN PTR mail{n}.sluice.test.\nmail{n}.sluice.test. IN A {ip}\n" for n, ip in enumerate(addresses) if not ip.endswith(".18"))
    world = make_world(pools=pools, extra="identity { require = fcrdns  recheck = 1s }")
    (world.folder / "zone").write_text(zone(extra=records + f"{reverse('127.0.1.18')}. IN PTR mail9.sluice.test.\n"))
    world.start("fabrikam.test")
    rests(world, "127.0.1.18", "not forward-confirmed: its PTR name mail9.sluice.test does not exist")
    healthy(world, *(ip for ip in addresses if not ip.endswith(".18")))
    for _ in range(8):
        with world.connector(ON_PREM) as client:
            client.send(ALICE, BOB, message(ALICE, BOB, "x", b"x\r\n"))
    world.receiver.wait(lambda: len(seen(world)) == 8)
    assert "127.0.1.18" not in seen(world)
    assert world.daemon.rows("source", "show", "127.0.1.16")[0]["lists"] == []
    # A list of one's own, in the same file, knows private addresses.
    (world.folder / "zone").write_text(zone(extra=records + "2.0.0.127.bl.test. IN A 127.0.0.2\n17.1.0.127.bl.test. IN A 127.0.0.2\n"))
    world.rewrite(extra=NOT_ASKED + "blocklists { watch = yes  every = 1s  gap = 10ms  defaults = no }\nblocklist \"Own\" { zone = \"bl.test\" }")
    world.daemon.cli("reload")
    rests(world, "127.0.1.17", "listed by Own: listed")
    healthy(world, "127.0.1.18")
    world.rewrite(extra="identity { require = fcrdns  recheck = 1s }")
    (world.folder / "zone").write_text(zone(extra=records + f"{reverse('127.0.1.18')}. IN PTR mail9.sluice.test.\nmail9.sluice.test. IN A 127.0.1.18\n"))
    world.daemon.cli("reload")
    healthy(world, *addresses)


def many(folder):
    """A reverse zone that is gone rests all of it. A hundred addresses have alerts of their own, the rest share one; nothing of it costs the square of their number."""
    count = 2048
    subprocess.run(["ip", "route", "add", "local", "198.51.0.0/21", "dev", "lo"], check=True)
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state/watch.json").write_text(json.dumps({"version": 1, "notes": [
        {"ip": str(ipaddress.ip_address("198.51.0.0") + n), "since": now, "answered": now, "text": "it has no PTR record"} for n in range(count)]}))
    with watched(folder, "identity { require = fcrdns }\nblocklists { watch = no }", normal=("198.51.0.0/21",)) as world:
        daemon = world.daemon
        world.start("fabrikam.test")

        def open_alerts():
            return {r["subject"]: r["text"] for r in daemon.rows("alerts", "--open", "--kind", "source-unconfirmed")}

        until(lambda: len(open_alerts()) == 101, what=lambda: len(open_alerts()))
        told = f"{count - 100} more addresses are not forward-confirmed, beside 100 that have alerts of their own."
        assert open_alerts()["more addresses"] == told
        assert "No other address of pool normal is left" in open_alerts()["198.51.0.0"]
        daemon.stop()
        since = daemon.mark()
        daemon.start()
        until(lambda: len(open_alerts()) == 101, what=lambda: len(open_alerts()))
        daemon.cli("reload")
        assert open_alerts()["more addresses"] == told
        world.rewrite(extra="identity { require = none }\nblocklists { watch = no }")
        daemon.cli("reload")
        until(lambda: not open_alerts(), what=open_alerts)
        assert len([line for line in daemon.lines[since:] if "ALARM" in line]) == 0, "all was told before"
        assert {r["state"] for r in daemon.rows("source", "--pool", "normal")} == {"healthy"}


def test_a_reverse_zone_that_is_gone(in_namespace):
    in_namespace(many)
