"""Every way into a class, and out of its pool: what the receiver sees is what the trace says (invariants 1 and 3)."""
import json

import pytest

from lab.client import GTUBE, REPORT, REPORT_BODY, Refused, message
from lab.world import ADDRESSES, EHLO, ON_PREM, PLAIN, identity, zone

ALICE, OUT = "alice@contoso.test", "carol@sender.test"
SPAM = ("X-Spam-Flag: YES",)

# name: (connector's address or a user, reverse-path, From, header fields, body, class, rule)
CASES = {
    "user": ("user", ALICE, ALICE, (), b"x\r\n", "normal", "own"),
    "connector": (ON_PREM, ALICE, ALICE, (), b"x\r\n", "normal", "own"),
    "gtube of a user": ("user", ALICE, ALICE, (), GTUBE, "high-risk", "spam"),
    "gtube of a connector": (PLAIN, ALICE, ALICE, (), GTUBE, "high-risk", "spam"),
    "trusted header": (ON_PREM, ALICE, ALICE, SPAM, b"x\r\n", "high-risk", "spam"),
    "header of another connector": (PLAIN, ALICE, ALICE, SPAM, b"x\r\n", "normal", "own"),
    "header says no": (ON_PREM, ALICE, ALICE, ("X-Spam-Flag: NO",), b"x\r\n", "normal", "own"),
    "null reverse-path": (ON_PREM, "", "postmaster@contoso.test", (), b"x\r\n", "high-risk", "bounce"),
    "delivery report": (ON_PREM, ALICE, ALICE, REPORT, REPORT_BODY, "high-risk", "bounce"),
    "no dns": (ON_PREM, "a@nodns.contoso.test", "a@nodns.contoso.test", (), b"x\r\n", "high-risk", "no-sender-dns"),
    "no dns of From": (ON_PREM, ALICE, "a@nodns.contoso.test", (), b"x\r\n", "high-risk", "no-sender-dns"),
    "relayed": (ON_PREM, OUT, OUT, (), b"x\r\n", "relay", "relayed"),
    "relayed, AAAA only": (ON_PREM, "a@aaaa-only.test", "a@aaaa-only.test", (), b"x\r\n", "relay", "relayed"),
    "relayed, null MX": (ON_PREM, "a@null-mx.test", "a@null-mx.test", (), b"x\r\n", "relay", "relayed"),
    "relayed spam": (ON_PREM, OUT, OUT, SPAM, b"x\r\n", "high-risk-relay", "spam+relayed"),
    "relayed gtube": (PLAIN, OUT, OUT, (), GTUBE, "high-risk-relay", "spam+relayed"),
    "relayed report": (ON_PREM, OUT, OUT, REPORT, REPORT_BODY, "high-risk-relay", "bounce+relayed"),
    "relayed, no dns": (ON_PREM, "a@void.sender.test", "a@void.sender.test", (), b"x\r\n", "high-risk-relay", "no-sender-dns+relayed"),
    "relayed null": (ON_PREM, "", OUT, (), b"x\r\n", "high-risk", "bounce"),
}


def hand_in(world, who, reverse_path, text, to="bob@fabrikam.test"):
    with world.submission() if who == "user" else world.connector(who) as client:
        return client.send(reverse_path, to, text)


def test_every_class_leaves_from_its_pool(world):
    world.start("fabrikam.test")
    sent = {}
    for name, (who, reverse_path, author, headers, body, cls, _) in CASES.items():
        sent[name] = hand_in(world, who, reverse_path, message(author, subject=name, body=body, headers=(*headers, f"X-Expect-Class: {cls}")))
    world.receiver.wait(lambda: len(world.receiver.messages) == len(CASES), what="all cases delivered")
    seen = {m.header("Subject"): m for m in world.receiver.messages}
    for name, (_, reverse_path, _, _, _, cls, rule) in CASES.items():
        row = world.daemon.trace_of(sent[name])["bob@fabrikam.test"]
        got = seen[name]
        assert (row["class"], row["rule"], row["outbound_ip_pool_name"]) == (cls, rule, cls), name
        assert got.source in ADDRESSES[cls], name
        assert (row["outbound_ip"], row["ehlo"]) == (got.source, got.ehlo), name
        assert got.ehlo == EHLO and got.mail_from == reverse_path, name
        assert row["reason"] and row["status"] == "Delivered" and row["server_ip"] == "127.0.10.1", name
    world.check_pools()


@pytest.mark.parametrize("aaaa,expected", [("true", "relay"), ("false", "high-risk-relay")])
def test_an_aaaa_saves_the_domain_unless_the_letter_of_the_rule_is_kept(make_world, aaaa, expected):
    world = make_world(extra=f"classify {{ aaaa = {aaaa} }}").start("fabrikam.test")
    trace_id = hand_in(world, ON_PREM, "a@aaaa-only.test", message("a@aaaa-only.test"))
    assert world.daemon.trace_of(trace_id)["bob@fabrikam.test"]["class"] == expected
    world.receiver.wait(lambda: world.receiver.messages)
    assert world.receiver.messages[0].source in ADDRESSES[expected]


def test_a_dead_dns_is_a_451_only_where_it_decides(world):
    """Invariant 7: what could not be asked is not `no record`, and is asked only where the class hangs on it."""
    world.start("fabrikam.test")
    for name, reverse_path, headers, body in [
        ("relayed", "a@unreachable-names.test", (), b"x\r\n"),
        ("From", ALICE, (), b"x\r\n"),
    ]:
        author = "a@unreachable-names.test"
        with pytest.raises(Refused) as refused:
            hand_in(world, ON_PREM, reverse_path, message(author, headers=headers, body=body))
        assert refused.value.reply.startswith("451 4.4.3"), name
    # Spam of our own is high-risk whatever the names say: no look-up can change that. (Whether others' is relayed, SPF must tell.)
    trace_id = hand_in(world, ON_PREM, ALICE, message("a@unreachable-names.test", body=GTUBE))
    assert world.daemon.trace_of(trace_id)["bob@fabrikam.test"]["rule"] == "spam"
    world.check_pools()


def test_explain_says_what_would_happen_and_sends_nothing(world, folder):
    world.daemon.write(world.config(), {"zone": zone(extra=identity())})
    world.start("fabrikam.test")
    for name, (who, reverse_path, author, headers, body, cls, rule) in CASES.items():
        path = folder / "mail.eml"
        path.write_bytes(message(author, headers=headers, body=body))
        arguments = ["explain", "--from", reverse_path or "<>", "--to", "bob@fabrikam.test"]
        arguments += ["--tenant", "contoso"] if who == "user" else ["--client", who]
        row = world.daemon.rows(*arguments, str(path))[0]
        assert (row["class"], row["rule"]) == (cls, rule), name
        text = world.daemon.cli(*arguments, str(path))
        assert cls in text and rule in text and EHLO in text and "mx.fabrikam.test" in text, name
    assert not world.receiver.sessions
    assert world.daemon.trace() == []


def explain(world, *arguments, to="bob@fabrikam.test", sender=ALICE):
    path = world.folder / "explained.eml"
    path.write_bytes(message(sender))
    return world.daemon.run("explain", "--from", sender, "--to", to, *arguments, str(path))


@pytest.mark.parametrize("to,sender,expected", [("bob@unreachable-names.test", ALICE, "451 4.4.3 DNS look-up of unreachable-names.test failed"),
                                                ("bob@fabrikam.test", "a@unreachable-names.test", "451 4.4.3")])
def test_explain_survives_a_dead_dns(world, to, sender, expected):
    ran = explain(world, "--client", ON_PREM, to=to, sender=sender)
    assert ran.returncode == 1 and expected in " ".join(ran.stdout.split()) and not ran.stderr, ran


def test_explain_finds_the_loop_that_the_daemon_would_find(make_world):
    world = make_world()
    world.delivery_port = world.port
    world.daemon.write(world.config(), {"zone": zone(extra="loop.test. IN MX 10 self.loop.test.\nself.loop.test. IN A 127.0.0.1\n"
                       "name.test. IN MX 10 mta01.bl2.sluice.test.\n")})
    for domain in ("loop.test", "name.test"):
        ran = explain(world, "--tenant", "contoso", to=f"x@{domain}")
        assert ran.returncode == 1 and f"554 5.4.6 Mail for {domain} loops back to this host" in ran.stdout, ran


def test_explain_says_when_no_address_has_the_family_of_the_destination(world):
    ran = explain(world, "--tenant", "contoso", "--json", to="x@aaaa-only.test")
    row = json.loads(ran.stdout)
    assert ran.returncode == 1 and row["pools"][0]["waits"].startswith("pool normal has no IPv6 address"), ran
    assert not any(a["could_carry"] for a in row["pools"][0]["addresses"])
    text = explain(world, "--tenant", "contoso", to="x@aaaa-only.test").stdout
    assert "the mail would wait" in text and "127.0.1.16" not in text and "[::1]" in text
    text = explain(world, "--tenant", "contoso").stdout
    assert "IPv4" in text and "127.0.1.16" in text and "the mail would wait" not in text


def test_explain_takes_a_client_and_a_tenant(world):
    by_connector = explain(world, "--tenant", "contoso", "--client", ON_PREM).stdout
    assert "on-prem" in by_connector and "contoso" in by_connector
    by_user = explain(world, "--tenant", "contoso", "--client", "127.0.3.99").stdout
    assert "on-prem" not in by_user and "contoso" in by_user
