/*
 * Wiring: listeners, routes, the turn, and going on after a restart.
 *
 * One turn: requests and timers only record; then the journal is committed;
 * only then answers and callbacks of the turn go out. While the disk refuses,
 * nothing goes out.
 */
#include "tests/daraja/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/payment.h"
#include "tests/daraja/sim_priv.h"
#include "tests/daraja/words.h"

#define BODY_BYTES_MAX (1024 * 1024)     /* scripts for thousands of handsets */
#define TEXT_BYTES_MAX (4 * 1024 * 1024) /* a page of Pull that lies */
#define CONNECTIONS_MAX 16384
#define DISK_AGAIN_US (200 * US_PER_MS)

static const struct http_route routes[] = {
    {HTTP_GET, "/oauth/v1/generate", sim_token},
    {HTTP_POST, "/mpesa/stkpush/v1/processrequest", sim_push},
    {HTTP_GET, "/mpesa/stkpush/v1/processrequest", sim_wrong_method},
    {HTTP_POST, "/mpesa/stkpushquery/v1/query", sim_query},
    {HTTP_GET, "/mpesa/stkpushquery/v1/query", sim_wrong_method},
    {HTTP_POST, "/mpesa/c2b/v1/registerurl", sim_c2b_register_v1},
    {HTTP_POST, "/mpesa/c2b/v2/registerurl", sim_c2b_register_v2},
    {HTTP_POST, "/mpesa/c2b/v1/simulate", sim_c2b_simulate},
    {HTTP_POST, "/mpesa/c2b/v2/simulate", sim_c2b_simulate},
    {HTTP_POST, "/pulltransactions/v1/register", sim_pull_register},
    {HTTP_POST, "/pulltransactions/v1/query", sim_pull_post},
    {HTTP_GET, "/pulltransactions/v1/query", sim_pull_get},
    {HTTP_POST, "/mpesa/transactionstatus/v1/query", sim_status},
    {HTTP_POST, "/mpesa/reversal/v1/request", sim_reversal},
    {HTTP_GET, "/sim/profile", control_show_profile},
    {HTTP_POST, "/sim/profile", control_profile},
    {HTTP_POST, "/sim/script", control_script},
    {HTTP_POST, "/sim/handsets", control_handsets},
    {HTTP_POST, "/sim/tokens", control_tokens},
    {HTTP_POST, "/sim/down", control_down},
    {HTTP_GET, "/sim/journal", control_journal},
    {HTTP_GET, "/sim/summary", control_summary},
    {HTTP_POST, "/sim/reset", control_reset},
    {HTTP_POST, "/sim/register", control_register},
    {HTTP_POST, "/sim/pay", control_pay},
    {HTTP_GET, "/health", control_health},
    {HTTP_GET, "/health/ready", control_health},
    {HTTP_GET, "/metrics", control_metrics},
};

void sim_request_id(struct sim *sim, char out[REQUEST_ID_SIZE])
{
    ident_request(&sim->ids, ++sim->ids_n, out);
}

void sim_conversation_id(struct sim *sim, char out[REQUEST_ID_SIZE])
{
    ident_conversation(clock_wall_at(), ++sim->conversations_n, out);
}

struct json *sim_body(const struct http_request *req)
{
    struct json *doc = NULL;
    struct err err;
    size_t len;
    const char *text = http_body(req, &len);

    return json_parse_tolerant(text, len, &doc, &err) ? NULL : doc;
}

struct answer *sim_answer(struct sim *sim, struct http_request *req)
{
    return answer_new(sim->answers, req, journal_size(sim->journal));
}

static void write_error(struct sim *sim, const char *code, const char *message)
{
    char id[REQUEST_ID_SIZE];

    buf_reset(&sim->text);
    sim_request_id(sim, id);
    words_error(&sim->text, id, code, message);
}

void sim_refuse(struct sim *sim, struct http_request *req, int status,
                const char *code, const char *message, int64_t at_us)
{
    struct answer *a = sim_answer(sim, req);

    write_error(sim, code, message);
    answer_fill(a, ACT_SEND, status, WORDS_JSON, &sim->text);
    answer_at(a, at_us);
}

static void write_row(struct sim *sim, const struct answer_row *row,
                      const struct ledger_prompt *p)
{
    struct buf *out = &sim->text;

    buf_reset(out);
    switch (row->body) {
    case BODY_EMPTY: break;
    case BODY_SUCCESS:
        words_accepted(out, p->merchant, p->checkout, "0");
        break;
    case BODY_NONZERO_ID:
        words_accepted(out, p->merchant, p->checkout, "1");
        break;
    case BODY_NONZERO: words_nonzero(out); break;
    case BODY_ERROR: write_error(sim, row->code, row->message); break;
    case BODY_HTML: words_incapsula(out, chance_next(&sim->chance)); break;
    case BODY_GATEWAY: words_gateway(out, row->status); break;
    case BODY_FAULT: words_fault(out); break;
    case BODY_STRANGE: buf_adds(out, "{\"status\":\"OK\"}"); break;
    }
}

void sim_fill(struct sim *sim, struct answer *a, const struct answer_row *row,
              const struct ledger_prompt *p)
{
    bool html = row->body == BODY_HTML || row->body == BODY_GATEWAY;

    write_row(sim, row, p);
    answer_fill(a, row->act, row->status, html ? WORDS_HTML : WORDS_JSON,
                &sim->text);
}

void sim_forget(struct sim *sim)
{
    life_reset(sim);
    letters_reset(sim->letters);
    merchants_reset(sim->merchants);
    paid_reset(&sim->paid);
    sim->last_receipt[0] = '\0';
}

void sim_seed(struct sim *sim, uint64_t seed)
{
    sim->seed = seed;
    chance_seed(&sim->chance, seed);
    ident_init(&sim->ids, seed);
}

/* Said once per outage of the disk, not once per turn. */
static void on_disk_refused(struct sim *sim, const struct err *err)
{
    if (!sim->disk_failed)
        log_error("sim", "journal_failed", KV_ERR(err));
    sim->disk_failed = true;
    timer_set(sim->loop, &sim->again, loop_now_us(sim->loop) + DISK_AGAIN_US);
}

static void on_again(void *arg)
{
    (void)arg; /* it only wakes the loop, whose turn tries again */
}

static bool turn(void *arg)
{
    struct sim *sim = arg;
    uint64_t need = MAX(MAX(answers_need(sim->answers), sim->due_need),
                        letters_need(sim->letters));
    struct err err;

    if (journal_commit(sim->journal, need, &err)) {
        on_disk_refused(sim, &err);
        return false;
    }
    sim->disk_failed = false;
    answers_flush(sim->answers);
    life_flush(sim);
    letters_flush(sim->letters);
    metric_set(M_SIM_PROMPTS, (int64_t)prompts_open(sim->prompts));
    return false;
}

/* What is read back at start. */
struct replay {
    struct sim *sim;
    struct ledger_reader reader;
    uint64_t bad;
};

static void replay_decided(struct prompt *prompt, const struct ledger_reader *r)
{
    prompt->state = PROMPT_DECIDED;
    prompt->tries = 0;
    prompt->decided_at = r->at;
    memcpy(prompt->code, r->code, sizeof(prompt->code));
    memcpy(prompt->receipt, r->receipt, sizeof(prompt->receipt));
    if (strcmp(r->code, "0") == 0)
        prompt->p.plan.fate = FATE_PAY;
}

/* Only a late payment has something left to do after its first callback. */
static void replay_called(struct sim *sim, struct prompt *prompt)
{
    prompt->tries++;
    if (prompt->p.plan.fate != FATE_LATE_PAY)
        prompt_finish(sim->prompts, prompt);
}

/* A line of money that came in, of either kind. */
static void replay_money(struct sim *sim, const struct ledger_reader *r)
{
    const struct order *o = &r->prompt.order;
    struct paid_row row = {.at = r->at,
                           .shortcode = o->shortcode,
                           .msisdn = o->msisdn,
                           .amount = o->amount};

    memcpy(row.reference, o->reference, sizeof(row.reference));
    memcpy(row.receipt, r->receipt, sizeof(row.receipt));
    paid_add(&sim->paid, &row);
}

static void replay_registered(struct sim *sim, const struct ledger_register *r)
{
    struct merchant *m = merchant_find(sim->merchants, r->shortcode);

    if (!m)
        return;
    if (strcmp(r->api, "pull") == 0) {
        m->pulls = r->version > 0;
        return;
    }
    m->c2b_version = r->version;
    text_copy(m->url, sizeof(m->url), r->url);
}

/* What has nothing to do with a prompt that is open. */
static void replay_others(struct replay *r, enum ledger_event event)
{
    bool debit = event == LEDGER_DECIDED && strcmp(r->reader.code, "0") == 0;

    if (event == LEDGER_BAD)
        r->bad++;
    if (event == LEDGER_RESET)
        sim_forget(r->sim);
    if (event == LEDGER_ACCEPTED)
        (void)prompt_add(r->sim->prompts, &r->reader.prompt);
    if (event == LEDGER_PAID || debit)
        replay_money(r->sim, &r->reader);
    if (event == LEDGER_REVERSED)
        paid_reverse(&r->sim->paid, r->reader.receipt);
    if (event == LEDGER_REGISTERED)
        replay_registered(r->sim, &r->reader.registered);
}

static void replay_line(void *arg, const char *line, size_t len,
                        uint64_t offset)
{
    struct replay *r = arg;
    struct sim *sim = r->sim;
    enum ledger_event event =
        ledger_replay(&sim->ledger, &r->reader, line, len, offset);
    struct prompt *prompt;

    replay_others(r, event);
    if (event != LEDGER_DECIDED && event != LEDGER_CALLED)
        return;
    prompt = prompt_find(sim->prompts, r->reader.prompt.checkout);
    if (!prompt || prompt->state == PROMPT_DONE)
        return;
    if (event == LEDGER_DECIDED)
        replay_decided(prompt, &r->reader);
    else
        replay_called(sim, prompt);
}

static enum err_code open_journal(struct sim *sim, struct err *err)
{
    struct replay *r = NEW(struct replay);
    enum err_code code;

    r->sim = sim;
    r->reader.prompt.order.url = r->reader.url;
    code =
        journal_open(sim->cfg->sim_journal, replay_line, r, &sim->journal, err);
    if (code == ERR_NONE)
        log_info("sim", "journal_read", KV("file", sim->cfg->sim_journal),
                 KV_INT("pushes", sim->ledger.counts.pushes),
                 KV_INT("debits", sim->ledger.counts.debits),
                 KV_INT("open", prompts_open(sim->prompts)),
                 KV_INT("bad_lines", r->bad));
    free(r);
    sim->ledger.journal = sim->journal;
    sim->ids_n = 2 * sim->ledger.n;
    return code;
}

static void resume(struct sim *sim)
{
    struct prompt *prompt, *next;

    for (prompt = prompts_first_open(sim->prompts); prompt; prompt = next) {
        next = prompts_next_open(sim->prompts, prompt);
        life_resume(sim, prompt);
    }
}

static enum err_code listen_on(struct sim *sim, const char *address, bool tls,
                               struct http_server **ret, struct err *err)
{
    struct http_spec spec = {
        .listen = address,
        .tls_cert = tls ? sim->cfg->sim_tls_cert : "",
        .tls_key = tls ? sim->cfg->sim_tls_key : "",
        .routes = routes,
        .routes_n = ARRAY_LEN(routes),
        .limits = &sim->limits,
        .arg = sim,
    };
    char bound[160];

    if (http_server_new(sim->loop, &spec, ret, err))
        return err->code;
    snprintf(bound, sizeof(bound), "%.*s:%d",
             (int)(strrchr(address, ':') - address), address,
             http_server_port(*ret));
    log_info("sim", "listening", KV("address", bound),
             KV("over", tls ? "tls" : "plain"));
    return ERR_NONE;
}

static enum err_code listen_all(struct sim *sim, struct err *err)
{
    const char *tls = sim->cfg->sim_tls_listen;

    if (*tls && (!*sim->cfg->sim_tls_cert || !*sim->cfg->sim_tls_key))
        return err_set(err, ERR_CONFIG,
                       "sim.tls_listen needs sim.tls_cert "
                       "and sim.tls_key");
    log_warn("sim", "for_tests_only",
             KV("note", "no money moves here, and whoever reaches this "
                        "listener controls it by /sim/"));
    if (listen_on(sim, sim->cfg->sim_listen, false, &sim->plain, err))
        return err->code;
    if (*tls && listen_on(sim, tls, true, &sim->tls, err))
        return err->code;
    return ERR_NONE;
}

/* Its clients keep connections for long, and its scripts are large. */
static void set_limits(struct sim *sim)
{
    sim->limits = *sim->cfg;
    sim->limits.http_idle_timeout_ms = sim->cfg->sim_idle_timeout_ms;
    sim->limits.http_body_bytes_max = BODY_BYTES_MAX;
    sim->limits.http_connections_max = CONNECTIONS_MAX;
}

static struct sim *make(struct loop *loop, const struct config *cfg)
{
    struct sim *sim = NEW(struct sim);
    struct courier_spec courier = {cfg->sim_callback_timeout_ms,
                                   cfg->sim_ca_file};

    sim->loop = loop;
    sim->cfg = cfg;
    set_limits(sim);
    profile_preset(&sim->profile, (enum preset)cfg->sim_profile);
    sim_seed(sim, (uint64_t)cfg->sim_seed);
    sim->access = access_new(cfg);
    sim->handsets = handsets_new();
    sim->prompts = prompts_new();
    ledger_init(&sim->ledger);
    paid_init(&sim->paid);
    sim->merchants = merchants_new(cfg);
    sim->answers = answers_new(loop);
    sim->courier = courier_new(loop, &courier);
    sim->letters = letters_new(loop, sim->courier, &sim->ledger);
    list_init(&sim->due);
    buf_init(&sim->text, TEXT_BYTES_MAX);
    timer_init(&sim->again, on_again, sim);
    timer_init(&sim->up, on_again, sim);
    loop_add_room(loop, turn, sim);
    return sim;
}

enum err_code sim_new(struct loop *loop, const struct config *cfg,
                      struct sim **ret, struct err *err)
{
    CLEANUP(sim_free)
    struct sim *sim = make(loop, cfg);

    if (open_journal(sim, err) || listen_all(sim, err))
        return err->code;
    resume(sim);
    *ret = TAKE(sim);
    return ERR_NONE;
}

/* The courier first: none of them may find its prompt gone. */
void sim_free(struct sim *sim)
{
    if (!sim)
        return;
    courier_free(sim->courier);
    http_server_free(sim->plain);
    http_server_free(sim->tls);
    timer_cancel(sim->loop, &sim->up);
    timer_cancel(sim->loop, &sim->again);
    life_stop(sim);
    letters_free(sim->letters);
    merchants_free(sim->merchants);
    paid_done(&sim->paid);
    answers_free(sim->answers);
    prompts_free(sim->prompts);
    handsets_free(sim->handsets);
    access_free(sim->access);
    ledger_done(&sim->ledger);
    journal_close(sim->journal);
    buf_done(&sim->text);
    free(sim);
}

int sim_port(const struct sim *sim)
{
    return http_server_port(sim->plain);
}

int sim_tls_port(const struct sim *sim)
{
    return sim->tls ? http_server_port(sim->tls) : -1;
}
