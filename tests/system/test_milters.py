"""Milters in the SMTP session: Debian's libmilter and OpenDKIM as they are, and milters that misbehave."""
import concurrent.futures
import http.client
import os
import re
import shutil
import socket

import pytest

from conftest import missing
from lab import milters
from lab.client import Refused, message
from lab.signing import Judges, Key, modules_missing
from lab.waiting import until
from lab.world import ADDRESSES, ON_PREM, PLAIN, zone

ALICE, BOB, DORA = "alice@contoso.test", "bob@fabrikam.test", "dora@tailspin.test"
LATER = "451 4.7.1 Service unavailable - try again later"


NAMES = "1.3.0.127.in-addr.arpa. IN PTR mail.contoso.test.\n2.3.0.127.in-addr.arpa. IN PTR mail.contoso.test.\n"  # of ON_PREM; a lie


def section(socket, name="one", more=""):
    return f'milter "{name}" {{ socket = "{socket}"  timeout = 30s  connect-timeout = 30s  message-timeout = 60s  {more} }}\n'


@pytest.fixture
def obedient(world):
    why = milters.library_missing()
    if why:
        missing(why)
    (world.folder / "zone").write_text(zone(extra=NAMES))
    with milters.Obedient(world.folder / "m.sock") as milter:
        world.rewrite(extra=section(milter.socket))
        yield milter


def orders(*given, **how):
    return message(ALICE, BOB, headers=[*(f"X-Do: {order}" for order in given), "X-A: 1", "X-A: 2", "X-A: 3"], **how)


def arrived(world, count=1):
    world.receiver.wait(lambda: len(world.receiver.messages) >= count)
    return world.receiver.messages[count - 1]


def trace(world, trace_id):
    return {row["recipient"]: row for row in world.daemon.trace("--limit", "100") if row["trace_id"] == trace_id}


def events(world, trace_id):
    return [e["event"] for e in world.daemon.rows("trace", "show", trace_id)]


# ---- libmilter


def test_what_it_is_told(world, obedient):
    world.start("fabrikam.test")
    with world.submission(tls=True) as client:
        trace_id = client.send(ALICE, BOB, orders(), "BODY=8BITMIME", "NOTIFY=FAILURE")
    connect, = obedient.told("connect")
    assert connect["hostname"] == "localhost" and connect["address"] == "127.0.0.1"
    assert connect["macros"] == {"j": "mta01.bl2.sluice.test", "{daemon_name}": "mta01.bl2.sluice.test", "{client_addr}": "127.0.0.1", "v": "Sluice"}
    plain, tls = obedient.told("helo", 2)
    assert plain["macros"]["{tls_version}"] is None and tls["macros"]["{tls_version}"] == "TLSv1.3" and tls["macros"]["{cipher}"]
    mail, = obedient.told("mail")
    assert (mail["sender"], mail["parameters"]) == (f"<{ALICE}>", ["BODY=8BITMIME"])
    assert mail["macros"] == {"i": trace_id, "{auth_authen}": ALICE, "{auth_type}": "PLAIN", "{mail_addr}": ALICE}
    rcpt, = obedient.told("rcpt")
    assert (rcpt["recipient"], rcpt["parameters"]) == (f"<{BOB}>", ["NOTIFY=FAILURE"])
    told, = obedient.told("message")
    assert [name for name, _ in told["fields"]] == ["From", "To", "Subject", "Date", "Message-ID", "X-A", "X-A", "X-A"]
    assert told["size"] == len(b"Hello.\r\n")
    assert arrived(world).body == b"Hello.\r\n"


@pytest.mark.parametrize("source, name, resolve", [(ON_PREM, "mail.contoso.test", "OK"), (PLAIN, f"[{PLAIN}]", "FORGED"), ("127.0.3.9", "[127.0.3.9]", "FAIL")])
def test_the_name_of_a_client_is_confirmed(world, obedient, source, name, resolve):
    world.start("fabrikam.test")
    with world.connector(source):
        pass
    connect, = obedient.told("connect")
    assert (connect["hostname"], connect["resolve"]) == (name, resolve)


REFUSALS = {
    "reject": "550 5.7.1 Command rejected",
    "reject Not today": "550 5.7.1 Not today",
    "reject One line|and 100%% more": "550-5.7.1 One line\n550 5.7.1 and 100% more",
    "tempfail": LATER,
}


@pytest.mark.parametrize("order", REFUSALS)
def test_a_message_is_refused_with_its_reply(world, obedient, order):
    world.start("fabrikam.test")
    with world.connector() as client:
        with pytest.raises(Refused) as refused:
            client.send(ALICE, BOB, orders(order))
        assert refused.value.reply == REFUSALS[order]
        client.send(ALICE, BOB, orders())
    row, = [r for r in world.daemon.trace() if r["event"] == "REFUSE"]
    assert row["recipient"] == BOB and row["reply"].split()[0] == REFUSALS[order][:3]
    assert len(obedient.told("message", 2)) == 2
    world.daemon.wait_log("refused .*milter one")


def test_commands_are_refused(world, obedient):
    world.rewrite(tenant='connector "tools" { addresses = {"127.0.3.9"} }')
    world.start("fabrikam.test")
    with world.connector(greet=False) as client:
        client.reply()
        assert client.command("EHLO bad.example") == "554 5.7.1 Your name is bad"
        assert client.command("MAIL FROM:<alice@contoso.test>").startswith("503")
    with world.connector() as client:
        assert client.command("MAIL FROM:<later@contoso.test>") == LATER
        client.expect(f"MAIL FROM:<{ALICE}>")
        assert client.command("RCPT TO:<nobody@fabrikam.test>") == "550 5.1.1 No such user, says the milter"
        client.expect(f"RCPT TO:<{BOB}>")
        client.data(orders())
    assert arrived(world).recipients == [BOB]
    later, told = obedient.told("mail", 2)
    assert "later" in later["sender"] and "alice" in told["sender"]


def test_rset_is_told(world, obedient):
    world.start("fabrikam.test")
    with world.connector() as client:
        client.envelope(ALICE, BOB)
        client.expect("RSET")
        client.send(ALICE, BOB, orders())
    assert len(obedient.told("connect", 1)) == 1 and len(obedient.told("mail", 2)) == 2 and len(obedient.told("message", 1)) == 1
    assert obedient.told("abort")


@pytest.mark.parametrize("how", ["at RCPT", "at the end"])
def test_discarded_is_accepted_and_dropped(world, obedient, how):
    world.start("fabrikam.test")
    with world.connector() as client:
        if how == "at RCPT":
            trace_id = client.send(ALICE, [BOB, "hole@fabrikam.test", "third@fabrikam.test"], orders())
        else:
            trace_id = client.send(ALICE, BOB, orders("discard"))
        client.send(ALICE, BOB, orders())
    assert arrived(world) and len(world.receiver.messages) == 1
    rows = trace(world, trace_id)
    assert set(rows) == ({BOB, "hole@fabrikam.test", "third@fabrikam.test"} if how == "at RCPT" else {BOB})
    for row in rows.values():
        assert (row["event"], row["reply"]) == ("DROP", "discarded by the milter one")


CHANGES = {
    "add X-New=value": lambda h: h + [("X-New", "value")],
    "insert X-New=value": lambda h: [("X-New", "value")] + h,
    "change X-A=2=new": lambda h: [("X-A", "new") if f == ("X-A", "2") else f for f in h],
    "change X-A=2=": lambda h: [f for f in h if f != ("X-A", "2")],
    "change X-A=4=four": lambda h: h + [("X-A", "four")],
    "add X-Folded=one\n\ttwo": lambda h: h + [("X-Folded", "one two")],
}


@pytest.mark.parametrize("order", CHANGES)
def test_the_header_is_changed(world, obedient, order):
    """What the client sent stays in its order; what we add stands above."""
    world.start("fabrikam.test")
    with world.connector() as client:
        if "\n" in order:
            pytest.importorskip("Milter", reason="needs libmilter")
            text = orders("add X-Folded=one|two").replace(b"one|two", b"one\r\n\ttwo")
        else:
            text = orders(order)
        client.send(ALICE, BOB, text)
    got = arrived(world)
    head = got.data.split(b"\r\n\r\n")[0].decode().replace("\r\n\t", " ").split("\r\n")
    fields = [tuple(line.split(": ", 1)) for line in head if not re.match(r"(Received|\s|DKIM|ARC|X-Do)", line)]
    sent = [tuple(line.split(": ", 1)) for line in orders().decode().split("\r\n\r\n")[0].split("\r\n")]
    assert [f for f in fields if f[0] in ("X-A", "X-New", "X-Folded", "From", "To", "Subject")] == \
        [f for f in CHANGES[order](sent) if f[0] in ("X-A", "X-New", "X-Folded", "From", "To", "Subject")]
    assert got.body == b"Hello.\r\n"


def test_the_body_is_replaced_and_signed(make_world, folder):
    """Our signature is over what leaves, and dkimpy agrees."""
    if modules_missing() or milters.library_missing():
        missing(modules_missing() or milters.library_missing())
    world = make_world()
    key = Key("contoso.test", "s1")
    key.file(world.folder / "s1.pem")
    (world.folder / "zone").write_text(zone(extra=NAMES + key.zone_line()))
    with milters.Obedient(world.folder / "m.sock") as milter:
        world.rewrite(extra=section(milter.socket), tenant='dkim "contoso.test" { selector = "s1"  key = "s1.pem" }')
        world.start("fabrikam.test")
        with world.submission() as client:
            client.send(ALICE, BOB, orders("body New words|.and a dot", "change Subject=1=changed"))
            client.send(ALICE, BOB, orders("bigbody 3000000"))
        got = arrived(world)
        assert got.body == b"New words\r\n.and a dot\r\n" and got.header("Subject") == "changed"
        judges = Judges(key)
        assert judges.signatures(got.data) == [("contoso.test", "s1", "pass")]
        big = arrived(world, 2)
        assert big.body == (b"x" * 76 + b"\r\n") * (3000000 // 78)
        assert judges.signatures(big.data) == [("contoso.test", "s1", "pass")]
    row = [r for r in world.daemon.trace() if r["subject"] == "changed"]
    assert len(row) == 1 and row[0]["class"] == "normal"


def test_a_big_message_passes(world, obedient):
    world.start("fabrikam.test")
    body = b"".join(b"%07d " % i + b"y" * 60 + b"\r\n" for i in range(60000))
    with world.connector() as client:
        client.send(ALICE, BOB, orders("add X-Seen=1", body=body))
    got = arrived(world)
    assert got.body == body and got.header("X-Seen") == "1"
    assert obedient.told("message")[0]["size"] == len(body)


def test_a_long_field_passes(world, obedient):
    """libmilter hangs up on more than 64 KiB at once: it sees the beginning, the receiver gets all."""
    world.start("fabrikam.test")
    long = "X-Long: " + "\r\n ".join(["z" * 900] * 100)
    with world.connector() as client:
        client.send(ALICE, BOB, orders("add X-Seen=1").replace(b"X-A: 1", long.encode()))
    told = dict(obedient.told("message")[0]["fields"])
    assert 64000 < len(told["X-Long"]) < 65536 and arrived(world).data.count(b"z" * 900) == 100


def test_the_envelope_is_changed(world, obedient):
    world.start("fabrikam.test", "tailspin.test")
    with world.connector() as client:
        client.send(ALICE, [BOB, "third@fabrikam.test"], orders(f"to <{DORA}>", "notto <third@fabrikam.test>", "from <boss@contoso.test>"))
    world.receiver.wait(lambda: len(world.receiver.messages) == 2)
    assert {r for m in world.receiver.messages for r in m.recipients} == {BOB, DORA}
    assert {m.mail_from for m in world.receiver.messages} == {"boss@contoso.test"}


def test_all_recipients_taken_out(world, obedient):
    world.start("fabrikam.test")
    with world.connector() as client:
        trace_id = client.send(ALICE, BOB, orders(f"notto <{BOB}>"))
    assert trace(world, trace_id)[BOB]["event"] == "DROP"


def test_a_changed_reverse_path_is_attributed_again(world, obedient):
    """A user's mail can't leave under a name that is not the tenant's, whoever wants it."""
    world.start("fabrikam.test")
    with world.submission() as client:
        with pytest.raises(Refused) as refused:
            client.send(ALICE, BOB, orders("from <ceo@elsewhere.test>"))
        assert refused.value.reply.startswith("550 5.7.1 ")
    with world.connector() as client:
        client.send(ALICE, BOB, orders("from <ceo@sender.test>"))
    got = arrived(world)
    assert got.source in ADDRESSES["relay"], "a foreign reverse-path that nobody verified"


def test_quarantined_is_held_through_a_crash(world, obedient):
    world.start("fabrikam.test")
    with world.connector() as client:
        trace_id = client.send(ALICE, [BOB, "third@fabrikam.test"], orders("quarantine smells of phish"))
        world.daemon.kill()
    world.daemon.start()
    rows = world.daemon.rows("queue", "list")
    assert {(r["recipient"], r["state"]) for r in rows} == {(BOB, "held"), ("third@fabrikam.test", "held")}
    assert "quarantined by the milter one: smells of phish" in {r["why"] for r in rows}
    assert not world.receiver.messages
    world.daemon.cli("queue", "release", trace_id)
    world.receiver.wait(lambda: sum(len(m.recipients) for m in world.receiver.messages) == 2)
    assert events(world, trace_id).count("RELEASE") == 2


def test_a_released_message_stays_released(world, obedient):
    world.start("fabrikam.test")
    world.hosts["fabrikam.test"].script["rcpt"] = "451 4.2.1 wait"
    with world.connector() as client:
        trace_id = client.send(ALICE, BOB, orders("quarantine why"))
    until(lambda: trace(world, trace_id).get(BOB, {}).get("event") == "HOLD", what="the hold is in the trace")
    world.daemon.cli("queue", "release", trace_id)
    until(lambda: trace(world, trace_id)[BOB]["event"] == "DEFER", what="it was tried")
    world.daemon.kill()
    world.hosts["fabrikam.test"].script.clear()
    world.daemon.start()
    arrived(world)


def test_the_local_socket(world, obedient):
    """`sluice send` passes all stages at once."""
    world.start("fabrikam.test")
    ran = world.daemon.run("send", "-f", ALICE, BOB, stdin=orders("add X-Seen=1"))
    assert ran.returncode == 0, ran.stderr
    assert arrived(world).header("X-Seen") == "1"
    assert obedient.told("connect")[0]["hostname"] == "localhost"
    ran = world.daemon.run("send", "-f", ALICE, BOB, stdin=orders("reject Not from here"))
    assert ran.returncode == 1 and b"550 5.7.1 Not from here" in ran.stderr + ran.stdout


def test_listeners_and_api_are_chosen(world, obedient):
    world.rewrite(extra=section(obedient.socket, more='listeners = {"submission"}  api = off'))
    world.start("fabrikam.test")
    with world.connector() as client:
        client.send(ALICE, BOB, orders("reject"))
    assert world.daemon.run("send", "-f", ALICE, BOB, stdin=orders("reject")).returncode == 0
    with world.submission() as client:
        with pytest.raises(Refused):
            client.send(ALICE, BOB, orders("reject"))


def test_two_in_a_row(world, obedient):
    with milters.Obedient(world.folder / "n.sock") as second:
        world.rewrite(extra=section(obedient.socket) + section(second.socket, "two"))
        world.start("fabrikam.test")
        with world.connector() as client:
            client.send(ALICE, BOB, orders("add X-Mark=1"))
        arrived(world)
        assert ["X-Mark", "1"] in second.told("message")[0]["fields"]
        assert ["X-Mark", "1"] not in obedient.told("message")[0]["fields"]


def metrics(world):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(world.folder / "state/api.sock"))
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


def test_status_and_metrics(world, obedient):
    world.start("fabrikam.test")
    with world.connector() as client:
        client.send(ALICE, BOB, orders("add X-Seen=1"))
        client.send(ALICE, BOB, orders("quarantine why"))
        client.send(ALICE, BOB, orders("discard"))
        with pytest.raises(Refused):
            client.send(ALICE, BOB, orders("reject"))
    status, = world.daemon.rows("status")
    assert status["milter one"] == f"{world.folder}/m.sock up, 4 messages, 0 failures"
    text = metrics(world)
    for name in ("changed", "quarantined", "discarded", "refused"):
        assert f'sluice_milter_{name}_total{{milter="one"}} 1' in text, text
    assert 'sluice_milter_up{milter="one"} 1' in text


def test_many_sessions_at_once(world, obedient):
    """Sessions on all workers, several messages each: every one gets its own answer."""
    world.start("fabrikam.test")

    def session(number):
        with world.connector() as client:
            for i in range(15):
                mark = f"{number}-{i}"
                if i % 3:
                    client.send(ALICE, BOB, orders(f"add X-Mark={mark}", f"body {mark}", subject=mark))
                else:
                    with pytest.raises(Refused) as refused:
                        client.send(ALICE, BOB, orders(f"reject no {mark}"))
                    assert refused.value.reply == f"550 5.7.1 no {mark}"

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(session, range(8)))
    world.receiver.wait(lambda: len(world.receiver.messages) == 80)
    for got in world.receiver.messages:
        assert got.header("Subject") == got.header("X-Mark") == got.body.decode().strip()
    assert len(obedient.told("connect", 8)) == 8, "one connection a session"


def test_a_reload_is_for_new_sessions(world, obedient):
    world.rewrite(extra="")
    world.start("fabrikam.test")
    with world.connector() as before:
        world.rewrite(extra=section(obedient.socket))
        world.daemon.cli("reload")
        with world.connector() as after:
            with pytest.raises(Refused):
                after.send(ALICE, BOB, orders("reject"))
        before.send(ALICE, BOB, orders("reject"))
    assert len(obedient.told("connect", 1)) == 1


def content_with_all(milter, connection):
    milter.read(connection)
    connection.sendall(milters.agreement())
    milter.until(connection, b"E")
    connection.sendall(milters.packet(b"c"))
    milter.read(connection)


def test_a_session_from_before_a_reload_asks_the_resolver_of_now(world):
    """The one that it began with is freed some minutes after the reload."""
    with milters.Rude(content_with_all) as milter:
        world.rewrite(extra=section(f"inet:{milter.port}@milter.sluice.test"))
        name = NAMES + "milter.sluice.test. IN A 127.0.0.{}\n"
        (world.folder / "zone").write_text(zone(extra=name.format(9)))  # nobody listens there
        world.start("fabrikam.test")
        with world.connector() as client:
            (world.folder / "zone").write_text(zone(extra=name.format(1)))
            world.daemon.cli("reload")
            client.send(ALICE, BOB, message())
        assert milter.connections == 1


# ---- OpenDKIM


def test_opendkim_signs(make_world):
    """The real one, as signer: what it adds verifies at the receiver, beside a signature of ours."""
    if modules_missing():
        missing(modules_missing())
    world = make_world()
    ours, theirs = Key("contoso.test", "s1"), Key("contoso.test", "od")
    ours.file(world.folder / "s1.pem"), theirs.file(world.folder / "od.pem")
    (world.folder / "zone").write_text(zone(extra=NAMES + ours.zone_line() + theirs.zone_line()))
    with milters.OpenDkim(world.folder / "dkim.sock", world.folder, "Mode s", "Domain contoso.test", "Selector od", f"KeyFile {world.folder}/od.pem",
                          "InternalHosts 127.0.0.0/8", "OversignHeaders From") as milter:
        world.rewrite(extra=section(milter.socket), tenant='dkim "contoso.test" { selector = "s1"  key = "s1.pem" }')
        world.start("fabrikam.test")
        with world.connector() as client:
            client.send(ALICE, BOB, message(ALICE, BOB, body=b"One line.\r\n\r\n.dot\r\n" * 5000, headers=["X-Folded: one\r\n  two"]))
            client.send(ALICE, BOB, message(ALICE, BOB, subject="second"))
        world.receiver.wait(lambda: len(world.receiver.messages) == 2)
        judges = Judges(ours, theirs)
        for got in world.receiver.messages:
            assert sorted(judges.signatures(got.data)) == [("contoso.test", "od", "pass"), ("contoso.test", "s1", "pass")]


# ---- ClamAV


@pytest.mark.parametrize("action", ["Reject", "Quarantine", "Blackhole", "Defer"])
def test_clamav(world, action):
    """clamav-milter before a clamd with one signature."""
    (world.folder / "zone").write_text(zone(extra=NAMES))
    if not (shutil.which("clamd", path="/usr/sbin") and shutil.which("clamav-milter", path="/usr/sbin")):
        missing("clamav-daemon and clamav-milter are not installed (tools/setup test)")
    with milters.ClamAv(world.folder, f"OnInfected {action}", "RejectMsg Found %v", "AddHeader Replace") as milter:
        world.rewrite(extra=section(milter.socket))
        world.start("fabrikam.test")
        with world.connector() as client:
            client.send(ALICE, BOB, message(subject="good", headers=["X-Virus-Status: forged"]))
            infected = message(subject="bad", body=b"one\r\n" + milters.SIGNATURE + b"\r\n")
            if action in ("Reject", "Defer"):
                with pytest.raises(Refused) as refused:
                    client.send(ALICE, BOB, infected)
                assert refused.value.reply == ("550 5.7.1 Found Sluice.Test.Bad.UNOFFICIAL" if action == "Reject" else LATER)
            else:
                trace_id = client.send(ALICE, BOB, infected)
                rows = world.daemon.rows("queue", "list")
                assert [r["state"] for r in rows if r["trace_id"] == trace_id] == (["held"] if action == "Quarantine" else [])
        good = arrived(world)
    assert good.header("X-Virus-Status") == "Clean" and good.data.count(b"X-Virus-Status:") == 1
    assert [m.header("Subject") for m in world.receiver.messages] == ["good"]


# ---- milters that fail


def nothing(self, connection):
    connection.recv(1000)
    self.over.wait(60)


def garbage(self, connection):
    connection.recv(17)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def closes_at_once(self, connection):
    pass


def closes_in_the_message(self, connection):
    self.until(connection, b"O")
    connection.sendall(milters.agreement(steps=0x26f))
    self.until(connection, b"B")


def garbage_at_the_end(self, connection):
    self.until(connection, b"O")
    connection.sendall(milters.agreement(actions=0x1ff))
    self.until(connection, b"E")
    connection.sendall(milters.packet(b"h", b"no end"))


def floods(self, connection):
    self.until(connection, b"O")
    connection.sendall(milters.agreement(actions=0x1ff))
    self.until(connection, b"E")
    while not self.over.is_set():
        connection.sendall(milters.packet(b"h", b"X-Flood\0" + b"x" * 60000 + b"\0"))


def half_a_packet(self, connection):
    self.until(connection, b"O")
    connection.sendall(milters.agreement())
    self.until(connection, b"E")
    connection.sendall(b"\0\0\0\x05")


FAILURES = {
    garbage: "it does not speak the milter protocol",
    closes_at_once: "no answer to the negotiation: the other side closed",
    closes_in_the_message: "no answer: the other side closed",
    garbage_at_the_end: "a change of the header is malformed",
    floods: "it makes the header too long",
    half_a_packet: "no answer: the other side closed",
}


@pytest.fixture
def named(world):
    """The usual world, in which clients have names."""
    (world.folder / "zone").write_text(zone(extra=NAMES))
    return world


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: f.__name__)
def test_a_failure_defers(named, failure):
    world = named
    with milters.Rude(failure) as milter:
        world.rewrite(extra=section(milter.socket))
        world.start("fabrikam.test")
        with world.connector() as client:
            with pytest.raises(Refused) as refused:
                client.send(ALICE, BOB, message())
            assert refused.value.reply == LATER
            assert client.command("NOOP").startswith("250")
        world.daemon.wait_log(f"milter failed .*{FAILURES[failure]}", what="the failure is logged")
        world.daemon.wait_log("scanner-down|scanner does not answer", what="the alert")
    assert not world.receiver.messages


@pytest.mark.parametrize("how", ["accept", "reject"])
def test_on_failure(named, how):
    world = named
    with milters.Rude(garbage_at_the_end) as milter:
        world.rewrite(extra=section(milter.socket, more=f"on-failure = {how}"))
        world.start("fabrikam.test")
        with world.connector() as client:
            if how == "accept":
                client.send(ALICE, BOB, message())
                assert arrived(world).header("Subject") == "hello"
            else:
                with pytest.raises(Refused) as refused:
                    client.send(ALICE, BOB, message())
                assert refused.value.reply == "550 5.7.1 Service unavailable"


def test_a_slow_one_defers(named):
    world = named
    with milters.Rude(nothing) as milter:
        world.rewrite(extra=section(milter.socket).replace("connect-timeout = 30s", "connect-timeout = 300ms"))
        world.start("fabrikam.test")
        with world.connector() as client:
            with pytest.raises(Refused) as refused:
                client.send(ALICE, BOB, message())
        assert (refused.value.stage, refused.value.reply) == ("MAIL", LATER)
        with world.connector() as client:
            with pytest.raises(Refused):
                client.send(ALICE, BOB, message())
        assert milter.connections == 1, "only one client waited for it"


def test_a_socket_that_is_not_for_us(named):
    """As OpenDKIM's of Debian is, until somebody puts our account into its group: the log says so."""
    world = named
    if os.getuid() != 0:
        missing("only root can become another account")
    path = world.folder / "m.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        world.rewrite(extra=section(f"unix:{path}"))
        (world.folder / "tls.key").chmod(0o644)
        for folder in (world.folder, world.folder.parent):
            folder.chmod(folder.stat().st_mode | 0o055)
        world.daemon.write('user = "nobody"\n' + world.config())
        world.start("fabrikam.test")
        with world.connector() as client:
            with pytest.raises(Refused):
                client.send(ALICE, BOB, message())
        world.daemon.wait_log("milter failed .*may not use this socket: is it in the socket's group")


def test_one_that_is_dead_comes_back(named):
    world = named
    why = milters.library_missing()
    if why:
        missing(why)
    path = world.folder / "m.sock"
    world.rewrite(extra=section(f"unix:{path}"))
    world.start("fabrikam.test")
    with world.connector() as client:
        with pytest.raises(Refused) as refused:
            client.send(ALICE, BOB, message())
        assert refused.value.reply == LATER
        with milters.Obedient(path):
            client.send(ALICE, BOB, message(subject="works"))
            world.daemon.wait_log("milter works again", what="the recovery is logged")
        with pytest.raises(Refused):  # its process is gone while the session lives
            client.send(ALICE, BOB, message())
        with milters.Obedient(path):
            client.send(ALICE, BOB, message(subject="works again"))
    world.receiver.wait(lambda: {m.header("Subject") for m in world.receiver.messages} == {"works", "works again"})


def test_reports_of_our_own_are_not_shown(world, obedient):
    """As Postfix: what we write ourselves passes no milter."""
    world.host("fabrikam.test", script={"rcpt": "550 5.1.1 unknown"})
    world.start("fabrikam.test")
    with world.connector() as client:
        trace_id = client.send(ALICE, BOB, orders())
    until(lambda: "DSN" in events(world, trace_id), what="the report")
    assert len(obedient.told("message", 1)) == 1
