/*
 * What one row cannot say: forms of texts (addresses, URLs, hashes), orders
 * between two settings, and what must be unique. Also derives the fields that
 * follow from others: UUIDs, key hashes, base URLs, PartyB. Settings of which a
 * fault was said already are left alone: one mistake, one line.
 */
#include "common/config_priv.h"

#include "common/id.h"
#include "common/must.h"
#include "common/net.h"
#include "common/sign.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES_MIN 16 /* of keys that sign: 128 bits */
#define PATH_SECRET_MAX 128

static const char SANDBOX_URL[] = "https://sandbox.safaricom.co.ke";
static const char PRODUCTION_URL[] = "https://api.safaricom.co.ke";

/** Where the value of @p r was said; the object's own place for a default. */
static const char *where_of(const struct config_object *o,
                            const struct config_row *r)
{
    const struct origin *origin = field_origin(o, r);

    return origin->where[0] ? origin->where : o->where;
}

static void say(struct config_loader *l, const struct config_object *o,
                const struct config_row *r, const char *what)
{
    char path[CONFIG_PATH_SIZE];

    snprintf(path, sizeof(path), "%s%s", o->prefix, r->path);
    field_origin(o, r)->bad = true;
    fault(&l->faults, where_of(o, r), path, "%s", what);
}

#define SAY(l, o, r, ...)                            \
    do {                                             \
        char what_[512];                             \
        snprintf(what_, sizeof(what_), __VA_ARGS__); \
        say((l), (o), (r), what_);                   \
    } while (0)

/* --- forms of texts --- */

static bool digits_up_to(const char *text, long max)
{
    char *end;

    if (!isdigit((unsigned char)*text) || strlen(text) > 9)
        return false;
    return strtol(text, &end, 10) <= max && !*end;
}

/** address:port or [address]:port; the address is resolved by who listens. */
static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');

    if (!colon || colon == text || strchr(text, ' '))
        return false;
    bool bracketed = text[0] == '[' && colon[-1] == ']';
    bool plain = strchr(text, ':') == colon && text[0] != '[';
    return (bracketed || plain) && digits_up_to(colon + 1, 65535);
}

static bool is_address_or_empty(const char *text)
{
    return !*text || is_address(text);
}

static bool is_url(const char *text)
{
    size_t scheme = !strncmp(text, "http://", 7)    ? 7
                    : !strncmp(text, "https://", 8) ? 8
                                                    : 0;

    if (scheme == 0 || !isalnum((unsigned char)text[scheme]))
        return text[scheme] == '[' && scheme > 0;
    return strcspn(text, " \"<>?#@\\") == strlen(text) &&
           text[strlen(text) - 1] != '/';
}

static bool is_url_or_empty(const char *text)
{
    return !*text || is_url(text);
}

static bool is_brokers(const char *text)
{
    bool begins = *text && *text != ',';

    return begins && !strstr(text, ",,") && text[strlen(text) - 1] != ',';
}

/** Kafka's own rule for topic names. */
static bool is_prefix(const char *text)
{
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("._-", *text))
            return false;
    return true;
}

static bool is_pools(const char *text)
{
    static const char *const words[] = {"high", "normal", "low"};
    bool seen[ARRAY_LEN(words)] = {false};

    for (;;) {
        size_t len = strcspn(text, ","), i = 0;
        while (i < ARRAY_LEN(words) &&
               (strlen(words[i]) != len || memcmp(words[i], text, len) != 0))
            i++;
        if (i == ARRAY_LEN(words) || seen[i])
            return false;
        seen[i] = true;
        if (!text[len])
            return true;
        text += len + 1;
    }
}

/** A connection string is shown and logged: no password in it (libpq 34.1). */
static bool is_conninfo(const char *text)
{
    const char *scheme = strstr(text, "://");
    const char *host = strchr(text, '@');
    const char *colon = scheme ? strchr(scheme + 3, ':') : NULL;

    return *text && !strcasestr(text, "password") &&
           !(host && colon && colon < host);
}

static bool is_uuid(const char *text)
{
    struct uuid id;
    struct err err;

    return uuid_parse(text, strlen(text), &id, &err) == ERR_NONE;
}

static bool is_sha256(const char *text)
{
    uint8_t hash[SHA256_SIZE];

    return sign_unhex(text, strlen(text), hash, sizeof(hash));
}

static bool is_environment(const char *text)
{
    return !strcmp(text, "sandbox") || !strcmp(text, "production");
}

static bool is_pull(const char *text)
{
    return !strcmp(text, "off") || !strcmp(text, "post") ||
           !strcmp(text, "get");
}

static bool is_transaction_type(const char *text)
{
    return !strcmp(text, "CustomerPayBillOnline") ||
           !strcmp(text, "CustomerBuyGoodsOnline");
}

/** A key of ours, when it is given at all. */
static bool is_key_or_empty(const char *text)
{
    return !*text || strlen(text) >= KEY_BYTES_MIN;
}

/** The last part of a URL's path that nobody guesses. */
static bool is_path_secret_or_empty(const char *text)
{
    return is_key_or_empty(text) && strlen(text) <= PATH_SECRET_MAX &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                        "0123456789_-") == strlen(text);
}

#define PATH_SECRET "16 to 128 letters, digits, underscores and hyphens"
#define ADDRESS "address:port, as in 127.0.0.1:8080 or [::1]:8080"
#define URL "http:// or https://, a host, and no slash at the end"

static const struct form {
    const struct config_kind *kind;
    const char *path;
    bool (*ok)(const char *text);
    const char *wanted;
} forms[] = {
    {&config_settings, "api.listen", is_address, ADDRESS},
    {&config_settings, "api.admin_listen", is_address, ADDRESS},
    {&config_settings, "worker.admin_listen", is_address, ADDRESS},
    {&config_settings, "sim.listen", is_address, ADDRESS},
    {&config_settings, "sim.tls_listen", is_address_or_empty,
     ADDRESS ", or empty"},
    {&config_settings, "callbacks.base_url", is_url, URL},
    {&config_settings, "kafka.brokers", is_brokers,
     "host:port with commas between"},
    {&config_settings, "kafka.prefix", is_prefix,
     "letters, digits, dots, underscores and hyphens"},
    {&config_settings, "worker.pools", is_pools,
     "high, normal and low with commas between, each once at most"},
    {&config_settings, "database.conninfo", is_conninfo,
     "a libpq connection string without a password: that one goes to "
     "database.password_file or database.password_env"},
    {&config_settings, "callbacks.mac_key", is_key_or_empty,
     "16 bytes or more"},
    {&config_settings, "callbacks.second_mac_key", is_key_or_empty,
     "16 bytes or more"},
    {&config_settings, "token.key", is_key_or_empty, "16 bytes or more"},
    {&config_settings, "c2b.secret", is_path_secret_or_empty, PATH_SECRET},
    {&config_settings, "c2b.second_secret", is_path_secret_or_empty,
     PATH_SECRET},
    {&config_clients, "id", is_uuid,
     "a UUID, as in 6f1c6a3e-7c1b-4b0e-9d5a-0d3a4c5b6e7f"},
    {&config_clients, "api_key_sha256", is_sha256,
     "64 hexadecimal digits: printf %s \"$KEY\" | sha256sum"},
    {&config_clients, "signing_secret", is_key_or_empty, "16 bytes or more"},
    {&config_shortcodes, "environment", is_environment,
     "sandbox or production"},
    {&config_shortcodes, "base_url", is_url_or_empty, URL ", or empty"},
    {&config_shortcodes, "transaction_type", is_transaction_type,
     "CustomerPayBillOnline or CustomerBuyGoodsOnline"},
    {&config_shortcodes, "pull", is_pull, "off, post or get"},
};

/** Says what form a text must have; a secret's own text is not shown. */
static void say_form(struct config_loader *l, const struct config_object *o,
                     const struct config_row *r, const struct form *form)
{
    const char *text = *field_text(o, r);
    bool hidden = r->type == ROW_SECRET || form->ok == is_conninfo;

    if (hidden || !*text)
        SAY(l, o, r, "must be %s", form->wanted);
    else
        SAY(l, o, r, "is \"%.60s\", must be %s", text, form->wanted);
}

/** What is required but absent, and texts of a wrong form. */
static void check_object(struct config_loader *l, const struct config_object *o)
{
    for (size_t i = 0; i < o->kind->rows_n; i++) {
        const struct config_row *r = &o->kind->rows[i];
        const struct origin *origin = &o->origins[i];
        bool given = r->type == ROW_SECRET ? origin->secret != SECRET_NONE
                                           : origin->from != FROM_DEFAULT;
        if ((r->flags & REQUIRED) && !given && !origin->bad)
            SAY(l, o, r, "is missing%s: %s",
                r->type == ROW_SECRET ? " (as ..._file or ..._env)" : "",
                r->sentence);
    }
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        const struct form *form = &forms[i];
        if (form->kind != o->kind)
            continue;
        const struct config_row *r = config_row(o->kind, form->path);
        if (!field_origin(o, r)->bad && !form->ok(*field_text(o, r)))
            say_form(l, o, r, form);
    }
}

/* --- orders between two settings --- */

static const struct order {
    const char *low, *high;
    bool equal; /* may be */
    const char *why;
} orders[] = {
    {"worker.heartbeat_ms", "worker.heartbeat_trust_ms", false,
     "a worker must have had the time to confirm that it lives"},
    {"worker.heartbeat_trust_ms", "worker.heartbeat_dead_ms", false,
     "a worker must stop pushing before others take over"},
    {"payments.backoff_min_ms", "payments.backoff_max_ms", true,
     "the bound of a wait grows from one to the other"},
    {"payments.busy_phone_min_ms", "payments.busy_phone_max_ms", true,
     "the wait lies between them"},
    {"payments.query_first_ms", "payments.query_max_ms", true,
     "the gap between queries grows from one to the other"},
    {"payments.query_first_ms", "payments.prompt_timeout_ms", false,
     "the first query must come while the prompt is still open"},
    {"payments.prompt_timeout_ms", "payments.unresolved_after_ms", true,
     "a payment is unknown before it is unresolved"},
    {"lines.sync_ms", "lines.ahead_ms", false,
     "send times must last until the next look"},
    {"lines.sync_ms", "lines.trust_ms", false,
     "a worker must have had the time to look"},
    {"breaker.open_min_ms", "breaker.open_max_ms", true,
     "the time grows from one to the other"},
    {"gate.connect_timeout_ms", "gate.total_timeout_ms", true,
     "connecting is a part of the call"},
    {"topics.min_insync", "topics.replication", true,
     "there are no more replicas than that"},
    {"topics.requests_retention_h", "database.retention_h", false,
     "a record that Kafka still has must find its payment's row"},
};

static void check_order(struct config_loader *l, const struct order *order)
{
    const struct config_object *o = &l->full->settings;
    const struct config_row *low = config_row(o->kind, order->low);
    const struct config_row *high = config_row(o->kind, order->high);
    int64_t a = *field_integer(o, low), b = *field_integer(o, high);

    if (field_origin(o, low)->bad || field_origin(o, high)->bad)
        return;
    if (a < b || (order->equal && a == b))
        return;
    /* Blame the one that was given; both given: the lower one. */
    bool blame_low = where_of(o, low)[0] != '\0';
    SAY(l, o, blame_low ? low : high,
        "%s (%" PRId64 ") must be %s %s (%" PRId64 "): %s", order->low, a,
        order->equal ? "at most" : "below", order->high, b, order->why);
}

static void check_networks(struct config_loader *l)
{
    const struct texts *networks = &l->full->cfg.callbacks_networks;
    const struct config_object *o = &l->full->settings;
    struct network n;

    for (size_t i = 0; i < networks->n; i++)
        if (!network_parse(networks->items[i], &n))
            SAY(l, o, config_row(o->kind, "callbacks.networks"),
                "has \"%.60s\", must be networks as in 196.201.214.0/24 or "
                "2001:db8::/32, or addresses",
                networks->items[i]);
}

static void check_mac_keys(struct config_loader *l)
{
    const struct config *cfg = &l->full->cfg;
    const struct config_object *o = &l->full->settings;
    const struct config_row *r =
        config_row(o->kind, "callbacks.second_mac_key_id");
    const struct config_row *key =
        config_row(o->kind, "callbacks.second_mac_key");
    int64_t id = cfg->callbacks_second_mac_key_id;

    if (field_origin(o, r)->bad || field_origin(o, key)->bad)
        return;
    if (!id != !*cfg->callbacks_second_mac_key)
        SAY(l, o, r, "goes with callbacks.second_mac_key: give both or none");
    else if (id == cfg->callbacks_mac_key_id)
        SAY(l, o, r, "is callbacks.mac_key_id too: each key has its own");
}

/* Rule S4: that no deadline outlives its record in Kafka holds by the ranges of
   the two rows already; a unit test keeps them so. That no record outlives its
   payment's row is an order above. */
static void check_sums(struct config_loader *l)
{
    const struct config *cfg = &l->full->cfg;
    const struct config_object *o = &l->full->settings;
    int64_t push_ms = cfg->gate_connect_timeout_ms + cfg->gate_total_timeout_ms;

    if (cfg->worker_drain_timeout_ms <= push_ms)
        SAY(l, o, config_row(o->kind, "worker.drain_timeout_ms"),
            "is %" PRId64 ", must be above gate.connect_timeout_ms + "
            "gate.total_timeout_ms (%" PRId64 "): a push that is open at "
            "SIGTERM needs that long",
            cfg->worker_drain_timeout_ms, push_ms);
    if (!*cfg->api_tls_cert != !*cfg->api_tls_key)
        SAY(l, o, config_row(o->kind, "api.tls_cert"),
            "goes with api.tls_key: give both or none");
    if (*cfg->sim_tls_listen && (!*cfg->sim_tls_cert || !*cfg->sim_tls_key))
        SAY(l, o, config_row(o->kind, "sim.tls_listen"),
            "needs sim.tls_cert and sim.tls_key");
}

/* --- clients and shortcodes --- */

/** Says that element @p i has the same @p path as element @p k before it. */
static void say_twice(struct config_loader *l,
                      const struct config_object *objects, size_t i, size_t k,
                      const char *path)
{
    const struct config_row *r = config_row(objects[i].kind, path);

    SAY(l, &objects[i], r, "is that of %.*s (%s) too: each needs its own",
        (int)strlen(objects[k].prefix) - 1, objects[k].prefix,
        where_of(&objects[k], r));
}

/** What a wrong form leaves empty: its fault was said already. */
static void derive_client(struct client *c)
{
    struct err err;

    if (uuid_parse(c->id, strlen(c->id), &c->uuid, &err))
        c->uuid = (struct uuid){{0}};
    if (!sign_unhex(c->api_key_sha256, strlen(c->api_key_sha256),
                    c->api_key_hash, sizeof(c->api_key_hash)))
        memset(c->api_key_hash, 0, sizeof(c->api_key_hash));
}

/** Whether elements @p i and @p k both have a @p path worth comparing. */
static bool both_good(const struct config_object *objects, size_t i, size_t k,
                      const char *path)
{
    const struct config_row *r = config_row(objects[i].kind, path);

    return !field_origin(&objects[i], r)->bad &&
           !field_origin(&objects[k], r)->bad;
}

static void check_clients(struct config_loader *l)
{
    struct config *cfg = &l->full->cfg;
    const struct config_object *o = l->full->clients;

    for (size_t i = 0; i < cfg->clients_n; i++) {
        struct client *c = &cfg->clients[i];
        check_object(l, &o[i]);
        derive_client(c);
        for (size_t k = 0; k < i; k++) {
            const struct client *other = &cfg->clients[k];
            if (both_good(o, i, k, "id") && uuid_equal(&c->uuid, &other->uuid))
                say_twice(l, o, i, k, "id");
            if (both_good(o, i, k, "api_key_sha256") &&
                !memcmp(c->api_key_hash, other->api_key_hash,
                        sizeof(c->api_key_hash)))
                say_twice(l, o, i, k, "api_key_sha256");
        }
    }
}

static void derive_shortcode(struct shortcode *s)
{
    if (!*s->base_url)
        s->base_url = !strcmp(s->environment, "production") ? PRODUCTION_URL
                                                            : SANDBOX_URL;
    if (s->party_b == 0)
        s->party_b = s->shortcode;
}

static void check_shortcodes(struct config_loader *l)
{
    struct config *cfg = &l->full->cfg;
    const struct config_object *o = l->full->shortcodes;

    for (size_t i = 0; i < cfg->shortcodes_n; i++) {
        struct shortcode *s = &cfg->shortcodes[i];
        check_object(l, &o[i]);
        derive_shortcode(s);
        for (size_t k = 0; k < i; k++)
            if (both_good(o, i, k, "shortcode") &&
                s->shortcode == cfg->shortcodes[k].shortcode)
                say_twice(l, o, i, k, "shortcode");
    }
}

void config_check(struct config_loader *l)
{
    check_object(l, &l->full->settings);
    for (size_t i = 0; i < ARRAY_LEN(orders); i++)
        check_order(l, &orders[i]);
    check_sums(l);
    check_mac_keys(l);
    check_networks(l);
    check_clients(l);
    check_shortcodes(l);
}
