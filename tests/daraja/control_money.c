/*
 * Control routes for tests: registrations and money without a token, which
 * would take the product's own one away.
 */
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/payment.h"
#include "tests/daraja/sim_priv.h"

#define AGE_MS_MAX (INT64_C(7) * 86400000)

static enum err_code unknown(const struct json *v, struct err *err)
{
    return err_set(err, ERR_INPUT, "member \"%.40s\": is unknown or wrong",
                   json_name(v));
}

/* {"shortcode": 174379, "c2b_url": "http://...", "c2b_version": 2,
 * "pull": true} */
struct registration {
    int64_t shortcode, version;
    const char *url; /* NULL = not said, "" = none */
    bool pull, pull_said;
};

static enum err_code read_registration(const struct json *doc,
                                       struct registration *r, struct err *err)
{
    *r = (struct registration){.version = 2};
    for (const struct json *v = json_first(doc); v; v = json_next(v)) {
        const char *name = json_name(v);
        bool fine = false;

        if (strcmp(name, "shortcode") == 0)
            fine = json_integer(v, &r->shortcode);
        else if (strcmp(name, "c2b_url") == 0)
            fine = (r->url = json_text(v)) && strlen(r->url) <= ORDER_URL_MAX;
        else if (strcmp(name, "c2b_version") == 0)
            fine = json_integer(v, &r->version) &&
                   (r->version == 1 || r->version == 2);
        else if (strcmp(name, "pull") == 0)
            fine = r->pull_said = flag_read(v, &r->pull, err) == ERR_NONE;
        if (!fine)
            return unknown(v, err);
    }
    return ERR_NONE;
}

static void take_pull(struct sim *sim, struct merchant *m, bool on)
{
    m->pulls = on;
    ledger_register(
        &sim->ledger,
        &(struct ledger_register){"pull", m->settings->shortcode, on, ""},
        clock_wall_at());
}

static void take_c2b(struct sim *sim, struct merchant *m,
                     const struct registration *r)
{
    struct ledger_register line = {.api = "c2b",
                                   .shortcode = r->shortcode,
                                   .version = *r->url ? (int)r->version : 0,
                                   .url = r->url};

    m->c2b_version = line.version;
    text_copy(m->url, sizeof(m->url), r->url);
    ledger_register(&sim->ledger, &line, clock_wall_at());
}

void control_register(void *arg, struct http_request *req)
{
    struct sim *sim = arg;
    CLEANUP(json_free)
    struct json *doc = control_body(req);
    struct registration r;
    struct merchant *m;
    struct err err;

    if (!doc)
        return;
    if (read_registration(doc, &r, &err)) {
        control_refuse(req, err.text);
        return;
    }
    m = merchant_find(sim->merchants, r.shortcode);
    if (!m) {
        control_refuse(req, "no such shortcode");
        return;
    }
    if (r.url)
        take_c2b(sim, m, &r);
    if (r.pull_said)
        take_pull(sim, m, r.pull);
    control_ok(req);
}

static enum err_code read_money(const struct json *doc, struct paid_row *row,
                                enum c2b_kind *kind, struct err *err)
{
    int64_t age_ms = 0;

    *row = (struct paid_row){0};
    *kind = C2B_ONCE;
    for (const struct json *v = json_first(doc); v; v = json_next(v)) {
        const char *name = json_name(v), *text = json_text(v);
        bool fine = false;

        if (strcmp(name, "shortcode") == 0)
            fine = json_integer(v, &row->shortcode);
        else if (strcmp(name, "msisdn") == 0)
            fine = json_integer_or_text(v, &row->msisdn) &&
                   msisdn_valid(row->msisdn);
        else if (strcmp(name, "amount") == 0)
            fine = json_integer(v, &row->amount) && row->amount > 0;
        else if (strcmp(name, "reference") == 0)
            fine = json_scalar(v, row->reference, sizeof(row->reference));
        else if (strcmp(name, "receipt") == 0)
            fine = json_scalar(v, row->receipt, sizeof(row->receipt));
        else if (strcmp(name, "age_ms") == 0)
            fine =
                json_integer(v, &age_ms) && age_ms >= 0 && age_ms <= AGE_MS_MAX;
        else if (strcmp(name, "c2b") == 0)
            fine = text && c2b_find(text) >= 0 &&
                   ((*kind = (enum c2b_kind)c2b_find(text)), true);
        if (!fine)
            return unknown(v, err);
    }
    row->at = clock_wall_at() - age_ms * US_PER_MS;
    return ERR_NONE;
}

void control_pay(void *arg, struct http_request *req)
{
    struct sim *sim = arg;
    CLEANUP(json_free)
    struct json *doc = control_body(req);
    struct paid_row row;
    enum c2b_kind kind;
    struct err err;

    if (!doc)
        return;
    if (read_money(doc, &row, &kind, &err)) {
        control_refuse(req, err.text);
        return;
    }
    if (!merchant_find(sim->merchants, row.shortcode) || row.msisdn == 0 ||
        row.amount == 0) {
        control_refuse(req, "shortcode, msisdn or amount is missing");
        return;
    }
    c2b_pay(sim, &row, kind);
    control_ok(req);
}
