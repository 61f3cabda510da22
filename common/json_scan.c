/*
 * The grammar of RFC 8259, byte by byte, before cJSON sees the text: cJSON
 * takes trailing garbage, control characters, `01`, `1.`, broken UTF-8 and any
 * depth, and cuts strings at \u0000.
 *
 * Numbers are held to what a double keeps exactly: 16 digits, or 15 with a
 * fraction or an exponent (C11 DBL_DIG), exponents of two digits, also when
 * they are printed again. So a value that looks whole afterwards was whole in
 * the text.
 *
 * Nothing is built here and nothing allocated. Equal names are found later, in
 * the tree, where their escapes are resolved.
 */
#include "common/json_priv.h"

#include "common/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WHOLE_DIGITS_MAX 16
#define DECIMAL_DIGITS_MAX 15
#define EXPONENT_DIGITS_MAX 2
#define NUMBER_TEXT_MAX 24 /* sign, digits, point, exponent */

struct scan {
    const unsigned char *p, *end;
    bool strict;
    bool bad_utf8;
    int depth;
    const char *why; /* NULL = fine so far */
};

static bool value(struct scan *s);

static bool fail(struct scan *s, const char *why)
{
    s->why = why;
    return false;
}

static int peek(const struct scan *s)
{
    return s->p < s->end ? *s->p : -1;
}

static void blanks(struct scan *s)
{
    while (s->p < s->end &&
           (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

/* --- strings --- */

size_t json_utf8(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char low = 0x80, high = 0xbf;
    size_t n;

    if (len == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    /* The second byte keeps out overlong forms, surrogates, > U+10FFFF. */
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    if (len < n || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return n;
}

/* The four digits after \u; -1 when they are none. */
static int hex4(struct scan *s)
{
    int n = 0;

    if (s->end - s->p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int c = s->p[i];

        if (is_digit(c))
            c -= '0';
        else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
            c = (c | 0x20) - 'a' + 10;
        else
            return -1;
        n = 16 * n + c;
    }
    s->p += 4;
    return n;
}

static bool unicode_escape(struct scan *s)
{
    int c = hex4(s);

    if (c < 0)
        return fail(s, "an escape \\u has no four hexadecimal digits");
    if (c == 0)
        return fail(s, "a string holds \\u0000");
    if (c < 0xd800 || c > 0xdfff)
        return true;
    if (c < 0xdc00 && s->end - s->p >= 2 && s->p[0] == '\\' && s->p[1] == 'u') {
        s->p += 2;
        c = hex4(s);
        if (c >= 0xdc00 && c <= 0xdfff)
            return true;
    }
    return fail(s, "a string holds half of a surrogate pair");
}

static bool escape(struct scan *s)
{
    int c = peek(s);

    s->p++;
    if (c == 'u')
        return unicode_escape(s);
    if (c > 0 && strchr("\"\\/bfnrt", c))
        return true;
    s->p--;
    return fail(s, "a string holds an unknown escape");
}

/* From behind the opening quote to behind the closing one. */
static bool string(struct scan *s)
{
    while (s->p < s->end) {
        unsigned char c = *s->p;

        if (c == '"') {
            s->p++;
            return true;
        }
        if (c == '\\') {
            s->p++;
            if (!escape(s))
                return false;
        } else if (c < 0x20) {
            return fail(s, "a string holds a control character");
        } else if (c < 0x80) {
            s->p++;
        } else {
            size_t n = json_utf8((const char *)s->p, (size_t)(s->end - s->p));

            if (n == 0) {
                s->bad_utf8 = true;
                return fail(s, "a string is not UTF-8");
            }
            s->p += n;
        }
    }
    return fail(s, "a string does not end");
}

/* --- numbers and words --- */

static int digits(struct scan *s)
{
    int n = 0;

    for (; s->p < s->end && is_digit(*s->p); s->p++)
        n += n <= WHOLE_DIGITS_MAX; /* more is too many: no overflow */
    return n;
}

static bool exponent(struct scan *s)
{
    int n;

    s->p++;
    if (peek(s) == '+' || peek(s) == '-')
        s->p++;
    n = digits(s);
    if (n == 0)
        return fail(s, "a number has an empty exponent");
    if (n > EXPONENT_DIGITS_MAX)
        return fail(s, "a number is too large or too small");
    return true;
}

/* Whether it is read again when it is printed, exponent and all. */
static bool moderate(const unsigned char *from, const unsigned char *to)
{
    char text[NUMBER_TEXT_MAX + 1];
    size_t len = (size_t)(to - from);
    double d;

    if (len > NUMBER_TEXT_MAX)
        return false;
    memcpy(text, from, len);
    text[len] = '\0';
    d = fabs(strtod(text, NULL));
    return d == 0 || (d >= 1e-99 && d < 1e100);
}

static bool number(struct scan *s)
{
    const unsigned char *from = s->p;
    bool decimal = false;
    int n, more;

    if (*s->p == '-')
        s->p++;
    if (peek(s) == '0' && s->end - s->p > 1 && is_digit(s->p[1]))
        return fail(s, "a number begins with 0");
    n = digits(s);
    if (n == 0)
        return fail(s, "a number has no digits");
    if (peek(s) == '.') {
        decimal = true;
        s->p++;
        more = digits(s);
        if (more == 0)
            return fail(s, "a number has no digits behind its point");
        n += more;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        decimal = true;
        if (!exponent(s))
            return false;
    }
    if (n > (decimal ? DECIMAL_DIGITS_MAX : WHOLE_DIGITS_MAX))
        return fail(s, "a number has too many digits");
    if (decimal && !moderate(from, s->p))
        return fail(s, "a number is too large or too small");
    return true;
}

static bool word(struct scan *s, const char *w, size_t len)
{
    if ((size_t)(s->end - s->p) < len || memcmp(s->p, w, len) != 0)
        return fail(s, "a value is missing");
    s->p += len;
    return true;
}

/* --- structures --- */

static bool name(struct scan *s)
{
    blanks(s);
    if (peek(s) != '"')
        return fail(s, "a member has no name");
    s->p++;
    if (!string(s))
        return false;
    blanks(s);
    if (peek(s) != ':')
        return fail(s, "a name has no colon behind it");
    s->p++;
    return true;
}

/* The members or elements, from behind the opening bracket. */
static bool items(struct scan *s, bool object, char closing)
{
    for (size_t n = 1;; n++) {
        if (s->strict && n > JSON_MEMBERS_MAX)
            return fail(s, "an object or array has too many members");
        if ((object && !name(s)) || !value(s))
            return false;
        blanks(s);
        if (peek(s) == closing)
            break;
        if (peek(s) != ',')
            return fail(s, "an object or array does not go on or end");
        s->p++;
    }
    s->p++;
    return true;
}

static bool structure(struct scan *s)
{
    bool object = *s->p == '{';
    char closing = object ? '}' : ']';
    bool fine;

    if (++s->depth > JSON_DEPTH_MAX)
        return fail(s, "it is nested too deeply");
    s->p++;
    blanks(s);
    if (peek(s) == closing) {
        s->p++;
        fine = true;
    } else {
        fine = items(s, object, closing);
    }
    s->depth--;
    return fine;
}

static bool value(struct scan *s)
{
    int c;

    blanks(s);
    c = peek(s);
    if (c == '"') {
        s->p++;
        return string(s);
    }
    if (c == '-' || is_digit(c))
        return number(s);
    if (c == '{' || c == '[')
        return structure(s);
    if (c == 't')
        return word(s, "true", 4);
    if (c == 'f')
        return word(s, "false", 5);
    if (c == 'n')
        return word(s, "null", 4);
    return fail(s, "a value is missing");
}

bool json_scan(const char *text, size_t len, bool strict,
               struct json_fault *ret)
{
    const unsigned char *start = (const unsigned char *)text;
    struct scan s = {.p = start, .end = start + len, .strict = strict};

    if (value(&s)) {
        blanks(&s);
        if (s.p < s.end)
            fail(&s, "something follows the end");
    }
    ret->at = (size_t)(s.p - start);
    ret->bad_utf8 = s.bad_utf8;
    ret->why = s.why;
    return !s.why;
}
