"""Alerts: what a human is told, by whom, how often, and what the history keeps. When the book tells what is tested with a clock
of its own (tests/unit/alert); here the channels are real."""
import email
import email.policy
import json
import pathlib
import re
import sqlite3
import time

import pytest

from lab.client import Refused, message
from conftest import missing
from lab.hook import CLOSE, SILENT, Hook, signature_is_good
from lab.signing import Judges, Key, modules_missing
from lab.waiting import until

SECRET = b"a secret of the pager, 32 bytes."
OPS, ADMIN, NEIGHBOUR = "ops@fabrikam.test", "it@tailspin.test", "admin@woodgrove.test"
DOMAINS = ("fabrikam.test", "tailspin.test", "woodgrove.test")
POLICY = 'policy "default" { external-per-hour = 2  action = restrict  forwarding = on }'
OTHER = f'tenant "other" {{ domains = {{"other.test"}}  administrators = {{"{NEIGHBOUR}"}} }}'


@pytest.fixture
def hooks():
    made = []

    def make(*answers, **how):
        made.append(Hook(SECRET, answers, **how))
        return made[-1]

    yield make
    for hook in made:
        hook.close()


@pytest.fixture
def alerted(make_world):
    """A world whose senders are restricted after two recipients an hour; `alerts` is the section's text."""
    def make(alerts="", *hooked, start=DOMAINS, hook="", **settings):
        sections = "".join(f'  webhook "hook{i}" {{ url = "{h.url}"  secret-file = "hook.key"  retry = 100ms  timeout = 3s  {hook} }}\n'
                           for i, h in enumerate(hooked))
        settings = {"limits": "true", "tenant": f'administrators = {{"{ADMIN}"}}\n{POLICY}', **settings}
        world = make_world(extra=f'alerts {{\n{alerts}\n{sections}}}\n{OTHER}', **settings)
        key = world.folder / "hook.key"
        key.write_bytes(SECRET + b"\n")
        key.chmod(0o600)
        (world.folder / "contoso.users").write_text("".join(f"{n}@contoso.test:{{PLAIN}}secret\n" for n in ("alice", "bob", "carol")))
        return world.start(*start) if start else world
    return make


def restrict(world, user="alice"):
    """The user sends more than is allowed, and is restricted."""
    with world.submission(f"{user}@contoso.test") as client, pytest.raises(Refused):
        client.send(f"{user}@contoso.test", [f"x{i}@fabrikam.test" for i in range(5)], message(sender=f"{user}@contoso.test"))


def mails(world, to):
    """The mails of alerts that an address got."""
    return [m for h in world.receiver.hosts.values() for m in h.messages if to in m.recipients and m.header("X-Sluice-Alert")]


def mail(world, to, count=1):
    return until(lambda: len(mails(world, to)) >= count and mails(world, to), what=f"a mail of an alert to {to}")[count - 1]


def metric(world, name):
    import http.client
    import socket
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(world.folder / "state/api.sock") if (world.folder / "state/api.sock").exists() else str(world.folder / "api.sock"))
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return {m[1]: float(m[2]) for m in re.finditer(rf"(?m)^({re.escape(name)}[^ ]*) (.+)$", text)}


# ---- mail

def test_who_is_told_by_mail_and_how_it_reads(alerted):
    world = alerted(f'mail = {{"{OPS}"}}  from = "sluice@contoso.test"')
    restrict(world)
    received = mail(world, OPS)
    parsed = email.message_from_bytes(received.data, policy=email.policy.default)
    assert not parsed.defects and not [d for v in parsed.values() for d in v.defects], parsed.defects
    assert parsed["From"] == "sluice@contoso.test" and parsed["To"] == OPS and parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["Subject"] == "[sluice] ALARM sender-restricted alice@contoso.test (contoso)"
    assert parsed["Date"].datetime and parsed["Message-ID"].endswith("@mta01.bl2.sluice.test>")
    text = parsed.get_content()
    for words in ("ALARM: a sender is restricted.", "alice@contoso.test", "Why: ", "What to do:", "sluice sender release alice@contoso.test"):
        assert words in text, text
    assert all(len(line) <= 78 for line in text.splitlines()), text
    # It leaves as ordinary mail of the tenant, and counts nowhere.
    row, = world.daemon.trace("--recipient", OPS, "--sender", "sluice@contoso.test")
    assert (row["class"], row["rule"], row["tenant"]) == ("normal", "own", "contoso"), row
    # The tenant's administrators have a mail of their own; the neighbour's have none.
    own = email.message_from_bytes(mail(world, ADMIN).data, policy=email.policy.default)
    assert own["To"] == ADMIN and own["Message-ID"] != parsed["Message-ID"]
    assert world.daemon.run("alerts", "test").returncode == 0
    assert "test" in mail(world, OPS, 2).header("Subject")
    assert world.daemon.trace("--recipient", NEIGHBOUR) == []  # accepted before that one, had it been written
    assert not mails(world, NEIGHBOUR) and not [m for m in world.hosts["woodgrove.test"].seen]
    assert len(mails(world, ADMIN)) == 1  # a test is the operator's
    assert not world.receiver.faults


def test_it_is_signed(alerted):
    if lack := modules_missing():
        missing(f"no judges of signatures: {lack} (tools/setup test)")
    key = Key("contoso.test", "s1")
    world = alerted(f'mail = {{"{OPS}"}}  from = "sluice@contoso.test"', start=(), tenant='dkim "contoso.test" { selector = "s1"  key = "rsa.pem" }\n' + POLICY)
    key.file(world.folder / "rsa.pem")
    world.start("fabrikam.test")
    restrict(world)
    assert Judges(key).signatures(mail(world, OPS).data) == [("contoso.test", "s1", "pass")]


def test_from_elsewhere_it_is_relayed(alerted):
    world = alerted(f'mail = {{"{OPS}"}}', start=())
    with open(world.folder / "zone", "a", encoding="ascii") as zone:
        zone.write("mta01.bl2.sluice.test. IN A 127.0.0.1\n")
    world.start()
    assert "sluice@mta01.bl2.sluice.test is in no accepted domain" in "".join((lambda r: (r.stdout, r.stderr))(world.daemon.run("check")))
    restrict(world)
    mail(world, OPS)
    row, = world.daemon.trace("--recipient", OPS)
    assert (row["class"], row["tenant"]) == ("relay", None), row


def test_its_mails_wait_for_no_restriction(alerted):
    """Not even of the tenant in whose name they are, when they have to be tried again."""
    world = alerted(f'mail = {{"{OPS}"}}  from = "sluice@contoso.test"', start=())
    world.host("fabrikam.test", script={"rcpt": ["451 4.7.1 greylisted"]})
    world.start(*DOMAINS)
    world.daemon.cli("tenant", "restrict", "contoso", "--reason", "stolen")
    assert "stolen" in mail(world, OPS).data.decode()
    assert not world.daemon.rows("queue", "list", "--held")


def test_a_mail_that_fails_makes_no_report_and_no_alert(alerted):
    world = alerted(f'mail = {{"{OPS}"}}  from = "sluice@contoso.test"', start=())
    world.host("fabrikam.test", refuse={OPS: "550 5.1.1 nobody"})
    world.host("tailspin.test")
    world.start()
    restrict(world)
    mail(world, ADMIN)
    row = until(lambda: world.daemon.trace("--recipient", OPS, "--status", "Failed"), what="the mail to fail")[0]
    assert not [e for e in world.daemon.events(row["trace_id"]) if e["event"] == "DSN"]
    world.daemon.wait_log(r"no report .*NOTIFY=NEVER")
    assert [a["kind"] for a in world.daemon.rows("alerts")] == ["sender-restricted"]
    assert not world.daemon.trace("--sender", "<>")


# ---- webhooks

def test_a_webhook_is_called_until_it_takes_it(alerted, hooks):
    """Failing, gone, redirecting, slow: it is tried again, signed anew, under one id; no other address is called."""
    trap = hooks()
    hook = hooks(500, CLOSE, (302, {"Location": trap.url}), SILENT, (204, {}))
    world = alerted("", hook)
    restrict(world)
    hook.wait(5)
    until(lambda: metric(world, "sluice_alert_webhook_calls_total")['sluice_alert_webhook_calls_total{webhook="hook0"}'] == 1)
    assert not hook.bad and not trap.calls
    path, headers, body = hook.calls[-1]
    assert path == "/hook" and headers["Content-Type"] == "application/json"
    assert {h["X-Sluice-Id"] for _, h, _ in hook.calls} == {body["id"]}
    assert (body["event"], body["kind"], body["level"], body["subject"], body["tenant"]) == \
        ("raised", "sender-restricted", "alarm", "alice@contoso.test", "contoso")
    assert body["text"] and body["advice"] and body["count"] == 1 and body["node"] == "mta01.bl2.sluice.test"
    assert metric(world, "sluice_alert_webhook_failures_total")['sluice_alert_webhook_failures_total{webhook="hook0"}'] == 4
    world.daemon.wait_log("a webhook does not take alerts, trying again")
    assert sum("a webhook does not take alerts, trying again" in line for line in world.daemon.lines) == 1
    assert len(hook.calls) == 5


def test_signatures_are_checked_as_the_manual_says():
    body, now = b'{"a":1}', 1795348800
    import hashlib
    import hmac
    good = {"X-Sluice-Timestamp": str(now), "X-Sluice-Signature": "sha256=" + hmac.new(SECRET, b"1795348800." + body, hashlib.sha256).hexdigest()}
    assert signature_is_good(SECRET, good, body, now=now + 10)
    assert not signature_is_good(SECRET, good, body + b" ", now=now)
    assert not signature_is_good(SECRET, good, body, now=now + 3600)
    assert not signature_is_good(SECRET, {**good, "X-Sluice-Timestamp": str(now + 1)}, body, now=now)
    assert not signature_is_good(SECRET, {"X-Sluice-Timestamp": str(now)}, body, now=now)


def test_a_shell_can_check_them_too(alerted, hooks):
    """The manual's line, over a call as it came."""
    import subprocess
    hook = hooks()
    world = alerted("", hook)
    restrict(world)
    hook.wait(1)
    _, headers, _ = hook.calls[0]
    manual = (pathlib.Path(__file__).parents[2] / "docs/operations.md").read_text()
    line, = re.findall(r"^\[ \"sha256=.* && echo good$", manual, re.M)
    (world.folder / "body").write_bytes(hook.bodies[0])
    for body, said in ((hook.bodies[0], "good\n"), (hook.bodies[0] + b" ", "")):
        (world.folder / "body").write_bytes(body)
        ran = subprocess.run(["sh", "-c", line], cwd=world.folder, capture_output=True, text=True,
                             env={"PATH": "/usr/bin:/bin", "timestamp": headers["X-Sluice-Timestamp"], "signature": headers["X-Sluice-Signature"]})
        assert ran.stdout == said, ran


def test_tls_is_verified(alerted, hooks, folder):
    """A server whose certificate nobody vouches for, or that is for another name, gets nothing."""
    import subprocess
    cert, key = folder / "hook.pem", folder / "hook-tls.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert], check=True, capture_output=True)
    unknown, known = hooks(tls=(cert, key)), hooks(tls=(cert, key))
    world = alerted("", unknown, start=())
    config = world.config().replace("alerts {", f'alerts {{\n  webhook "known" {{ url = "{known.url}"  secret-file = "hook.key"  ca = "{cert}" }}\n'
                                                f'  webhook "name" {{ url = "{known.url.replace("localhost", "127.0.0.1")}"  secret-file = "hook.key"  ca = "{cert}" }}\n')
    world.daemon.write(config)
    world.start("fabrikam.test")
    said = {row["channel"]: row for row in world.daemon.rows("alerts", "test")}
    assert said["webhook known"]["result"] == "ok", said
    assert said["webhook hook0"]["result"] == said["webhook name"]["result"] == "failed", said
    assert "certificate" in said["webhook hook0"]["said"] and "127.0.0.1" in said["webhook name"]["said"], said
    assert len(known.calls) == 1 and not unknown.calls and not known.bad


def test_what_was_not_called_is_called_after_a_restart(alerted, hooks):
    hook = hooks(*[503] * 1000)
    world = alerted("", hook, hook="expire = 1h")
    restrict(world)
    first = hook.wait(1)[0]
    world.daemon.cli("alerts")  # flushes: the call is on disk
    world.daemon.kill()
    hook.settle()
    hook.answers.clear()
    before = len(hook.calls)
    world.daemon.start()
    hook.wait(before + 1)
    assert hook.calls[-1][2] == first and not hook.bad
    until(lambda: metric(world, "sluice_alert_webhook_calls_total")['sluice_alert_webhook_calls_total{webhook="hook0"}'] == 1)
    world.daemon.stop()
    with sqlite3.connect(world.folder / "state/trace/alerts.db") as db:
        assert db.execute("SELECT count(*) FROM unsent").fetchone() == (0,)
    world.daemon.start()
    world.daemon.cli("alerts")
    assert len(hook.calls) == before + 1


def test_a_dead_webhook_holds_up_nobody(alerted, hooks):
    dead, alive = hooks(*[SILENT] * 100), hooks()
    world = alerted(f'mail = {{"{OPS}"}}  from = "sluice@contoso.test"', dead, alive)
    started = time.monotonic()
    for user in ("alice", "bob"):
        restrict(world, user)
    assert {b["subject"] for b in alive.wait(2)} == {"alice@contoso.test", "bob@contoso.test"}
    mail(world, OPS, 2)
    assert time.monotonic() - started < 60 and len(dead.calls) <= 20


def test_only_what_it_asked_for(alerted, hooks):
    listed, every = hooks(), hooks()
    world = alerted("", listed, every, start=())
    world.daemon.write(world.config().replace('webhook "hook0" {', 'webhook "hook0" { kinds = {"source-listed", "guard"} '))
    world.start("fabrikam.test")
    restrict(world)
    every.wait(1)
    world.daemon.cli("alerts")
    assert not listed.calls


# ---- how often

def test_the_same_is_told_once_and_an_end_is_told(alerted, hooks):
    hook = hooks()
    world = alerted(f'mail = {{"{OPS}"}}  from = "sluice@contoso.test"', hook)
    restrict(world)
    hook.wait(1)
    world.daemon.cli("sender", "release", "alice@contoso.test")
    assert [b["event"] for b in hook.wait(2)] == ["raised", "over"]
    assert mail(world, OPS, 2).header("Subject") == "[sluice] over: sender-restricted alice@contoso.test (contoso)"
    row, = world.daemon.rows("alerts")
    assert (row["state"], row["kind"], row["count"]) == ("over", "sender-restricted", 1) and row["ended"] >= row["first"]
    world.daemon.cli("sender", "restrict", "alice@contoso.test")  # within the quiet time
    row, = until(lambda: [r for r in world.daemon.rows("alerts", "--open")], what="the alert to be open again")
    assert row["count"] == 2 and len(hook.calls) == 2


def test_no_more_than_so_many_an_hour(alerted, hooks):
    hook = hooks()
    world = alerted(f'mail = {{"{OPS}"}}  from = "sluice@contoso.test"  per-hour = 1', hook)
    for user in ("alice", "bob", "carol"):
        restrict(world, user)
    assert len(world.daemon.rows("alerts")) == 3
    mail(world, OPS), hook.wait(1)
    assert len(mails(world, OPS)) == 1 and len(hook.calls) == 1
    assert sum(metric(world, "sluice_alerts_untold_total").values()) == 6  # two each: operator, tenant, webhook
    assert metric(world, "sluice_alerts_total")['sluice_alerts_total{kind="sender-restricted"}'] == 3


# ---- the history

def test_the_history_with_and_without_a_daemon(alerted):
    world = alerted()
    restrict(world)
    restrict(world, "bob")
    for running in (True, False):
        if not running:
            world.daemon.stop()
        rows = world.daemon.rows("alerts")
        assert [r["subject"] for r in rows] == ["bob@contoso.test", "alice@contoso.test"]
        assert [r["id"] for r in world.daemon.rows("alerts", "--subject", "ALICE@contoso.test")] == [rows[1]["id"]]
        assert len(world.daemon.rows("alerts", "--kind", "sender-restricted", "--tenant", "contoso", "--since", "1h", "--open")) == 2
        assert world.daemon.run("alerts", "--tenant", "other").returncode == 1
        shown = world.daemon.cli("alerts", "show", str(rows[0]["id"]))
        assert "bob@contoso.test" in shown and "what to do" in shown and "sluice sender release bob@contoso.test" in shown
        assert "sender-restricted" in world.daemon.cli("alerts") and world.daemon.cli("alerts", "--csv").startswith("id,state,kind,")
        assert world.daemon.run("alerts", "show", "4711").returncode == 1
        assert world.daemon.run("alerts", "show", "x").returncode == 2
        assert "one of these is wanted: source-listed" in world.daemon.run("alerts", "--kind", "x").stderr
    ran = world.daemon.run("alerts", "test")
    assert ran.returncode == 3
    world.daemon.start()
    assert [r["subject"] for r in world.daemon.rows("alerts")] == ["bob@contoso.test", "alice@contoso.test"]
    assert metric(world, "sluice_alerts_open")['sluice_alerts_open{kind="sender-restricted"}'] == 2


def test_a_damaged_history_is_set_aside(alerted):
    world = alerted()
    restrict(world)
    world.daemon.cli("alerts")
    world.daemon.stop()
    path = world.folder / "state/trace/alerts.db"
    path.write_bytes(b"this is no database, but long enough to look like a page of one" * 200)
    world.daemon.start()
    world.daemon.wait_log("the history of alerts is damaged, set aside")
    restrict(world, "bob")
    assert [r["subject"] for r in world.daemon.rows("alerts")] == ["bob@contoso.test"]
    assert (path.parent / "alerts.db.damaged-1").exists()


def test_the_test_says_what_each_channel_said(alerted, hooks):
    good, bad = hooks(), hooks(*[(401, {})] * 10)
    world = alerted(f'mail = {{"{OPS}"}}  from = "sluice@contoso.test"', good, bad)
    ran = world.daemon.run("alerts", "test", "--json")
    said = {row["channel"]: row for row in map(json.loads, ran.stdout.splitlines())}
    assert ran.returncode == 1 and set(said) == {"log", "history", "webhook hook0", "webhook hook1", f"mail {OPS}"}
    assert said["webhook hook0"]["said"] == "answered 200" and said["webhook hook1"]["said"] == "answered 401"
    assert [name for name, row in said.items() if row["result"] == "failed"] == ["webhook hook1"]
    assert good.calls[0][2]["event"] == "test" and not good.bad
    row = world.daemon.rows("alerts")[0]
    assert (row["kind"], row["state"]) == ("test", "over")


# ---- configuration

@pytest.mark.parametrize("section, words", [
    ('mail = {"nobody"}', "`nobody` is no mail address"),
    ('webhook "p" { url = "ftp://example.net/"  secret-file = "hook.key" }', "is no URL of a web server"),
    ('webhook "p" { url = "https://example.net/" }', "secret-file"),
    ('webhook "p" { url = "https://example.net/"  secret-file = "none.key" }', "can't read"),
    ('webhook "p" { url = "https://example.net/"  secret-file = "short.key" }', "holds a secret of 5 bytes: 16 to 1024 are wanted"),
    ('webhook "p" { url = "https://example.net/"  secret-file = "open.key" }', "is open to others than its owner (mode 0644): chmod 600 it"),
    ('webhook "p" { url = "https://example.net/"  secret-file = "hook.key"  kinds = {"sender-restrict"} }', "did you mean `sender-restricted`?"),
    ('webhok "p" { }', "webhook"),
])
def test_errors_say_what_is_wanted(alerted, section, words):
    world = alerted(section, start=())
    for name, text, mode in (("short.key", "short", 0o600), ("open.key", "x" * 32, 0o644)):
        path = world.folder / name
        path.write_text(text)
        path.chmod(mode)
    ran = world.daemon.run("check")
    assert ran.returncode == 1 and words in ran.stderr + ran.stdout and re.search(r"sluice\.conf:\d+:", ran.stderr + ran.stdout), ran


def test_a_reload_changes_who_is_told(alerted, hooks):
    old, new = hooks(), hooks()
    world = alerted("", old)
    restrict(world)
    old.wait(1)
    world.daemon.write(world.config().replace(old.url, new.url))
    assert world.daemon.run("reload").returncode == 0
    restrict(world, "bob")
    assert new.wait(1)[0]["subject"] == "bob@contoso.test" and len(old.calls) == 1




def test_whom_a_policy_notifies(alerted):
    world = alerted("", tenant='policy "default" { external-per-hour = 2  action = restrict  forwarding = on  notify = {"boss@fabrikam.test"} }')
    with open(world.folder / "zone", "a", encoding="ascii") as zone:
        zone.write("mta01.bl2.sluice.test. IN A 127.0.0.1\n")
    assert world.daemon.run("reload").returncode == 0
    restrict(world)
    received = mail(world, "boss@fabrikam.test")
    assert received.recipients == ["boss@fabrikam.test"] and received.header("To") == "boss@fabrikam.test"
    assert received.header("Subject") == "[sluice] ALARM sender-restricted alice@contoso.test (contoso)"


def test_metrics_and_status(alerted):
    world = alerted()
    restrict(world)
    world.daemon.cli("alerts")
    status, = world.daemon.rows("status")
    assert status["alerts_open"] == 1
    assert metric(world, "sluice_alerts_open")['sluice_alerts_open{kind="guard"}'] == 0
    assert metric(world, "sluice_alerts_told_total") == {"sluice_alerts_told_total": 1}
    assert metric(world, "sluice_alerts_dropped_total") == {"sluice_alerts_dropped_total": 0}
