"""From root to `user`: folders and files that do and don't fit, and the packaged unit's way, which never is root."""
import os
import pathlib
import pwd
import re
import shutil
import socket as sockets
import subprocess

from lab import places
from lab.client import message
from lab.world import World

USER = "mail"
ALICE, BOB = "alice@contoso.test", "bob@fabrikam.test"

# A process that has changed its user can't be traced, as the leak check of ASan would.
NO_LEAK_CHECK = {"ASAN_OPTIONS": "detect_leaks=0:exitcode=99:detect_stack_use_after_return=0"}


def test_root_becomes_the_user(in_namespace):
    in_namespace(becomes_the_user)


def becomes_the_user(folder):
    world = privileged(folder)
    key = folder / "tls.key"
    (folder / "state").mkdir()  # as systemd or an administrator may have made it: root's
    try:
        key.chmod(0o600)
        text = refused(world, 78)
        assert re.search(rf"can't read {key}: Permission denied", text), text
        assert f"user {USER}, as whom a reload reads it" in text and f"chgrp {USER} FILE; chmod 640 FILE" in text, text
        checked = world.daemon.run("check")
        assert checked.returncode == 1 and f"chgrp {USER} FILE; chmod 640 FILE" in checked.stdout, checked

        shutil.chown(key, group=USER)
        key.chmod(0o640)
        assert world.daemon.run("check").returncode == 0
        world.start()
        runs_as_the_user(world)
        mail_flows(world)
        world.rewrite(extra=f'user = "{USER}"\nlog-level = debug')
        assert "the new configuration is in use" in world.daemon.cli("reload")
        mail_flows(world)
        second_daemon(world)
        world.check_pools()
    finally:
        world.close()
    of_root = [p for p in [folder / "state", *(folder / "state").rglob("*")] if p.stat().st_uid != pwd.getpwnam(USER).pw_uid]
    assert not of_root, of_root


def second_daemon(world):
    """The same state folder, another port: the refusal says whose it is and what to do."""
    other = world.folder / "other.conf"
    other.write_text(re.sub(r"listener .*", "", world.config()))
    ran = subprocess.run([places.program("sluiced"), "-c", other], capture_output=True, text=True, timeout=60, env=world.daemon.environment)
    assert ran.returncode == 69, ran
    assert f"{world.folder}/state: " in ran.stderr and f"in use by process {world.daemon.pid}: stop that daemon first" in ran.stderr, ran.stderr


def test_folders_of_others_are_left_alone(in_namespace):
    in_namespace(folders_of_others)


def folders_of_others(folder):
    world = privileged(folder)
    readable(folder / "tls.key")
    try:
        (folder / "state").mkdir()
        (folder / "state/accounts").write_text("not ours\n")
        text = refused(world, 69)
        assert f"user {USER} can't write {folder}/state (Permission denied): chown -R {USER}: {folder}/state" in text, text
        assert (folder / "state").stat().st_uid == 0

        (folder / "state/accounts").unlink()
        (folder / "state/spool").mkdir()
        (folder / "state/spool/lock").touch(0o600)  # a run as root has left it
        assert f"user {USER} can't write {folder}/state/spool/lock" in refused(world, 69)

        shutil.rmtree(folder / "state")
        for name in ("spool", "trace", "keys", "identity", "limits"):  # all that is ours, as root has made it
            (folder / "state" / name).mkdir(parents=True)
        for name in ("dns-ranges", "dns-published"):  # of commands, before the first start
            (folder / "state" / name).touch()
        for name in ("watch.json", "patterns"):
            (folder / "state" / name).touch(0o600)
            assert f"user {USER} can't read {folder}/state/{name}" in refused(world, 69)
            (folder / "state" / name).unlink()
        world.start()
        mail_flows(world)
        world.daemon.stop()

        shutil.rmtree(folder / "state")
        (folder / "elsewhere").mkdir()
        socket(world, folder / "elsewhere/api.sock")
        assert f"user {USER} can't make the API's socket in {folder}/elsewhere" in refused(world, 69)
        assert (folder / "elsewhere").stat().st_uid == 0

        (folder / "sluice").mkdir()  # named as /run/sluice is
        socket(world, folder / "sluice/api.sock")
        world.start()
        mail_flows(world)
    finally:
        world.close()


def test_the_unit_never_is_root(in_namespace):
    in_namespace(as_the_unit)


def as_the_unit(folder):
    """Type=, User=, AmbientCapabilities= and StateDirectory= of packaging/sluice.service.in."""
    unit = (places.ROOT / "packaging/sluice.service.in").read_text()
    for line in ("Type=notify", "User=sluice", "AmbientCapabilities=CAP_NET_BIND_SERVICE", "StateDirectory=sluice"):
        assert f"\n{line}\n" in unit
    world = privileged(folder)
    readable(folder / "tls.key")
    (folder / "state").mkdir()
    shutil.chown(folder / "state", USER, USER)
    world.daemon.wrapper = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--no-new-privs", "--inh-caps", "-all,+net_bind_service",
                            "--ambient-caps", "+net_bind_service", "--bounding-set", "-all,+net_bind_service", "--"]
    manager = unix_datagrams(folder / "notify")
    world.daemon.environment["NOTIFY_SOCKET"] = str(folder / "notify")
    try:
        world.start()
        assert manager.recv(100) == b"READY=1"
        assert world.daemon.run("status").returncode == 0
        runs_as_the_user(world)
        mail_flows(world)
        assert "the new configuration is in use" in world.daemon.cli("reload")
        mail_flows(world)
        world.daemon.stop()
        assert manager.recv(100) == b"STOPPING=1"
        manager.close()
        manager = unix_datagrams("\0sluice-notify")  # an abstract name
        world.daemon.environment["NOTIFY_SOCKET"] = "@sluice-notify"
        world.daemon.start()
        assert manager.recv(100) == b"READY=1"
    finally:
        manager.close()
        world.close()


# ---- what the tests share

def unix_datagrams(path):
    s = sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM)
    s.settimeout(20)
    s.bind(str(path))
    if not str(path).startswith("\0"):
        os.chmod(path, 0o777)
    return s



def privileged(folder):
    """A world with port 25, whose user can reach its folder and the programs."""
    folder.chmod(0o755)
    programs = folder / "build/src/cmd"
    programs.mkdir(parents=True)
    for name in ("sluiced", "sluice"):
        shutil.copy(places.program(name), programs)
    os.environ["SLUICE_BUILD"] = str(folder / "build")
    world = World(folder, extra=f'user = "{USER}"')
    world.port = 25
    world.daemon.environment.update(NO_LEAK_CHECK)
    world.daemon.write(world.config())
    return world


def readable(path):
    shutil.chown(path, group=USER)
    path.chmod(0o640)


def socket(world, path):
    world.daemon.write(world.config().replace('socket = "api.sock"', f'socket = "{path}"'))


def refused(world, code):
    """Starts it; it must end with this code. What it said."""
    ran = subprocess.run([places.program("sluiced"), "-c", world.daemon.config], capture_output=True, text=True, timeout=60, env=world.daemon.environment)
    assert ran.returncode == code, ran
    return ran.stderr


def runs_as_the_user(world):
    status = pathlib.Path(f"/proc/{world.daemon.pid}/status").read_text()
    uid = str(pwd.getpwnam(USER).pw_uid)
    assert re.search(r"^Uid:\s+(.*)", status, re.M)[1].split() == [uid] * 4, status


def mail_flows(world):
    with world.connector() as client:
        trace_id = client.send(ALICE, BOB, message())
    world.daemon.trace_of(trace_id, "Delivered")
