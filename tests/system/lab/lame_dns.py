"""A DNS server in front of another one that answers some questions as bad servers do.

    lame = LameDns(address, port, server)    # what it does not spoil is asked of `server` (a ZoneServer)
    lame.spoil = lambda name, kind: "servfail" if kind == "PTR" else None
"""
import contextlib
import socket
import struct
import threading

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset


def rcode(value):
    def answer(query, _tcp):
        reply = dns.message.make_response(query)
        reply.set_rcode(value)
        return reply
    return answer


def referral(zone, server, glue=None):
    """To somebody else, for a zone that does not hold the name."""
    def answer(query, _tcp):
        reply = dns.message.make_response(query)
        reply.authority.append(dns.rrset.from_text(zone, 60, "IN", "NS", server))
        if glue:
            reply.additional.append(dns.rrset.from_text(server, 60, "IN", "A", glue))
        return reply
    return answer


def truncated(query, _tcp):
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.TC | dns.flags.AA
    return reply


def other_id(query, _tcp):
    reply = dns.message.make_response(query)
    reply.id = (query.id + 1) & 0xffff
    return reply


def aliases_in_a_loop(query, _tcp):
    name = query.question[0].name
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA
    reply.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", name.to_text()))
    return reply


SILENT = b""
# An answer's maker gets (query, tcp) and returns a message, bytes, SILENT, or None: ask the right server.
ANSWERS = {
    "servfail": rcode(dns.rcode.SERVFAIL),
    "refused": rcode(dns.rcode.REFUSED),
    "formerr": rcode(dns.rcode.FORMERR),
    "notimp": rcode(dns.rcode.NOTIMP),
    "silent": lambda query, tcp: SILENT,
    "upward referral": referral(".", "ns.root.invalid."),
    "referral to another's zone": referral("example.org.", "ns.example.org.", "127.0.53.9"),
    "another id": other_id,
    "garbage": lambda query, tcp: query.to_wire()[:2] + b"\xff" * 40,
    "a header alone": lambda query, tcp: struct.pack("!HHHHHH", query.id, 0x8400, 1, 1, 0, 0),
    "truncated, no TCP": lambda query, tcp: SILENT if tcp else truncated(query, tcp),
    "truncated": lambda query, tcp: None if tcp else truncated(query, tcp),
    "alias of itself": aliases_in_a_loop,
}


class LameDns:
    def __init__(self, address, port, server):
        self.address, self.port, self.server = address, port, server
        self.spoil = lambda name, kind: None
        self.spoilt = 0
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for s in (self.udp, self.tcp):
            s.bind((address, port))
        self.tcp.listen(64)

    def start(self):
        for loop in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=loop, daemon=True).start()
        return self

    def answer(self, wire, tcp):
        query = dns.message.from_wire(wire)
        question = query.question[0]
        what = self.spoil(question.name.to_text(True).lower(), dns.rdatatype.to_text(question.rdtype))
        reply = None
        if what:
            self.spoilt += 1
            reply = ANSWERS[what](query, tcp)
        if reply is None:
            how = dns.query.tcp if tcp else dns.query.udp
            reply = how(query, self.server.address, port=self.server.port, timeout=10)
        return reply if isinstance(reply, bytes) else reply.to_wire()

    def serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                wire, peer = self.udp.recvfrom(65535)
                threading.Thread(target=self.one_udp, args=(wire, peer), daemon=True).start()

    def one_udp(self, wire, peer):
        with contextlib.suppress(OSError, dns.exception.DNSException):
            reply = self.answer(wire, False)
            if reply != SILENT:
                self.udp.sendto(reply, peer)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.tcp.accept()
                threading.Thread(target=self.one_tcp, args=(connection,), daemon=True).start()

    def one_tcp(self, connection):
        with connection, contextlib.suppress(OSError, dns.exception.DNSException), connection.makefile("rb") as stream:
            while head := stream.read(2):
                reply = self.answer(stream.read(struct.unpack("!H", head)[0]), True)
                if reply != SILENT:
                    connection.sendall(struct.pack("!H", len(reply)) + reply)

    def stop(self):
        for s in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()
