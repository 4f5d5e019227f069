import pathlib
import subprocess
import sys
import tempfile
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from lab import peers, places  # noqa: E402
from lab.waiting import until  # noqa: E402
from lab.world import World  # noqa: E402


def pytest_collection_modifyitems(items):
    if not pathlib.Path(places.program("sluiced")).exists():
        pytest.exit(f"no daemon: {places.program('sluiced')} (run `make test`)", returncode=1)


@pytest.fixture(autouse=True)
def one_day():
    """A restriction until the next day, a suspicion, a selector that is a date and a day's file end at midnight UTC: in its last minute a
    test waits for the day that it will be in."""
    day, second = divmod(time.time(), 86400)
    if second > 86400 - 60:
        until(lambda: time.time() // 86400 > day, timeout=120, what="midnight UTC")


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="sluice-") as path:
        yield pathlib.Path(path)


@pytest.fixture
def make_world(folder, request):
    """Worlds that end with the test: each daemon must drain, exit 0 and leave no fault."""
    worlds = []

    def make(**settings):
        place = folder / f"world{len(worlds)}"
        place.mkdir()
        worlds.append(World(place, **settings))
        return worlds[-1]

    yield make
    faults = []
    for world in worlds:
        try:
            world.close()
        except AssertionError as e:
            faults.append(str(e))
    failed = getattr(request.node, "report_call", None)
    if faults or (failed and failed.failed):
        for world in worlds:
            log = world.folder / "sluiced.log"
            if log.exists():
                print(f"---- {log.name}, last lines\n" + "\n".join(log.read_text(errors="replace").splitlines()[-60:]))
    assert not faults, "\n".join(faults)


@pytest.fixture
def world(make_world):
    """The usual world, not yet started."""
    return make_world()


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.report_call = outcome.get_result()


def missing(reason):
    """Skips; in CI that is a failure."""
    if places.CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def vectors():
    if not places.VECTORS.is_dir():
        missing(f"no public vectors at {places.VECTORS}")
    return places.VECTORS


@pytest.fixture
def in_namespace(folder):
    """Runs a function of the test's module inside a network namespace of its own: in_namespace(function) calls
    function(folder) there, with lo up, in a process that takes its servers with it when it ends."""

    def run(function, timeout=600):
        words = peers.namespace_words()
        if words is None:
            missing("network and mount namespaces are forbidden here")
        code = f"""import pathlib, subprocess, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
import {function.__module__} as tests
tests.{function.__name__}(pathlib.Path({str(folder)!r}))
"""
        try:
            ran = subprocess.run([*words, sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout, errors="replace")
        finally:  # what the servers' own users left is ours again
            subprocess.run([*words, "chown", "-R", "0:0", folder], check=True)
        assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-5000:]

    return run
