"""Receivers that insist on names: forward-confirmed reverse DNS, an EHLO name that resolves, HELO = PTR, SPF of the EHLO name. The DNS is
what `sluice dns zone` wrote, served by knot; who judges are dnspython, pyspf and dkimpy. What explain foretells is what they see."""
import re
import subprocess

import pytest

from conftest import missing
from lab import places, zone_server
from lab.strict import REFUSALS, StrictWorld, both, change, ehlo_by_pool, line
from lab.world import ADDRESSES, EHLO

NORMAL = ADDRESSES["normal"]
FAB, TAIL = "bob@fabrikam.test", "tom@tailspin.test"
FIRST, FIRST_PTR, REVERSE = "127.0.1.16", "mail-bl2on0001.sluice.test", "16.16-30.1.0.127.in-addr.arpa"


@pytest.fixture
def strict(folder):
    if not zone_server.available():
        missing("knotd, named-checkzone, kzonecheck or nsupdate is not installed")
    worlds = []

    def make(**settings):
        place = folder / f"world{len(worlds)}"
        place.mkdir()
        worlds.append(StrictWorld(place, **settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def verdicts(row):
    return {name: c["verdict"] for name, c in row["checks"].items() if c["verdict"] != "pass"}


def check_foretold(world, told, receiver, host):
    """Each connection was as explain said of its address."""
    for seen in receiver.seen:
        row = told[seen.source]
        checks = {name: c["verdict"] for name, c in row["checks"].items()}
        assert (row["ptr"] or "") in seen.ptr.split(",") and row["ehlo"] == seen.ehlo, (row, seen)
        assert (checks["fcrdns"] == "pass") == seen.fcrdns and (checks["ehlo-ptr"] == "pass") == seen.helo_is_ptr, (row, seen)
        assert (checks["ehlo-address"] in ("pass", "note")) == seen.helo_resolves, (row, seen)
        assert (checks["ehlo-spf"] == "pass") == (seen.helo_spf == "pass") and row["spf"] == seen.spf, (row, seen)
    for got in host.messages:
        assert world.signature(got.data) == (told[got.source]["checks"]["dkim"]["verdict"] == "pass"), got.data
    assert not world.receiver.faults


def test_helo_is_ptr_by_destination(strict):
    """The site's EHLO is right for all but those who insist on HELO = PTR; for them there is `destination { ehlo = ptr }`."""
    world = strict()
    fab, tail = world.insists("fabrikam.test", "fcrdns", "helo-resolves", "helo-spf", "spf"), world.insists("tailspin.test", "fcrdns", "helo-is-ptr")
    world.publish()
    world.start()
    told = world.explain(TAIL)
    assert set(told) == NORMAL and all(verdicts(row) == {"ehlo-ptr": "note"} for row in told.values()), told
    assert all("ehlo = ptr" in row["checks"]["ehlo-ptr"]["put"][0] and "HELO = PTR" in row["checks"]["ehlo-ptr"]["demanded_by"] for row in told.values())
    (row,) = world.send(TAIL, expect="Failed")
    assert row["reply"].startswith("550 5.7.1") and row["ehlo"] == EHLO, row
    world.send(FAB, count=4)
    assert {s.source for s in fab.seen} == NORMAL and {s.ehlo for s in fab.seen} == {EHLO}

    world.rewrite(extra=world.settings["extra"] + 'destination "insists" { domains = {"tailspin.test"}  ehlo = ptr }\n')
    world.publish()
    world.daemon.cli("reload")
    tail.seen.clear()
    told = world.explain(TAIL)
    assert all(row["strict"] == "pass" and row["ehlo"] == row["ptr"] for row in told.values()), told
    assert all(row["ehlo"] == EHLO for row in world.explain(FAB).values())
    world.send(TAIL, FAB, count=4)
    assert {s.source for s in tail.seen} == NORMAL and {s.helo_spf for s in tail.seen} == {"pass"} and not any(s.refused for s in tail.seen)
    check_foretold(world, told, tail, world.hosts["tailspin.test"])
    check_foretold(world, world.explain(FAB), fab, world.hosts["fabrikam.test"])


def test_helo_is_ptr_by_pool(strict):
    """Every address says its own name, to everybody, and passes with all that anybody demands; a report too, whose SPF is that of the EHLO name."""
    world = strict(pools=ehlo_by_pool())
    everything = world.insists("tailspin.test", *REFUSALS)
    world.publish()
    world.start()
    told = world.explain(TAIL)
    assert all(row["strict"] == "pass" for row in told.values()), told
    world.send(TAIL, count=4)
    assert {s.source for s in everything.seen} == NORMAL
    check_foretold(world, told, everything, world.hosts["tailspin.test"])
    assert world.daemon.run("dns", "zone", "--diff").returncode == 0
    everything.seen.clear()
    report = world.explain(TAIL, "")
    world.send(TAIL, count=4, sender="")
    assert {s.source for s in everything.seen} == ADDRESSES["high-risk"] == set(report), everything.seen
    assert {(s.spf, s.refused) for s in everything.seen} == {("pass", "")}


def test_site_again_where_the_pool_says_ptr(strict):
    world = strict(pools=ehlo_by_pool(), extra='destination "a" { domains = {"tailspin.test"}  ehlo = site }\ndestination "b" { domains = {"fabrikam.test"}  ehlo = "special.sluice.test" }\n')
    tail, fab = (world.insists(d, "fcrdns", "helo-resolves", "helo-spf", "spf") for d in ("tailspin.test", "fabrikam.test"))
    world.publish()
    world.start()
    for to, receiver, ehlo in ((TAIL, tail, EHLO), (FAB, fab, "special.sluice.test")):
        told = world.explain(to)
        assert {row["ehlo"] for row in told.values()} == {ehlo}
        world.send(to, count=2)
        check_foretold(world, told, receiver, world.hosts[to.split("@")[1]])


# What is done to the zones; what the receiver insists on; the check that explain then fails, and a record that it says to put.
WRONG = {
    "no PTR": (change(line(REVERSE, "PTR")), "fcrdns", "ptr", f"{REVERSE}. 1 PTR {FIRST_PTR}."),
    "PTR to nowhere": (change(line(REVERSE, "PTR"), f"{REVERSE}. 1 IN PTR gone.sluice.test."), "fcrdns", "fcrdns", f"{REVERSE}. 1 PTR {FIRST_PTR}."),
    "no A": (change(line(FIRST_PTR, "A")), "fcrdns", "fcrdns", f"{FIRST_PTR}. 1 A {FIRST}"),
    "another's A": (change(line(FIRST_PTR, "A"), f"{FIRST_PTR}. 1 IN A 127.0.9.9"), "fcrdns", "fcrdns", f"{FIRST_PTR}. 1 A {FIRST}"),
    "no delegation": (change(line("16.1.0.127.in-addr.arpa", "CNAME")), "fcrdns", "ptr", "16.1.0.127.in-addr.arpa. 1 CNAME 16.16-30.1.0.127.in-addr.arpa."),
    "EHLO does not resolve": (change(line(EHLO, "A")), "helo-resolves", "ehlo-address", f"{EHLO}. 1 A {FIRST}"),
    "EHLO without SPF": (change(line(EHLO, "TXT")), "helo-spf", "ehlo-spf", f'{EHLO}. 1 TXT "v=spf1 '),
    "EHLO's SPF without the address": (change(line(EHLO, "TXT"), f'{EHLO}. 1 IN TXT "v=spf1 ip4:127.0.1.17 -all"'), "helo-spf", "ehlo-spf", f'{EHLO}. 1 TXT "v=spf1 '),
    "include without the address": (change(line("spf.sluice.test", "TXT"), 'spf.sluice.test. 1 IN TXT "v=spf1 ip4:127.0.1.17 -all"'), "spf", "spf", 'contoso.test. 1 TXT "v=spf1 include:'),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_record_is_wrong(strict, case):
    """The mail from that address is refused as explain said; that from the others is not."""
    wrong, demand, check, put = WRONG[case]
    world = strict(pools={"normal": f"{FIRST}/30"})
    receiver = world.insists("fabrikam.test", demand)
    world.publish(wrong)
    world.start()
    told = world.explain(FAB)
    bad = told[FIRST]["checks"][check]
    assert bad["verdict"] == ("note" if check == "spf" else "fail") and bad["demanded_by"] and any(p.startswith(put) for p in bad["put"]), (bad, put)
    text = world.daemon.run("explain", "--from", "alice@contoso.test", "--to", FAB, "--client", "127.0.3.1", "m.eml").stdout
    assert bad["reason"] in text and bad["demanded_by"] in text and put in text, text
    for _ in range(4):
        with world.connector() as client:
            client.send("alice@contoso.test", FAB, b"From: alice@contoso.test\r\n\r\nx\r\n", recipient_parameters="NOTIFY=NEVER")
    world.receiver.wait(lambda: len(receiver.seen) == 4)
    refused = {s.source for s in receiver.seen if s.refused}
    foretold = {ip for ip, row in told.items() if row["checks"][check]["verdict"] != "pass"}
    assert FIRST in refused and refused == foretold and {s.refused for s in receiver.seen} - {""} == {REFUSALS[demand]}, (refused, foretold)
    check_foretold(world, told, receiver, world.hosts["fabrikam.test"])


# Right in another way: nobody may mind.
DETOURS = {
    "a longer delegation": (both(change(line(REVERSE, "PTR"), f"{REVERSE}. 1 IN CNAME x.16-30.1.0.127.in-addr.arpa.\nx.16-30.1.0.127.in-addr.arpa. 1 IN CNAME first.rev.sluice.test."),
                                 change(line(FIRST_PTR, "A"), f"{FIRST_PTR}. 1 IN A {FIRST}\nfirst.rev.sluice.test. 1 IN PTR {FIRST_PTR}.")), {"ehlo-ptr": "note"}),
    "two PTR names, the second is right": (change(line(REVERSE, "PTR"), f"{REVERSE}. 1 IN PTR gone.sluice.test.\n{REVERSE}. 1 IN PTR {FIRST_PTR}."), {"ehlo-ptr": "note"}),
    "EHLO is a CNAME": (both(change(line(EHLO, "TXT")), change(line(EHLO, "A")),
                             lambda zones: zones.update({"sluice.test": zones["sluice.test"] + f'{EHLO}. 1 IN CNAME real.sluice.test.\nreal.sluice.test. 1 IN A {FIRST}\nreal.sluice.test. 1 IN TXT "v=spf1 ip4:127.0.1.0/24 -all"\n'})),
                        {"ehlo-ptr": "note", "ehlo-address": "note"}),
    "the PTR name is a CNAME": (change(line(FIRST_PTR, "A"), f"{FIRST_PTR}. 1 IN CNAME real.sluice.test.\nreal.sluice.test. 1 IN A {FIRST}"), {"ehlo-ptr": "note", "ptr-name": "note"}),
}


@pytest.mark.parametrize("case", DETOURS)
def test_aliases(strict, case):
    detour, noted = DETOURS[case]
    world = strict()
    receiver = world.insists("fabrikam.test", "fcrdns", "helo-resolves", "helo-spf", "spf")
    world.publish(detour)
    world.start()
    told = world.explain(FAB)
    assert verdicts(told[FIRST]) == noted and told[FIRST]["ptr"] == FIRST_PTR, told
    faults = {f["code"] for f in world.daemon.rows("dns", "check") if f["subject"] == FIRST}
    assert faults == ({"ptr-alias"} if "ptr-name" in noted else set())
    world.send(FAB, count=4)
    assert {s.source for s in receiver.seen} == NORMAL
    check_foretold(world, told, receiver, world.hosts["fabrikam.test"])


def over_ipv6(folder):
    addresses = [f"2001:db8:25::1{n}" for n in range(4)]
    for address in (*addresses, "2001:db8:99::25"):
        subprocess.run(["ip", "address", "add", f"{address}/128", "dev", "lo", "nodad"], check=True)
    world = StrictWorld(folder, pools={"normal": ("on", "published  ehlo = ptr", "2001:db8:25::10-2001:db8:25::13")})
    try:
        world.mx["tailspin.test"] = "2001:db8:99::25"
        receiver = world.insists("tailspin.test", *REFUSALS)
        world.publish()
        world.start()
        told = world.explain(TAIL)
        assert set(told) == set(addresses) and all(row["strict"] == "pass" for row in told.values()), told
        world.send(TAIL, count=4)
        assert {s.source for s in receiver.seen} == set(addresses) and not any(s.refused for s in receiver.seen), receiver.seen
        check_foretold(world, told, receiver, world.hosts["tailspin.test"])
    finally:
        world.close()


def test_ipv6(in_namespace):
    if not zone_server.available():
        missing("knotd, named-checkzone, kzonecheck or nsupdate is not installed")
    in_namespace(over_ipv6)


def test_more_addresses_than_are_asked(strict):
    """64 in all, in turn of each family; the others are counted. IPv6 as IPv4, and a route that is not known leaves both."""
    world = strict(pools={"normal": ["127.0.2.0/25", "2001:db8:1::1-2001:db8:1::8"]})
    world.publish()
    told = world.explain(FAB)  # which has only IPv4
    assert len(told) == 64 and {ip.split(".")[0] for ip in told} == {"127"} and world.not_asked == 64
    told = world.explain("bob@unknown.invalid")
    assert len(told) == 64 and sum(":" in ip for ip in told) == 8 and world.not_asked == 72
    assert all(verdicts(row) == {"ehlo-ptr": "note"} for row in told.values()), told
    text = world.daemon.run("explain", "--from", "alice@contoso.test", "--to", FAB, "--client", "127.0.3.1", "m.eml").stdout
    assert "and 64 more, not asked: sluice dns check looks at all" in text, text


def test_the_table_fits(strict):
    """A terminal of 80 columns shows every verdict, and what is to be put unbroken."""
    world = strict()
    world.publish(change(line(EHLO, "TXT")))
    (world.folder / "m.eml").write_bytes(b"From: alice@contoso.test\r\n\r\nx\r\n")
    words = f"'{places.program('sluice')}' -c sluice.conf explain --from alice@contoso.test --to {FAB} m.eml"
    ran = subprocess.run(["script", "-qec", f"stty cols 80; {words}", "/dev/null"], cwd=world.folder, capture_output=True, text=True, env=world.daemon.environment)
    text = re.sub(r"\x1b\[[0-9;]*m", "", ran.stdout).replace("\r", "")
    table = text[text.index("A strict receiver will see"):].split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80 and table[1].split()[:2] == ["FROM", "FCRDNS"] and [row.split()[0] for row in table[2:6]] == sorted(NORMAL), text
    assert " ".join(" ".join(table[6:]).split()) == "DMARC SPF pass for contoso.test, aligned; DKIM pass d=contoso.test s=s1 (ours), aligned", text
    assert f'{EHLO}. 1 TXT "v=spf1 ip4:127.0.1.16/30 ip4:127.0.1.32/30 ip4:127.0.1.48/30 ip4:127.0.1.64/30 -all"' in text, text
