"""Configuration files for our programs, written from Python values."""

import hashlib
import json

# The two upstream services of tests and demo. Keys are for this machine's
# tests only; the configuration holds nothing but their hashes.
CLIENTS = {
    "shop": {"id": "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01",
             "key": "test-key-of-the-shop-0123456789",
             "secret": "test-signing-secret-of-the-shop"},
    "bills": {"id": "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e02",
              "key": "test-key-of-the-bills-0123456789",
              "secret": "test-signing-secret-of-the-bills"},
}
SHORTCODES = (174379, 600000)
MAC_KEY = "test-key-of-the-callback-paths"
C2B_SECRET = "test-secret-of-the-c2b-path"
CONSUMER_KEY, CONSUMER_SECRET = "test-consumer-key", "test-consumer-secret"
PASSKEY = "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919"

# Waits as short as tests want them; the order between them is as shipped.
QUICK = {
    "payments.backoff_min_ms": 50,
    "payments.backoff_max_ms": 400,
    "payments.busy_phone_min_ms": 200,
    "payments.busy_phone_max_ms": 500,
    "payments.same_amount_gap_ms": 0,
    "payments.phone_hold_ms": 3000,
    "payments.query_first_ms": 700,
    "payments.query_max_ms": 1500,
    "payments.query_agree_gap_ms": 300,
    "payments.query_agree_age_ms": 1000,
    "payments.prompt_timeout_ms": 6000,
    "payments.unresolved_after_ms": 8000,
    "payments.due_scan_ms": 50,
    "notices.scan_ms": 50,
    "notices.first_look_ms": 200,
    "gate.connect_timeout_ms": 1000,
    "gate.total_timeout_ms": 3000,
    "worker.drain_timeout_ms": 8000,
    "worker.lease_ms": 5000,
    "lines.sync_ms": 50,
    "lines.forget_ms": 1000,
    # what a test scripts to fail is no outage: tests of those say so
    "breaker.calls_min": 1000,
    "breaker.stall_calls_min": 1000,
    "breaker.open_min_ms": 300,
    "breaker.open_max_ms": 2000,
    "breaker.probe_ms": 2000,
    "breaker.ramp_ms": 500,
}

# Besides QUICK: no query speaks before a callback can.
PATIENT = {
    "payments.query_first_ms": 60000,
    "payments.query_max_ms": 60000,
    "payments.prompt_timeout_ms": 90000,
    "payments.unresolved_after_ms": 120000,
}

SECRETS = {
    "mac-key": MAC_KEY,
    "c2b-secret": C2B_SECRET,
    "consumer-key": CONSUMER_KEY,
    "consumer-secret": CONSUMER_SECRET,
    "passkey": PASSKEY,
    **{f"signing-{name}": c["secret"] for name, c in CLIENTS.items()},
}


def clients(secrets):
    """The list `clients`, with hashes in place of keys."""
    return [{"id": c["id"], "name": name,
             "api_key_sha256": hashlib.sha256(c["key"].encode()).hexdigest(),
             "signing_secret_file": secrets / f"signing-{name}"}
            for name, c in CLIENTS.items()]


def shortcodes(secrets, base_url, more=None):
    """The list `shortcodes`, all with one provider and the members of more,
    which may have them by shortcode; None leaves one out."""
    more = more or {}
    return [{"shortcode": n, "base_url": base_url,
             "consumer_key_file": secrets / "consumer-key",
             "consumer_secret_file": secrets / "consumer-secret",
             "passkey_file": secrets / "passkey", **more.get(n, more)}
            for n in SHORTCODES if more.get(n, more) is not None]


def write_secrets(directory):
    """One file per secret, readable by its owner only."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in SECRETS.items():
        path = directory / name
        path.write_text(value + "\n")
        path.chmod(0o600)


def _value(value, indent):
    pad = "    " * indent
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, dict):
        rows = [f"{pad}    {k} = {_value(v, indent + 1)};\n"
                for k, v in value.items()]
        return "{\n" + "".join(rows) + pad + "}"
    if isinstance(value, (list, tuple)):
        items = (",\n" + pad + "    ").join(
            _value(v, indent + 1) for v in value)
        return f"(\n{pad}    {items}\n{pad})" if value else "()"
    return json.dumps(str(value))


def libconfig(settings):
    """The text of a libconfig file: {"a.b": 1} -> a = { b = 1; };"""
    tree = {}
    for path, value in settings.items():
        *groups, leaf = path.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return "".join(f"{k} = {_value(v, 0)};\n" for k, v in tree.items())
