"""The verdict of scanners: the real Rspamd and spamd, and scanners that are dead, slow or talk nonsense. Malware never leaves."""
import contextlib
import pathlib
import re
import socket
import tempfile
import threading
import time
import urllib.request

import pytest

from lab import places
from lab.client import GTUBE, Refused, message
from lab.scanners import MALWARE, SPAMMY, Fake, Rspamd, Spamd
from lab.signing import Judges, Key
from lab.waiting import until
from lab.world import ADDRESSES, HOSTS, ON_PREM, PLAIN, identity, zone
from test_connectors import PROXY, ProxiedClient, v1

ALICE, BOB = "alice@contoso.test", "bob@fabrikam.test"
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*" + b"\r\n"
DEFERRED = "451 4.7.1 The message can't be scanned for spam and malware now, try again later"


@contextlib.contextmanager
def running(kind):
    why = kind.missing()
    if why:
        assert not places.CI, why
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        with contextlib.closing(kind(pathlib.Path(folder))) as scanner:
            yield scanner


@pytest.fixture(scope="module")
def rspamd():
    with running(Rspamd) as scanner:
        yield scanner


@pytest.fixture(scope="module")
def spamd():
    with running(Spamd) as scanner:
        yield scanner


@pytest.fixture
def fake():
    made = []

    def make(*arguments, **how):
        made.append(Fake(*arguments, **how))
        return made[-1]

    yield make
    for scanner in made:
        scanner.close()


def sections(*scanners, options=""):
    return "\n".join(f'scanner "s{i}" {{ {s.config} {options} }}' for i, s in enumerate(scanners))


def hand_in(world, body, to=BOB, source=ON_PREM, headers=(), sender=ALICE):
    with world.connector(source) as client:
        return client.send(sender, to, message(sender, to, body=body, headers=headers))


def refusal(world, *arguments, **how):
    with pytest.raises(Refused) as refused:
        hand_in(world, *arguments, **how)
    return refused.value.reply


def refused_row(world, to):
    return until(lambda: [r for r in world.daemon.trace("--recipient", to) if r["event"] == "REFUSE"], what="the refusal in the trace")[0]


def check_words(world, name, symbols):
    """Clean, spam and malware by a real scanner's own words."""
    world.start("fabrikam.test")
    clean = hand_in(world, b"hello\r\n")
    spam = hand_in(world, SPAMMY + b"\r\n")
    gtube = hand_in(world, GTUBE)
    reply = refusal(world, MALWARE + b"\r\n", to="virus@fabrikam.test")
    rows = {n: world.daemon.trace_of(i)[BOB] for n, i in (("clean", clean), ("spam", spam), ("gtube", gtube))}
    assert (rows["clean"]["verdict"], rows["clean"]["class"], rows["clean"]["rule"]) == ("clean", "normal", "own")
    assert re.fullmatch(r"-?\d+\.\d\d/\d+\.\d\d", rows["clean"]["score"]), rows["clean"]
    for n in ("spam", "gtube"):
        assert (rows[n]["verdict"], rows[n]["class"], rows[n]["rule"], rows[n]["status"]) == ("spam", "high-risk", "spam", "Delivered"), rows[n]
        assert rows[n]["outbound_ip"] in ADDRESSES["high-risk"]
        assert rows[n]["reason"].startswith(f'the scanner "{name}" says "'), rows[n]["reason"]
    assert symbols["spam"] in rows["spam"]["symbols"] and float(rows["spam"]["score"].split("/")[0]) > 5
    assert "GTUBE" in rows["gtube"]["symbols"]
    assert reply == f'550 5.7.1 Malware is not accepted: the scanner "{name}" found malware: {symbols["malware"]}'
    row = refused_row(world, "virus@fabrikam.test")
    assert (row["verdict"], row["status"], row["reply"]) == ("malware", "Failed", reply)
    assert symbols["malware"].split(" ")[0] in row["symbols"] and row["reason"].endswith(symbols["malware"])
    assert len(world.receiver.messages) == 3 and not any(MALWARE in m.data for m in world.receiver.messages)
    world.check_pools()


def test_rspamd_judges(make_world, rspamd):
    world = make_world(verdict=rspamd.config)
    check_words(world, "rspamd", {"spam": "TEST_SPAMMY(8.00)", "malware": "TEST_VIRUS (Test.Malware)"})


def test_spamd_judges(make_world, spamd):
    world = make_world(extra=f'scanner "assassin" {{ {spamd.config} }}')
    check_words(world, "assassin", {"spam": "LOCAL_SPAMMY", "malware": "CLAMAV"})


def test_rspamd_is_told_the_facts(make_world, rspamd):
    world = make_world(verdict=rspamd.config).start("fabrikam.test")
    with world.submission(tls=True) as client:
        trace_id = client.send(ALICE, [BOB, "carol@fabrikam.test"], message(body=b"x\r\n"))
    facts = until(lambda: rspamd.facts(trace_id), what="Rspamd's log")
    assert facts == {**facts, "ip": "127.0.0.1", "helo": "client.example.org", "user": ALICE, "from": ALICE, "rcpt": f"{BOB},carol@fabrikam.test",
                     "qid": trace_id, "tls": "TLSv1.3", "tag": "contoso", "by": "mta01.bl2.sluice.test"}
    trace_id = hand_in(world, b"x\r\n", sender="")
    facts = until(lambda: rspamd.facts(trace_id), what="Rspamd's log")
    assert (facts["from"], facts["ip"], facts["user"], facts["rcpt"]) == ("", ON_PREM, "nil", BOB)


FAR = "11.22.33.44"
FAR_NAMES = """44.33.22.11.in-addr.arpa. IN PTR host.sender.test.
host.sender.test. IN A 11.22.33.44
45.33.22.11.in-addr.arpa. IN PTR mail.contoso.test.
46.33.22.11.in-addr.arpa. IN TXT "no name"
"""


@pytest.fixture
def far(make_world, fake):
    """Clients of public addresses, by way of a proxy or of XFORWARD: far(ip, ...) sends, and gives the head of the question to the scanner."""
    scanner = fake()
    world = make_world(verdict=f"{scanner.config} timeout = 1s", listener=f'proxy = {{"{PROXY}"}}  xforward = {{"{ON_PREM}"}}',
                       tenant='connector "far" { addresses = {"11.22.33.0/24", "11.99.0.0/16"} }')
    (world.folder / "zone").write_text(zone(extra=FAR_NAMES))
    world.start("fabrikam.test")

    def asked(send):
        send()
        return dict(line.split(": ", 1) for line in scanner.heads[-1].split("\r\n")[1:] if line)

    return world, asked


def through_proxy(world, ip):
    with ProxiedClient(world.port, v1(ip)).begin() as client:
        client.send(ALICE, BOB, message())


def test_the_clients_name_is_told(far):
    """As Rspamd's rules want it: none where there is none, which they count; "unknown" where DNS failed, which they don't."""
    world, asked = far
    for ip, hostname, received in ((FAR, "host.sender.test", rb"\(host\.sender\.test \[11\.22\.33\.44\]\)"), ("11.22.33.45", None, rb"\(unknown \[11\.22\.33\.45\]\)"),
                                   ("11.22.33.46", None, rb"\(unknown \["), ("11.99.0.1", "unknown", rb"\(\[11\.99\.0\.1\]\)")):
        head = asked(lambda: through_proxy(world, ip))
        assert (head["IP"], head.get("Hostname")) == (ip, hostname), head
        world.receiver.wait(lambda: any(re.search(received, m.data) for m in world.receiver.messages), what="our Received field")


def test_the_name_is_that_of_the_true_client(far):
    world, asked = far

    def forwarded(*attributes):
        def send():
            with world.connector() as client:
                assert client.command("XFORWARD " + " ".join(attributes)) == "250 2.0.0 Ok"
                client.send(ALICE, BOB, message())
        return send

    assert asked(forwarded(f"ADDR={FAR}")).get("Hostname") == "host.sender.test"
    assert asked(forwarded("ADDR=11.22.33.45", "NAME=told.example.org")).get("Hostname") == "told.example.org"
    assert asked(forwarded("ADDR=11.22.33.45", "NAME=[UNAVAILABLE]")).get("Hostname") is None


def test_users_and_private_addresses_are_not_asked_for(far):
    """Their names are in no zone: whoever asked would wait for a server that is dead."""
    world, asked = far
    assert "Hostname" not in asked(lambda: hand_in(world, b"x\r\n"))

    def submit():
        with world.submission() as client:
            client.send(ALICE, BOB, message())

    assert asked(submit).get("Hostname") is None


def test_names_take_no_longer_than_they_may(make_world, fake):
    """Ten PTR names of a client's own choice, whose servers keep silent: half of the scanners' time, not ten times two questions."""
    scanner = fake()
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        world = make_world(verdict=f"{scanner.config} timeout = 1s", listener=f'proxy = {{"{PROXY}"}}', tenant=f'connector "far" {{ addresses = {{"{FAR}"}} }}',
                           dns=f'zone-file = "zone"  servers = {{"127.0.0.1@{silent.getsockname()[1]}"}}  timeout = 2s')
        (world.folder / "zone").write_text(zone(extra="".join(f"44.33.22.11.in-addr.arpa. IN PTR n.silent{i}.example.\n" for i in range(10))))
        world.start("fabrikam.test")
        began = time.monotonic()
        through_proxy(world, FAR)
        assert time.monotonic() - began < 3 and "Hostname: unknown\r\n" in scanner.heads[0]


def test_real_rspamd_knows_the_clients_name(make_world, rspamd):
    world = make_world(verdict=rspamd.config, listener=f'proxy = {{"{PROXY}"}}', tenant=f'connector "far" {{ addresses = {{"{FAR}"}} }}')
    (world.folder / "zone").write_text(zone(extra=FAR_NAMES))
    world.start("fabrikam.test")
    with ProxiedClient(world.port, v1(FAR)).begin() as client:
        trace_id = client.send(ALICE, BOB, message())
    facts = until(lambda: rspamd.facts(trace_id), what="Rspamd's log")
    assert (facts["ip"], facts["host"]) == (FAR, "host.sender.test")


def test_spamd_sees_our_received_field(make_world, spamd):
    world = make_world(extra=sections(spamd)).start("fabrikam.test")
    row = world.daemon.trace_of(hand_in(world, b"x\r\n"))[BOB]
    assert row["symbols"] == "LOCAL_RECEIVED" and row["score"] == "-0.10/5.00"


def test_a_big_message_is_scanned_whole(make_world, rspamd, fake):
    """Five megabytes: through a file, byte for byte, with the malware at its very end."""
    other = fake()
    world = make_world(verdict=rspamd.config, extra=sections(other)).start("fabrikam.test")
    filler = b"".join(b"%070d\r\n" % i for i in range(72 * 1024))
    reply = refusal(world, filler + MALWARE + b"\r\n")
    assert "TEST_VIRUS" in reply
    trace_id = hand_in(world, filler)
    facts = until(lambda: rspamd.facts(trace_id), what="Rspamd's log")
    world.receiver.wait(lambda: world.receiver.messages, what="it is delivered")
    delivered = world.receiver.messages[0].data
    assert len(filler) > 5 << 20 and abs(int(facts["size"]) - len(delivered)) < 1000
    assert not [p for p in (world.folder / "state" / "spool").iterdir() if "scan" in p.name]
    world.rewrite(verdict="")
    world.daemon.cli("reload")
    hand_in(world, filler)
    received, body = other.bodies[0].split(b"\r\n\r\n", 1)
    assert received.startswith(b"Received: from client.example.org") and body == filler


def test_malware_is_refused_whoever_says_so(make_world):
    world = make_world(verdict='malware-header = "X-Virus-Status: Infected"').start("fabrikam.test")
    infected = ("X-Virus-Status: Infected (Eicar)",)
    assert refusal(world, EICAR) == "550 5.7.1 Malware is not accepted: the message has the EICAR test string"
    assert refusal(world, GTUBE + EICAR, source=PLAIN).startswith("550 5.7.1 ")
    assert 'the trusted connector "on-prem" marked the message with X-Virus-Status: Infected' in refusal(world, b"x\r\n", headers=infected, to="v@fabrikam.test")
    assert refused_row(world, "v@fabrikam.test")["verdict"] == "malware"
    row = world.daemon.trace_of(hand_in(world, b"> " + EICAR, headers=infected, source=PLAIN))[BOB]
    assert (row["verdict"], row["class"], len(world.receiver.messages)) == ("clean", "normal", 1)


@pytest.mark.parametrize("how", ["dead", "slow", "garbage", "huge", "half", "hangup"])
def test_a_failed_scanner_defers(make_world, fake, how):
    scanner = fake(how)
    if how == "dead":
        scanner.close()
    world = make_world(verdict=f'{scanner.config} timeout = {"300ms" if how == "slow" else "10s"}').start("fabrikam.test")
    assert refusal(world, b"x\r\n", to="d@fabrikam.test") == DEFERRED
    row = refused_row(world, "d@fabrikam.test")
    why = {"dead": "connection refused", "slow": "it did not answer in time", "garbage": "its first line is no HTTP status",
           "huge": "it is too long", "half": "it closed the connection", "hangup": "it closed the connection"}[how]
    assert row["verdict"] == "unscanned" and row["reason"].startswith("not scanned: rspamd (rspamd 127.0.0.1:") and row["reason"].endswith(why), row
    assert not world.receiver.messages


@pytest.mark.parametrize("how", ["slow", "garbage"])
def test_on_failure_decides_by_tenant(make_world, fake, how):
    scanner = fake(how)
    world = make_world(verdict=f"{scanner.config} timeout = 300ms on-failure = defer", tenant="on-failure = high-risk",
                       extra='tenant "fabrikam" { domains = {"fabrikam.test"} on-failure = regular connector "c" { addresses = {"127.0.3.3"} } }')
    world.start("tailspin.test")
    to = "x@tailspin.test"
    risky = world.daemon.trace_of(hand_in(world, b"x\r\n", to=to))[to]
    assert (risky["verdict"], risky["class"], risky["rule"]) == ("unscanned", "high-risk", "unscanned")
    assert risky["reason"].startswith("not scanned: rspamd (") and risky["outbound_ip"] in ADDRESSES["high-risk"]
    regular = world.daemon.trace_of(hand_in(world, b"x\r\n", to=to, source="127.0.3.3", sender=BOB))[to]
    assert (regular["verdict"], regular["class"], regular["rule"]) == ("unscanned", "normal", "own")
    assert "; not scanned: rspamd (" in regular["reason"]
    spam = world.daemon.trace_of(hand_in(world, GTUBE, to=to, source="127.0.3.3", sender=BOB))[to]
    assert (spam["verdict"], spam["rule"]) == ("spam", "spam")
    assert refusal(world, EICAR, to=to).startswith("550 5.7.1 Malware")


def status(world):
    return next(iter(world.daemon.rows("status")))


def test_the_next_scanner_is_asked_and_the_failed_one_rests(make_world, fake):
    bad, good = fake("garbage"), fake()
    bad.pongs = False
    world = make_world(extra=sections(bad, good)).start("fabrikam.test")
    since = world.daemon.mark()
    for _ in range(4):
        row = world.daemon.trace_of(hand_in(world, b"x\r\n"))[BOB]
        assert (row["verdict"], row["symbols"]) == ("clean", "FAKE(1.25)")
    world.daemon.wait_log(r" error scanner is down scanner=s0 ", since=since)
    assert len(bad.heads) == 3 and len(good.heads) == 4
    assert " DOWN since " in status(world)["scanner s0"] and " up, 4 messages, 0 failures" in status(world)["scanner s1"]
    assert "s0 (rspamd 127.0.0.1:" in world.daemon.wait_log("scanner-down", since=since)  # an alert
    bad.how, bad.pongs = "well", True
    world.daemon.wait_log(r" info scanner is back scanner=s0 ", since=since)
    hand_in(world, b"x\r\n")
    assert len(bad.heads) == 4 and " up, 4 messages, 3 failures" in status(world)["scanner s0"]


def test_nobody_waits_for_a_scanner_that_rests(make_world, fake):
    scanner = fake("slow")
    world = make_world(verdict=f"{scanner.config} timeout = 200ms").start("fabrikam.test")
    replies = [refusal(world, b"x\r\n", to=f"{i}@fabrikam.test") for i in range(4)]
    until(lambda: len(scanner.heads) >= 3, what="it reads what we have given up to wait for")
    assert replies == [DEFERRED] * 4 and len(scanner.heads) == 3
    assert "rests since" in refused_row(world, "3@fabrikam.test")["reason"]


def test_no_sender_silences_a_scanner(make_world, fake):
    """Rspamd's answer has each address of the message: three messages with too many of them are three messages, and no sick scanner."""
    scanner = fake("huge")
    world = make_world(verdict=scanner.config).start("fabrikam.test")
    assert [refusal(world, b"x\r\n", to=f"{i}@fabrikam.test") for i in range(4)] == [DEFERRED] * 4
    scanner.how = "well"
    hand_in(world, b"x\r\n")
    assert len(scanner.heads) == 5 and " up, 5 messages, 4 failures" in status(world)["scanner rspamd"]


def test_connections_are_kept(make_world, fake):
    scanner = fake()
    world = make_world(verdict=scanner.config, workers=1).start("fabrikam.test")
    with world.connector() as client:
        for _ in range(5):
            client.send(ALICE, BOB, message())
    assert (scanner.connections, len(scanner.heads)) == (1, 5)
    with scanner.lock:
        for s in scanner.open:  # as a scanner that restarts
            s.shutdown(2)
    hand_in(world, b"x\r\n")
    assert (scanner.connections, len(scanner.heads)) == (2, 6)
    assert " up, 6 messages, 0 failures" in status(world)["scanner rspamd"]


def test_no_more_connections_than_allowed(make_world, fake):
    scanner = fake()
    world = make_world(extra=sections(scanner, options="connections = 2"), workers=1).start("fabrikam.test")
    sent = []
    threads = [threading.Thread(target=lambda: sent.append(hand_in(world, b"x\r\n"))) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(sent) == 20 and scanner.connections <= 2


def test_scanners_come_and_go_under_load(make_world, fake):
    """Whatever they do meanwhile: what was accepted was judged by one of them."""
    scanners = [fake(), fake()]
    world = make_world(extra=sections(*scanners), verdict="timeout = 1s").start("fabrikam.test")
    sent, refused, others = [], [], []

    def client(number):
        with world.connector() as c:
            for i in range(10):
                scanners[(number + i) % 2].how = ("well", "hangup", "garbage", "well", "half")[(number * 3 + i) % 5]
                try:
                    sent.append(c.send(ALICE, BOB, message(subject=f"{number}-{i}", body=b"x" * 5000 + b"\r\n")))
                except Refused as e:
                    (refused if e.reply == DEFERRED else others).append(e.reply)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not others and len(sent) + len(refused) == 160
    # They may have failed at once, and rest since: then nothing was accepted until one is back.
    scanners[0].how = scanners[1].how = "well"

    def works():
        try:
            return hand_in(world, b"x\r\n")
        except Refused as e:
            assert e.reply == DEFERRED

    sent.append(until(works, what="a scanner is back"))
    world.receiver.wait(lambda: len(world.receiver.messages) == len(sent), what="what was accepted is delivered")
    scanned = {re.search(rb"Subject: (\S+)", body)[1].decode() for s in scanners for body in s.bodies}
    assert {m.header("Subject") for m in world.receiver.messages} <= scanned


def test_actions_refuse_when_told_to(make_world, fake):
    scanner = fake(answer={"action": "reject", "score": 20.0, "messages": {"smtp_message": "Matched map: bad"}})
    world = make_world(verdict=f'{scanner.config} refuse = {{"reject", "soft reject"}}').start("fabrikam.test")
    assert refusal(world, b"x\r\n", to="r@fabrikam.test") == "550 5.7.1 Matched map: bad"
    row = refused_row(world, "r@fabrikam.test")
    assert (row["verdict"], row["score"], row["symbols"]) == ("spam", "20.00/15.00", "FAKE(1.25)")
    scanner.answer = {**scanner.answer, "action": "soft reject", "messages": {}}
    assert refusal(world, b"x\r\n") == "451 4.7.1 The spam scanner wants this message later, try again"
    scanner.answer = {**scanner.answer, "action": "add header"}
    assert world.daemon.trace_of(hand_in(world, b"x\r\n"))[BOB]["rule"] == "spam"


CHANGES = ("X-Change: headers", "X-Twice: 1", "X-Twice: 2")


def fields(got):
    return got.data.split(b"\r\n\r\n", 1)[0].decode().replace("\r\n\t", " ").split("\r\n")


def test_real_rspamd_changes_the_header(make_world, rspamd):
    world = make_world(verdict=f"{rspamd.config} apply-headers = on rewrite-subject = on", tenant='dkim "contoso.test" { selector = "s1"  key = "s1.pem" }')
    key = Key("contoso.test", "s1")
    key.file(world.folder / "s1.pem")
    world.start("fabrikam.test")
    body = b"One line.\r\n" * 40000  # its copy is in a file
    hand_in(world, body, headers=CHANGES)
    trace_id = hand_in(world, b"x\r\n", headers=("X-Change: subject", "Subject: the second one"))
    world.receiver.wait(lambda: len(world.receiver.messages) == 2)
    plain, spam = sorted(world.receiver.messages, key=lambda m: -len(m.data))
    got = fields(plain)
    assert [f for f in got if f.startswith("X-")] == ["X-Scanned: by the real one; folded", "X-Twice: 1", "X-Bar: +++"] and plain.body == body
    assert got[0].startswith("DKIM-Signature: ") and Judges(key).signatures(plain.data) == [("contoso.test", "s1", "pass")], "what leaves is signed"
    assert [f for f in fields(spam) if f.startswith("Subject: ")] == ["Subject: *** SPAM *** hello"], "one, where there were two"
    row = world.daemon.trace_of(trace_id)[BOB]
    assert (row["verdict"], row["class"], row["subject"]) == ("spam", "high-risk", "*** SPAM *** hello")


def test_nothing_is_changed_unless_told_to(make_world, rspamd):
    world = make_world(verdict=rspamd.config).start("fabrikam.test")
    hand_in(world, b"x\r\n", headers=CHANGES)
    world.receiver.wait(lambda: world.receiver.messages)
    assert [f for f in fields(world.receiver.messages[0]) if f.startswith("X-")] == list(CHANGES)


def test_what_a_scanner_may_not_change(make_world, fake):
    """What decides over the message and what speaks in our name is left; the rest of its wishes holds."""
    ours = "Authentication-Results"
    scanner = fake(answer={"milter": {
        "remove_headers": {"From": 0, "Received": 0, "X-Keep": 5, "X-Gone": 0},
        "add_headers": {"From": "ceo@bank.test", "Sender": "x@bank.test", "Received": "from nowhere", "Content-Type": "multipart/report; report-type=delivery-status",
                        "ARC-Seal": "i=1; cv=none", ours: [{"value": "mta01.bl2.sluice.test; dkim=pass", "order": 0}, "other.test; dkim=none"],
                        "X-New": "one\r\nBcc: <victim@fabrikam.test>\r\n\r\nbody\n.\n"}}})
    world = make_world(verdict=f"{scanner.config} apply-headers = on").start("fabrikam.test")
    hand_in(world, b"x\r\n", headers=("X-Keep: 1", "X-Gone: 2"))
    world.receiver.wait(lambda: world.receiver.messages)
    got = world.receiver.messages[0]
    names = [f.split(":")[0] for f in fields(got)]
    assert names.count("From") == 1 and got.header("From") == f"<{ALICE}>" and names.count("Received") == 1 and got.body == b"x\r\n"
    assert not {"Sender", "Content-Type", "ARC-Seal", "X-Gone", "Bcc"} & set(names) and "X-Keep" in names
    assert [f for f in fields(got) if f.startswith(ours)] == [f"{ours}: other.test; dkim=none"]
    assert [f for f in fields(got) if f.startswith("X-New")] == ["X-New: one Bcc: <victim@fabrikam.test> body ."]
    world.daemon.wait_log("some of the scanner's changes are left out")


def test_too_many_changes_are_left_out(make_world, fake):
    scanner = fake(answer={"milter": {"add_headers": {f"X-{i}": "v" for i in range(5000)}}})
    world = make_world(verdict=f"{scanner.config} apply-headers = on").start("fabrikam.test")
    row = world.daemon.trace_of(hand_in(world, b"x\r\n"))[BOB]
    assert row["verdict"] == "clean"
    world.daemon.wait_log("the scanner's changes are left out .*too many")
    # Few and short ones of a message whose header has no room for them: it is not refused for its scanner's sake.
    scanner.answer["milter"] = {"add_headers": {"X-New": "v " * 5000}}
    row = world.daemon.trace_of(hand_in(world, b"x\r\n", headers=[f"X-{i}: {'v' * 950}" for i in range(1085)]))[BOB]
    assert row["verdict"] == "clean"
    world.daemon.wait_log("the scanner's changes are left out .*header too long")
    scanner.answer["symbols"] = {"TEST_VIRUS": {"score": 0}}
    assert refusal(world, b"x\r\n").startswith("550 5.7.1 Malware"), "no change is a way around the verdict"


def test_a_forged_header_is_believed_of_no_scanner(make_world, fake):
    """What a trusted connector's header says is read before the scanner's changes: it can't take it out."""
    scanner = fake(answer={"milter": {"remove_headers": {"X-Spam-Flag": 0}, "add_headers": {"X-Virus-Status": "Infected"}}})
    world = make_world(verdict=f'{scanner.config} apply-headers = on malware-header = "X-Virus-Status: Infected"').start("fabrikam.test")
    row = world.daemon.trace_of(hand_in(world, b"x\r\n", headers=("X-Spam-Flag: YES",)))[BOB]
    assert (row["verdict"], row["class"]) == ("spam", "high-risk")


def test_too_large_for_the_scanner(make_world, fake):
    scanner = fake()
    world = make_world(extra=sections(scanner, options="max-size = 2kb")).start("fabrikam.test")
    big = b"x" * 70 + b"\r\n"
    row = world.daemon.trace_of(hand_in(world, big * 40))[BOB]
    assert (row["verdict"], row["class"], row["rule"]) == ("unscanned", "high-risk", "unscanned"), "padding is no way into the good addresses"
    assert "too long for the scanners" in row["reason"]
    world.rewrite(verdict="too-large = regular")
    world.daemon.cli("reload")
    row = world.daemon.trace_of(hand_in(world, big * 40))[BOB]
    assert (row["verdict"], row["class"]) == ("unscanned", "normal") and "too long for the scanners" in row["reason"]
    world.rewrite(verdict="too-large = refuse")
    world.daemon.cli("reload")
    assert refusal(world, big * 40).startswith("552 5.3.4 ")
    assert hand_in(world, b"x\r\n") and len(scanner.heads) == 1


def test_reports_of_our_own_are_not_scanned(make_world, fake):
    scanner = fake()
    world = make_world(verdict=scanner.config)
    world.daemon.write(world.config(), {"zone": zone({**HOSTS, "contoso-mail.test": "127.0.10.4"}).replace(
        "contoso.test.             IN MX 10 mail.contoso.test.", "contoso.test. IN MX 10 mx.contoso-mail.test.")})
    home = world.receiver.host("127.0.10.4", "mx.contoso-mail.test")
    world.host("fabrikam.test", refuse={"gone@fabrikam.test": "550 5.1.1 nobody"})
    world.daemon.start()
    hand_in(world, b"x\r\n", to="gone@fabrikam.test")
    world.receiver.wait(lambda: home.messages, what="the report")
    assert home.messages[0].mail_from == "" and len(scanner.heads) == 1
    row = until(lambda: next(iter(world.daemon.trace("--recipient", ALICE, "--status", "Delivered")), None))
    assert (row["rule"], row["verdict"], row["score"]) == ("bounce", "clean", None)


def test_what_local_programs_send_is_scanned(make_world, fake):
    scanner = fake()
    world = make_world(verdict=scanner.config).start("fabrikam.test")

    def send(body):
        return world.daemon.run("send", "-f", ALICE, BOB, stdin=message(body=body).decode())

    assert send(b"x\r\n").returncode == 0 and scanner.bodies[0].startswith(b"Received: ")
    scanner.answer = {**scanner.answer, "symbols": {"FAKE_VIRUS": {"score": 0}}}
    assert 'found malware: FAKE_VIRUS' in send(b"y\r\n").stderr
    scanner.how = "hangup"
    assert DEFERRED in send(b"z\r\n").stderr
    world.receiver.wait(lambda: len(world.receiver.messages) == 1, what="the clean one is delivered")


def test_explain_asks_the_scanner(make_world, fake):
    scanner = fake(answer={"action": "add header", "score": 7.5, "symbols": {"BAD_SUBJECT": {"score": 7.5}}})
    world = make_world(verdict=scanner.config)
    world.daemon.write(world.config(), {"zone": zone(extra=identity())})
    world.start("fabrikam.test")
    text = message(body=b"x\r\n")

    def explain(*arguments):
        return world.daemon.run("explain", "--from", ALICE, "--to", BOB, "--tenant", "contoso", *arguments, "-", stdin=text)

    told = explain().stdout.decode()
    assert "add header, score 7.50/15.00" in told and "BAD_SUBJECT(7.50)" in told and "high-risk by rule spam" in told, told
    assert b'"score":"7.50/15.00"' in explain("--json").stdout.replace(b'": "', b'":"')
    scanner.how = "garbage"
    assert "not scanned: rspamd (" in explain().stdout.decode() and DEFERRED in explain().stdout.decode()
    assert status(world)["scanner rspamd"].startswith("rspamd 127.0.0.1:") and " 0 messages" in status(world)["scanner rspamd"]


def test_metrics_tell_of_scanners(make_world, fake):
    scanner, port = fake(), places.free_port()
    world = make_world(verdict=scanner.config)
    world.daemon.write(world.config().replace('api { socket = "api.sock" }', f'api {{ socket = "api.sock" bind = {{"127.0.0.1:{port}"}} }}'))
    world.start("fabrikam.test")
    hand_in(world, b"x\r\n")
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    for line in ('sluice_scanner_up{scanner="rspamd"} 1', 'sluice_scanner_requests_total{scanner="rspamd"} 1', "sluice_scanned_total 1"):
        assert line in text, line
