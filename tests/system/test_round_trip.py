"""A forward and its bounce through real hosts: Postfix A sends, Sluice forwards, Postfix B takes it or returns it, and the bounce
comes back to A's mailbox. B's OpenDKIM judges our signatures, pyspf our addresses, by a real name server."""
import contextlib
import pathlib
import re
import subprocess
import sys

from conftest import missing
from lab import peers
from lab.client import GTUBE, Client, message
from lab.daemon import Daemon
from lab.receiver import Receiver
from lab.signing import Judges, Key, field_values, modules_missing, text_strings
from lab.waiting import until
from lab.world import PASSWORD_FILE, certificate

ALICE, FORWARD, BOB = "alice@litware.test", "fwd@contoso.test", "bob@fabrikam.test"
A, B, NAMES, REFUSING, OURS = "192.0.2.70", "192.0.2.80", "192.0.2.53", "192.0.2.90", "192.0.2.1"

CONFIG = f"""
node    = "mta01.bl2.sluice.test"
state   = "state"
workers = 4
site "bl2" {{ ehlo = "out.bl2.sluice.test"  ptr = "mail-bl2{{class}}{{n}}.sluice.test" }}
pool "normal"          {{ class = "on"  spf = published    addresses = {{"192.0.2.16/30"}} }}
pool "high-risk"       {{ class = "hn"  spf = published    addresses = {{"198.51.100.8/31"}} }}
pool "relay"           {{ class = "rl"  spf = unpublished  addresses = {{"203.0.113.8/31"}} }}
pool "high-risk-relay" {{ class = "rh"  spf = unpublished  addresses = {{"203.0.113.16/31"}} }}
listener "relay"      {{ bind = {{"{OURS}:25"}}   tls = opportunistic  auth = none  accept = {{"forward"}} }}
listener "submission" {{ bind = {{"{OURS}:587"}}  tls = required       auth = required }}
tls {{ certificate = "tls.pem"  key = "tls.key" }}
tenant "contoso" {{
  domains = {{"contoso.test"}}
  users   = "contoso.users"
  dkim "contoso.test" {{ selector = "s1"  key = "rsa.pem"  ed25519-selector = "s2"  ed25519-key = "ed25519.pem" }}
  forward "{FORWARD}"          {{ to = {{"{BOB}"}} }}
  forward "gone@contoso.test"  {{ to = {{"gone@fabrikam.test"}} }}
}}
srs {{ secrets = {{"a secret between us"}} }}
delivery {{ first-retry = 1s  max-retry = 2s  allow-private = true }}
dns {{ servers = {{"{NAMES}"}} }}
api {{ socket = "api.sock" }}
"""

ADDRESSES = [f"192.0.2.{i}/32" for i in (1, 16, 17, 18, 19, 53, 70, 71, 80, 90)] + [f"{net}.{i}/32" for net, first in (
    ("198.51.100", 8), ("203.0.113", 8), ("203.0.113", 16)) for i in (first, first + 1)]


def zones(keys):
    published = "ip4:192.0.2.16/30 ip4:198.51.100.8/31"
    selectors = "".join(f"{key.selector}._domainkey TXT {text_strings(key.record)}\n" for key in keys)
    senders = "".join(f"out.bl2 A {address}\n" for address in ("192.0.2.16", "192.0.2.17", "192.0.2.18", "192.0.2.19", "198.51.100.8", "198.51.100.9"))
    return {
        "contoso.test": f"@ MX 10 mx\nmx A {OURS}\n@ TXT \"v=spf1 {published} -all\"\n{selectors}",
        "litware.test": f"@ MX 10 mx\nmx A {A}\n@ TXT \"v=spf1 ip4:{A} -all\"\nmx TXT \"v=spf1 a -all\"\n",
        "fabrikam.test": f"@ MX 10 mx\nmx A {B}\n@ TXT \"v=spf1 ip4:{B} -all\"\nmx TXT \"v=spf1 a -all\"\n",
        "sluice.test": f"mta01.bl2 A {OURS}\n{senders}out.bl2 TXT \"v=spf1 a -all\"\n",
    }


def resolve_by(folder, address):
    """The system's resolver of this namespace asks our name server."""
    path = folder / "resolv.conf"
    path.write_text(f"nameserver {address}\noptions timeout:2\n")
    path.chmod(0o644)
    subprocess.run(["mount", "--bind", path, pathlib.Path("/etc/resolv.conf").resolve()], check=True)


def opendkim(folder, port=8891):
    """OpenDKIM as a milter that judges what Postfix B takes."""
    place = folder / "opendkim"
    place.mkdir()
    (place / "unbound.conf").write_text(f'server:\n  local-zone: "test." nodefault\n  do-not-query-localhost: no\nforward-zone:\n  name: "."\n  forward-addr: {NAMES}\n')
    (place / "conf").write_text(f"Mode v\nSocket inet:{port}@127.0.0.1\nResolverConfiguration {place}/unbound.conf\nAuthservID mx.fabrikam.test\nSyslog no\n"
                                f"PidFile {place}/pid\nAlwaysAddARHeader yes\n")
    process = subprocess.Popen(["/usr/sbin/opendkim", "-f", "-x", place / "conf"], stdout=open(place / "log", "wb"), stderr=subprocess.STDOUT)
    until(lambda: listens("127.0.0.1", port), what=lambda: (place / "log").read_text() + str(process.poll()))
    return f"inet:127.0.0.1:{port}"


def listens(address, port=25):
    import socket
    with contextlib.suppress(OSError):
        socket.create_connection((address, port), 2).close()
        return True
    return False


@contextlib.contextmanager
def internet(folder):
    folder.chmod(0o755)
    for address in ADDRESSES:
        subprocess.run(["ip", "addr", "add", address, "dev", "lo"], check=True)
    peers.add_accounts(folder, peers.Postfix.USERS)
    resolve_by(folder, NAMES)
    keys = [Key("contoso.test", "s1"), Key("contoso.test", "s2", "ed25519")]
    keys[0].file(folder / "rsa.pem"), keys[1].file(folder / "ed25519.pem")
    peers.Knot(folder / "knot", NAMES, zones(keys)).start()
    refusing = Receiver(25).host(REFUSING, "inner.fabrikam.test", refuse={"gone@fabrikam.test": "550 5.1.1 nobody of that name"})
    certificate(folder)
    sender = peers.Postfix(folder / "a", A, ["litware.test"], extra=f"mynetworks = {A}/32\nsmtp_bind_address = {A}\n").start()
    receiver = peers.Postfix(folder / "b", B, ["fabrikam.test"], extra=f"smtp_bind_address = {B}\nsmtpd_milters = {opendkim(folder)}\nmilter_default_action = tempfail\n"
                             f"transport_maps = inline:{{ {{ gone@fabrikam.test = smtp:[{REFUSING}]:25 }} }}\n").start()
    daemon = Daemon(folder, CONFIG, {"contoso.users": PASSWORD_FILE})
    try:
        until(lambda: listens(A) and listens(B), what=lambda: sender.log() + receiver.log())
        daemon.start()
        yield daemon, sender, receiver, refusing, Judges(*keys)
        daemon.stop()
    except BaseException:
        print("\n".join(daemon.lines[-40:]), "\n---- A\n", sender.log(), "\n---- B\n", receiver.log())
        raise
    finally:
        daemon.kill()
        sender.stop()
        receiver.stop()


def hand_to(server, sender, to, text):
    """As a user of Postfix A."""
    with Client(server, 25, source=server, hello="laptop.litware.test") as client:
        client.expect(f"MAIL FROM:<{sender}>")
        client.expect(f"RCPT TO:<{to}>")
        client.expect("DATA", "3")
        client.raw(text + b".\r\n")
        assert client.reply().startswith("250")


def spf_of(mail):
    """pyspf's results for the address, EHLO name and reverse-path with which a mail came to B: (MAIL FROM, HELO)."""
    import spf
    helo, address = re.search(r"from (\S+) \(.*?\[([0-9.]+)\]\)", field_values(mail, "Received")[0]).groups()
    path = field_values(mail, "Return-Path")[0].strip("<>")
    return address, (spf.check2(address, path, helo)[0] if path else None), spf.check2(address, "", helo)[0]


def mails(server):
    return [mail.replace(b"\n", b"\r\n") for mail in server.mails()]


def judged_by_b(mail):
    """What OpenDKIM says of each of our signatures."""
    results = [value for value in field_values(mail, "Authentication-Results") if value.startswith("mx.fabrikam.test")]
    assert len(results) == 1, results
    return sorted(re.findall(r"dkim=(\w+)[^;]*header\.d=contoso\.test[^;]*header\.s=(s\d)", re.sub(r"\([^)]*\)", "", results[0])), key=lambda r: r[1])


def delivered(daemon, to):
    """The rows of a mailbox's mail: the server may have put it there before its reply was in our trace."""
    return until(lambda: daemon.trace("--recipient", to, "--status", "Delivered"), what=lambda: daemon.trace("--recipient", to))


def there_and_back(folder):
    with internet(folder) as (daemon, sender, receiver, refusing, judges):
        # A to the forward, and on to B.
        hand_to(A, ALICE, FORWARD, message(ALICE, FORWARD, subject="through the forward"))
        mail = until(lambda: mails(receiver), what=lambda: sender.log() + "\n".join(daemon.lines[-10:]) + receiver.log())[0]
        row = delivered(daemon, BOB)[0]
        assert (row["class"], row["status"], row["client_ip"], row["directionality"]) == ("normal", "Delivered", A, "Incoming"), row
        assert row["spf"].startswith("pass litware.test"), row
        path = field_values(mail, "Return-Path")[0].strip("<>")
        assert re.fullmatch(r"SRS0=.{4}=..=litware\.test=alice@contoso\.test", path), path
        assert spf_of(mail) == (row["outbound_ip"], "pass", "pass") and row["outbound_ip"].startswith("192.0.2.1")
        assert judged_by_b(mail) == [("pass", "s1"), ("pass", "s2")], field_values(mail, "Authentication-Results")
        assert judges.chain(mail) == "pass"

        # To somebody whom B's inner host doesn't know: B returns it to the rewritten address, and we to A.
        hand_to(A, ALICE, "gone@contoso.test", message(ALICE, "gone@contoso.test", subject="to nobody"))
        bounce = until(lambda: mails(sender), 90, what=lambda: receiver.log() + "\n".join(daemon.lines[-10:]) + sender.log())[0]
        assert field_values(bounce, "Return-Path") == ["<>"] and b"nobody of that name" in bounce and b"to nobody" in bounce
        assert refusing.sessions and field_values(bounce, "X-Original-To") == [ALICE]
        back = delivered(daemon, ALICE)
        assert len(back) == 1 and (back[0]["class"], back[0]["rule"], back[0]["client_ip"]) == ("high-risk", "bounce", B), back
        assert back[0]["outbound_ip"].startswith("198.51.100.") and f"[{back[0]['outbound_ip']}]" in field_values(bounce, "Received")[0]

        # Own mail, and own spam: signed alike, from different addresses, all of them in SPF.
        for body, address in ((b"x\r\n", "192.0.2.1"), (GTUBE, "198.51.100.")):
            before = len(mails(receiver))
            with Client(OURS, 587) as client:
                client.starttls()
                client.login("alice", "secret")
                client.send("alice@contoso.test", BOB, message("alice@contoso.test", BOB, body=body))
            until(lambda n=before: len(mails(receiver)) > n, what=receiver.log)
            mail = [m for m in mails(receiver) if field_values(m, "Return-Path") == ["<alice@contoso.test>"] and body.strip() in m][0]
            source, by_path, by_helo = spf_of(mail)
            assert source.startswith(address) and (by_path, by_helo) == ("pass", "pass"), (source, by_path, by_helo)
            assert judged_by_b(mail) == [("pass", "s1"), ("pass", "s2")]


def test_a_forward_and_its_bounce_through_postfix(in_namespace):
    needed = [p for p in (peers.POSTFIX, pathlib.Path("/usr/sbin/knotd"), pathlib.Path("/usr/sbin/opendkim")) if not p.exists()]
    lack = modules_missing()
    if not lack and subprocess.run([sys.executable, "-c", "import spf"], capture_output=True).returncode != 0:
        lack = "python3-spf"
    if needed or lack:
        missing(f"not there: {needed or lack} (tools/setup test)")
    in_namespace(there_and_back)
