/*
 * C2B: registering URLs, simulated payments, and the confirmation of each
 * debit, which goes out beside the callback and carries the same receipt.
 *
 * v1 hashes the payer's number, v2 masks it. Validation is not simulated: it
 * is off unless the provider turns it on.
 */
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/payment.h"
#include "tests/daraja/sim_priv.h"
#include "tests/daraja/words.h"

/* Receipts without a push count from here: far from any push's number. */
#define RECEIPTS_FROM (UINT64_C(1) << 35)
#define BALANCE INT64_C(49197)

static bool buy_goods(const struct merchant *m)
{
    return strcmp(m->settings->transaction_type, "CustomerBuyGoodsOnline") == 0;
}

static enum words_msisdn form_of(const struct sim *sim,
                                 const struct merchant *m)
{
    switch (sim->profile.c2b_msisdn) {
    case MSISDN_PLAIN: return WORDS_MSISDN_PLAIN;
    case MSISDN_HASH: return WORDS_MSISDN_HASH;
    case MSISDN_MASKED: return WORDS_MSISDN_MASKED;
    case MSISDN_STARRED: return WORDS_MSISDN_STARRED;
    default: break;
    }
    return m->c2b_version == 1 ? WORDS_MSISDN_HASH : WORDS_MSISDN_MASKED;
}

static void write_body(struct sim *sim, const struct merchant *m,
                       const struct paid_row *row)
{
    struct c2b_words w = {.buy_goods = buy_goods(m),
                          .receipt = row->receipt,
                          .reference = row->reference,
                          .paid_at = row->at,
                          .amount = row->amount,
                          .shortcode = row->shortcode,
                          .msisdn = row->msisdn,
                          .balance = BALANCE + row->amount,
                          .form = form_of(sim, m)};

    buf_reset(&sim->text);
    words_c2b(&sim->text, &w);
}

void c2b_tell(struct sim *sim, const struct paid_row *row, enum c2b_kind kind,
              int64_t after_us)
{
    const struct merchant *m = merchant_find(sim->merchants, row->shortcode);
    struct letter_spec spec = {.kind = "c2b",
                               .body = &sim->text,
                               .shortcode = row->shortcode,
                               .receipt = row->receipt,
                               .at_us = loop_now_us(sim->loop) + after_us};

    if (!m || m->c2b_version == 0 || !sim->profile.callbacks)
        return;
    if (kind == C2B_LOST) {
        ledger_notice(&sim->ledger,
                      &(struct ledger_notice){.kind = spec.kind,
                                              .receipt = row->receipt,
                                              .lost = true},
                      clock_wall_at());
        return;
    }
    write_body(sim, m, row);
    spec.url = m->url;
    letters_send(sim->letters, &spec);
    if (kind == C2B_TWICE)
        letters_send(sim->letters, &spec);
}

static bool invalid(struct sim *sim, struct http_request *req, const char *text)
{
    sim_refuse(sim, req, 400, "400.002.02", text, 0);
    return false;
}

static void reply(struct sim *sim, struct http_request *req)
{
    struct answer *a = sim_answer(sim, req);

    answer_fill(a, ACT_SEND, 200, WORDS_JSON, &sim->text);
    answer_at(a, loop_now_us(sim->loop) +
                     chance_spread(&sim->chance, &sim->profile.query));
}

static bool url_of(const struct sim *sim, const struct json *doc,
                   const char *name, const char **ret)
{
    *ret = json_text(json_get(doc, name));
    return *ret && inspect_url(&sim->profile, *ret);
}

/* Fields in the order in which they stand in the portal's sample. */
static bool read_register(struct sim *sim, struct http_request *req,
                          const struct json *doc, const char **ret_url)
{
    const char *type = json_text(json_get(doc, "ResponseType"));
    const char *validation;

    if (!type || (strcmp(type, "Completed") && strcmp(type, "Cancelled")))
        return invalid(sim, req, "Bad Request - Invalid ResponseType");
    if (!url_of(sim, doc, "ConfirmationURL", ret_url))
        return invalid(sim, req, "Bad Request - Invalid ConfirmationURL");
    if (!url_of(sim, doc, "ValidationURL", &validation))
        return invalid(sim, req, "Bad Request - Invalid ValidationURL");
    return true;
}

static void take_register(struct sim *sim, struct http_request *req,
                          struct merchant *m, const char *url, int version)
{
    struct ledger_register line = {.api = "c2b",
                                   .shortcode = m->settings->shortcode,
                                   .version = version,
                                   .url = url};
    char id[REQUEST_ID_SIZE];

    if (m->c2b_version > 0 && sim->profile.c2b_once) {
        sim_refuse(sim, req, 500, "500.003.1001",
                   "Urls are already registered.", 0);
        return;
    }
    m->c2b_version = version;
    text_copy(m->url, sizeof(m->url), url);
    ledger_register(&sim->ledger, &line, clock_wall_at());
    sim_request_id(sim, id);
    buf_reset(&sim->text);
    words_registered(&sim->text, id);
    reply(sim, req);
}

static void serve_register(struct sim *sim, struct http_request *req,
                           int version)
{
    CLEANUP(json_free)
    struct json *doc = NULL;
    struct merchant *m;
    const char *url;

    if (sim_enter(sim, req, "ShortCode", &doc, &m) &&
        read_register(sim, req, doc, &url))
        take_register(sim, req, m, url, version);
}

void sim_c2b_register_v1(void *arg, struct http_request *req)
{
    serve_register(arg, req, 1);
}

void sim_c2b_register_v2(void *arg, struct http_request *req)
{
    serve_register(arg, req, 2);
}

static bool read_payment(struct sim *sim, struct http_request *req,
                         const struct json *doc, struct paid_row *row)
{
    const char *command = json_text(json_get(doc, "CommandID"));
    const struct json *reference = json_get(doc, "BillRefNumber");

    if (!command || (strcmp(command, "CustomerPayBillOnline") &&
                     strcmp(command, "CustomerBuyGoodsOnline")))
        return invalid(sim, req, "Bad Request - Invalid CommandID");
    if (!json_integer_or_text(json_get(doc, "Amount"), &row->amount) ||
        row->amount < AMOUNT_MIN || row->amount > AMOUNT_MAX)
        return invalid(sim, req, "Bad Request - Invalid Amount");
    if (!json_integer_or_text(json_get(doc, "Msisdn"), &row->msisdn) ||
        !msisdn_valid(row->msisdn))
        return invalid(sim, req, "Bad Request - Invalid Msisdn");
    if (reference &&
        !json_scalar(reference, row->reference, sizeof(row->reference)))
        return invalid(sim, req, "Bad Request - Invalid BillRefNumber");
    return true;
}

void c2b_pay(struct sim *sim, struct paid_row *row, enum c2b_kind kind)
{
    struct order order = {.shortcode = row->shortcode,
                          .msisdn = row->msisdn,
                          .amount = row->amount,
                          .url = ""};

    memcpy(order.reference, row->reference, sizeof(order.reference));
    if (!row->receipt[0])
        ident_receipt(row->at, RECEIPTS_FROM + sim->ledger.paid_n,
                      row->receipt);
    ledger_paid(&sim->ledger, &order, row->at, row->receipt);
    paid_add(&sim->paid, row);
    c2b_tell(sim, row, kind, chance_spread(&sim->chance, &sim->profile.c2b));
}

/* What the portal's form of a simulated payment leads to. */
static void pay(struct sim *sim, struct paid_row *row)
{
    row->at = clock_wall_at();
    c2b_pay(
        sim, row,
        (enum c2b_kind)chance_pick(&sim->chance, sim->profile.c2b_ppm, C2BS_N));
}

void sim_c2b_simulate(void *arg, struct http_request *req)
{
    struct sim *sim = arg;
    CLEANUP(json_free)
    struct json *doc = NULL;
    struct paid_row row = {0};
    char conversation[REQUEST_ID_SIZE], id[REQUEST_ID_SIZE];
    struct merchant *m;

    if (!sim_enter(sim, req, "ShortCode", &doc, &m))
        return;
    if (!sim->profile.c2b_simulate) {
        sim_refuse(sim, req, 404, "404.001.01", "Resource not found", 0);
        return;
    }
    row.shortcode = m->settings->shortcode;
    if (!read_payment(sim, req, doc, &row))
        return;
    pay(sim, &row);
    sim_conversation_id(sim, conversation);
    sim_request_id(sim, id);
    buf_reset(&sim->text);
    words_simulated(&sim->text, conversation, id);
    reply(sim, req);
}
