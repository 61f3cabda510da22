"""Who may include whom: the arrows between rooms point downwards only.

common/ is the floor and knows nobody above it; producer/ and consumer/ never
see each other; rooms of one directory do not include sideways. A third-party
header appears in one file. New files need a place in these tables: a file
`noun_more.c` stands where `noun` stands.
"""

import re

# Directory -> its layers, lowest first. A file may include what stands lower,
# its own noun, and what ALLOWED names.
LAYERS = {
    "common": [
        ["base"],
        ["must", "err", "list", "near", "windows"],
        ["heap", "buf", "crc"],
        ["clock", "id", "net"],
        ["payment"],
        ["metrics"],
        ["log"],
        ["sign", "json"],
        ["seal"],
        ["config"],
        ["loop"],
        ["call", "http", "kafka", "pg"],
        ["wire", "payment_row", "trail"],
        ["recovered"],
        ["app"],
    ],
    "producer": [
        ["limit", "cache", "find"],
        ["accept", "publish", "callbacks", "spool", "status", "look"],
        ["producer"],
        ["main"],
    ],
    "consumer": [
        ["verdict", "retry", "share", "recorder", "clockwatch", "token"],
        ["breaker", "pace"],
        ["flow"],
        ["store", "gate", "tell", "notice", "anchor", "lines"],
        ["intake", "pulse", "pull"],
        ["consumer"],
        ["main"],
    ],
    "tests/daraja": None,  # no layers inside
    "tools": None,
}

# Which directories a directory's files may include from.
SEES = {
    "common": {"common"},
    "producer": {"common", "producer"},
    "consumer": {"common", "consumer"},
    "tools": {"common", "tools"},
    "tests/daraja": {"common", "tests/daraja"},
    "tests/unit": {"common", "producer", "consumer", "tools", "tests/daraja",
                   "tests/unit"},
    "tests/histories": {"common", "consumer", "tests/histories"},
    "tests/bench": {"common", "tests/bench"},
}

# Rooms that stand above others of their directory, yet know only these.
KNOWS = {
    "consumer/intake": {"store", "flow", "share"},
    "consumer/store": {"flow", "verdict", "share"},
    # It marks the recorder between libcurl's last word and the first byte.
    "consumer/gate": {"verdict", "retry", "recorder", "breaker", "token"},
    "consumer/recorder": set(),
    "consumer/token": set(),
    "consumer/pulse": {"store"},
    "consumer/anchor": set(),
    "consumer/breaker": {"retry"},
    "consumer/pace": set(),
    "consumer/lines": {"breaker", "pace", "retry"},
    "consumer/tell": set(),
    "consumer/pull": set(),
    "consumer/notice": {"flow"},
}

# Third party -> the only files that include it.
THIRD_PARTY = {
    r"curl/": r"common/call(_\w+)?\.c",
    r"libpq-fe\.h|postgres": r"common/pg(_\w+)?\.c",
    r"librdkafka/": r"common/kafka(_\w+)?\.[ch]|tools/broker\.c"
                    r"|tests/unit/test_kafka.*",
    r"event2?/|event2?\.h": r"common/((loop|http)(_\w+)?\.c|http_priv\.h)",
    r"cjson/|cJSON": r"common/json\.c",
    r"libconfig": r"common/config(_\w+)?\.c",
    r"openssl/": r"common/(sign|seal|id|http_tls)\.c|tests/unit/hostile\.h",
    r"cmocka": r"tests/unit/.*",
}

_INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def _directory(name):
    return name.rpartition("/")[0]


def _noun(name, layers):
    """The noun of the table that a path stands for: the longest that fits."""
    stem = name.rpartition("/")[2].partition(".")[0]
    nouns = [n for layer in layers or [] for n in layer
             if stem == n or stem.startswith(n + "_")]
    return max(nouns, key=len, default=None)


def _level(noun, layers):
    return next(i for i, layer in enumerate(layers) if noun in layer)


def _third_party(name, header):
    for pattern, allowed in THIRD_PARTY.items():
        if re.match(pattern, header) and not re.fullmatch(allowed, name):
            return f"<{header}> belongs in {allowed} only"
    return None


def _arrow(name, header):
    here, there = _directory(name), _directory(header)
    if there not in SEES[here]:
        return f"{here}/ must not know {there}/ ({header})"
    if here != there or not LAYERS.get(here):
        return None
    layers = LAYERS[here]
    own, other = _noun(name, layers), _noun(header, layers)
    if own is None or other is None:
        missing = name if own is None else header
        return f"{missing} has no place in tests/lint/layers.py"
    if own == other:
        return None
    if _level(other, layers) >= _level(own, layers):
        return f"{own} must not know {other}: it stands above or beside it"
    known = KNOWS.get(f"{here}/{own}")
    if known is not None and other not in known:
        return f"{own} must not know {other}: rooms do not know each other"
    return None


def check(tree):
    faults = []
    for name in tree.files(".c", ".h"):
        if _directory(name) not in SEES:
            continue
        for n, line in tree.lines(name):
            match = _INCLUDE.match(line)
            if not match:
                continue
            quote, header = match.groups()
            fault = _third_party(name, header)
            if quote == '"' and fault is None:
                fault = _arrow(name, header)
            if fault:
                faults.append(f"{name}:{n}: {fault}")
    return faults


GOOD = {
    "common/kafka_admin.c": '#include "common/kafka.h"\n#include <stdio.h>\n'
                            '#include <librdkafka/rdkafka.h>\n',
    "consumer/flow.c": '#include "consumer/verdict.h"\n',
    "consumer/consumer_calls.c": '#include "consumer/gate.h"\n'
                                 '#include "consumer/store.h"\n',
}
BAD = [
    ({"common/err.c": '#include "consumer/flow.h"\n'}, "must not know"),
    ({"common/err.c": '#include "common/loop.h"\n'}, "stands above"),
    ({"producer/accept.c": '#include "consumer/flow.h"\n'}, "must not know"),
    ({"consumer/gate.c": '#include "consumer/store.h"\n'}, "stands above"),
    ({"consumer/pulse.c": '#include "consumer/flow.h"\n'}, "rooms do not"),
    ({"consumer/new.c": '#include "consumer/flow.h"\n'}, "no place"),
    ({"consumer/gate.c": '#include <curl/curl.h>\n'}, "belongs in"),
    ({"tools/x.c": '#include <libpq-fe.h>\n'}, "belongs in"),
]
