"""Forwards: who gets a copy, from which pool, under which reverse-path; how bounces find back; and whose signatures and
seals the receivers see, judged by dkimpy and Mail::DKIM."""
import email
import email.policy
import re
import time

import pytest

from conftest import missing
from lab.client import Client, Refused, message
from lab.signing import Judges, Key, field_values, modules_missing
from lab.waiting import until
from lab.world import ADDRESSES, ON_PREM, PLAIN, identity, zone

ALICE, BOB, TOM, CAROL = "alice@contoso.test", "bob@fabrikam.test", "tom@tailspin.test", "carol@pass.test"
OUTSIDE, DAY = "127.0.20.1", 86400
HOME = "127.0.3.5"  # the tenant's own server, behind `deliver`

SECRET, OLD = "the secret of the day", "the secret of yesterday"
SRS = f'srs {{ secrets = {{"{SECRET}", "{OLD}"}} }}'

FORWARDS = """
  forward "one@contoso.test"    { to = {"bob@fabrikam.test"} }
  forward "many@contoso.test"   { to = {"bob@fabrikam.test", "tom@tailspin.test", "alice@contoso.test"} }
  forward "kept@contoso.test"   { to = {"bob@fabrikam.test"}  keep = true }
  forward "own@contoso.test"    { to = {"alice@contoso.test"} }
  forward "chain@contoso.test"  { to = {"one@contoso.test", "tom@tailspin.test"} }
  forward "gone@contoso.test"   { to = {"gone@fabrikam.test"} }
"""


@pytest.fixture(scope="module")
def keys():
    lack = modules_missing()
    if lack:
        missing(f"no judges of signatures: {lack} (tools/setup test)")
    return {"rsa": Key("contoso.test", "s1"), "ed25519": Key("contoso.test", "s2", "ed25519"), "theirs": Key("pass.test", "k"), "relay": Key("fail.test", "k")}


@pytest.fixture
def judges(keys):
    return Judges(*keys.values())


def prepare(world, keys, home="", tenant=FORWARDS, extra=SRS):
    """contoso.test signs with two keys, and has a server of its own behind `deliver`."""
    keys["rsa"].file(world.folder / "rsa.pem")
    keys["ed25519"].file(world.folder / "ed25519.pem")
    dkim = 'dkim "contoso.test" { selector = "s1"  key = "rsa.pem"  ed25519-selector = "s2"  ed25519-key = "ed25519.pem" }'
    server = f'connector "home" {{ addresses = {{"{HOME}"}}  deliver = "{HOME}:{world.delivery_port}"  {home} }}'
    world.settings.update(tenant=f"{dkim}\n{server}\n{tenant}", extra=extra, listener='accept = {"forward"}')
    names = f"""pass.test. IN MX 10 mx.sender.test.
pass.test. IN TXT "v=spf1 ip4:{OUTSIDE} -all"
fail.test. IN MX 10 mx.sender.test.
fail.test. IN TXT "v=spf1 -all"
contoso.test. IN TXT "v=spf1 ip4:127.0.1.0/24 -all"
"""
    world.daemon.write(world.config(), {"zone": zone(extra=names + identity() + "".join(key.zone_line() for key in keys.values()))})
    world.home = world.receiver.host(HOME, "home.contoso.test")
    world.sender_host = world.receiver.host("127.0.10.9", "mx.sender.test")
    return world


@pytest.fixture
def world(make_world, keys):
    return prepare(make_world(), keys)


def outside(world, sender, to, text=None, source=OUTSIDE):
    with Client("127.0.0.1", world.port, source=source, timeout=60, hello="host.sender.test") as client:
        return client.send(sender, to, text or message(sender or "postmaster@fabrikam.test", to))


def refusal(world, sender, to, text=None, source=OUTSIDE):
    with pytest.raises(Refused) as e:
        outside(world, sender, to, text, source)
    return e.value


def copies(world, trace_id, count):
    """What the receivers got of one message, by recipient."""
    def of():
        return {r: m for m in world.receiver.messages if trace_id.encode() in m.data for r in m.recipients}
    world.receiver.wait(lambda: len(of()) >= count, what=f"{count} copies")
    return of()


# ---- who gets what

def test_a_restricted_tenant_still_receives(world):
    """What it would forward ends; the copy for its own server arrives. Nobody who was named goes without both and unheard."""
    world.start("fabrikam.test")
    world.daemon.cli("tenant", "restrict", "contoso", "--reason", "unpaid")
    assert refusal(world, CAROL, "one@contoso.test").reply == "550 5.7.705 Access denied, tenant has exceeded threshold"
    assert refusal(world, CAROL, ["kept@contoso.test", "one@contoso.test"], message(CAROL, "kept@contoso.test")).reply.startswith("550 5.7.705 ")
    trace_id = outside(world, CAROL, "kept@contoso.test")
    world.receiver.wait(lambda: world.home.messages)
    assert [m.recipients for m in world.receiver.messages] == [["kept@contoso.test"]]
    event, = [e for e in world.daemon.events(trace_id) if e["recipient"] == BOB]
    assert (event["event"], event["reply"]) == ("DROP", "550 5.7.705 Access denied, tenant has exceeded threshold")


def test_one_to_many(world, judges):
    """Own and foreign targets, in all classes; each copy is sealed, the trace tells each recipient's fate."""
    world.start()
    trace_id = outside(world, CAROL, "many@contoso.test")
    got = copies(world, trace_id, 3)
    assert set(got) == {BOB, TOM, ALICE}
    rows = world.daemon.trace_of(trace_id, "Delivered", 3)
    assert rows["many@contoso.test"]["status"] == "Expanded" and BOB in rows["many@contoso.test"]["reply"]
    for recipient in (BOB, TOM):
        row = rows[recipient]
        assert (row["class"], row["rule"], row["directionality"]) == ("normal", "own", "Incoming") and row["outbound_ip"] in ADDRESSES["normal"]
        assert got[recipient].mail_from.startswith("SRS0=") and got[recipient].mail_from.endswith("=pass.test=carol@contoso.test")
        assert row["return_path"] == got[recipient].mail_from
    assert got[ALICE].mail_from == CAROL and got[ALICE].session.host is world.home, "to the tenant's own server it stays as it came"
    for mail in got.values():
        assert judges.chain(mail.data) == "pass"
        assert field_values(mail.data, "Delivered-To") == ["many@contoso.test"]
        assert [s for s in judges.signatures(mail.data) if s[0] == "contoso.test"] == [("contoso.test", "s1", "pass"), ("contoso.test", "s2", "pass")]
    world.check_pools()


def test_kept(world):
    world.start()
    got = copies(world, outside(world, CAROL, "kept@contoso.test"), 2)
    assert set(got) == {BOB, "kept@contoso.test"}
    assert got["kept@contoso.test"].session.host is world.home and got["kept@contoso.test"].mail_from == CAROL
    assert not field_values(got["kept@contoso.test"].data, "Delivered-To")


def test_chained(world):
    """A forward to a forward: each target once, the last forwarder's name in Delivered-To."""
    world.start()
    got = copies(world, outside(world, CAROL, "chain@contoso.test"), 2)
    assert set(got) == {BOB, TOM}
    assert "one@contoso.test" in field_values(got[BOB].data, "Delivered-To") and field_values(got[TOM].data, "Delivered-To") == ["chain@contoso.test"]


def test_case_of_the_address_does_not_count(world):
    world.start("fabrikam.test")
    assert set(copies(world, outside(world, CAROL, "ONE@Contoso.Test"), 1)) == {BOB}


def test_forwards_of_users_and_connectors(world):
    """Mail of the tenant's own to a forward: sent on as it is, the reverse-path is ours already."""
    world.start("fabrikam.test")
    with world.submission() as client:
        by_user = client.send(ALICE, "one@contoso.test", message(ALICE))
    for trace_id in (by_user, outside(world, ALICE, "one@contoso.test", source=PLAIN)):
        got = copies(world, trace_id, 1)[BOB]
        assert got.mail_from == ALICE and got.source in ADDRESSES["normal"]
    got = copies(world, outside(world, "x@fail.test", "one@contoso.test", source=PLAIN), 1)[BOB]
    assert got.mail_from == "x@fail.test" and got.source in ADDRESSES["relay"]


def test_who_is_taken_from_outside(world):
    world.start("fabrikam.test")
    assert refusal(world, CAROL, "nobody@else.test").reply.startswith("550 5.7.64")
    assert set(copies(world, outside(world, CAROL, "postmaster@contoso.test"), 1)) == {"postmaster@contoso.test"}
    unknown = refusal(world, CAROL, "nobody@contoso.test")
    assert unknown.stage == "RCPT" and unknown.reply.startswith("550 5.1.1")
    with Client("127.0.0.1", world.port, source=OUTSIDE) as client:  # one unknown doesn't take the others along
        client.expect(f"MAIL FROM:<{CAROL}>")
        assert client.command("RCPT TO:<nobody@contoso.test>").startswith("550 5.1.1")
        client.expect("RCPT TO:<one@contoso.test>")
        assert set(copies(world, client.data(message(CAROL)), 1)) == {BOB}
    row = until(lambda: [r for r in world.daemon.trace("--recipient", "nobody@contoso.test")])[0]
    assert row["status"] == "Failed" and row["reply"].startswith("550 5.1.1")


def test_postmaster_alone(world):
    """RFC 5321 4.5.1: it is the postmaster of the domain that the node stands in; of none that is somebody else's."""
    world.start("fabrikam.test")
    assert refusal(world, CAROL, "postmaster").reply.startswith("550 5")
    world.daemon.write(world.daemon.config.read_text().replace("mta01.bl2.sluice.test", "mta01.contoso.test"))
    world.daemon.cli("reload")
    assert set(copies(world, outside(world, CAROL, "PostMaster"), 1)) == {"postmaster@contoso.test"}


def test_without_accept_nothing_is_taken_from_outside(world):
    world.rewrite(listener="")
    world.start("fabrikam.test")
    refused = refusal(world, CAROL, "one@contoso.test")
    assert refused.reply.startswith("550 5.7.64"), refused


def test_explain_warns_of_other_peoples_servers_only(world):
    """At the tenant's own server SPF of a foreign sender fails as well, and nobody there minds."""
    sender = "mallory@fail.test"
    (world.folder / "m.eml").write_bytes(message(sender, "kept@contoso.test"))
    how = ("explain", "--from", sender, "--to", "kept@contoso.test", "--client", OUTSIDE, "m.eml")
    seen = {f["recipient"]: f for f in world.daemon.rows(*how)[0]["seen_by_receivers"]}
    assert [(seen[a]["spf"], bool(seen[a]["warning"])) for a in ("kept@contoso.test", BOB)] == [("fail", False), ("fail", True)]
    assert world.daemon.cli(*how).count("WARNING") == 1


# ---- loops

def test_loops_end(world):
    world.start("fabrikam.test", "tailspin.test")
    been = message(CAROL, headers=("Delivered-To: one@contoso.test",))
    assert refusal(world, CAROL, "one@contoso.test", been).reply.startswith("554 5.4.6")
    shouted = message(CAROL, headers=("delivered-to:   ONE@CONTOSO.test  ",))
    assert refusal(world, CAROL, "one@contoso.test", shouted).reply.startswith("554 5.4.6")
    other = message(CAROL, headers=("Delivered-To: someone@else.test",))
    assert set(copies(world, outside(world, CAROL, "one@contoso.test", other), 1)) == {BOB}
    half = outside(world, CAROL, "chain@contoso.test", been)  # the part that does not loop goes on
    assert set(copies(world, half, 1)) == {TOM}
    assert "5.4.6" in [e for e in world.daemon.events(half) if e["event"] == "DROP"][0]["reply"]
    hops = tuple(f"Received: from a.test by b{i}.test; Sun, 22 Nov 2026 10:00:00 +0000" for i in range(110))
    assert refusal(world, CAROL, "one@contoso.test", message(CAROL, headers=hops)).reply.startswith("554 5.4.6")


def test_forwards_in_a_circle_are_refused_and_hurt_nobody(make_world, keys):
    """`check` warns; the daemon starts, refuses what leads nowhere, and goes the ways that lead on."""
    circles = """
  forward "ping@contoso.test"  { to = {"pong@contoso.test"} }
  forward "pong@contoso.test"  { to = {"ping@contoso.test"} }
  forward "self@contoso.test"  { to = {"self@contoso.test"} }
  forward "round@contoso.test" { to = {"back@contoso.test", "bob@fabrikam.test"} }
  forward "back@contoso.test"  { to = {"round@contoso.test"} }
"""
    world = prepare(make_world(), keys, tenant=circles)
    said = world.daemon.cli("check")
    for words in ('"ping@contoso.test" leads back to it and nowhere else', '"self@contoso.test" is forwarded to itself', '"round@contoso.test" leads back to it: that way is not gone'):
        assert words in said, said
    world.start()
    for address in ("ping", "pong", "self"):
        refused = refusal(world, CAROL, f"{address}@contoso.test")
        assert refused.stage == "RCPT" and refused.reply.startswith("550 5.4.6 "), refused
    assert set(copies(world, outside(world, CAROL, "back@contoso.test"), 1)) == {BOB}
    world.check_pools()


def test_a_forward_that_comes_back_through_another_host_ends(world):
    """fabrikam.test sends everything straight back, as a forward there would."""
    replies = []

    def back(session, mail):
        if b"Delivered-To" in mail.data and len(replies) < 10:
            try:
                replies.append(outside(world, mail.mail_from, "one@contoso.test", mail.data))
            except Refused as e:
                replies.append(e.reply)
        return None

    world.host("fabrikam.test", script={"dot": back})
    world.start("fabrikam.test")
    outside(world, CAROL, "one@contoso.test")
    until(lambda: replies)
    assert replies[0].startswith("554 5.4.6") and len(replies) == 1


# ---- the tenant's policy

def test_a_policy_forbids(make_world, keys):
    world = prepare(make_world(), keys, tenant=FORWARDS + 'policy "default" { forwarding = off }')
    world.start("fabrikam.test")
    refused = refusal(world, CAROL, "one@contoso.test")
    assert refused.stage == "RCPT" and refused.reply.startswith("550 5.7.520"), refused
    with pytest.raises(Refused) as e, world.submission() as client:
        client.send(ALICE, "one@contoso.test", message(ALICE))
    assert e.value.reply.startswith("550 5.7.520")
    assert set(copies(world, outside(world, CAROL, "own@contoso.test"), 1)) == {ALICE}, "inside the tenant it may"
    trace_id = outside(world, CAROL, "kept@contoso.test")
    assert set(copies(world, trace_id, 1)) == {"kept@contoso.test"}
    drop = [e for e in world.daemon.events(trace_id) if e["event"] == "DROP"][0]
    assert drop["recipient"] == BOB and drop["reply"].startswith("550 5.7.520")
    assert not world.hosts["fabrikam.test"].seen


# ---- SRS

def rewritten(world, sender=CAROL, to="one@contoso.test"):
    return copies(world, outside(world, sender, to), 1)[BOB].mail_from


def bounce(world, to, sender="", text=None, source="127.0.10.1"):
    return outside(world, sender, to, text or message("MAILER-DAEMON@fabrikam.test", to, subject="it did not arrive"), source)


def test_a_bounce_comes_back_and_goes_on(world):
    world.start("fabrikam.test")
    path = rewritten(world)
    assert re.fullmatch(r"SRS0=[A-Za-z0-9_-]{4}=[A-Z2-7]{2}=pass\.test=carol@contoso\.test", path), path
    for address in (path, path.upper(), path.lower()):
        trace_id = bounce(world, address)
        row = world.daemon.trace_of(trace_id, "Delivered")
        back = [r for r in row.values() if r["status"] == "Delivered"][0]
        assert back["recipient"].lower() == CAROL and (back["class"], back["rule"]) == ("high-risk", "bounce"), back
        got = [m for m in world.sender_host.messages if trace_id.encode() in m.data][0]
        assert got.mail_from == "" and got.source in ADDRESSES["high-risk"] and got.recipients[0].lower() == CAROL
        assert [r["status"] for r in row.values() if r["recipient"] == address] == ["Expanded"]
    world.check_pools()


def test_what_is_no_bounce_goes_on_as_what_it_is(world):
    """An answer to the reverse-path (a vacation note with a sender) is mail like any other."""
    world.start("fabrikam.test")
    path = rewritten(world)
    row = world.daemon.trace_of(bounce(world, path, "x@fail.test"), "Delivered")[CAROL]
    assert (row["class"], row["rule"]) == ("relay", "relayed")
    row = world.daemon.trace_of(outside(world, "dave@pass.test", path), "Delivered")[CAROL]
    assert row["class"] == "normal"


def altered(path):
    local, domain = path.split("@")
    first = "B" if local[5].upper() == "A" else "A"
    return [local[:5] + first + local[6:] + "@" + domain, path.replace("=carol@", "=dave@"), path.replace("=pass.test=", "=pass.example="), local[:5] + "AAAA" + local[9:] + "@" + domain]


def test_forged_and_broken_ones_are_refused(world):
    world.start("fabrikam.test")
    path = rewritten(world)
    for address in altered(path):
        assert refusal(world, "", address).reply.startswith("550 5.7.1"), address
    for address in ("SRS0=AAAA=XX@contoso.test", "SRS0=@contoso.test", "SRS1=AAAA=@contoso.test"):
        assert refusal(world, "", address).reply.startswith("550 5."), address
    assert not [m for m in world.sender_host.messages]


def srs0(secret, address, age, domain="contoso.test"):
    """As PostSRSd writes it, some days ago."""
    import base64
    import hashlib
    import hmac
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    day = (int(time.time()) // DAY - age) % 1024
    stamp = letters[day >> 5] + letters[day & 31]
    local, host = address.split("@")
    digest = hmac.new(secret.encode(), f"{stamp}{host}{local}".lower().encode(), hashlib.sha1).digest()
    return f"SRS0={base64.urlsafe_b64encode(digest).decode()[:4]}={stamp}={host}={local}@{domain}"


def test_age_and_rotated_secrets(world):
    world.start("fabrikam.test")
    for secret in (SECRET, OLD):
        for age in (0, 1, 20):
            assert world.daemon.trace_of(bounce(world, srs0(secret, CAROL, age)), "Delivered")[CAROL]["rule"] == "bounce", (secret, age)
        assert refusal(world, "", srs0(secret, CAROL, 23)).reply.startswith("550 5.1.1")
    assert refusal(world, "", srs0("a stranger's secret", CAROL, 0)).reply.startswith("550 5.7.1")
    path = rewritten(world)
    world.rewrite(extra='srs { secrets = {"the secret of tomorrow", "%s"} }' % SECRET)
    world.daemon.cli("reload")
    assert world.daemon.trace_of(bounce(world, path), "Delivered")[CAROL]["rule"] == "bounce"
    assert refusal(world, "", srs0(OLD, CAROL, 0)).reply.startswith("550 5.7.1"), "a secret that was taken out"
    world.rewrite(extra='srs { secrets = {"the secret of tomorrow"}  max-age = 2d }')
    world.daemon.cli("reload")
    assert refusal(world, "", path).reply.startswith("550 5.7.1")
    assert refusal(world, "", srs0("the secret of tomorrow", CAROL, 4)).reply.startswith("550 5.1.1")


def test_a_second_forwarder_writes_srs1(world):
    """Mail that another forwarder has rewritten: the bounce goes to that one, with its own form."""
    world.start("fabrikam.test")
    theirs = "SRS0=abcd=XY=first.test=dora@pass.test"
    path = rewritten(world, theirs)
    assert re.fullmatch(r"SRS1=[A-Za-z0-9_-]{4}=pass\.test==abcd=XY=first\.test=dora@contoso\.test", path), path
    assert world.daemon.trace_of(bounce(world, path), "Delivered")[theirs]["rule"] == "bounce"
    again = rewritten(world, path.replace("@contoso.test", "@pass.test"))
    assert re.fullmatch(r"SRS1=[A-Za-z0-9_-]{4}=pass\.test==abcd=XY=first\.test=dora@contoso\.test", again), "an SRS1 keeps its length"


def test_microsofts_forms(make_world, keys):
    world = prepare(make_world(), keys, extra=SRS.replace("srs {", "srs { style = microsoft"))
    world.start("fabrikam.test")
    path = rewritten(world)
    assert re.fullmatch(r"one\+SRS=[A-Za-z0-9_-]{5}=[A-Z2-7]{2}=pass\.test=carol@contoso\.test", path), path
    assert world.daemon.trace_of(bounce(world, path), "Delivered")[CAROL]["rule"] == "bounce"
    assert refusal(world, "", path.replace("=carol@", "=dave@")).reply.startswith("550 5.7.1")
    long = "a" * 60 + "@pass.test"
    path = rewritten(world, long)
    assert re.fullmatch(r"bounces\+SRS=[A-Za-z0-9_-]{5}=[A-Z2-7]{2}@contoso\.test", path), path
    trace_id = bounce(world, path)  # taken, and it ends here
    drop = until(lambda: [e for e in world.daemon.events(trace_id) if e["event"] == "DROP"])[0]
    assert drop["recipient"] == path and not [m for m in world.sender_host.messages if trace_id.encode() in m.data]


def test_what_is_never_rewritten(make_world, keys):
    world = prepare(make_world(), keys)
    world.start("fabrikam.test")
    for sender, cls in (("x@fail.test", "relay"), ("", "high-risk"), (ALICE, None)):
        got = copies(world, outside(world, sender, "one@contoso.test"), 1)[BOB]
        assert got.mail_from == sender, sender
        assert cls is None or got.source in ADDRESSES[cls]
    spam = message(CAROL, headers=("X-Spam-Flag: YES",))
    got = copies(world, outside(world, "x@fail.test", "one@contoso.test", spam), 1)[BOB]
    assert got.mail_from == "x@fail.test"
    got = copies(world, outside(world, CAROL, "own@contoso.test"), 1)[ALICE]
    assert got.mail_from == CAROL
    other = prepare(make_world(), keys, home="srs = true")
    other.start("fabrikam.test")
    got = copies(other, outside(other, CAROL, "own@contoso.test"), 1)[ALICE]
    assert got.mail_from.startswith("SRS0="), "the connector asks for it"
    bare = prepare(make_world(), keys, extra="")
    bare.start("fabrikam.test")
    got = copies(bare, outside(bare, CAROL, "one@contoso.test"), 1)[BOB]
    assert got.mail_from == CAROL, "no srs, no rewriting"


def test_a_forged_own_sender_from_outside_is_relayed(world):
    """Somebody outside claims to be alice: neither our pool nor our signature for it."""
    world.start("fabrikam.test")
    trace_id = outside(world, ALICE, "one@contoso.test", message(ALICE))
    got = copies(world, trace_id, 1)[BOB]
    row = world.daemon.trace_of(trace_id, "Delivered")[BOB]
    assert row["class"] == "relay" and got.source in ADDRESSES["relay"], row
    assert not field_values(got.data, "DKIM-Signature")


# ---- seals and signatures

def test_every_forward_is_sealed(world, keys, judges):
    """Verified or not, with a chain or without; one that is broken gets a seal that says so, one that has ended none."""
    world.start("fabrikam.test")
    plain = message(CAROL)
    chained = keys["theirs"].seal(b"Authentication-Results: mx1.test; arc=none; spf=pass smtp.mailfrom=a@pass.test\r\n" + plain, "mx1.test")
    broken = chained.replace(b"Hello.", b"Hallo.")
    cases = [(CAROL, plain, "pass", 1), ("x@fail.test", message("x@fail.test"), "pass", 1), ("", message("x@fail.test"), "pass", 1), (CAROL, chained, "pass", 2),
             ("x@fail.test", chained, "pass", 2), (CAROL, keys["theirs"].sign(plain), "pass", 1), (CAROL, broken, "fail", 2)]
    for number, (sender, text, verdict, seals) in enumerate(cases):
        got = copies(world, outside(world, sender, "one@contoso.test", text), 1)[BOB]
        assert judges.chain(got.data) == verdict, number
        sealed = field_values(got.data, "ARC-Seal")
        assert len(sealed) == seals and re.search(rf"\bi={seals}\b", sealed[0]) and "d=contoso.test" in sealed[0].replace(" ", ""), (number, sealed)
        results = field_values(got.data, "ARC-Authentication-Results")[0]
        assert f"i={seals}; mta01.bl2.sluice.test;" in results and "spf=" in results and ("arc=fail" in results) == (verdict == "fail"), results
    ended = broken
    for _ in range(2):  # ours says cv=fail; the next hop adds none
        ended = copies(world, outside(world, CAROL, "one@contoso.test", re.sub(rb"(?m)^Delivered-To: .*\r\n", b"", ended)), 1)[BOB].data
    assert len(field_values(ended, "ARC-Seal")) == 2


def signers(judges, data):
    return [(domain, selector) for domain, selector, result in judges.signatures(data) if result == "pass"]


def test_our_signatures(world, judges):
    """Of users, connectors and reports; not of mail that is relayed."""
    world.host("fabrikam.test", refuse={"gone@fabrikam.test": "550 5.1.1 nobody"})
    world.start("fabrikam.test")
    both = [("contoso.test", "s1"), ("contoso.test", "s2")]
    with world.submission() as client:
        trace_id = client.send(ALICE, BOB, message(ALICE, headers=("X-Long: " + "y" * 500,), body=b".\r\n..\r\n \t\r\nFrom x\r\n\r\n\r\n"))
    assert signers(judges, copies(world, trace_id, 1)[BOB].data) == both
    assert signers(judges, copies(world, outside(world, ALICE, BOB, source=ON_PREM), 1)[BOB].data) == both
    assert signers(judges, copies(world, outside(world, "", BOB, message("postmaster@contoso.test"), ON_PREM), 1)[BOB].data) == both
    assert not field_values(copies(world, outside(world, "x@fail.test", BOB, source=ON_PREM), 1)[BOB].data, "DKIM-Signature")
    eight = message(ALICE, body="Grüße\r\n".encode(), headers=("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"))
    assert signers(judges, copies(world, outside(world, ALICE, BOB, eight, ON_PREM), 1)[BOB].data) == both
    trace_id = outside(world, ALICE, "gone@fabrikam.test", source=ON_PREM)  # its report comes home
    world.receiver.wait(lambda: any(m.mail_from == "" and ALICE in m.recipients for m in world.home.messages), what="the report")
    report = [m for m in world.home.messages if m.mail_from == ""][0]
    author = email.message_from_bytes(report.data, policy=email.policy.default)["From"].addresses[0]
    assert author.domain == "contoso.test" and signers(judges, report.data) == both, "aligned with From"


def test_eight_bit_mail_to_a_receiver_without_it(world, judges):
    """Converted on its way out, it is signed as it leaves."""
    world.host("fabrikam.test", extensions=("PIPELINING", "SIZE 52428800", "ENHANCEDSTATUSCODES"))
    world.start("fabrikam.test")
    text = message(ALICE, body="Grüße\r\n".encode() * 50, headers=("MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"))
    with Client("127.0.0.1", world.port, source=ON_PREM) as client:
        got = copies(world, client.send(ALICE, BOB, text, "BODY=8BITMIME"), 1)[BOB]
    assert max(got.data) < 128
    assert signers(judges, got.data) == [("contoso.test", "s1"), ("contoso.test", "s2")]


# ---- reports about forwarded mail

def test_the_report_of_a_failed_forward_goes_to_the_sender(world):
    """The copy's fate is told to who sent it, not to the address that it was rewritten to."""
    world.host("fabrikam.test", refuse={"gone@fabrikam.test": "550 5.1.1 nobody"})
    world.start("fabrikam.test")
    trace_id = outside(world, CAROL, "gone@contoso.test")
    world.receiver.wait(lambda: world.sender_host.messages, what="the report")
    report = world.sender_host.messages[0]
    assert report.mail_from == "" and report.recipients == [CAROL] and report.source in ADDRESSES["high-risk"]
    until(lambda: "DSN" in [e["event"] for e in world.daemon.events(trace_id)], what="the report in the trace")


def test_no_backscatter(world):
    """Who wasn't verified gets no report: the trace says DROP and why."""
    world.host("fabrikam.test", refuse={"gone@fabrikam.test": "550 5.1.1 nobody"})
    world.start("fabrikam.test")
    for sender in ("x@fail.test", "victim@fail.test"):
        trace_id = outside(world, sender, "gone@contoso.test")
        world.daemon.trace_of(trace_id, "Failed")
        events = until(lambda: (lambda e: e if e[-1]["event"] in ("DROP", "DSN") else None)(world.daemon.events(trace_id)))
        assert events[-1]["event"] == "DROP" and "SPF" in (events[-1]["reason"] or "") + (events[-1]["reply"] or ""), events[-1]
    by_connector = outside(world, "x@fail.test", "gone@fabrikam.test", source=PLAIN)
    events = until(lambda: (lambda e: e if e[-1]["event"] in ("DROP", "DSN") else None)(world.daemon.events(by_connector)))
    assert events[-1]["event"] == "DROP", events[-1]
    outside(world, CAROL, "gone@contoso.test", message(CAROL, subject="marker"))
    world.receiver.wait(lambda: world.sender_host.messages, what="the report that is due")
    assert len(world.sender_host.messages) == 1 and b"marker" in world.sender_host.messages[0].data


# ---- odd ways

def test_a_crash_changes_no_copy(world, judges):
    """What was accepted leaves after kill -9 as it was decided: reverse-path, seal, signatures."""
    host = world.host("fabrikam.test", script={"rcpt": ["451 4.2.1 later"] * 2})
    world.start("fabrikam.test")
    trace_id = outside(world, CAROL, "kept@contoso.test")
    copies(world, trace_id, 1)
    world.receiver.wait(lambda: host.sessions)
    world.daemon.kill()
    world.daemon.start()
    world.receiver.wait(lambda: host.messages)
    got = host.messages[0]
    assert got.mail_from.startswith("SRS0=") and got.recipients == [BOB] and judges.chain(got.data) == "pass"
    assert [result for _, _, result in judges.signatures(got.data)] == ["pass", "pass"]
    assert world.daemon.trace_of(bounce(world, got.mail_from), "Delivered")[CAROL]["rule"] == "bounce"


def test_each_address_gets_one_copy(world):
    world.start()
    with Client("127.0.0.1", world.port, source=PLAIN) as client:
        trace_id = client.send(ALICE, ["one@contoso.test", BOB, "many@contoso.test", "chain@contoso.test"], message(ALICE))
    world.daemon.trace_of(trace_id, "Delivered", 3)
    mails = [r for m in world.receiver.messages for r in m.recipients]
    assert sorted(mails) == sorted([BOB, TOM, ALICE]), mails


def test_an_international_sender(world, judges):
    """Its reverse-path is rewritten with the same letters, and finds back."""
    world.start("fabrikam.test")
    world.receiver.host("127.0.10.9", "mx.sender.test")
    sender = "jörg@pass.test"
    with Client("127.0.0.1", world.port, source=OUTSIDE, hello="host.sender.test") as client:
        trace_id = client.send(sender, "one@contoso.test", message(sender), "SMTPUTF8")
    got = copies(world, trace_id, 1)[BOB]
    assert got.mail_from.startswith("SRS0=") and got.mail_from.endswith("=pass.test=jörg@contoso.test") and "SMTPUTF8" in got.mail_parameters
    assert judges.chain(got.data) == "pass"
    with Client("127.0.0.1", world.port, source="127.0.10.1", hello="mx.fabrikam.test") as client:
        back = client.send("", got.mail_from, message("postmaster@fabrikam.test"), "SMTPUTF8")
    assert world.daemon.trace_of(back, "Delivered")[sender]["rule"] == "bounce"


def test_spellings_of_one_address(world):
    world.start("fabrikam.test")
    for address in ('"one"@contoso.test', '"o\\ne"@contoso.test', "one@CONTOSO.test", "@relay.test:one@contoso.test"):
        assert set(copies(world, outside(world, CAROL, address), 1)) == {BOB}, address


def test_a_message_without_a_header(world):
    world.start("fabrikam.test")
    for text in (b"\r\nonly a body\r\n", b"only a body\r\n", b"\r\n", b""):
        got = copies(world, outside(world, CAROL, "one@contoso.test", text or b"\r\n"), 1)[BOB]
        assert got.mail_from.startswith("SRS0=") and got.data.endswith(text or b"\r\n")
        assert len(field_values(got.data, "ARC-Seal")) == 1
