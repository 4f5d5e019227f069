"""A DNS server (knot) for zone files that exist, and a resolver that asks nobody else."""
import os
import pathlib
import subprocess

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from . import places
from .waiting import until

KNOTD = pathlib.Path("/usr/sbin/knotd")
NAMED = places.PEERS / "bind9/usr/sbin/named"


class ZoneServer:
    """Serves `zones`, name -> file, at one address and port, and at `more` addresses. With `update` it takes dynamic updates from anywhere, with `secret` those that are
    signed with the key "sluice"."""

    def __init__(self, folder, address, port, zones, update=False, secret=None, more=()):
        self.folder, self.address, self.port = pathlib.Path(folder), address, port
        key = f"key:\n  - id: sluice\n    algorithm: hmac-sha256\n    secret: {secret}\n" if secret else ""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "knot.conf").write_text(f"""server:
    listen: [{", ".join(f"{a}@{port}" for a in (address, *more))}]
    rundir: {self.folder}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {self.folder}
{key}acl:
  - id: update
    action: update
""" + ("    key: sluice\n" if secret else "") + f"""
template:
  - id: default
    semantic-checks: on
    zonefile-sync: -1
    journal-content: none
zone:
""" + "".join(f"  - domain: {name}.\n    file: {file}\n" + ("    acl: update\n" if update or secret else "") for name, file in zones.items()))

    def start(self):
        log = self.folder / "log"
        self.process = subprocess.Popen([KNOTD, "-c", self.folder / "knot.conf"], stdout=open(log, "wb"), stderr=subprocess.STDOUT)
        until(lambda: b"server started" in log.read_bytes(), what=lambda: log.read_text())
        assert "error" not in log.read_text(), log.read_text()
        return self

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def ask(self, name, rtype, tcp=False):
        """The answer; by UDP without EDNS, as the oldest receiver asks."""
        question = dns.message.make_query(name, rtype)
        how = dns.query.tcp if tcp else dns.query.udp
        return how(question, self.address, port=self.port, timeout=10)

    def records(self, name, rtype):
        """The data of the records as presentation text, through CNAMEs into other zones as a resolver follows them; none: an empty set."""
        wanted = dns.rdatatype.from_text(rtype)
        for _ in range(8):
            answer = self.ask(name, rtype)
            if answer.flags & dns.flags.TC:
                answer = self.ask(name, rtype, tcp=True)
            found = {str(r) for rrset in answer.answer if rrset.rdtype == wanted for r in rrset}
            targets = [str(r.target) for rrset in answer.answer if rrset.rdtype == dns.rdatatype.CNAME for r in rrset]
            if found or not targets or answer.rcode() != dns.rcode.NOERROR:
                return found
            name = targets[-1]
        raise AssertionError(f"{name}: a loop of CNAMEs")

    def spf_lookup(self, name, qtype, tcpfallback=True, timeout=30):
        """What python3-spf calls to ask the DNS."""
        wanted = dns.rdatatype.from_text(qtype)
        answer = self.ask(name, qtype)
        assert not answer.flags & dns.flags.TC, f"{name} {qtype}: does not fit UDP"
        found = [r for rrset in answer.answer if rrset.rdtype == wanted for r in rrset]
        if qtype in ("A", "AAAA"):
            return [((name, qtype), r.address) for r in found]
        if qtype in ("TXT", "SPF"):
            return [((name, qtype), list(r.strings)) for r in found]
        if qtype == "PTR":
            return [((name, qtype), r.target.to_text(True)) for r in found]
        return []


class Bind(ZoneServer):
    """The same by BIND's named."""

    def __init__(self, folder, address, port, zones, secret):
        self.folder, self.address, self.port = pathlib.Path(folder), address, port
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "named.conf").write_text(f"""options {{
    directory "{self.folder}"; pid-file "{self.folder}/pid"; session-keyfile "{self.folder}/session.key"; managed-keys-directory "{self.folder}";
    listen-on port {port} {{ {address}; }}; listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; minimal-responses yes; notify no;
}};
controls {{ }};
key "sluice" {{ algorithm hmac-sha256; secret "{secret}"; }};
""" + "".join(f'zone "{name}" {{ type primary; file "{file}"; allow-update {{ key sluice; }}; }};\n' for name, file in zones.items()))

    def start(self):
        log = self.folder / "log"
        self.process = subprocess.Popen([NAMED, "-g", "-n", "1", "-c", self.folder / "named.conf"], stdout=open(log, "wb"), stderr=subprocess.STDOUT)
        until(lambda: b" running" in log.read_bytes(), what=lambda: log.read_text())
        return self


def available():
    return KNOTD.exists() and all(any(os.access(f"{d}/{p}", os.X_OK) for d in ("/usr/bin", "/usr/sbin")) for p in ("named-checkzone", "kzonecheck", "nsupdate"))
