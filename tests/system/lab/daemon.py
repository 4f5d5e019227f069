"""A sluiced of one's own: its configuration, its zone file, its log, and the command line that asks it."""
import json
import os
import pathlib
import re
import signal
import subprocess
import threading

from . import places
from .waiting import until

SANITIZER = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=99",
}
FAULTS = re.compile(r"ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed")


class CommandFailed(Exception):
    def __init__(self, arguments, ran):
        super().__init__(f"sluice {' '.join(arguments)}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}")
        self.exit, self.stdout, self.stderr = ran.returncode, ran.stdout, ran.stderr


class Daemon:
    def __init__(self, folder, config, files=None, environment=None, wrapper=()):
        """`files`: name -> text, written beside the configuration. `wrapper`: words before the command (unshare, prlimit)."""
        self.folder = pathlib.Path(folder)
        self.config = self.folder / "sluice.conf"
        self.environment = dict(os.environ, **SANITIZER, **(environment or {}))
        self.wrapper = list(wrapper)
        self.process, self.lines, self.read_to_end = None, [], False
        self.changed = threading.Condition()
        self.write(config, files)

    def write(self, config, files=None):
        self.config.write_text(config)
        for name, text in (files or {}).items():
            path = self.folder / name
            path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text)

    # ---- life

    def start(self, wait=True):
        since, self.read_to_end = self.mark(), False
        self.process = subprocess.Popen([*self.wrapper, places.program("sluiced"), "-c", str(self.config)], cwd=self.folder,
                                        env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read, args=(self.process,), daemon=True)
        self.reader.start()
        if wait:
            self.wait_log(r" info ready( |$)", what="the daemon is ready", since=since)
        return self

    def read(self, process):
        with open(self.folder / "sluiced.log", "ab") as copy:
            for line in process.stderr:
                copy.write(line)
                with self.changed:
                    self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                    self.changed.notify_all()
        process.wait()
        with self.changed:
            self.read_to_end = True
            self.changed.notify_all()

    def wait_log(self, pattern, timeout=places.PATIENCE, what=None, since=0):
        """The first line of the log from number `since` on that matches; fails when the daemon has ended without it."""
        found = []

        def look():
            found[:] = [line for line in self.lines[since:] if re.search(pattern, line)]
            return found or self.read_to_end

        with self.changed:
            self.changed.wait_for(look, timeout)
            if not found:
                raise AssertionError(f"no log line for {what or pattern!r} (exit {self.process.poll()}):\n" + "\n".join(self.lines[-30:]))
            return found[0]

    def mark(self):
        """A place in the log, for wait_log(since=)."""
        return len(self.lines)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=120.0):
        code = self.process.wait(timeout)
        self.reader.join(60)
        return code

    def stop(self, timeout=120.0):
        """Drains, and insists on a clean end: exit 0, nothing that a sanitizer said."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)
            self.process.wait(10)
            raise AssertionError("the daemon does not end after SIGTERM:\n" + "\n".join(self.lines[-30:])) from None
        self.check_faults()
        self.process = None
        assert code == 0, f"the daemon ended with {code}:\n" + "\n".join(self.lines[-30:])

    def check_faults(self):
        faults = [i for i, line in enumerate(self.lines) if FAULTS.search(line)]
        assert not faults, "a sanitizer or an assertion spoke:\n" + "\n".join(self.lines[faults[0]:faults[0] + 40])

    def kill(self):
        """kill -9, as a crash."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.wait()
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    # ---- the command line

    def run(self, *arguments, stdin=None, timeout=120):
        return subprocess.run([places.program("sluice"), "-c", str(self.config), *arguments], cwd=self.folder, env=self.environment,
                              input=stdin, capture_output=True, text=not isinstance(stdin, bytes), timeout=timeout)

    def cli(self, *arguments, stdin=None):
        """What the command prints; an exit other than 0 raises CommandFailed."""
        ran = self.run(*arguments, stdin=stdin)
        if ran.returncode != 0:
            raise CommandFailed(arguments, ran)
        return ran.stdout

    def rows(self, *arguments):
        """The objects that a command prints with --json."""
        ran = self.run(*arguments, "--json")
        if ran.returncode not in (0, 1) and not (ran.returncode == 3 and ran.stdout):  # 3 with rows: the DNS did not answer
            raise CommandFailed(arguments, ran)
        return [json.loads(line) for line in ran.stdout.splitlines()]

    def trace(self, *filters):
        return self.rows("trace", *filters)

    def events(self, trace_id):
        return self.rows("trace", "show", trace_id)

    def trace_of(self, trace_id, status=None, count=1, timeout=places.PATIENCE):
        """The rows of one message, by recipient, once `count` of them have `status` (None: have ended)."""
        rows = {}

        def look():
            rows.clear()
            rows.update((r["recipient"], r) for r in self.trace("--trace-id", trace_id))
            return sum(r["status"] == status if status else r["status"] != "Pending" for r in rows.values()) >= count

        until(look, timeout, what=lambda: f"{trace_id}: {status or 'ended'}: "
              f"{[(r['recipient'], r['status'], r['reply']) for r in rows.values()]}\n" + "\n".join(self.lines[-20:]))
        return rows
