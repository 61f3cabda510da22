"""One of our programs, started for real: its log, its listeners, its end."""

import http.client
import json
import re
import signal
import subprocess

from tests.harness.place import build_directory, die_with_parent, wait_for

_PORT = rb"\s.*?\b(?:port=|address=[\d.]+:)(\d+)"
PUBLIC = rb"\s(?:public_listener|listening)" + _PORT
ADMIN = rb"\sadmin_listens" + _PORT
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:")


class Program:
    """Starts `name` of the build directory with a configuration file and
    --set overrides. The log of all its lives is one file."""

    def __init__(self, name, config, log, sets=None, environ=None):
        self.name = name
        self.config = config
        self.log = log
        self.sets = dict(sets or {})
        self.environ = environ
        self.within = []  # what its command begins with, as `ip netns exec`
        self.process = None
        self.log_start = 0  # where the log of this life begins

    def command(self, *extra):
        sets = [a for k, v in self.sets.items() for a in ("--set", f"{k}={v}")]
        return [*self.within, build_directory() / self.name,
                "-c", self.config, *sets, *extra]

    def start(self):
        self.log.touch()
        self.log_start = self.log.stat().st_size
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env=self.environ, cwd=self.log.parent,
                start_new_session=True, preexec_fn=die_with_parent)
        return self

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def said(self):
        """What this life has logged so far."""
        with self.log.open("rb") as log:
            log.seek(self.log_start)
            return log.read()

    def wait_log(self, pattern, timeout_s=20):
        """Waits until a line of this life matches; returns the match."""
        compiled = re.compile(pattern if isinstance(pattern, bytes)
                              else pattern.encode())

        def look():
            match = compiled.search(self.said())
            if match is None and not self.running():
                raise RuntimeError(f"{self.name} ended with "
                                   f"{self.process.returncode}:\n{self.tail()}")
            return match
        return wait_for(f"{self.name} logs {pattern!r}", look, timeout_s)

    def bound(self, pattern):
        """The port that it logs to have bound."""
        return int(self.wait_log(pattern).group(1))

    def check_running(self):
        """True, or RuntimeError with the end of the log."""
        if not self.running():
            raise RuntimeError(f"{self.name} ended with "
                               f"{self.process.returncode}:\n{self.tail()}")
        return True

    def kill9(self):
        self.process.kill()
        self.process.wait(10)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout_s=30, code=0):
        """SIGTERM, and the exit code has to be `code` (None = any)."""
        if self.process is None:
            return
        if self.running():
            self.terminate()
        try:
            got = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise AssertionError(
                f"{self.name} did not end within {timeout_s} s of SIGTERM:\n"
                f"{self.tail()}") from None
        self.process = None
        if code is not None and got != code:
            raise AssertionError(f"{self.name} ended with {got}, not {code}:\n"
                                 f"{self.tail()}")

    def end(self):
        """However it is: away with it."""
        if self.running():
            self.thaw()
            self.kill9()
        self.process = None

    def tail(self, lines=40):
        text = self.log.read_text(errors="replace") if self.log.exists() \
            else ""
        return "\n".join(text.split("\n")[-lines:])

    def sanitizer_report(self):
        """What ASan or UBSan wrote into the log, or ''."""
        text = self.log.read_text(errors="replace") if self.log.exists() \
            else ""
        match = SANITIZER.search(text)
        return text[max(0, match.start() - 200):match.start() + 4000] \
            if match else ""


class Served(Program):
    """A program with an admin listener: health and metrics."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.address = "127.0.0.1"
        self.admin_port = 0

    def get(self, path, port=None, timeout_s=5):
        """(status, body) of one GET on the admin listener."""
        connection = http.client.HTTPConnection(
            self.address, port or self.admin_port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def health(self):
        return json.loads(self.get("/health")[1])

    def ready(self):
        try:
            return self.get("/health/ready")[0] == 200
        except OSError:
            return False

    def wait_ready(self, timeout_s=30):
        wait_for(f"{self.name} is ready",
                 lambda: self.check_running() and self.ready(), timeout_s)
        return self

    def metrics(self):
        """{name or name{labels}: value} of /metrics."""
        values = {}
        for line in self.get("/metrics")[1].decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                values[name] = float(value)
        return values

    def wait_metric(self, name, at_least, timeout_s=20):
        return wait_for(f"{self.name}: {name} >= {at_least}",
                        lambda: self.metrics().get(name, 0) >= at_least,
                        timeout_s, 0.05)
