"""Bytes delivered equal bytes sent: every message of the public vectors whose body needs no conversion, and bodies made to hurt."""
import random
import re

import pytest

from lab.client import message
from lab.world import HOSTS

ALICE = "alice@contoso.test"


def canonical(data):
    """CRLF line ends, as a mail program hands it in."""
    return re.sub(rb"\r\n|\r|\n", b"\r\n", data)


def acceptable(data):
    """No NUL, and no loop by its Received fields: SMTP can carry it as it is."""
    head = data.split(b"\r\n\r\n")[0]
    return b"\0" not in data and len(re.findall(rb"(?im)^received:", head)) < 50


def deliver(world, texts, sender=ALICE):
    """name -> data as sent; each must come out of the receiver with nothing but fields added on top."""
    host = world.hosts["fabrikam.test"]
    with world.connector() as client:
        for number, text in enumerate(texts.values()):
            parameters = "BODY=8BITMIME" if not text.isascii() else ""
            client.send(sender, f"n{number}@fabrikam.test", text, parameters)
    world.receiver.wait(lambda: len(host.messages) >= len(texts), timeout=90, what=f"{len(texts)} messages")
    got = {m.recipients[0]: m.data for m in host.messages}
    for number, (name, text) in enumerate(texts.items()):
        data = got[f"n{number}@fabrikam.test"]
        text = text if text.endswith(b"\r\n") else text + b"\r\n"
        assert data.endswith(text), f"{name}: the bytes differ: {first_difference(data, text)}"
        added = data[:len(data) - len(text)]
        # Where the message begins without a header field, an empty line must part it from the fields on top.
        parted = b"" if re.match(rb"[!-9;-~]+[ \t]*:|\r\n", text) else b"\r\n"
        assert re.fullmatch(rb"(?:[A-Za-z-]+:.*\r\n(?:[ \t].*\r\n)*)+" + parted, added), f"{name}: added {added!r}"
    assert not host.faults, host.faults[:5]


def first_difference(data, text):
    tail = data[-len(text):]
    at = next((i for i, (a, b) in enumerate(zip(tail, text)) if a != b), min(len(tail), len(text)))
    return f"at {at}: sent {text[at:at + 40]!r}, got {tail[at:at + 40]!r}"


def test_every_message_of_the_vectors(world, vectors):
    world.start("fabrikam.test")
    files = sorted(p for p in (vectors / "mime").glob("**/*") if p.suffix in (".eml", ".msg") or p.parent.name == "haraka" and p.suffix == ".txt" and p.stem != "SOURCE")
    assert len(files) > 150
    texts = {str(p.relative_to(vectors)): canonical(p.read_bytes()) for p in files}
    # What starts with an empty line or has no header at all gets one: that is what the fields on top are for.
    # Their authors' domains are not in the zone file; mail with a null reverse-path is of class high-risk without asking.
    deliver(world, {name: text for name, text in texts.items() if acceptable(text) and text}, sender="")


MADE = {
    "empty body": b"",
    "only a dot": b".\r\n",
    "dots": b".\r\n..\r\n...\r\n.x\r\n",
    "no text, many lines": b"\r\n" * 500,
    "trailing blanks": b"a \r\nb\t\r\n \r\n",
    "a line of 998": b"x" * 998 + b"\r\n",
    "from lines": b"From me\r\n>From you\r\n",
    "looks like the end": b"a\r\n. \r\n.\t\r\nQUIT\r\n",
    "every octet": b"".join(bytes([c]) for c in range(1, 256) if c not in (10, 13)) + b"\r\n",
    "eight bit": "äöü ß €\r\n".encode() * 100,
    "latin": b"\xe4\xf6\xfc\xdf\r\n" * 100,
}


def test_bodies_made_to_hurt(world):
    world.start("fabrikam.test")
    deliver(world, {name: message(body=body) for name, body in MADE.items()})


def test_sizes_around_every_boundary(world):
    """The buffers of the streams, the parts of the spool: one byte less and one more."""
    world.start("fabrikam.test")
    chosen = random.Random(1)
    texts = {}
    for size in (1, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537, 262143, 262144, 262145, 524288, 1_000_000, 3_000_001):
        head = message(subject=str(size), body=b"")
        lines, left = [], max(size - len(head), 1)
        while left > 0:
            n = min(left, chosen.choice([1, 2, 70, 76, 500, 998]))
            lines.append(bytes(chosen.choice(b"abc.") for _ in range(max(n - 2, 0))) + b"\r\n")
            left -= len(lines[-1])
        texts[f"{size} bytes"] = head + b"".join(lines)
    deliver(world, texts)


def test_header_fields_stay_as_they_are(world):
    world.start("fabrikam.test")
    head = (b"From: <alice@contoso.test>\r\nsubject:no space\r\nX-Folded: a\r\n\tb\r\n   c\r\nX-Long: " + b"y" * 900 + b"\r\nX-Empty:\r\nDate: whenever\r\n"
            b"Message-ID: <strange id@x>\r\nReceived: from x by y\r\nTo: undisclosed-recipients:;\r\nBcc: kept@x.test\r\n")
    deliver(world, {"fields": head + b"\r\nbody\r\n"})


@pytest.mark.parametrize("domain", list(HOSTS))
def test_the_same_bytes_for_each_receiver(world, domain):
    world.start(domain)
    text = message(body=MADE["every octet"])
    with world.connector() as client:
        client.send(ALICE, f"x@{domain}", text, "BODY=8BITMIME")
    world.receiver.wait(lambda: world.hosts[domain].messages)
    assert world.hosts[domain].messages[0].data.endswith(text)
