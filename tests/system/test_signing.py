"""What must not leave with a signature of outside, prepare, refusal, and what must still verify: mail of others that claims to be ours, mail
that is converted on its way out, and messages that are odd."""
import pytest

from lab.client import Client, message
from lab.signing import field_values
from lab.world import ADDRESSES
from test_forwarding import ALICE, BOB, CAROL, ON_PREM, OUTSIDE, copies, judges, keys, outside, prepare, refusal, signers, world  # noqa: F401

BOTH = [("contoso.test", "s1"), ("contoso.test", "s2")]
SEVEN_BIT = ("PIPELINING", "SIZE 52428800", "ENHANCEDSTATUSCODES")
EIGHT = ("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit")


def ours(judges, mail):  # noqa: F811
    return [s for s in signers(judges, mail.data) if s[0] == "contoso.test"]


CLAIMS = {
    "plain": b"From: Alice <alice@contoso.test>\r\n",
    "below": b"From: <alice@hr.contoso.test>\r\n",
    "second address": b"From: <carol@pass.test>, <alice@contoso.test>\r\n",
    "second field": b"From: <carol@pass.test>\r\nFrom: <alice@contoso.test>\r\n",
    "group": b"From: us: alice@contoso.test;\r\n",
    "unreadable": b"From: alice@contoso.test <\r\n",
}


def test_a_null_reverse_path_proves_nobody(world, judges):  # noqa: F811
    """Whoever says MAIL FROM:<> gets no signature of ours for what he writes; the tenant's own servers do."""
    world.start("fabrikam.test")
    stranger = copies(world, outside(world, "", "one@contoso.test", message(CAROL)), 1)[BOB]
    assert not field_values(stranger.data, "DKIM-Signature") and judges.chain(stranger.data) == "pass"
    assert ours(judges, copies(world, outside(world, "", BOB, message(ALICE), ON_PREM), 1)[BOB]) == BOTH


@pytest.mark.parametrize("sender", [CAROL, ""])
@pytest.mark.parametrize("claim", CLAIMS)
def test_a_forged_author_gets_no_signature(world, judges, sender, claim):  # noqa: F811
    """The reverse-path is verified, or null; the author is a claim, and our signature would make it true (DMARC)."""
    world.start("fabrikam.test")
    text = message(CAROL).replace(b"From: <carol@pass.test>\r\n", CLAIMS[claim])
    got = copies(world, outside(world, sender, "one@contoso.test", text), 1)[BOB]
    assert got.source in ADDRESSES["normal" if sender and claim != "below" else "high-risk"], "hr.contoso.test has no DNS"
    assert not field_values(got.data, "DKIM-Signature"), got.data.decode()
    assert judges.chain(got.data) == "pass"


def test_a_proven_author_of_our_own_domain_is_signed(make_world, keys, judges):  # noqa: F811
    """SPF or DKIM of the author's domain passed on arrival: ours says no more than that did."""
    world = prepare(make_world(), keys)  # noqa: F811
    zone = (world.folder / "zone").read_text()
    (world.folder / "zone").write_text(zone.replace('"v=spf1 ip4:127.0.1.0/24 -all"', f'"v=spf1 ip4:{OUTSIDE} -all"'))
    world.start("fabrikam.test")
    by_spf = copies(world, outside(world, ALICE, "one@contoso.test"), 1)[BOB]
    assert ours(judges, by_spf) == BOTH and by_spf.source in ADDRESSES["normal"]
    signed = keys["rsa"].sign(message(ALICE))
    by_dkim = copies(world, outside(world, CAROL, "one@contoso.test", signed), 1)[BOB]
    assert ours(judges, by_dkim) == [*BOTH, ("contoso.test", "s1")]


EIGHT_BIT = "Grüße\r\n".encode() * 50


def converted(world, sender, to, source, text=None):  # noqa: F811
    text = text or message(sender, body=EIGHT_BIT, headers=EIGHT)
    with Client("127.0.0.1", world.port, source=source) as client:
        return client.send(sender, to, text, "BODY=8BITMIME")


def test_what_is_converted_is_signed_again_or_not_at_all(world, keys, judges):  # noqa: F811
    """What we signed is signed as it leaves; what we only sealed gets no signature by the way; what others signed is not
    converted, and its sender hears why."""
    world.host("fabrikam.test", extensions=SEVEN_BIT)
    world.start("fabrikam.test")
    own = copies(world, converted(world, ALICE, BOB, ON_PREM), 1)[BOB]
    forwarded = copies(world, converted(world, CAROL, "one@contoso.test", OUTSIDE), 1)[BOB]
    for mail in (own, forwarded):
        assert mail.data.isascii() and ours(judges, mail) == BOTH
        assert not field_values(mail.data, "ARC-Seal"), "what it said is no longer true"
    relayed = copies(world, converted(world, "x@fail.test", "one@contoso.test", OUTSIDE), 1)[BOB]
    claimed = copies(world, converted(world, CAROL, "one@contoso.test", OUTSIDE, message(ALICE, body=EIGHT_BIT, headers=EIGHT)), 1)[BOB]
    assert relayed.source in ADDRESSES["relay"] and claimed.source in ADDRESSES["normal"]
    for mail in (relayed, claimed):
        assert mail.data.isascii() and not field_values(mail.data, "DKIM-Signature"), mail.data.decode()
    signed = keys["theirs"].sign(message(CAROL, body=EIGHT_BIT, headers=EIGHT))
    row = world.daemon.trace_of(converted(world, CAROL, "one@contoso.test", OUTSIDE, signed), "Failed")[BOB]
    assert row["reply"].startswith("554 5.6.3 "), row["reply"]


def test_more_fields_than_we_can_add_to(world, judges):  # noqa: F811
    """What can't be signed for its many fields is refused for good, not again and again; a little less passes."""
    world.start("fabrikam.test")
    refused = refusal(world, CAROL, "one@contoso.test", message(CAROL, headers=("X: y",) * 9994))
    assert refused.reply == "552 5.3.4 The header of the message is too long"
    got = copies(world, outside(world, CAROL, "one@contoso.test", message(CAROL, headers=("X: y",) * 9900)), 1)[BOB]
    assert ours(judges, got) == BOTH


def test_a_body_without_a_header_by_the_local_socket(world, judges):  # noqa: F811
    """Our fields stand apart from it."""
    world.start("fabrikam.test")
    world.daemon.cli("send", "-f", ALICE, BOB, stdin="hi there\nyou\n")
    world.receiver.wait(lambda: world.hosts["fabrikam.test"].messages, what="the message")
    got = world.hosts["fabrikam.test"].messages[0]
    assert got.body == b"hi there\r\nyou\r\n" and ours(judges, got) == BOTH, got.data


def test_a_report_names_the_address_that_was_written_to(world):  # noqa: F811
    """The sender may never have heard of the one that it was forwarded to."""
    world.host("fabrikam.test", refuse={"gone@fabrikam.test": "550 5.1.1 nobody"})
    world.start("fabrikam.test")
    with Client("127.0.0.1", world.port, source=OUTSIDE) as client:
        trace_id = client.send(CAROL, ["gone@contoso.test", "GONE@contoso.test"], message(CAROL))
    world.receiver.wait(lambda: world.sender_host.messages, what="the report")
    report = world.sender_host.messages[0].data
    assert b"\r\nOriginal-Recipient: rfc822; gone@contoso.test\r\nFinal-Recipient: rfc822; gone@fabrikam.test\r\n" in report
    rows = {e["recipient"]: e["reply"] for e in world.daemon.events(trace_id) if e["status"] == "Expanded"}
    assert rows["gone@contoso.test"] == "forwarded to gone@fabrikam.test"
    assert rows["GONE@contoso.test"] == "each address that it leads to has a copy already"
