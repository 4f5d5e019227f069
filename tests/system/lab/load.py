"""Clients that send as fast as the daemon takes, and remember which messages it has acknowledged."""
import threading

from .client import Client, Refused, message


class Load:
    """`sessions` threads, each with messages of its own numbers. `acknowledged`: subject -> trace id; `asked` every subject that was
    started. Ends by stop(), or by itself when the daemon goes."""

    def __init__(self, world, sessions=8, size=2000, recipients=("r@fabrikam.test", "r@tailspin.test"), tag="m"):
        self.world, self.size, self.recipients, self.tag = world, size, recipients, tag
        self.acknowledged, self.asked = {}, set()
        self.ending = threading.Event()
        self.changed = threading.Condition()
        self.refusals = []
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(sessions)]
        for t in self.threads:
            t.start()

    def run(self, number):
        count = 0
        try:
            with Client("127.0.0.1", self.world.port, source="127.0.3.1") as client:
                while not self.ending.is_set():
                    subject = f"{self.tag}-{number}-{count}"
                    count += 1
                    self.asked.add(subject)
                    try:
                        trace_id = client.send("alice@contoso.test", self.recipients, message(subject=subject, body=b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * (self.size // 72)))
                    except Refused as e:
                        self.refusals.append(e.reply)
                        if not e.reply or e.reply.startswith("421"):
                            return
                        client.expect("RSET")
                        continue
                    with self.changed:
                        self.acknowledged[subject] = trace_id
                        self.changed.notify_all()
        except (OSError, AssertionError, Refused):
            return  # the daemon is gone

    def wait(self, count, timeout=90.0):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.acknowledged) >= count, timeout), f"{len(self.acknowledged)} acknowledged, {self.refusals[:3]}"

    def join(self):
        for t in self.threads:
            t.join(90)

    def stop(self):
        self.ending.set()
        self.join()
