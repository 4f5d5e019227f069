"""The world of a test: names, pools, tenants and hosts that belong together.

    world = World(folder)
    world.daemon.start()
    with world.connector() as client:
        trace_id = client.send("alice@contoso.test", "bob@fabrikam.test", message())

Tenant contoso owns contoso.test (with MX and A) and nodns.contoso.test (without). Its connector "on-prem" is 127.0.3.1, whose
spam header is believed; "plain" is 127.0.3.2, whose header is not. User alice logs in with the password "secret".
Names outside the zone file are asked of a server that is dead, so nothing leaves this machine; the time limit is only ever waited for.
Receivers: fabrikam.test, tailspin.test, woodgrove.test, each with a host of its own."""
import contextlib
import subprocess

from . import places
from .client import Client
from .daemon import Daemon
from .receiver import Receiver, tls_context

POOLS = {
    "normal": ("on", "published", "127.0.1.16/30"),
    "high-risk": ("hn", "published", "127.0.1.32/30"),
    "relay": ("rl", "unpublished", "127.0.1.48/30"),
    "high-risk-relay": ("rh", "unpublished", "127.0.1.64/30"),
}
ADDRESSES = {name: {a[2].rsplit(".", 1)[0] + f".{int(a[2].rsplit('.', 1)[1].split('/')[0]) + i}" for i in range(4)} for name, a in POOLS.items()}
EHLO = "out.bl2.sluice.test"
HOSTS = {"fabrikam.test": "127.0.10.1", "tailspin.test": "127.0.10.2", "woodgrove.test": "127.0.10.3"}
ON_PREM, PLAIN = "127.0.3.1", "127.0.3.2"
PASSWORD_FILE = "alice:{PLAIN}secret\nbob@contoso.test:{PLAIN}hunter2\n"

ZONE = """; the names of the test
contoso.test.             IN MX 10 mail.contoso.test.
contoso.test.             IN A 127.0.3.1
mail.contoso.test.        IN A 127.0.3.1
sender.test.              IN MX 10 mx.sender.test.
mx.sender.test.           IN A 127.0.10.9
aaaa-only.test.           IN AAAA ::1
null-mx.test.             IN MX 0 .
"""


def zone(hosts=HOSTS, extra=""):
    return ZONE + "".join(f"{d}. IN MX 10 mx.{d}.\nmx.{d}. IN A {a}\n" for d, a in hosts.items()) + extra


def identity():
    """PTR, EHLO and SPF of the usual pools, as the plan would have them: else they are asked of a server that is dead."""
    lines = [f'{EHLO}. IN TXT "v=spf1 ip4:127.0.1.0/24 -all"']
    for name, (code, *_) in POOLS.items():
        for n, address in enumerate(sorted(ADDRESSES[name], key=lambda a: int(a.rsplit(".", 1)[1]))):
            host = f"mail-bl2{code}{n + 1:04}.sluice.test."
            lines += [f"{host} IN A {address}", f"{'.'.join(reversed(address.split('.')))}.in-addr.arpa. IN PTR {host}"] + ([f"{EHLO}. IN A {address}"] if n == 0 else [])
    return "\n".join(lines) + "\n"


def certificate(folder):
    """A self-signed certificate for the listeners and the receivers; returns (certificate, key)."""
    cert, key = folder / "tls.pem", folder / "tls.key"
    if not cert.exists():
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                        "-subj", "/CN=mail.sluice.test", "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


class World:
    def __init__(self, folder, **settings):
        self.folder = folder
        self.delivery_port = places.free_port(*HOSTS.values(), "127.0.3.1", "127.0.10.9")
        self.port, self.submission_port, self.smtps_port, self.dead_port = (places.free_port() for _ in range(4))
        self.receiver = Receiver(self.delivery_port)
        self.hosts = {}
        self.settings = dict(settings)
        certificate(folder)
        self.daemon = Daemon(folder, self.config(), {"zone": zone(), "contoso.users": PASSWORD_FILE})

    def config(self, **changes):
        """The configuration; `changes` (also of the constructor): pools, delivery, dns, listener, extra, tenant, verdict, limits
        ("true": senders of the connectors are counted too; a test's load would be over the limits), detection (off: a test's
        load is suspicious)."""
        s = {"delivery": "", "dns": "", "listener": "", "extra": "", "tenant": "", "verdict": "", "pools": {}, "workers": 4, "limits": "false", "detection": "apply = off", **self.settings, **changes}
        pools = {**POOLS, **{k: v if isinstance(v, tuple) else (*POOLS[k][:2], v) for k, v in s["pools"].items()}}
        lines = [f'pool "{n}" {{ class = "{c}"  spf = {spf}  addresses = {{{", ".join(chr(34) + a + chr(34) for a in ([at] if isinstance(at, str) else at))}}} }}'
                 for n, (c, spf, at) in pools.items()]
        return f"""node    = "mta01.bl2.sluice.test"
state   = "state"
workers = {s["workers"]}

site "bl2" {{
  ehlo = "{EHLO}"
  ptr  = "mail-bl2{{class}}{{n}}.sluice.test"
}}

{chr(10).join(lines)}

listener "relay"      {{ bind = {{"127.0.0.1:{self.port}"}}             tls = opportunistic  auth = none      {s["listener"]} }}
listener "submission" {{ bind = {{"127.0.0.1:{self.submission_port}"}}  tls = opportunistic  auth = required }}
listener "smtps"      {{ bind = {{"127.0.0.1:{self.smtps_port}"}}       tls = implicit       auth = required }}

tls {{ certificate = "tls.pem"  key = "tls.key" }}

tenant "contoso" {{
  domains = {{"contoso.test", "nodns.contoso.test"}}
  users   = "contoso.users"
  connector "on-prem" {{ addresses = {{"{ON_PREM}"}}  trust-verdict = true  limits = {s["limits"]} }}
  connector "plain"   {{ addresses = {{"{PLAIN}"}}  limits = {s["limits"]} }}
  {s["tenant"]}
}}

verdict {{ header = "X-Spam-Flag: YES"  {s["verdict"]} }}
delivery {{ port = {self.delivery_port}  allow-private = true  {s["delivery"] or "first-retry = 1s  max-retry = 2s"} }}
dns {{ {s["dns"] or f'zone-file = "zone"  servers = {{"127.0.0.1@{self.dead_port}"}}  timeout = 500ms'} }}
api {{ socket = "api.sock" }}
detection {{ {s["detection"]} }}
{s["extra"]}
"""

    def rewrite(self, **changes):
        self.settings.update(changes)
        self.daemon.write(self.config())

    def host(self, domain="fabrikam.test", **how):
        self.hosts[domain] = self.receiver.host(HOSTS.get(domain, domain), name=f"mx.{domain}", **how)
        return self.hosts[domain]

    def tls(self):
        return tls_context(*certificate(self.folder))

    def start(self, *domains):
        """Hosts for the domains (default: all), and the daemon."""
        for domain in domains or HOSTS:
            if domain not in self.hosts:
                self.host(domain)
        self.daemon.start()
        return self

    def connector(self, source=ON_PREM, **how):
        return Client("127.0.0.1", self.port, source=source, **how)

    def submission(self, user="alice@contoso.test", password="secret", tls=False, **how):
        client = Client("127.0.0.1", self.submission_port, **how)
        if tls:
            client.starttls()
        if user:
            client.login(user, password)
        return client

    def close(self):
        try:
            self.daemon.stop()
        finally:
            self.daemon.kill()
            self.receiver.close()

    # ---- the law

    def check_pools(self, trace=True):
        """No message came from outside the pool of its class, and the trace says of each what its receiver saw."""
        by_id = {}
        if trace:
            for row in self.daemon.trace("--limit", "5000"):
                by_id.setdefault(row["trace_id"], []).append(row)
        for message in [m for h in self.receiver.hosts.values() for m in h.seen]:
            expected = message.header("X-Expect-Class")
            if expected:
                assert message.source in ADDRESSES[expected], f"class {expected} came from {message.source}"
        for rows in by_id.values():
            for row in rows:
                if row["status"] != "Delivered":
                    continue
                assert row["outbound_ip"] in ADDRESSES[row["outbound_ip_pool_name"]], row
                assert row["class"] == row["outbound_ip_pool_name"], row
        assert not self.receiver.faults, self.receiver.faults


@contextlib.contextmanager
def world_inside(folder, **settings):
    """A world within a namespace; its daemon must end well."""
    world = World(folder, **settings)
    try:
        yield world
        world.daemon.stop()
    except BaseException:
        print("\n".join(world.daemon.lines[-40:]))
        raise
    finally:
        world.daemon.kill()
