/*
 * What has to hold where real money is moved, beyond what always has: nothing
 * is lost with a disk or a server, nothing is read on its way, no key is one
 * that others know.
 */
#include "common/buf.h"
#include "common/call.h"
#include "common/must.h"
#include "tools/doctor.h"
#include "tools/fetch.h"

#include <stdio.h>
#include <string.h>

#define REPLICATION_MIN 3
#define INSYNC_MIN 2

static bool begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

/* Of "host:port", "https://host": is it this machine alone? */
static bool is_loopback(const char *address)
{
    const char *host = strstr(address, "://");

    host = host ? host + 3 : address;
    return begins(host, "127.") || begins(host, "localhost") ||
           begins(host, "[::1]");
}

/* --- on its way --- */

static void check_api_tls(struct doctor *d, struct doctor_line *ret)
{
    const struct config *cfg = d->cfg;

    if (*cfg->api_tls_cert)
        doctor_say(ret, DOCTOR_OK, "", "%.200s", cfg->api_tls_cert);
    else if (is_loopback(cfg->api_listen))
        doctor_say(ret, DOCTOR_OK, "", "%s is for a proxy on this host",
                   cfg->api_listen);
    else
        doctor_say(ret, DOCTOR_FAIL,
                   "set api.tls_cert and api.tls_key, or listen on 127.0.0.1 "
                   "behind a proxy that has them",
                   "%s is plain HTTP", cfg->api_listen);
}

static void check_admin(struct doctor *d, struct doctor_line *ret)
{
    const char *const listeners[] = {d->cfg->api_admin_listen,
                                     d->cfg->worker_admin_listen};

    for (size_t i = 0; i < ARRAY_LEN(listeners); i++)
        if (begins(listeners[i], "0.0.0.0:") || begins(listeners[i], "[::]:"))
            doctor_say(ret, DOCTOR_WARN, "bind it to a private address",
                       "%s shows the admin pages to everybody", listeners[i]);
    doctor_say(ret, DOCTOR_OK, "", "%s, %s", listeners[0], listeners[1]);
}

static bool all_loopback(const char *brokers)
{
    bool all = true;

    for (const char *at = brokers; at && all; at = strchr(at, ',')) {
        at += *at == ',';
        all = is_loopback(at + strspn(at, " "));
    }
    return all;
}

static void check_kafka_tls(struct doctor *d, struct doctor_line *ret)
{
    const struct texts *all = &d->cfg->kafka_properties;
    bool tls = false;

    for (size_t i = 0; i < all->n; i++)
        tls = tls || !strcasecmp(all->items[i], "security.protocol=ssl") ||
              !strcasecmp(all->items[i], "security.protocol=sasl_ssl");
    if (!tls && !all_loopback(d->cfg->kafka_brokers))
        doctor_say(ret, DOCTOR_FAIL,
                   "kafka.properties: security.protocol=SASL_SSL",
                   "records go to %.200s in the clear", d->cfg->kafka_brokers);
    doctor_say(ret, DOCTOR_OK, "", tls ? "on" : "on this host alone");
}

static void check_postgres_tls(struct doctor *d, struct doctor_line *ret)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;

    if (!doctor_ask(d, ret,
                    "SELECT s.ssl::text, coalesce(inet_client_addr() << "
                    "'127.0.0.0/8' OR inet_client_addr() = '::1', true)::text, "
                    "s.version FROM pg_stat_ssl s WHERE pid = pg_backend_pid()",
                    NULL, 0, &rows))
        return;
    if (strcmp(doctor_text(rows, 0, 0), "true") != 0 &&
        strcmp(doctor_text(rows, 0, 1), "true") != 0)
        doctor_say(ret, DOCTOR_FAIL,
                   "database.conninfo: sslmode=verify-full sslrootcert=...",
                   "payments go to postgres in the clear");
    doctor_say(ret, DOCTOR_OK, "", "%s",
               *doctor_text(rows, 0, 2) ? doctor_text(rows, 0, 2)
                                        : "on this host alone");
}

static void check_callback_url(struct doctor *d, struct doctor_line *ret)
{
    const char *url = d->cfg->callbacks_base_url;

    if (!begins(url, "https://"))
        doctor_say(ret, DOCTOR_FAIL, "callbacks.base_url = \"https://...\"",
                   "%.200s is no HTTPS", url);
    else if (is_loopback(url))
        doctor_say(ret, DOCTOR_FAIL, "name what Daraja can reach",
                   "%.200s is this host", url);
    doctor_say(ret, DOCTOR_OK, "", "%.200s", url);
}

static void check_daraja_url(struct doctor *d, struct doctor_line *ret)
{
    for (size_t i = 0; i < d->cfg->shortcodes_n; i++) {
        const struct shortcode *sc = &d->cfg->shortcodes[i];

        if (!begins(sc->base_url, "https://api.safaricom.co.ke"))
            doctor_say(ret, DOCTOR_FAIL, "environment = \"production\"",
                       "%lld is at %.150s", (long long)sc->shortcode,
                       sc->base_url);
    }
    doctor_say(ret, DOCTOR_OK, "", "all shortcodes are at the production API");
}

/* --- kept --- */

static void judge_copies(const struct kafka_topic_plan *plan,
                         const struct kafka_topic_facts *facts,
                         struct doctor_line *ret)
{
    if (!facts->exists)
        doctor_say(ret, DOCTOR_FAIL, "foleni topics create", "%s is absent",
                   plan->name);
    else if (facts->replication < REPLICATION_MIN)
        doctor_say(ret, DOCTOR_FAIL, "reassign it to three brokers",
                   "%s has %d replicas: it is lost with a disk", plan->name,
                   facts->replication);
    else if (facts->min_insync < INSYNC_MIN)
        doctor_say(ret, DOCTOR_FAIL, "alter it: min.insync.replicas=2",
                   "%s has min.insync.replicas %d: a 202 may be on one disk",
                   plan->name, facts->min_insync);
    else if (facts->unclean)
        doctor_say(ret, DOCTOR_FAIL,
                   "alter it: unclean.leader.election.enable=false",
                   "%s may get a leader without confirmed records", plan->name);
}

static void check_copies(struct doctor *d, struct doctor_line *ret)
{
    struct kafka_topic_plan plans[TOPICS_N];
    struct kafka_topic_facts facts[TOPICS_N];
    struct err err = {.code = ERR_NONE};

    if (d->cluster.embedded) {
        doctor_say(ret, DOCTOR_FAIL, "use a cluster of three brokers",
                   "the embedded broker keeps everything in memory");
        return;
    }
    kafka_topic_plans(d->cfg, plans);
    if (kafka_topics_read(d->cfg, plans, facts, &err)) {
        doctor_say(ret, DOCTOR_FAIL, "may this client describe topics?", "%s",
                   err.text);
        return;
    }
    for (int i = 0; i < TOPICS_N; i++)
        judge_copies(&plans[i], &facts[i], ret);
    doctor_say(ret, DOCTOR_OK, "", "%d replicas, %d in sync", REPLICATION_MIN,
               INSYNC_MIN);
}

static void check_commits(struct doctor *d, struct doctor_line *ret)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;

    if (!doctor_ask(d, ret,
                    "SELECT name, setting FROM pg_settings WHERE (name, "
                    "setting) IN (('fsync', 'off'), ('full_page_writes', "
                    "'off'), ('synchronous_commit', 'off'))",
                    NULL, 0, &rows))
        return;
    if (pg_text_rows_n(rows))
        doctor_say(ret, DOCTOR_FAIL, "turn it on",
                   "%s is off: what was committed may be forgotten",
                   doctor_text(rows, 0, 0));
    doctor_say(ret, DOCTOR_OK, "",
               "fsync, full_page_writes and "
               "synchronous_commit are on");
}

static void check_standby(struct doctor *d, struct doctor_line *ret)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *names, *commit;

    if (!d->cfg->database_failover) {
        doctor_say(ret, DOCTOR_OK, "",
                   "database.failover is false: what was "
                   "committed is worth what this server's disk is worth");
        return;
    }
    if (!doctor_ask(d, ret,
                    "SELECT current_setting('synchronous_standby_names'), "
                    "current_setting('synchronous_commit')",
                    NULL, 0, &rows))
        return;
    names = doctor_text(rows, 0, 0);
    commit = doctor_text(rows, 0, 1);
    if (!*names)
        doctor_say(ret, DOCTOR_FAIL,
                   "set synchronous_standby_names, or database.failover = "
                   "false if nothing ever takes this server's place",
                   "no standby is synchronous: one that is promoted may have "
                   "forgotten pushes");
    else if (!strcmp(commit, "local"))
        doctor_say(ret, DOCTOR_FAIL, "synchronous_commit = on",
                   "synchronous_commit is local: no standby is waited for");
    doctor_say(ret, DOCTOR_OK, "", "commits wait for %.200s", names);
}

/* --- keys --- */

/* Of our examples, demo and tests, and what people write for a while. */
static const char *const known_words[] = {"test-",    "change", "example",
                                          "demo",     "secret", "password",
                                          "12345678", "0123456"};
static const char sandbox_passkey[] =
    "bfb279f9aa9bdbcf158e97dd71a467cd2e0c893059b10f78e6b72ada1ed2c919";

static void judge_secret(void *arg, const struct config_secret *s)
{
    struct doctor_line *ret = arg;

    for (size_t i = 0; i < ARRAY_LEN(known_words); i++)
        if (strcasestr(s->text, known_words[i]))
            doctor_say(ret, DOCTOR_FAIL, "make another: openssl rand -hex 32",
                       "%s looks like an example's", s->path);
    if (!strcmp(s->text, sandbox_passkey))
        doctor_say(ret, DOCTOR_FAIL, "use the shortcode's own",
                   "%s is the sandbox's, which everybody knows", s->path);
}

static void check_secrets(struct doctor *d, struct doctor_line *ret)
{
    if (d->cfg->kafka_unsigned_requests)
        doctor_say(ret, DOCTOR_WARN,
                   "sign them, and set kafka.unsigned_requests = false",
                   "whoever may write to Kafka may order pushes");
    config_each_secret(d->cfg, judge_secret, ret);
    doctor_say(ret, DOCTOR_OK, "", "none is of an example");
}

/* --- who wakes up --- */

#define RULES_BYTES_MAX ((size_t)1 << 20)
#define METRIC_OF_ALARMS "foleni_alarms"

static void check_alerts(struct doctor *d, struct doctor_line *ret)
{
    char url[600];
    struct call_request req = {.url = url};
    struct buf rules;
    struct err err = {.code = ERR_NONE};

    if (!*d->cfg->alerts_url) {
        doctor_say(ret, DOCTOR_WARN,
                   "set alerts.url to the Prometheus that watches Foleni",
                   "not judged: alerts.url is not set");
        return;
    }
    snprintf(url, sizeof(url), "%s/api/v1/rules?type=alert",
             d->cfg->alerts_url);
    buf_init(&rules, RULES_BYTES_MAX);
    if (fetch(d->cfg, &req, "reading the alerts", &rules, &err))
        doctor_say(ret, DOCTOR_FAIL, "does alerts.url name a Prometheus?",
                   "%.300s", err.text);
    else if (!strstr(rules.data, METRIC_OF_ALARMS))
        doctor_say(ret, DOCTOR_FAIL,
                   "load alerts, at least of foleni_alarms_open > 0",
                   "no alert of %.200s looks at %s", d->cfg->alerts_url,
                   METRIC_OF_ALARMS);
    doctor_say(ret, DOCTOR_OK, "", "loaded at %.200s", d->cfg->alerts_url);
    buf_done(&rules);
}

const struct doctor_check doctor_production[] = {
    {"api_tls", NEEDS_NOTHING, check_api_tls},
    {"admin_listeners", NEEDS_NOTHING, check_admin},
    {"kafka_tls", NEEDS_NOTHING, check_kafka_tls},
    {"postgres_tls", NEEDS_POSTGRES, check_postgres_tls},
    {"callback_url", NEEDS_NOTHING, check_callback_url},
    {"daraja_url", NEEDS_NOTHING, check_daraja_url},
    {"kafka_copies", NEEDS_KAFKA, check_copies},
    {"postgres_commits", NEEDS_POSTGRES, check_commits},
    {"postgres_standby", NEEDS_POSTGRES, check_standby},
    {"secrets", NEEDS_NOTHING, check_secrets},
    {"alerts", NEEDS_NOTHING, check_alerts},
};
const size_t doctor_production_n = ARRAY_LEN(doctor_production);
