"""A DNS server that says what the test wants, at once: records that change, servers that fail, lists that lie.

    ns = NameServer("127.0.0.1")
    ns.put("17.2.0.192.in-addr.arpa", "PTR", "mail.example.net.")
    ns.rules.append(lambda name, rtype: "SERVFAIL" if name.endswith(".dead.test") else None)

A rule is asked first and gives presentation data, a list of them (empty: no such record), an rcode's name, SILENT, or None: not its business."""
import collections
import re
import socket
import threading
import time

import dns.message
import dns.flags
import dns.rcode
import dns.rdatatype
import dns.rrset

from . import places

SILENT = object()


class NameServer:
    def __init__(self, address="127.0.0.1", port=None, ttl=0):
        self.address, self.port, self.ttl = address, port or places.free_port(address), ttl
        self.records, self.rules = collections.defaultdict(list), []
        self.queries = []  # (time, name, type)
        self.hold, self.held = None, []  # a predicate of {(name, type)}: no reply leaves until it is true of what was asked
        self.lock = threading.Lock()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, self.port))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def put(self, name, rtype, *data):
        """In place of what was there; no data: takes it away."""
        with self.lock:
            if data:
                self.records[name.lower().rstrip("."), rtype] = list(data)
            else:
                self.records.pop((name.lower().rstrip("."), rtype), None)

    def load(self, text):
        """Lines as in a zone file: absolute names, one record a line."""
        for line in text.splitlines():
            found = re.match(r"(\S+)\s+(?:\d+\s+)?(?:IN\s+)?([A-Z]+)\s+(.+)$", line.split(";")[0].strip())
            if found:
                with self.lock:
                    self.records[found[1].lower().rstrip("."), found[2]].append(found[3].strip())

    def asked(self, pattern):
        with self.lock:
            return [q for q in self.queries if re.search(pattern, q[1])]

    # ---- answering

    def find(self, name, rtype):
        for rule in self.rules:
            said = rule(name, rtype)
            if said is not None:
                return [said] if isinstance(said, str) and said not in dns.rcode.Rcode.__members__ else said
        found = self.records.get((name, rtype))
        if found:
            return found
        exists = any(n == name or n.endswith("." + name) for n, _ in self.records)
        return [] if exists else "NXDOMAIN"

    def answer(self, question):
        reply = dns.message.make_response(question, recursion_available=True)
        asked = question.question[0]
        name, rtype = asked.name.to_text().lower().rstrip("."), dns.rdatatype.to_text(asked.rdtype)
        with self.lock:
            self.queries.append((time.monotonic(), name, rtype))
            said = self.find(name, rtype)
        if said is SILENT:
            return None
        if isinstance(said, str):
            reply.set_rcode(dns.rcode.from_text(said))
        elif said:
            reply.answer.append(dns.rrset.from_text(asked.name, self.ttl, "IN", rtype, *said))
        if not reply.answer and reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            zone = name.split(".", 1)[-1] if "." in name else name
            reply.authority.append(dns.rrset.from_text(zone + ".", self.ttl, "IN", "SOA", f"ns.{zone}. root.{zone}. 1 3600 600 86400 {self.ttl}"))
        return reply.to_wire()

    def serve(self):
        while True:
            try:
                packet, client = self.socket.recvfrom(4096)
                reply = self.answer(dns.message.from_wire(packet))
                if reply:
                    self.held.append((reply, client))
                if not self.hold or self.hold({q[1:] for q in self.queries}):
                    self.release()
            except OSError:
                return
            except Exception as e:  # noqa: BLE001 - a broken question is not the end
                print(f"name server: {e!r}")

    def release(self):
        """What was held, and everything from now on."""
        self.hold = None
        while self.held:
            self.socket.sendto(*self.held.pop(0))

    def stop(self):
        self.socket.close()
