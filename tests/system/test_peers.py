"""Real servers on port 25 of addresses of the documentation ranges, found by a real name server: Postfix and OpenSMTPD receive."""
import contextlib
import email
import pathlib
import re
import subprocess

import pytest

from conftest import missing
from lab import peers
from lab.client import GTUBE, Client, message
from lab.daemon import Daemon
from lab.waiting import until
from lab.world import PASSWORD_FILE, certificate

ALICE = "alice@contoso.test"

CONFIG = """
node    = "mta01.bl2.sluice.test"
state   = "state"
workers = 4
site "bl2" { ehlo = "out.bl2.sluice.test"  ptr = "mail-bl2{class}{n}.sluice.test" }
pool "normal"          { class = "on"  spf = published    addresses = {"192.0.2.16/30", "2001:db8:25::10-2001:db8:25::13"} }
pool "high-risk"       { class = "hn"  spf = published    addresses = {"198.51.100.8/31", "2001:db8:25::20"} }
pool "relay"           { class = "rl"  spf = unpublished  addresses = {"203.0.113.8/31"} }
pool "high-risk-relay" { class = "rh"  spf = unpublished  addresses = {"203.0.113.16/31"} }
listener "submission" { bind = {"192.0.2.1:587"}  tls = required  auth = required }
listener "relay"      { bind = {"192.0.2.1:25", "[2001:db8:25::1]:25"}  tls = opportunistic  auth = none }
tls { certificate = "tls.pem"  key = "tls.key" }
tenant "contoso" {
  domains = {"contoso.test"}
  users = "contoso.users"
  connector "on-prem" { addresses = {"192.0.2.99"} }
}
delivery { first-retry = 1s  max-retry = 2s  allow-private = true }
dns { servers = {"192.0.2.53"} }
api { socket = "api.sock" }
"""

ADDRESSES = [*(f"192.0.2.{i}/32" for i in (1, 16, 17, 18, 19, 53, 80, 81, 99)), *(f"198.51.100.{i}/32" for i in (8, 9)),
             *(f"203.0.113.{i}/32" for i in (8, 9, 16, 17)), *(f"2001:db8:25::{i}/128" for i in (1, 10, 11, 12, 13, 20, 80))]

ZONES = {
    "contoso.test": "@ MX 10 mx\nmx A 192.0.2.99\n",
    "fabrikam.test": "@ MX 10 mx\nmx A 192.0.2.80\n",
    "tailspin.test": "@ MX 5 gone\n@ MX 10 mx\ngone A 192.0.2.82\nmx A 192.0.2.81\n",
    "sixth.test": "@ MX 10 mx\nmx AAAA 2001:db8:25::80\n",
    "sluice.test": "mta01.bl2 A 192.0.2.1\nout.bl2 A 192.0.2.16\n",
}


@contextlib.contextmanager
def internet(folder):
    folder.chmod(0o755)
    for address in ADDRESSES:
        subprocess.run(["ip", "addr", "add", address, "dev", "lo", *(["nodad"] if ":" in address else [])], check=True)
    peers.add_accounts(folder, ("postfix", "postdrop", "vmail", "opensmtpd", "opensmtpq"))
    peers.Knot(folder / "knot", "192.0.2.53", ZONES).start()
    postfix = peers.Postfix(folder / "postfix", "192.0.2.80, [2001:db8:25::80]", ["fabrikam.test", "sixth.test"], certificate=certificate(folder),
                            extra="inet_protocols = all\nmessage_size_limit = 1000000\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n").start()
    opensmtpd = peers.OpenSmtpd(folder / "opensmtpd", "192.0.2.81", "tailspin.test").start()
    daemon = Daemon(folder, CONFIG, {"contoso.users": PASSWORD_FILE})
    try:
        until(lambda: reachable("192.0.2.80") and reachable("192.0.2.81") and reachable("2001:db8:25::80"), what=lambda: postfix.log() + opensmtpd.log())
        daemon.start()
        yield daemon, postfix, opensmtpd
        daemon.stop()
    except BaseException:
        print("\n".join(daemon.lines[-40:]), postfix.log(), opensmtpd.log())
        raise
    finally:
        daemon.kill()
        postfix.stop()


def reachable(address):
    with contextlib.suppress(OSError):
        Client(address, 25).quit()
        return True
    return False


def submit(sender, to, text, user=True, **how):
    with Client("192.0.2.1", 587 if user else 25, source=None if user else "192.0.2.99") as client:
        if user:
            client.starttls()
            client.login("alice", "secret")
        return client.send(sender, to, text, **how)


def source_of(mail):
    """The address that a real server has written into its Received field."""
    return re.search(rb"Received: from out\.bl2\.sluice\.test \(.*?\[(?:IPv6:)?([0-9a-f.:]+)\]\)", mail)[1].decode()


def real_servers(folder):
    with internet(folder) as (daemon, postfix, opensmtpd):
        text = message(ALICE, "bob@fabrikam.test", subject="to both", body=b".dot\r\n..\r\nFrom here\r\n" + b"x" * 900 + b"\r\n")
        to = ["bob@fabrikam.test", "carol@tailspin.test"]
        rows = daemon.trace_of(submit(ALICE, to, text), count=2)
        assert {r["status"] for r in rows.values()} == {"Delivered"}, rows
        assert rows["bob@fabrikam.test"]["tls"] == "TLSv1.3" and rows["carol@tailspin.test"]["tls"] is None
        assert rows["carol@tailspin.test"]["server_ip"] == "192.0.2.81", "the dead MX of better preference is passed by"
        for peer, recipient in ((postfix, to[0]), (opensmtpd, to[1])):
            mail = until(peer.mails, what=peer.log)[0]
            assert source_of(mail) == rows[recipient]["outbound_ip"] and source_of(mail).startswith("192.0.2."), mail
            body = text.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n")
            assert mail.split(b"\n\n", 1)[1].rstrip(b"\n") == body.rstrip(b"\n")

        # Spam, by its own pool, over IPv6 where the destination has nothing else.
        row = daemon.trace_of(submit(ALICE, "bob@fabrikam.test", message(ALICE, body=GTUBE)))["bob@fabrikam.test"]
        assert row["class"] == "high-risk" and row["outbound_ip"].startswith("198.51.100."), row
        row = daemon.trace_of(submit(ALICE, "bob@sixth.test", message(ALICE)))["bob@sixth.test"]
        assert row["status"] == "Delivered" and row["outbound_ip"].startswith("2001:db8:25::1"), row
        row = daemon.trace_of(submit(ALICE, "bob@sixth.test", message(ALICE, body=GTUBE)))["bob@sixth.test"]
        assert row["outbound_ip"] == "2001:db8:25::20", row

        # Relayed, by a connector; the relay pool has no IPv6 address, so mail to sixth.test waits.
        row = daemon.trace_of(submit("x@fabrikam.test", "carol@tailspin.test", message("x@fabrikam.test"), user=False))["carol@tailspin.test"]
        assert row["class"] == "relay" and row["outbound_ip"].startswith("203.0.113."), row
        waits = submit("x@fabrikam.test", "bob@sixth.test", message("x@fabrikam.test"), user=False)

        # Refused for good by a real server: too big, and a recipient of a domain that it doesn't take.
        row = daemon.trace_of(submit(ALICE, "bob@fabrikam.test", message(ALICE, body=(b"y" * 70 + b"\r\n") * 20_000)))["bob@fabrikam.test"]
        assert row["status"] == "Failed" and "5.3.4" in row["reply"], row

        # A hundred messages over kept connections.
        ids = []
        with Client("192.0.2.1", 25, source="192.0.2.99") as client:
            for i in range(100):
                ids.append(client.send(ALICE, to[i % 2], message(ALICE, subject=f"burst {i}")))
        for trace_id in ids:
            assert next(iter(daemon.trace_of(trace_id).values()))["status"] == "Delivered"
        until(lambda: sum(b"burst" in m for p in (postfix, opensmtpd) for m in p.mails()) == 100, what=lambda: postfix.log() + opensmtpd.log())
        assert [r["trace_id"] for r in daemon.rows("queue", "list", "--domain", "sixth.test")] == [waits]


def test_postfix_and_opensmtpd_receive(in_namespace):
    needed = [p for p in (peers.POSTFIX, peers.OPENSMTPD, pathlib.Path("/usr/sbin/knotd")) if not p.exists()]
    if needed:
        missing(f"not there: {needed} (tools/setup test)")
    in_namespace(real_servers)


def postfix_hands_in(folder):
    """Postfix as a customer's relay in front of us: its queue leaves by our connector."""
    with internet(folder) as (daemon, _, opensmtpd):
        relay = peers.Postfix(folder / "customer", "192.0.2.99", [], extra="relayhost = [192.0.2.1]\nmynetworks = 192.0.2.0/24\nsmtp_bind_address = 192.0.2.99\n"
                              "smtp_dns_support_level = disabled\nsmtp_host_lookup = native\nsmtp_tls_security_level = encrypt\n").start()
        try:
            until(lambda: reachable("192.0.2.99"), what=relay.log)
            with Client("192.0.2.99", 25) as client:
                client.expect(f"MAIL FROM:<{ALICE}>")
                client.expect("RCPT TO:<carol@tailspin.test>")
                client.expect("DATA", "3")
                client.raw(message(ALICE, "carol@tailspin.test", subject="through the customer") + b".\r\n")
                assert client.reply().startswith("250")
            mail = until(opensmtpd.mails, what=lambda: relay.log() + opensmtpd.log())[0]
        finally:
            relay.stop()
        parsed = email.message_from_bytes(mail)
        assert parsed["Subject"] == "through the customer" and len(parsed.get_all("Received")) == 3
        row = daemon.trace("--recipient", "carol@tailspin.test")[0]
        assert (row["connector"], row["client_ip"], row["class"]) == ("on-prem", "192.0.2.99", "normal")


def test_postfix_hands_in(in_namespace):
    if not peers.POSTFIX.exists():
        missing("Postfix is not unpacked (tools/setup test)")
    in_namespace(postfix_hands_in)


@pytest.mark.parametrize("program", ["smtp-source", "postfix"])
def test_the_peers_are_there(program):
    """In CI the peers must have been unpacked."""
    if not (peers.POSTFIX / "usr/sbin" / program).exists():
        missing(f"{program} is not unpacked")
