"""Mail comes in: by every usual client, by those who may, and not by others."""
import base64
import json
import os
import pwd
import smtplib
import socket
import ssl
import subprocess
import urllib.parse

import pytest

from conftest import missing
from lab import peers
from lab.client import Client, Refused, message
from lab.world import ADDRESSES, ON_PREM

ALICE, BOB = "alice@contoso.test", "bob@fabrikam.test"


def lax():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_swaks_with_starttls_and_auth(world):
    world.start("fabrikam.test")
    ran = subprocess.run(["swaks", "--server", "127.0.0.1", "--port", str(world.submission_port), "--tls", "--auth", "LOGIN", "--auth-user", ALICE,
                          "--auth-password", "secret", "--from", ALICE, "--to", BOB, "--h-Subject", "by swaks"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "250 2.0.0 Accepted " in ran.stdout
    world.receiver.wait(lambda: world.receiver.messages)
    assert world.receiver.messages[0].header("Subject") == "by swaks"


def test_swaks_on_the_implicit_tls_port(world):
    world.start("fabrikam.test")
    ran = subprocess.run(["swaks", "--server", "127.0.0.1", "--port", str(world.smtps_port), "--tls-on-connect", "--auth", "PLAIN", "--auth-user", "alice",
                          "--auth-password", "secret", "--from", ALICE, "--to", BOB], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    world.receiver.wait(lambda: world.receiver.messages)


def test_msmtp(world):
    world.start("fabrikam.test")
    ran = subprocess.run(["msmtp", "--host=127.0.0.1", f"--port={world.submission_port}", "--tls=on", "--tls-starttls=on", "--tls-certcheck=off",
                          "--auth=plain", f"--user={ALICE}", "--passwordeval=echo secret", f"--from={ALICE}", BOB],
                         input=message(ALICE, BOB, "by msmtp").replace(b"\r\n", b"\n"), capture_output=True)
    assert ran.returncode == 0, ran.stderr
    world.receiver.wait(lambda: world.receiver.messages)
    assert world.receiver.messages[0].header("Subject") == "by msmtp"


def test_smtplib(world):
    world.start("fabrikam.test", "tailspin.test")
    with smtplib.SMTP("127.0.0.1", world.submission_port) as client:
        client.starttls(context=lax())
        client.login("bob", "hunter2")
        assert client.sendmail("bob@contoso.test", [BOB, "dora@tailspin.test"], message("bob@contoso.test")) == {}
    world.receiver.wait(lambda: len(world.receiver.messages) == 2)
    assert {m.recipients[0] for m in world.receiver.messages} == {BOB, "dora@tailspin.test"}


def test_smtp_source(world):
    source = peers.postfix_program("smtp-source")
    if not source:
        missing("Postfix's smtp-source is not unpacked (tools/setup test)")
    world.rewrite(tenant='connector "tools" { addresses = {"127.0.0.1"} }')
    world.start("fabrikam.test")
    ran = subprocess.run([*source, "-4", "-s", "8", "-m", "200", "-l", "4000", "-f", ALICE, "-t", BOB, f"127.0.0.1:{world.port}"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    world.receiver.wait(lambda: len(world.receiver.messages) == 200, timeout=60)
    assert {m.source for m in world.receiver.messages} <= ADDRESSES["normal"]


def test_what_a_submission_lacks_is_added(world):
    world.start("fabrikam.test")
    with world.submission() as client:
        client.send(ALICE, BOB, b"Subject: bare\r\n\r\nno date, no id, no author\r\n")
    with world.connector() as client:
        client.send(ALICE, BOB, b"Subject: connector\r\n\r\nx\r\n")
    world.receiver.wait(lambda: len(world.receiver.messages) == 2)
    seen = {m.header("Subject"): m for m in world.receiver.messages}
    bare = seen["bare"]
    assert bare.header("Date") and bare.header("Message-ID").startswith("<") and ALICE in bare.header("From")
    received = bare.header("Received")
    assert "mta01.bl2.sluice.test" in received and "with ESMTPA" in received, received
    assert bare.data.endswith(b"\r\n\r\nno date, no id, no author\r\n")
    # A connector's mail is another server's: what it lacks is not ours to invent.
    assert seen["connector"].header("From") is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_auth_mechanisms(world, mechanism):
    world.start("fabrikam.test")
    with world.submission(user=None) as client:
        assert mechanism in client.extensions["AUTH"].split()
        token = lambda text: base64.b64encode(text.encode()).decode()  # noqa: E731
        if mechanism == "PLAIN":
            assert client.command("AUTH PLAIN").startswith("334")
            assert client.command(token(f"\0{ALICE}\0secret")).startswith("235 2.7.0")
        else:
            assert client.command("AUTH LOGIN") == "334 VXNlcm5hbWU6"
            assert client.command(token(ALICE)) == "334 UGFzc3dvcmQ6"
            assert client.command(token("secret")).startswith("235 2.7.0")
        assert client.command("AUTH PLAIN " + token(f"\0{ALICE}\0secret")).startswith("503")
        client.send(ALICE, BOB, message())


def test_auth_refusals(world):
    world.start("fabrikam.test")
    with world.submission(user=None) as client:
        assert client.command(f"MAIL FROM:<{ALICE}>").startswith("530 5.7.0")
        assert client.command("AUTH CRAM-MD5").startswith("504 5.5.4")
        assert client.command("AUTH PLAIN ====").startswith("501 5.5.2")
        assert client.command("AUTH PLAIN").startswith("334")
        assert client.command("*").startswith("501 5.7.0")
        with pytest.raises(Refused) as refused:
            client.login(ALICE, "wrong")
        assert refused.value.reply.startswith("535 5.7.8")
        with pytest.raises(Refused) as refused:
            client.login("nobody@contoso.test", "secret")
        assert refused.value.reply.startswith("535 5.7.8")
    with world.submission(user=None) as client:
        replies = []
        while not replies or replies[-1].startswith("535"):
            replies.append(client.command("AUTH PLAIN " + base64.b64encode(b"\0alice\0guess").decode()))
            assert len(replies) <= 20, "guessing is not limited"
        assert replies[-1][:3] in ("421", "") and len(replies) > 1


def test_hashed_passwords(world):
    hashes = {name: subprocess.run(["openssl", "passwd", option, "pass word"], capture_output=True, text=True, check=True).stdout.strip()
              for name, option in [("sha512", "-6"), ("sha256", "-5")]}
    world.daemon.write(world.config(), {"contoso.users": "".join(f"{n}:{{{n.upper()}-CRYPT}}{h}\n" for n, h in hashes.items())})
    world.start("fabrikam.test")
    for name in hashes:
        with world.submission(user=f"{name}@contoso.test", password="pass word") as client:
            client.send(f"{name}@contoso.test", BOB, message(f"{name}@contoso.test"))
        with world.submission(user=None) as client, pytest.raises(Refused):
            client.login(f"{name}@contoso.test", "pass words")


def test_who_may_send(world):
    world.start("fabrikam.test")
    with world.connector("127.0.4.4") as stranger, pytest.raises(Refused) as refused:
        stranger.send(ALICE, BOB, message())
    assert refused.value.reply.startswith("550 5.7.64")
    with world.submission() as client:
        with pytest.raises(Refused) as refused:
            client.send("carol@sender.test", BOB, message("carol@sender.test"))
        assert refused.value.reply.startswith("550 5.7.1")
        client.expect("RSET")
        with pytest.raises(Refused) as refused:
            client.send(ALICE, BOB, message("carol@sender.test"))
        assert refused.value.reply.startswith("550 5.7.1")
        client.send(ALICE, BOB, message())
    refusals = world.daemon.trace("--event", "REFUSE")
    assert {r["status"] for r in refusals} == {"Failed"} and len(refusals) >= 1


def test_starttls_forgets_what_came_before_and_takes_nothing_in_the_same_packet(world):
    world.start("fabrikam.test")
    with world.connector() as client:
        client.expect(f"MAIL FROM:<{ALICE}>")
        client.starttls()
        assert client.command(f"RCPT TO:<{BOB}>").startswith("503"), "the transaction survived STARTTLS"
        client.send(ALICE, BOB, message())
    world.receiver.wait(lambda: world.receiver.messages)
    with world.connector() as client:
        client.raw(b"STARTTLS\r\nMAIL FROM:<injected@contoso.test>\r\n")
        reply = client.reply()
        if reply.startswith("220"):
            with pytest.raises((ssl.SSLError, OSError)):
                client.wrap()
                client.command("NOOP")
        else:
            assert reply[0] in "45", reply


def test_required_tls(world):
    world.rewrite(extra=f'listener "strict" {{ bind = {{"127.0.0.1:{world.dead_port}"}} tls = required auth = required }}')
    world.start("fabrikam.test")
    with Client("127.0.0.1", world.dead_port) as client:
        assert "AUTH" not in client.extensions and "STARTTLS" in client.extensions
        assert client.command(f"MAIL FROM:<{ALICE}>").startswith("530 5.7.0")
        client.starttls()
        assert "AUTH" in client.extensions and "STARTTLS" not in client.extensions
        client.login(ALICE, "secret")
        client.send(ALICE, BOB, message())


def test_commands(world):
    world.start("fabrikam.test")
    with world.connector() as client:
        for name in ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "STARTTLS"):
            assert name in client.extensions
        assert int(client.extensions["SIZE"]) > 1_000_000
        assert client.command("NOOP").startswith("250 2.0.0")
        assert client.command("VRFY alice").startswith("252 2")
        assert client.command("HELP").startswith("214 2.0.0")
        assert client.command("BLURB").startswith("500 5.5")
        assert client.command(f"RCPT TO:<{BOB}>").startswith("503 5.5.1")
        assert client.command("DATA").startswith("503 5.5.1")
        assert client.command(f"MAIL FROM:<{ALICE}> SIZE=999999999999").startswith("552 5.3.4")
        assert client.command(f"MAIL FROM:<{ALICE}> BLURB=1").startswith("555 5.5.4")
        assert client.command(f"MAIL FROM:{ALICE}").startswith("501")
        client.expect(f"MAIL FROM:<{ALICE}> BODY=8BITMIME RET=HDRS ENVID=abc")
        assert client.command(f"MAIL FROM:<{ALICE}>").startswith("503 5.5.1")
        assert client.command("RCPT TO:<>").startswith("5")
        client.expect(f"RCPT TO:<{BOB}> NOTIFY=NEVER ORCPT=rfc822;{BOB}")
        client.expect("RSET")
        assert client.command("DATA").startswith("503")
        client.send(ALICE, BOB, message())
        assert client.quit().startswith("221 2.0.0")


def test_pipelining_keeps_order(world):
    world.start("fabrikam.test")
    with world.connector() as client:
        client.raw(f"MAIL FROM:<{ALICE}>\r\nRCPT TO:<{BOB}>\r\nRCPT TO:<nonsense>\r\nRCPT TO:<x@fabrikam.test>\r\nDATA\r\n".encode())
        assert [client.reply()[:3] for _ in range(5)][:2] == ["250", "250"]
        trace = message() + b".\r\nQUIT\r\n"
        client.raw(trace)
        assert client.reply().startswith("250 2.0.0 Accepted") and client.reply().startswith("221")


def test_too_many_recipients(world):
    world.rewrite(listener="max-recipients = 5")
    world.start("fabrikam.test")
    with world.connector() as client:
        client.expect(f"MAIL FROM:<{ALICE}>")
        replies = [client.command(f"RCPT TO:<r{i}@fabrikam.test>") for i in range(7)]
        assert [r[:3] for r in replies[:5]] == ["250"] * 5 and all(r.startswith("452 4.5.3") for r in replies[5:])
        trace_id = client.data(message())
    assert len(world.daemon.trace_of(trace_id, count=5)) == 5


def test_a_loop_ends(world):
    world.start("fabrikam.test")
    hops = tuple(f"Received: from a{i} by b{i}; Sun, 22 Nov 2026 10:00:00 +0000" for i in range(50))
    with world.connector() as client:
        with pytest.raises(Refused) as refused:
            client.send(ALICE, BOB, message(headers=hops))
        assert refused.value.reply.startswith("554 5.4.6")
        client.send(ALICE, BOB, message(headers=hops[:49]))


def test_bounds_per_client_and_in_all(world):
    world.rewrite(listener="max-connections = 6  max-connections-per-client = 4")
    world.start("fabrikam.test")
    held = [world.connector() for _ in range(4)]
    one_more = world.connector(greet=False)
    assert one_more.reply().startswith("421 4.7.0")
    others = [world.connector("127.0.3.2") for _ in range(2)]
    last = world.connector("127.0.3.3", greet=False)
    assert last.reply().startswith("421 4.3.2")
    for client in [*held, *others, one_more, last]:
        client.close()


def hand_in(world, sender, recipient, text):
    """By the API itself, as a program that is not `sluice send` might: (status, what it says)."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(world.folder / "state/api.sock"))
        target = "/v1/send?" + urllib.parse.urlencode({"from": sender, "to": recipient})
        s.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    return int(answer.split()[1]), json.loads(answer.split(b"\r\n\r\n", 1)[1])


def test_the_api_takes_only_what_smtp_takes(world):
    """Whoever holds the socket is trusted with the tenants' names, not with the lines of the session in which their mail leaves."""
    world.start("fabrikam.test")
    good, loop = message(body=b"x\r\n"), b"Received: from a by b; Sun, 22 Nov 2026 10:00:00 +0000\r\n" * 100
    cases = [
        (ALICE, "bob\r\nX-Evil: 1@fabrikam.test", good, "553 5.1.3 "), (ALICE, "bob@fabrikam.test> NOTIFY", good, "553 5.1.3 "), (ALICE, "bob", good, "553 5.1.3 "),
        (ALICE, "bob@", good, "553 5.1.3 "), ("alice\r\nX@contoso.test", BOB, good, "553 5.1.7 "), ("alice@contoso.test> SIZE=1", BOB, good, "553 5.1.7 "),
        (ALICE, BOB, good + b"a\n.\nb\r\n", "550 5.6.11 "), (ALICE, BOB, good + b"a\r.\rb\r\n", "550 5.6.11 "), (ALICE, BOB, good + b"a\r", "550 5.6.11 "), (ALICE, BOB, b"\n" + good, "550 5.6.11 "),
        (ALICE, BOB, good + b"a\0b\r\n", "550 5.6.0 "), (ALICE, BOB, loop + good, "554 5.4.6 "),
    ]
    for sender, recipient, text, reply in cases:
        status, said = hand_in(world, sender, recipient, text)
        assert status == 422 and said["error"].startswith(reply), (sender, recipient, status, said)
    for text in (good, good[:-2]):
        status, said = hand_in(world, ALICE, BOB, text)
        assert status == 200 and world.daemon.trace_of(said["trace_id"])[BOB]["user"] == pwd.getpwuid(os.getuid()).pw_name
    world.receiver.wait(lambda: len(world.receiver.messages) == 2, what="the good ones")
    assert [m.body for m in world.receiver.messages] == [b"x\r\n"] * 2
