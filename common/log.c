/*
 * The log. A line is put together on the stack and goes out in one write(2).
 * It is never longer than PIPE_BUF, so lines of several processes on one pipe
 * do not mix; a value that would be too long is cut, and fields that no longer
 * fit are left out and said so (cut=true).
 *
 * Values come from outside. A value that is not plain is written as a quoted
 * string with the escapes of JSON, in both formats; control characters (C1 and
 * DEL too, which move terminals) and bytes that are no UTF-8 never get through.
 */
#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/id.h"

#define LINE_MAX_BYTES PIPE_BUF
#define VALUE_MAX_BYTES 1024
#define TAIL_BYTES 16 /* room for the mark of a cut line and its end */
#define PHONE_HEAD_DIGITS 4
#define PHONE_TAIL_DIGITS 3

static struct {
    const char *name;
    enum log_level least;
    bool json;
    uint64_t dropped;
} sink = {.name = "foleni", .least = LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static void add_head(struct buf *b, enum log_level level, const char *scope,
                     const char *event);
static void add_kv(struct buf *b, const struct kv *kv);
static void emit(const char *line, size_t len);

void log_open(const char *name, enum log_level least, bool json)
{
    sink.name = name;
    sink.least = least;
    sink.json = json;
}

bool log_wants(enum log_level level)
{
    return level >= sink.least;
}

uint64_t log_dropped(void)
{
    return __atomic_load_n(&sink.dropped, __ATOMIC_RELAXED);
}

void log_write(enum log_level level, const char *scope, const char *event,
               const struct kv *kvs)
{
    char line[LINE_MAX_BYTES];
    struct buf b;

    buf_over(&b, line, sizeof(line));
    b.max -= TAIL_BYTES;
    add_head(&b, level, scope, event);
    for (; kvs->key; kvs++) {
        size_t before = b.len;

        add_kv(&b, kvs);
        if (!b.failed)
            continue;
        b.len = before;
        b.failed = false;
        b.max += TAIL_BYTES;
        buf_adds(&b, sink.json ? ",\"cut\":true" : " cut=true");
        break;
    }
    b.max = sizeof(line) - 1;
    buf_adds(&b, sink.json ? "}\n" : "\n");
    emit(line, b.len);
}

/* --- text --- */

/* How many bytes the UTF-8 character at @p s has (RFC 3629), 0 = it is none. */
static size_t utf8_len(const unsigned char *s, size_t n)
{
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (len == 1)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

/* C0, DEL, and C1 (U+0080 to U+009F, two bytes). */
static bool is_control(const unsigned char *s, size_t len)
{
    return s[0] < 0x20 || s[0] == 0x7f ||
           (len == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}

static void add_control(struct buf *b, const unsigned char *s, size_t len)
{
    unsigned code = s[len - 1];

    if (code == '\n')
        buf_adds(b, "\\n");
    else if (code == '\t')
        buf_adds(b, "\\t");
    else
        buf_addf(b, "\\u%04x", code);
}

/* @p text as a JSON string of at most VALUE_MAX_BYTES of its bytes. */
static void add_quoted(struct buf *b, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t left = strlen(text);
    size_t most = MIN(left, (size_t)VALUE_MAX_BYTES);

    buf_addc(b, '"');
    for (size_t i = 0, n; i < most; i += n) {
        size_t len = utf8_len(s + i, left - i);

        n = MAX(len, (size_t)1);
        if (len == 0)
            buf_adds(b, "\\ufffd");
        else if (is_control(s + i, len))
            add_control(b, s + i, len);
        else {
            if (s[i] == '"' || s[i] == '\\')
                buf_addc(b, '\\');
            buf_add(b, s + i, len);
        }
    }
    buf_adds(b, most < left ? "...\"" : "\"");
}

/* Whether @p text can stand unquoted behind "key=". */
static bool is_plain(const char *text)
{
    size_t n = 0;

    for (; text[n]; n++) {
        unsigned char c = (unsigned char)text[n];

        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\' ||
            n == VALUE_MAX_BYTES)
            return false;
    }
    return n > 0;
}

static void add_key(struct buf *b, const char *key)
{
    if (sink.json)
        buf_adds(b, b->len > 1 ? ",\"" : "\"");
    else
        buf_addc(b, ' ');
    buf_adds(b, key);
    buf_adds(b, sink.json ? "\":" : "=");
}

static void add_text(struct buf *b, const char *key, const char *text)
{
    add_key(b, key);
    if (!sink.json && is_plain(text))
        buf_adds(b, text);
    else
        add_quoted(b, text);
}

static void add_number(struct buf *b, const char *key, int64_t n)
{
    add_key(b, key);
    buf_addi(b, n);
}

/* --- fields --- */

static void add_head(struct buf *b, enum log_level level, const char *scope,
                     const char *event)
{
    char time[CLOCK_TEXT_SIZE];

    clock_format(clock_wall_at(), 3, time);
    if (!sink.json) {
        buf_addf(b, "%s %s %s %s %s", time, level_names[level], sink.name,
                 scope, event);
        return;
    }
    buf_addc(b, '{');
    add_text(b, "time", time);
    add_text(b, "level", level_names[level]);
    add_text(b, "program", sink.name);
    add_text(b, "scope", scope);
    add_text(b, "event", event);
}

/* 254708374149 becomes 2547...149; what is shorter shows less. */
static void add_phone(struct buf *b, const char *key, int64_t msisdn)
{
    char digits[24], masked[16];
    struct buf d, m;

    buf_over(&d, digits, sizeof(digits));
    buf_over(&m, masked, sizeof(masked));
    buf_addi(&d, msisdn);
    if (d.len > PHONE_HEAD_DIGITS + 2 * PHONE_TAIL_DIGITS)
        buf_add(&m, digits, PHONE_HEAD_DIGITS);
    buf_adds(&m, "...");
    if (d.len > 2 * PHONE_TAIL_DIGITS)
        buf_adds(&m, digits + d.len - PHONE_TAIL_DIGITS);
    add_text(b, key, masked);
}

static void add_id(struct buf *b, const char *key, const struct uuid *id)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(id, text);
    add_text(b, key, text);
}

static void add_err(struct buf *b, const char *key, const struct err *err)
{
    add_text(b, key, err_name(err->code));
    if (err->native)
        add_number(b, "native", err->native);
    if (err->detail[0])
        add_text(b, "detail", err->detail);
    add_text(b, "text", err->text);
}

static void add_kv(struct buf *b, const struct kv *kv)
{
    switch (kv->kind) {
    case KV_TEXT: add_text(b, kv->key, kv->ptr ? kv->ptr : ""); break;
    case KV_NUMBER: add_number(b, kv->key, kv->number); break;
    case KV_UUID: add_id(b, kv->key, kv->ptr); break;
    case KV_PHONE: add_phone(b, kv->key, kv->number); break;
    case KV_ERROR: add_err(b, kv->key, kv->ptr); break;
    case KV_END_KIND: break;
    }
}

/* Helper threads log too: hence the atomic counter. */
static void emit(const char *line, size_t len)
{
    ssize_t n;

    do
        n = write(STDERR_FILENO, line, len);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)len)
        __atomic_fetch_add(&sink.dropped, 1, __ATOMIC_RELAXED);
}
