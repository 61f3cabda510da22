/*
 * Loading in five steps: defaults, file, --set, secrets, checks of what stands
 * together. Each step says its faults and goes on; only the whole decides. The
 * struct that callers see is the head of a larger one that owns every text and
 * remembers where each value came from.
 */
#include "common/config.h"

#include "common/config_priv.h"
#include "common/must.h"

#include <stdlib.h>
#include <string.h>

static struct config_full *full_new(const char *path)
{
    struct config_full *full = NEW(struct config_full);

    full->path = path ? keep_text(&full->keep, path, strlen(path)) : "";
    config_object_init(&full->settings, &full->keep, &config_settings,
                       &full->cfg);
    return full;
}

/** False when there is a file that cannot be read at all. */
static bool load_file(struct config_loader *l)
{
    if (!l->full->path[0])
        return true;
    const struct config_node *root =
        config_tree_read(l->full->path, &l->scratch, &l->faults);
    if (root)
        config_take_tree(l, root);
    return root != NULL;
}

static void load(struct config_loader *l, const char *const *sets,
                 size_t sets_n)
{
    bool readable = load_file(l);

    for (size_t i = 0; i < sets_n; i++)
        config_take_set(l, sets[i]);
    /* Without its file the rest would be blamed for what is not there. */
    if (!readable)
        return;
    config_take_secrets(l);
    config_check(l);
}

enum err_code config_load(const char *path, const char *const *sets,
                          size_t sets_n, struct config **ret,
                          struct buf *faults, struct err *err)
{
    struct config_loader l = {.full = full_new(path), .faults = {faults, 0}};

    load(&l, sets, sets_n);
    keep_done(&l.scratch);
    if (l.faults.n > 0) {
        config_free(&l.full->cfg);
        return err_set(err, ERR_CONFIG, "%zu fault%s in %s", l.faults.n,
                       l.faults.n == 1 ? "" : "s",
                       path ? path : "the settings");
    }
    *ret = &l.full->cfg;
    return ERR_NONE;
}

void config_free(struct config *cfg)
{
    if (!cfg)
        return;
    struct config_full *full = container_of(cfg, struct config_full, cfg);
    keep_done(&full->keep);
    free(full);
}

const struct config_full *config_full(const struct config *cfg)
{
    _Static_assert(offsetof(struct config_full, cfg) == 0, "cfg comes first");
    return (const struct config_full *)(const void *)cfg;
}

const struct client *config_client(const struct config *cfg,
                                   const struct uuid *id)
{
    for (size_t i = 0; i < cfg->clients_n; i++)
        if (uuid_equal(&cfg->clients[i].uuid, id))
            return &cfg->clients[i];
    return NULL;
}

/* Those of @p newer, and those of @p cfg that are not among them. */
static size_t clients_after(const struct config *cfg,
                            const struct config *newer)
{
    size_t n = newer->clients_n;

    for (size_t i = 0; i < cfg->clients_n; i++)
        n += !config_client(newer, &cfg->clients[i].uuid);
    return n;
}

static size_t shortcodes_after(const struct config *cfg,
                               const struct config *newer)
{
    size_t n = newer->shortcodes_n;

    for (size_t i = 0; i < cfg->shortcodes_n; i++)
        n += !config_shortcode(newer, cfg->shortcodes[i].shortcode);
    return n;
}

/* Whether key @p id of @p cfg is there under its number in @p newer. */
static enum err_code same_key(const struct config *cfg,
                              const struct config *newer, int64_t id,
                              bool *ret_there, struct err *err)
{
    const char *key = config_mac_key(newer, id);

    if (key && strcmp(key, config_mac_key(cfg, id)) != 0)
        return err_set(err, ERR_CONFIG,
                       "cannot take these settings: number %lld names another "
                       "key now",
                       (long long)id);
    *ret_there = key != NULL;
    return ERR_NONE;
}

/* Records that the old one signed may be unread yet, and the other programs may
   not have the new one. */
static enum err_code same_secrets(const struct config *cfg,
                                  const struct config *newer, struct err *err)
{
    for (size_t i = 0; i < cfg->clients_n; i++) {
        const struct client *old = &cfg->clients[i];
        const struct client *now = config_client(newer, &old->uuid);

        if (now && strcmp(now->signing_secret, old->signing_secret) != 0)
            return err_set(err, ERR_CONFIG,
                           "cannot take these settings: the signing secret of "
                           "client \"%s\" changes with a restart only",
                           old->name);
    }
    return ERR_NONE;
}

enum err_code config_may_renew(const struct config *cfg,
                               const struct config *newer, int64_t *ret_dropped,
                               struct err *err)
{
    int64_t first = cfg->callbacks_mac_key_id;
    int64_t second = cfg->callbacks_second_mac_key_id;
    bool has_first = false, has_second = true;

    if (same_key(cfg, newer, first, &has_first, err) ||
        (second && same_key(cfg, newer, second, &has_second, err)))
        return err->code;
    if (!has_first)
        return err_set(err, ERR_CONFIG,
                       "cannot take these settings: the key that signs now, "
                       "number %lld, has to stay as the second one",
                       (long long)first);
    if (same_secrets(cfg, newer, err))
        return err->code;
    if (clients_after(cfg, newer) > CONFIG_ELEMENTS_KEPT ||
        shortcodes_after(cfg, newer) > CONFIG_ELEMENTS_KEPT)
        return err_set(err, ERR_CONFIG,
                       "cannot take these settings: too many clients or "
                       "shortcodes have gone since the start, restart instead");
    *ret_dropped = has_second ? 0 : second;
    return ERR_NONE;
}

static struct client client_copy(struct keep *keep, const struct client *from)
{
    struct client c = *from;

    c.id = keep_text(keep, from->id, strlen(from->id));
    c.name = keep_text(keep, from->name, strlen(from->name));
    c.api_key_sha256 =
        keep_text(keep, from->api_key_sha256, strlen(from->api_key_sha256));
    c.signing_secret =
        keep_text(keep, from->signing_secret, strlen(from->signing_secret));
    return c;
}

static void renew_clients(struct config *cfg, const struct config *newer)
{
    struct keep *keep = &container_of(cfg, struct config_full, cfg)->keep;
    size_t n = 0;
    struct client *clients =
        keep_alloc(keep, clients_after(cfg, newer), sizeof(*clients));

    for (size_t i = 0; i < newer->clients_n; i++)
        clients[n++] = client_copy(keep, &newer->clients[i]);
    for (size_t i = 0; i < cfg->clients_n; i++) {
        if (config_client(newer, &cfg->clients[i].uuid))
            continue;
        clients[n] = cfg->clients[i];
        clients[n++].gone = true;
    }
    cfg->clients = clients;
    cfg->clients_n = n;
}

static struct shortcode shortcode_copy(struct keep *keep,
                                       const struct shortcode *from)
{
    struct shortcode s = *from;
    const char **texts[] = {&s.environment,  &s.base_url,
                            &s.consumer_key, &s.consumer_secret,
                            &s.passkey,      &s.transaction_type,
                            &s.pull};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        *texts[i] = keep_text(keep, *texts[i], strlen(*texts[i]));
    return s;
}

static void renew_shortcodes(struct config *cfg, const struct config *newer)
{
    struct keep *keep = &container_of(cfg, struct config_full, cfg)->keep;
    size_t n = 0;
    struct shortcode *all =
        keep_alloc(keep, shortcodes_after(cfg, newer), sizeof(*all));

    for (size_t i = 0; i < newer->shortcodes_n; i++)
        all[n++] = shortcode_copy(keep, &newer->shortcodes[i]);
    for (size_t i = 0; i < cfg->shortcodes_n; i++) {
        if (config_shortcode(newer, cfg->shortcodes[i].shortcode))
            continue;
        all[n] = cfg->shortcodes[i];
        all[n++].gone = true;
    }
    cfg->shortcodes = all;
    cfg->shortcodes_n = n;
}

static void renew_limits(struct config *cfg, const struct config *newer)
{
    cfg->limits_window_s = newer->limits_window_s;
    cfg->limits_client_rate = newer->limits_client_rate;
    cfg->limits_address_rate = newer->limits_address_rate;
    cfg->limits_slow_ms = newer->limits_slow_ms;
}

void config_renew(struct config *cfg, const struct config *newer)
{
    struct keep *keep = &container_of(cfg, struct config_full, cfg)->keep;
    const struct {
        const char **to, *from;
    } secrets[] = {
        {&cfg->callbacks_mac_key, newer->callbacks_mac_key},
        {&cfg->callbacks_second_mac_key, newer->callbacks_second_mac_key},
        {&cfg->c2b_secret, newer->c2b_secret},
        {&cfg->c2b_second_secret, newer->c2b_second_secret},
    };

    for (size_t i = 0; i < ARRAY_LEN(secrets); i++)
        *secrets[i].to =
            keep_text(keep, secrets[i].from, strlen(secrets[i].from));
    renew_clients(cfg, newer);
    renew_shortcodes(cfg, newer);
    renew_limits(cfg, newer);
    cfg->callbacks_mac_key_id = newer->callbacks_mac_key_id;
    cfg->callbacks_second_mac_key_id = newer->callbacks_second_mac_key_id;
}

const char *config_mac_key(const struct config *cfg, int64_t id)
{
    if (id == cfg->callbacks_mac_key_id)
        return cfg->callbacks_mac_key;
    if (id && id == cfg->callbacks_second_mac_key_id)
        return cfg->callbacks_second_mac_key;
    return NULL;
}

const struct shortcode *config_shortcode(const struct config *cfg,
                                         int64_t shortcode)
{
    for (size_t i = 0; i < cfg->shortcodes_n; i++)
        if (cfg->shortcodes[i].shortcode == shortcode)
            return &cfg->shortcodes[i];
    return NULL;
}
