"""What mail says about its sender is checked on arrival, told to the receiver, and decides between the pools.

Signatures are made by dkimpy; what leaves is judged by dkimpy and Mail::DKIM."""
import re
import socket
import threading
import time

import pytest

from conftest import missing
from lab.client import Client, Refused, message
from lab.signing import Judges, Key, field_values, modules_missing, text_strings
from lab.world import ADDRESSES, PLAIN, identity, zone

BOB, NODE = "bob@fabrikam.test", "mta01.bl2.sluice.test"
OUTSIDE, FILTER, REAL = "127.0.20.1", "127.0.3.3", "198.51.100.7"

TENANT = f"""
  connector "filter" {{ addresses = {{"{FILTER}"}}  skip = {{"last"}} }}
  connector "listed" {{ addresses = {{"127.0.3.4"}}  skip = {{"203.0.113.0/24", "198.51.100.1-198.51.100.3"}} }}
  forward "fwd@contoso.test" {{ to = {{"{BOB}"}} }}
"""

SENDERS = {
    "pass.test": f"v=spf1 ip4:{OUTSIDE} ip4:{PLAIN} ip4:{REAL} -all",
    "fail.test": "v=spf1 -all",
    "soft.test": "v=spf1 ~all",
    "neutral.test": "v=spf1 ?all",
    "perm.test": "v=spf1 foo -all",
    "temp.test": "v=spf1 include:silent.example -all",
    "loop.test": "v=spf1 include:loop2.test -all",
    "loop2.test": "v=spf1 include:loop.test -all",
    "many.test": "v=spf1 " + " ".join(f"include:i{i}.many.test" for i in range(500)) + " -all",
    "long.test": "v=spf1 " + "ip4:192.0.2.1 " * 4600 + "?all",
}


@pytest.fixture(scope="module")
def keys():
    lack = modules_missing()
    if lack:
        missing(f"no judges of signatures: {lack} (tools/setup test)")
    return {
        "rsa": Key("fail.test", "rsa"), "ed25519": Key("fail.test", "ed", "ed25519"), "other": Key("pass.test", "o"), "small": Key("fail.test", "small", bits=768),
        "testing": Key("fail.test", "t", tags="t=y; "), "temp": Key("temp.test", "k"), "unpublished": Key("fail.test", "lost"),
        "subdomain": Key("sub.fail.test", "s"),
    }


def names(keys):
    """The DNS: names that end in .example are asked of a server that never answers."""
    extra = "".join(f"{domain}. IN MX 10 mx.sender.test.\n{domain}. IN TXT {text_strings(text)}\n" for domain, text in SENDERS.items())
    extra += "".join(f"i{i}.many.test. IN TXT \"v=spf1 ?all\"\n" for i in range(500))
    extra += "sub.fail.test. IN MX 10 mx.sender.test.\n"
    return zone(extra=extra + identity() + "".join(key.zone_line() for name, key in keys.items() if name != "unpublished"))


@pytest.fixture
def world(make_world, keys):
    world = make_world(tenant=TENANT, listener='accept = {"forward"}', extra='srs { secrets = {"a secret of the test"} }')
    world.daemon.write(world.config(), {"zone": names(keys)})
    return world


def send(world, sender, text=None, source=PLAIN, to=None):
    to = to or ("fwd@contoso.test" if source == OUTSIDE else BOB)
    with Client("127.0.0.1", world.port, source=source, timeout=60) as client:
        return client.send(sender, to, text or message(sender))


def received(world, trace_id):
    """The RECEIVE event of the copy that leaves, and what its receiver got."""
    row = world.daemon.trace_of(trace_id, "Delivered")[BOB]
    event = [e for e in world.daemon.events(trace_id) if e["event"] == "RECEIVE" and e["recipient"] == BOB][0]
    got = [m for m in world.receiver.messages if trace_id.encode() in m.data][0]
    assert row["outbound_ip"] == got.source and got.source in ADDRESSES[row["class"]]
    return event, got


# name: (reverse-path, key, what is done to the signed message, class, spf, dkim, what the reason says)
def body_altered(text):
    return text.replace(b"Hello.", b"Hallo.")


def subject_altered(text):
    return text.replace(b"Subject: hello", b"Subject: hallo")


CASES = {
    "spf passes": ("a@pass.test", None, None, "normal", "pass pass.test", "none", "SPF of pass.test passes"),
    "spf fails": ("a@fail.test", None, None, "relay", "fail fail.test", "none", "SPF of fail.test says fail"),
    "spf softly fails": ("a@soft.test", None, None, "relay", "softfail soft.test", "none", "softfail"),
    "spf is neutral": ("a@neutral.test", None, None, "relay", "neutral neutral.test", "none", "neutral"),
    "no spf": ("a@sender.test", None, None, "relay", "none sender.test", "none", "none"),
    "a broken spf record": ("a@perm.test", None, None, "relay", "permerror perm.test", "none", "permerror"),
    "rsa": ("a@fail.test", "rsa", None, "normal", "fail", "pass d=fail.test s=rsa", "d=fail.test s=rsa"),
    "ed25519": ("a@fail.test", "ed25519", None, "normal", "fail", "pass d=fail.test s=ed", "d=fail.test s=ed"),
    "of the parent": ("a@sub.fail.test", "rsa", None, "normal", "none", "pass d=fail.test s=rsa", "d=fail.test"),
    "of a subdomain": ("a@fail.test", "subdomain", None, "normal", "fail", "pass d=sub.fail.test s=s", "d=sub.fail.test"),
    "of somebody else": ("a@fail.test", "other", None, "relay", "fail", "pass d=pass.test s=o", "no DKIM signature is of fail.test"),
    "the body altered": ("a@fail.test", "rsa", body_altered, "relay", "fail", "fail d=fail.test s=rsa", "d=fail.test s=rsa"),
    "the subject altered": ("a@fail.test", "rsa", subject_altered, "relay", "fail", "fail d=fail.test s=rsa", "d=fail.test s=rsa"),
    "in test mode": ("a@fail.test", "testing", None, "relay", "fail", "pass d=fail.test s=t (in test mode)", "test mode"),
    "a short key": ("a@fail.test", "small", None, "relay", "fail", "policy d=fail.test s=small", "d=fail.test s=small"),
    "a key that nobody published": ("a@fail.test", "unpublished", None, "relay", "fail", "permerror d=fail.test s=lost", "d=fail.test s=lost"),
    "spf did not answer, but a signature passes": ("a@temp.test", "temp", None, "normal", "temperror temp.test", "pass d=temp.test s=k", "d=temp.test s=k"),
}


def signed(keys, sender, key, altered):
    text = message(sender)
    if key:
        text = keys[key].sign(text)
    return altered(text) if altered else text


@pytest.mark.parametrize("source", [PLAIN, OUTSIDE], ids=["connector", "outside"])
def test_what_arrives_is_checked_and_decides(world, keys, source):
    import authres
    world.start("fabrikam.test")
    sent = {name: send(world, case[0], signed(keys, *case[:3]), source) for name, case in CASES.items()}
    for name, (sender, key, _, cls, spf, dkim, reason) in CASES.items():
        event, got = received(world, sent[name])
        assert (event["class"], event["rule"]) == (cls, "relayed" if cls == "relay" else "own"), (name, event)
        assert event["spf"].startswith(spf) and event["dkim"].startswith(dkim), (name, event)
        assert event["arc"] == "none" and reason in event["reason"], (name, event)
        assert event["client_ip"] == event["original_client_ip"] == source, (name, event)
        assert event["directionality"] == ("Incoming" if source == OUTSIDE else "Originating"), name
        # What the receiver reads.
        ours = field_values(got.data, "Authentication-Results")[0]
        parsed = authres.AuthenticationResultsHeader.parse("Authentication-Results: " + ours)
        assert parsed.authserv_id == NODE, name
        told = {result.method: result for result in parsed.results}
        assert told["spf"].result == event["spf"].split()[0] and told["dkim"].result == event["dkim"].split()[0], (name, ours)
        assert f"smtp.mailfrom={sender}" in ours and (not key or f"header.d={keys[key].domain}" in ours), (name, ours)
        assert got.data.index(b"Authentication-Results:") < got.data.index(b"Subject:"), name
    world.check_pools()


def test_what_a_user_sends_is_not_checked(world):
    world.start("fabrikam.test")
    with world.submission() as client:
        event, got = received(world, client.send("alice@contoso.test", BOB, message("alice@contoso.test")))
    assert (event["spf"], event["dkim"], event["arc"]) == (None, None, None)
    assert not field_values(got.data, "Authentication-Results") and not field_values(got.data, "ARC-Seal")


FORGED = [
    f"{NODE}; spf=pass smtp.mailfrom=a@fail.test",
    f"{NODE.upper()}; dkim=pass header.d=fail.test",
    f"  {NODE} ; spf=pass",
    f"{NODE} 1; spf=pass",
    f"(a comment) {NODE} (another; one) 1 (more); spf=pass",
    f'"{NODE}"; spf=pass',
    f"\r\n\t{NODE};\r\n\tspf=pass",
    f"{NODE}; none",
    f"{NODE}",
    f"({NODE}) {NODE}; spf=pass",
]
FOREIGN = [
    f"x.{NODE}; spf=pass",
    f"{NODE}.test; spf=pass",
    "mx.google.com; spf=pass smtp.mailfrom=a@fail.test",
    f"mx.google.com; spf=pass (says {NODE})",
    f"(;{NODE}; ) other.test; dkim=pass",
    "bl2.sluice.test; spf=pass",
]


def test_results_in_our_name_are_removed_and_only_those(world, keys):
    world.start("fabrikam.test")
    mixed = [value for pair in zip(FORGED, FOREIGN + [None] * len(FORGED)) for value in pair if value]
    headers = [f"Authentication-Results:{'' if value.startswith((' ', chr(13))) else ' '}{value}" for value in mixed]
    headers += [f"AUTHENTICATION-RESULTS: {NODE}; spf=pass", f"X-Authentication-Results: {NODE}; spf=pass"]
    text = keys["other"].sign(message("a@fail.test", headers=headers))
    text = f"Authentication-Results : {NODE}; spf=pass\r\n".encode() + text  # dkimpy reads no such field
    for source in (PLAIN, OUTSIDE):
        event, got = received(world, send(world, "a@fail.test", text, source))
        values = field_values(got.data, "Authentication-Results")
        assert values[0].startswith(f"{NODE}; spf=fail") and values[1:] == [v.strip() for v in FOREIGN], values
        assert event["class"] == "relay"
        assert not re.search(rb"(?mi)^Authentication-Results[ \t]*:[ \t]*mta01\.bl2\.sluice\.test *; *spf=pass", got.data)
        assert field_values(got.data, "X-Authentication-Results") == [f"{NODE}; spf=pass"]
        assert Judges(*keys.values()).signatures(got.data)[-1] == ("pass.test", "o", "pass")


def test_a_switch_takes_each_check_out_of_the_rule(make_world, keys):
    for switch, spf, dkim in (("", "normal", "normal"), ("relay { spf = false }", "relay", "normal"), ("relay { dkim = false }", "normal", "relay"),
                              ("relay { spf = false  dkim = false }", "relay", "relay")):
        world = make_world(extra=switch)
        world.daemon.write(world.config(), {"zone": names(keys)})
        world.start("fabrikam.test")
        by_spf, _ = received(world, send(world, "a@pass.test"))
        by_dkim, _ = received(world, send(world, "a@fail.test", keys["rsa"].sign(message("a@fail.test"))))
        assert (by_spf["class"], by_dkim["class"]) == (spf, dkim), switch
        assert by_spf["spf"].startswith("pass") and by_dkim["dkim"].startswith("pass"), "checked and told all the same"
        world.close()


def through(*hops):
    return tuple(f"Received: from {name} ({name} [{address}]) by {by} with ESMTP id x; Sun, 22 Nov 2026 10:00:00 +0000" for name, address, by in hops)


SKIPPED = {
    # connector's address: Received fields from the top, the client that counts, class, what the reason says
    "last": (FILTER, through(("mail.pass.test", REAL, "filter.contoso.test")), REAL, "normal", "is skipped"),
    "last is one hop": (FILTER, through(("inner.test", "198.51.100.9", "filter.contoso.test"), ("mail.pass.test", REAL, "inner.test")), "198.51.100.9", "relay", "is skipped"),
    "no Received": (FILTER, (), FILTER, "relay", ""),
    "one that can't be read": (FILTER, ("Received: by magic; Sun, 22 Nov 2026 10:00:00 +0000",), FILTER, "relay", ""),
    "listed ones": ("127.0.3.4", through(("a.test", "203.0.113.5", "mta.contoso.test"), ("b.test", "198.51.100.2", "a.test"), ("mail.pass.test", REAL, "b.test"),
                                         ("evil.test", "198.51.100.99", "mail.pass.test")), REAL, "normal", ""),
    "private ones always": ("127.0.3.4", through(("a.test", "10.1.2.3", "mta.contoso.test"), ("b.test", "192.168.7.7", "a.test"), ("mail.pass.test", REAL, "b.test")), REAL, "normal", ""),
    "the first other one": ("127.0.3.4", through(("a.test", "192.0.2.250", "mta.contoso.test"), ("mail.pass.test", REAL, "a.test")), "192.0.2.250", "relay", ""),
    "the chain ends in the dark": ("127.0.3.4", (*through(("a.test", "203.0.113.5", "mta.contoso.test")), "Received: from who knows; Sun, 22 Nov 2026 10:00:00 +0000",
                                                 *through(("mail.pass.test", REAL, "b.test"))), "203.0.113.5", "relay", ""),
    "nothing to skip": (PLAIN, through(("mail.pass.test", "192.0.2.250", "mta.contoso.test")), PLAIN, "normal", ""),
}


def test_the_true_client(world):
    world.start("fabrikam.test")
    for name, (source, hops, client, cls, why) in SKIPPED.items():
        event, got = received(world, send(world, "a@pass.test", message("a@pass.test", headers=hops), source))
        assert event["original_client_ip"] == client and event["client_ip"] == source, (name, event)
        assert event["class"] == cls and event["spf"].startswith("pass" if cls == "normal" else "fail"), (name, event)
        assert why in (event["original_client_reason"] or ""), (name, event)
        assert (event["original_client_reason"] is None) == (source == PLAIN), (name, event)
        assert field_values(got.data, "Received")[1:] == [h.removeprefix("Received: ") for h in hops], name


OWN = {
    # Received of a message in the name of contoso.test: class
    "a stranger": (*through(("mail.evil.test", "203.0.113.66", "filter.contoso.test")), "relay"),
    "his client made unreadable": ("Received: from a from b (x [203.0.113.66]) by filter.contoso.test with ESMTP; Sun, 22 Nov 2026 10:00:00 +0000", "relay"),
    "inside": (*through(("pc.contoso.test", "10.1.2.3", "filter.contoso.test")), "normal"),
    "made on the host": ("Received: by filter.contoso.test (Postfix, from userid 0) id 7; Sun, 22 Nov 2026 10:00:00 +0000", "normal"),
    "logged in": ("Received: from pc (x [203.0.113.66]) by filter.contoso.test with ESMTPSA id 7; Sun, 22 Nov 2026 10:00:00 +0000", "normal"),
}


def test_a_stranger_behind_a_filter_is_not_us(world):
    """`skip` says that a filter stands in front, which passes on what anybody gives it: our domain in the reverse-path is a claim."""
    world.start("fabrikam.test")
    for name, (hop, cls) in OWN.items():
        event, got = received(world, send(world, "alice@contoso.test", message("alice@contoso.test", headers=[hop]), FILTER))
        assert event["class"] == cls, (name, event)
        if cls == "relay":
            assert event["rule"] == "relayed" and event["reason"].startswith("the message came from outside, where the reverse-path's domain is a claim"), event
            assert not field_values(got.data, "DKIM-Signature")
        else:
            assert event["rule"] == "own" and event["spf"] is None, (name, event)


def test_chains_are_validated(world, keys):
    """Chains by dkimpy of one and two seals, whole and altered; each is told, none verifies a sender."""
    world.start("fabrikam.test")
    text = b"Authentication-Results: mx1.test; arc=none; spf=pass smtp.mailfrom=a@fail.test\r\n" + message("a@fail.test")
    one = keys["other"].seal(text, "mx1.test")
    two = keys["rsa"].seal(b"Authentication-Results: mx2.test; arc=pass; spf=pass smtp.mailfrom=a@fail.test\r\n" + one, "mx2.test")
    cases = [(one, "pass i=1 d=pass.test"), (two, "pass i=2 d=fail.test"), (body_altered(one), "fail i=1"), (body_altered(two), "fail i=2"),
             (two.replace(b"i=1; cv=none", b"i=1; cv=pass"), "fail i=2"), (two.replace(b"ARC-Seal", b"X-Seal", 1), "fail")]
    for number, (whole, told) in enumerate(cases):
        event, got = received(world, send(world, "a@fail.test", whole))
        assert event["arc"].startswith(told) and event["class"] == "relay", (number, event)
        ours = field_values(got.data, "Authentication-Results")[0]
        assert f"arc={told.split()[0]}" in ours, (number, ours)


def corpus(vectors):
    """Messages that a server may hand over: CRLF line ends only, one From, lines and headers of a usual length."""
    for path in sorted((vectors / "mime").rglob("*")):
        if path.suffix not in (".eml", ".msg"):
            continue
        raw = re.sub(rb"\AFrom .*\r\n", b"", path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        head, end, body = raw.partition(b"\r\n\r\n")
        plain = all(re.match(rb"[!-9;-~]+:|[ \t]", line) for line in head.split(b"\r\n"))
        if (end and plain and len(re.findall(rb"(?mi)^From:", head)) == 1 and b"\r" not in raw.replace(b"\r\n", b"") and b"\0" not in raw
                and raw.endswith(b"\r\n") and max(map(len, raw.split(b"\r\n"))) < 998 and not re.search(rb"(?mi)^(DKIM-Signature|Delivered-To)", head)):
            yield path.name, raw


def test_signatures_of_others_survive(world, keys, vectors):
    """Every usable message of the corpus goes through, signed in each form, and still fits its signature at the receiver."""
    messages = list(corpus(vectors))
    domains = {m[1].decode().lower() for _, raw in messages
               for m in re.finditer(rb"(?mi)^From:[^@]*(?:\r\n[ \t][^@]*)*@([a-z0-9.-]+)", raw)}
    with open(world.folder / "zone", "a") as names_:
        names_.write("".join(f"{domain.rstrip('.')}. IN MX 10 mx.sender.test.\n" for domain in sorted(domains)))
    world.start("fabrikam.test")
    forms = [f"{head}/{body}" for head in ("relaxed", "simple") for body in ("relaxed", "simple")]
    judges = Judges(*keys.values())
    sent = {}
    with Client("127.0.0.1", world.port, source=PLAIN, timeout=60) as client:
        for number, (name, raw) in enumerate(messages):
            text = keys[("rsa", "ed25519")[number // 4 % 2]].sign(raw, forms[number % 4])
            sent[client.send("a@fail.test", BOB, text, "BODY=8BITMIME")] = name
    assert len(sent) > 60
    world.receiver.wait(lambda: len(world.receiver.messages) == len(sent), 60)
    for trace_id, name in sent.items():
        got = [m for m in world.receiver.messages if trace_id.encode() in m.data][0]
        event = [e for e in world.daemon.events(trace_id) if e["event"] == "RECEIVE"][0]
        assert event["dkim"].startswith("pass d=fail.test"), (name, event)
        assert judges.signatures(got.data)[-1][2] == "pass", name


# ---- the DNS, and those who mean ill

@pytest.fixture
def silent(world):
    """The DNS server for all that is not in the zone file takes questions and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", world.dead_port))
        yield world


def refused(world, sender, text=None, source=PLAIN):
    started = time.monotonic()
    with pytest.raises(Refused) as e:
        send(world, sender, text, source)
    return e.value.reply, time.monotonic() - started


def test_a_silent_dns_defers_and_delays_nobody_else(silent, keys):
    world = silent
    world.start("fabrikam.test")
    replies, threads = [], []
    lost = Key("silent.example", "k")
    cases = [("a@temp.test", None, PLAIN), ("a@temp.test", None, OUTSIDE), ("a@fail.test", "unknown", PLAIN)] * 4
    for sender, key, source in cases:
        text = lost.sign(message("a@silent.example")) if key else None
        sender = "a@silent.example" if key else sender
        threads.append(threading.Thread(target=lambda s=sender, t=text, c=source: replies.append(refused(world, s, t, c))))
    for thread in threads:
        thread.start()
    for number in range(20):
        started = time.monotonic()
        event, _ = received(world, send(world, "a@pass.test", message("a@pass.test", subject=f"number {number}"), (PLAIN, OUTSIDE)[number % 2]))
        assert time.monotonic() - started < 10, "other mail waits for a silent DNS"
        assert event["class"] == "normal"
    for thread in threads:
        thread.join(60)
    assert len(replies) == len(cases)
    for reply, took in replies:
        assert reply.startswith("451 4.4.3") and took < 30, (reply, took)


def resident(world):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{world.daemon.pid}/status").read())[1]) // 1024


def huge_key():
    """A record with an RSA key of 16,384 bits, made up: nobody computes with it."""
    number = "7f" * 2048
    der = bytes.fromhex(f"3082080a02820801007f{number[2:]}0203010001")
    import base64
    return base64.b64encode(der).decode()


def test_hostile_mail(world, keys):
    """A thousand signatures or seals, records that loop, branch or never end, a key of 16,384 bits: a defined result soon, little
    memory, and other mail goes on."""
    big = Key("fail.test", "big")
    (world.folder / "zone").write_text(names(keys) + f"big._domainkey.fail.test. IN TXT {text_strings('v=DKIM1; p=' + huge_key())}\n")
    world.daemon.environment["ASAN_OPTIONS"] += ":quarantine_size_mb=16"  # what is freed counts else
    world.start("fabrikam.test")
    good = keys["rsa"].sign(message("a@fail.test"))
    field = good[:good.index(b"From:")]
    sets = b"".join(f"ARC-Seal: i={i}; a=rsa-sha256; cv=pass; d=fail.test; s=rsa; b=AAAA\r\nARC-Message-Signature: i={i}; a=rsa-sha256; d=fail.test; "
                    f"s=rsa; h=from; bh=AAAA; b=AAAA\r\nARC-Authentication-Results: i={i}; x; spf=pass\r\n".encode() for i in range(1, 334))
    cases = {
        "1,000 signatures": ("a@fail.test", field * 999 + good, "normal", "pass d=fail.test"),
        "1,000 signatures of names that are not": ("a@fail.test", b"".join(field.replace(b"s=rsa", b"s=n%d" % i) for i in range(999)) + message("a@fail.test"), "relay", "permerror"),
        "1,000 fields of a chain": ("a@fail.test", sets + message("a@fail.test"), "relay", "none"),
        "a key of 16,384 bits": ("a@fail.test", big.sign(message("a@fail.test")), "relay", "policy d=fail.test s=big"),
        "records that name each other": ("a@loop.test", None, "relay", "none"),
        "a record that includes 500": ("a@many.test", None, "relay", "none"),
        "a record of 64 KB": ("a@long.test", None, "relay", "none"),
    }
    received(world, send(world, "a@pass.test"))
    before = resident(world)
    for name, (sender, text, cls, dkim) in cases.items():
        for source in (PLAIN, OUTSIDE):
            started = time.monotonic()
            event, _ = received(world, send(world, sender, text, source))
            assert time.monotonic() - started < 15, name
            assert event["class"] == cls and event["dkim"].startswith(dkim), (name, event)
            if sender in ("a@loop.test", "a@many.test"):
                assert event["spf"].startswith("permerror"), (name, event)
            if sender == "a@long.test":
                assert event["spf"].startswith("neutral"), (name, event)
            if "chain" in name:
                assert event["arc"].startswith("fail"), (name, event)
    errors, threads = [], []
    for name, (sender, text, _, _) in cases.items():
        def often(sender=sender, text=text):
            try:
                for _ in range(5):
                    send(world, sender, text)
            except (Refused, OSError, AssertionError) as e:
                errors.append((sender, e))
        threads.append(threading.Thread(target=often))
    for thread in threads:
        thread.start()
    for number in range(10):
        started = time.monotonic()
        event, _ = received(world, send(world, "a@pass.test", message("a@pass.test", subject=f"beside {number}")))
        assert event["class"] == "normal" and time.monotonic() - started < 10
    for thread in threads:
        thread.join(120)
    assert not errors, errors
    assert resident(world) - before < 150, (before, resident(world))


# ---- explain

def explained(world, sender, to, source, text):
    (world.folder / "m.eml").write_bytes(text)
    return world.daemon.rows("explain", "--from", sender, "--to", to, "--client", source, "m.eml")[0]


@pytest.mark.parametrize("source", [PLAIN, OUTSIDE], ids=["connector", "outside"])
def test_explain_says_what_happens(world, keys, source):
    """All that explain foretells is what the trace and the receiver show."""
    world.start("fabrikam.test")
    to = "fwd@contoso.test"
    judges = Judges(*(key for which, key in keys.items() if which != "unpublished"))
    for name, case in CASES.items():
        text = signed(keys, *case[:3])
        told = explained(world, case[0], to, source, text)
        event, got = received(world, send(world, case[0], text, source, to))
        for field in ("class", "rule", "reason", "original_client_ip", "directionality", "outbound_ip_pool_name", "tenant", "connector"):
            assert told[field] == event[field], (name, field, told[field], event[field])
        assert told["spf"]["result"] == event["spf"].split()[0] and told["arc"]["result"] == event["arc"].split()[0], name
        assert [d["result"] for d in told["dkim"]] == ([] if event["dkim"] == "none" else [event["dkim"].split()[0]]), (name, told["dkim"])
        assert [c["return_path"] for c in told["copies"]] == [got.mail_from] and told["copies"][0]["recipient"] == BOB, name
        seen = [s for s in told["seen_by_receivers"] if s["outbound_ip"] == got.source]
        assert len(seen) == 1 and seen[0]["ehlo"] == got.ehlo, name
        if name == "a short key":  # judges differ about those
            continue
        judged = judges.signatures(got.data)
        assert len(judged) == len(seen[0]["dkim"]), (name, seen[0]["dkim"])
        for (domain, selector, result), foretold in zip(judged, seen[0]["dkim"]):
            assert (foretold["domain"], foretold["selector"]) == (domain, selector), name
            assert (foretold["result"] == "pass") == (result == "pass"), (name, foretold, result)
        assert seen[0]["spf"] == spf_at_the_receiver(world, got), (name, seen[0])


def spf_at_the_receiver(world, got):
    """pyspf's result for what the receiver saw, by the test's zone file; names that are not there can't be asked."""
    import spf
    records = {}
    for line in (world.folder / "zone").read_text().splitlines():
        owner, _, kind, data = line.split(None, 3) if " IN " in line else ("", "", "", "")
        records.setdefault((owner.rstrip(".").lower(), kind), []).append(data)

    def lookup(name, kind, strict=True, timeout=20):
        name = name.rstrip(".").lower()
        if ".".join(name.split(".")[-2:]) not in {".".join(owner.split(".")[-2:]) for owner, _ in records}:
            raise spf.TempError("nobody answers")
        for data in records.get((name, kind), []):
            if kind == "TXT":
                yield (name, kind), [part.encode() for part in re.findall(r'"([^"]*)"', data)]
            elif kind == "MX":
                yield (name, kind), (int(data.split()[0]), data.split()[1].rstrip("."))
            else:
                yield (name, kind), data

    spf.DNSLookup = lookup
    return spf.check2(got.source, got.mail_from, got.ehlo, querytime=0)[0]
