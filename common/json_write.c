/*
 * Writing JSON straight into a buffer. Whether a value fits is the buffer's
 * matter: look at `failed` once, at the end. Numbers are whole; there is no
 * way to write a floating-point one.
 */
#include "common/json.h"

#include "common/buf.h"
#include "common/json_priv.h"

#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* The letter behind a backslash, 'u' for the long form, 0 for plain bytes. */
static const char escapes[256] = {
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b',         't',          'n', 'u',
    'f', 'r', 'u', 'u', 'u', 'u', 'u', 'u', 'u',         'u',          'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', ['"'] = '"', ['\\'] = '\\'};

/* Bytes from @p s on that can be written as they are. */
static size_t plain(const unsigned char *s, size_t len)
{
    size_t n = 0;

    while (n < len && s[n] < 0x80 && !escapes[s[n]])
        n++;
    return n;
}

/* Writes the one character at @p s that is not plain; returns its bytes. */
static size_t special(struct buf *out, const char *s, size_t len)
{
    unsigned char c = (unsigned char)*s;
    size_t n;

    if (c >= 0x80) {
        n = json_utf8(s, len);
        buf_add(out, n ? s : REPLACEMENT, n ? n : strlen(REPLACEMENT));
        return n ? n : 1;
    }
    buf_addc(out, '\\');
    buf_addc(out, escapes[c]);
    if (escapes[c] == 'u') {
        buf_adds(out, "00");
        buf_addhex(out, &c, 1);
    }
    return 1;
}

void json_string(struct buf *out, const char *s, size_t len)
{
    buf_addc(out, '"');
    while (len) {
        size_t n = plain((const unsigned char *)s, len);

        if (n)
            buf_add(out, s, n);
        else
            n = special(out, s, len);
        s += n;
        len -= n;
    }
    buf_addc(out, '"');
}

static void lead(struct json_out *j, const char *name)
{
    if (j->comma)
        buf_addc(j->buf, ',');
    j->comma = true;
    if (!name)
        return;
    json_string(j->buf, name, strlen(name));
    buf_addc(j->buf, ':');
}

void json_open(struct json_out *j, const char *name, char bracket)
{
    lead(j, name);
    buf_addc(j->buf, bracket);
    j->comma = false;
}

void json_close(struct json_out *j, char bracket)
{
    buf_addc(j->buf, bracket);
    j->comma = true;
}

void json_put_text(struct json_out *j, const char *name, const char *s)
{
    lead(j, name);
    json_string(j->buf, s, strlen(s));
}

void json_put_int(struct json_out *j, const char *name, int64_t n)
{
    lead(j, name);
    buf_addi(j->buf, n);
}

void json_put_bool(struct json_out *j, const char *name, bool b)
{
    lead(j, name);
    buf_adds(j->buf, b ? "true" : "false");
}

void json_put_null(struct json_out *j, const char *name)
{
    lead(j, name);
    buf_adds(j->buf, "null");
}

void json_put_raw(struct json_out *j, const char *name, const char *json,
                  size_t len)
{
    lead(j, name);
    buf_add(j->buf, json, len);
}
