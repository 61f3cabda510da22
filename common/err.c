/*
 * Filling and naming errors. An error is a value on the caller's stack: making
 * one is a vsnprintf() and three stores, and never allocates. A text that is
 * too long is cut, the code never is.
 */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fill(struct err *err, const char *fmt, va_list args)
    PRINTF_LIKE(2, 0);

enum err_code err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list args;

    err->code = code;
    err->from = ERR_SELF;
    err->native = 0;
    va_start(args, fmt);
    fill(err, fmt, args);
    va_end(args);
    return code;
}

enum err_code err_set_from(struct err *err, enum err_code code,
                           enum err_from from, int native, const char *fmt, ...)
{
    va_list args;
    char reason[96];

    err->code = code;
    err->from = from;
    err->native = native;
    va_start(args, fmt);
    fill(err, fmt, args);
    va_end(args);
    if (from == ERR_ERRNO) {
        size_t n = strlen(err->text);

        snprintf(err->text + n, sizeof(err->text) - n, ": %s",
                 strerror_r(native, reason, sizeof(reason)));
    }
    return code;
}

enum err_code err_wrap(struct err *err, const char *fmt, ...)
{
    va_list args;
    char was[sizeof(err->text)];
    size_t n;

    memcpy(was, err->text, sizeof(was));
    va_start(args, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);
    n = strlen(err->text);
    snprintf(err->text + n, sizeof(err->text) - n, ": %s", was);
    return err->code;
}

const char *err_name(enum err_code code)
{
    static const char *const names[] = {
#define X(code, name) [code] = name,
        ERR_CODES(X)
#undef X
    };

    return (size_t)code < ARRAY_LEN(names) ? names[code] : "internal";
}

/* @p fmt's arguments must not point into @p err: that is err_wrap()'s work. */
static void fill(struct err *err, const char *fmt, va_list args)
{
    err->detail[0] = '\0';
    vsnprintf(err->text, sizeof(err->text), fmt, args);
}
