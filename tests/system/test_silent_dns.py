"""The commands that ask the DNS, with one that is slow or dead: how long they take, what they say meanwhile, how they end."""
import json
import os
import pty
import select
import signal
import subprocess

import pytest

from lab import places
from lab.client import message
from lab.name_server import SILENT, NameServer
from lab.world import ADDRESSES, EHLO, ON_PREM, World, identity, zone

ALICE, BOB = "alice@contoso.test", "bob@fabrikam.test"
RECORDS = zone() + identity() + 'contoso.test. IN TXT "v=spf1 ip4:127.0.1.0/24 -all"\n'
REVERSE = {".".join(reversed(a.split("."))) + ".in-addr.arpa" for a in ADDRESSES["normal"]}


@pytest.fixture
def dns_world(folder):
    """A world whose every name is asked of a server of the test; no daemon runs."""
    worlds = []

    def make(timeout="20s", **settings):
        server = NameServer("127.0.0.1")
        server.load(RECORDS)
        server.put("_dmarc.contoso.test", "TXT", '"v=DMARC1; p=none"')
        place = folder / f"world{len(worlds)}"
        place.mkdir()
        worlds.append((World(place, dns=f'servers = {{"{server.address}@{server.port}"}}  timeout = {timeout}', **settings), server))
        return worlds[-1]

    yield make
    for world, server in worlds:
        world.close()
        server.stop()


def words(world, *arguments, sender=ALICE, to=BOB, author=ALICE):
    path = world.folder / "explained.eml"
    path.write_bytes(message(author))
    return ["explain", "--from", sender, "--to", to, *arguments, str(path)]


def test_all_questions_go_side_by_side(dns_world):
    """The server answers nothing until it has been asked everything that can be known to be wanted: who asks one after the other waits in vain."""
    world, server = dns_world()
    wanted = {("contoso.test", "MX"), ("fabrikam.test", "MX"), ("contoso.test", "TXT"), ("_dmarc.contoso.test", "TXT"), (EHLO, "TXT"), (EHLO, "A"), (EHLO, "AAAA")}
    server.hold = (wanted | {(name, "PTR") for name in REVERSE}).issubset
    row = world.daemon.rows(*words(world, "--tenant", "contoso"))[0]
    assert row["class"] == "normal" and row["route"][0]["server_hostname"] == "mx.fabrikam.test" and not row["not_answered"], row
    assert {s["outbound_ip"] for s in row["seen_by_receivers"]} == ADDRESSES["normal"]
    for seen in row["seen_by_receivers"]:
        assert {c["check"]: c["verdict"] for c in seen["checks"] if c["verdict"] != "pass"} == {"ehlo-ptr": "note", "dkim": "note"}, seen
    asked = [q[1:] for q in server.queries]
    assert len(asked) == len(set(asked)), sorted(asked)  # each question once


def test_what_the_dns_does_not_answer_is_said_by_name(dns_world):
    """And is neither `no record` nor a fault of a record; what does not hang on it is said all the same."""
    world, server = dns_world(timeout="1s")
    server.rules.append(lambda name, rtype: SILENT if rtype == "PTR" or name.startswith("_dmarc.") else None)
    ran = world.daemon.run(*words(world, "--tenant", "contoso", "--json"))
    row = json.loads(ran.stdout)
    assert ran.returncode == 0 and row["class"] == "normal", ran  # it would leave
    assert {(q["name"], q["type"]) for q in row["not_answered"]} == {(n, "PTR") for n in REVERSE} | {("_dmarc.contoso.test", "TXT")}
    assert {q["reason"] for q in row["not_answered"]} == {"no answer in time"}
    for seen in row["seen_by_receivers"]:
        verdicts = {c["check"]: c["verdict"] for c in seen["checks"]}
        assert (verdicts["ptr"], verdicts["dmarc"], verdicts["spf"], verdicts["ehlo-spf"]) == ("unknown", "unknown", "pass", "pass"), verdicts
    text = world.daemon.run(*words(world, "--tenant", "contoso")).stdout
    assert "no answer _dmarc.contoso.test TXT: no answer in time" in text and "no fault of a record" in text and "no PTR record" not in text, text


def test_a_failing_dns_is_asked_everything_at_once(dns_world):
    """A report of a connector's: MX of the destination and names of the addresses, none of which waits for another's answer."""
    world, server = dns_world()
    server.rules.append(lambda name, rtype: "SERVFAIL")
    high_risk = {(".".join(reversed(a.split("."))) + ".in-addr.arpa", "PTR") for a in ADDRESSES["high-risk"]}
    wanted = high_risk | {("fabrikam.test", "MX"), (EHLO, "TXT"), (EHLO, "A"), (EHLO, "AAAA"), ("_dmarc.contoso.test", "TXT")}
    server.hold = wanted.issubset
    row = world.daemon.rows(*words(world, "--client", ON_PREM, sender="<>", author="x@contoso.test"))[0]
    assert row["class"] == "high-risk" and row["route_error"].startswith("451 4.4.3 DNS look-up of fabrikam.test failed: "), row
    assert {(q["name"], q["type"]) for q in row["not_answered"]} == wanted and not any("in time" in q["reason"] for q in row["not_answered"])


def on_terminal(world, *arguments):
    """The program with its standard error on a terminal, and with ^C as there: a shell's job in the background hands down that it is ignored."""
    ours, its = pty.openpty()
    process = subprocess.Popen([places.program("sluice"), "-c", str(world.daemon.config), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=its, text=True,
                               cwd=world.folder, env={**os.environ, "TERM": "xterm"}, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    os.close(its)
    return process, ours


def read_until(terminal, text, seconds=20):
    got = ""
    while text not in got:
        ready, _, _ = select.select([terminal], [], [], seconds)
        assert ready, got
        got += os.read(terminal, 4096).decode()
    return got


def test_who_waits_at_a_terminal_sees_how_far_it_is(dns_world):
    world, server = dns_world()
    open_now = []
    server.hold = lambda asked: bool(open_now)
    process, terminal = on_terminal(world, *words(world, "--tenant", "contoso"))
    said = read_until(terminal, "questions to the DNS are answered")
    assert said.startswith("\r0 of ") and "\n" not in said, said
    open_now.append(True)
    server.release()
    out = process.communicate(timeout=30)[0]
    assert process.returncode == 0 and "normal by rule own" in out and "questions to" not in out
    assert os.read(terminal, 4096).decode().endswith(" \r")  # the line is gone
    os.close(terminal)


def test_an_interrupt_ends_it_at_once(dns_world):
    world, server = dns_world()
    server.hold = lambda asked: False
    process, terminal = on_terminal(world, *words(world, "--tenant", "contoso"))
    read_until(terminal, "questions to the DNS are answered")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == -signal.SIGINT
    process.stdout.close()
    os.close(terminal)


MANY = {name: f"127.1.{n}.0/26" for n, name in enumerate(ADDRESSES)}


@pytest.mark.parametrize("arguments,code,said", [
    (("dns", "check"), 1, "got no answer"),  # a domain has no key: that needs no DNS
    (("dns", "zone", "--diff"), 3, "? _dmarc.contoso.test. TXT not asked: no question before got an answer"),
    (("domain", "verify"), 3, "unknown"),
], ids=lambda v: "-".join(v) if isinstance(v, tuple) else "")
def test_256_addresses_and_nobody_answers(dns_world, arguments, code, said):
    """One time limit for the first ones tells that the DNS is dead; the others are not asked, and nothing is taken for `no record`."""
    world, server = dns_world(timeout="1s", pools=MANY, extra="tenants { verify = true }")
    server.rules.append(lambda name, rtype: SILENT)
    ran = world.daemon.run(*arguments)
    assert ran.returncode == code and said in ran.stdout and "no-ptr" not in ran.stdout and "+ " not in ran.stdout, ran.stdout[-3000:]
    names = {q[1:] for q in server.queries}
    assert len(names) <= 2 * 64, len(names)  # a first wave, and what those that ended at the same time began


@pytest.mark.parametrize("arguments", [("dns", "check"), ("dns", "zone", "--diff"), ("domain", "verify")], ids="-".join)
def test_they_say_how_far_they_are_and_obey(dns_world, arguments):
    world, server = dns_world(pools=MANY, extra="tenants { verify = true }")
    server.hold = lambda asked: False
    process, terminal = on_terminal(world, *arguments)
    assert "\r0 of " in read_until(terminal, "asked for" if "--diff" not in arguments else "are answered")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == -signal.SIGINT
    process.stdout.close()
    os.close(terminal)
