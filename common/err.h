/*
 * One error type for the whole program. It lives on the caller's stack and
 * holds its text itself, so that "out of memory" can be reported too.
 *
 * A function that can fail returns MUST_CHECK enum err_code (ERR_NONE = 0),
 * takes `struct err *err` last (never NULL) and leaves its outputs untouched
 * on failure. Rooms return errors; the flow's driver logs them, once.
 *
 * Texts are lower case without a final stop, say what was tried and why it
 * failed, and quote outside strings: `could not reach gateway: connection
 * reset`. "could not" may work next time, "cannot" never will.
 */
#ifndef FOLENI_COMMON_ERR_H
#define FOLENI_COMMON_ERR_H

#include "common/base.h"

/* clang-format off */
/*       code          name             what it means to the caller */
#define ERR_CODES(X) \
    X(ERR_NONE,        "none")        /* no error                         */ \
    X(ERR_INPUT,       "input")       /* outside bytes break a rule       */ \
    X(ERR_CONFIG,      "config")      /* settings cannot be used          */ \
    X(ERR_USAGE,       "usage")       /* the command line cannot be used  */ \
    X(ERR_NOT_FOUND,   "not_found")   /* the named thing does not exist   */ \
    X(ERR_CONFLICT,    "conflict")    /* somebody else was first          */ \
    X(ERR_DENIED,      "denied")      /* not allowed                      */ \
    X(ERR_LIMIT,       "limit")       /* a bound with a name is reached   */ \
    X(ERR_UNAVAILABLE, "unavailable") /* away for now, nothing was done   */ \
    X(ERR_UNSURE,      "unsure")      /* may or may not have been done    */ \
    X(ERR_TIMEOUT,     "timeout")     /* no answer in time, perhaps done  */ \
    X(ERR_MEMORY,      "memory")      /* no memory                        */ \
    X(ERR_IO,          "io")          /* file or socket failed            */ \
    X(ERR_INTERNAL,    "internal")    /* the other side broke a contract */
/* clang-format on */

enum err_code {
#define X(code, name) code,
    ERR_CODES(X)
#undef X
};

/** Whose number `native` is. */
enum err_from { ERR_SELF, ERR_ERRNO, ERR_KAFKA, ERR_CURL, ERR_POSTGRES };

struct err {
    enum err_code code;
    enum err_from from;
    int native;     /* their number: errno, rd_kafka_resp_err_t, CURLcode; 0 */
    char detail[8]; /* SQLSTATE or "", terminated                            */
    char text[240]; /* "could not reach gateway: connection reset"           */
};

/** Fills @p err and returns @p code, so that `return err_set(...)` reads. */
enum err_code err_set(struct err *err, enum err_code code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/** Same, with somebody's number; ERR_ERRNO appends strerror(@p native). */
enum err_code err_set_from(struct err *err, enum err_code code,
                           enum err_from from, int native, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

/** Puts "@p fmt: " before the text that is there; code and number stay. */
enum err_code err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/** The stable lower-case name of @p code, for logs and JSON. */
const char *err_name(enum err_code code);

#endif
