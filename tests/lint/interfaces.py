"""OpenAPI and AsyncAPI say what the code has: each route of the API's table is
described, and each that is described is there; the same for topics. What they
point to exists."""

import json
import re

_ROUTE = re.compile(r'\{HTTP_(GET|POST),\s*"([^"]+)",')
_TOPIC = re.compile(r'\[TOPIC_\w+\]\s*=\s*"([\w.]+)"')
OPENAPI, ASYNCAPI = "schemas/openapi.json", "schemas/asyncapi.json"
ROUTES, TOPICS = "producer/producer.c", "common/kafka.c"
METHODS = {"get", "post", "put", "delete", "patch"}


def _table(text, name):
    """The initialiser of an array."""
    _, _, rest = text.partition(name)
    return rest.partition("};")[0]


def _routes(tree):
    table = _table(tree.text(ROUTES), "public_routes[]")
    return {(m.lower(), path) for m, path in _ROUTE.findall(table)}


def _described(document):
    return {(method, re.sub(r"\{\w+\}", "{}", path))
            for path, item in document.get("paths", {}).items()
            for method in item if method in METHODS}


def _refs(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _refs(each)


def _leads_somewhere(tree, document, ref):
    name, _, pointer = ref.partition("#")
    if name:
        if f"schemas/{name}" not in tree.names:
            return False
        document = json.loads(tree.text(f"schemas/{name}"))
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(document, dict) or step not in document:
            return False
        document = document[step]
    return True


def _compare(name, what, code, said):
    for each in sorted(code - said):
        yield f"{name}:1: {what} {each} is not described"
    for each in sorted(said - code):
        yield f"{name}:1: {what} {each} is described, and is not there"


def check(tree):
    if OPENAPI not in tree.names:
        return []
    faults = []
    openapi = json.loads(tree.text(OPENAPI))
    asyncapi = json.loads(tree.text(ASYNCAPI))
    topics = set(_TOPIC.findall(tree.text(TOPICS)))
    channels = {c["address"] for c in asyncapi["channels"].values()}
    faults += _compare(OPENAPI, "route", _routes(tree), _described(openapi))
    faults += _compare(ASYNCAPI, "topic", topics, channels)
    for name, document in ((OPENAPI, openapi), (ASYNCAPI, asyncapi)):
        faults += [f"{name}:1: {ref} leads nowhere"
                   for ref in _refs(document)
                   if not _leads_somewhere(tree, document, ref)]
    return faults


_API = {"paths": {"/a/{id}": {"get": {"x": {"$ref": "#/y"}}}}, "y": {}}
_ASYNC = {"channels": {"p.a": {"address": "p.a"}}}
GOOD = {
    OPENAPI: json.dumps(_API), ASYNCAPI: json.dumps(_ASYNC),
    ROUTES: 'x public_routes[] = {\n    {HTTP_GET, "/a/{}", on_a},\n};\n',
    TOPICS: '    [TOPIC_A] = "p.a",\n',
}
BAD = [
    ({**GOOD, ROUTES: GOOD[ROUTES].replace("_GET", "_POST")},
     "is not described"),
    ({**GOOD, ROUTES: "x public_routes[] = {\n};\n"}, "is not there"),
    ({**GOOD, TOPICS: '    [TOPIC_A] = "p.b",\n'}, "topic p.b"),
    ({**GOOD, OPENAPI: json.dumps({**_API, "y": 1, "z": {"$ref": "#/w"}})},
     "leads nowhere"),
    ({**GOOD, OPENAPI: json.dumps({**_API, "z": {"$ref": "b.json"}})},
     "leads nowhere"),
]
