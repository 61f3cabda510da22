"""Calls of the C library that have no bound, hidden state or a better twin."""

import re

from tree import bare_c

BANNED = {
    "strcpy": "text_copy() or memcpy()",
    "stpcpy": "text_copy() or memcpy()",
    "strncpy": "text_copy(): it may leave no terminator",
    "strcat": "a struct buf",
    "strncat": "a struct buf",
    "sprintf": "snprintf() or buf_addf()",
    "vsprintf": "vsnprintf()",
    "gets": "fgets()",
    "strtok": "strchr() and lengths",
    "atoi": "strtoll() with its end checked",
    "atol": "strtoll() with its end checked",
    "atoll": "strtoll() with its end checked",
    "atof": "no floating point",
    "sscanf": "a parser that says what is wrong",
    "gmtime": "gmtime_r()",
    "localtime": "localtime_r()",
    "asctime": "clock_format()",
    "ctime": "clock_format()",
    "rand": "sign_random() or a seeded generator",
    "srand": "a seeded generator",
    "alloca": "malloc() or a slab",
    "system": "posix_spawn()",
    "popen": "posix_spawn()",
    "tmpnam": "mkstemp()",
    "mktemp": "mkstemp()",
    "setjmp": "return an error",
    "longjmp": "return an error",
}
_CALL = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(BANNED))


def check(tree):
    faults = []
    for name in tree.files(".c", ".h"):
        for n, line in enumerate(bare_c(tree.text(name)).split("\n"), 1):
            for call in _CALL.findall(line):
                faults.append(f"{name}:{n}: {call}() is banned, use "
                              f"{BANNED[call]}")
    return faults


GOOD = {"common/a.c": 'int f(void)\n{\n    /* strcpy(a, b) */\n'
                      '    return puts("atoi(x)") + my_strcpy(1) + x.rand(2);'
                      '\n}\n'}
BAD = [({"common/a.c": "void f(char *a)\n{\n    %s (a);\n}\n" % call}, call)
       for call in ("strcpy", "sprintf", "atoi", "gmtime", "alloca")]
