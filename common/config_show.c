/*
 * Settings as people and programs read them: the effective values with where
 * each came from, and the commented file of all defaults. A secret is shown by
 * where it is, never by what it is.
 */
#include "common/config_priv.h"

#include "common/buf.h"
#include "common/json.h"
#include "common/must.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define VALUE_BYTES_MAX ((size_t)1 << 18) /* 64 texts of 4 kB */
#define COLUMNS 79

/** How texts are written: as libconfig reads them back, or as JSON. */
struct style {
    void (*quote)(struct buf *out, const char *text);
    void (*bare)(struct buf *out, const char *text); /* no value, but words */
};

/** Control characters cannot be in @p text: the loader refuses them. */
static void quote_plain(struct buf *out, const char *text)
{
    buf_addc(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_addc(out, '\\');
        buf_addc(out, *text);
    }
    buf_addc(out, '"');
}

static void quote_json(struct buf *out, const char *text)
{
    json_string(out, text, strlen(text));
}

static const struct style plain = {quote_plain, buf_adds};
static const struct style json = {quote_json, quote_json};

static void add_property(struct buf *out, const struct style *style,
                         const char *item)
{
    size_t len = strcspn(item, "=");
    char shown[CONFIG_PATH_SIZE];

    if (!config_property_secret(item, len)) {
        style->quote(out, item);
        return;
    }
    snprintf(shown, sizeof(shown), "%.*s=(hidden)", (int)len, item);
    style->quote(out, shown);
}

static void add_texts(struct buf *out, const struct style *style,
                      const struct texts *texts)
{
    buf_addc(out, '[');
    for (size_t i = 0; i < texts->n; i++) {
        buf_adds(out, i ? ", " : " ");
        add_property(out, style, texts->items[i]);
    }
    buf_adds(out, texts->n ? " ]" : "]");
}

static void add_secret(struct buf *out, const struct style *style,
                       const struct origin *origin)
{
    static const char *const places[] = {
        [SECRET_FILE] = "file", [SECRET_ENV] = "environment"};
    char shown[CONFIG_SECRET_BYTES_MAX + 32] = "(not set)";

    if (origin->secret != SECRET_NONE)
        snprintf(shown, sizeof(shown), "(from %s %s)", places[origin->secret],
                 origin->secret_name);
    style->bare(out, shown);
}

static void add_value(struct buf *out, const struct style *style,
                      const struct config_object *o, const struct config_row *r)
{
    char word[32];

    switch (r->type) {
    case ROW_INTEGER: buf_addi(out, *field_integer(o, r)); break;
    case ROW_BOOLEAN:
        buf_adds(out, *field_boolean(o, r) ? "true" : "false");
        break;
    case ROW_CHOICE:
        must(config_word(r->words, *field_choice(o, r), word, sizeof(word)));
        style->quote(out, word);
        break;
    case ROW_TEXT: style->quote(out, *field_text(o, r)); break;
    case ROW_SECRET: add_secret(out, style, field_origin(o, r)); break;
    case ROW_TEXTS: add_texts(out, style, field_texts(o, r)); break;
    }
}

/** "default", "config.cfg:12" or "--set". */
static const char *origin_text(const struct origin *origin)
{
    static const char *const texts[] = {
        [FROM_DEFAULT] = "default", [FROM_FILE] = "", [FROM_SET] = "--set"};

    return origin->from == FROM_FILE ? origin->where : texts[origin->from];
}

static void show_row(struct buf *out, struct buf *value,
                     const struct config_object *o, const struct config_row *r)
{
    char path[CONFIG_PATH_SIZE];

    buf_reset(value);
    add_value(value, &plain, o, r);
    snprintf(path, sizeof(path), "%s%s", o->prefix, r->path);
    buf_addf(out, "%-32s = %-24s %-10s  %-14s  %s\n", path, value->data,
             r->unit, origin_text(field_origin(o, r)), r->sentence);
}

typedef void (*row_fn)(struct buf *out, struct buf *value,
                       const struct config_object *o,
                       const struct config_row *r);

static void each_row(struct buf *out, const struct config_object *o, row_fn fn)
{
    struct buf value;

    buf_init(&value, VALUE_BYTES_MAX);
    for (size_t i = 0; i < o->kind->rows_n; i++)
        fn(out, &value, o, &o->kind->rows[i]);
    buf_done(&value);
}

void config_show(const struct config *cfg, struct buf *out)
{
    const struct config_full *full = config_full(cfg);

    each_row(out, &full->settings, show_row);
    for (size_t i = 0; i < cfg->clients_n; i++)
        each_row(out, &full->clients[i], show_row);
    for (size_t i = 0; i < cfg->shortcodes_n; i++)
        each_row(out, &full->shortcodes[i], show_row);
}

static void show_json_row(struct buf *out, struct buf *value,
                          const struct config_object *o,
                          const struct config_row *r)
{
    static const char *const froms[] = {
        [FROM_DEFAULT] = "default", [FROM_FILE] = "file", [FROM_SET] = "set"};
    const struct origin *origin = field_origin(o, r);
    struct json_out j = {out, false};
    char path[CONFIG_PATH_SIZE];

    snprintf(path, sizeof(path), "%s%s", o->prefix, r->path);
    buf_reset(value);
    add_value(value, &json, o, r);
    if (out->data[out->len - 1] == '}')
        buf_addc(out, ',');
    json_open(&j, NULL, '{');
    json_put_text(&j, "path", path);
    json_put_raw(&j, "value", value->data, value->len);
    json_put_text(&j, "unit", r->unit);
    json_put_text(&j, "from", froms[origin->from]);
    json_put_text(&j, "where", origin->where);
    json_put_text(&j, "sentence", r->sentence);
    json_close(&j, '}');
}

void config_show_json(const struct config *cfg, struct buf *out)
{
    const struct config_full *full = config_full(cfg);

    buf_adds(out, "{\"settings\":[");
    each_row(out, &full->settings, show_json_row);
    for (size_t i = 0; i < cfg->clients_n; i++)
        each_row(out, &full->clients[i], show_json_row);
    for (size_t i = 0; i < cfg->shortcodes_n; i++)
        each_row(out, &full->shortcodes[i], show_json_row);
    buf_adds(out, "]}");
}

/* --- the shipped file --- */

static const char HEAD[] =
    "# Foleni's settings, each with its default. All programs read the same "
    "file.\n"
    "#\n"
    "# Generated by `foleni config defaults`; `foleni config show -c FILE` "
    "shows what\n"
    "# holds and where it came from, `--check` says every fault of a file at "
    "once,\n"
    "# `--set group.name=value` overrides one setting. Unknown names are "
    "refused.\n"
    "# A secret is never written here: NAME_file names a file that holds it,\n"
    "# NAME_env an environment variable.\n";

/** Adds @p text as comment lines that fit the width. */
static void add_comment(struct buf *out, const char *indent, const char *text)
{
    size_t column = 0;

    while (*text) {
        size_t len = strcspn(text, " ");
        if (column == 0 || column + 1 + len > COLUMNS) {
            buf_addf(out, "%s%s#", column ? "\n" : "", indent);
            column = strlen(indent) + 1;
        }
        buf_addf(out, " %.*s", (int)len, text);
        column += 1 + len;
        text += len + (text[len] == ' ');
    }
    buf_addc(out, '\n');
}

/** The sentence with what is allowed. */
static void add_sentence(struct buf *out, const char *indent,
                         const struct config_row *r)
{
    char text[600], range[200] = "";

    if (r->type == ROW_INTEGER)
        snprintf(range, sizeof(range), "; %" PRId64 " to %" PRId64 "%s%s",
                 r->min, r->max, r->unit[0] ? " " : "", r->unit);
    else if (r->type == ROW_CHOICE)
        snprintf(range, sizeof(range), "; %s", r->words);
    snprintf(text, sizeof(text), "%s%s%s", r->sentence, range,
             r->flags & REQUIRED ? "; required" : "");
    add_comment(out, indent, text);
}

/** The name alone: a path's part after its group. */
static const char *row_name(const struct config_row *r)
{
    const char *dot = strchr(r->path, '.');

    return dot ? dot + 1 : r->path;
}

static void write_row(struct buf *out, struct buf *value,
                      const struct config_object *o, const struct config_row *r)
{
    static const char indent[] = "    ";
    const char *name = row_name(r);

    add_sentence(out, indent, r);
    if (r->type == ROW_SECRET) {
        buf_addf(out, "%s# %s_file = \"/path\";  or  %s_env = \"NAME\";\n",
                 indent, name, name);
        return;
    }
    buf_reset(value);
    add_value(value, &plain, o, r);
    buf_addf(out, "%s%s = %s;\n", indent, name, value->data);
}

static size_t group_len(const struct config_row *r)
{
    return strcspn(r->path, ".");
}

static void write_setting(struct buf *out, struct buf *value,
                          const struct config_object *o,
                          const struct config_row *r)
{
    bool first = r == o->kind->rows;
    size_t len = group_len(r);
    bool same =
        !first && group_len(r - 1) == len && !memcmp(r->path, r[-1].path, len);

    if (!first)
        buf_adds(out, same ? "\n" : "};\n");
    if (!same)
        buf_addf(out, "\n%.*s = {\n", (int)len, r->path);
    write_row(out, value, o, r);
}

/** An element of a list as a sample, all of it comments. */
static void write_sample_row(struct buf *out, struct buf *value,
                             const struct config_object *o,
                             const struct config_row *r)
{
    bool required = (r->flags & REQUIRED) != 0;

    add_sentence(out, "    #     ", r);
    buf_reset(value);
    add_value(value, &plain, o, r);
    buf_adds(out, "    #     ");
    if (r->type == ROW_SECRET)
        buf_addf(out, "%s_file = \"/path\";\n", r->path);
    else
        buf_addf(out, "%s = %s;\n", r->path,
                 !required                ? value->data
                 : r->type == ROW_INTEGER ? "..."
                                          : "\"...\"");
}

static void write_list(struct buf *out, const struct config_kind *kind,
                       void *base, const char *about)
{
    struct keep keep = {NULL};
    struct config_object o;

    config_object_init(&o, &keep, kind, base);
    buf_addc(out, '\n');
    add_comment(out, "", about);
    buf_addf(out, "%s = (\n    # {\n", kind->list);
    each_row(out, &o, write_sample_row);
    buf_adds(out, "    # }\n);\n");
    keep_done(&keep);
}

void config_write_default(struct buf *out)
{
    struct keep keep = {NULL};
    struct config_object o;
    struct config cfg = {0};
    struct client client = {0};
    struct shortcode shortcode = {0};

    config_object_init(&o, &keep, &config_settings, &cfg);
    buf_adds(out, HEAD);
    each_row(out, &o, write_setting);
    buf_adds(out, "};\n");
    write_list(out, &config_clients, &client,
               "The services that may ask for payments, one group each.");
    write_list(out, &config_shortcodes, &shortcode,
               "The shortcodes that may be credited, one group each.");
    keep_done(&keep);
}
