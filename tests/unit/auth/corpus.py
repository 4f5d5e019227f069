"""What the scripts beside it share: where the public test data is, its messages, and how a probe is asked."""
import json
import os
import pathlib
import subprocess

VECTORS = pathlib.Path(__file__).resolve().parents[3].parent / "shared" / "vectors"
CI = os.environ.get("CI") == "true"


def missing(what):
    """Debian's modules are part of the set-up, so in CI their lack is a failure."""
    if CI:
        raise SystemExit(f"{what}: tools/setup test installs it")
    return f"skipped: {what}"


def need(folder):
    if not folder.is_dir():
        print(f"{folder} is not there: the public test data is not run")
        raise SystemExit(1 if CI else 77)


def word(value):
    value = value.encode() if isinstance(value, str) else value
    return value.hex() or "-"


def ask(program, commands):
    """Each command is a list: bytes and texts in it are sent in hex, its first word and ("plain", x) as they are."""
    lines = []
    for command, *rest in commands:
        lines.append(" ".join([command] + [part[1] if isinstance(part, tuple) else word(part) for part in rest]) + "\n")
    ran = subprocess.run(program, input="".join(lines), capture_output=True, text=True, errors="replace")
    if ran.returncode != 0:
        print(ran.stdout[-300:], ran.stderr[-3000:])
        raise SystemExit(1)
    answers = ran.stdout.split("\n")[:-1]
    assert len(answers) == len(lines), (len(answers), len(lines))
    return answers


def jsonl(path):
    return [json.loads(line) for line in (VECTORS / path).read_text().splitlines() if line.strip()]


def crlf(data):
    data = data.encode() if isinstance(data, str) else data
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def messages():
    """The messages of all suites, by name."""
    return {str(path.relative_to(VECTORS)): crlf(path.read_bytes()) for folder in ("mime", "dsn", "idn/smtputf8", "dkim")
            for path in sorted((VECTORS / folder).rglob("*")) if path.is_file() and path.suffix in (".eml", ".msg", ".message")}
