#!/usr/bin/python3
"""Runs the fuzz targets, as many at once as there are processors.

Seeds are the examples of schemas/, the provider's recorded answers and the
configuration that ships; what libFuzzer finds is kept below build/fuzz/corpus
and used the next time. Before that every input of tests/fuzz/regressions/TARGET
is run: each has once been a crash.

Usage: tests/fuzz/run.py [--seconds N] [--seed N] [TARGET...]
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
CORPUS = BUILD / "corpus"
CRASHES = BUILD / "crashes"
REGRESSIONS = ROOT / "tests" / "fuzz" / "regressions"
EXAMPLES = ROOT / "schemas" / "examples"
FIXTURES = ROOT / "tests" / "fixtures" / "daraja"
TARGETS = ["json", "body", "batch", "filters", "record", "event",
           "callback", "address", "c2b",
           "pull", "answer", "token", "config", "recorder", "spool", "frame"]
ID = b"5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01"
NOW = b"1795248000000"
STATUSES = (200, 400, 401, 404, 405, 429, 500, 503)
LENGTH_MAX = 8192


def examples(schema):
    return [p.read_bytes() for kind in ("valid", "invalid")
            for p in sorted((EXAMPLES / kind / schema).iterdir())]


def fixtures(prefix):
    return [p.read_bytes() for p in sorted(FIXTURES.iterdir())
            if p.name.startswith(prefix)]


def phone_of(body):
    found = re.search(rb'"msisdn"\s*:\s*"?(\d{12})', body)
    return found.group(1) if found else b"254712345678"


def frames():
    """A Produce request and two answers that name brokers, by hand."""
    def text(s):
        return len(s).to_bytes(2, "big") + s
    batch = (b"\x00" * 57 + (1).to_bytes(4, "big")).ljust(70, b"\x11")
    produce = (b"\x00\x00\x00\x07\x00\x00\x00\x2a" + text(b"client")
               + b"\xff\xff" + b"\xff\xff" + (5000).to_bytes(4, "big")
               + (1).to_bytes(4, "big") + text(b"topic")
               + (1).to_bytes(4, "big") + (0).to_bytes(4, "big")
               + len(batch).to_bytes(4, "big") + batch)
    metadata = ((1).to_bytes(4, "big") + (1).to_bytes(4, "big")
                + (0).to_bytes(4, "big") + text(b"localhost")
                + (9092).to_bytes(4, "big") + b"\xff\xff" * 2 + b"\x00" * 4)
    coordinator = ((1).to_bytes(4, "big") + b"\x00\x00"
                   + (0).to_bytes(4, "big") + text(b"localhost")
                   + (9092).to_bytes(4, "big"))
    return [produce, metadata, coordinator]


def payloads():
    """Of the spool: a key, a header, a value."""
    def record(key, headers, value):
        out = bytes([len(headers)]) + len(key).to_bytes(2, "little")
        out += len(value).to_bytes(4, "little") + key
        for name, text in headers:
            out += bytes([len(name)]) + len(text).to_bytes(2, "little")
            out += name + text
        return out + value
    return [record(ID, [(b"foleni-attempt", b"1")], b"{}"),
            record(b"k", [], b"value"), record(b"", [], b""),
            b"FOLENISPOOL1" + b"\x00" * 4 + b"\x01" * 8 + b"FSR1"]


def slots():
    def slot(begun, answered, attempt):
        return (begun.to_bytes(4, "little") + answered.to_bytes(4, "little")
                + attempt.to_bytes(4, "little") + bytes(range(16))
                + b"accepted".ljust(24, b"\x00")).ljust(256, b"x")
    return [b"\x01" + slot(1, 1, 1), b"\x01" + slot(1, 0, 2),
            b"\x01" + slot(0, 0, 0) + slot(1, 1, 3), b"\x00FOLENIREC1"]


def seeds(target):
    answers = [b"%d %d\n%s" % (status, 200, body) for status in STATUSES
               for body in fixtures(("push-", "query-", "edge-", "empty"))]
    events = examples("status-event")
    makers = {
        "json": lambda: sum((examples(d.name) for d in sorted(
            (EXAMPLES / "valid").iterdir())), []),
        "body": lambda: [b"key-1\n" + e for e in examples("http-request")],
        "batch": lambda: [b'{"payments":[%s]}' % b",".join(
            e.replace(b"{", b'{"idempotency_key":"k",', 1) for e in some)
            for e in examples("http-request")
            for some in ([e], [e, b"{}", e])],
        "filters": lambda: [b"ids\n%s\nlimit\n5\n" % ID,
                            b"msisdn\n0712345678\nstatus\nwaiting\n",
                            b"from\n2026-11-21T08:00:00Z\nreference\nINV1\n",
                            b"cursor\n%s\n" % (b"0006" * 12)],
        "record": lambda: [b"%d\n%s\n%s\n\n%s" % (topic, phone_of(e), NOW, e)
                           for topic in (0, 1, 2)
                           for e in examples("request-event")],
        "event": lambda: [b"%s\n%s\n%s\n1\n0\n%s" % (
            (re.search(rb'"subject":"([^"]+)"', e) or [0, ID])[1], ID,
            b"ab" * 32, e) for e in events],
        "callback": lambda: examples("callback"),
        "address": lambda: [ID + b"\n1\n=", ID + b"\n999999\n=", ID + b"\n01\n",
                            ID.upper() + b"\n7\n=", b"x\n1\n" + b"0" * 32],
        "c2b": lambda: examples("c2b-confirmation"),
        "pull": lambda: [b"200\n" + body for body in fixtures("pull")] + [
            b'200\n{"ResponseRefID":"1","ResponseCode":"1000","Response'
            b'Message":"Success","Response":[[{"transactionId":"UKL0AB1CD2",'
            b'"trxDate":"2026-11-21T10:59:00+03:00","msisdn":254712345678,'
            b'"sender":"MPESA","transactiontype":"c2b-pay-bill-debit",'
            b'"billreference":"INV-1","amount":"100.00",'
            b'"organizationname":"Shop"}]]}', b"401\n{}"],
        "answer": lambda: answers,
        "token": lambda: [b"200\n" + body for body in fixtures("token-")] + [
            b'200\n{"access_token":"abc","expires_in":"3599"}'],
        "config": lambda: [(ROOT / "config.cfg").read_bytes()[:LENGTH_MAX]] + [
            b"a = ;", b"api: { listen = \"127.0.0.1:1\"; };\n",
            b"worker = { slots = 5L; };"],
        "recorder": slots,
        "spool": payloads,
        "frame": frames,
    }
    return makers[target]()


def grow_corpus(target):
    place = CORPUS / target
    place.mkdir(parents=True, exist_ok=True)
    for n, seed in enumerate(seeds(target)):
        (place / f"seed-{n:04}").write_bytes(seed)
    return place


def environment(target):
    return {**os.environ, "FUZZ_TARGET": target,
            "LSAN_OPTIONS": "print_suppressions=0:suppressions="
            + str(ROOT / "tests/fuzz/leaks.txt"),
            "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1"}


def number(pattern, text, default=0):
    found = re.findall(pattern, text)
    return int(found[-1]) if found else default


def fuzz(target, seconds, seed):
    place = grow_corpus(target)
    known = sorted((REGRESSIONS / target).glob("*"))
    program = [str(BUILD / "fuzz"), "-timeout=20", "-rss_limit_mb=1024",
               f"-artifact_prefix={CRASHES}/{target}-"]
    env = environment(target)
    if known:
        done = subprocess.run([*program, *map(str, known)], env=env, text=True,
                              capture_output=True, errors="replace")
        if done.returncode:
            return target, done.stderr, done.returncode, len(known)
    done = subprocess.run(
        [*program, f"-max_total_time={seconds}", f"-max_len={LENGTH_MAX}",
         f"-seed={seed}", "-print_final_stats=1", str(place)],
        env=env, text=True, capture_output=True, errors="replace")
    return target, done.stderr, done.returncode, len(known)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--seconds", type=int, default=60)
    args.add_argument("--seed", type=int, default=0, help="0 = a fresh one")
    args.add_argument("targets", nargs="*", default=TARGETS)
    args = args.parse_args()
    shutil.rmtree(CRASHES, ignore_errors=True)
    CRASHES.mkdir(parents=True)
    began, crashed = time.monotonic(), []
    print(f"{'target':10}{'inputs':>8}{'executions':>12}{'per s':>9}"
          f"{'coverage':>10}{'new':>6}{'once bad':>10}  end")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = pool.map(lambda t: fuzz(t, args.seconds, args.seed),
                        args.targets or TARGETS)
        for target, said, code, known in jobs:
            first = number(r"INITED\s+cov: (\d+)", said)
            last = number(r"\bcov: (\d+)", said)
            runs = number(r"number_of_executed_units: (\d+)", said)
            per_s = number(r"average_exec_per_sec:\s+(\d+)", said)
            inputs = number(r"\bcorp: (\d+)", said)
            end = "passed" if code == 0 else "CRASHED"
            print(f"{target:10}{inputs:8}{runs:12}{per_s:9}{last:10}"
                  f"{last - first:6}{known:10}  {end}", flush=True)
            if code:
                crashed.append(target)
                print("\n".join(said.split("\n")[-60:]))
    print(f"fuzz: {len(args.targets or TARGETS)} targets, "
          f"{time.monotonic() - began:.0f} s, "
          + (f"CRASHED: {' '.join(crashed)} (inputs in {CRASHES})" if crashed
             else "no crash"))
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
