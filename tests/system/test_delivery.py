"""Mail goes out: routes, sessions, retries, and what each kind of receiver makes of them."""

import pytest

from lab.client import Refused, message
from lab.receiver import CLOSE, EXTENSIONS, RESET
from lab.world import ADDRESSES, EHLO, HOSTS, zone
from lab.waiting import until

ALICE, BOB = "alice@contoso.test", "bob@fabrikam.test"


def send(world, to=BOB, text=None, parameters="", sender=ALICE):
    with world.connector() as client:
        return client.send(sender, to, text or message(to=to if isinstance(to, str) else to[0]), parameters)


# ---- routes

ROUTES = """
two.route.test.     IN MX 10 a.route.test.
two.route.test.     IN MX 20 b.route.test.
twin.route.test.    IN MX 10 a.route.test.
twin.route.test.    IN MX 10 b.route.test.
a.route.test.       IN A 127.0.10.1
b.route.test.       IN A 127.0.10.2
implicit.route.test. IN A 127.0.10.3
null.route.test.    IN MX 0 .
alias.route.test.   IN CNAME implicit.route.test.
nowhere.route.test. IN MX 10 no-such-host.route.test.
self.route.test.    IN MX 10 mta01.bl2.sluice.test.
mta01.bl2.sluice.test. IN A 127.0.0.1
xn--bcher-kva.route.test. IN MX 10 a.route.test.
"""


@pytest.fixture
def routes(world):
    world.daemon.write(world.config(), {"zone": zone(extra=ROUTES)})
    return world


def test_mx_by_preference(routes):
    routes.start()
    rows = routes.daemon.trace_of(send(routes, "x@two.route.test"))
    assert rows["x@two.route.test"]["server_ip"] == "127.0.10.1"


def test_next_mx_when_the_first_is_down(routes):
    routes.host("tailspin.test")
    routes.host("woodgrove.test")
    routes.daemon.start()  # nothing listens at 127.0.10.1
    rows = routes.daemon.trace_of(send(routes, "x@two.route.test"))
    assert rows["x@two.route.test"]["server_ip"] == "127.0.10.2"
    assert rows["x@two.route.test"]["status"] == "Delivered"


def test_next_mx_when_the_first_says_421(routes):
    routes.host("fabrikam.test", script={"connect": "421 4.3.2 not today"})
    routes.start()
    assert routes.daemon.trace_of(send(routes, "x@two.route.test"))["x@two.route.test"]["server_ip"] == "127.0.10.2"


def test_equal_preferences_share(routes):
    routes.rewrite(delivery="first-retry = 1s  max-retry = 2s  messages-per-connection = 1")
    routes.daemon.write(routes.config(), {"zone": zone(extra=ROUTES)})
    routes.start()
    for i in range(24):
        send(routes, f"x{i}@twin.route.test")
    routes.receiver.wait(lambda: len(routes.receiver.messages) == 24)
    assert routes.hosts["fabrikam.test"].messages and routes.hosts["tailspin.test"].messages


def test_implicit_mx_and_alias(routes):
    routes.start()
    for to in ("x@implicit.route.test", "x@alias.route.test"):
        assert routes.daemon.trace_of(send(routes, to))[to]["server_ip"] == "127.0.10.3", to


def test_idn_recipient(routes):
    routes.start()
    row = routes.daemon.trace_of(send(routes, "x@xn--bcher-kva.route.test"))
    assert next(iter(row.values()))["status"] == "Delivered"


@pytest.mark.parametrize("to,reply", [("x@null.route.test", "556 5.1.10"), ("x@missing.route.test", "5"), ("x@self.route.test", "5")])
def test_routes_that_fail_for_good(routes, to, reply):
    routes.start("fabrikam.test")
    row = routes.daemon.trace_of(send(routes, to))[to]
    assert row["status"] == "Failed" and row["reply"].startswith(reply), row


def test_an_mx_without_address_waits_or_fails_but_goes_nowhere(routes):
    routes.start("fabrikam.test")
    trace_id = send(routes, "x@nowhere.route.test")
    row = until(lambda: next((r for r in routes.daemon.trace("--trace-id", trace_id) if r["reply"]), None))
    assert row["status"] in ("Pending", "Failed") and not routes.receiver.sessions


def test_dead_dns_defers(routes):
    routes.start("fabrikam.test")
    trace_id = send(routes, "x@unreachable-names.test")
    row = until(lambda: next((r for r in routes.daemon.trace("--trace-id", trace_id) if r["attempts"]), None), timeout=40)
    assert row["status"] == "Pending" and "4.4.3" in row["reply"], row


def test_private_destinations_are_refused_unless_allowed(world):
    config = world.config().replace("allow-private = true", "allow-private = false")
    world.daemon.write(config)
    world.start("fabrikam.test")
    row = world.daemon.trace_of(send(world))[BOB]
    assert row["status"] == "Failed" and row["reply"].startswith("5"), row
    assert not world.receiver.sessions


def test_a_destination_with_a_route(world):
    world.rewrite(extra=f'destination "smart" {{ domains = {{"far.test"}}  route = "127.0.10.2:{world.delivery_port}" }}')
    world.start()
    row = world.daemon.trace_of(send(world, "x@far.test"))["x@far.test"]
    assert (row["status"], row["server_ip"]) == ("Delivered", "127.0.10.2")


def test_deliver_of_a_connector(world):
    world.daemon.write(world.config().replace('trust-verdict = true ', f'trust-verdict = true  deliver = "127.0.10.3:{world.delivery_port}" '))
    world.start()
    row = world.daemon.trace_of(send(world, "dave@contoso.test"))["dave@contoso.test"]
    assert (row["status"], row["server_ip"]) == ("Delivered", "127.0.10.3")


# ---- TLS

def test_tls_is_used_where_offered(world):
    world.host("fabrikam.test", tls=world.tls())
    world.start("fabrikam.test", "tailspin.test")
    rows = {**world.daemon.trace_of(send(world)), **world.daemon.trace_of(send(world, "x@tailspin.test"))}
    assert rows[BOB]["tls"] == "TLSv1.3" and rows["x@tailspin.test"]["tls"] is None
    assert world.hosts["fabrikam.test"].messages[0].ehlo == EHLO, "EHLO again after STARTTLS"


@pytest.mark.parametrize("handshake", [CLOSE, RESET, b"this is no TLS\r\n" * 10])
def test_a_broken_handshake_is_retried_once_in_clear_from_the_same_address(world, handshake):
    host = world.host("fabrikam.test", tls=world.tls(), script={"handshake": handshake})
    world.start("fabrikam.test")
    row = world.daemon.trace_of(send(world))[BOB]
    assert row["status"] == "Delivered" and row["tls"] is None, row
    assert len(host.sessions) == 2
    assert host.sessions[0].source == host.sessions[1].source == row["outbound_ip"]


def test_starttls_refused_goes_on_in_clear(world):
    world.host("fabrikam.test", tls=world.tls(), script={"starttls": "454 4.7.0 TLS not available"})
    world.start("fabrikam.test")
    row = world.daemon.trace_of(send(world))[BOB]
    assert row["status"] == "Delivered" and row["tls"] is None


# ---- receivers with fewer abilities

def test_a_receiver_that_only_knows_helo(world):
    host = world.host("fabrikam.test", script={"ehlo": "502 5.5.1 what?"}, extensions=())
    world.start("fabrikam.test")
    assert world.daemon.trace_of(send(world))[BOB]["status"] == "Delivered"
    assert host.messages[0].mail_parameters == "" and not host.faults


def test_without_pipelining_each_command_waits(world):
    host = world.host("fabrikam.test", extensions=("SIZE",))
    world.start("fabrikam.test")
    world.daemon.trace_of(send(world))
    assert host.messages and not host.faults


LATIN = "Grüße aus Köln\r\n".encode()
EIGHT = (b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n", LATIN)


def eight_bit(signed=False):
    head = message().split(b"\r\n\r\n")[0] + b"\r\n"
    if signed:
        head += b"MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"\r\n"
        return head + b"\r\n--s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + LATIN + \
            b"--s\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n"
    return head + EIGHT[0] + b"\r\n" + EIGHT[1]


def test_eight_bit_goes_through_unchanged(world):
    host = world.host("fabrikam.test")
    world.start("fabrikam.test")
    world.daemon.trace_of(send(world, text=eight_bit(), parameters="BODY=8BITMIME"))
    assert host.messages[0].body == LATIN and "BODY=8BITMIME" in host.messages[0].mail_parameters


def test_eight_bit_is_converted_for_a_receiver_without(world):
    host = world.host("fabrikam.test", extensions=("PIPELINING", "SIZE"))
    world.start("fabrikam.test")
    world.daemon.trace_of(send(world, text=eight_bit(), parameters="BODY=8BITMIME"))
    got = host.messages[0]
    assert got.header("Content-Transfer-Encoding").lower() == "quoted-printable"
    assert got.body == b"Gr=C3=BC=C3=9Fe aus K=C3=B6ln\r\n" and not host.faults


def test_what_is_signed_is_not_converted(world):
    host = world.host("fabrikam.test", extensions=("PIPELINING", "SIZE"))
    world.start("fabrikam.test")
    row = world.daemon.trace_of(send(world, text=eight_bit(signed=True), parameters="BODY=8BITMIME"))[BOB]
    assert row["status"] == "Failed" and "5.6.3" in row["reply"] and not host.messages


def test_smtputf8(world):
    host = world.host("fabrikam.test")
    without = world.host("tailspin.test", extensions=[e for e in EXTENSIONS if e != "SMTPUTF8"])
    world.start("fabrikam.test")
    rows = world.daemon.trace_of(send(world, "bøb@fabrikam.test", parameters="SMTPUTF8"))
    assert rows["bøb@fabrikam.test"]["status"] == "Delivered" and "SMTPUTF8" in host.messages[0].mail_parameters
    rows = world.daemon.trace_of(send(world, "bøb@tailspin.test", parameters="SMTPUTF8"))
    assert rows["bøb@tailspin.test"]["status"] == "Failed" and "5.6.7" in rows["bøb@tailspin.test"]["reply"] and not without.messages


def test_a_message_over_the_receivers_size(world):
    host = world.host("fabrikam.test", extensions=("SIZE 20000", "PIPELINING"))
    world.start("fabrikam.test")
    row = world.daemon.trace_of(send(world, text=message(body=b"x" * 70 + b"\r\n") + b"y" * 70 + b"\r\n" * 1 + (b"z" * 70 + b"\r\n") * 500))[BOB]
    assert row["status"] == "Failed" and "5.3.4" in row["reply"] and not host.seen


# ---- several at once

def test_recipients_of_one_domain_share_a_transaction(world):
    host = world.host("fabrikam.test")
    world.start("fabrikam.test")
    to = [f"r{i}@fabrikam.test" for i in range(10)]
    rows = world.daemon.trace_of(send(world, to), count=10)
    assert {r["status"] for r in rows.values()} == {"Delivered"}
    assert len(host.messages) == 1 and sorted(host.messages[0].recipients) == sorted(to)


def test_each_recipient_has_a_fate_of_its_own(world):
    world.host("fabrikam.test", refuse={"no@fabrikam.test": "550 5.1.1 unknown", "later@fabrikam.test": "450 4.2.1 busy"})
    world.start()
    rows = world.daemon.trace_of(send(world, [BOB, "no@fabrikam.test", "later@fabrikam.test", "x@tailspin.test"]), count=3)
    assert {k: r["status"] for k, r in rows.items()} == {BOB: "Delivered", "no@fabrikam.test": "Failed", "later@fabrikam.test": "Pending",
                                                        "x@tailspin.test": "Delivered"}
    assert rows["no@fabrikam.test"]["reply"] == "550 5.1.1 unknown"


def test_connections_are_used_again(world):
    world.rewrite(delivery="connections = 2  messages-per-connection = 10")
    host = world.host("fabrikam.test")
    world.start("fabrikam.test")
    with world.connector() as client:
        for i in range(60):
            client.send(ALICE, BOB, message(subject=str(i)))
    world.receiver.wait(lambda: len(host.messages) == 60)
    per_session = [len(s.messages) for s in host.sessions]
    assert max(per_session) <= 10 and max(per_session) > 1, per_session
    assert len(host.sessions) < 60
    world.check_pools()


def test_no_more_connections_than_allowed(world):
    world.rewrite(delivery="connections = 3")
    most = [0]
    host = world.host("fabrikam.test", script={"mail": lambda s, a: most.__setitem__(0, max(most[0], sum(x.open for x in host.sessions)))})
    world.start("fabrikam.test")
    clients = [world.connector() for _ in range(10)]
    for round_ in range(10):
        for client in clients:
            client.send(ALICE, BOB, message(subject=str(round_)))
    world.receiver.wait(lambda: len(host.messages) == 100, timeout=60)
    assert 1 <= most[0] <= 3


# ---- deferrals

DEFERRALS = {
    "rcpt 4xx": {"rcpt": ["451 4.7.1 greylisted"]},
    "mail 4xx": {"mail": ["421 4.7.0 later"]},
    "mail 452": {"mail": ["452 4.3.1 full"]},
    "data 4xx": {"data": ["451 4.3.0 later"]},
    "dot 4xx": {"dot": ["451 4.3.0 later"]},
    "connect 4xx": {"connect": ["421 4.3.2 later"]},
    "connect 5xx": {"connect": ["554 5.3.2 not now"]},
    "close at connect": {"connect": [CLOSE]},
    "close at EHLO": {"ehlo": [CLOSE]},
    "reset at MAIL": {"mail": [RESET]},
    "close at RCPT": {"rcpt": [CLOSE]},
    "close at DATA": {"data": [CLOSE]},
    "garbage at MAIL": {"mail": [b"\x00\xff garbage\r\n\r\n"]},
    "endless reply line": {"ehlo": [b"250-" + b"x" * 300_000 + b"\r\n250 x\r\n"]},
    "no line end": {"connect": [b"220 hello\n\n\n"]},
    "a number that is none": {"rcpt": ["999 hello"]},
}


@pytest.mark.parametrize("name", DEFERRALS)
def test_a_deferral_is_tried_again_from_the_same_address(make_world, name):
    """Invariant 6: greylisting works, since the address stays."""
    world = make_world()
    host = world.host("fabrikam.test", script=DEFERRALS[name])
    world.start("fabrikam.test")
    trace_id = send(world)
    row = world.daemon.trace_of(trace_id, timeout=40)[BOB]
    if name == "connect 5xx" and row["status"] == "Failed":
        return  # a host may refuse for good (RFC 5321 3.1)
    assert row["status"] == "Delivered", row
    assert len({s.source for s in host.sessions}) == 1, [s.source for s in host.sessions]
    assert {s.source for s in host.sessions} <= ADDRESSES["normal"]
    events = [e["event"] for e in world.daemon.events(trace_id)]
    assert events[0] == "RECEIVE" and events[-1] == "SEND"
    assert len([m for m in host.messages]) == 1


@pytest.mark.parametrize("stage,reply", [("mail", "550 5.7.1 no"), ("rcpt", "550 5.1.1 no"), ("data", "554 5.0.0 no"), ("dot", "554 5.6.0 no")])
def test_a_permanent_refusal_ends_it(world, stage, reply):
    host = world.host("fabrikam.test", script={stage: reply})
    world.start("fabrikam.test")
    row = world.daemon.trace_of(send(world))[BOB]
    assert row["status"] == "Failed" and row["reply"] == reply
    assert len(host.seen) <= 1


def test_the_address_stays_across_a_restart(world):
    world.rewrite(delivery="first-retry = 2s  max-retry = 2s  messages-per-connection = 1")
    host = world.host("fabrikam.test", script={"rcpt": ["451 4.7.1 greylisted"] * 8})
    world.start("fabrikam.test")
    ids = [send(world, f"r{i}@fabrikam.test") for i in range(8)]
    first = {}
    world.receiver.wait(lambda: sum(c.startswith("RCPT") for s in host.sessions for c in s.commands) >= 8)
    for trace_id in ids:
        row = until(lambda t=trace_id: next((r for r in world.daemon.trace("--trace-id", t) if r["attempts"]), None))
        first[row["recipient"]] = row["outbound_ip"]
    world.daemon.stop()
    world.daemon.start()
    for trace_id in ids:
        row = next(iter(world.daemon.trace_of(trace_id).values()))
        assert row["status"] == "Delivered" and row["outbound_ip"] == first[row["recipient"]], row
    assert len(set(first.values())) > 1, "spread over the pool's addresses"


def test_expiry(world):
    world.rewrite(delivery="first-retry = 1s  max-retry = 1s  expire = 4s")
    world.host("fabrikam.test", script={"rcpt": "451 4.2.1 never"})
    world.start("fabrikam.test")
    trace_id = send(world)
    row = world.daemon.trace_of(trace_id, status="Failed")[BOB]
    assert "4.4.7" in row["reply"] or "5.4.7" in row["reply"] or "5.4.300" in row["reply"], row
    assert [e["event"] for e in world.daemon.events(trace_id)].count("DEFER") >= 1


def test_the_queue_starts_where_it_stopped(world):
    world.rewrite(delivery="first-retry = 1s  max-retry = 1s")
    world.daemon.start()  # no receiver listens
    ids = [send(world, f"r{i}@fabrikam.test") for i in range(30)]
    until(lambda: len(world.daemon.rows("queue", "list")) == 30)
    world.daemon.stop()
    world.host("fabrikam.test")
    world.daemon.start()
    for trace_id in ids:
        assert next(iter(world.daemon.trace_of(trace_id).values()))["status"] == "Delivered"
    assert len(world.receiver.messages) == 30


def test_sigterm_drains(world):
    """Open clients get 421, a delivery under way ends, nothing is delivered twice."""
    import signal
    import threading
    release = threading.Event()
    host = world.host("fabrikam.test", script={"dot": lambda s, m: release.wait(60) and None})
    world.start("fabrikam.test")
    trace_id = send(world)
    world.receiver.wait(lambda: host.seen)
    idle = world.connector()
    world.daemon.signal(signal.SIGTERM)
    reply = idle.reply() or idle.command("NOOP")
    assert reply.startswith("421 4.3.2"), reply
    with pytest.raises((ConnectionError, Refused, OSError)):
        world.connector().send(ALICE, BOB, message())
    release.set()
    assert world.daemon.wait() == 0  # a second signal would cut the delivery off
    world.daemon.check_faults()
    world.daemon.start()
    assert world.daemon.trace_of(trace_id)[BOB]["status"] == "Delivered"
    assert len(host.seen) == 1


def test_spread_over_the_pool(world):
    world.rewrite(delivery="messages-per-connection = 1")
    host = world.host("fabrikam.test")
    world.start("fabrikam.test")
    with world.connector() as client:
        for i in range(40):
            client.send(ALICE, BOB, message(subject=str(i)))
    world.receiver.wait(lambda: len(host.messages) == 40)
    assert {m.source for m in host.messages} == ADDRESSES["normal"]


def test_many_receivers_at_once(make_world):
    names = {f"d{i}.many.test": f"127.0.11.{i + 1}" for i in range(40)}
    world = make_world()
    world.daemon.write(world.config(), {"zone": zone({**HOSTS, **names})})
    for name, address in names.items():
        world.hosts[name] = world.receiver.host(address, f"mx.{name}")
    world.daemon.start()
    trace_id = send(world, [f"x@{n}" for n in names])
    rows = world.daemon.trace_of(trace_id, count=40, timeout=60)
    assert {r["status"] for r in rows.values()} == {"Delivered"}
    assert all(len(world.hosts[n].messages) == 1 for n in names)
