/*
 * Settings, read once at start from a libconfig file and --set overrides. The
 * table is config.def; nothing else in the program knows a setting's name,
 * range or default. All faults of a file are reported together, each with
 * file:line. Unknown keys are faults. Secrets come from a file or an
 * environment variable that the configuration names, and are never printed.
 */
#ifndef FOLENI_COMMON_CONFIG_H
#define FOLENI_COMMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"
#include "common/id.h"

struct buf;

/** A list of strings; owned by the configuration. */
struct texts {
    const char **items;
    size_t n;
};

/** One upstream service that may ask for payments. */
struct client {
    const char *id, *name, *api_key_sha256, *signing_secret;
    struct uuid uuid;         /* id, read              */
    uint8_t api_key_hash[32]; /* api_key_sha256, read */
    int64_t rate; /* requests per second, 0 = limits.client_rate      */
    bool gone;    /* of earlier settings: may ask for nothing any more, but
                     what it asked for is still read                  */
};

/** One shortcode that may be credited. */
struct shortcode {
    int64_t shortcode; /* 5 to 7 digits                             */
    const char *environment, *base_url; /* base_url is never empty  */
    const char *consumer_key, *consumer_secret, *passkey;
    const char *transaction_type;
    int64_t party_b;  /* never 0 after loading                       */
    const char *pull; /* off, post, get                             */
    int64_t rate;     /* pushes per second, 0 = no limit             */
    bool gone;        /* of earlier settings: nothing new is asked for or
                         pushed, what was pushed is still settled    */
};

/** Fields as in config.def; texts are never NULL, secrets not given are "". */
struct config {
#define INTEGER(path, field, ...) int64_t field;
#define BOOLEAN(path, field, ...) bool field;
#define TEXT(path, field, ...) const char *field;
#define CHOICE(path, field, ...) int field;
#define SECRET(path, field, ...) const char *field;
#define TEXTS(path, field, ...) struct texts field;
#define CLIENT_TEXT(...)
#define CLIENT_SECRET(...)
#define CLIENT_INTEGER(...)
#define SHORTCODE_TEXT(...)
#define SHORTCODE_INTEGER(...)
#define SHORTCODE_SECRET(...)
#include "common/config.def"
#undef INTEGER
#undef BOOLEAN
#undef TEXT
#undef CHOICE
#undef SECRET
#undef TEXTS
#undef CLIENT_TEXT
#undef CLIENT_SECRET
#undef CLIENT_INTEGER
#undef SHORTCODE_TEXT
#undef SHORTCODE_INTEGER
#undef SHORTCODE_SECRET
    struct client *clients;
    size_t clients_n;
    struct shortcode *shortcodes;
    size_t shortcodes_n;
};

/**
 * Loads @p path (NULL = defaults only) and applies @p sets ("a.b=value").
 *
 * @param faults  Gets one line per fault, "config.cfg:12: api.listen: ...".
 *
 * @return ERR_CONFIG when there is any fault; *ret is then untouched.
 */
MUST_CHECK enum err_code config_load(const char *path, const char *const *sets,
                                     size_t sets_n, struct config **ret,
                                     struct buf *faults, struct err *err);
void config_free(struct config *cfg);
DEFINE_CLEANUP(config_free, struct config *)

/**
 * What a process that runs may take from @p newer: clients, shortcodes, limits,
 * the keys of callback paths and the secrets of C2B paths. Everything else
 * needs a restart.
 *
 * @param ret_dropped  The number of the key that would be gone, 0 = none: the
 *                     ledger has to be asked first whether an open attempt
 *                     names it (rule S16).
 *
 * @return ERR_CONFIG when it may not be taken at all: the key that signs now
 *         would be gone, a number names another key, a client has another
 *         signing secret (records of the old one would become dead letters),
 *         or too many clients or shortcodes have gone since the start.
 */
MUST_CHECK enum err_code config_may_renew(const struct config *cfg,
                                          const struct config *newer,
                                          int64_t *ret_dropped,
                                          struct err *err);

/**
 * Copies that from @p newer, which stays the caller's. Clients and shortcodes
 * that are not in it stay as `gone`, behind the others: what was answered 202
 * may be unread yet, or be under way. Pointers to clients and shortcodes stay
 * good, but are of the settings before.
 */
void config_renew(struct config *cfg, const struct config *newer);

/** Writes the effective values with units and sentences; secrets hidden. */
void config_show(const struct config *cfg, struct buf *out);

/** Same as one JSON document. */
void config_show_json(const struct config *cfg, struct buf *out);

/** Writes the commented file of all defaults: what ships as config.cfg. */
void config_write_default(struct buf *out);

/** A secret that the settings name. */
struct config_secret {
    const char *path; /* "shortcodes[0].passkey"; borrowed for the call */
    const char *file; /* that it was read from, NULL = the environment  */
    const char *text;
};

/** Calls @p fn for each secret that is there. */
void config_each_secret(const struct config *cfg,
                        void (*fn)(void *arg, const struct config_secret *s),
                        void *arg);

/** The client with that immutable id, or NULL. */
const struct client *config_client(const struct config *cfg,
                                   const struct uuid *id);

/** The key of callback paths with that number, or NULL. */
const char *config_mac_key(const struct config *cfg, int64_t id);

/** The shortcode's row, or NULL; also one that is gone. */
const struct shortcode *config_shortcode(const struct config *cfg,
                                         int64_t shortcode);

#endif
