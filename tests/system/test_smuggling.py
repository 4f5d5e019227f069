"""Nothing can be smuggled through: whatever stands between two lines, the next hop sees one end of data or none."""
import json

import pytest

from lab.client import Client, message
from lab.waiting import until

ALICE, BOB = "alice@contoso.test", "bob@fabrikam.test"

# The repository's own table; the public vectors hold more.
SEQUENCES = [b"\n.\n", b"\n.\r", b"\r.\n", b"\r.\r", b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\0.\r\n", b"\n\n.\r\n", b"\r\r\n.\n", b"\r\n.\r\r\n", b"\r\n.\x00\r\n",
             b"\n..\r\n", b"\r\n\x85.\r\n", b"\n.\r\n.\n"]


def attack(world, sequence):
    """Sends a message with a smuggled second one behind the sequence; returns the replies up to the end of the session."""
    with Client("127.0.0.1", world.port, source="127.0.3.1") as client:
        client.envelope(ALICE, BOB, "BODY=8BITMIME")
        client.expect("DATA", "3")
        client.raw(message(subject="outer", body=b"line A") + sequence + b"MAIL FROM:<smuggled@contoso.test>\r\nRCPT TO:<victim@fabrikam.test>\r\nDATA\r\n"
                   b"Subject: smuggled\r\n\r\nevil\r\n.\r\nQUIT\r\n")
        replies = []
        while True:
            reply = client.reply()
            replies.append(reply)
            if not reply or reply.startswith(("221", "421")):
                return [r for r in replies if r]


def check(world, sequences):
    accepted = 0
    for sequence in sequences:
        replies = attack(world, sequence)
        assert len([r for r in replies if r.startswith("354")]) == 0, (sequence, replies)
        accepted += len([r for r in replies if "Accepted" in r])
        assert len([r for r in replies if "Accepted" in r]) <= 1, (sequence, replies)
        if not replies[0].startswith("250"):
            assert replies[0].startswith(("550 5.6.11", "554 5.6", "550 5.6")), (sequence, replies)
    if accepted:
        world.receiver.wait(lambda: len(world.receiver.messages) == accepted)
    with world.connector() as client:
        client.send(ALICE, BOB, message(subject="after all"))
    world.receiver.wait(lambda: any(m.header("Subject") == "after all" for m in world.receiver.messages))
    for m in world.receiver.messages:
        assert m.mail_from == ALICE and m.recipients == [BOB] and m.header("Subject") in ("outer", "after all")
    assert not world.receiver.faults, world.receiver.faults


def test_sequences(world):
    world.start("fabrikam.test")
    check(world, SEQUENCES)


def test_public_sequences(world, vectors):
    world.start("fabrikam.test")
    rows = [json.loads(line) for line in (vectors / "smtp-data/smuggling/sequences.jsonl").read_text().splitlines()]
    # CRLF.CRLF is the end of data, whoever wrote it.
    check(world, [s for s in (bytes.fromhex(r["hex"]) for r in rows) if b"\r\n.\r\n" not in s])


@pytest.mark.parametrize("defect", [b"a\nb", b"a\rb", b"a\r\r\nb", b"\n", b"x\r"])
def test_a_bare_line_end_is_refused_and_the_session_goes_on(world, defect):
    world.start("fabrikam.test")
    with world.connector() as client:
        client.envelope(ALICE, BOB)
        client.expect("DATA", "3")
        client.raw(message(body=b"") + defect + b"\r\n.\r\n")
        assert client.reply().startswith("550 5.6.11")
        client.send(ALICE, BOB, message(subject="good"))
    world.receiver.wait(lambda: world.receiver.messages)
    assert [m.header("Subject") for m in world.receiver.messages] == ["good"]


def test_a_bare_line_feed_ends_no_command(world):
    world.start("fabrikam.test")
    with world.connector() as client:
        client.raw(f"MAIL FROM:<{ALICE}>\nRCPT TO:<{BOB}>\r\n".encode())
        reply = client.reply()
        assert reply[0] in "45", reply
    with world.connector() as client:
        client.send(ALICE, BOB, message(subject="good"))
    world.receiver.wait(lambda: world.receiver.messages)
    assert [m.header("Subject") for m in world.receiver.messages] == ["good"]


def test_the_data_of_the_vectors(world, vectors):
    """mox's table: what each encoded text must decode to, or that it is refused."""
    world.start("fabrikam.test")
    rows = [json.loads(line) for line in (vectors / "smtp-data/mox/data.jsonl").read_text().splitlines()]
    sent = []
    for row in rows:
        if row.get("op") != "read" or row.get("error"):
            continue
        wire = bytes.fromhex(row["in"])
        if not wire.endswith(b"\r\n.\r\n"):
            continue
        with world.connector() as client:
            client.envelope(ALICE, BOB, "BODY=8BITMIME")
            client.expect("DATA", "3")
            client.raw(b"Subject: s\r\n\r\n" + wire)
            reply = client.reply()
            if "Accepted" in reply:
                sent.append(bytes.fromhex(row["out"]))
    until(lambda: len(world.receiver.messages) == len(sent))
    bodies = [m.body for m in world.receiver.messages]
    assert sorted(bodies) == sorted(sent)
