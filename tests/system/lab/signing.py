"""Keys, signatures, and who judges them: dkimpy, and Perl's Mail::DKIM in a process of its own.

    key = Key("sender.test")
    zone_text += key.zone_line()
    judges = Judges(key)
    judges.signatures(judges_message)  # [("sender.test", "k", "pass")]
    judges.chain(message)              # "pass", "fail", "none"

Where both can judge they must agree."""
import base64
import re
import subprocess

from . import places

JUDGE = ["/usr/bin/perl", str(places.ROOT / "tests/unit/auth/judge.pl")]


def modules_missing():
    """What the judges lack here, or None."""
    try:
        import authres  # noqa: F401
        import dkim  # noqa: F401
        import nacl.encoding  # noqa: F401
    except ImportError as error:
        return str(error)
    ran = subprocess.run(["/usr/bin/perl", "-MMail::DKIM::ARC::Signer", "-MMail::SRS", "-e1"], capture_output=True)
    return None if ran.returncode == 0 else "Perl's Mail::DKIM or Mail::SRS"


def openssl(*words, given=b""):
    return subprocess.run(["openssl", *words], input=given, capture_output=True, check=True).stdout


def text_strings(text):
    """A TXT record as zone files write it."""
    return " ".join(f'"{text[at:at + 250]}"' for at in range(0, len(text), 250)) or '""'


class Key:
    def __init__(self, domain, selector="k", algorithm="rsa", bits=2048, tags=""):
        self.domain, self.selector, self.algorithm = domain, selector, algorithm
        self.pem = openssl("genrsa", str(bits)) if algorithm == "rsa" else openssl("genpkey", "-algorithm", "ed25519")
        public = openssl("pkey", "-pubout", "-outform", "DER", given=self.pem)
        if algorithm == "ed25519":
            self.private = base64.b64encode(openssl("pkey", "-outform", "DER", given=self.pem)[-32:])
            public = public[-32:]
        else:
            self.private = openssl("pkey", "-traditional", given=self.pem)
        self.record = f"v=DKIM1; k={algorithm}; {tags}p={base64.b64encode(public).decode()}"

    @property
    def name(self):
        return f"{self.selector}._domainkey.{self.domain}"

    def zone_line(self):
        return f"{self.name}. IN TXT {text_strings(self.record)}\n"

    def file(self, path):
        path.write_bytes(self.pem)
        path.chmod(0o600)
        return path

    def sign(self, message, form="relaxed/relaxed", **how):
        """The message with a signature by dkimpy in front."""
        import dkim
        head, body = form.encode().split(b"/")
        return dkim.DKIM(message).sign(self.selector.encode(), self.domain.encode(), self.private, canonicalize=(head, body),
                                       signature_algorithm=f"{self.algorithm}-sha256".encode(), **how) + message

    def seal(self, message, authserv):
        """The message with a seal by dkimpy; it has to have Authentication-Results of that name."""
        import dkim
        return b"".join(dkim.arc_sign(message, self.selector.encode(), self.domain.encode(), self.private, authserv.encode())) + message


class Judges:
    def __init__(self, *keys):
        self.texts = {key.name: key.record for key in keys}
        self.process = None

    def lookup(self, name, timeout=5):
        text = self.texts.get(name.decode().rstrip("."))
        return text.encode() if text else None

    def perl(self, verb, data):
        if not self.process:
            self.process = subprocess.Popen(JUDGE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace")
            for name, text in self.texts.items():
                assert self.answer(f"txt {name.encode().hex()} {text.encode().hex()}") == "ok"
        return self.answer(f"{verb} {data.hex()}")

    def answer(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def __del__(self):
        if self.process:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()

    def signatures(self, message):
        """(d=, s=, pass or fail) of each signature, from the top."""
        import dkim
        found = []
        judge = dkim.DKIM(message)
        fields = [value for name, value in judge.headers if name.lower() == b"dkim-signature"]
        others = self.perl("verify", message).split("\t") if fields else []
        assert len(others) == len(fields), (others, fields)
        for index, (field, other) in enumerate(zip(fields, others)):
            tags = {name.strip(): re.sub(rb"\s+", b"", value).decode() for name, _, value in (part.partition(b"=") for part in field.split(b";"))}
            try:
                result = "pass" if dkim.DKIM(message).verify(index, dnsfunc=self.lookup) else "fail"
            except dkim.DKIMException:
                result = "fail"
            if not tags[b"a"].startswith("ed25519"):  # which Mail::DKIM doesn't know
                assert other.startswith("pass") == (result == "pass"), (index, result, other)
            found.append((tags[b"d"], tags[b"s"], result))
        return found

    def chain(self, message):
        import dkim
        result, _, reason = dkim.arc_verify(message, dnsfunc=self.lookup)
        result = (result or b"fail").decode()
        other = self.perl("arc", message).split("|")
        assert (other[0] == "pass") == (result == "pass"), (result, reason, other)
        return result


def field_values(message, name):
    """The unfolded values of all fields of a name, from the top."""
    head = re.sub(rb"\r\n(?=[ \t])", b"", message.split(b"\r\n\r\n", 1)[0])
    return [m[1].decode("utf-8", "replace") for m in re.finditer(rb"(?mi)^" + name.encode() + rb":[ \t]*(.*?)\r?$", head)]
