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

from .waiting import until

KNOTD = pathlib.Path("/usr/sbin/knotd")


class ZoneServer:
    """Serves `zones`, name -> file, at one address and port. With `update` it takes dynamic updates from anywhere."""

    def __init__(self, folder, address, port, zones, update=False):
        self.folder, self.address, self.port = pathlib.Path(folder), address, port
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "knot.conf").write_text(f"""server:
    listen: {address}@{port}
    rundir: {self.folder}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {self.folder}
acl:
  - id: update
    action: update
template:
  - id: default
    semantic-checks: on
    zonefile-sync: -1
    journal-content: none
zone:
""" + "".join(f"  - domain: {name}.\n    file: {file}\n" + ("    acl: update\n" if update else "") for name, file in zones.items()))

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


def available():
    return KNOTD.exists() and all(any(os.access(f"{d}/{p}", os.X_OK) for d in ("/usr/bin", "/usr/sbin")) for p in ("named-checkzone", "kzonecheck", "nsupdate"))
