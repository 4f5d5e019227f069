"""Who sent it, when an address alone does not say: client certificates, PROXY headers, XFORWARD."""
import contextlib
import re
import socket
import ssl
import struct
import subprocess
import time

import pytest

from conftest import missing
from lab import peers, places
from lab.authority import Authority, CertifiedClient, self_signed
from lab.client import Client, Refused, message
from lab.waiting import until
from lab.world import ON_PREM, PLAIN, world_inside, zone

ALICE, BOB, CAROL, STRANGER = "alice@contoso.test", "bob@fabrikam.test", "carol@litware.test", "somebody@sender.test"
PROXY, ELSEWHERE = "127.0.5.1", "127.0.6.1"
HAPROXY = places.PEERS / "haproxy/usr/sbin/haproxy"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
DENIED = "550 5.7.64 Relay Access Denied"

CONNECTORS = """
  connector "cert"   { certificate = "mail.contoso.test"      ca = "ca.pem" }
  connector "wild"   { certificate = "*.contoso.test"         ca = "ca.pem" }
  connector "cloud"  { certificate = "filter.cloud.test"      ca = "ca.pem"  addresses = {"127.0.3.9"} }
  connector "shared" { certificate = "shared.cloud.test"      ca = "ca.pem" }
  connector "public" { certificate = "public.contoso.test" }
"""
LITWARE = 'tenant "litware" { domains = {"litware.test"}  connector "shared" { certificate = "shared.cloud.test"  ca = "ca.pem" } }'


@pytest.fixture
def certified(world):
    """A world whose tenants have connectors by certificate, and the authority that they trust."""
    world.authority = Authority(world.folder)
    world.tls_port = places.free_port()
    (world.folder / "zone").write_text(zone(extra="litware.test. IN MX 10 mx.sender.test.\n"))
    world.rewrite(tenant=CONNECTORS, extra=f'{LITWARE}\nlistener "tls" {{ bind = {{"127.0.0.1:{world.tls_port}"}}  tls = implicit  proxy = {{"{PROXY}"}} }}')
    return world


def send(world, shows=None, sender=ALICE, source=None, version=None, implicit=False):
    """The connector's name and the trace id of what was taken; the reply of what was refused."""
    port = world.tls_port if implicit else world.port
    with CertifiedClient("127.0.0.1", port, source=source, shows=shows, version=version, implicit_tls=implicit) as client:
        if not implicit:
            client.starttls()
        try:
            trace_id = client.send(sender, BOB, message(sender))
        except Refused as e:
            return None, e.reply
    received = [e for e in world.daemon.events(trace_id) if e["event"] == "RECEIVE"][0]
    return f'{received["tenant"]}/{received["connector"]}', received


def test_a_certificate_decides(certified):
    world, ca = certified, certified.authority
    world.start("fabrikam.test")
    right, cloud, shared = ca.issue("mail.contoso.test"), ca.issue("filter.cloud.test"), ca.issue("shared.cloud.test")
    cases = [
        (right, ALICE, "contoso/cert"),
        (right, STRANGER, "contoso/cert"),  # the certificate's own domain is the tenant's
        (right, CAROL, "contoso/cert"),
        (right, "", "contoso/cert"),
        (ca.issue("host7.contoso.test"), STRANGER, "contoso/wild"),
        (ca.issue("*.contoso.test"), STRANGER, "contoso/wild"),
        (ca.issue("else.test", "x.else.test", "MAIL.contoso.test"), ALICE, "contoso/cert"),
        (ca.issue(common="mail.contoso.test"), ALICE, "contoso/cert"),
        (ca.issue("else.test", common="mail.contoso.test"), ALICE, None),
        (ca.issue("deep.host7.contoso.test"), ALICE, None),
        (cloud, ALICE, "contoso/cloud"),
        (cloud, STRANGER, None),
        (shared, ALICE, "contoso/shared"),
        (shared, CAROL, "litware/shared"),
        (shared, STRANGER, None),
        (ca.issue("mail.contoso.test", usage="clientAuth"), ALICE, "contoso/cert"),
        (None, ALICE, None),
    ]
    for shows, sender, expected in cases:
        connector, reply = send(world, shows, sender)
        assert connector == expected, (shows, sender, reply)
        assert expected or reply == DENIED
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert send(world, right, STRANGER, version=version)[0] == "contoso/cert"
        assert send(world, None, ALICE, source=ON_PREM, version=version)[0] == "contoso/on-prem"
    assert send(world, right, STRANGER, implicit=True)[0] == "contoso/cert"
    # The certificate goes before the address; an address of the same connector lets it relay.
    assert send(world, right, ALICE, source=ON_PREM)[0] == "contoso/cert"
    assert send(world, cloud, STRANGER, source="127.0.3.9")[0] == "contoso/cloud"
    assert send(world, cloud, STRANGER, source=ON_PREM)[1] == DENIED
    world.daemon.wait_log(r"client certificate .*contoso/cert")
    world.check_pools()


def test_a_certificate_that_does_not_verify_counts_as_none(certified):
    world, ca = certified, certified.authority
    stranger = Authority(world.folder, "stranger")
    world.start("fabrikam.test")
    cases = [
        (stranger.issue("mail.contoso.test"), "unable to get local issuer certificate"),
        (self_signed(world.folder, "mail.contoso.test"), "self-signed certificate"),
        (ca.issue("mail.contoso.test", days=-1), "certificate has expired"),
        (ca.issue("mail.contoso.test", usage="serverAuth"), "unsuitable certificate purpose"),
        (ca.issue("public.contoso.test"), "unable to get local issuer certificate"),  # the system doesn't know our authority
    ]
    for shows, why in cases:
        since = world.daemon.mark()
        connector, reply = send(world, shows)
        if "public" in why or shows == cases[-1][0]:
            assert connector == "contoso/wild"  # whose authority does
        else:
            assert connector is None and reply == DENIED
        assert why in world.daemon.wait_log("client certificate not believed", since=since)
        # The address decides then, as it would without one.
        if shows != cases[-1][0]:
            assert send(world, shows, STRANGER, source=PLAIN)[0] == "contoso/plain"


def test_the_systems_authorities(certified):
    certified.daemon.environment["SSL_CERT_FILE"] = str(certified.authority.file)
    certified.rewrite(tenant='connector "public" { certificate = "public.contoso.test" }', extra="")
    certified.start("fabrikam.test")
    assert send(certified, certified.authority.issue("public.contoso.test"))[0] == "contoso/public"
    assert send(certified, Authority(certified.folder, "stranger").issue("public.contoso.test"))[1] == DENIED


def test_clients_without_a_certificate_are_undisturbed(certified):
    certified.start("fabrikam.test")
    with certified.submission(tls=True) as client:
        client.send(ALICE, BOB, message())
    ran = subprocess.run(["swaks", "--server", "127.0.0.1", "--port", str(certified.submission_port), "--tls", "--auth", "LOGIN", "--auth-user", ALICE,
                          "--auth-password", "secret", "--from", ALICE, "--to", BOB], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    certified.receiver.wait(lambda: len(certified.receiver.messages) == 2)
    # A login goes before the certificate that comes with it.
    with CertifiedClient("127.0.0.1", certified.submission_port, shows=Authority(certified.folder, "stranger").issue("x.test")) as client:
        client.starttls()
        client.login(ALICE, "secret")
        client.send(ALICE, BOB, message())


def asks(world):
    """Does the server ask for a certificate? By each version of TLS."""
    answers = set()
    for version in ("-tls1_2", "-tls1_3"):
        ran = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{world.port}", "-starttls", "smtp", "-state", version], input=b"QUIT\r\n",
                             capture_output=True, timeout=60)
        text = ran.stdout + ran.stderr
        assert b"SSL negotiation finished" in text or b"SSL handshake has read" in text, text
        answers.add(b"certificate request" in text)
    assert len(answers) == 1
    return answers.pop()


def test_nobody_is_asked_without_need_and_a_reload_makes_it_ask(world):
    authority = Authority(world.folder)
    right = authority.issue("mail.contoso.test")
    world.start("fabrikam.test")
    assert not asks(world)
    assert send(world, right)[1] == DENIED
    before = CertifiedClient("127.0.0.1", world.port, shows=right)
    before.starttls()
    world.rewrite(tenant='connector "cert" { certificate = "mail.contoso.test"  ca = "ca.pem" }')
    world.daemon.cli("reload")
    assert asks(world)
    assert send(world, right)[0] == "contoso/cert"
    # A session from before was not asked: it goes on as what it was.
    assert before.command(f"MAIL FROM:<{ALICE}>") == DENIED
    before.quit()
    # One that is open knows, at its next message, what the new configuration says.
    with CertifiedClient("127.0.0.1", world.port, shows=right) as client:
        client.starttls()
        client.send(ALICE, BOB, message())
        world.rewrite(tenant='connector "other" { certificate = "other.contoso.test"  ca = "ca.pem" }')
        world.daemon.cli("reload")
        assert client.command(f"MAIL FROM:<{ALICE}>") == DENIED
        world.rewrite(tenant="")
        world.daemon.cli("reload")
        assert client.command(f"MAIL FROM:<{ALICE}>") == DENIED
    assert not asks(world)


def test_a_client_that_resumes_shows_its_certificate_again(certified):
    certified.start("fabrikam.test")
    right = certified.authority.issue("mail.contoso.test")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(right)
        context.minimum_version = context.maximum_version = version
        session = None
        for _ in range(3):
            with Client("127.0.0.1", certified.port) as client:
                client.expect("STARTTLS")
                client.socket = context.wrap_socket(client.socket, session=session)
                client.ehlo()
                client.send(STRANGER, BOB, message(STRANGER))
                assert not client.socket.session_reused
                session = client.socket.session


def test_bad_authorities_are_told(world):
    (world.folder / "empty.pem").write_text("nothing\n")
    for ca, told in (("nowhere.pem", "nowhere.pem: No such file"), ("empty.pem", "empty.pem: there is no certificate in it")):
        world.rewrite(tenant=f'connector "cert" {{ certificate = "mail.contoso.test"  ca = "{ca}" }}')
        ran = world.daemon.run("check")
        assert ran.returncode != 0 and told in ran.stdout + ran.stderr


# ---- PROXY


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def v1(client, port=4711):
    return f"PROXY TCP4 {client} 127.0.0.1 {port} 25\r\n".encode()


def v2(client, port=4711, extensions=b"", command=0x21, checksum=False):
    body = socket.inet_aton(client) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", port, 25) + extensions
    if checksum:
        body += b"\x03\0\4" + bytes(4)
    header = SIGNATURE + struct.pack("!BBH", command, 0x11, len(body)) + body
    return header[:-4] + struct.pack("!I", crc32c(header)) if checksum else header


def read(client):
    """Has the daemon read all that the client has sent? By the queue of its socket."""
    host, port = client.getsockname()
    us = f"{struct.unpack('=I', socket.inet_aton(host))[0]:08X}:{port:04X}"
    with open("/proc/net/tcp") as sockets:
        return any(line.split()[2] == us and line.split()[4].endswith(":00000000") for line in sockets)


class ProxiedClient(Client):
    """Comes from the proxy; `pieces` are sent one by one, in packets of their own."""

    def __init__(self, port, *pieces, source=PROXY, cork=False, **how):
        super().__init__("127.0.0.1", port, source=source, greet=False, **how)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(cork))
        for piece in pieces:
            self.raw(piece)
            if len(pieces) > 1:
                until(lambda: read(self.socket), what="the daemon reads the piece")

    def begin(self):
        self.greeting = self.reply()
        assert self.greeting.startswith("220 "), self.greeting
        self.ehlo()
        return self


@pytest.fixture
def proxied(world):
    world.rewrite(listener=f'proxy = {{"{PROXY}", "127.0.5.16/28"}}  xforward = {{"{ON_PREM}"}}')
    world.start("fabrikam.test")
    return world


def test_the_client_is_whom_the_proxy_names(proxied):
    header = v2(ON_PREM, extensions=b"\x04\0\2xx\x02\0\x0bexample.org", checksum=True)
    tellings = [(v1(ON_PREM),), (v2(ON_PREM),), (header,), tuple(bytes([b]) for b in v2(ON_PREM)), (v1(ON_PREM)[:7], v1(ON_PREM)[7:]),
                (SIGNATURE[:5], SIGNATURE[5:] + v2(ON_PREM)[12:20], v2(ON_PREM)[20:])]
    for pieces in tellings:
        with ProxiedClient(proxied.port, *pieces).begin() as client:
            trace_id = client.send(STRANGER, BOB, message(STRANGER))
        received = [e for e in proxied.daemon.events(trace_id) if e["event"] == "RECEIVE"][0]
        assert (received["connector"], received["client_ip"]) == ("on-prem", ON_PREM)
    proxied.receiver.wait(lambda: len(proxied.receiver.messages) == len(tellings))
    assert all(f"[{ON_PREM}]" in m.header("Received") and PROXY not in m.header("Received") for m in proxied.receiver.messages)
    # Whom the proxy names may send, or not: the proxy's own address counts for nothing.
    with ProxiedClient(proxied.port, v2(ELSEWHERE)).begin() as client:
        assert client.command(f"MAIL FROM:<{ALICE}>") == DENIED
    with ProxiedClient(proxied.port, SIGNATURE + b"\x20\0\0\0").begin() as client:
        assert client.command(f"MAIL FROM:<{ALICE}>") == DENIED
    with ProxiedClient(proxied.port, b"PROXY UNKNOWN\r\n", source="127.0.5.17").begin() as client:
        assert client.command(f"MAIL FROM:<{ALICE}>") == DENIED


def test_a_header_and_the_first_words_in_one_packet(proxied):
    with ProxiedClient(proxied.port, v2(ON_PREM) + b"EHLO c.example\r\nMAIL FROM:<" + ALICE.encode() + b">\r\n") as client:
        assert [client.reply()[:3] for _ in range(3)] == ["220", "250", "250"]


def test_a_header_in_front_of_tls(certified):
    certified.start("fabrikam.test")
    right = certified.authority.issue("mail.contoso.test")
    for cork in (True, False):
        client = ProxiedClient(certified.tls_port, v2(ON_PREM, checksum=True), cork=cork)
        client.wrap()
        with client.begin():
            trace_id = client.send(STRANGER, BOB, message(STRANGER))
        received = [e for e in certified.daemon.events(trace_id) if e["event"] == "RECEIVE"][0]
        assert (received["connector"], received["client_ip"]) == ("on-prem", ON_PREM)
    client = CertifiedClient("127.0.0.1", certified.tls_port, source=PROXY, greet=False, shows=right)
    client.raw(v1(ELSEWHERE))
    client.wrap()
    assert client.reply().startswith("220 ")
    client.ehlo()
    client.send(STRANGER, BOB, message(STRANGER))
    client.close()
    # From elsewhere TLS begins at once.
    with CertifiedClient("127.0.0.1", certified.tls_port, source=ON_PREM, implicit_tls=True) as client:
        client.send(ALICE, BOB, message())


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("header", ["send-proxy", "send-proxy-v2", "send-proxy-v2 crc32c-opt"])
def test_haproxy_in_front(proxied, tmp_path, header):
    """The real one; the daemon sees the address that the client has there."""
    if not HAPROXY.exists():
        missing("haproxy is not unpacked: tools/setup test")
    port = places.free_port()
    config = tmp_path / "haproxy.cfg"
    config.write_text(f"""defaults
  mode tcp
  timeout connect 5s
  timeout client 10s
  timeout server 10s
listen smtp
  bind 127.0.0.1:{port}
  source {PROXY}
  server sluice 127.0.0.1:{proxied.port} {header.replace(" crc32c-opt", " proxy-v2-options crc32c")}
""")
    with subprocess.Popen([HAPROXY, "-db", "-q", "-f", config], stderr=subprocess.PIPE, text=True) as haproxy:
        try:
            until(lambda: listens(port), what="haproxy listens")
            with Client("127.0.0.1", port, source=ON_PREM) as client:
                trace_id = client.send(STRANGER, BOB, message(STRANGER))
            with Client("127.0.0.1", port, source=ELSEWHERE) as client:
                assert client.command(f"MAIL FROM:<{ALICE}>") == DENIED
        finally:
            haproxy.terminate()
    received = [e for e in proxied.daemon.events(trace_id) if e["event"] == "RECEIVE"][0]
    assert (received["connector"], received["client_ip"]) == ("on-prem", ON_PREM)


def test_a_proxy_without_a_good_header_is_sent_away(proxied):
    for bad, why in [(b"EHLO c.example\r\n", "doesn't begin"), (v1("0.0.0.0"), "unspecified"), (b"PROXY TCP6 :: ::1 1 2\r\n", "unspecified"),
                     (v1(ON_PREM).replace(b"\r", b""), "CRLF"), (v2(ON_PREM)[:-1] + b"", "deadline|closed"), (v2(ON_PREM, checksum=True)[:-1] + b"!", "checksum"),
                     (SIGNATURE + b"\x21\x11\xff\xff", "16 KB"), (b"\x16\x03\x01\x02\0\x01", "doesn't begin")]:
        since = proxied.daemon.mark()
        with ProxiedClient(proxied.port, bad) as client:
            if why.startswith("deadline"):
                client.socket.shutdown(socket.SHUT_WR)
            assert client.reply() == ""
        line = proxied.daemon.wait_log("without a good PROXY header", since=since)
        assert PROXY in line and re.search(why, line), line
    since, began = proxied.daemon.mark(), time.monotonic()
    with ProxiedClient(proxied.port, v2(ON_PREM)[:20]) as client:
        assert client.reply() == ""
    assert 4 < time.monotonic() - began < 30
    assert "deadline" in proxied.daemon.wait_log("without a good PROXY header", since=since)


def test_a_header_from_anybody_else_is_no_header(proxied):
    with Client("127.0.0.1", proxied.port, source=ELSEWHERE, greet=False) as client:
        client.raw(v1(ON_PREM))
        assert client.reply().startswith("220 ")
        assert client.reply().startswith("500 ")
        client.ehlo()
        assert client.command(f"MAIL FROM:<{ALICE}>") == DENIED
    with Client("127.0.0.1", proxied.submission_port, source=PROXY) as client:  # another listener, without proxies
        assert client.command("NOOP").startswith("250 ")


# ---- XFORWARD


def test_xforward_is_for_those_who_may(proxied):
    with proxied.connector() as client:
        assert client.extensions["XFORWARD"] == "NAME ADDR PORT PROTO HELO IDENT SOURCE"
        assert client.command("XFORWARD NAME=spike.example.org ADDR=192.0.2.7 PORT=25 PROTO=ESMTP") == "250 2.0.0 Ok"
        assert client.command("XFORWARD HELO=spike.example.org IDENT=4F2B SOURCE=REMOTE") == "250 2.0.0 Ok"
        assert client.command("XFORWARD ADDR=nowhere") == "501 5.5.4 Bad ADDR syntax"
        trace_id = client.send(STRANGER, BOB, message(STRANGER))
        after = client.send(STRANGER, BOB, message(STRANGER))
    clients = [[e for e in proxied.daemon.events(i) if e["event"] == "RECEIVE"][0] for i in (trace_id, after)]
    assert [(e["client_ip"], e["original_client_ip"]) for e in clients] == [(ON_PREM, "192.0.2.7"), (ON_PREM, ON_PREM)]
    with proxied.connector(PLAIN) as client:
        assert "XFORWARD" not in client.extensions
        assert client.command("XFORWARD NAME=spike.example.org") == "550 5.7.0 Error: insufficient authorization"
        client.send(ALICE, BOB, message())
    # Whom a proxy names is the one who must be trusted.
    with ProxiedClient(proxied.port, v1(ON_PREM)).begin() as client:
        assert "XFORWARD" in client.extensions
    with ProxiedClient(proxied.port, v1(PLAIN)).begin() as client:
        assert "XFORWARD" not in client.extensions


# ---- a real client of both


def postfix_shows_its_certificate(folder):
    """Postfix hands on what it took from somebody else: by certificate, and saying by XFORWARD who that was."""
    folder.chmod(0o755)
    subprocess.run(["ip", "addr", "add", "127.0.20.1/32", "dev", "lo"], check=True)
    peers.add_accounts(folder, ("postfix", "postdrop", "vmail"))
    authority = Authority(folder)
    shows = authority.issue("mail.contoso.test")
    shows.chmod(0o644)
    with world_inside(folder, listener='xforward = {"127.0.20.1"}', tenant='connector "cert" { certificate = "mail.contoso.test"  ca = "ca.pem" }') as world:
        world.start("fabrikam.test")
        postfix = peers.Postfix(folder / "customer", "127.0.20.1", [], port=2500, extra=f"""relayhost = [127.0.0.1]:{world.port}
mynetworks = 127.0.0.0/8
smtp_bind_address = 127.0.20.1
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_security_level = encrypt
smtp_tls_cert_file = {shows}
smtp_tls_key_file = {shows}
smtp_send_xforward_command = yes
debug_peer_list = 127.0.0.1
""").start()
        try:
            with until(lambda: reached("127.0.20.1", 2500), what=postfix.log) as client:
                client.expect(f"MAIL FROM:<{STRANGER}>")
                client.expect(f"RCPT TO:<{BOB}>")
                client.expect("DATA", "3")
                client.raw(message(STRANGER) + b".\r\n")
                assert client.reply().startswith("250")
            world.receiver.wait(lambda: world.receiver.messages)
            maillog = folder / "customer/data/maillog"
            until(lambda: re.search(r"> \S+: XFORWARD .*ADDR=127\.0\.3\.7.*", maillog.read_text()), what=postfix.log)
            log = maillog.read_text()
            assert "< " in log and not re.search(r"< \S+: (5\d\d|4\d\d)[ -]", log), log[-3000:]
            world.daemon.wait_log(r"client certificate .*client=127\.0\.20\.1 connector=contoso/cert")
        except AssertionError:
            print(postfix.log())
            raise
        finally:
            postfix.stop()


def reached(address, port):
    with contextlib.suppress(OSError):
        return Client(address, port, source="127.0.3.7")


def test_postfix_comes_with_a_certificate_and_xforward(in_namespace):
    if not peers.POSTFIX.exists():
        missing(f"{peers.POSTFIX} is not there (tools/setup test)")
    in_namespace(postfix_shows_its_certificate)
