"""`sluice explain` as an administrator reads it: in a terminal of 80 columns, by a script, for every kind of sender, with a daemon and without."""
import json
import os
import pty
import re
import struct
import subprocess
import termios
import fcntl

import pytest

from lab import places
from lab.client import message
from lab.world import ADDRESSES, EHLO, ON_PREM, identity, zone

ALICE, BOB, OUT = "alice@contoso.test", "bob@fabrikam.test", "carol@sender.test"
# What the trace calls the same things (design: "Command line, replies and trace").
CONTRACT = {"sender", "return_path", "recipient", "tenant", "connector", "class", "rule", "reason", "outbound_ip_pool_name", "client_ip", "original_client_ip",
            "directionality", "verdict", "spf", "dkim"}


@pytest.fixture
def ready(make_world):
    world = make_world(tenant='policy "default" { external-per-hour = 10  per-day = 20 }', limits="true")
    world.daemon.write(world.config(), {"zone": zone(extra=identity())})
    return world


@pytest.fixture
def known(ready):
    """One in which a daemon has run, and runs no more."""
    ready.start("fabrikam.test")
    ready.daemon.stop()
    return ready


def arguments(world, *more, sender=ALICE, to=BOB):
    path = world.folder / "explained.eml"
    path.write_bytes(message(sender))
    return ["explain", "--from", sender, "--to", to, *more, str(path)]


def in_terminal(world, *more, columns=80):
    """What it prints to a terminal, as lines without colours."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen([places.program("sluice"), "-c", str(world.daemon.config), *arguments(world, *more)], cwd=world.folder, stdin=subprocess.DEVNULL,
                               stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"})
    os.close(its)
    out = b""
    try:
        while got := os.read(ours, 65536):
            out += got
    except OSError:  # the end of a terminal
        pass
    os.close(ours)
    assert process.wait(timeout=30) in (0, 1), out
    return re.sub(r"\x1b\[[0-9;]*m", "", out.decode()).replace("\r", "").split("\n")


def test_it_fits_a_terminal(known):
    """Lines end at 80 columns; only what is to be copied stays whole."""
    lines = in_terminal(known, "--as", ALICE)
    wide = [line for line in lines if len(line) > 80]
    assert all(line.startswith(" " * 14) for line in wide), wide  # below "put:"
    first = next(n for n, line in enumerate(lines) if line.startswith("  IPv4 "))
    assert lines[first - 1].split() == ["EHLO", EHLO], lines
    assert [line[12:] for line in lines[first:first + 4]] == [f"127.0.1.{16 + n}       PTR mail-bl2on000{n + 1}.sluice.test" for n in range(4)], lines
    limits = [line for line in lines if " of 20" in line or " of 10" in line or "no limit" in line]
    assert len({re.search(r"(\d+ of \d+|no limit)", line).end() for line in limits}) == 1, limits  # in a column
    broad = in_terminal(known, "--as", ALICE, columns=120)
    assert any(line.endswith("of 20         recipients in 24 hours") for line in broad), broad


def test_names_are_those_of_the_trace(ready):
    ready.start("fabrikam.test")
    row = ready.daemon.rows(*arguments(ready, "--client", ON_PREM))[0]
    with ready.connector() as client:
        trace_id = client.send(ALICE, BOB, message(ALICE))
    ready.receiver.wait(lambda: ready.receiver.messages)
    traced = ready.daemon.trace_of(trace_id)[BOB]
    assert CONTRACT <= set(row) and CONTRACT <= set(traced)
    for name in CONTRACT - {"spf", "dkim"}:
        assert row[name] == traced[name], (name, row[name], traced[name])
    (target,) = row["route"]
    assert (target["server_ip"], target["server_hostname"]) == (traced["server_ip"], traced["server_hostname"])
    (seen,) = [s for s in row["seen_by_receivers"] if s["outbound_ip"] == traced["outbound_ip"]]
    assert (seen["ehlo"], seen["outbound_ip_pool_name"]) == (traced["ehlo"], traced["outbound_ip_pool_name"])
    assert {a["outbound_ip"] for p in row["pools"] for a in p["addresses"]} == ADDRESSES["normal"]


# --as; From and reverse-path; connector; class, by whom the mail is brought; what is noted of the name
SENDERS = {
    "user": (ALICE, ALICE, None, "normal", None),
    "user in capitals": ("ALICE@Contoso.Test", ALICE, None, "normal", None),
    "no such user": ("nobody@contoso.test", ALICE, None, "normal", "nobody logs in by that name: tenant contoso has no such user"),
    "connector's sender": (f"connector/contoso/on-prem/{ALICE}", ALICE, "on-prem", "normal", None),
    "connector's sender, relayed": (f"connector/contoso/on-prem/{OUT}", OUT, "on-prem", "relay", None),
    "a connector": ("contoso/on-prem", ALICE, "on-prem", "normal", None),
    "local program": (f"local/contoso/{ALICE}", ALICE, None, "normal", None),
}


@pytest.mark.parametrize("case", SENDERS)
def test_as_a_sender(known, case):
    """The mail comes the way that the sender's mail comes; without a daemon the limits are read from disk, and it is said."""
    name, sender, connector, cls, note = SENDERS[case]
    ran = known.daemon.run(*arguments(known, "--as", name, "--json", sender=sender))
    row = json.loads(ran.stdout)
    assert ran.returncode == 0 and (row["tenant"], row["connector"], row["class"]) == ("contoso", connector, cls), row
    assert row["limits_from"] == "disk" and row["limits_note"] == note and row["limits_of"]["limits"], row
    text = known.daemon.run(*arguments(known, "--as", name, sender=sender)).stdout
    assert "no daemon answers: as it stands on disk" in text and (note or "as ") in text, text


@pytest.mark.parametrize("name,said", [
    ("nobody@elsewhere.test", "as        nobody@elsewhere.test: no tenant has a user of that name"),
    ("alice", "as        alice: no tenant has a user of that name"),
    ("contoso/nosuch", "as        contoso/nosuch: there is no such connector"),
])
def test_as_nobody(ready, name, said):
    """With and without a daemon alike: the mail is explained, the limits can't be, and the exit says so."""
    for start in (False, True):
        if start:
            ready.start("fabrikam.test")
        ran = ready.daemon.run(*arguments(ready, "--as", name))
        assert ran.returncode == 1 and said in ran.stdout and "normal by rule own" in ran.stdout, ran
        row = json.loads(ready.daemon.run(*arguments(ready, "--as", name, "--json")).stdout)
        assert row["limits_of"] is None and row["limits_from"] is None and row["limits_note"].startswith(name), row


def test_before_the_first_start(ready):
    """Nobody has used anything of his limits then."""
    ran = ready.daemon.run(*arguments(ready, "--as", ALICE))
    assert ran.returncode == 0 and "nothing is counted yet: no daemon has run here" in ran.stdout and "normal by rule own" in ran.stdout, ran


def test_a_daemon_tells_where_a_sender_stands(ready):
    ready.start("fabrikam.test")
    with ready.submission() as client:
        client.send(ALICE, BOB, message(ALICE))
    row = json.loads(ready.daemon.run(*arguments(ready, "--as", ALICE, "--json")).stdout)
    used = {limit["limit"]: limit["used"] for limit in row["limits_of"]["limits"]}
    assert row["limits_from"] == "daemon" and used["per-day"] == used["external-per-hour"] == 1, row
    assert "no daemon" not in ready.daemon.run(*arguments(ready, "--as", ALICE)).stdout
