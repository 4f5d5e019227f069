"""Whose a tenant's domain is: unverified domains don't send (550 5.7.750), a token in the DNS verifies them, a DNS that does not answer changes
nothing, and a token that is gone is told long before the domain stops."""
import json
import os
import re
import stat

import pytest

from lab.client import Client, Refused, message
from lab.waiting import until
from lab.world import zone

REGISTERED = "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains"
ELSEWHERE = "_sluice.contoso.test. IN CNAME gone.example.net.\n_sluice.nodns.contoso.test. IN CNAME gone.example.net.\n"  # where nobody answers


def put_token(world, *domains, replace=None):
    """Into the zone file, as the customers would."""
    rows = {r["domain"]: r for r in world.daemon.rows("domain", "list")}
    lines = "".join(f'{rows[d]["name"]}. IN TXT "{replace or rows[d]["token"]}"\n' for d in domains)
    (world.folder / "zone").write_text(zone(extra=lines))


def states(world):
    return {r["domain"]: r["state"] for r in world.daemon.rows("domain", "list")}


def refusal(world, path="alice@contoso.test", **how):
    with world.connector() as client, pytest.raises(Refused) as refused:
        client.send(path, "bob@fabrikam.test", message(**how))
    return refused.value


def accepted(world, path="alice@contoso.test", **how):
    with world.connector() as client:
        return client.send(path, "bob@fabrikam.test", message(**how))


def explained(world):
    """What `sluice explain` foretells of alice's mail; it asks the disk, not the daemon."""
    until(lambda: not (world.folder / "state/identity/domains.json.new").exists())
    (world.folder / "mail").write_bytes(message())
    ran = world.daemon.run("explain", "--from", "alice@contoso.test", "--to", "bob@fabrikam.test", "--client", "127.0.3.1", "mail")
    assert ran.returncode == (1 if REGISTERED in ran.stdout else 0), ran
    return ran.stdout


def test_unverified_domains_do_not_send(make_world):
    world = make_world(extra="tenants { verify = true }").start("fabrikam.test")

    # Each way in, at the first place where it is known; and none of it is kept.
    found = refusal(world)
    assert (found.stage, found.reply) == ("MAIL", REGISTERED)
    with world.submission() as client, pytest.raises(Refused) as refused:
        client.send("alice@contoso.test", "bob@fabrikam.test", message())
    assert (refused.value.stage, refused.value.reply) == ("MAIL", REGISTERED)
    ran = world.daemon.run("send", "-f", "alice@contoso.test", "bob@fabrikam.test", stdin=message().decode())
    assert ran.returncode == 1 and REGISTERED in ran.stderr
    for author in ("alice@contoso.test", "Alice <alice@CONTOSO.test>", "someone@sender.test\r\nFrom: alice@contoso.test"):
        found = refusal(world, "", sender=author)  # the second can't be read
        assert found.reply == REGISTERED and found.stage != "MAIL", author
    rows = world.daemon.trace("--event", "REFUSE")
    assert len(rows) == 6 and {r["reply"] for r in rows} == {REGISTERED} and {r["tenant"] for r in rows} == {"contoso"}, rows
    assert all(r["status"] != "Delivered" for r in world.daemon.trace())

    assert REGISTERED in explained(world)

    # What the customer has to put, and verify: no cached "no" stands in the way.
    text = world.daemon.cli("domain", "add", "contoso", "CONTOSO.test")
    (token,) = re.findall(r'_sluice\.contoso\.test\. 3600 TXT "(sluice-domain-verification=[0-9a-f]{40})"', text)
    assert "sluice domain verify contoso.test" in text and "v=spf1 include:spf.sluice.test" in text and "_dmarc.contoso.test" in text
    ran = world.daemon.run("domain", "verify", "contoso.test")
    assert ran.returncode == 1 and "unverified" in ran.stdout
    put_token(world, "contoso.test")
    (row,) = [json.loads(line) for line in world.daemon.cli("domain", "verify", "contoso.test", "--json").splitlines()]
    assert (row["state"], row["token"], row["why"], row["missing_since"]) == ("verified", token, None, None)
    assert states(world) == {"contoso.test": "verified", "nodns.contoso.test": "unverified"}

    # That one sends now, the tenant's other domain does not, in From neither; a foreign sender is for the relay rules.
    trace_id = accepted(world)
    assert REGISTERED not in explained(world)
    assert refusal(world, "alice@nodns.contoso.test").reply == REGISTERED
    found = refusal(world, sender="alice@nodns.contoso.test")
    assert found.reply == REGISTERED and found.stage != "MAIL"
    relayed = accepted(world, "someone@sender.test", sender="someone@sender.test")
    (event,) = [e for e in world.daemon.events(relayed) if e["event"] == "RECEIVE"]
    assert event["rule"] == "relayed" and world.daemon.trace_of(trace_id, "Delivered")

    # A report is ours, whatever became of the sender's domain.
    with world.connector() as client:
        failing = client.send("alice@contoso.test", "nobody@null-mx.test", message())
    put_token(world, "contoso.test", replace="gone")
    until(lambda: [e for e in world.daemon.events(failing) if e["event"] == "DSN"], what="the report")


def test_it_survives_and_no_answer_changes_nothing(make_world):
    world = make_world(extra="tenants { verify = true  check = 1s }")
    world.daemon.cli("domain", "add", "contoso", "contoso.test")
    put_token(world, "contoso.test")
    assert world.daemon.run("domain", "verify").returncode == 1  # the other one is not
    assert states(world) == {"contoso.test": "verified", "nodns.contoso.test": "unverified"}
    secret = world.folder / "state/keys/ownership.secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    token = world.daemon.rows("domain", "list")[0]["token"]

    # Found without a daemon, it holds for a daemon that can ask nobody, and for the next one.
    (world.folder / "zone").write_text(zone(extra=ELSEWHERE))
    world.rewrite(dns=f'zone-file = "zone"  servers = {{"127.0.0.1@{world.dead_port}"}}  timeout = 300ms')
    for _ in range(2):
        world.start("fabrikam.test")
        assert accepted(world)
        assert refusal(world, "alice@nodns.contoso.test").reply == REGISTERED
        ran = world.daemon.run("domain", "verify", "contoso.test", "--json")
        row = json.loads(ran.stdout)
        assert ran.returncode == 3 and row["state"] == "verified" and "does not answer" in row["why"], row
        ran = world.daemon.run("-c", world.daemon.config, "domain", "list", "--socket", "/nowhere")
        assert ran.returncode == 0 and "verified" in ran.stdout
        ran = world.daemon.run("domain", "verify", "--socket", "/nowhere")
        assert ran.returncode == 1 and "in use by another process" in ran.stderr
        world.daemon.stop()

    # A domain that nobody ever answered for waits. What is known and damaged is set aside, and never believed.
    (world.folder / "state/identity/domains.json").write_text('{"version":1,"domains":[{"tenant":"contoso","domain":"contoso.test","state":"veri')
    world.daemon.start()
    assert world.daemon.wait_log("ALARM: what is known of the tenants' domains is damaged")
    found = refusal(world)
    assert found.reply.startswith("451 4.4.3 "), found.reply
    assert [n for n in os.listdir(world.folder / "state/identity") if ".damaged-" in n]
    assert states(world) == {"contoso.test": "unknown", "nodns.contoso.test": "unknown"}

    # The DNS is back: what mail is about is asked for at once.
    put_token(world, "contoso.test")
    world.daemon.cli("reload")
    assert world.daemon.rows("domain", "list")[0]["token"] == token
    world.daemon.wait_log("domain ownership.*domain=contoso.test.*state=verified")
    assert accepted(world)


@pytest.mark.parametrize("grace", ["1h", "1s"])
def test_a_token_that_is_gone(make_world, grace):
    world = make_world(extra=f"tenants {{ verify = true  check = 1s  grace = {grace} }}")
    world.daemon.cli("domain", "add", "contoso", "contoso.test")
    put_token(world, "contoso.test", "nodns.contoso.test")
    world.start("fabrikam.test")
    assert accepted(world)
    since = world.daemon.mark()
    put_token(world, "contoso.test", "nodns.contoso.test", replace="something else")
    line = world.daemon.wait_log("alert=identity-fault subject=_sluice.contoso.test", since=since)
    assert "tenant=contoso" in line and "sluice-domain-verification=" in line
    row = world.daemon.rows("domain", "list")[0]
    assert row["missing_since"] and "something else" in row["why"]
    if grace == "1h":
        assert row["state"] == "verified" and row["refused_from"] > row["missing_since"]
        assert accepted(world)
    else:
        world.daemon.wait_log("domain ownership.*domain=contoso.test state=unverified", since=since)
        assert refusal(world).reply == REGISTERED
    put_token(world, "contoso.test", "nodns.contoso.test")
    world.daemon.cli("domain", "verify")
    assert accepted(world) and states(world) == {"contoso.test": "verified", "nodns.contoso.test": "verified"}
    world.daemon.wait_log("alert.*subject=_sluice.contoso.test.*is there", since=since)
    if grace == "1h":  # who does not ask any more has no alert of it
        put_token(world, "contoso.test", "nodns.contoso.test", replace="something else")
        opened = lambda: {r["subject"] for r in world.daemon.rows("alerts", "--open", "--kind", "identity-fault")}
        until(lambda: opened() == {"_sluice.contoso.test", "_sluice.nodns.contoso.test"}, what=opened)
        world.daemon.write(world.config().replace('"contoso.test", "nodns.contoso.test"', '"contoso.test"'))
        world.daemon.cli("reload")
        until(lambda: opened() == {"_sluice.contoso.test"}, what=opened)
        world.daemon.stop()
        world.daemon.write(world.config(extra=""))
        world.daemon.start()
        until(lambda: not opened(), what=opened)


def test_nodes_that_share_a_secret(make_world, folder):
    """The same tokens everywhere; a secret that is named is never made, and never read by others."""
    secret = folder / "shared"
    one, other = (make_world(extra=f'tenants {{ verify = true  secret = "{secret}" }}') for _ in range(2))
    ran = one.daemon.run("check")
    assert ran.returncode == 1 and str(secret) in ran.stdout and not secret.exists()
    secret.write_text("ab" * 32 + "\n")
    ran = one.daemon.run("check")
    assert ran.returncode == 1 and "chmod 600" in ran.stdout
    secret.chmod(0o600)
    one.daemon.cli("check")
    tokens = [{r["domain"]: r["token"] for r in w.daemon.rows("domain", "list")} for w in (one, other)]
    assert tokens[0] == tokens[1] and all(tokens[0].values()) and len(set(tokens[0].values())) == 2
    planned = {r["name"]: r["data"] for r in one.daemon.rows("dns", "plan") if r["name"].startswith("_sluice.")}
    assert planned == {f"_sluice.{d}.": f'"{t}"' for d, t in tokens[0].items()}


def test_the_plan_has_the_tokens(make_world):
    """Also before any daemon has run; what the plan says is what is asked for."""
    world = make_world()
    planned = {r["name"]: r["data"].strip('"') for r in world.daemon.rows("dns", "plan") if r["name"].startswith("_sluice.")}
    assert planned == {r["name"] + ".": r["token"] for r in world.daemon.rows("domain", "list")} and len(planned) == 2
    assert stat.S_IMODE((world.folder / "state/keys/ownership.secret").stat().st_mode) == 0o600
    world.daemon.start()
    assert {r["name"] + ".": r["token"] for r in world.daemon.rows("domain", "list")} == planned
    other = make_world()
    other.daemon.start()  # makes its own
    assert all(r["token"] for r in other.daemon.rows("domain", "list"))


def test_the_command(make_world):
    world = make_world()
    cases = (
        ([], 2, "add, verify or list"), (["ad"], 2, "did you mean 'add'"), (["add", "contoso"], 2, "TENANT DOMAIN"), (["list", "x"], 2, "unexpected"),
        (["add", "contoso", "[192.0.2.1]"], 1, "no domain"), (["add", "fabrikam", "contoso.test"], 1, 'a domain of tenant "contoso"'),
        (["verify", "unknown.test"], 1, "no tenant has unknown.test"))
    for running in (False, True):
        if running:
            world.start("fabrikam.test")
        for words, code, said in cases:
            ran = world.daemon.run("domain", *words)
            assert ran.returncode == code and said in ran.stderr, (words, ran)
    # A new customer: nothing of theirs is configured yet.
    text = world.daemon.cli("domain", "add", "woodgrove", "woodgrove.example")
    assert 'tenant "woodgrove" { domains = {..., "woodgrove.example"} }' in text and "_sluice.woodgrove.example. 3600 TXT" in text
    # Without `verify` nothing is refused; from the reload on it is.
    assert accepted(world)
    world.rewrite(extra="tenants { verify = true }")
    world.daemon.cli("reload")
    assert refusal(world).reply == REGISTERED
    # A secret that can't be used is no reason to go on with half a configuration.
    (world.folder / "state/keys/ownership.secret").chmod(0o644)
    ran = world.daemon.run("reload")
    assert ran.returncode == 1 and "open to others" in ran.stdout + ran.stderr
    assert refusal(world).reply == REGISTERED


FORWARDING = """
  connector "home" { addresses = {"127.0.3.5"}  deliver = "127.0.3.5:%d" }
  forward "one@contoso.test"  { to = {"bob@fabrikam.test"} }
  forward "kept@contoso.test" { to = {"bob@fabrikam.test"}  keep = true }
"""
NOT_FORWARDED = "550 5.7.750 Service unavailable. Mail can't be forwarded from an unregistered domain"


def test_an_unverified_domain_does_not_forward(make_world):
    """What is forwarded would leave with a reverse-path in the tenant's domain (SRS)."""
    world = make_world(extra='tenants { verify = true }\nsrs { secrets = {"the secret of the day"} }', listener='accept = {"forward"}')
    world.settings["tenant"] = FORWARDING % world.delivery_port
    sender = 'pass.test. IN MX 10 mx.pass.test.\npass.test. IN TXT "v=spf1 ip4:127.0.20.1 -all"\n'
    world.daemon.write(world.config(), {"zone": zone(extra=sender)})
    home = world.receiver.host("127.0.3.5", "home.contoso.test")
    world.start("fabrikam.test")

    def forwarded(to, path="carol@pass.test"):
        with Client("127.0.0.1", world.port, source="127.0.20.1", timeout=60, hello="host.pass.test") as client:
            return client.send(path, to, message("carol@pass.test", to))

    def foretold(to):
        (world.folder / "mail").write_bytes(message("carol@pass.test", to))
        return world.daemon.run("explain", "--from", "carol@pass.test", "--to", to, "--client", "127.0.20.1", "mail").stdout

    with pytest.raises(Refused) as refused:
        forwarded("one@contoso.test")
    assert refused.value.reply == NOT_FORWARDED
    (row,) = world.daemon.trace("--event", "REFUSE")
    assert "ownership of contoso.test is unverified" in row["reason"]
    until(lambda: NOT_FORWARDED in foretold("one@contoso.test"), what="explain")

    # Nobody who was named goes without a copy and unheard.
    with pytest.raises(Refused) as refused, Client("127.0.0.1", world.port, source="127.0.20.1", timeout=60, hello="host.pass.test") as client:
        client.send("carol@pass.test", ["kept@contoso.test", "one@contoso.test"], message("carol@pass.test", "kept@contoso.test"))
    assert refused.value.reply == NOT_FORWARDED

    # The copy that needs no name of ours goes its way, and what is not rewritten, too.
    trace_id = forwarded("kept@contoso.test")
    assert world.daemon.trace_of(trace_id, "Delivered")["kept@contoso.test"]["return_path"] == "carol@pass.test"
    (drop,) = [e for e in world.daemon.events(trace_id) if e["event"] == "DROP"]
    assert (drop["recipient"], drop["reply"]) == ("bob@fabrikam.test", NOT_FORWARDED)
    relayed = forwarded("one@contoso.test", path="x@sender.test")
    assert world.daemon.trace_of(relayed, "Delivered")["bob@fabrikam.test"]["class"] == "relay"

    rows = {r["domain"]: r for r in world.daemon.rows("domain", "list")}
    (world.folder / "zone").write_text(zone(extra=sender + f'_sluice.contoso.test. IN TXT "{rows["contoso.test"]["token"]}"\n'))
    assert world.daemon.run("domain", "verify", "contoso.test").returncode == 0
    got = world.daemon.trace_of(forwarded("one@contoso.test"), "Delivered")["bob@fabrikam.test"]
    assert got["return_path"].endswith("=pass.test=carol@contoso.test")
    assert not [m for m in home.messages if m.recipients[0] == "bob@fabrikam.test"]


def test_a_forward_waits_while_nobody_answers_for_its_domain(make_world):
    world = make_world(extra='tenants { verify = true }\nsrs { secrets = {"the secret of the day"} }', listener='accept = {"forward"}')
    world.settings["tenant"] = FORWARDING % world.delivery_port
    world.daemon.write(world.config(), {"zone": zone(extra=ELSEWHERE + 'pass.test. IN MX 10 mx.pass.test.\npass.test. IN TXT "v=spf1 ip4:127.0.20.1 -all"\n')})
    world.start("fabrikam.test")
    with Client("127.0.0.1", world.port, source="127.0.20.1", timeout=60, hello="host.pass.test") as client, pytest.raises(Refused) as refused:
        client.send("carol@pass.test", "one@contoso.test", message("carol@pass.test", "one@contoso.test"))
    assert refused.value.reply.startswith("451 4.4.3 ")
