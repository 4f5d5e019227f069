"""Other people's mail servers, unpacked by tools/setup below build-peers/, and the namespace in which they run.

`enter_namespace` gives a test a network of its own (root: unshare -n; else a user namespace with many ids), in which
documentation addresses can stand on lo and port 25 is free."""
import os
import subprocess

from .places import PEERS

POSTFIX = PEERS / "postfix"
OPENSMTPD = PEERS / "opensmtpd"


def postfix_environment():
    return dict(os.environ, LD_LIBRARY_PATH=str(POSTFIX / "usr/lib/postfix"))


def postfix_program(name):
    """The words that run one of Postfix's programs; None when it is not unpacked."""
    path = POSTFIX / "usr/sbin" / name
    return ["env", f"LD_LIBRARY_PATH={POSTFIX / 'usr/lib/postfix'}", str(path)] if path.exists() else None


def namespace_words():
    """The words before a command that give it a network namespace; None when the system forbids them."""
    words = ["unshare", "-n", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-n", "-m", "--map-auto"]
    probe = subprocess.run([*words, "true"], capture_output=True)
    return words if probe.returncode == 0 else None
