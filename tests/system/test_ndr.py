"""Failures are told to the sender, once, in a form that a person and a program read (RFC 3464)."""
import email
import email.policy

import pytest

from lab.client import GTUBE, message
from lab.waiting import until
from lab.world import ADDRESSES, HOSTS, zone

ALICE, BOB = "alice@contoso.test", "bob@fabrikam.test"
GONE = "gone@fabrikam.test"


@pytest.fixture
def refusing(world):
    world.daemon.write(world.config(), {"zone": zone({**HOSTS, "contoso-mail.test": "127.0.10.4"}).replace(
        "contoso.test.             IN MX 10 mail.contoso.test.", "contoso.test. IN MX 10 mx.contoso-mail.test.")})
    world.home = world.receiver.host("127.0.10.4", "mx.contoso-mail.test")
    world.host("fabrikam.test", refuse={GONE: "550 5.1.1 <gone@fabrikam.test>: nobody here", "gone2@fabrikam.test": "550 5.1.1 nobody"})
    world.daemon.start()
    return world


def send(world, to=GONE, text=None, sender=ALICE, parameters="", recipient_parameters=""):
    with world.connector() as client:
        return client.send(sender, to, text or message(sender), parameters, recipient_parameters)


def report(world, number=0):
    world.receiver.wait(lambda: len(world.home.messages) > number, what="the report")
    return world.home.messages[number], email.message_from_bytes(world.home.messages[number].data, policy=email.policy.default)


def test_the_report(refusing):
    trace_id = send(refusing, parameters="ENVID=envelope+2B1", recipient_parameters="ORCPT=rfc822;old@fabrikam.test")
    raw, parsed = report(refusing)
    assert raw.mail_from == "" and raw.recipients == [ALICE] and raw.source in ADDRESSES["high-risk"]
    assert parsed.get_content_type() == "multipart/report" and parsed.get_param("report-type") == "delivery-status"
    assert parsed["Auto-Submitted"].startswith("auto-") and parsed["To"] and parsed["From"] and parsed["Date"] and parsed["Message-ID"] and parsed["Subject"]
    human, status, original = parsed.iter_parts()
    text = human.get_content()
    assert GONE in text and "nobody here" in text
    assert status.get_content_type() == "message/delivery-status"
    per_message, per_recipient = status.get_payload()
    assert per_message["Reporting-MTA"].replace(" ", "") == "dns;mta01.bl2.sluice.test"
    assert per_message["Original-Envelope-Id"] == "envelope+1" and per_message["Arrival-Date"]
    assert per_recipient["Final-Recipient"].replace(" ", "") == f"rfc822;{GONE}"
    assert per_recipient["Original-Recipient"].replace(" ", "") == "rfc822;old@fabrikam.test"
    assert per_recipient["Action"] == "failed" and per_recipient["Status"] == "5.1.1"
    assert per_recipient["Diagnostic-Code"].startswith("smtp;") and "nobody here" in per_recipient["Diagnostic-Code"]
    assert "mx.fabrikam.test" in per_recipient["Remote-MTA"]
    assert original.get_content_type() in ("message/rfc822", "text/rfc822-headers")
    assert b"Subject: hello" in original.as_bytes()
    until(lambda: [e["event"] for e in refusing.daemon.events(trace_id)][-2:] == ["FAIL", "DSN"], what=lambda: refusing.daemon.events(trace_id))
    row = until(lambda: next(iter(refusing.daemon.trace("--recipient", ALICE, "--status", "Delivered")), None))
    assert (row["class"], row["rule"], row["return_path"]) == ("high-risk", "bounce", "<>")


def test_one_report_for_the_recipients_of_one_message(refusing):
    send(refusing, [GONE, "gone2@fabrikam.test", BOB])
    _, parsed = report(refusing)
    status = list(parsed.iter_parts())[1].get_payload()
    assert len(status) == 3  # the message, and two recipients
    assert {p["Final-Recipient"].replace(" ", "") for p in status[1:]} == {f"rfc822;{GONE}", "rfc822;gone2@fabrikam.test"}


@pytest.mark.parametrize("ret,expected,not_expected", [("FULL", b"Hello.", b"\0"), ("HDRS", b"Subject: hello", b"Hello.")])
def test_ret(refusing, ret, expected, not_expected):
    send(refusing, parameters=f"RET={ret}")
    _, parsed = report(refusing)
    original = list(parsed.iter_parts())[2].as_bytes()
    assert expected in original and not_expected not in original


def ended_without_report(world, trace_id, recipient):
    rows = world.daemon.trace_of(trace_id)
    assert rows[recipient]["status"] == "Failed"
    # A message that must be reported goes through afterwards: had there been a report of the first, it would be here.
    send(world, "gone2@fabrikam.test", message(subject="marker"))
    report(world)
    assert len(world.home.messages) == 1 and b"marker" in world.home.messages[0].data
    return [e["event"] for e in world.daemon.events(trace_id)]


def test_notify_never(refusing):
    assert "DSN" not in ended_without_report(refusing, send(refusing, recipient_parameters="NOTIFY=NEVER"), GONE)


def test_no_report_for_spam(refusing):
    assert "DSN" not in ended_without_report(refusing, send(refusing, text=message(body=GTUBE)), GONE)


def test_no_report_for_a_null_reverse_path(refusing):
    assert "DSN" not in ended_without_report(refusing, send(refusing, sender=""), GONE)


def test_a_double_bounce_ends_in_the_trace(refusing):
    refusing.home.refuse[ALICE] = "550 5.1.1 alice is gone too"
    send(refusing)
    row = until(lambda: next(iter(r for r in refusing.daemon.trace("--recipient", ALICE) if r["status"] == "Failed"), None))
    events = [e["event"] for e in refusing.daemon.events(row["trace_id"])]
    assert events[-1] in ("DROP", "FAIL") and "DSN" not in events
    assert not refusing.home.messages


def test_a_report_for_what_expires(refusing):
    refusing.daemon.stop()
    refusing.rewrite(delivery="first-retry = 1s  max-retry = 1s  expire = 3s")
    refusing.host("fabrikam.test", script={"rcpt": "451 4.2.2 mailbox full"})
    refusing.daemon.start()
    send(refusing, BOB)
    _, parsed = report(refusing)
    per_recipient = list(parsed.iter_parts())[1].get_payload()[1]
    assert per_recipient["Action"] == "failed" and "mailbox full" in per_recipient["Diagnostic-Code"]


def test_eight_bit_of_the_original_does_not_break_the_report(refusing):
    send(refusing, text=message(body="Grüße\r\n".encode(), headers=("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
                                                                   "Content-Transfer-Encoding: 8bit")), parameters="BODY=8BITMIME RET=FULL")
    raw, parsed = report(refusing)
    assert list(parsed.iter_parts())[1].get_payload()[1]["Status"] == "5.1.1"
    assert not refusing.home.faults
