/*
 * What the files of config share: the rows of config.def as data, the tree that
 * a file or a --set becomes, where each value came from, and how faults are
 * said. config_tree.c alone knows libconfig.
 *
 *   file -> config_tree.c -> nodes -> config_take.c -> struct config
 *   --set ------------------^             config.c checks; config_show.c prints
 */
#ifndef FOLENI_COMMON_CONFIG_PRIV_H
#define FOLENI_COMMON_CONFIG_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/config.h"

#define CONFIG_FILE_BYTES_MAX ((size_t)1 << 20)
#define CONFIG_DEPTH_MAX 6 /* groups in lists in groups ...           */
#define CONFIG_SECRET_BYTES_MAX 4096
#define CONFIG_ELEMENTS_MAX 1000 /* clients, and shortcodes                 */
#define CONFIG_ELEMENTS_KEPT (2 * CONFIG_ELEMENTS_MAX) /* with those gone */
#define CONFIG_PATH_SIZE 160 /* "shortcodes[12].consumer_secret_file"   */

/* --- memory that goes away as a whole, wiped: secrets may be in it --- */

struct keep {
    struct keep_block *first;
};

/** Zeroed memory of @p n times @p size bytes, until keep_done(). */
void *keep_alloc(struct keep *k, size_t n, size_t size);
const char *keep_text(struct keep *k, const char *text, size_t len);
const char *keep_textf(struct keep *k, const char *fmt, ...) PRINTF_LIKE(2, 3);
void keep_done(struct keep *k);

/* --- faults --- */

struct faults {
    struct buf *out;
    size_t n;
};

/** Adds the line "where: path: what"; an empty @p path is left out. */
void fault(struct faults *f, const char *where, const char *path,
           const char *fmt, ...) PRINTF_LIKE(4, 5);

/* --- rows --- */

enum row_type {
    ROW_INTEGER,
    ROW_BOOLEAN,
    ROW_TEXT,
    ROW_CHOICE,
    ROW_SECRET,
    ROW_TEXTS
};

enum row_flags { REQUIRED = 1 };

struct config_row {
    enum row_type type;
    const char *path;  /* "api.listen"; in a list's element just "name" */
    size_t offset;     /* of the field in its struct                    */
    int64_t fallback;  /* the default of integers and booleans          */
    int64_t min, max;  /* integers; texts: bytes; lists: items          */
    const char *text;  /* the default of texts and choices              */
    const char *words; /* choices: "a|b|c"                             */
    const char *unit;  /* "" = none                                    */
    unsigned flags;
    const char *sentence;
};

/** A kind of object whose fields rows describe. */
struct config_kind {
    const char *list; /* "" = the settings themselves */
    const struct config_row *rows;
    size_t rows_n;
    size_t size; /* of its struct */
};

extern const struct config_kind config_settings, config_clients,
    config_shortcodes;

/** The row of @p path, which must exist. */
const struct config_row *config_row(const struct config_kind *kind,
                                    const char *path);

/** The @p i-th of words like "a|b|c"; false beyond the last. */
bool config_word(const char *words, int i, char *out, size_t size);

/* --- objects: a struct, its rows, and where its values came from --- */

enum origin_from { FROM_DEFAULT, FROM_FILE, FROM_SET };
enum secret_from { SECRET_NONE, SECRET_FILE, SECRET_ENV };

struct origin {
    enum origin_from from;
    bool bad;          /* a fault was said of it already             */
    const char *where; /* "config.cfg:12", "--set a.b=c", "" = default */
    enum secret_from secret;
    const char *secret_name; /* of the file or the variable            */
};

struct config_object {
    const struct config_kind *kind;
    char *base;             /* the struct                              */
    struct origin *origins; /* one per row                             */
    const char *prefix;     /* "", "clients[0]."                       */
    const char *where;      /* where the object itself begins          */
};

/** The address of a field, by the row's type. */
int64_t *field_integer(const struct config_object *o,
                       const struct config_row *r);
bool *field_boolean(const struct config_object *o, const struct config_row *r);
int *field_choice(const struct config_object *o, const struct config_row *r);
const char **field_text(const struct config_object *o,
                        const struct config_row *r);
struct texts *field_texts(const struct config_object *o,
                          const struct config_row *r);
struct origin *field_origin(const struct config_object *o,
                            const struct config_row *r);

/** What config_load() really allocates around the struct it hands out. */
struct config_full {
    struct config cfg;
    struct keep keep; /* every text, list and origin */
    const char *path; /* of the file, "" = none      */
    struct config_object settings;
    struct config_object *clients, *shortcodes; /* cfg.clients_n, ... */
};

const struct config_full *config_full(const struct config *cfg);

/** Makes @p o an object of @p kind with every default in place. */
void config_object_init(struct config_object *o, struct keep *keep,
                        const struct config_kind *kind, void *base);

/* --- the tree --- */

enum node_kind {
    NODE_INTEGER,
    NODE_FLOAT,
    NODE_BOOLEAN,
    NODE_TEXT,
    NODE_LIST,
    NODE_GROUP
};

struct config_node {
    const char *name; /* "" in a list */
    const char *where;
    enum node_kind kind;
    int64_t number; /* booleans too */
    const char *text;
    struct config_node *items;
    size_t items_n;
};

/** Reads the file at @p path; NULL when its faults were said. */
struct config_node *config_tree_read(const char *path, struct keep *keep,
                                     struct faults *faults);

/* --- taking values --- */

struct config_loader {
    struct config_full *full;
    struct keep scratch; /* nodes */
    struct faults faults;
};

/** Takes a whole file, and one --set. */
void config_take_tree(struct config_loader *l, const struct config_node *root);
void config_take_set(struct config_loader *l, const char *set);

/** Reads the secrets that were named, once all sources were taken. */
void config_take_secrets(struct config_loader *l);

/** What a key has after its row's path: "", "_file" or "_env". */
const char *config_secret_suffix(enum secret_from from);

/** Whether the librdkafka property named so holds a secret. */
bool config_property_secret(const char *name, size_t len);

/** What is right by itself but not together; derives what follows from it. */
void config_check(struct config_loader *l);

#endif
