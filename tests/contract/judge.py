"""A second opinion on documents: the schemas and the rules on bytes of
schemas/README.md, written from those documents and not from the C code.

For tests elsewhere: judge.complaint("status-event", value) is None when the
bytes are a good document.
"""

import copy
import datetime
import json
import re
from pathlib import Path

import jsonschema
from jsonschema import validators

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
EXAMPLES = SCHEMAS / "examples"
STRICT = {"http-request", "request-event"}
EVENT_LAYOUT = ["specversion", "id", "source", "type", "subject", "time",
                "datacontenttype", "data"]
_NUMBER = re.compile(r"-?(\d+)(?:\.(\d+))?(?:[eE][+-]?(\d+))?\Z")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?"
                   r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)\Z")


class Refused(Exception):
    """Not a document, whatever a schema would say."""


# --- bytes ---

def _number(text):
    whole, fraction, exponent = _NUMBER.match(text).groups()
    decimal = fraction is not None or exponent is not None
    if len(whole) + len(fraction or "") > (15 if decimal else 16):
        raise Refused("a number has too many digits")
    if len(exponent or "") > 2:
        raise Refused("a number is too large or too small")
    return float(text) if decimal else int(text)


def _no_constant(text):
    raise Refused(f"{text} is no JSON")


def _once(pairs):
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise Refused("a name stands there twice")
    return dict(pairs)


def _walk(value, depth=1):
    if isinstance(value, str):
        value.encode()  # half a surrogate pair has no UTF-8
        if "\0" in value:
            raise Refused("a string holds \\u0000")
    if isinstance(value, (dict, list)):
        if depth > 8:
            raise Refused("it is nested too deeply")
        if isinstance(value, dict):
            for name in value:
                _walk(name)
            value = value.values()
        for item in value:
            _walk(item, depth + 1)


def load(data, strict):
    """The value that the bytes @p data hold; Refused when they hold none."""
    try:
        if not strict:
            data = data.removeprefix(b"\xef\xbb\xbf")
        text = data.decode("utf-8", "strict" if strict else "replace")
        value = json.loads(text, parse_constant=_no_constant,
                           parse_float=_number, parse_int=_number,
                           object_pairs_hook=_once if strict else None)
        _walk(value)
    except (ValueError, RecursionError) as e:
        raise Refused(str(e)) from e
    return value


# --- schemas ---

def _pattern(_, pattern, value, __):
    """As ECMA 262 has it: $ is the end, not a line feed before the end."""
    if isinstance(value, str) and not re.search(
            pattern.replace("$", r"\Z"), value):
        yield jsonschema.ValidationError(f"{value!r} is not {pattern}")


_formats = jsonschema.FormatChecker(formats=[])


@_formats.checks("date-time")
def _is_time(value):
    """RFC 3339, 1970 and later, without leap seconds."""
    if not isinstance(value, str):
        return True
    match = _TIME.match(value)
    if not match:
        return False
    try:
        moment = datetime.datetime.fromisoformat(
            f"{match.group(1)}T{match.group(2)}")
    except ValueError:
        return False
    return moment.year >= 1970


Validator = validators.extend(jsonschema.Draft202012Validator,
                              {"pattern": _pattern})
_store = {s["$id"]: s for s in (json.loads(p.read_text()) for p in
                                SCHEMAS.glob("*.schema.json"))}
NAMES = sorted(p.name.removesuffix(".schema.json")
               for p in SCHEMAS.glob("*.schema.json"))


def _closed(schema):
    """The same, and nothing besides what it names may be there."""
    schema = copy.deepcopy(schema)
    todo = [schema]
    while todo:
        part = todo.pop()
        if "properties" in part and "required" in part:
            part.setdefault("additionalProperties", False)
        todo += [v for v in part.get("properties", {}).values()]
    return schema


def _validator(name, closed):
    ident = f"https://foleni.invalid/schemas/{name}.schema.json"
    store = {k: _closed(v) for k, v in _store.items()} if closed else _store
    resolver = jsonschema.RefResolver(ident, store[ident], store=store)
    return Validator(store[ident], resolver=resolver, format_checker=_formats)


_validators = {}


def against_schema(name, value, closed=False):
    """What the schema has against @p value, or None."""
    if (name, closed) not in _validators:
        _validators[name, closed] = _validator(name, closed)
    error = next(_validators[name, closed].iter_errors(value), None)
    return error and f"{'/'.join(map(str, error.path))}: {error.message}"


# --- rules that no schema can say ---

def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _metadata_fits(value):
    metadata = value.get("metadata") or {}
    if len(compact(metadata).encode()) > 1024:
        return "metadata: more than 1024 bytes"
    return None


def _event_layout(data, value):
    if list(value) != EVENT_LAYOUT:
        return "its members do not stand in their order"
    if compact(value).encode() != data:
        return "it is not compact"
    if value["id"] != f"{value['data']['id']}:{value['data']['version']}":
        return "its id is not that of its data"
    return None


def complaint(name, data, closed=False):
    """What is wrong with the bytes @p data as a document @p name, or None."""
    try:
        value = load(data, name in STRICT)
    except Refused as e:
        return str(e)
    wrong = against_schema(name, value, closed)
    if wrong is None and name in STRICT:
        wrong = _metadata_fits(value)
    if wrong is None and name == "status-event":
        wrong = _event_layout(data, value)
    return wrong
