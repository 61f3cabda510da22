"""Plans of requests, each with the time it is due, and what became of them.
The sending is done by bench-load (load.c), in an open loop."""

import json
import struct
import subprocess
import time
from collections import Counter, defaultdict

from tests.harness.place import build_directory, die_with_parent
from tests.harness.settings import CLIENTS
from tests.harness.upstream import payment_id, phone
from tests.harness.wire import callback_body, callback_path

SHORTCODE = "174379"
RESULT = struct.Struct("<qiiii")
BODY = ('{"msisdn":"%s","amount":%d,"reference":"B%d","shortcode":"%s",'
        '"priority":"%s","metadata":{"note":"' + "x" * 100 + '"}}')


class Plan:
    """Requests to one port. Those that ask for payments have phones and keys
    that no other request of the world has."""

    def __init__(self, world, client="shop"):
        self.world = world
        self.client = client
        self.requests = []  # (due in s, kind, bytes, payment asked for)

    def raw(self, due_s, kind, method, path, body="", **headers):
        """Any request."""
        head = "".join(f"{k.replace('_', '-')}: {v}\r\n"
                       for k, v in headers.items())
        self.requests.append((due_s, kind, (
            f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{head}"
            f"Content-Length: {len(body)}\r\n\r\n{body}").encode(), None))

    def pay(self, due_s, kind="pay", priority="normal", shortcode=SHORTCODE):
        """POST of a new payment; returns its id and key."""
        n = self.world.next_number()
        key = f"bench-{n}"
        ident = payment_id(self.client, key)
        asked = (phone(n), 1 + n % 1000)
        body = BODY % (*asked, n, shortcode, priority)
        self.raw(due_s, kind, "POST", "/v1/payments", body,
                 Authorization=f"Bearer {CLIENTS[self.client]['key']}",
                 Idempotency_Key=key, Content_Type="application/json")
        self.requests[-1] = (*self.requests[-1][:3], (ident, *asked))
        return ident

    def again(self, due_s, kind, n):
        """The n-th request of the plan once more, byte for byte."""
        self.requests.append((due_s, kind, self.requests[n][2], None))

    def get(self, due_s, ident, kind="get", query=""):
        self.raw(due_s, kind, "GET", f"/v1/payments/{ident}{query}",
                 Authorization=f"Bearer {CLIENTS[self.client]['key']}")

    def callback(self, due_s, ident, kind="callback"):
        """The provider's: that its first attempt was cancelled."""
        body = callback_body("ws_CO_bench", 1032, "cancelled").decode()
        self.raw(due_s, kind, "POST", callback_path(ident, 1), body,
                 Content_Type="application/json")

    def steady(self, rate, seconds, **more):
        """Payments at a constant rate."""
        return [self.pay(n / rate, **more) for n in range(int(rate * seconds))]

    def start(self, connections=64, port=None, timeout_s=60):
        """Sends it in the background; Run.wait() has the results."""
        self.requests.sort(key=lambda r: r[0])
        return Run(self, connections, port or self.world.api.port, timeout_s)

    def run(self, **options):
        return self.start(**options).wait()


class Run:
    """A plan being sent. After wait(): `began_at` (seconds since 1970), times
    in seconds by kind, statuses by kind, CPU of the generator."""

    def __init__(self, plan, connections, port, timeout_s):
        self.plan = plan
        self.path = plan.world.directory / "plan"
        self.out = plan.world.directory / "results"
        with self.path.open("wb") as out:
            for due_s, _, data, _ in plan.requests:
                out.write(struct.pack("<QI", int(due_s * 1e6), len(data)))
                out.write(data)
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [build_directory() / "bench-load", str(port), str(connections),
             str(timeout_s), self.path, self.out], stdout=subprocess.PIPE,
            text=True, preexec_fn=die_with_parent)

    def over(self, within_s=0):
        """Whether everything was sent and answered, now or soon."""
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait(self):
        told, _ = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError(f"bench-load ended with "
                               f"{self.process.returncode}")
        self.told = json.loads(told)
        self.began_at, self.seconds = self.told["began"], self.told["seconds"]
        self.cpu_s = self.told["user_s"] + self.told["sys_s"]
        self.latency_s = defaultdict(list)  # of 2xx answers
        self.status, self.due_at = {}, {}
        self.unsent_s = []  # how late requests went out, all kinds
        data = self.out.read_bytes()
        for (due_s, kind, _, asked), row in zip(
                self.plan.requests, RESULT.iter_unpack(data)):
            self._note(kind, due_s, asked, row[1] / 1e6, row[3])
            self.unsent_s.append((row[1] - row[2]) / 1e6)
        self.path.unlink()
        self.out.unlink()
        self.plan.requests = []
        return self

    def _note(self, kind, due_s, asked, latency_s, status):
        self.status.setdefault(kind, Counter())[status] += 1
        if 200 <= status < 300:
            self.latency_s[kind].append(latency_s)
        if asked and status == 202:
            ident, msisdn, amount = asked
            self.plan.world.asked[ident] = (msisdn, amount)
            self.due_at[ident] = self.began_at + due_s

    def count(self):
        return sum(sum(c.values()) for c in self.status.values())

    def good(self, kind="pay"):
        return sum(n for status, n in self.status.get(kind, {}).items()
                   if 200 <= status < 300)

    def errors_percent(self):
        """Requests without a 2xx."""
        total = self.count()
        return (total - sum(map(self.good, self.status))) / total * 100
