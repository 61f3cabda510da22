/*
 * What the files of the JSON room share: the check of a text before a tree is
 * made of it, and the length of a character.
 */
#ifndef FOLENI_COMMON_JSON_PRIV_H
#define FOLENI_COMMON_JSON_PRIV_H

#include <stdbool.h>
#include <stddef.h>

/* Members of one object and elements of one array in strict documents. Names
   are compared with each other, so that their number must have a bound. */
#define JSON_MEMBERS_MAX 256

/** What is wrong with a text, and where. */
struct json_fault {
    size_t at;       /* bytes before it                              */
    bool bad_utf8;   /* nothing but this: a repaired text may do     */
    const char *why; /* "a string does not end"; a literal           */
};

/** Whether @p text is one JSON value as json.h promises; else @p ret says. */
bool json_scan(const char *text, size_t len, bool strict,
               struct json_fault *ret);

/** Bytes of the valid UTF-8 character at @p s (RFC 3629); 0 = none begins. */
size_t json_utf8(const char *s, size_t len);

#endif
