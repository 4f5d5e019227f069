"""Limits, policies and restricted senders, as a client and an administrator see them. How windows slide is tested with a clock of
their own (tests/unit/policy); here limits are small."""
import datetime
import time

import pytest

from lab.client import GTUBE, REPORT, REPORT_BODY, Refused, message
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
