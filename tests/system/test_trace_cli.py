"""The command line: what an operator asks and does while the daemon runs (contract of design section 7)."""
import csv
import io
import json
import pathlib
import socket
import subprocess

import pytest

from lab import places
from lab.client import GTUBE, message
from lab.waiting import until
from lab.world import ADDRESSES, EHLO, ON_PREM

ALICE, BOB = "alice@contoso.test", "bob@fabrikam.test"

FIELDS = ["time", "event", "trace_id", "message_id", "tenant", "connector", "sender", "return_path", "recipient", "status", "class", "rule", "reason",
          "outbound_ip_pool_name", "outbound_ip", "ehlo", "server_ip", "server_hostname", "reply", "tls", "spf", "dkim", "verdict", "size", "subject",
          "client_ip", "original_client_ip", "directionality", "attempts", "latency_ms"]
COLUMNS = ["client_ip", "client_hostname", "server_ip", "server_hostname", "source_context", "connector_id", "source", "event_id", "internal_message_id",
           "message_id", "network_message_id", "recipient_address", "recipient_status", "total_bytes", "recipient_count", "related_recipient_address",
           "reference", "message_subject", "sender_address", "return_path", "message_info", "directionality", "tenant_id", "original_client_ip",
           "original_server_ip", "custom_data"]


def send(world, to=BOB, text=None, sender=ALICE, **how):
    with world.connector() as client:
        return client.send(sender, to, text or message(sender, to), **how)


@pytest.fixture
def waiting(world):
    """Three messages that wait: nobody listens."""
    world.rewrite(delivery="first-retry = 1h  max-retry = 1h")
    world.daemon.start()
    ids = [send(world, BOB), send(world, "x@tailspin.test"), send(world, BOB, message(body=GTUBE))]
    until(lambda: [r["attempts"] for r in world.daemon.trace()] == [1, 1, 1], what=lambda: world.daemon.trace())
    return world, ids


def test_every_field_of_a_row(world):
    world.start("fabrikam.test")
    text = message(subject="Grüße an alle")
    trace_id = send(world, text=text)
    row = world.daemon.trace_of(trace_id)[BOB]
    assert [f for f in FIELDS if f not in row] == []
    got = world.receiver.messages[0]
    expected = {
        "event": "SEND", "trace_id": trace_id, "tenant": "contoso", "connector": "on-prem", "sender": ALICE, "return_path": ALICE, "recipient": BOB,
        "status": "Delivered", "class": "normal", "rule": "own", "outbound_ip_pool_name": "normal", "outbound_ip": got.source, "ehlo": EHLO,
        "server_ip": "127.0.10.1", "server_hostname": "mx.fabrikam.test", "reply": "250 2.0.0 taken", "tls": None, "subject": "Grüße an alle",
        "client_ip": ON_PREM, "directionality": "Originating", "attempts": 1, "message_id": got.header("Message-ID"),
    }
    assert {k: row[k] for k in expected} == expected
    assert row["time"].endswith("Z") and "T" in row["time"] and len(row["time"]) == 24
    assert row["size"] >= len(text) and 0 <= row["latency_ms"] < 60000
    events = world.daemon.events(trace_id)
    assert [e["event"] for e in events] == ["RECEIVE", "SEND"]
    assert [f for f in FIELDS if f not in events[0]] == []
    assert trace_id in world.daemon.cli("trace", "show", trace_id)


def test_filters(world):
    world.host("fabrikam.test", refuse={"no@fabrikam.test": "550 5.1.1 no"})
    world.start()
    a = send(world, BOB, message(subject="Invoice 17"))
    b = send(world, "no@fabrikam.test", message(subject="Offer"), sender="carol@sender.test")
    c = send(world, "x@tailspin.test", message(body=GTUBE, subject="re: Invoice"))
    for trace_id in (a, b, c):
        world.daemon.trace_of(trace_id)
    got = next(m for m in world.receiver.messages if BOB in m.recipients)
    for filters, expected in [
        (["--trace-id", a], {a}), (["--sender", "carol@sender.test"], {b}), (["--sender", "@sender.test"], {b}), (["--recipient", BOB], {a}),
        (["--recipient", "@tailspin.test"], {c}), (["--status", "Failed"], {b}), (["--class", "high-risk"], {c}), (["--rule", "relayed"], {b}),
        (["--pool", "high-risk"], {c}), (["--subject", "invoice"], {a, c}), (["--subject", "invoice", "--subject-match", "starts"], {a}),
        (["--from-ip", ON_PREM], {a, b, c}), (["--to-ip", "127.0.10.2"], {c}), (["--message-id", got.header("Message-ID")], {a}), (["--event", "SEND"], {a, c}),
        (["--tenant", "contoso"], {a, b, c}), (["--since", "2000-01-01"], {a, b, c}), (["--until", "2000-01-01"], set()), (["--since", "1h"], {a, b, c}),
    ]:
        got_ids = {r["trace_id"] for r in world.daemon.trace(*filters) if r["recipient"] not in ("carol@sender.test",)}
        assert got_ids == expected, filters
    assert len(world.daemon.trace("--limit", "2")) == 2


def test_csv(world):
    world.start("fabrikam.test")
    trace_id = send(world)
    world.daemon.trace_of(trace_id)
    rows = list(csv.DictReader(io.StringIO(world.daemon.cli("trace", "--trace-id", trace_id, "--csv"))))
    assert list(rows[0]) == COLUMNS
    assert rows[0]["recipient_address"] == BOB and rows[0]["event_id"] == "SEND" and rows[0]["network_message_id"] == trace_id
    assert "S:OutboundIpPoolName=normal" in rows[0]["custom_data"]


def waits(world, ids):
    """That and nothing else is in the queue; what was delivered leaves it after its outcome is in the trace."""
    until(lambda: {r["trace_id"] for r in world.daemon.rows("queue", "list")} == ids, what=lambda: world.daemon.rows("queue", "list"))


def test_queue_list_and_filters(waiting):
    world, (a, b, c) = waiting
    rows = world.daemon.rows("queue", "list")
    assert {r["trace_id"] for r in rows} == {a, b, c}
    for filters, expected in [(["--domain", "fabrikam.test"], {a, c}), (["--pool", "high-risk"], {c}), (["--sender", ALICE], {a, b, c}),
                              (["--recipient", "x@tailspin.test"], {b}), (["--older", "1h"], set())]:
        assert {r["trace_id"] for r in world.daemon.rows("queue", "list", *filters)} == expected, filters
    text = world.daemon.cli("queue", "show", a)
    assert a in text and BOB in text


def test_queue_says_why_mail_waits(waiting):
    world, (a, b, c) = waiting
    for row in world.daemon.rows("queue"):
        assert row["why"].startswith("4") and "connect to mx." in row["why"], row
    assert "WHY" in world.daemon.cli("queue", "show", a) or "why" in world.daemon.cli("queue", "show", a)
    assert "connect to mx.tailspin.test" in world.daemon.cli("queue", "--recipient", "x@tailspin.test")
    assert "connect to mx.tailspin.test" in world.daemon.cli("trace", "--trace-id", b)


def test_queue_retry(waiting):
    world, (a, b, c) = waiting
    world.host("fabrikam.test")
    world.daemon.cli("queue", "retry", "--domain", "fabrikam.test")
    assert world.daemon.trace_of(a)[BOB]["status"] == "Delivered"
    assert world.daemon.trace_of(c)[BOB]["status"] == "Delivered"
    waits(world, {b})


def test_queue_hold_release_cancel(waiting):
    world, (a, b, c) = waiting
    world.host("fabrikam.test")
    world.host("tailspin.test")
    world.daemon.cli("queue", "hold", "--domain", "fabrikam.test")
    world.daemon.cli("queue", "retry", "--all")
    assert world.daemon.trace_of(b)["x@tailspin.test"]["status"] == "Delivered"
    waits(world, {a, c})
    world.daemon.cli("queue", "cancel", "--pool", "high-risk")
    row = world.daemon.trace_of(c)[BOB]
    assert row["status"] == "Cancelled"
    world.daemon.stop()
    world.daemon.start()  # what is held stays held
    assert {r["trace_id"] for r in world.daemon.rows("queue", "list")} == {a}
    world.daemon.cli("queue", "release", "--all")
    assert world.daemon.trace_of(a)[BOB]["status"] == "Delivered"
    events = [e["event"] for e in world.daemon.events(a)]
    assert events[-1] == "SEND" and "HOLD" in events and "RELEASE" in events
    assert [e["event"] for e in world.daemon.events(c)][-1] == "CANCEL"
    assert len(world.hosts["fabrikam.test"].messages) == 1


def test_pools_and_sources(world):
    world.start("fabrikam.test")
    rows = {r.get("pool", r.get("name")): r for r in world.daemon.rows("pool")}
    assert set(rows) == set(ADDRESSES)
    addresses = {r.get("address", r.get("ip")) for r in world.daemon.rows("source")}
    assert addresses == set().union(*ADDRESSES.values())
    text = world.daemon.cli("source")
    assert "mail-bl2on0001.sluice.test" in text and EHLO in text


def table(world, width, *arguments):
    """What a terminal of this width shows: lines, without trailing blanks."""
    ran = subprocess.run(["script", "-qec", f"stty cols {width}; {places.program('sluice')} -c {world.daemon.config} {' '.join(arguments)} --no-color",
                          "/dev/null"], capture_output=True, text=True, env=dict(world.daemon.environment, COLUMNS=str(width)), check=True)
    return [line.rstrip() for line in ran.stdout.replace("\r", "").splitlines()]


def test_tables_fit_the_terminal_and_keep_what_matters(make_world):
    world = make_world(delivery="first-retry = 1h  max-retry = 1h")
    far = 'site "ams" { ehlo = "out.ams.sluice.test"  pool "normal" { class = "on"  addresses = {"127.0.9.0/30"} } }'
    inside = world.config().replace('.sluice.test"\n}\n\npool', '.sluice.test"\n\npool', 1).replace('\n\nlistener', f'\n}}\n{far}\nlistener', 1)
    world.daemon.write('here = "bl2"\n' + inside)
    world.daemon.start()
    trace_id = send(world)
    until(lambda: [r["attempts"] for r in world.daemon.trace()] == [1], what=lambda: world.daemon.trace())
    pools = {(r["site"], r["pool"]): r for r in world.daemon.rows("pool")}
    assert [pools["bl2", "normal"][k] for k in ("waiting", "usable", "sources")] == [1, 4, 4]
    assert [pools["ams", "normal"][k] for k in ("waiting", "usable", "sources")] == [0, 0, 4]
    states = {r["ip"]: r["state"] for r in world.daemon.rows("source")}
    assert states["127.0.9.1"] == "elsewhere" and states["127.0.1.16"] == "healthy"
    for width in (80, 120):
        for arguments, expected in [(["pool"], ["SITE", "WAITING", "ams"]), (["source"], ["PTR", "mail-bl2on0001.sluice.test", "elsewhere"]),
                                    (["trace"], ["CLASS", "CAUSE", "451", trace_id]), (["queue"], ["WHY", "451", trace_id]),
                                    (["trace", "show", trace_id], ["DEFER"])]:
            lines = table(world, width, *arguments)
            assert max(map(len, lines)) <= width, (width, lines)
            assert [e for e in expected if e not in "\n".join(lines)] == [], (width, lines)


def test_status(world):
    world.start("fabrikam.test")
    world.daemon.trace_of(send(world))
    status = world.daemon.rows("status")
    assert len(status) == 1 and json.dumps(status[0])
    assert "mta01.bl2.sluice.test" in world.daemon.cli("status")


def test_reload_swaps_or_keeps(world):
    world.start("fabrikam.test")
    world.rewrite(pools={"normal": "127.0.1.80/30"})
    world.daemon.cli("reload")
    trace_id = send(world)
    assert world.daemon.trace_of(trace_id)[BOB]["outbound_ip"].startswith("127.0.1.8")
    good = world.daemon.config.read_text()
    world.daemon.config.write_text(good + "\nnonsense = 3\n")
    ran = world.daemon.run("reload")
    assert ran.returncode == 1 and "nonsense" in ran.stderr + ran.stdout
    assert world.daemon.trace_of(send(world))[BOB]["status"] == "Delivered"
    world.daemon.config.write_text(good)
    mark = world.daemon.mark()
    import signal
    world.daemon.signal(signal.SIGHUP)
    world.daemon.wait_log("reload", since=mark)


def test_send_reads_a_message_as_sendmail_does(world):
    world.start("fabrikam.test", "tailspin.test")
    text = b"From: alice@contoso.test\nTo: bob@fabrikam.test\nCc: x@tailspin.test\nBcc: y@tailspin.test\nSubject: by send\n\n.leading dot\nend\n"
    ran = world.daemon.run("send", "-t", stdin=text)
    assert ran.returncode == 0, ran.stderr
    world.receiver.wait(lambda: sum(len(m.recipients) for m in world.receiver.messages) == 3)
    got = world.hosts["fabrikam.test"].messages[0]
    assert got.header("Subject") == "by send" and got.header("Bcc") is None and got.body == b".leading dot\r\nend\r\n"
    ran = world.daemon.run("send", "-f", ALICE, "--", BOB, stdin=b"Subject: named\n\nx\n")
    assert ran.returncode == 0, ran.stderr
    world.receiver.wait(lambda: len(world.hosts["fabrikam.test"].messages) == 2)
    ran = world.daemon.run("send", "-f", ALICE, "--", BOB, stdin=b"Subject: a job\n\n10 %\r20 %\r\ndone\n")
    assert ran.returncode == 0, "what cron sends of a program that draws: " + ran.stderr
    world.receiver.wait(lambda: len(world.hosts["fabrikam.test"].messages) == 3)
    assert world.hosts["fabrikam.test"].messages[2].body == b"10 %\r\n20 %\r\ndone\r\n"


def test_exit_codes(world):
    assert world.daemon.run("status").returncode == 3, "no daemon"
    assert world.daemon.run("blurb").returncode == 2
    assert world.daemon.run("trace", "--blurb").returncode == 2
    assert world.daemon.run("check").returncode == 0
    world.start("fabrikam.test")
    assert world.daemon.run("trace", "show", "0" * 26).returncode == 1
    assert world.daemon.run("trace", "--status", "Blurb").returncode == 2
    for nothing in (["trace"], ["trace", "--json"], ["trace", "--csv"], ["queue", "show", "0" * 26], ["queue", "--pool", "relay"],
                    ["queue", "retry", "--sender", ALICE]):
        assert world.daemon.run(*nothing).returncode == 1, nothing
    assert world.daemon.run("queue").returncode == 0, "an empty queue is good"
    assert world.daemon.run("queue", "cancel", "--all").returncode == 0, "of everything there may be nothing"
    assert world.daemon.run("queue", "cancel").returncode == 2, "nothing selected must not mean everything"


def test_spool_check_of_a_healthy_spool(waiting):
    world, _ = waiting
    world.daemon.stop()
    ran = world.daemon.run("spool", "check")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_log_names_the_trace_id(world):
    world.start("fabrikam.test")
    world.daemon.wait_log(send(world))


def test_the_api_gives_every_descriptor_back(world):
    """However its clients go away."""
    world.start("fabrikam.test")
    path = str(world.folder / "state/api.sock")
    request = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"

    def ask(sent, reads):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(sent)
            while reads and client.recv(65536):
                reads = False

    def all_ways():
        for sent, reads in ((request, True), (request.replace(b"Host", b"Connection: close\r\nHost"), True), (request * 2, False), (request[:9], False), (b"", False)):
            ask(sent, reads)

    def descriptors():
        return len(list(pathlib.Path(f"/proc/{world.daemon.pid}/fd").iterdir()))

    all_ways()
    before = descriptors()
    for _ in range(20):
        all_ways()
    until(lambda: descriptors() <= before, what=lambda: f"{descriptors()} descriptors, as before: {before}")
