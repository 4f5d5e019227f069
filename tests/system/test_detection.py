"""Suspicious sending patterns, as the mail and an administrator see them. Windows, history and thresholds are tested with a clock
of their own (tests/unit/policy: pattern, surge, day); here the numbers are small."""
import contextlib
import re

import pytest

from lab.client import GTUBE, Refused, message
from lab.waiting import until
from lab.world import ADDRESSES

DENIED = "550 5.1.8 Access denied, bad outbound sender"
USERS = "".join(f"{name}@contoso.test:{{PLAIN}}secret\n" for name in ("alice", "bob", "carol", "dave"))
SMALL = "spam-minimum = 4  unknown-minimum = 4  refusal-minimum = 4  ndr-surge = 8  "


@pytest.fixture
def watching(make_world):
    def make(*detection, start=("fabrikam.test", "tailspin.test"), refuse=None, script=None, **settings):
        world = make_world(detection=SMALL + "  ".join(detection), **settings)
        world.daemon.write(world.config(), {"contoso.users": USERS})
        if refuse or script:
            world.host("fabrikam.test", refuse=refuse, script=script)
        return world.start(*start)
    return make


def send(world, to="ann@fabrikam.test", user="bob", body=b"Hello.\r\n"):
    sender = f"{user}@contoso.test"
    with world.submission(sender) as client:
        return client.send(sender, to, message(sender=sender, body=body))


def suspected(world, who, sign, since=0):
    return world.daemon.wait_log(rf"suspicious.*who={re.escape(who)}.*sign={sign}", since=since)


def restricted(world, **how):
    """Until it is: what was accepted meanwhile was on its way before."""
    def try_it():
        try:
            send(world, **how)
            return None
        except Refused as e:
            return e.reply
    return until(try_it, what="the restriction")


def alert_of(world, kind):
    """Once it is told: that a sender is restricted is in effect before."""
    alert, = until(lambda: world.daemon.rows("alerts", "--kind", kind), what=f"the alert {kind}")
    return alert


def received(world, trace_id):
    return world.daemon.events(trace_id)[0]


def test_a_spammer_goes_high_risk_and_is_restricted(watching):
    world = watching()
    for _ in range(4):
        before = send(world)
    for _ in range(4):
        send(world, body=GTUBE)
    suspected(world, "bob@contoso.test", "spam-share")
    event = received(world, send(world))
    assert (event["class"], event["rule"]) == ("high-risk", "suspicious")
    assert event["reason"] == ("suspicious sending: in the last hour 4 of 8 messages were judged spam (500 per mille; the threshold is "
                               "300)")
    assert received(world, before)["rule"] == "own"  # what was queued keeps its class
    assert received(world, send(world, user="alice"))["rule"] == "own"  # neighbours keep theirs
    for _ in range(8):
        send(world, body=GTUBE)
    assert restricted(world) == DENIED
    alert = alert_of(world, "suspicious-pattern")
    assert alert["subject"] == "bob@contoso.test spam-share" and alert["tenant"] == "contoso"
    assert "and its mail is high-risk" in alert["text"] and "OutboundSpamLast24Hours=4;OutboundMailLast24Hours=8" in alert["text"]
    alert = alert_of(world, "sender-restricted")
    assert alert["subject"] == "bob@contoso.test" and "messages were judged spam" in alert["text"]
    until(lambda: len(world.receiver.messages) + len(world.daemon.rows("queue", "list", "--held")) >= 18,
          what="what was accepted: it left, or was still in the queue when the restriction came")
    world.check_pools()


def test_a_null_reverse_path_hides_nobody(watching):
    world = watching()
    with world.submission("bob@contoso.test") as client:
        for _ in range(4):
            client.send("", "ann@fabrikam.test", message(sender="bob@contoso.test", body=GTUBE))
    suspected(world, "bob@contoso.test", "spam-share")
    with world.connector() as client:
        for _ in range(4):
            client.send("", "ann@fabrikam.test", message(sender="carol@contoso.test", body=GTUBE))
    suspected(world, "connector/contoso/on-prem/<>", "spam-share")


def test_what_a_suspicious_sender_left_for_later_stays(watching):
    """Mail over the rate of a minute has a class already when its turn comes: the normal pool carries no more of it."""
    world = watching(tenant='policy "default" { per-minute = 4  forwarding = on }\n', limits="true")
    for i in range(4):
        send(world, to=f"a{i}@fabrikam.test")
    waiting = send(world, to="late@fabrikam.test")
    for _ in range(4):
        spam = send(world, body=GTUBE)
    suspected(world, "bob@contoso.test", "spam-share")
    world.receiver.wait(lambda: len(world.receiver.messages) == 4)
    world.daemon.cli("queue", "retry", "--all")  # as when their turn comes
    row, = until(lambda: world.daemon.rows("queue", "list", "--held"), what="the hold")
    assert row["recipient"] == "late@fabrikam.test" and row["why"].startswith("bob@contoso.test: in the last hour 4 of 9 messages"), row
    assert world.daemon.trace_of(spam, "Delivered")["ann@fabrikam.test"]["outbound_ip_pool_name"] == "high-risk"
    world.daemon.cli("sender", "release", "bob@contoso.test")
    world.daemon.cli("queue", "release", waiting)
    assert world.daemon.trace_of(waiting, "Delivered")["late@fabrikam.test"]["outbound_ip_pool_name"] == "normal"
    world.check_pools()


def test_a_policy_says_what_happens(watching):
    world = watching(tenant='policy "default" { on-spam-share = alert  forwarding = on }\n'
                            'policy "strict" { senders = {"carol@contoso.test"}  on-spam-share = restrict }\n')
    for _ in range(14):
        send(world, body=GTUBE)
    world.daemon.wait_log(r"suspicious.*who=bob@contoso.test")
    assert received(world, send(world))["rule"] == "own"
    for _ in range(4):
        send(world, user="carol", body=GTUBE)
    assert restricted(world, user="carol") == DENIED
    alert_of(world, "sender-restricted")
    kinds = {a["subject"]: a["kind"] for a in world.daemon.rows("alerts")}
    assert kinds == {"bob@contoso.test spam-share": "suspicious-pattern", "carol@contoso.test": "sender-restricted"}


def test_a_directory_harvest(watching):
    guesses = [f"guess{i}@fabrikam.test" for i in range(14)]
    world = watching(refuse={g: f"550 5.1.1 <{g}>: nobody here" for g in guesses}, limits="true")
    for i in range(0, 10, 2):
        send(world, guesses[i:i + 2])
    suspected(world, "bob@contoso.test", "unknown-recipients")
    assert restricted(world, to=guesses[10:]) == DENIED
    alert = until(lambda: next(iter(world.daemon.rows("alerts", "--kind", "ndr-surge")), None), what="the alert")
    assert alert["subject"] == "contoso harvest"
    assert "a directory harvest: one sender tries addresses that don't exist: bob@contoso.test" in alert["text"]
    assert "<guess1@fabrikam.test>: 550 5.1.1 <guess1@fabrikam.test>: nobody here" in alert["samples"] or "guess" in alert["samples"]
    assert "sluice sender show bob@contoso.test" in alert["advice"]


def test_receivers_refuse_it_as_spam(make_world):
    """One receiver's word makes it high-risk; it takes a second one, elsewhere, to restrict anybody."""
    refuses = {"dot": "550 5.7.1 Message rejected as spam"}
    world = make_world(detection=SMALL)
    world.daemon.write(world.config(), {"contoso.users": USERS})
    world.host("fabrikam.test", script=refuses)
    world.host("127.0.11.1", script=refuses)
    with open(world.folder / "zone", "a", encoding="ascii") as zone:
        zone.write("other.test. IN MX 10 mx.other.test.\nmx.other.test. IN A 127.0.11.1\n")
    world.start("fabrikam.test")
    for _ in range(4):
        send(world)
    suspected(world, "bob@contoso.test", "refusals")
    event = received(world, send(world))
    assert event["rule"] == "suspicious" and "4 of 4 recipients' servers refused the mail as spam" in event["reason"]
    for _ in range(15):
        last = send(world)
    world.daemon.trace_of(last, "Failed")
    last = send(world, to="ann@other.test")
    world.daemon.trace_of(last, "Failed")
    assert not world.daemon.rows("alerts", "--kind", "sender-restricted")
    with contextlib.suppress(Refused):  # the last of them may come after the restriction
        for _ in range(9):
            send(world, to="ann@other.test")
    assert restricted(world) == DENIED


def test_our_address_is_refused_not_the_sender(watching):
    world = watching(script={"dot": "550 5.7.1 Client host blocked using Spamhaus, spam source"})
    ids = [send(world) for _ in range(8)]
    for trace_id in ids:
        world.daemon.trace_of(trace_id, "Failed")
    assert received(world, send(world))["rule"] == "own"
    assert not world.daemon.rows("alerts", "--kind", "suspicious-pattern")


def test_a_storm_of_bounces_for_mail_that_was_never_sent(watching):
    world = watching(listener='accept = {"forward"}', tenant='forward "help@contoso.test" { to = {"help@fabrikam.test"} }\n')
    with world.connector(source="127.0.8.8") as client:
        for i in range(8):
            client.expect("MAIL FROM:<>")
            assert client.command(f"RCPT TO:<x{i}@contoso.test>").startswith("550 5.1.1")
            client.expect("RSET")
    alert = until(lambda: next(iter(world.daemon.rows("alerts", "--kind", "ndr-surge")), None), what="the alert")
    assert alert["subject"] == "contoso spoofing" and alert["tenant"] == "contoso"
    assert "a spoofing campaign: somebody forges this domain, and its bounces come here: contoso.test" in alert["text"]
    assert "<x0@contoso.test>: 550 5.1.1" in alert["samples"] or "@contoso.test>: 550 5.1.1" in alert["samples"]
    assert "DMARC" in alert["advice"]


def test_answers_to_what_was_sent_are_no_storm(watching):
    world = watching(listener='accept = {"forward"}', tenant="".join(
        f'forward "{who}@contoso.test" {{ to = {{"{who}@fabrikam.test"}} }}\n' for who in ("bob", "help")))
    send(world)
    with world.connector(source="127.0.8.8", hello="mail.tailspin.test") as client:
        for to in ["bob@contoso.test"] * 10 + ["help@contoso.test"] * 8:
            client.send("", to, message(sender="", to=to, headers=["Auto-Submitted: auto-replied"]))
    alert = until(lambda: next(iter(world.daemon.rows("alerts", "--kind", "ndr-surge")), None), what="the alert")
    assert alert["subject"] == "contoso spoofing"
    assert "8 came in, 8 of these for mail that nobody here sent" in alert["text"]


def test_a_rogue_connector(watching):
    world = watching(limits="true")
    for i in range(16):
        with world.connector() as client:
            sender = f"u{i}@contoso.test"
            client.send(sender, "ann@fabrikam.test", message(sender=sender, body=GTUBE))
    suspected(world, "contoso/on-prem", "spam-share")
    with world.connector() as client:
        event = received(world, client.send("new@contoso.test", "ann@fabrikam.test", message(sender="new@contoso.test")))
    assert event["rule"] == "suspicious" and event["reason"].startswith("suspicious sending: of the connector: in the last hour")
    row, = world.daemon.rows("sender", "show", "connector/contoso/on-prem/other@contoso.test")
    assert row["state"] == "free" and row["suspicion"].startswith("of the connector: in the last hour")
    assert received(world, send(world))["rule"] == "own"
    assert [a["subject"] for a in world.daemon.rows("alerts", "--kind", "connector-suspicious")] == ["contoso/on-prem spam-share"]


def test_a_forward_that_carries_much(watching):
    world = watching("growth-hour = 5", "learning = 0", tenant='forward "carol@contoso.test" { to = {"carol@fabrikam.test"} }\n')
    for i in range(5):
        with world.connector() as client:
            client.send("dave@contoso.test", "carol@contoso.test", message(sender="dave@contoso.test"))
    alert = until(lambda: next(iter(world.daemon.rows("alerts", "--kind", "suspicious-forwarding")), None), what="the alert")
    assert alert["subject"] == "carol@contoso.test growth" and alert["tenant"] == "contoso"
    assert "5 recipients in the last hour, where 0 is the most that is usual" in alert["text"]


def test_a_restart_forgets_nothing(watching):
    world = watching()
    for _ in range(3):
        send(world, body=GTUBE)
    for _ in range(4):
        send(world, user="carol", body=GTUBE)
    suspected(world, "carol@contoso.test", "spam-share")
    world.daemon.stop()
    world.daemon.start()
    world.daemon.wait_log(r"patterns of senders read.*senders=3.*suspicious=1")
    assert received(world, send(world, user="carol"))["rule"] == "suspicious"
    since = world.daemon.mark()
    send(world, body=GTUBE)  # the fourth of bob's
    suspected(world, "bob@contoso.test", "spam-share", since)


def test_a_restart_in_a_surge(watching):
    """What had failed before it counts; what was told is told no second time, and ends."""
    guesses = [f"guess{i}@fabrikam.test" for i in range(9)]
    world = watching("on-unknown-recipients = alert", refuse={g: f"550 5.1.1 <{g}>: nobody here" for g in guesses})
    for guess in guesses[:5]:
        world.daemon.trace_of(send(world, to=guess), "Failed")
    world.daemon.stop()
    world.daemon.start()
    for guess in guesses[5:8]:
        send(world, to=guess)
    alert = until(lambda: next(iter(world.daemon.rows("alerts", "--kind", "ndr-surge")), None), what="the alert")
    assert alert["subject"] == "contoso harvest" and alert["text"].startswith("8 reports of failed delivery in half an hour")
    world.daemon.stop()
    world.daemon.start()
    world.daemon.trace_of(send(world, to=guesses[8]), "Failed")
    alert, = world.daemon.rows("alerts", "--kind", "ndr-surge")
    assert alert["count"] == 1 and not alert["ended"]


def test_bounces_of_alerts_make_no_alert(watching):
    world = watching(listener='accept = {"forward"}', extra='alerts { from = "sluice@contoso.test" }\n',
                     tenant='forward "sluice@contoso.test" { to = {"help@fabrikam.test"} }\n')
    with world.connector(source="127.0.8.8", hello="mail.tailspin.test") as client:
        for _ in range(10):
            client.send("", "sluice@contoso.test", message(sender="", to="sluice@contoso.test"))
        for i in range(8):
            client.send("", "sluice@contoso.test", message(sender="", to="sluice@contoso.test"))
    assert not world.daemon.rows("alerts")


def test_a_damaged_snapshot_is_told_and_left(watching):
    world = watching()
    send(world)
    world.daemon.stop()
    snapshot = world.folder / "state/patterns"
    data = bytearray(snapshot.read_bytes())
    data[40] ^= 1
    snapshot.write_bytes(data)
    world.daemon.start()
    world.daemon.wait_log(r"the patterns of senders are damaged: what follows the damage is learned anew.*offset=32")
    world.daemon.stop()
    snapshot.write_bytes(b"what is this?")
    world.daemon.start()
    world.daemon.wait_log(r"the patterns of senders can't be read: they are learned anew")
    assert received(world, send(world))["rule"] == "own"


def test_switched_off_by_a_reload(watching):
    world = watching()
    for _ in range(4):
        send(world, body=GTUBE)
    suspected(world, "bob@contoso.test", "spam-share")
    assert received(world, send(world))["rule"] == "suspicious"
    world.rewrite(detection="apply = off")
    world.daemon.cli("reload")
    until(lambda: received(world, send(world))["rule"] == "own", what="the end of it")


def test_an_operator_looks_and_releases(watching):
    world = watching()
    for _ in range(4):
        send(world, body=GTUBE)
    suspected(world, "bob@contoso.test", "spam-share")
    row, = world.daemon.rows("sender", "list")
    assert (row["name"], row["state"], row["spam"], row["mail"]) == ("bob@contoso.test", "suspicious", 4, 4)
    assert "4 of 4 messages were judged spam" in row["suspicion"] and row["since"] and row["until"]
    row, = world.daemon.rows("sender", "show", "bob@contoso.test")
    assert (row["state"], row["spam_per_mille"], row["recipients"]) == ("suspicious", 1000, 4)
    assert "suspected" in world.daemon.run("sender", "show", "bob@contoso.test").stdout
    mail = world.folder / "mail.eml"
    mail.write_bytes(message(sender="bob@contoso.test"))
    arguments = ("explain", "--from", "bob@contoso.test", "--to", "ann@fabrikam.test", "--as", "bob@contoso.test", str(mail))
    for _ in range(2):
        row, = world.daemon.rows(*arguments)
        assert (row["class"], row["rule"]) == ("high-risk", "suspicious") and "4 of 4 messages were judged spam" in row["reason"]
        world.daemon.stop()  # then from what it left on disk
    world.daemon.start()
    world.daemon.cli("sender", "release", "bob@contoso.test")
    alert, = until(lambda: [a for a in world.daemon.rows("alerts", "--kind", "suspicious-pattern") if a["ended"]], what="its end")
    assert alert["subject"] == "bob@contoso.test spam-share"
    for _ in range(3):
        until(lambda: received(world, send(world, body=b"Hi.\r\n"))["rule"] == "own", what="the release")
        send(world, body=GTUBE)  # for that cause nothing more happens today
    assert not world.daemon.rows("sender", "list")
    assert world.daemon.run("sender", "release", "bob@contoso.test").returncode == 1


def test_what_is_only_told_can_be_released_too(watching):
    """As its advice says: its alert is over, and what it does is usual from now on."""
    world = watching("learning = 0  growth-hour = 10")
    send(world, to=[f"a{i}@fabrikam.test" for i in range(10)])
    suspected(world, "bob@contoso.test", "growth")
    alert, = world.daemon.rows("alerts")
    assert "sluice trace --sender bob@contoso.test --since 1h" in alert["advice"]
    assert world.daemon.rows(*re.search(r"sluice (trace --sender \S+ --since 1h)", alert["advice"])[1].split())
    world.daemon.cli(*re.search(r"sluice (sender release \S+)", alert["advice"])[1].split())
    alert, = until(lambda: world.daemon.rows("alerts"), what="the alert")
    assert alert["ended"]
    assert world.daemon.run("sender", "release", "bob@contoso.test").returncode == 1
    send(world, to=[f"a{i}@fabrikam.test" for i in range(20)])
    alert, = world.daemon.rows("alerts")
    assert alert["ended"] and alert["count"] == 1


def test_an_address_of_an_attackers_making(watching):
    """A mailbox may have a backtick in its name: whoever copies the advice into a shell runs nothing of it."""
    world = watching("learning = 0  growth-hour = 4", limits="true")
    sender = "a`touch${IFS}pwned`@contoso.test"
    with world.connector() as client:
        client.send(sender, [f"a{i}@fabrikam.test" for i in range(4)], message(sender="bob@contoso.test"))
    alert = until(lambda: next(iter(world.daemon.rows("alerts", "--kind", "suspicious-pattern")), None), what="the alert")
    assert "sluice sender show 'connector/contoso/on-prem/a`touch${ifs}pwned`@contoso.test'" in alert["advice"]
