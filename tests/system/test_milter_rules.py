"""What milters ask for is under our own rules: verification is of what arrived, relaying and classes are nobody's to give away."""
import re

import pytest

from conftest import missing
from lab import milters
from lab.client import Client, Refused, message
from lab.signing import field_values
from lab.world import ADDRESSES
from test_forwarding import ALICE, BOB, CAROL, SRS, copies, judges, keys, outside, prepare, refusal  # noqa: F401
from test_milters import LATER, section


@pytest.fixture
def filtered(make_world, keys):  # noqa: F811
    """A world of forwards with a milter before it that obeys: filtered(on-failure...) gives (world, milter)."""
    why = milters.library_missing()
    if why:
        missing(why)
    open_ones = []

    def make(more=""):
        world = make_world()
        milter = milters.Obedient(world.folder / "m.sock")
        open_ones.append(milter)
        prepare(world, keys, extra=SRS + "\n" + section(milter.socket, more=more))
        names = world.folder / "zone"
        names.write_text(names.read_text() + "1.20.0.127.in-addr.arpa. IN PTR host.sender.test.\n")
        world.start("fabrikam.test", "tailspin.test")
        return world, milter

    yield make
    for milter in open_ones:
        milter.close()


def ordered(*orders, headers=()):
    return message(CAROL, "one@contoso.test", headers=[*(f"X-Do: {order}" for order in orders), *headers])


def test_what_arrived_is_verified_and_what_leaves_is_signed(filtered, keys, judges):  # noqa: F811
    world, _ = filtered()
    signed = keys["theirs"].sign(ordered("body Another text", "change Subject=1=changed"))
    got = copies(world, outside(world, CAROL, "one@contoso.test", signed), 1)[BOB]
    assert got.body == b"Another text\r\n" and got.header("Subject") == "changed"
    results = " ".join(field_values(got.data, "Authentication-Results"))
    assert "spf=pass" in results and "dkim=pass" in results, results
    assert judges.chain(got.data) == "pass"
    assert sorted(judges.signatures(got.data)) == [("contoso.test", "s1", "pass"), ("contoso.test", "s2", "pass"), ("pass.test", "k", "fail")]
    assert got.source in ADDRESSES["normal"] and got.mail_from.startswith("SRS0=")


def test_a_milter_speaks_in_our_name_a_client_does_not(filtered):
    world, milter = filtered()
    ours = "Authentication-Results: mta01.bl2.sluice.test; "
    got = copies(world, outside(world, CAROL, "one@contoso.test", ordered("add Authentication-Results=mta01.bl2.sluice.test; x-milter=pass",
                                                                         headers=[ours + "dkim=pass header.d=bank.test"])), 1)[BOB]
    results = field_values(got.data, "Authentication-Results")
    assert [r for r in results if "x-milter=pass" in r] and not [r for r in results if "bank.test" in r], results
    assert "Authentication-Results" not in [name for name, _ in milter.told("message")[0]["fields"]]


def test_it_hears_of_recipients_that_are_refused(filtered):
    """And whatever it says of them changes nothing."""
    world, milter = filtered()
    with Client("127.0.0.1", world.port, source="127.0.20.1", hello="host.sender.test") as client:
        assert client.command(f"MAIL FROM:<{CAROL}>").startswith("250")
        refused = client.command("RCPT TO:<victim@tailspin.test> NOTIFY=NEVER")
        assert client.command("RCPT TO:<one@contoso.test>").startswith("250")
    told, = milter.told("refused")
    assert (told["recipient"], told["parameters"]) == ("<victim@tailspin.test>", ["NOTIFY=NEVER"])
    assert f'550 {told["macros"]["{rcpt_host}"]} {told["macros"]["{rcpt_addr}"]}' == refused and told["macros"]["i"]
    assert [r["recipient"] for r in milter.told("rcpt")] == ["<one@contoso.test>"]


@pytest.mark.parametrize("more", ["", "on-failure = accept"])
def test_mail_from_outside_is_not_relayed_for_a_milter(filtered, more):
    """A recipient that no stranger may address is none that a milter can add to a stranger's mail."""
    world, _ = filtered(more)
    text = ordered("to <victim@tailspin.test>", "add X-Seen=1")
    if more:
        got = copies(world, outside(world, CAROL, "one@contoso.test", text), 1)
        assert set(got) == {BOB} and got[BOB].header("X-Seen") == "1"
    else:
        assert refusal(world, CAROL, "one@contoso.test", text).reply == LATER
    world.daemon.wait_log("milter failed .*victim@tailspin.test", what="the reason is logged")


def test_a_forward_may_be_added(filtered):
    world, _ = filtered()
    got = copies(world, outside(world, CAROL, "one@contoso.test", ordered("to <chain@contoso.test>", "notto <one@contoso.test>")), 2)
    assert set(got) == {BOB, "tom@tailspin.test"}, "one of them by way of the recipient that was taken out"


def test_a_new_reverse_path_is_not_verified_by_the_old_one(filtered):
    """SPF of what arrived passed; the path that a milter puts there nobody has vouched for."""
    world, _ = filtered()
    got = copies(world, outside(world, CAROL, "one@contoso.test", ordered("from <ceo@sender.test>")), 1)[BOB]
    assert got.source not in ADDRESSES["normal"]
    assert "spf=none" in " ".join(field_values(got.data, "Authentication-Results"))
    got = copies(world, outside(world, CAROL, "one@contoso.test", ordered()), 1)[BOB]
    assert got.source in ADDRESSES["normal"]


def test_a_changed_author_is_attributed_again(filtered):
    world, _ = filtered()
    text = message(ALICE, BOB, headers=["X-Do: change From=1=<boss@elsewhere.test>"])
    with world.submission() as client:
        with pytest.raises(Refused) as refused:
            client.send(ALICE, BOB, text)
    assert re.match("550 5.7.1 ", refused.value.reply)
