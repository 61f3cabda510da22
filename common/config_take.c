/*
 * Takes values, from a file's tree or from --set, into the fields that rows
 * describe. One value at a time: its type, its range, its name. Every fault is
 * said and the value before it stays, so that all faults are found in one run.
 * What concerns several values is config.c's business.
 */
#include "common/config_priv.h"

#include "common/buf.h"
#include "common/must.h"
#include "common/near.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** One value on its way: what, for which field, said by whom. */
struct taking {
    struct config_loader *l;
    const struct config_object *o;
    const struct config_row *row;
    const struct config_node *node;
    enum origin_from from;
    enum secret_from secret; /* by the key's suffix */
};

static void say(const struct taking *t, const char *what)
{
    char path[CONFIG_PATH_SIZE];

    snprintf(path, sizeof(path), "%s%s%s", t->o->prefix, t->row->path,
             config_secret_suffix(t->secret));
    field_origin(t->o, t->row)->bad = true;
    fault(&t->l->faults, t->node->where, path, "%s", what);
}

#define SAY(t, ...)                                  \
    do {                                             \
        char what_[512];                             \
        snprintf(what_, sizeof(what_), __VA_ARGS__); \
        say((t), what_);                             \
    } while (0)

/** The value in words, for "is ..., must be ...". */
static const char *describe(const struct config_node *n, char *out, size_t size)
{
    switch (n->kind) {
    case NODE_INTEGER: snprintf(out, size, "%" PRId64, n->number); break;
    case NODE_FLOAT: snprintf(out, size, "a number with a fraction"); break;
    case NODE_BOOLEAN:
        snprintf(out, size, "%s", n->number ? "true" : "false");
        break;
    case NODE_TEXT: snprintf(out, size, "the text \"%.40s\"", n->text); break;
    case NODE_LIST: snprintf(out, size, "a list"); break;
    case NODE_GROUP: snprintf(out, size, "a group"); break;
    }
    return out;
}

static bool has_kind(const struct taking *t, enum node_kind kind,
                     const char *wanted)
{
    char is[80];

    if (t->node->kind == kind)
        return true;
    SAY(t, "is %s, must be %s", describe(t->node, is, sizeof(is)), wanted);
    return false;
}

static void take_integer(const struct taking *t)
{
    const struct config_row *r = t->row;
    int64_t n = t->node->number;
    char wanted[120];

    snprintf(wanted, sizeof(wanted),
             "a whole number from %" PRId64 " to %" PRId64 "%s%s", r->min,
             r->max, r->unit[0] ? " " : "", r->unit);
    if (!has_kind(t, NODE_INTEGER, wanted))
        return;
    if (n < r->min || n > r->max)
        SAY(t, "is %" PRId64 ", must be %s", n, wanted);
    else
        *field_integer(t->o, r) = n;
}

static void take_boolean(const struct taking *t)
{
    if (has_kind(t, NODE_BOOLEAN, "true or false"))
        *field_boolean(t->o, t->row) = t->node->number != 0;
}

/** The first control character of @p text, or NULL. */
static const char *control_character(const char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            return text;
    return NULL;
}

static bool text_fits(const struct taking *t, const char *text, int64_t max)
{
    size_t len = strlen(text);

    if (len > (size_t)max)
        SAY(t, "has %zu bytes, at most %" PRId64 " are allowed", len, max);
    else if (control_character(text))
        SAY(t, "holds the control character 0x%02x",
            (unsigned)*control_character(text));
    else
        return true;
    return false;
}

static const char *own(const struct taking *t, const char *text)
{
    return keep_text(&t->l->full->keep, text, strlen(text));
}

static void take_text(const struct taking *t)
{
    if (has_kind(t, NODE_TEXT, "a text in double quotes") &&
        text_fits(t, t->node->text, t->row->max))
        *field_text(t->o, t->row) = own(t, t->node->text);
}

/** "a|b|c" as "a, b or c". */
static void words_list(const char *words, char *out, size_t size)
{
    char word[32], next[32];
    size_t n = 0;

    for (int i = 0; config_word(words, i, word, sizeof(word)); i++) {
        bool last = !config_word(words, i + 1, next, sizeof(next));
        const char *comma = i == 0 ? "" : last ? " or " : ", ";
        n += (size_t)snprintf(out + n, size - n, "%s%s", comma, word);
        must(n < size);
    }
}

static void take_choice(const struct taking *t)
{
    char list[200], word[32], is[80];

    words_list(t->row->words, list, sizeof(list));
    if (!has_kind(t, NODE_TEXT, list))
        return;
    for (int i = 0; config_word(t->row->words, i, word, sizeof(word)); i++) {
        if (strcmp(word, t->node->text) != 0)
            continue;
        *field_choice(t->o, t->row) = i;
        return;
    }
    SAY(t, "is %s, must be %s", describe(t->node, is, sizeof(is)), list);
}

/** Only notes where the secret is: --set may still point elsewhere. */
static void take_secret(const struct taking *t)
{
    struct origin *origin = field_origin(t->o, t->row);

    if (!has_kind(t, NODE_TEXT, "a text in double quotes") ||
        !text_fits(t, t->node->text, CONFIG_SECRET_BYTES_MAX))
        return;
    if (!t->node->text[0]) {
        SAY(t, "is empty, must name %s",
            t->secret == SECRET_FILE ? "a file" : "an environment variable");
        return;
    }
    if (t->from == FROM_FILE && origin->secret != SECRET_NONE) {
        SAY(t, "%s was given at %s already: only one of _file and _env",
            t->row->path, origin->where);
        return;
    }
    origin->secret = t->secret;
    origin->secret_name = own(t, t->node->text);
}

static void take_texts(const struct taking *t)
{
    struct texts *texts = field_texts(t->o, t->row);
    const struct config_node *n = t->node;

    if (!has_kind(t, NODE_LIST, "a list of texts: [ \"a\", \"b\" ]"))
        return;
    if (n->items_n > (size_t)t->row->max) {
        SAY(t, "has %zu items, at most %" PRId64 " are allowed", n->items_n,
            t->row->max);
        return;
    }
    const char **items =
        keep_alloc(&t->l->full->keep, n->items_n, sizeof(*items));
    for (size_t i = 0; i < n->items_n; i++) {
        struct taking item = *t;
        item.node = &n->items[i];
        if (!has_kind(&item, NODE_TEXT, "a text in double quotes") ||
            !text_fits(&item, item.node->text, CONFIG_SECRET_BYTES_MAX))
            return;
        items[i] = own(t, item.node->text);
    }
    *texts = (struct texts){items, n->items_n};
}

static void take(const struct taking *t)
{
    struct origin *origin = field_origin(t->o, t->row);
    static void (*const takes[])(const struct taking *) = {
        [ROW_INTEGER] = take_integer, [ROW_BOOLEAN] = take_boolean,
        [ROW_TEXT] = take_text,       [ROW_CHOICE] = take_choice,
        [ROW_SECRET] = take_secret,   [ROW_TEXTS] = take_texts,
    };

    takes[t->row->type](t);
    origin->from = t->from;
    origin->where = own(t, t->node->where);
}

/** The suffix that @p key has beyond @p path, or NULL. */
static const char *suffix(const char *key, const char *path)
{
    size_t len = strlen(path);

    return strncmp(key, path, len) ? NULL : key + len;
}

/** Whether @p rest, what follows a row's path in a key, belongs to the row. */
static bool fits(const struct config_row *r, const char *rest,
                 enum secret_from *ret_secret)
{
    for (int i = SECRET_NONE; i <= SECRET_ENV; i++) {
        enum secret_from secret = (enum secret_from)i;
        if (strcmp(rest, config_secret_suffix(secret)) != 0)
            continue;
        *ret_secret = secret;
        return secret == SECRET_NONE || r->type == ROW_SECRET;
    }
    return false;
}

/** Fills row and secret; false when no row has that key. */
static bool find_row(struct taking *t, const char *key)
{
    for (size_t i = 0; i < t->o->kind->rows_n; i++) {
        const struct config_row *r = &t->o->kind->rows[i];
        const char *rest = suffix(key, r->path);
        if (!rest || !fits(r, rest, &t->secret))
            continue;
        t->row = r;
        return true;
    }
    return false;
}

/** The part of a path after its last dot. */
static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot ? dot + 1 : path;
}

/**
 * Says that nothing is called @p key. The suggestion is the nearest name of
 * all, or else a setting that is called so in another group.
 */
static void say_unknown(const struct taking *t, const char *key)
{
    const struct config_kind *kind = t->o->kind;
    const char *elsewhere = NULL;
    char path[CONFIG_PATH_SIZE];
    struct near near;

    near_init(&near, key);
    for (size_t i = 0; i < kind->rows_n; i++) {
        const struct config_row *r = &kind->rows[i];
        near_offer(&near, r->path);
        if (r->type == ROW_SECRET) {
            struct keep *keep = &t->l->scratch;
            near_offer(&near, keep_textf(keep, "%s_file", r->path));
            near_offer(&near, keep_textf(keep, "%s_env", r->path));
        }
        if (!elsewhere && !strcmp(last_part(r->path), last_part(key)))
            elsewhere = r->path;
    }
    const char *best = near.best ? near.best : elsewhere;
    snprintf(path, sizeof(path), "%s%s", t->o->prefix, key);
    fault(&t->l->faults, t->node->where, path, "is no setting%s%s%s",
          best ? "; did you mean " : " (`foleni config show` lists them)",
          best ? best : "", best ? "?" : "");
}

/** Finds the row of @p key and takes the value, or says what is wrong. */
static void take_key(struct taking *t, const char *key)
{
    if (!find_row(t, key))
        say_unknown(t, key);
    else if (t->row->type == ROW_SECRET && t->secret == SECRET_NONE)
        SAY(t,
            "is a secret and never written here: use %s_file = \"/path\" or "
            "%s_env = \"NAME\"",
            last_part(key), last_part(key));
    else
        take(t);
}

static void take_element(struct config_loader *l, struct config_object *o,
                         const struct config_node *node, size_t i)
{
    struct keep *keep = &l->full->keep;

    o->prefix = keep_textf(keep, "%s[%zu].", o->kind->list, i);
    o->where = keep_text(keep, node->where, strlen(node->where));
    if (node->kind != NODE_GROUP) {
        fault(&l->faults, node->where, o->kind->list,
              "each element must be a group: { ... }");
        return;
    }
    for (size_t k = 0; k < node->items_n; k++) {
        struct taking t = {
            .l = l, .o = o, .node = &node->items[k], .from = FROM_FILE};
        take_key(&t, node->items[k].name);
    }
}

/** Takes `clients` or `shortcodes`; returns the structs, @p ret_n of them. */
static void *take_list(struct config_loader *l, const struct config_kind *kind,
                       const struct config_node *node,
                       struct config_object **ret, size_t *ret_n)
{
    struct keep *keep = &l->full->keep;

    if (node->kind != NODE_LIST || node->items_n > CONFIG_ELEMENTS_MAX) {
        fault(&l->faults, node->where, kind->list,
              "must be a list of at most %d groups: ( { ... }, { ... } )",
              CONFIG_ELEMENTS_MAX);
        return NULL;
    }
    char *structs = keep_alloc(keep, node->items_n, kind->size);
    struct config_object *objects =
        keep_alloc(keep, node->items_n, sizeof(*objects));
    for (size_t i = 0; i < node->items_n; i++) {
        config_object_init(&objects[i], keep, kind, structs + i * kind->size);
        take_element(l, &objects[i], &node->items[i], i);
    }
    *ret = objects;
    *ret_n = node->items_n;
    return structs;
}

static bool group_known(const char *name)
{
    for (size_t i = 0; i < config_settings.rows_n; i++) {
        const char *rest = suffix(config_settings.rows[i].path, name);
        if (rest && *rest == '.')
            return true;
    }
    return false;
}

static void take_group(struct config_loader *l, const struct config_node *node)
{
    struct taking t = {.l = l, .o = &l->full->settings, .from = FROM_FILE};

    if (node->kind != NODE_GROUP) {
        fault(&l->faults, node->where, node->name,
              "is a group of settings: %s = { ... };", node->name);
        return;
    }
    for (size_t i = 0; i < node->items_n; i++) {
        char key[CONFIG_PATH_SIZE];
        t.node = &node->items[i];
        snprintf(key, sizeof(key), "%s.%s", node->name, t.node->name);
        take_key(&t, key);
    }
}

/** A name at the top that is neither a group nor a list of ours. */
static void say_no_group(struct config_loader *l,
                         const struct config_node *node)
{
    struct taking t = {.l = l, .o = &l->full->settings, .node = node};
    struct near near;

    if (node->kind != NODE_GROUP && node->kind != NODE_LIST) {
        say_unknown(&t, node->name);
        return;
    }
    near_init(&near, node->name);
    near_offer(&near, config_clients.list);
    near_offer(&near, config_shortcodes.list);
    for (size_t i = 0; i < config_settings.rows_n; i++) {
        const char *path = config_settings.rows[i].path;
        near_offer(&near, keep_text(&l->scratch, path, strcspn(path, ".")));
    }
    fault(&l->faults, node->where, node->name, "is no group of settings%s%s%s",
          near.best ? "; did you mean " : "", near.best ? near.best : "",
          near.best ? "?" : "");
}

void config_take_tree(struct config_loader *l, const struct config_node *root)
{
    struct config_full *full = l->full;

    for (size_t i = 0; i < root->items_n; i++) {
        const struct config_node *node = &root->items[i];
        if (!strcmp(node->name, config_clients.list))
            full->cfg.clients = take_list(l, &config_clients, node,
                                          &full->clients, &full->cfg.clients_n);
        else if (!strcmp(node->name, config_shortcodes.list))
            full->cfg.shortcodes =
                take_list(l, &config_shortcodes, node, &full->shortcodes,
                          &full->cfg.shortcodes_n);
        else if (group_known(node->name))
            take_group(l, node);
        else
            say_no_group(l, node);
    }
}

/** The text of a --set as the node that a file would have given. */
static void set_integer(struct config_node *n)
{
    char *end;

    errno = 0;
    long long number = strtoll(n->text, &end, 10);
    if (errno || end == n->text || *end)
        return;
    n->kind = NODE_INTEGER;
    n->number = number;
}

static void set_boolean(struct config_node *n)
{
    n->number = !strcmp(n->text, "true");
    if (n->number || !strcmp(n->text, "false"))
        n->kind = NODE_BOOLEAN;
}

/** Lists are given with commas between; nothing = an empty list. */
static void set_texts(struct keep *keep, struct config_node *n)
{
    const char *at = n->text;
    size_t commas = 0;

    for (const char *c = at; *c; c++)
        commas += *c == ',';
    n->kind = NODE_LIST;
    n->items_n = *at ? commas + 1 : 0;
    n->items = keep_alloc(keep, n->items_n, sizeof(*n->items));
    for (size_t i = 0; i < n->items_n; i++) {
        size_t len = strcspn(at, ",");
        n->items[i] = (struct config_node){.name = "",
                                           .where = n->where,
                                           .kind = NODE_TEXT,
                                           .text = keep_text(keep, at, len)};
        at += len + 1;
    }
}

/** Whether a fault may show the value: not where a secret may stand in it. */
static bool set_shown(const struct config_row *r, enum secret_from secret,
                      const char *value)
{
    if (r->type == ROW_SECRET)
        return secret != SECRET_NONE;
    return r->type != ROW_TEXTS && !strcasestr(value, "password") &&
           !strchr(value, '@');
}

void config_take_set(struct config_loader *l, const char *set)
{
    struct taking t = {.l = l, .o = &l->full->settings, .from = FROM_SET};
    size_t len = strcspn(set, "=");
    const char *key = keep_text(&l->scratch, set, len);
    struct config_node node = {.kind = NODE_TEXT, .name = last_part(key)};

    if (!set[len] || len == 0) {
        fault(&l->faults, keep_textf(&l->scratch, "--set %s", set), "",
              "must be path=value, as in api.listen=127.0.0.1:8080");
        return;
    }
    t.node = &node;
    node.text = set + len + 1;
    bool known = find_row(&t, key);
    bool shown = known && set_shown(t.row, t.secret, node.text);
    node.where = keep_textf(&l->scratch, "--set %s", shown ? set : key);
    if (known && t.row->type == ROW_INTEGER)
        set_integer(&node);
    else if (known && t.row->type == ROW_BOOLEAN)
        set_boolean(&node);
    else if (known && t.row->type == ROW_TEXTS)
        set_texts(&l->scratch, &node);
    take_key(&t, key);
}
