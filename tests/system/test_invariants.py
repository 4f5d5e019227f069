"""Attacks on the invariants of the design: whatever is taken away, no mail leaves from outside the pool of its class."""
import pathlib
import random
import re
import signal
import socket
import subprocess
import threading

import pytest

from lab import places
from lab.client import GTUBE, message
from lab.waiting import until
from lab.world import ADDRESSES, ON_PREM, PLAIN, world_inside

ALICE, BOB, OUT = "alice@contoso.test", "bob@fabrikam.test", "carol@sender.test"

# class: (connector's address, reverse-path, header fields, body)
WAYS = {
    "normal": (ON_PREM, ALICE, (), b"x\r\n"),
    "high-risk": (ON_PREM, ALICE, (), GTUBE),
    "relay": (PLAIN, OUT, (), b"x\r\n"),
    "high-risk-relay": (PLAIN, OUT, (), GTUBE),
}


def send(world, cls, to=BOB, subject="x", client=None):
    source, reverse_path, headers, body = WAYS[cls]
    text = message(reverse_path, to, subject, body, (*headers, f"X-Expect-Class: {cls}"))
    if client:
        return client.send(reverse_path, to, text)
    with world.connector(source) as client:
        return client.send(reverse_path, to, text)


def test_sixty_four_sessions_at_once(world):
    """All classes, many clients, four workers, connections kept open and used again: not one from a wrong address."""
    world.rewrite(delivery="first-retry = 1s  max-retry = 2s  connections = 20")
    world.start()
    rounds, faults = 10 if not places.DRILL else 100, []

    def client(number):
        try:
            chosen = random.Random(number)
            order = [chosen.choice(sorted(WAYS)) for _ in range(rounds)]
            for cls in order:
                send(world, cls, f"r{number}@{chosen.choice(['fabrikam.test', 'tailspin.test', 'woodgrove.test'])}", subject=f"{number}")
        except Exception as e:  # noqa: BLE001 - told by the main thread
            faults.append(repr(e))

    threads = [threading.Thread(target=client, args=(i,)) for i in range(64)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not faults, faults[:5]
    world.receiver.wait(lambda: len(world.receiver.messages) == 64 * rounds, timeout=90)
    world.check_pools()
    assert {m.source for m in world.receiver.messages} == set().union(*ADDRESSES.values())


def test_one_connection_never_serves_two_classes(world):
    """The same receiver, all classes, idle connections at hand: each class takes one of its own pool only."""
    host = world.host("fabrikam.test")
    world.start("fabrikam.test")
    for i in range(6):
        for cls in WAYS:
            send(world, cls, subject=str(i))
    world.receiver.wait(lambda: len(host.messages) == 24)
    for session in host.sessions:
        assert len({m.header("X-Expect-Class") for m in session.messages}) <= 1
    world.check_pools()


def test_reload_takes_an_address_away_from_under_an_open_connection(world):
    """The connection stays open and idle at an address that a reload removes: it carries nothing more."""
    world.rewrite(pools={"normal": "127.0.1.16"}, delivery="first-retry = 1s  max-retry = 1s  idle = 30s" if has_option("idle") else "")
    host = world.host("fabrikam.test")
    world.start("fabrikam.test")
    send(world, "normal", subject="before")
    world.receiver.wait(lambda: len(host.messages) == 1)
    world.rewrite(pools={"normal": "127.0.1.17"})
    world.daemon.cli("reload")
    for i in range(5):
        send(world, "normal", subject=f"after {i}")
    world.receiver.wait(lambda: len(host.messages) == 6)
    assert {m.source for m in host.messages[1:]} == {"127.0.1.17"}


def has_option(name):
    """Is it an option of delivery? (the manual knows)"""
    return f"`{name}`" in (places.ROOT / "docs/configuration.md").read_text() if (places.ROOT / "docs/configuration.md").exists() else False


def test_reload_swaps_two_pools_in_the_middle_of_a_transaction(world):
    """An address that belonged to `normal` belongs to `high-risk` after the reload, while a message of `normal` waits in the
    middle of an open transaction there. It may end; the next one must not use that connection."""
    world.rewrite(pools={"normal": "127.0.1.16", "high-risk": "127.0.1.32"})
    entered, release = threading.Event(), threading.Event()

    def hold(session, m):
        if m.header("Subject") == "first":
            entered.set()
            release.wait(100)

    host = world.host("fabrikam.test", script={"dot": hold})
    world.start("fabrikam.test")
    send(world, "normal", subject="first")
    assert entered.wait(60)
    for i in range(3):
        send(world, "normal", subject=f"next {i}")
    world.rewrite(pools={"normal": "127.0.1.32", "high-risk": "127.0.1.16"})
    world.daemon.cli("reload")
    release.set()
    world.receiver.wait(lambda: len([m for m in host.messages if m.header("Subject").startswith("next")]) == 3)
    # Those that were sent while the reload went through may have left under the old configuration, by another connection;
    # what comes after it may not.
    send(world, "normal", subject="last")
    send(world, "high-risk", subject="last risky")
    world.receiver.wait(lambda: len(host.messages) == 6)
    by = {m.header("Subject"): m.source for m in host.messages}
    assert (by["last"], by["last risky"]) == ("127.0.1.32", "127.0.1.16"), by
    first = next(m for m in host.messages if m.header("Subject") == "first")
    assert [m.header("Subject") for m in first.session.messages] == ["first"], "the connection went on after the reload"


def test_reload_that_removes_the_pool_moves_mail_to_another_that_carries_the_class(world):
    world.rewrite(pools={"second": ("o2", "published", "127.0.1.96/30")}, extra="", delivery="first-retry = 1s  max-retry = 1s")
    config = world.config().replace('pool "second" { class = "o2"', 'pool "second" { carries = {"normal"}  class = "o2"')
    world.daemon.write(config)
    world.host("fabrikam.test", script={"rcpt": "451 4.7.1 later"})
    world.daemon.start()
    ids = [send(world, "normal", f"r{i}@fabrikam.test") for i in range(30)]
    used = {r["outbound_ip_pool_name"] for r in world.daemon.trace()}
    assert used == {"normal", "second"}, "by weight among the pools of the class"
    world.daemon.write(re.sub(r'pool "normal".*\n', "", config))
    world.daemon.cli("reload")
    host = world.hosts["fabrikam.test"]
    host.script.clear()
    for trace_id in ids:
        row = next(iter(world.daemon.trace_of(trace_id).values()))
        assert row["status"] == "Delivered" and row["outbound_ip"].startswith("127.0.1.9"), row
    assert all(m.source.startswith("127.0.1.9") for m in host.messages)


def test_a_pool_without_the_family_of_the_destination_waits(world):
    """Only IPv6 addresses in the pool, an IPv4 destination: the mail waits; there is no fallback."""
    world.rewrite(pools={"normal": "::1"})
    host = world.host("fabrikam.test")
    world.start("fabrikam.test")
    trace_id = send(world, "normal")
    world.daemon.wait_log("mail waits.*pool normal.*family")
    assert not host.sessions
    rows = world.daemon.rows("queue", "list")
    assert [r["trace_id"] for r in rows] == [trace_id]
    world.rewrite(pools={"normal": "127.0.1.16/30"})
    world.daemon.cli("reload")
    world.daemon.cli("queue", "retry", "--all")
    assert world.daemon.trace_of(trace_id)[BOB]["outbound_ip"] in ADDRESSES["normal"]


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def address_gone(folder):
    ip("addr", "add", "192.0.2.17/32", "dev", "lo")
    ip("addr", "add", "192.0.2.33/32", "dev", "lo")
    with world_inside(folder, pools={"normal": "192.0.2.17", "high-risk": "192.0.2.33"}) as world:
        host = world.host("fabrikam.test")
        world.daemon.start()
        world.daemon.trace_of(send(world, "normal", subject="before"), status="Delivered")
        assert host.messages[0].source == "192.0.2.17"
        for session in host.sessions:  # the next message needs a new connection
            session.socket.shutdown(socket.SHUT_RDWR)
        ip("addr", "del", "192.0.2.17/32", "dev", "lo")
        mark = world.daemon.mark()
        trace_id = send(world, "normal", subject="gone")
        world.daemon.wait_log("192.0.2.17", since=mark)
        send(world, "high-risk", subject="still there")
        world.receiver.wait(lambda: len(host.messages) == 2)
        assert host.messages[1].source == "192.0.2.33"
        until(lambda: [r["trace_id"] for r in world.daemon.rows("queue", "list")] == [trace_id], what="only that one waits")
        ip("addr", "add", "192.0.2.17/32", "dev", "lo")
        world.daemon.stop()  # the address rests for minutes; a restart looks again
        world.daemon.start()
        world.daemon.cli("queue", "retry", "--all")
        assert world.daemon.trace_of(trace_id)[BOB]["outbound_ip"] == "192.0.2.17"
        assert {s.source for s in host.sessions} == {"192.0.2.17", "192.0.2.33"}


def test_an_address_that_goes_away_is_not_replaced(in_namespace):
    in_namespace(address_gone)


def bind_refused(folder):
    """No port of the only address is free: connect() can't bind it."""
    ports = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
    with world_inside(folder, pools={"normal": "127.0.1.16"}) as world:
        host = world.host("fabrikam.test")
        world.daemon.start()
        client = world.connector()
        before = ports.read_text()
        ports.write_text("61000 61001")
        taken = [socket.create_server(("127.0.1.16", port)) for port in (61000, 61001)]
        mark = world.daemon.mark()
        send(world, "normal", client=client)
        world.daemon.wait_log("mail waits", since=mark)
        assert not host.sessions, [s.source for s in host.sessions]
        for s in taken:
            s.close()
        ports.write_text(before)

        def delivered():
            world.daemon.cli("queue", "retry", "--all")
            return host.messages

        assert until(delivered, timeout=90)[0].source == "127.0.1.16"


def test_a_refused_bind_is_not_replaced(in_namespace):
    in_namespace(bind_refused)


def test_dead_dns_harms_no_other_mail(world):
    """Invariant 7: what can't be resolved waits; what can be resolved goes."""
    world.start("fabrikam.test")
    waits = send(world, "normal", "x@unreachable-names.test")
    for i in range(20):
        send(world, "normal", f"r{i}@fabrikam.test")
    world.receiver.wait(lambda: len(world.receiver.messages) == 20)
    until(lambda: [r["trace_id"] for r in world.daemon.rows("queue", "list")] == [waits], what="only that one waits")
    world.check_pools()


def test_every_recipient_ends_once(world):
    """Invariant 3: exactly one final event each, and RECEIVE first."""
    world.host("fabrikam.test", refuse={f"no{i}@fabrikam.test": "550 5.1.1 no" for i in range(5)}, script={"rcpt": ["451 4.7.1 wait"] * 5})
    world.start("fabrikam.test")
    to = [f"no{i}@fabrikam.test" for i in range(5)] + [f"yes{i}@fabrikam.test" for i in range(10)]
    trace_id = send(world, "normal", to)
    world.daemon.trace_of(trace_id, count=15)
    by = {}
    for e in world.daemon.events(trace_id):
        by.setdefault(e["recipient"], []).append(e["event"])
    assert set(by) == set(to)
    for recipient, events in by.items():
        ends = [e for e in events if e in ("SEND", "FAIL", "CANCEL", "DROP")]
        assert ends == (["FAIL"] if recipient.startswith("no") else ["SEND"]), (recipient, events)
        assert events[0] == "RECEIVE"


def test_a_250_was_on_the_disk_first(world):
    """Invariant 2, looked at from outside: fdatasync of the segment returns before the 250 goes out."""
    world.start("fabrikam.test")
    trace = world.folder / "strace"
    with world.connector() as client:
        strace = subprocess.Popen(["strace", "-f", "-qq", "-tt", "-s", "4000", "-e", "trace=fdatasync,sendto,sendmsg,write,writev,pwrite64,pwritev,pwritev2",
                                   "-o", str(trace), "-p", str(world.daemon.pid)], stderr=subprocess.PIPE)
        threads = pathlib.Path(f"/proc/{world.daemon.pid}/task")
        until(lambda: not any("TracerPid:\t0\n" in (t / "status").read_text() for t in threads.iterdir()), what="strace attached to every thread")
        marker = "needle-in-the-log"
        trace_id = client.send(ALICE, BOB, message(subject=marker, body=(marker + "\r\n").encode() * 20))
    world.receiver.wait(lambda: world.receiver.messages)
    strace.send_signal(signal.SIGINT)
    strace.wait(20)
    lines = trace.read_text(errors="replace").splitlines()
    reply = next(i for i, line in enumerate(lines) if f"Accepted {trace_id}" in line)
    write = next(i for i, line in enumerate(lines) if re.search(r"pwrite(v2?|64)?\(", line) and marker in line)
    thread = lines[write].split()[0]
    synced = [i for i, line in enumerate(lines) if line.startswith(thread) and re.search(r"fdatasync(\(\d+\)| resumed>\))\s+= 0", line) and write < i < reply]
    assert synced, "no sync between the write and the 250:\n" + "\n".join(line[:200] for line in lines[write:reply + 1])


@pytest.mark.parametrize("where", ["own", "default"])
def test_a_tenants_own_pool(world, where):
    world.rewrite(pools={"contoso-own": ("co", "published", "127.0.1.96/30")},
                  tenant='pools { normal = "contoso-own" }' if where == "own" else "")
    config = world.config().replace('pool "contoso-own" { class', 'pool "contoso-own" { carries = {"normal"}  weight = 1  class')
    world.daemon.write(config)
    world.host("fabrikam.test")
    world.daemon.start()
    for i in range(20):
        send(world, "normal", subject=str(i))
    world.receiver.wait(lambda: len(world.receiver.messages) == 20)
    pools = {r["outbound_ip_pool_name"] for r in until(lambda: (lambda t: t if len(t) == 20 else None)(world.daemon.trace("--status", "Delivered")))}
    assert pools == ({"contoso-own"} if where == "own" else {"normal", "contoso-own"})
