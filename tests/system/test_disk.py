"""The disk fails: full, damaged, torn. What was acknowledged stays, and new mail gets an honest reply."""
import re
import subprocess

from lab.client import Refused, message
from lab.waiting import until
from lab.world import world_inside

ALICE, BOB = "alice@contoso.test", "bob@fabrikam.test"


def segments(world):
    return sorted(p for p in (world.folder / "state/spool").rglob("*") if p.is_file() and p.stat().st_size > 4096)


def full_disk(folder):
    """The state stands on a tmpfs of 300 MB."""
    state = folder / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m,mode=755", "tmpfs", state], check=True)
    with world_inside(folder) as world:
        host = world.host("fabrikam.test", script={"rcpt": "451 4.2.1 wait"})
        world.daemon.start()
        accepted, refusal = [], None
        body = (b"x" * 76 + b"\r\n") * 26_000  # 2 MB
        with world.connector() as client:
            while refusal is None and len(accepted) < 400:
                try:
                    accepted.append(client.send(ALICE, f"r{len(accepted)}@fabrikam.test", message(body=body)))
                except Refused as e:
                    refusal = e.reply
                    client.expect("RSET")
        assert refusal and refusal.startswith("452 4.3.1"), (refusal, len(accepted))
        assert len(accepted) > 20
        host.script.clear()
        world.daemon.cli("queue", "retry", "--all")
        world.receiver.wait(lambda: len(host.messages) == len(accepted), timeout=120, what="what was accepted is delivered although the disk is full")
        assert all(m.data.endswith(body) for m in host.messages)

        def again():
            try:
                with world.connector() as client:
                    return client.send(ALICE, BOB, message(body=body))
            except Refused:
                return None

        until(again, timeout=60, what="room again")
        world.daemon.stop()
        ran = world.daemon.run("spool", "check")
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_full_disk(in_namespace):
    """452 4.3.1, nothing corrupt, deliveries go on, and with room again mail is taken again."""
    in_namespace(full_disk)


def waiting(world, count=20):
    """So many messages wait in the spool of a daemon that was killed."""
    world.rewrite(delivery="first-retry = 1s  max-retry = 1s")
    world.daemon.start()
    ids = []
    with world.connector() as client:
        for i in range(count):
            ids.append(client.send(ALICE, f"r{i}@fabrikam.test", message(subject=f"number {i}", body=(f"mark {i} ".encode() * 8 + b"\r\n") * 50)))
    world.daemon.kill()
    return ids


def test_a_flipped_bit_is_found_reported_and_costs_one_message(world):
    ids = waiting(world)
    place = next(p for p in segments(world) if b"mark 7 " in p.read_bytes())
    data = bytearray(place.read_bytes())
    at = data.index(b"mark 7 ") + 200
    data[at] ^= 0x10
    place.write_bytes(data)
    ran = world.daemon.run("spool", "check")
    assert ran.returncode == 1 and place.name in ran.stdout and re.search(r"\b\d{3,}\b", ran.stdout), ran.stdout + ran.stderr
    host = world.host("fabrikam.test")
    world.daemon.start()
    assert any(place.name in line and "damage" in line for line in world.daemon.lines) or \
        world.daemon.wait_log("damage|corrupt", what="the damage in the log")
    for i, trace_id in enumerate(ids):
        if i != 7:
            assert next(iter(world.daemon.trace_of(trace_id).values()))["status"] == "Delivered"
    subjects = {m.header("Subject") for m in host.messages}
    assert subjects >= {f"number {i}" for i in range(20) if i != 7}
    assert not [m for m in host.messages if m.header("Subject") == "number 7" and not m.data.endswith((b"mark 7 " * 8 + b"\r\n") * 50)], "damaged bytes were sent"


def test_a_torn_tail_is_cut(world):
    """The last commit was being written when the power went: what comes before it is whole."""
    ids = waiting(world)
    place = max(segments(world), key=lambda p: p.read_bytes().rfind(b"mark 19 "))
    data = bytearray(place.read_bytes())
    start = data.rindex(b"Subject: number 19")
    end = len(data.rstrip(b"\0"))
    data[start:end] = b"\0" * (end - start)
    place.write_bytes(data)
    host = world.host("fabrikam.test")
    world.daemon.start()
    for trace_id in ids[:19]:
        assert next(iter(world.daemon.trace_of(trace_id).values()))["status"] == "Delivered"
    assert len(host.messages) == 19
    with world.connector() as client:
        client.send(ALICE, BOB, message(subject="after"))
    world.receiver.wait(lambda: len(host.messages) == 20)


def test_garbage_in_the_spool_folder_is_not_mail(world):
    ids = waiting(world, 3)
    (world.folder / "state/spool/core").write_bytes(b"garbage" * 1000)
    host = world.host("fabrikam.test")
    world.daemon.start()
    for trace_id in ids:
        assert next(iter(world.daemon.trace_of(trace_id).values()))["status"] == "Delivered"
    assert len(host.messages) == 3


def test_a_trace_store_that_is_damaged_stops_no_mail(world):
    world.start("fabrikam.test")
    with world.connector() as client:
        world.daemon.trace_of(client.send(ALICE, BOB, message()))
    world.daemon.stop()
    for path in (world.folder / "state/trace").iterdir():
        path.write_bytes(b"this is no database" * 500)
    world.daemon.start()
    with world.connector() as client:
        trace_id = client.send(ALICE, BOB, message())
    assert world.daemon.trace_of(trace_id)[BOB]["status"] == "Delivered"
