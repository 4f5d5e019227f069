"""Where things are: the programs under test, the public vectors, free ports."""
import os
import pathlib
import random
import socket

ROOT = pathlib.Path(__file__).resolve().parents[3]
VECTORS = ROOT.parent / "shared" / "vectors"
CI = os.environ.get("CI") == "true"
DRILL = os.environ.get("SLUICE_DRILL") == "1"
PEERS = ROOT / "build-peers"
PATIENCE = float(os.environ.get("SLUICE_PATIENCE", 60))  # seconds that a wait takes to fail; a slow machine needs it


def build_folder():
    name = os.environ.get("SLUICE_BUILD")
    if name:
        return ROOT / name
    return next((ROOT / n for n in ("build-asan", "build") if (ROOT / n / "src/cmd").is_dir()), ROOT / "build")


def program(name):
    return str(build_folder() / "src" / "cmd" / name)


given = set()


def free_port(*addresses):
    """A port that is free on all the addresses, outside the range from which the kernel takes ports of its own accord, and that
    nobody in this process was given before: who asks for several listens to none of them yet."""
    while True:
        port = random.choice([p for p in range(12000, 30000) if p not in given])
        given.add(port)
        try:
            for address in addresses or ("127.0.0.1",):
                with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
                    s.bind((address, port))
            return port
        except OSError:
            continue
