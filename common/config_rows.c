/*
 * config.def as data: one row per setting with the offset of its field, so that
 * loader, checks, printer and shipped file walk the same table. Also the typed
 * access to those fields, in one place.
 */
#include "common/config_priv.h"

#include "common/must.h"

#include <stddef.h>
#include <string.h>

#define AT(object, path_, field_) \
    .path = path_, .offset = offsetof(struct object, field_)

#define INTEGER_ROW(object, path_, field_, fallback_, min_, max_, unit_, \
                    flags_, sentence_)                                   \
    {AT(object, path_, field_),                                          \
     .type = ROW_INTEGER,                                                \
     .fallback = fallback_,                                              \
     .min = min_,                                                        \
     .max = max_,                                                        \
     .unit = unit_,                                                      \
     .flags = flags_,                                                    \
     .sentence = sentence_},
#define TEXT_ROW(object, path_, field_, text_, max_, flags_, sentence_) \
    {AT(object, path_, field_),                                         \
     .type = ROW_TEXT,                                                  \
     .text = text_,                                                     \
     .max = max_,                                                       \
     .unit = "",                                                        \
     .flags = flags_,                                                   \
     .sentence = sentence_},
#define SECRET_ROW(object, path_, field_, flags_, sentence_)                  \
    {AT(object, path_, field_), .type = ROW_SECRET,   .text = "", .unit = "", \
     .flags = flags_,           .sentence = sentence_},

/* One inclusion of the table per kind: what is not its own is left out. */
#define INTEGER(path_, ...) INTEGER_ROW(config, path_, __VA_ARGS__)
#define TEXT(path_, ...) TEXT_ROW(config, path_, __VA_ARGS__)
#define SECRET(path_, ...) SECRET_ROW(config, path_, __VA_ARGS__)
#define BOOLEAN(path_, field_, fallback_, flags_, sentence_) \
    {AT(config, path_, field_), .type = ROW_BOOLEAN,         \
     .fallback = fallback_,     .unit = "",                  \
     .flags = flags_,           .sentence = sentence_},
#define CHOICE(path_, field_, text_, words_, flags_, sentence_)      \
    {AT(config, path_, field_), .type = ROW_CHOICE, .text = text_,   \
     .words = words_,           .unit = "",         .flags = flags_, \
     .sentence = sentence_},
#define TEXTS(path_, field_, max_, flags_, sentence_)                          \
    {AT(config, path_, field_), .type = ROW_TEXTS,    .max = max_, .unit = "", \
     .flags = flags_,           .sentence = sentence_},
#define CLIENT_TEXT(...)
#define CLIENT_SECRET(...)
#define CLIENT_INTEGER(...)
#define SHORTCODE_TEXT(...)
#define SHORTCODE_INTEGER(...)
#define SHORTCODE_SECRET(...)
static const struct config_row setting_rows[] = {
#include "common/config.def"
};
#undef INTEGER
#undef TEXT
#undef SECRET
#undef BOOLEAN
#undef CHOICE
#undef TEXTS
#undef CLIENT_TEXT
#undef CLIENT_SECRET
#undef CLIENT_INTEGER
#undef SHORTCODE_TEXT
#undef SHORTCODE_INTEGER
#undef SHORTCODE_SECRET

#define INTEGER(...)
#define TEXT(...)
#define SECRET(...)
#define BOOLEAN(...)
#define CHOICE(...)
#define TEXTS(...)
#define CLIENT_TEXT(path_, ...) TEXT_ROW(client, path_, __VA_ARGS__)
#define CLIENT_SECRET(path_, ...) SECRET_ROW(client, path_, __VA_ARGS__)
#define CLIENT_INTEGER(path_, ...) INTEGER_ROW(client, path_, __VA_ARGS__)
#define SHORTCODE_TEXT(...)
#define SHORTCODE_INTEGER(...)
#define SHORTCODE_SECRET(...)
static const struct config_row client_rows[] = {
#include "common/config.def"
};
#undef CLIENT_TEXT
#undef CLIENT_SECRET
#undef CLIENT_INTEGER
#undef SHORTCODE_TEXT
#undef SHORTCODE_INTEGER
#undef SHORTCODE_SECRET

#define CLIENT_TEXT(...)
#define CLIENT_SECRET(...)
#define CLIENT_INTEGER(...)
#define SHORTCODE_TEXT(path_, ...) TEXT_ROW(shortcode, path_, __VA_ARGS__)
#define SHORTCODE_INTEGER(path_, ...) INTEGER_ROW(shortcode, path_, __VA_ARGS__)
#define SHORTCODE_SECRET(path_, ...) SECRET_ROW(shortcode, path_, __VA_ARGS__)
static const struct config_row shortcode_rows[] = {
#include "common/config.def"
};

const struct config_kind config_settings = {
    "", setting_rows, ARRAY_LEN(setting_rows), sizeof(struct config)};
const struct config_kind config_clients = {
    "clients", client_rows, ARRAY_LEN(client_rows), sizeof(struct client)};
const struct config_kind config_shortcodes = {"shortcodes", shortcode_rows,
                                              ARRAY_LEN(shortcode_rows),
                                              sizeof(struct shortcode)};

const struct config_row *config_row(const struct config_kind *kind,
                                    const char *path)
{
    for (size_t i = 0; i < kind->rows_n; i++)
        if (!strcmp(kind->rows[i].path, path))
            return &kind->rows[i];
    must_failed(path, __FILE__, __LINE__);
}

bool config_word(const char *words, int i, char *out, size_t size)
{
    const char *begin = words;

    for (; i > 0; i--) {
        begin = strchr(begin, '|');
        if (!begin)
            return false;
        begin++;
    }
    size_t len = strcspn(begin, "|");
    must(len < size);
    memcpy(out, begin, len);
    out[len] = '\0';
    return true;
}

static void *field(const struct config_object *o, const struct config_row *r,
                   enum row_type type)
{
    must(r->type == type);
    return o->base + r->offset;
}

int64_t *field_integer(const struct config_object *o,
                       const struct config_row *r)
{
    return field(o, r, ROW_INTEGER);
}

bool *field_boolean(const struct config_object *o, const struct config_row *r)
{
    return field(o, r, ROW_BOOLEAN);
}

int *field_choice(const struct config_object *o, const struct config_row *r)
{
    return field(o, r, ROW_CHOICE);
}

const char **field_text(const struct config_object *o,
                        const struct config_row *r)
{
    return field(o, r, r->type == ROW_SECRET ? ROW_SECRET : ROW_TEXT);
}

struct texts *field_texts(const struct config_object *o,
                          const struct config_row *r)
{
    return field(o, r, ROW_TEXTS);
}

struct origin *field_origin(const struct config_object *o,
                            const struct config_row *r)
{
    return &o->origins[r - o->kind->rows];
}

static int word_index(const char *words, const char *word)
{
    char candidate[32];

    for (int i = 0; config_word(words, i, candidate, sizeof(candidate)); i++)
        if (!strcmp(candidate, word))
            return i;
    must_failed(word, __FILE__, __LINE__);
}

static void set_default(const struct config_object *o,
                        const struct config_row *r)
{
    switch (r->type) {
    case ROW_INTEGER: *field_integer(o, r) = r->fallback; break;
    case ROW_BOOLEAN: *field_boolean(o, r) = r->fallback != 0; break;
    case ROW_CHOICE: *field_choice(o, r) = word_index(r->words, r->text); break;
    case ROW_TEXT:
    case ROW_SECRET: *field_text(o, r) = r->text; break;
    case ROW_TEXTS: *field_texts(o, r) = (struct texts){0}; break;
    }
}

void config_object_init(struct config_object *o, struct keep *keep,
                        const struct config_kind *kind, void *base)
{
    o->kind = kind;
    o->base = base;
    o->prefix = "";
    o->where = "";
    o->origins = keep_alloc(keep, kind->rows_n, sizeof(*o->origins));
    for (size_t i = 0; i < kind->rows_n; i++) {
        o->origins[i].where = "";
        set_default(o, &kind->rows[i]);
    }
}
