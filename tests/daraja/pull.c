/*
 * Pull Transactions: registering a shortcode, and the money of the last 48
 * hours, page by page, whatever became of its notices.
 *
 * Dates of a request are EAT without a zone; those of an answer end in "Z" and
 * a knob says whether that is true. A page can lie in the ways of the knob
 * `pull_lie`; the journal never does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/payment.h"
#include "tests/daraja/sim_priv.h"
#include "tests/daraja/words.h"

#define WINDOW_US (48 * 3600 * US_PER_S)
#define EAT_US (3 * 3600 * US_PER_S)
#define DAYS_AGO_US (72 * 3600 * US_PER_S)
#define HUGE_BYTES (3 * 1024 * 1024)
#define BAD "400.001"

/* As the words of the knob. */
enum lie {
    LIE_NONE,
    LIE_GARBAGE,
    LIE_HTML,
    LIE_SHAPE,
    LIE_SHORTCODE,
    LIE_AMOUNT,
    LIE_OUTSIDE,
    LIE_SAME,
    LIE_HUGE
};

struct range {
    int64_t from, until, offset;
};

static bool refuse(struct sim *sim, struct http_request *req, const char *text)
{
    sim_refuse(sim, req, 400, BAD, text, 0);
    return false;
}

static int64_t answer_time(struct sim *sim)
{
    return loop_now_us(sim->loop) +
           chance_spread(&sim->chance, &sim->profile.pull);
}

static void reply(struct sim *sim, struct http_request *req, const char *type)
{
    struct answer *a = sim_answer(sim, req);

    answer_fill(a, ACT_SEND, 200, type, &sim->text);
    answer_at(a, answer_time(sim));
}

static bool text_is(const struct json *doc, const char *name, const char *want)
{
    const char *text = json_text(json_get(doc, name));

    return text && (!want || strcmp(text, want) == 0) && *text;
}

static bool check_register(struct sim *sim, struct http_request *req,
                           const struct json *doc)
{
    char number[16];

    if (!text_is(doc, "RequestType", "Pull"))
        return refuse(sim, req, "Invalid RequestType");
    if (!json_scalar(json_get(doc, "NominatedNumber"), number, sizeof(number)))
        return refuse(sim, req, "Invalid NominatedNumber");
    if (!text_is(doc, "CallBackURL", NULL) ||
        !inspect_url(&sim->profile, json_text(json_get(doc, "CallBackURL"))))
        return refuse(sim, req, "Invalid CallBackURL");
    return true;
}

void sim_pull_register(void *arg, struct http_request *req)
{
    struct sim *sim = arg;
    CLEANUP(json_free)
    struct json *doc = NULL;
    char id[REQUEST_ID_SIZE];
    struct merchant *m;
    bool again;

    if (!sim_enter(sim, req, "ShortCode", &doc, &m) ||
        !check_register(sim, req, doc))
        return;
    again = m->pulls;
    m->pulls = true;
    if (!again)
        ledger_register(
            &sim->ledger,
            &(struct ledger_register){"pull", m->settings->shortcode, 1, ""},
            clock_wall_at());
    sim_request_id(sim, id);
    buf_reset(&sim->text);
    words_pull_registered(&sim->text, id, m->settings->shortcode, again,
                          sim->profile.pull_spaces);
    reply(sim, req, WORDS_JSON);
}

/* "2020-08-04 8:36:00": six numbers, of any number of digits, as the samples
   have them, and what stands between them. */
static bool read_date(const struct json *v, int64_t *ret_at)
{
    const char *at = json_text(v);
    static const char between[6] = "-- ::";
    char eat[80];
    size_t len = 0;
    struct err err;

    for (size_t i = 0; at && i < sizeof(between); i++) {
        char *end;
        long n = strtol(at, &end, 10);

        if (end == at || *end != between[i] || n < 0 || n > 9999)
            return false;
        len += (size_t)snprintf(eat + len, sizeof(eat) - len,
                                i == 0 ? "%04ld" : "%02ld", n);
        at = end + 1;
    }
    return at && clock_parse_eat(eat, len, ret_at, &err) == ERR_NONE;
}

static bool read_range(struct sim *sim, struct http_request *req,
                       const struct json *doc, struct range *r)
{
    int64_t now = clock_wall_at();

    if (!read_date(json_get(doc, "StartDate"), &r->from))
        return refuse(sim, req, "Invalid StartDate");
    if (!read_date(json_get(doc, "EndDate"), &r->until) || r->until < r->from)
        return refuse(sim, req, "Invalid EndDate");
    if (!json_integer_or_text(json_get(doc, "OffSetValue"), &r->offset) ||
        r->offset < 0)
        return refuse(sim, req, "Invalid OffSetValue");
    r->until += US_PER_S - 1; /* the second that was named is in it */
    r->until = MIN(r->until, now - sim->profile.pull_delay_ms * US_PER_MS);
    r->from = MAX(r->from, now - WINDOW_US);
    return true;
}

/* What never shows is drawn once per receipt. */
static bool shows(const struct sim *sim, const struct paid_row *row,
                  int64_t shortcode, const struct range *r)
{
    struct chance c;

    if (row->shortcode != shortcode || row->at < r->from || row->at > r->until)
        return false;
    chance_seed(&c, chance_mix(sim->seed, chance_hash(row->receipt,
                                                      strlen(row->receipt))));
    return !chance_hit(&c, sim->profile.pull_loss);
}

static void put_row(struct sim *sim, struct json_out *j,
                    const struct paid_row *row)
{
    const struct profile *p = &sim->profile;
    struct pull_words w = {
        .receipt = row->receipt,
        .reference = row->reference,
        .paid_at = row->at + (p->pull_zone ? EAT_US : 0),
        .msisdn = p->pull_local ? row->msisdn % 1000000000 : row->msisdn,
        .amount = row->amount,
    };

    if (p->pull_lie == LIE_OUTSIDE)
        w.paid_at -= DAYS_AGO_US;
    w.nan = p->pull_lie == LIE_AMOUNT;
    words_pull_row(j, &w);
}

/* Rows from the offset on; returns how many. */
static int64_t put_rows(struct sim *sim, struct json_out *j,
                        const struct range *r, int64_t shortcode)
{
    int64_t seen = 0, n = 0;
    int64_t skip = sim->profile.pull_lie == LIE_SAME ? 0 : r->offset;

    for (size_t i = 0; i < sim->paid.n && n < sim->profile.pull_page; i++) {
        const struct paid_row *row = paid_at(&sim->paid, i);

        if (!shows(sim, row, shortcode, r) || seen++ < skip)
            continue;
        put_row(sim, j, row);
        n++;
    }
    return n;
}

static int64_t write_page(struct sim *sim, const struct range *r,
                          int64_t shortcode)
{
    struct json_out j = {&sim->text, false};
    int64_t lie = sim->profile.pull_lie, n;
    char id[REQUEST_ID_SIZE];

    sim_request_id(sim, id);
    buf_reset(&sim->text);
    json_open(&j, NULL, '{');
    json_put_text(&j, "ResponseRefID", id);
    json_put_text(&j, "ResponseCode", "1000");
    json_put_text(&j, "ResponseMessage", "Success");
    if (lie == LIE_SHORTCODE)
        json_put_text(&j, "ShortCode", "999999");
    json_open(&j, "Response", lie == LIE_SHAPE ? '{' : '[');
    json_open(&j, lie == LIE_SHAPE ? "rows" : NULL, '[');
    n = put_rows(sim, &j, r, shortcode);
    json_close(&j, ']');
    json_close(&j, lie == LIE_SHAPE ? '}' : ']');
    json_close(&j, '}');
    return n;
}

static void spoil(struct sim *sim, struct http_request *req)
{
    const char *type = WORDS_JSON;

    if (sim->profile.pull_lie == LIE_GARBAGE) {
        buf_reset(&sim->text);
        buf_adds(&sim->text, "{\"ResponseCode\":\"1000\",\"Response\":[[{");
    }
    if (sim->profile.pull_lie == LIE_HTML) {
        buf_reset(&sim->text);
        words_incapsula(&sim->text, chance_next(&sim->chance));
        type = WORDS_HTML;
    }
    if (sim->profile.pull_lie == LIE_HUGE)
        while (sim->text.len < HUGE_BYTES)
            buf_adds(&sim->text, "                                ");
    reply(sim, req, type);
}

static void serve_page(struct sim *sim, struct http_request *req,
                       const struct range *r, int64_t shortcode)
{
    char id[REQUEST_ID_SIZE];

    if (write_page(sim, r, shortcode) == 0) {
        sim_request_id(sim, id);
        buf_reset(&sim->text);
        words_pull_none(&sim->text, id);
    }
    spoil(sim, req);
}

static void serve(struct sim *sim, struct http_request *req, const char *body,
                  size_t len)
{
    CLEANUP(json_free)
    struct json *doc = NULL;
    bool fails = chance_hit(&sim->chance, sim->profile.pull_error);
    struct merchant *m;
    struct range r;

    sim->pulls++;
    if (!sim_enter_body(sim, req, body, len, "ShortCode", &doc, &m))
        return;
    if (!m->pulls)
        (void)refuse(sim, req, "Shortcode is not registered");
    else if (!read_range(sim, req, doc, &r))
        return;
    else if (fails)
        sim_refuse(sim, req, 500, "500.003.1001", "Internal Server Error",
                   answer_time(sim));
    else
        serve_page(sim, req, &r, m->settings->shortcode);
}

/* 0 = both, 1 = POST alone, 2 = GET alone */
static bool method_taken(struct sim *sim, struct http_request *req, int which)
{
    if (sim->profile.pull_method == 0 || sim->profile.pull_method == which)
        return true;
    sim_refuse(
        sim, req, 405, "405.001",
        which == 1 ? "POST Method Not Allowed" : "GET Method Not Allowed", 0);
    return false;
}

void sim_pull_post(void *arg, struct http_request *req)
{
    size_t len;
    const char *body = http_body(req, &len);

    if (method_taken(arg, req, 1))
        serve(arg, req, body, len);
}

/* A GET with a body, as the portal has it. */
void sim_pull_get(void *arg, struct http_request *req)
{
    size_t len;
    const char *body = http_body(req, &len);

    if (method_taken(arg, req, 2))
        serve(arg, req, body, len);
}
