/*
 * Transaction Status and Reversal: both answer "accepted" and tell the result
 * later, once, to the ResultURL of the request. Both know a transaction by its
 * receipt alone.
 */
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "tests/daraja/sim_priv.h"
#include "tests/daraja/words.h"

struct request {
    const char *command, *receipt, *result_url;
    char id[REQUEST_ID_SIZE], conversation[REQUEST_ID_SIZE];
};

static bool refuse(struct sim *sim, struct http_request *req, const char *text)
{
    sim_refuse(sim, req, 400, "400.002.02", text, 0);
    return false;
}

static bool has_text(const struct json *doc, const char *name)
{
    const char *text = json_text(json_get(doc, name));

    return text && *text;
}

static bool has_url(const struct sim *sim, const struct json *doc,
                    const char *name)
{
    return has_text(doc, name) &&
           inspect_url(&sim->profile, json_text(json_get(doc, name)));
}

static bool read_request(struct sim *sim, struct http_request *req,
                         const struct json *doc, struct request *r)
{
    const char *command = json_text(json_get(doc, "CommandID"));

    if (!has_text(doc, "Initiator"))
        return refuse(sim, req, "Bad Request - Invalid Initiator");
    if (!has_text(doc, "SecurityCredential"))
        return refuse(sim, req, "Bad Request - Invalid SecurityCredential");
    if (!command || strcmp(command, r->command) != 0)
        return refuse(sim, req, "Bad Request - Invalid CommandID");
    if (!has_text(doc, "TransactionID"))
        return refuse(sim, req, "Bad Request - Invalid TransactionID");
    if (!has_url(sim, doc, "ResultURL"))
        return refuse(sim, req, "Bad Request - Invalid ResultURL");
    if (!has_url(sim, doc, "QueueTimeOutURL"))
        return refuse(sim, req, "Bad Request - Invalid QueueTimeOutURL");
    if (!has_text(doc, "Remarks"))
        return refuse(sim, req, "Bad Request - Invalid Remarks");
    r->receipt = json_text(json_get(doc, "TransactionID"));
    r->result_url = json_text(json_get(doc, "ResultURL"));
    sim_request_id(sim, r->id);
    sim_conversation_id(sim, r->conversation);
    return true;
}

static void accept(struct sim *sim, struct http_request *req,
                   const struct request *r)
{
    struct answer *a = sim_answer(sim, req);

    buf_reset(&sim->text);
    words_result_accepted(&sim->text, r->conversation, r->id);
    answer_fill(a, ACT_SEND, 200, WORDS_JSON, &sim->text);
    answer_at(a, loop_now_us(sim->loop) +
                     chance_spread(&sim->chance, &sim->profile.query));
}

static void tell(struct sim *sim, const struct request *r, const char *kind,
                 const struct paid_row *row, int64_t shortcode)
{
    struct outcome_words w = {.conversation = r->conversation,
                              .originator = r->id,
                              .receipt = r->receipt,
                              .found = row != NULL};
    struct letter_spec spec = {
        .kind = kind,
        .url = r->result_url,
        .body = &sim->text,
        .shortcode = shortcode,
        .receipt = row ? row->receipt : "",
        .at_us = loop_now_us(sim->loop) +
                 chance_spread(&sim->chance, &sim->profile.c2b),
    };

    if (row) {
        w.amount = row->amount;
        w.paid_at = row->at;
        w.status = row->reversed ? "Reversed" : "Completed";
    }
    buf_reset(&sim->text);
    words_outcome(&sim->text, &w);
    letters_send(sim->letters, &spec);
}

static const struct paid_row *find(const struct sim *sim, const char *receipt,
                                   int64_t shortcode)
{
    const struct paid_row *row = paid_find(&sim->paid, receipt);

    return row && row->shortcode == shortcode ? row : NULL;
}

void sim_status(void *arg, struct http_request *req)
{
    struct sim *sim = arg;
    CLEANUP(json_free)
    struct json *doc = NULL;
    struct request r = {.command = "TransactionStatusQuery"};
    struct merchant *m;
    int64_t shortcode;

    if (!sim_enter(sim, req, "PartyA", &doc, &m) ||
        !read_request(sim, req, doc, &r))
        return;
    shortcode = m->settings->shortcode;
    accept(sim, req, &r);
    tell(sim, &r, "status", find(sim, r.receipt, shortcode), shortcode);
}

/* A receipt is reversed once; asking again finds nothing. */
void sim_reversal(void *arg, struct http_request *req)
{
    struct sim *sim = arg;
    CLEANUP(json_free)
    struct json *doc = NULL;
    struct request r = {.command = "TransactionReversal"};
    const struct paid_row *row;
    struct merchant *m;

    if (!sim_enter(sim, req, "ReceiverParty", &doc, &m) ||
        !read_request(sim, req, doc, &r))
        return;
    row = find(sim, r.receipt, m->settings->shortcode);
    if (row && row->reversed)
        row = NULL;
    if (row) {
        ledger_reversal(&sim->ledger, r.receipt, clock_wall_at());
        paid_reverse(&sim->paid, r.receipt);
    }
    accept(sim, req, &r);
    tell(sim, &r, "reversal", row, m->settings->shortcode);
}
