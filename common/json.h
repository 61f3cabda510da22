/*
 * JSON: cJSON for reading, with the strictness it lacks; a writer by hand, so
 * that money never passes through a floating-point printer.
 *
 * Strict reading is for our own interfaces: valid UTF-8, no control characters,
 * no \u0000, no duplicate names, no leading zeros, nothing after the end,
 * depth at most 8, 256 members per object, numbers of 16 digits (15 with a
 * fraction or exponent): what a double keeps exactly. Tolerant reading is for
 * the provider's answers: it still refuses what is not JSON, but forgives equal
 * names (the first counts), any number of members, a byte order mark, and bytes
 * in strings that are no UTF-8 (they become U+FFFD).
 */
#ifndef FOLENI_COMMON_JSON_H
#define FOLENI_COMMON_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"

#define JSON_DEPTH_MAX 8

struct json; /* a value in a parsed document */
struct buf;

/**
 * The whole of @p text (not NULL) must be one JSON value; free it with
 * json_free(). ERR_INPUT says at which byte it is not; ERR_MEMORY.
 */
MUST_CHECK enum err_code json_parse_strict(const char *text, size_t len,
                                           struct json **ret, struct err *err);
MUST_CHECK enum err_code json_parse_tolerant(const char *text, size_t len,
                                             struct json **ret,
                                             struct err *err);
void json_free(struct json *root);
DEFINE_CLEANUP(json_free, struct json *)

bool json_is_object(const struct json *v);
bool json_is_array(const struct json *v);

/** The member named exactly @p name, or NULL; NULL in, NULL out. */
const struct json *json_get(const struct json *object, const char *name);

/** Walks the members or elements: json_first(v), then json_next(). */
const struct json *json_first(const struct json *v);
const struct json *json_next(const struct json *v);

/** The member's name ("" in an array). */
const char *json_name(const struct json *v);

/** The string's text, or NULL when @p v is NULL or no string. */
const char *json_text(const struct json *v);

/** A whole number (1.0 and 1e2 are, as in JSON Schema), less than 2^53. */
bool json_integer(const struct json *v, int64_t *ret);

/** As json_integer(), but "254" and "254.00" are taken too (Daraja mixes). */
bool json_integer_or_text(const struct json *v, int64_t *ret);

/**
 * The value as text, whether string or number (whole numbers in decimal);
 * false when it is neither or does not fit @p size with its terminator.
 */
bool json_scalar(const struct json *v, char *out, size_t size);

/** Appends @p v as compact JSON; numbers that are not whole get 15 digits. */
void json_print(const struct json *v, struct buf *out);

/** Appends @p s as a JSON string; bytes that are no UTF-8 become U+FFFD. */
void json_string(struct buf *out, const char *s, size_t len);

/*
 * The writer: members with their commas. `json_open` and `json_close` take the
 * bracket; a NULL name is for elements of an array or the outermost value.
 */
struct json_out {
    struct buf *buf;
    bool comma; /* the next member needs one before it */
};

void json_open(struct json_out *j, const char *name, char bracket);
void json_close(struct json_out *j, char bracket);
void json_put_text(struct json_out *j, const char *name, const char *s);
void json_put_int(struct json_out *j, const char *name, int64_t n);
void json_put_bool(struct json_out *j, const char *name, bool b);
void json_put_null(struct json_out *j, const char *name);
/** @p json is already JSON. */
void json_put_raw(struct json_out *j, const char *name, const char *json,
                  size_t len);

#endif
