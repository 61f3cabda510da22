/*
 * The control routes below /sim/, for tests alone: profile, scripts, outages,
 * journal, summary. What is not understood to the letter is refused with 400,
 * and then nothing was changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/payment.h"
#include "tests/daraja/sim_priv.h"

#define REPLY_BYTES_MAX (256 * 1024)
/* What one GET /sim/journal brings at most. */
#define JOURNAL_BYTES_MAX (8 * 1024 * 1024)
#define DOWN_MS_MAX 86400000

void control_refuse(struct http_request *req, const char *why)
{
    http_problem(req, &(struct http_problem){.status = 400,
                                             .code = "invalid_control",
                                             .title = "Not understood",
                                             .detail = why});
}

static void reply_buf(struct http_request *req, struct buf *out)
{
    http_reply(req, 200, "application/json", out->data, out->len);
    buf_done(out);
}

void control_ok(struct http_request *req)
{
    http_reply(req, 200, "application/json", "{\"ok\":true}", 11);
}

struct json *control_body(struct http_request *req)
{
    struct json *doc;
    struct err err;
    size_t len;
    const char *text = http_body(req, &len);

    if (json_parse_strict(text, len, &doc, &err) == ERR_NONE) {
        if (json_is_object(doc))
            return doc;
        json_free(doc);
        err_set(&err, ERR_INPUT, "the body is no object");
    }
    control_refuse(req, err.text);
    return NULL;
}

void control_show_profile(void *arg, struct http_request *req)
{
    const struct sim *sim = arg;
    struct buf out;

    buf_init(&out, REPLY_BYTES_MAX);
    profile_write(&sim->profile, &out);
    reply_buf(req, &out);
}

/* "seed" is the simulator's, not the profile's: the rest of the object is. */
static enum err_code read_profile(struct sim *sim, const struct json *doc,
                                  struct err *err)
{
    const struct json *seed = json_get(doc, "seed");
    int64_t n = 0;

    if (seed && (!json_integer(seed, &n) || n < 0))
        return err_set(err, ERR_INPUT, "member \"seed\": is no whole number");
    if (profile_read(&sim->profile, doc, err))
        return err->code;
    if (seed)
        sim_seed(sim, (uint64_t)n);
    return ERR_NONE;
}

void control_profile(void *arg, struct http_request *req)
{
    CLEANUP(json_free)
    struct json *doc = control_body(req);
    struct err err;

    if (!doc)
        return;
    if (read_profile(arg, doc, &err))
        control_refuse(req, err.text);
    else
        control_show_profile(arg, req);
}

/* One phone's script. */
struct script {
    int64_t msisdn;
    struct step steps[SCRIPT_STEPS_MAX];
    size_t n;
    bool repeat;
};

static enum err_code read_steps(const struct json *list, struct script *s,
                                struct err *err)
{
    if (!json_is_array(list))
        return err_set(err, ERR_INPUT, "member \"steps\": is no list");
    s->n = 0;
    for (const struct json *v = json_first(list); v; v = json_next(v)) {
        if (s->n == SCRIPT_STEPS_MAX)
            return err_set(err, ERR_INPUT, "member \"steps\": more than %d",
                           SCRIPT_STEPS_MAX);
        if (step_read(v, &s->steps[s->n++], err))
            return err->code;
    }
    return ERR_NONE;
}

static enum err_code read_msisdn(const struct json *v, int64_t *ret,
                                 struct err *err)
{
    char text[32];

    if (!json_scalar(v, text, sizeof(text)) ||
        msisdn_parse(text, strlen(text), ret, err))
        return err_set(err, ERR_INPUT, "member \"msisdn\": no such number");
    return ERR_NONE;
}

static enum err_code read_script(const struct json *doc, struct script *s,
                                 struct err *err)
{
    enum err_code code = ERR_NONE;

    *s = (struct script){0};
    if (!json_is_object(doc) || !json_get(doc, "msisdn") ||
        !json_get(doc, "steps"))
        return err_set(err, ERR_INPUT, "a handset has msisdn and steps");
    for (const struct json *v = json_first(doc); v && !code; v = json_next(v)) {
        const char *name = json_name(v);

        if (strcmp(name, "msisdn") == 0)
            code = read_msisdn(v, &s->msisdn, err);
        else if (strcmp(name, "steps") == 0)
            code = read_steps(v, s, err);
        else if (strcmp(name, "repeat") == 0)
            code = flag_read(v, &s->repeat, err);
        else
            code =
                err_set(err, ERR_INPUT, "member \"%.40s\": is unknown", name);
    }
    return code;
}

static void apply(struct sim *sim, const struct script *s)
{
    handset_script(
        handset_get(sim->handsets, s->msisdn, loop_now_us(sim->loop)), s->steps,
        s->n, s->repeat);
}

void control_script(void *arg, struct http_request *req)
{
    CLEANUP(json_free)
    struct json *doc = control_body(req);
    struct script s;
    struct err err;

    if (!doc)
        return;
    if (read_script(doc, &s, &err)) {
        control_refuse(req, err.text);
        return;
    }
    apply(arg, &s);
    control_ok(req);
}

/* @p sim NULL only checks. */
static enum err_code each_script(struct sim *sim, const struct json *list,
                                 struct err *err)
{
    struct script s;

    for (const struct json *v = json_first(list); v; v = json_next(v)) {
        if (read_script(v, &s, err))
            return err->code;
        if (sim)
            apply(sim, &s);
    }
    return ERR_NONE;
}

void control_handsets(void *arg, struct http_request *req)
{
    CLEANUP(json_free)
    struct json *doc = control_body(req);
    const struct json *list = json_get(doc, "handsets");
    struct err err;

    if (!doc)
        return;
    if (!json_is_array(list) || json_next(json_first(doc)))
        control_refuse(req, "the body is {\"handsets\": [...]}");
    else if (each_script(NULL, list, &err) || each_script(arg, list, &err))
        control_refuse(req, err.text);
    else
        control_ok(req);
}

void control_tokens(void *arg, struct http_request *req)
{
    struct sim *sim = arg;
    CLEANUP(json_free)
    struct json *doc = control_body(req);
    const char *action = json_text(json_get(doc, "action"));

    if (!doc)
        return;
    if (!action || strcmp(action, "revoke") != 0 ||
        json_next(json_first(doc))) {
        control_refuse(req, "the body is {\"action\": \"revoke\"}");
        return;
    }
    access_revoke(sim->access);
    control_ok(req);
}

static enum err_code read_down(const struct json *doc, enum down_kind *kind,
                               int64_t *ret_us, struct err *err)
{
    static const char *const kinds[] = {"none", "refuse", "500", "503",
                                        "stall"};
    const char *name = json_text(json_get(doc, "kind"));
    const struct json *ms = json_get(doc, "for_ms");
    size_t members = 0, i = 0;
    int64_t n = 0;

    for (const struct json *v = json_first(doc); v; v = json_next(v))
        members++;
    while (name && i < ARRAY_LEN(kinds) && strcmp(kinds[i], name) != 0)
        i++;
    if (!name || i == ARRAY_LEN(kinds) || members != (ms ? 2u : 1u))
        return err_set(err, ERR_INPUT,
                       "kind is none, refuse, 500, 503 or stall; the only "
                       "other member is for_ms");
    if (ms && (!json_integer(ms, &n) || n < 1 || n > DOWN_MS_MAX))
        return err_set(err, ERR_INPUT, "for_ms is a number of 1 to %d",
                       DOWN_MS_MAX);
    if (i == DOWN_REFUSE && !ms)
        return err_set(err, ERR_INPUT,
                       "refuse needs for_ms: it closes the "
                       "control routes too");
    *kind = (enum down_kind)i;
    *ret_us = n * US_PER_MS;
    return ERR_NONE;
}

void control_down(void *arg, struct http_request *req)
{
    CLEANUP(json_free)
    struct json *doc = control_body(req);
    enum down_kind kind = DOWN_NOT;
    int64_t for_us = 0;
    struct err err;

    if (!doc)
        return;
    if (read_down(doc, &kind, &for_us, &err)) {
        control_refuse(req, err.text);
        return;
    }
    control_ok(req);
    outage_set(arg, kind, for_us);
}

/*
 * ?offset= is in bytes, by default just after the last reset. Only whole lines
 * are sent, so the next offset is this one plus what came; nothing = the end.
 */
void control_journal(void *arg, struct http_request *req)
{
    struct sim *sim = arg;
    const char *from = http_query(req, "offset");
    uint64_t offset = from ? strtoull(from, NULL, 10) : sim->ledger.since;
    struct buf out;
    struct err err;

    buf_init(&out, JOURNAL_BYTES_MAX);
    if (journal_commit(sim->journal, 0, &err) ||
        journal_read(sim->journal, offset, &out, &err))
        control_refuse(req, err.text);
    else
        http_reply(req, 200, "application/jsonl", out.data, out.len);
    buf_done(&out);
}

void control_summary(void *arg, struct http_request *req)
{
    const struct sim *sim = arg;
    struct buf out;
    struct json_out j = {&out, false};

    buf_init(&out, REPLY_BYTES_MAX);
    json_open(&j, NULL, '{');
    ledger_summary(&sim->ledger, &j);
    json_put_int(&j, "queries", (int64_t)sim->queries);
    json_put_int(&j, "pulls", (int64_t)sim->pulls);
    json_put_int(&j, "tokens", (int64_t)sim->tokens);
    json_put_int(&j, "open_prompts", (int64_t)prompts_open(sim->prompts));
    json_put_int(&j, "open_answers", (int64_t)answers_open(sim->answers));
    json_put_int(&j, "open_letters", (int64_t)letters_open(sim->letters));
    json_put_bool(&j, "down", sim->down != DOWN_NOT);
    json_put_int(&j, "seed", (int64_t)sim->seed);
    json_close(&j, '}');
    reply_buf(req, &out);
}

void control_metrics(void *arg UNUSED, struct http_request *req)
{
    struct buf out;

    buf_init(&out, REPLY_BYTES_MAX);
    metrics_write(&out, MG_COMMON | MG_SIM);
    http_reply(req, 200, "text/plain; version=0.0.4", out.data, out.len);
    buf_done(&out);
}

void control_health(void *arg, struct http_request *req)
{
    const struct sim *sim = arg;

    if (sim->disk_failed)
        http_reply(req, 503, "application/json", "{\"status\":\"down\"}", 17);
    else
        http_reply(req, 200, "application/json", "{\"status\":\"ok\"}", 15);
}

/* The journal stays; its next line says that the counts begin anew. */
void control_reset(void *arg, struct http_request *req)
{
    struct sim *sim = arg;

    sim_forget(sim);
    handsets_reset(sim->handsets);
    access_revoke(sim->access);
    outage_set(sim, DOWN_NOT, 0);
    ledger_reset(&sim->ledger, clock_wall_at());
    sim->queries = sim->tokens = sim->pulls = 0;
    sim_seed(sim, (uint64_t)sim->cfg->sim_seed);
    profile_preset(&sim->profile, (enum preset)sim->cfg->sim_profile);
    control_ok(req);
}
