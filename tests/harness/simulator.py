"""daraja-sim: scripts for its handsets, and its journal."""

import http.client
import json

from tests.harness.program import PUBLIC, Served


class Simulator(Served):
    """The provider. Its port stays the same over its lives."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.port = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        super().start()
        self.port = self.admin_port = self.bound(PUBLIC)
        self.sets["sim.listen"] = f"127.0.0.1:{self.port}"
        return self

    def _request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port,
                                                timeout=20)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text,
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"daraja-sim {method} {path}: {answer.status} "
                               f"{data[:300]!r}")
        return data, answer.headers

    def profile(self, values):
        """How it behaves where no script says otherwise."""
        self._request("POST", "/sim/profile", values)

    def script(self, msisdn, *steps, repeat=False):
        """What becomes of the next pushes to a phone, one step each."""
        self.scripts({msisdn: steps}, repeat)

    def scripts(self, steps_of, repeat=False):
        """Scripts for many phones: {msisdn: [step, ...]}."""
        self._request("POST", "/sim/handsets", {"handsets": [
            {"msisdn": str(msisdn), "steps": list(steps), "repeat": repeat}
            for msisdn, steps in steps_of.items()]})

    def down(self, kind, for_ms=None):
        """The provider is away: refuse, 500, 503, stall, or none again."""
        more = {} if for_ms is None else {"for_ms": for_ms}
        self._request("POST", "/sim/down", {"kind": kind, **more})

    def register_c2b(self, shortcode, url, version=2):
        """Confirmations of the shortcode's debits go to that URL."""
        self._request("POST", "/sim/register", {
            "shortcode": int(shortcode), "c2b_url": url,
            "c2b_version": version})

    def register_pull(self, shortcode, registered=True):
        """Pull Transactions answers for the shortcode."""
        self._request("POST", "/sim/register", {
            "shortcode": int(shortcode), "pull": registered})

    def pay(self, shortcode, msisdn, amount, reference, **more):
        """Money that no push asked for: receipt=, age_ms=, c2b= as wanted."""
        self._request("POST", "/sim/pay", {
            "shortcode": int(shortcode), "msisdn": str(msisdn),
            "amount": amount, "reference": reference, **more})

    def summary(self):
        return json.loads(self._request("GET", "/sim/summary")[0])

    def journal(self):
        """Every line of the journal, as dictionaries."""
        lines, offset = [], 0
        while True:
            data, _ = self._request("GET", f"/sim/journal?offset={offset}")
            if not data:
                return lines
            offset += len(data)
            lines += [json.loads(line) for line in data.splitlines()]

    def pushes(self, msisdn=None):
        """The push lines, of one phone or of all."""
        return [row for row in self.journal() if row["t"] == "push"
                and msisdn in (None, str(row["msisdn"]), row["msisdn"])]
