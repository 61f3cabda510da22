/*
 * Secrets: read from the file or environment variable that the configuration
 * names, never from the configuration itself. One line, without its line end,
 * 1 to 4096 bytes. The same for librdkafka's secret properties: an item
 * "sasl.password_file=/path" becomes "sasl.password=...".
 */
#include "common/config_priv.h"

#include "common/sign.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* librdkafka 2.0, CONFIGURATION.md: what it calls sensitive, and the two whose
   value may hold a secret. */
static const char *const secret_properties[] = {
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
};

/** A secret on its way, and what to say when it cannot be had. */
struct secret {
    enum secret_from from;
    const char *name;                       /* of file or variable */
    char text[CONFIG_SECRET_BYTES_MAX + 3]; /* "\r\n" and the terminator */
    size_t len;
    char why[200];
};

#define SECRET_FAIL(s, ...) \
    (snprintf((s)->why, sizeof((s)->why), __VA_ARGS__), false)

static bool read_secret_file(struct secret *s)
{
    FILE *file = fopen(s->name, "re");

    if (!file)
        return SECRET_FAIL(s, "could not be opened: %s", strerror(errno));
    setvbuf(file, NULL, _IONBF, 0); /* no copy of it in stdio's memory */
    s->len = fread(s->text, 1, sizeof(s->text) - 1, file);
    int error = ferror(file) ? errno : 0;
    fclose(file);
    if (error)
        return SECRET_FAIL(s, "could not be read: %s", strerror(error));
    return true;
}

static bool read_secret_env(struct secret *s)
{
    const char *value = getenv(s->name);

    if (!value)
        return SECRET_FAIL(s, "is not set");
    s->len = strnlen(value, sizeof(s->text) - 1);
    memcpy(s->text, value, s->len);
    return true;
}

static void strip_line_end(struct secret *s)
{
    if (s->len && s->text[s->len - 1] == '\n')
        s->len--;
    if (s->len && s->text[s->len - 1] == '\r')
        s->len--;
    s->text[s->len] = '\0';
}

static bool read_secret(struct secret *s)
{
    if (!(s->from == SECRET_FILE ? read_secret_file(s) : read_secret_env(s)))
        return false;
    strip_line_end(s);
    if (s->len == 0)
        return SECRET_FAIL(s, "is empty");
    if (s->len > CONFIG_SECRET_BYTES_MAX)
        return SECRET_FAIL(s, "has more than %d bytes",
                           CONFIG_SECRET_BYTES_MAX);
    for (size_t i = 0; i < s->len; i++)
        if (iscntrl((unsigned char)s->text[i]))
            return SECRET_FAIL(s, "must be one line of text");
    return true;
}

const char *config_secret_suffix(enum secret_from from)
{
    static const char *const suffixes[] = {
        [SECRET_NONE] = "", [SECRET_FILE] = "_file", [SECRET_ENV] = "_env"};

    return suffixes[from];
}

static void say_secret(struct config_loader *l, const char *where,
                       const char *path, const struct secret *s)
{
    char whole[CONFIG_PATH_SIZE];

    snprintf(whole, sizeof(whole), "%s%s", path, config_secret_suffix(s->from));
    fault(&l->faults, where, whole, "%s \"%s\" %s",
          s->from == SECRET_FILE ? "the file" : "the environment variable",
          s->name, s->why);
}

static void take_field(struct config_loader *l, const struct config_object *o,
                       const struct config_row *r)
{
    struct origin *origin = field_origin(o, r);
    struct secret s = {.from = origin->secret, .name = origin->secret_name};
    char path[CONFIG_PATH_SIZE];

    if (r->type != ROW_SECRET || s.from == SECRET_NONE)
        return;
    if (read_secret(&s)) {
        *field_text(o, r) = keep_text(&l->full->keep, s.text, s.len);
    } else {
        origin->bad = true;
        snprintf(path, sizeof(path), "%s%s", o->prefix, r->path);
        say_secret(l, origin->where, path, &s);
    }
    sign_wipe(s.text, sizeof(s.text));
}

static void take_fields(struct config_loader *l, const struct config_object *o)
{
    for (size_t i = 0; i < o->kind->rows_n; i++)
        take_field(l, o, &o->kind->rows[i]);
}

bool config_property_secret(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(secret_properties); i++)
        if (strlen(secret_properties[i]) == len &&
            !memcmp(secret_properties[i], name, len))
            return true;
    return false;
}

/** The length of a secret property's name in "name_file" or "name_env". */
static size_t property_name(const char *item, size_t len,
                            enum secret_from *ret_from)
{
    static const enum secret_from froms[] = {SECRET_FILE, SECRET_ENV};

    for (size_t i = 0; i < ARRAY_LEN(froms); i++) {
        const char *suffix = config_secret_suffix(froms[i]);
        size_t n = strlen(suffix);
        if (len <= n || memcmp(item + len - n, suffix, n) != 0 ||
            !config_property_secret(item, len - n))
            continue;
        *ret_from = froms[i];
        return len - n;
    }
    return 0;
}

/** What "name_file=/path" stands for, or NULL when the fault was said. */
static const char *property_value(struct config_loader *l, const char *where,
                                  const char *item, size_t name_len,
                                  enum secret_from from)
{
    struct secret s = {.from = from, .name = strchr(item, '=') + 1};
    const char *value = NULL;
    char path[CONFIG_PATH_SIZE];

    if (read_secret(&s)) {
        value =
            keep_textf(&l->full->keep, "%.*s=%s", (int)name_len, item, s.text);
    } else {
        snprintf(path, sizeof(path), "kafka.properties: %.*s", (int)name_len,
                 item);
        say_secret(l, where, path, &s);
    }
    sign_wipe(s.text, sizeof(s.text));
    return value;
}

static void take_property(struct config_loader *l, const char *where,
                          const char **item)
{
    enum secret_from from;
    size_t len = strcspn(*item, "=");

    if (len == 0 || !(*item)[len]) {
        fault(&l->faults, where, "kafka.properties",
              "each item must be \"name=value\"");
        return;
    }
    if (config_property_secret(*item, len)) {
        fault(&l->faults, where, "kafka.properties",
              "%.*s is a secret and never written here: use "
              "\"%.*s_file=/path\" or \"%.*s_env=NAME\"",
              (int)len, *item, (int)len, *item, (int)len, *item);
        return;
    }
    size_t name_len = property_name(*item, len, &from);
    if (name_len == 0)
        return;
    const char *value = property_value(l, where, *item, name_len, from);
    if (value)
        *item = value;
}

void config_take_secrets(struct config_loader *l)
{
    struct config *cfg = &l->full->cfg;
    const struct config_object *o = &l->full->settings;
    const char *where =
        field_origin(o, config_row(&config_settings, "kafka.properties"))
            ->where;

    take_fields(l, o);
    for (size_t i = 0; i < cfg->clients_n; i++)
        take_fields(l, &l->full->clients[i]);
    for (size_t i = 0; i < cfg->shortcodes_n; i++)
        take_fields(l, &l->full->shortcodes[i]);
    for (size_t i = 0; i < cfg->kafka_properties.n; i++)
        take_property(l, where, &cfg->kafka_properties.items[i]);
}

/* --- for whoever judges them --- */

typedef void (*secret_fn)(void *arg, const struct config_secret *s);

static void each_secret(const struct config_object *o, secret_fn fn, void *arg)
{
    char path[CONFIG_PATH_SIZE];

    for (size_t i = 0; i < o->kind->rows_n; i++) {
        const struct config_row *r = &o->kind->rows[i];
        const struct origin *origin = field_origin(o, r);

        if (r->type != ROW_SECRET || origin->secret == SECRET_NONE)
            continue;
        snprintf(path, sizeof(path), "%s%s", o->prefix, r->path);
        fn(arg, &(struct config_secret){
                    .path = path,
                    .file = origin->secret == SECRET_FILE ? origin->secret_name
                                                          : NULL,
                    .text = *field_text(o, r),
                });
    }
}

void config_each_secret(const struct config *cfg, secret_fn fn, void *arg)
{
    const struct config_full *full = config_full(cfg);

    each_secret(&full->settings, fn, arg);
    for (size_t i = 0; i < cfg->clients_n; i++)
        each_secret(&full->clients[i], fn, arg);
    for (size_t i = 0; i < cfg->shortcodes_n; i++)
        each_secret(&full->shortcodes[i], fn, arg);
}
