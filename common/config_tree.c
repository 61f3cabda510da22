/*
 * A libconfig file as a tree of our own nodes. The only file that knows
 * libconfig; what it forgives is refused or healed in the text before it sees
 * it (all measured with 1.5):
 *
 *   3000000000 silently becomes -1294967296 unless it ends in L: the scan adds
 *   the L to every integer, so that its range is then checked as for any other;
 *   what does not fit 64 bits is refused. A comment that is never closed hides
 *   the rest of the file; a zero byte does too: both are refused. @include is
 *   not supported, so that a fault's line is always this file's.
 */
#include "common/config_priv.h"

#include "common/buf.h"
#include "common/must.h"

#include <libconfig.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scan {
    const char *at, *end; /* *end is a zero byte */
    struct buf *out;      /* the healed text     */
    const char *path;
    int line;
    struct faults *faults;
};

static const char *scan_where(const struct scan *s, char *out, size_t size)
{
    snprintf(out, size, "%s:%d", s->path, s->line);
    return out;
}

#define SCAN_FAULT(s, ...)                                              \
    do {                                                                \
        char where_[512];                                               \
        fault((s)->faults, scan_where((s), where_, sizeof(where_)), "", \
              __VA_ARGS__);                                             \
    } while (0)

/** Copies @p n bytes, counting lines. */
static void scan_copy(struct scan *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s->line += s->at[i] == '\n';
    buf_add(s->out, s->at, n);
    s->at += n;
}

static void scan_line_comment(struct scan *s)
{
    scan_copy(s, strcspn(s->at, "\n"));
}

static void scan_block_comment(struct scan *s)
{
    const char *close = strstr(s->at + 2, "*/");

    if (!close)
        SCAN_FAULT(s, "this comment is never closed");
    scan_copy(s, (size_t)((close ? close + 2 : s->end) - s->at));
}

static void scan_string(struct scan *s)
{
    size_t n = 1;

    while (s->at[n] && s->at[n] != '"')
        n += s->at[n] == '\\' && s->at[n + 1] ? 2 : 1;
    if (!s->at[n])
        SCAN_FAULT(s, "this string is never closed");
    scan_copy(s, s->at[n] ? n + 1 : n);
}

static bool name_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '*';
}

static void scan_name(struct scan *s)
{
    size_t n = 0;

    while (name_byte(s->at[n]))
        n++;
    scan_copy(s, n);
}

/** Whether the @p len characters at @p text fit 64 bits. */
static bool fits_64_bits(const char *text, size_t len)
{
    char digits[32];

    if (len >= sizeof(digits))
        return false;
    memcpy(digits, text, len);
    digits[len] = '\0';
    int base = len > 2 && tolower((unsigned char)digits[1]) == 'x' ? 16 : 10;
    errno = 0;
    (void)strtoll(digits, NULL, base); /* only whether it overflows */
    return errno == 0;
}

/** A number: an integer gets its L; one with a fraction is passed through. */
static void scan_number(struct scan *s)
{
    size_t n = *s->at == '-' || *s->at == '+';
    const char *digits = "0123456789";

    if (s->at[n] == '0' && tolower((unsigned char)s->at[n + 1]) == 'x') {
        digits = "0123456789abcdefABCDEF";
        n += 2;
    }
    n += strspn(s->at + n, digits);
    if (s->at[n] == '.' || tolower((unsigned char)s->at[n]) == 'e') {
        scan_copy(s, n + strspn(s->at + n, "0123456789.eE+-"));
        return;
    }
    if (!fits_64_bits(s->at, n))
        SCAN_FAULT(s, "the number %.*s does not fit 64 bits", (int)MIN(n, 60),
                   s->at);
    scan_copy(s, n);
    if (*s->at != 'L')
        buf_addc(s->out, 'L');
    scan_copy(s, strspn(s->at, "L"));
}

static bool starts_number(const char *at)
{
    at += *at == '-' || *at == '+';
    at += *at == '.';
    return isdigit((unsigned char)*at);
}

static void scan_include(struct scan *s)
{
    SCAN_FAULT(s, "@include is not supported: all settings stand in one file");
    s->at = s->end;
}

static void scan_token(struct scan *s)
{
    const char *at = s->at;

    if (at[0] == '#' || (at[0] == '/' && at[1] == '/'))
        scan_line_comment(s);
    else if (at[0] == '/' && at[1] == '*')
        scan_block_comment(s);
    else if (at[0] == '"')
        scan_string(s);
    else if (starts_number(at))
        scan_number(s);
    else if (isalpha((unsigned char)at[0]) || at[0] == '*')
        scan_name(s);
    else if (at[0] == '@')
        scan_include(s);
    else
        scan_copy(s, 1);
}

/** Heals @p text into @p out; false when a fault was said. */
static bool scan_text(const char *path, const struct buf *text, struct buf *out,
                      struct faults *faults)
{
    struct scan s = {text->data, text->data + text->len, out, path, 1, faults};
    size_t before = faults->n;

    if (memchr(text->data, 0, text->len)) {
        fault(faults, path, "", "holds a zero byte: it is no text");
        return false;
    }
    while (s.at < s.end)
        scan_token(&s);
    return faults->n == before;
}

/** Reads the whole file; false when the fault was said. */
static bool read_file(const char *path, struct buf *out, struct faults *faults)
{
    char part[4096];
    FILE *file = fopen(path, "re");

    if (!file) {
        fault(faults, path, "", "could not be opened: %s", strerror(errno));
        return false;
    }
    size_t n;
    while (!out->failed && (n = fread(part, 1, sizeof(part), file)) > 0)
        buf_add(out, part, n);
    int error = ferror(file) ? errno : 0;
    fclose(file);
    if (error)
        fault(faults, path, "", "could not be read: %s", strerror(error));
    else if (out->failed)
        fault(faults, path, "", "is larger than %zu bytes",
              CONFIG_FILE_BYTES_MAX);
    return !error && !out->failed;
}

struct convert {
    struct keep *keep;
    const char *path;
    struct faults *faults;
};

static void convert(const struct convert *c, const config_setting_t *from,
                    int depth, struct config_node *to);

static void convert_items(const struct convert *c, const config_setting_t *from,
                          int depth, struct config_node *to)
{
    if (depth >= CONFIG_DEPTH_MAX) {
        fault(c->faults, to->where, to->name, "is nested too deep");
        return;
    }
    to->items_n = (size_t)config_setting_length(from);
    to->items = keep_alloc(c->keep, to->items_n, sizeof(*to->items));
    for (size_t i = 0; i < to->items_n; i++)
        convert(c, config_setting_get_elem(from, (unsigned)i), depth + 1,
                &to->items[i]);
}

static void convert(const struct convert *c, const config_setting_t *from,
                    int depth, struct config_node *to)
{
    const char *name = config_setting_name(from);

    to->name = name ? keep_text(c->keep, name, strlen(name)) : "";
    to->where =
        keep_textf(c->keep, "%s:%u", c->path, config_setting_source_line(from));
    to->text = "";
    switch (config_setting_type(from)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        to->kind = NODE_INTEGER;
        to->number = config_setting_get_int64(from);
        break;
    case CONFIG_TYPE_BOOL:
        to->kind = NODE_BOOLEAN;
        to->number = config_setting_get_bool(from);
        break;
    case CONFIG_TYPE_FLOAT: to->kind = NODE_FLOAT; break;
    case CONFIG_TYPE_STRING:
        to->kind = NODE_TEXT;
        name = config_setting_get_string(from);
        to->text = keep_text(c->keep, name, strlen(name));
        break;
    case CONFIG_TYPE_GROUP:
        to->kind = NODE_GROUP;
        convert_items(c, from, depth, to);
        break;
    default:
        to->kind = NODE_LIST;
        convert_items(c, from, depth, to);
        break;
    }
}

static struct config_node *parse(const struct convert *c, const char *text)
{
    config_t parsed;
    struct config_node *root = NULL;

    config_init(&parsed);
    if (config_read_string(&parsed, text) == CONFIG_TRUE) {
        root = keep_alloc(c->keep, 1, sizeof(*root));
        convert(c, config_root_setting(&parsed), 0, root);
    } else {
        char where[512];
        snprintf(where, sizeof(where), "%s:%d", c->path,
                 config_error_line(&parsed));
        fault(c->faults, where, "", "%s (here or just before)",
              config_error_text(&parsed));
    }
    config_destroy(&parsed);
    return root;
}

struct config_node *config_tree_read(const char *path, struct keep *keep,
                                     struct faults *faults)
{
    struct convert c = {keep, path, faults};
    struct config_node *root = NULL;
    struct buf text, healed;

    /* Healing adds at most an L to each digit. */
    buf_init(&text, CONFIG_FILE_BYTES_MAX);
    buf_init(&healed, 2 * CONFIG_FILE_BYTES_MAX);
    if (read_file(path, &text, faults) &&
        scan_text(path, &text, &healed, faults))
        root = parse(&c, healed.data);
    buf_done(&text);
    buf_done(&healed);
    return root;
}
