"""Limits, policies and restricted senders, as a client and an administrator see them. How windows slide is tested with a clock of
their own (tests/unit/policy); here limits are small."""
import datetime
import json
import re
import shutil

import pytest

from lab.client import GTUBE, REPORT, REPORT_BODY, Refused, message
from lab.load import Load
from lab.waiting import until

DENIED = "550 5.1.8 Access denied, bad outbound sender"
USERS = "".join(f"{name}@contoso.test:{{PLAIN}}secret\n" for name in ("alice", "bob", "carol", "dave"))


def policy(name="default", **options):
    """forwarding stays possible, as it is without a policy."""
    options = {"forwarding": "on", **options}
    return f'policy "{name}" {{ ' + "  ".join(f"{k.replace('_', '-')} = {v}" for k, v in options.items()) + " }\n"


@pytest.fixture
def limited(make_world):
    def make(*policies, start=("fabrikam.test", "tailspin.test"), tenant="", **settings):
        world = make_world(tenant="".join(policies) + tenant, limits="true", **settings)
        (world.folder / "contoso.users").write_text(USERS)
        return world.start(*start) if start else world
    return make


def external(count, tag="r"):
    return [f"{tag}{i}@fabrikam.test" for i in range(count)]


def send(world, recipients, user="alice", sender=None, **how):
    """The trace id, or Refused."""
    with world.submission(f"{user}@contoso.test") as client:
        sender = sender or f"{user}@contoso.test"
        return client.send(sender, recipients, message(sender=sender, **how))


def refused(world, recipients, user="alice", **how):
    """The reply, and the REFUSE event of the trace."""
    with pytest.raises(Refused) as e:
        send(world, recipients, user, **how)
    return e.value.reply


def last_refusal(world, recipient):
    row, = [r for r in world.daemon.trace("--recipient", recipient, "--event", "REFUSE") if r["status"] == "Failed"][:1]
    event, = [e for e in world.daemon.events(row["trace_id"]) if e["recipient"] == recipient]
    assert event["event"] == "REFUSE"
    return event


# ---- each limit, its reply, what the trace says

def test_recipients_of_one_message(limited):
    world = limited(policy(per_message=3))
    assert refused(world, external(4)) == "550 5.5.3 Too many recipients: 4 in one message, the limit is 3"
    event = last_refusal(world, "r3@fabrikam.test")
    assert event["reply"].startswith("550 5.5.3") and "recipients in one message: 0 used, 4 more asked for, the limit is 3" in event["reason"]
    send(world, external(3))  # nobody is restricted for it, and it counted nothing
    assert not world.receiver.faults


@pytest.mark.parametrize("option, to, words", [
    ("external_per_hour", "x{}@fabrikam.test", "external recipients in an hour"),
    ("internal_per_hour", "x{}@contoso.test", "internal recipients in an hour"),
    ("per_day", "x{}@fabrikam.test", "recipients in 24 hours"),
])
def test_over_a_limit_is_refused_and_restricts(limited, option, to, words):
    """Invariant 4: what is over a limit reaches nobody, from no pool."""
    world = limited(policy(**{option: 5}))
    send(world, [to.format(i) for i in range(4)])
    assert refused(world, [to.format(8), to.format(9)]) == DENIED
    event = last_refusal(world, to.format(9))
    assert event["reason"] == f'{words}: 4 used, 2 more asked for, the limit is 5 (policy "default")'
    assert event["reply"] == DENIED and event["class"] is None
    # From now on everything is refused, mail inside too, before a byte of it is sent.
    with world.submission("alice@contoso.test") as client, pytest.raises(Refused) as e:
        client.send("alice@contoso.test", "bob@contoso.test", message())
    assert (e.value.stage, e.value.reply) == ("MAIL FROM:<alice@contoso.test>", DENIED) or e.value.reply == DENIED
    send(world, [to.format(9)], user="bob")  # the neighbour is not concerned
    assert not [m for h in world.receiver.hosts.values() for m in h.seen if to.format(8) in m.recipients]
    assert not world.daemon.trace("--recipient", to.format(8), "--status", "Delivered")


def test_alert_only(limited):
    world = limited(policy(external_per_hour=5, action="alert"))
    send(world, external(5))
    assert refused(world, external(1)) == ("450 4.7.1 Sending limit: external recipients in an hour: 5 used, 1 more asked for, "
                                           "the limit is 5, try again later")
    send(world, "dave@contoso.test")  # what fits still goes
    told = until(lambda: alerts(world, "limit-exceeded"), what="the alert")["alice@contoso.test"]
    assert "external recipients in an hour: 5 used, 1 more asked for, the limit is 5" in told["text"]
    assert "sluice sender show alice@contoso.test" in told["advice"]


def test_what_was_tried_before_stops_too_unless_it_was_a_limit(limited):
    """Who is restricted by an operator or for what he sends; over a limit, what was within it goes on."""
    world = limited(policy(external_per_hour=2), start=())
    world.host("fabrikam.test", script={"dot": "451 4.3.0 later"})
    world.start("fabrikam.test")
    first, over = send(world, "x@fabrikam.test"), send(world, "y@fabrikam.test", user="bob")
    assert refused(world, external(2), user="bob") == DENIED
    until(lambda: "DEFER" in [e["event"] for e in world.daemon.events(first)], what="a try of what will be held")
    world.daemon.cli("sender", "restrict", "alice@contoso.test", "--reason", "phished")
    row, = until(lambda: world.daemon.rows("queue", "list", "--held"), what="the hold")
    assert row["recipient"] == "x@fabrikam.test" and row["attempts"] >= 1 and row["why"].endswith(": phished")
    tried = len(world.daemon.events(over))
    until(lambda: len(world.daemon.events(over)) > tried, what="another try of what was within its limits")
    assert [r["recipient"] for r in world.daemon.rows("queue", "list", "--held")] == ["x@fabrikam.test"]
    assert world.daemon.events(first)[-1]["event"] == "HOLD"


def test_messages_of_a_minute_wait_for_their_turn(limited):
    """The excess is accepted, and released at the rate; a restart in between changes nothing."""
    world = limited(policy(per_minute=3))
    ids, times = [], [now()]
    for i in range(8):
        ids.append(send(world, f"x{i}@fabrikam.test", subject=f"m{i}"))
        times.append(now())
    world.receiver.wait(lambda: len(world.receiver.messages) == 3)
    until(lambda: len(world.daemon.rows("queue", "list")) == 5, what="the queue without the three")
    waiting = {r["recipient"]: r for r in world.daemon.rows("queue", "list")}
    assert sorted(waiting) == [f"x{i}@fabrikam.test" for i in range(3, 8)]
    due = [parse(waiting[f"x{i}@fabrikam.test"]["next"]) for i in range(3, 8)]
    for i in range(3):  # each a minute behind the one whose place it takes
        assert 60 <= (due[i] - times[i]).total_seconds() and (due[i] - times[i + 1]).total_seconds() <= 61, (i, due, times)
    assert all(60 <= (due[i + 3] - due[i]).total_seconds() <= 61 for i in range(2)), due
    first = waiting["x3@fabrikam.test"]
    assert first["state"] == "waiting" and first["attempts"] == 0
    assert first["why"].startswith('3 messages may leave in a minute, and as many are on their way (policy "default"): released at 20')
    events = [e["event"] for e in world.daemon.events(ids[3])]
    assert events == ["RECEIVE", "HOLD"]
    # After a crash and after a restart they still wait.
    for end in (world.daemon.kill, world.daemon.stop):
        end()
        world.daemon.start()
        again = {r["recipient"]: r["next"] for r in world.daemon.rows("queue", "list")}
        assert again == {r: row["next"] for r, row in waiting.items()}
    late = send(world, "x8@fabrikam.test")
    row, = world.daemon.rows("queue", "list", "--id", late)
    assert 60 <= (parse(row["next"]) - due[2]).total_seconds() <= 61  # behind x6 and x7
    send(world, "y@fabrikam.test", user="bob")
    world.receiver.wait(lambda: len(world.receiver.messages) == 4)
    # An operator may let one go before its turn.
    world.daemon.cli("queue", "retry", ids[4])
    world.receiver.wait(lambda: len(world.receiver.messages) == 5)


def test_what_waits_for_its_turn_says_so_whatever_its_domain_says_to_others(limited):
    world = limited(policy(per_minute=1), start=("fabrikam.test",))

    def row(trace_id):
        return world.daemon.rows("queue", "list", "--id", trace_id)[0]

    first = send(world, "a@tailspin.test")
    until(lambda: row(first)["attempts"] >= 1, what="nobody listens there")
    assert "connect to" in row(first)["why"]
    assert "may leave in a minute" in row(send(world, "b@tailspin.test"))["why"]


def test_who_is_restricted_sends_no_more_of_what_waits_for_its_turn(limited):
    """A hacked account hands in all that it can before it is found: what was carried over stops with it."""
    world = limited(policy(per_minute=2))
    ids = [send(world, f"x{i}@fabrikam.test") for i in range(4)]
    send(world, "y@fabrikam.test", user="bob")
    world.receiver.wait(lambda: len(world.receiver.messages) == 3)
    world.daemon.cli("sender", "restrict", "alice@contoso.test", "--reason", "phished")
    world.daemon.cli("queue", "retry", "--sender", "alice@contoso.test")  # as when their turn comes
    held = until(lambda: len(r := world.daemon.rows("queue", "list", "--held")) == 2 and r, what="the hold")
    assert sorted(r["recipient"] for r in held) == ["x2@fabrikam.test", "x3@fabrikam.test"]
    assert all(r["why"].startswith("alice@contoso.test is restricted since 20") and r["why"].endswith(": phished") for r in held), held
    assert [e["event"] for e in world.daemon.events(ids[2])] == ["RECEIVE", "HOLD", "HOLD"]
    shown = world.daemon.cli("trace", "show", ids[2])
    assert "held until an operator releases it" in shown and "parked: alice@contoso.test is restricted since" in shown, shown
    world.daemon.kill()
    world.daemon.start()
    assert len(world.daemon.rows("queue", "list", "--held")) == 2
    # The operator looks at one, and throws the other away.
    world.daemon.cli("queue", "cancel", ids[3])
    world.daemon.cli("sender", "release", "alice@contoso.test")
    world.daemon.cli("queue", "release", ids[2])
    world.receiver.wait(lambda: len(world.receiver.messages) == 4)
    assert [m.recipients for m in world.receiver.messages][-1] == ["x2@fabrikam.test"]


def change(world, verb, *what, ok=True):
    """How many were changed, and what it says beside."""
    done = world.daemon.run("queue", verb, *what, "--json")
    assert done.returncode == (0 if ok else 1), done
    return json.loads(done.stdout)["changed"], done.stderr.strip()


def test_an_operator_releases_one_message_of_who_is_restricted(limited):
    """By its id it goes whatever its sender may, retries and restarts included; by a filter nobody who is restricted goes."""
    world = limited(policy(per_minute=1), start=())
    world.host("fabrikam.test", script={"dot": ["451 4.3.0 later"]})
    world.start("fabrikam.test")
    send(world, "x@tailspin.test")
    ids = [send(world, f"x{i}@fabrikam.test") for i in range(3)]
    world.daemon.cli("sender", "restrict", "alice@contoso.test", "--reason", "phished")
    changed, note = change(world, "retry", "--sender", "alice@contoso.test")
    assert "what is tried may be held instead: alice@contoso.test is restricted since 20" in note, note
    until(lambda: len(world.daemon.rows("queue", "list", "--held", "--domain", "fabrikam.test")) == 3, what="the hold")
    # All of them: fail closed, and say what to do.
    changed, note = change(world, "release", "--domain", "fabrikam.test", ok=False)
    assert changed == 0 and "3 stay held: alice@contoso.test is restricted since 20" in note, note
    assert "release the sender first (sluice sender release), or a message by its id" in note
    # One: it goes.
    changed, note = change(world, "release", ids[1])
    assert changed == 1 and note.startswith("sluice: alice@contoso.test is restricted since 20") and note.endswith("this message goes all the same")
    until(lambda: world.daemon.rows("queue", "show", ids[1])[0]["attempts"] == 1, what="a try")
    world.daemon.kill()
    world.daemon.start()
    world.daemon.run("queue", "retry", ids[1])  # perhaps it has gone already
    world.receiver.wait(lambda: world.receiver.messages)
    assert [m.recipients for m in world.receiver.messages] == [["x1@fabrikam.test"]]
    event, = [e for e in world.daemon.events(ids[1]) if e["event"] == "RELEASE"]
    assert event["reply"].startswith("by an operator, though alice@contoso.test is restricted since 20")
    assert sorted(r["trace_id"] for r in world.daemon.rows("queue", "list", "--held", "--domain", "fabrikam.test")) == sorted([ids[0], ids[2]])


def test_release_of_what_waits_for_its_turn(limited):
    world = limited(policy(per_minute=1))
    ids = [send(world, f"x{i}@fabrikam.test") for i in range(3)]
    world.receiver.wait(lambda: len(world.receiver.messages) == 1)
    changed, note = change(world, "release", "--sender", "alice@contoso.test", ok=False)
    assert changed == 0 and "2 wait for their turn (per-minute): sluice queue release ID lets one go at once" in note
    assert change(world, "release", ids[2]) == (1, "")
    world.receiver.wait(lambda: len(world.receiver.messages) == 2)
    assert world.receiver.messages[-1].recipients == ["x2@fabrikam.test"]
    later = send(world, "y@nowhere.test", user="bob")
    until(lambda: world.daemon.rows("queue", "show", later)[0]["attempts"], what="a try")
    changed, note = change(world, "release", later, ok=False)
    assert changed == 0 and "1 not held: sluice queue retry ID tries what waits at once" in note


def parse(time):
    return datetime.datetime.fromisoformat(time.replace("Z", "+00:00"))


def now():
    return datetime.datetime.now(datetime.timezone.utc)


# ---- who counts, which policy

def test_reverse_paths_that_are_made_anew_count_as_one_sender(limited):
    """A list server writes each recipient into its reverse-path (VERP), others a tag or a hash (BATV, SRS)."""
    world = limited(policy(per_day=4))
    paths = ["bounces+7-ann=example.org", "bounces-8", "prvs=0123456789=bounces", "bounces+SRS=44ldt=IX"]
    with world.connector() as client:
        for i, path in enumerate(paths):
            client.send(f"{path}@contoso.test", f"x{i}@fabrikam.test", message())
        with pytest.raises(Refused) as e:
            client.send("Bounces-return-9-bob=example.org@contoso.test", "y@fabrikam.test", message())
        assert e.value.reply == DENIED
        client.send("carol@contoso.test", "z@fabrikam.test", message())  # the neighbour goes on
    name = "connector/contoso/on-prem/bounces@contoso.test"
    assert [r["name"] for r in world.daemon.rows("sender") if r["state"] == "restricted today"] == [name]
    shown, = world.daemon.rows("sender", "show", "connector/contoso/on-prem/bounces+5-x=y.example@contoso.test")
    assert shown["name"] == name and shown["counted"] == "bounces+5-x=y.example@contoso.test counts as bounces@contoso.test (VERP)"
    # Nor does a tag hide who is restricted as a user.
    world.daemon.cli("sender", "restrict", "dave@contoso.test")
    with world.connector() as client, pytest.raises(Refused) as e:
        client.send("prvs=0123456789=Dave+x@contoso.test", "z@fabrikam.test", message())
    assert e.value.reply == DENIED
    # Nor being called like a made path.
    world.daemon.cli("sender", "restrict", "returns-24@contoso.test")
    with world.connector() as client, pytest.raises(Refused) as e:
        client.send("returns-24@contoso.test", "z@fabrikam.test", message())
    assert e.value.reply == DENIED


def test_from_selects_the_policy_and_the_submitter_counts(limited):
    world = limited(policy("news", priority=10, senders='{"carol@contoso.test"}', per_day=3),
                    'group "sales" { members = {"dave@contoso.test"} }',
                    policy("sales", priority=20, groups='{"sales"}', per_day=4),
                    policy("all", priority=30, domains='{"contoso.test"}', per_day=5),
                    policy(per_day=6))
    send(world, external(3), sender="carol@contoso.test")
    # In carol's name it was too much; alice wrote it, so she is the one who is restricted.
    assert refused(world, external(1), sender="carol@contoso.test") == DENIED
    assert '(policy "news")' in last_refusal(world, "r0@fabrikam.test")["reason"]
    assert refused(world, external(1)) == DENIED
    send(world, external(3), user="carol")
    assert refused(world, external(5), user="dave") == DENIED
    assert '(policy "sales")' in last_refusal(world, "r4@fabrikam.test")["reason"]
    assert refused(world, external(6), user="bob") == DENIED
    assert '(policy "all")' in last_refusal(world, "r5@fabrikam.test")["reason"]


def test_one_mailbox_behind_a_connector_does_not_block_its_neighbours(limited):
    world = limited(policy(external_per_hour=3))
    with world.connector() as client:
        client.send("hacked@contoso.test", external(3), message())
        with pytest.raises(Refused) as e:
            client.send("hacked@contoso.test", external(1), message())
        assert e.value.reply == DENIED
        client.expect("RSET")
        client.send("nice@contoso.test", external(3), message("nice@contoso.test"))
    row, = world.daemon.rows("sender", "list")
    assert (row["name"], row["state"], row["tenant"]) == ("connector/contoso/on-prem/hacked@contoso.test", "restricted today", "contoso")
    # The connector as a whole: by an operator only.
    world.daemon.cli("sender", "restrict", "contoso/on-prem", "--reason", "stolen")
    with world.connector() as client, pytest.raises(Refused) as e:
        client.send("nice@contoso.test", external(1), message("nice@contoso.test"))
    assert e.value.reply.startswith("550 5.7.711 ")


def test_who_is_restricted_finds_no_other_way(limited):
    """Not as another spelling, not by the tenant's server, not by the local socket."""
    world = limited(policy(external_per_hour=3))
    with world.connector() as client:
        for path in ("hacked@contoso.test", "Hacked+a@contoso.test", '"hacked"@contoso.test'):
            client.send(path, external(1), message())
        with pytest.raises(Refused) as e:
            client.send("hacked+b@contoso.test", external(1), message())
        assert e.value.reply == DENIED
    assert [r["name"] for r in world.daemon.rows("sender", "list")] == ["connector/contoso/on-prem/hacked@contoso.test"]
    assert standing(world, "sender", "connector/contoso/on-prem/Hacked+c@contoso.test")["state"] == "restricted today"
    world.daemon.cli("sender", "restrict", "bob@contoso.test")
    with world.connector() as client:
        for path in ("bob@contoso.test", "BOB+x@contoso.test"):
            with pytest.raises(Refused) as e:
                client.send(path, external(1), message())
            assert e.value.reply == DENIED
            client.expect("RSET")
    ran = world.daemon.run("send", "--from", "bob@contoso.test", "x@fabrikam.test", stdin=message("bob@contoso.test").decode())
    assert ran.returncode == 1 and DENIED in ran.stderr
    send(world, external(1), sender="bob@contoso.test")  # who submits counts: alice is free to write for bob


def test_a_subaddress_has_the_policy_of_its_mailbox(limited):
    world = limited(policy("strict", senders='{"alice@contoso.test"}', per_day=1), policy())
    send(world, external(1), sender="alice+x@contoso.test")
    assert refused(world, external(1), sender="Alice+y@contoso.test") == DENIED
    assert '(policy "strict")' in last_refusal(world, "r0@fabrikam.test")["reason"]


def test_reports_of_a_connector_do_not_count(limited):
    world = limited(policy(per_day=1))
    with world.connector() as client:
        for i in range(3):
            client.send("", f"x{i}@fabrikam.test", message("", headers=REPORT, body=REPORT_BODY))
        client.send("", "x@fabrikam.test", message(""))  # null alone makes no report of it
        with pytest.raises(Refused) as e:
            client.send("", "y@fabrikam.test", message(""))
        assert e.value.reply == DENIED


def test_a_connector_without_limits_and_limits_off(limited):
    world = limited(policy(per_day=1), 'licences = 1\n', start=None)
    world.rewrite(limits="false")
    world.start("fabrikam.test")
    with world.connector() as client:
        client.send("a@contoso.test", external(5), message())
    world.rewrite(limits="true", extra="limits { apply = off }")
    world.daemon.cli("reload")
    send(world, external(5))
    world.daemon.cli("sender", "restrict", "alice@contoso.test")  # that goes on to work
    assert refused(world, external(1)) == DENIED


def test_the_api_counts_too(limited):
    world = limited(policy(per_day=2))
    for i in range(2):
        world.daemon.cli("send", "--from", "cron@contoso.test", f"x{i}@fabrikam.test", stdin=message("cron@contoso.test").decode())
    ran = world.daemon.run("send", "--from", "cron@contoso.test", "x@fabrikam.test", stdin=message("cron@contoso.test").decode())
    assert ran.returncode == 1 and DENIED in ran.stderr
    assert "2 used, 1 more asked for" in last_refusal(world, "x@fabrikam.test")["reason"]
    row, = world.daemon.rows("sender", "list")
    assert row["name"] == "local/contoso/cron@contoso.test"


# ---- tenants

def test_external_recipients_of_a_tenant(limited):
    """500 x 1^0.7 + 9500 = 10000; 10 % in the first 30 days."""
    today = now().strftime("%Y-%m-%d")
    world = limited(policy(per_message=1000, external_per_hour=990), f'licences = 1\nsince = "{today}"\n')
    send(world, external(600))
    send(world, external(396), user="bob")
    assert refused(world, external(5), user="carol").startswith(
        "550 5.7.233 Tenant recipient limit: external recipients of the tenant in 24 hours: ")
    send(world, [f"x{i}@contoso.test" for i in range(5)], user="carol")  # inside there is room
    event = last_refusal(world, "r4@fabrikam.test")
    assert event["reason"].endswith("the limit is 1000")
    told = until(lambda: alerts(world, "limit-exceeded"), what="the alert")["contoso"]
    assert told["tenant"] == "contoso" and "sluice tenant show contoso" in told["advice"]
    shown = standing(world, "tenant", "contoso")
    assert shown["limits"] == [{"limit": "tenant-external-per-day", "counts": "external recipients of the tenant in 24 hours",
                                "used": 996, "most": 1000}]
    world.rewrite(tenant=policy(per_message=1000) + 'licences = 1\nsince = "2020-01-01"\n')
    world.daemon.cli("reload")
    send(world, external(5), user="carol")


def standing(world, kind, name, *options):
    row, = world.daemon.rows(kind, "show", name, *options)
    return row


def test_a_restricted_tenant(limited):
    world = limited(policy())
    world.daemon.cli("tenant", "restrict", "contoso", "--reason", "spam wave")
    assert refused(world, external(1)).startswith("550 5.7.705 ")
    with world.connector() as client, pytest.raises(Refused) as e:
        client.send("a@contoso.test", "b@fabrikam.test", message("a@contoso.test"))
    assert e.value.reply.startswith("550 5.7.705 ")
    row, = world.daemon.rows("tenant", "list")
    assert (row["name"], row["state"], row["reason"], row["by"] != "") == ("contoso", "restricted", "spam wave", True)
    world.daemon.cli("tenant", "release", "contoso")
    send(world, external(1))


# ---- restrict, release, allow

def test_restrict_release_allow(limited):
    world = limited(policy(external_per_hour=3))
    world.daemon.cli("sender", "restrict", "Bob@contoso.test", "--reason", "phished")
    with world.submission("bob@contoso.test") as client, pytest.raises(Refused) as e:
        client.expect("MAIL FROM:<bob@contoso.test>")
    assert e.value.reply == DENIED  # at once, before any recipient
    refusal = last_refusal_of(world, "bob@contoso.test")
    assert refusal["reason"].startswith("bob@contoso.test is restricted since 20") and refusal["reason"].endswith(": phished")
    shown = standing(world, "sender", "bob@contoso.test")
    assert (shown["state"], shown["cause"], shown["reason"], shown["until"]) == ("restricted", "operator", "phished", None)
    assert shown["by"] and shown["since"]
    assert world.daemon.run("sender", "restrict", "bob@contoso.test").returncode == 1  # already
    world.daemon.cli("sender", "release", "bob@contoso.test")
    assert world.daemon.run("sender", "release", "bob@contoso.test").returncode == 1
    send(world, external(1), user="bob")
    # Over a limit: restricted for the day; released: not again today for the same cause, and the limit goes on to apply.
    send(world, external(3))
    assert refused(world, external(1)) == DENIED
    shown = standing(world, "sender", "alice@contoso.test")
    assert (shown["state"], shown["cause"], shown["by"]) == ("restricted today", "external-per-hour", None)
    assert shown["until"].endswith("T00:00:00.000Z") and shown["recipients"] == 3
    assert {l["limit"]: (l["used"], l["most"]) for l in shown["limits"]}["external-per-hour"] == (3, 3)
    world.daemon.cli("sender", "release", "alice@contoso.test")
    assert refused(world, external(1)).startswith("450 4.7.1 Sending limit: ")
    assert standing(world, "sender", "alice@contoso.test")["state"] == "released"
    send(world, "x@contoso.test")
    # Another cause does restrict.
    world.daemon.cli("sender", "allow", "dave@contoso.test", "--until", "2d")
    send(world, external(3), user="dave")
    assert refused(world, external(1), user="dave").startswith("450 ")
    shown = standing(world, "sender", "dave@contoso.test")
    assert shown["state"] == "allowed" and parse(shown["allowed"]) > now() + datetime.timedelta(days=1)
    listed = {r["name"]: r["state"] for r in world.daemon.rows("sender", "list")}
    assert listed == {"alice@contoso.test": "released", "bob@contoso.test": "released", "dave@contoso.test": "allowed"}
    assert "released" in world.daemon.cli("sender") and "external-per-hour" in world.daemon.cli("sender", "show", "dave@contoso.test")
    world.daemon.stop()
    world.daemon.start()
    assert {r["name"]: r["state"] for r in world.daemon.rows("sender", "list")} == listed


def last_refusal_of(world, sender):
    event = [r for r in world.daemon.trace("--sender", sender) if r["status"] == "Failed"][0]
    return world.daemon.events(event["trace_id"])[0]


def test_who_is_nobody_is_said_so(limited):
    world = limited(policy())
    for words, what in ((("sender", "show", "x@elsewhere.test"), "no tenant has a user of that name"),
                        (("sender", "restrict", "contoso/nowhere"), "there is no such connector"),
                        (("tenant", "restrict", "fabrikam"), "there is no tenant fabrikam"),
                        (("sender", "allow", "bob@contoso.test", "--until", "soon"), "until: a time")):
        ran = world.daemon.run(*words)
        assert ran.returncode in (1, 2) and what in ran.stderr, ran
    assert standing(world, "sender", "never@contoso.test")["state"] == "free"
    assert world.daemon.cli("sender", "list") == "nobody is restricted\n"


# ---- reload, restart, crash

def test_a_reload_changes_the_limits_at_once(limited):
    world = limited(policy(per_day=2, action="alert"))
    send(world, external(2))
    assert refused(world, external(1)).startswith("450 4.7.1 ")
    world.rewrite(tenant=policy(per_day=4, action="alert"))
    world.daemon.cli("reload")
    send(world, external(2))  # what was sent before counts
    assert refused(world, external(1)).startswith("450 4.7.1 ")
    world.rewrite(tenant=policy(per_day=3, action="alert"))
    world.daemon.cli("reload")
    assert "4 used, 1 more asked for, the limit is 3" in refused(world, external(1))


def test_a_restart_hands_out_no_new_allowance(limited):
    world = limited(policy(per_day=3, action="alert"))
    send(world, external(2))
    for end in (world.daemon.stop, world.daemon.kill):
        end()
        world.daemon.start()
        assert "2 used, 2 more asked for, the limit is 3" in refused(world, external(2))
    send(world, external(1))
    world.daemon.kill()
    world.daemon.start()
    assert "3 used" in refused(world, external(1))


def test_kill_nine_in_a_stream_of_messages(limited):
    """What was acknowledged counts afterwards: never less. What was not acknowledged may count, once."""
    world = limited(policy(per_day=10000, per_minute=10000, action="alert"))
    sessions, acknowledged = 4, 0
    for round_ in range(3):
        load = Load(world, sessions, size=200, recipients=("r@fabrikam.test",), tag=f"round{round_}")
        load.wait(40 + 60 * round_)
        world.daemon.kill()
        load.join()
        acknowledged += len(load.acknowledged)
        assert not [r for r in load.refusals if r], load.refusals[:3]
        world.daemon.start()
        used = {l["limit"]: l["used"] for l in standing(world, "sender", "connector/contoso/on-prem/alice@contoso.test")["limits"]}
        # A chunk of this limit is 201: its estimate is at most 100 off once something has left the window; nothing has.
        assert acknowledged <= used["per-day"] <= acknowledged + sessions * (round_ + 1)
    assert not [line for line in world.daemon.lines if "the journal of the limits is damaged" in line]


def test_a_damaged_journal_is_reported_and_read_as_far_as_it_goes(limited):
    """Availability before exactness: what can't be read isn't counted, and the log says so."""
    world = limited(policy(per_day=4, action="alert"))
    send(world, external(1), user="bob")
    send(world, external(2))
    world.daemon.stop()
    segment, = (world.folder / "state" / "limits").glob("*.limits")
    bytes_ = bytearray(segment.read_bytes())
    bytes_[40] ^= 0xff  # in the first entry: bob's
    segment.write_bytes(bytes_)
    world.daemon.start()
    world.daemon.wait_log("the journal of the limits is damaged.* gaps=1")
    used = {l["limit"]: l["used"] for l in standing(world, "sender", "alice@contoso.test")["limits"]}
    assert used["per-day"] == 2


def test_a_journal_that_cannot_be_opened_stops_the_start(limited):
    world = limited(policy(), start=None)
    world.start("fabrikam.test")
    world.daemon.stop()
    folder = world.folder / "state" / "limits"
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    world.daemon.start(wait=False)
    assert world.daemon.wait() != 0
    assert "state/limits (Not a directory)" in world.daemon.lines[-1]
    world.daemon.process = None
    folder.unlink()
    world.daemon.start()


# ---- what else a policy says

def test_forwarding_by_policy(limited):
    """Off for the one, on for the other; 550 5.7.520 at RCPT."""
    forwards = "".join(f'forward "{u}@contoso.test" {{ to = {{"{u}@fabrikam.test"}} }}\n' for u in ("bob", "carol"))
    world = limited(policy("mobile", senders='{"bob@contoso.test"}'), policy(forwarding="automatic"), forwards)
    send(world, "bob@contoso.test")
    assert refused(world, "carol@contoso.test").startswith("550 5.7.520 Access denied, ")
    world.receiver.wait(lambda: [m.recipients for m in world.receiver.messages] == [["bob@fabrikam.test"]])


def test_suspicious_mail_goes_to_the_auditor_too(limited):
    world = limited(policy(bcc_suspicious='"audit@tailspin.test"', per_day=2, action="alert"))
    spam = send(world, external(1), body=GTUBE)
    send(world, external(1, "s"))  # the copy didn't count; clean mail has none
    rows = world.daemon.trace_of(spam, "Delivered", count=2)
    assert rows["audit@tailspin.test"]["outbound_ip_pool_name"] == "high-risk" == rows["r0@fabrikam.test"]["outbound_ip_pool_name"]
    taken = [m.recipients for h in world.hosts.values() for m in h.messages]
    assert ["audit@tailspin.test"] in taken and ["r0@fabrikam.test"] in taken and len(taken) <= 3
    mail, = [m for m in world.hosts["fabrikam.test"].messages if m.recipients == ["r0@fabrikam.test"]]
    assert b"audit@" not in mail.data


# ---- explain

def explain(world, sender, *options, to="x@fabrikam.test", author="alice@contoso.test", code=0):
    ran = world.daemon.run("explain", "--from", author, "--to", to, "--as", sender, *options, "-", stdin=message(author).decode())
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout


def test_explain_as_a_sender(limited):
    world = limited(policy("news", priority=10, senders='{"carol@contoso.test"}', per_day=3, per_minute=1), policy(per_day=6), start=None)
    world.rewrite(dns=f'zone-file = "zone"  servers = {{"127.0.0.1@{world.dead_port}"}}  timeout = 200ms')
    world.start("fabrikam.test")
    send(world, external(2))
    assert not any(standing(world, "sender", "alice@contoso.test")["next_leaves"] for _ in range(20))
    text = explain(world, "alice@contoso.test")
    assert '"default" (it applies where no other does), action restrict-today' in text
    assert re.search(r"per-day +2 of 6 +33 %  recipients in 24 hours", text), text
    row = json.loads(explain(world, "alice@contoso.test", "--json", author="carol@contoso.test", code=0))["limits_of"]
    assert (row["policy"], row["policy_why"]) == ("news", "carol@contoso.test is one of its senders, priority 10")
    assert row["verdict"] == "hold" and row["next_leaves"]
    send(world, external(4))
    text = explain(world, "alice@contoso.test", code=1)
    assert DENIED in text and "6 used, 1 more asked for, the limit is 6" in text
    assert standing(world, "sender", "alice@contoso.test")["state"] == "free"  # asking is no offence
    assert refused(world, external(1)) == DENIED
    # Without a daemon the files tell the same.
    world.daemon.stop()
    text = explain(world, "alice@contoso.test", code=1)
    assert DENIED in text and "is restricted since" in text
    assert re.search(r"per-day +6 of 6 +100 %", text), text
    assert "no tenant has a user of that name" in explain(world, "x@elsewhere.test", "--tenant", "contoso", code=1)


# ---- alerts

def alerts(world, kind):
    return {a["subject"]: a for a in world.daemon.rows("alerts") if a["kind"] == kind}


def test_who_sends_fast_is_told_of_before_mail_waits(limited):
    world = limited(policy(per_minute=5))
    for i in range(3):
        send(world, f"x{i}@fabrikam.test")
    assert not world.daemon.rows("alerts")
    send(world, "x3@fabrikam.test")
    near = until(lambda: alerts(world, "limit-near"), what="the alert")["alice@contoso.test per-minute"]
    assert "has used 4 of 5 messages in a minute" in near["text"] and "raise `per-minute`" in near["advice"]


def test_what_would_expire_before_its_turn_is_not_taken(limited):
    """Accepted mail is tried at least once."""
    world = limited(policy(per_minute=1), delivery="first-retry = 1s  max-retry = 2s  expire = 90s")
    for i in range(2):
        send(world, f"x{i}@fabrikam.test")
    assert refused(world, "x2@fabrikam.test").startswith("450 4.7.1 Too many of your messages wait for their turn")
    assert last_refusal(world, "x2@fabrikam.test")["reason"].endswith(", after it would expire")


def test_what_waits_has_a_bound_and_is_told_of(limited):
    """Nine hours of mail; whoever brings more comes again, and the administrators hear of it."""
    world = limited(policy(per_minute=1))
    with world.submission("alice@contoso.test") as client, pytest.raises(Refused) as e:
        for taken in range(600):
            client.send("alice@contoso.test", "x@fabrikam.test", message())
    assert e.value.reply.startswith("450 4.7.1 Too many of your messages wait for their turn") and taken >= 540, (taken, e.value.reply)
    told = until(lambda: alerts(world, "limit-exceeded"), what="the alert")["alice@contoso.test per-minute"]
    assert "more mail of alice@contoso.test waits for its turn than can be kept" in told["text"]
    assert standing(world, "sender", "alice@contoso.test")["state"] == "free"


def test_who_is_told(limited):
    """At 80 % of a limit, and when a sender is restricted: the addresses of `notify` by mail."""
    world = limited(policy(external_per_hour=5, notify='{"security@tailspin.test"}'),
                    extra='alerts { from = "sluice@contoso.test" }')
    send(world, external(3))
    assert not world.daemon.rows("alerts")
    send(world, external(1))
    near = until(lambda: alerts(world, "limit-near"), what="the alert")["alice@contoso.test external-per-hour"]
    assert near["tenant"] == "contoso" and "4 of 5 external recipients in an hour" in near["text"] and "sluice sender show alice@contoso.test" in near["advice"]
    assert refused(world, external(2)) == DENIED
    told = until(lambda: alerts(world, "sender-restricted"), what="the alert")["alice@contoso.test"]
    assert "restricted until the next UTC day: external recipients in an hour: 4 used, 2 more asked for" in told["text"]
    assert "sluice sender release alice@contoso.test" in told["advice"]
    mail, = until(lambda: world.hosts["tailspin.test"].messages, what="the mail")
    assert mail.recipients == ["security@tailspin.test"] and "alice@contoso.test" in mail.header("Subject")
    # Alerts count for nobody and pass when their tenant may not send at all.
    world.daemon.cli("tenant", "restrict", "contoso")
    until(lambda: alerts(world, "tenant-restricted"), what="the alert")
    world.daemon.cli("tenant", "release", "contoso")
    until(lambda: alerts(world, "tenant-restricted")["contoso"]["ended"], what="its end")


# ---- what does not count, and for whom

def test_what_is_not_taken_is_not_counted(limited):
    """A message that a later step defers gives its recipients back."""
    world = limited(policy(), start=None)
    world.rewrite(dns=f'zone-file = "zone"  servers = {{"127.0.0.1@{world.dead_port}"}}  timeout = 200ms')
    world.start("fabrikam.test")
    with world.connector() as client:
        with pytest.raises(Refused) as e:
            client.send("x@elsewhere.example", external(3), message("x@elsewhere.example"))
        assert e.value.reply.startswith("451 4.4.3")
        client.expect("RSET")
        client.send("a@contoso.test", external(2), message("a@contoso.test"))
    for sender, counted in (("x@elsewhere.example", 0), ("a@contoso.test", 2)):
        used = {l["limit"]: l["used"] for l in standing(world, "sender", f"connector/contoso/on-prem/{sender}")["limits"]}
        assert (used["per-day"], used["external-per-hour"]) == (counted, counted)  # its turn in the minute is spent


def test_mail_from_outside_counts_for_the_tenant_that_forwards(limited):
    """Its sender is nobody's here. What stays inside is receiving: it always comes in."""
    targets = ", ".join(f'"t{i}@fabrikam.test"' for i in range(400))
    today = now().strftime("%Y-%m-%d")
    world = limited(policy(per_day=10), f'licences = 1\nsince = "{today}"\nforward "all@contoso.test" {{ to = {{{targets}}} }}\n'
                    'forward "in@contoso.test" { to = {"bob@contoso.test"} }\n', listener='accept = {"forward"}', start=None)
    world.start("fabrikam.test")
    with world.connector(source="127.0.10.9") as client:
        for _ in range(2):
            client.send("carol@sender.test", "all@contoso.test", message("carol@sender.test"))
        with pytest.raises(Refused) as e:
            client.send("carol@sender.test", "all@contoso.test", message("carol@sender.test"))
        assert e.value.reply.startswith("550 5.7.233 ")
        client.expect("RSET")
        client.send("carol@sender.test", "in@contoso.test", message("carol@sender.test"))
        world.daemon.cli("tenant", "restrict", "contoso")
        client.send("carol@sender.test", "in@contoso.test", message("carol@sender.test"))
        with pytest.raises(Refused) as e:
            client.send("carol@sender.test", "all@contoso.test", message("carol@sender.test"))
        assert e.value.reply.startswith("550 5.7.705 ")
    assert standing(world, "tenant", "contoso")["limits"][0]["used"] == 800
