"""A milter on Debian's libmilter (python3-milter), as a process of its own: milter_program.py SOCKET.

It does what a message's `X-Do` fields say, one order each, and what HELO and recipients are called; what it is told goes to its standard
output, a JSON object a line."""
import json
import sys

import Milter

FLAGS = Milter.ADDHDRS | Milter.CHGBODY | Milter.ADDRCPT | Milter.DELRCPT | Milter.CHGHDRS | Milter.QUARANTINE | Milter.CHGFROM


def tell(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


@Milter.rejected_recipients
class Obedient(Milter.Base):
    def macros(self, *names):
        return {name: self.getsymval(name) for name in names}

    def connect(self, hostname, family, address):
        tell(event="connect", hostname=hostname, address=address[0] if isinstance(address, tuple) else address,
             resolve=self.getsymval("{client_resolve}"), macros=self.macros("j", "{daemon_name}", "{client_addr}", "v"))
        return Milter.CONTINUE

    def hello(self, name):
        tell(event="helo", name=name, macros=self.macros("{tls_version}", "{cipher}"))
        if name.startswith("bad."):
            self.setreply("554", "5.7.1", "Your name is bad")
            return Milter.REJECT
        return Milter.CONTINUE

    def envfrom(self, sender, *parameters):
        self.orders, self.fields, self.size = [], [], 0
        tell(event="mail", sender=sender, parameters=parameters, macros=self.macros("i", "{auth_authen}", "{auth_type}", "{mail_addr}"))
        if sender.startswith("<later"):
            return Milter.TEMPFAIL
        return Milter.CONTINUE

    def envrcpt(self, recipient, *parameters):
        if self.getsymval("{rcpt_mailer}") == "error":
            tell(event="refused", recipient=recipient, parameters=parameters, macros=self.macros("i", "{rcpt_addr}", "{rcpt_host}"))
            return Milter.REJECT
        tell(event="rcpt", recipient=recipient, parameters=parameters, macros=self.macros("i", "{rcpt_addr}"))
        if recipient.startswith("<nobody"):
            self.setreply("550", "5.1.1", "No such user, says the milter")
            return Milter.REJECT
        return Milter.DISCARD if recipient.startswith("<hole") else Milter.CONTINUE

    def header(self, name, value):
        self.fields.append([name, value])
        if name.lower() == "x-do":
            self.orders.append(value)
        return Milter.CONTINUE

    def body(self, chunk):
        self.size += len(chunk)
        return Milter.CONTINUE

    def abort(self):
        tell(event="abort")
        return Milter.CONTINUE

    def eom(self):
        tell(event="message", fields=self.fields, size=self.size, macros=self.macros("i"))
        for order in self.orders:
            verb, _, rest = order.partition(" ")
            answer = getattr(self, "do_" + verb)(rest)
            if answer is not None:
                return answer
        return Milter.CONTINUE

    def do_reject(self, text):
        if text:
            self.setreply("550", "5.7.1", *text.split("|"))
        return Milter.REJECT

    def do_tempfail(self, _):
        return Milter.TEMPFAIL

    def do_discard(self, _):
        return Milter.DISCARD

    def do_accept(self, _):
        return Milter.ACCEPT

    def do_quarantine(self, why):
        self.quarantine(why)

    def do_add(self, text):
        name, value = text.split("=", 1)
        self.addheader(name, value)

    def do_insert(self, text):
        name, value = text.split("=", 1)
        self.addheader(name, value, 1)

    def do_change(self, text):
        name, number, value = text.split("=", 2)
        self.chgheader(name, int(number), value)

    def do_body(self, text):
        self.replacebody(text.encode().replace(b"|", b"\r\n") + b"\r\n")

    def do_bigbody(self, size):
        line = b"x" * 76 + b"\r\n"
        whole = line * (int(size) // len(line))
        for at in range(0, len(whole), 60000):
            self.replacebody(whole[at:at + 60000])
            self.progress()

    def do_to(self, address):
        self.addrcpt(address)

    def do_notto(self, address):
        self.delrcpt(address)

    def do_from(self, address):
        self.chgfrom(address)


if __name__ == "__main__":
    Milter.factory = Obedient
    Milter.set_flags(FLAGS)
    tell(event="starting")
    Milter.runmilter("obedient", sys.argv[1], 240)
