/*
 * Reads the journal's lines back at start: the same counts as if they had been
 * written now, and for each line what it means to the prompts. A prompt that
 * was open when the process died is ended and called back after the start,
 * as the provider's own back end would.
 */
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/payment.h"
#include "tests/daraja/ledger_priv.h"

static void read_text(const struct json *doc, const char *name, char *to,
                      size_t size)
{
    const char *text = json_text(json_get(doc, name));

    text_copy(to, size, text ? text : "");
}

static int64_t read_number(const struct json *doc, const char *name)
{
    int64_t n = 0;

    (void)json_integer(json_get(doc, name), &n); /* missing reads as 0 */
    return n;
}

/* The URL is copied to @p url, of ORDER_URL_MAX + 1 bytes. */
static void read_order(const struct json *doc, struct order *o, char *url)
{
    o->shortcode = read_number(doc, "shortcode");
    o->msisdn = read_number(doc, "msisdn");
    o->amount = read_number(doc, "amount");
    read_text(doc, "reference", o->reference, sizeof(o->reference));
    read_text(doc, "url", url, ORDER_URL_MAX + 1);
    o->url = url;
}

static enum ledger_event on_push(struct ledger *l, struct ledger_reader *r,
                                 const struct json *doc)
{
    memset(&r->prompt, 0, sizeof(r->prompt));
    r->prompt.n = (uint64_t)read_number(doc, "n");
    read_order(doc, &r->prompt.order, r->url);
    l->n = r->prompt.n;
    ledger_count_push(l, &r->prompt.order);
    return LEDGER_NOTHING;
}

static enum ledger_event on_accept(struct ledger *l, struct ledger_reader *r,
                                   const struct json *doc)
{
    struct ledger_prompt *p = &r->prompt;
    const char *fate = json_text(json_get(doc, "fate"));
    const char *callback = json_text(json_get(doc, "callback"));

    if (p->n != (uint64_t)read_number(doc, "n") || !fate || !callback ||
        fate_find(fate) < 0 || callback_find(callback) < 0)
        return LEDGER_BAD;
    p->plan.fate = (enum fate)fate_find(fate);
    p->plan.callback = (enum callback_kind)callback_find(callback);
    read_text(doc, "code", p->plan.code, sizeof(p->plan.code));
    read_text(doc, "checkout", p->checkout, sizeof(p->checkout));
    read_text(doc, "merchant", p->merchant, sizeof(p->merchant));
    p->accepted_at = r->at;
    ledger_count_accept(l, &p->order);
    return LEDGER_ACCEPTED;
}

static enum ledger_event on_debit(struct ledger *l, struct ledger_reader *r,
                                  const struct json *doc)
{
    read_order(doc, &r->prompt.order, r->url);
    read_text(doc, "checkout", r->prompt.checkout, sizeof(r->prompt.checkout));
    read_text(doc, "receipt", r->receipt, sizeof(r->receipt));
    text_copy(r->code, sizeof(r->code), "0");
    ledger_count_debit(l, &r->prompt.order);
    return LEDGER_DECIDED;
}

static enum ledger_event on_end(struct ledger *l, struct ledger_reader *r,
                                const struct json *doc)
{
    read_text(doc, "checkout", r->prompt.checkout, sizeof(r->prompt.checkout));
    read_text(doc, "code", r->code, sizeof(r->code));
    r->receipt[0] = '\0';
    l->counts.ended++;
    return LEDGER_DECIDED;
}

static enum ledger_event on_callback(struct ledger *l, struct ledger_reader *r,
                                     const struct json *doc)
{
    bool lost = json_get(doc, "lost") != NULL;

    read_text(doc, "checkout", r->prompt.checkout, sizeof(r->prompt.checkout));
    ledger_count_callback(l, lost, (int)read_number(doc, "status"));
    return LEDGER_CALLED;
}

static enum ledger_event on_paid(struct ledger *l, struct ledger_reader *r,
                                 const struct json *doc)
{
    read_order(doc, &r->prompt.order, r->url);
    read_text(doc, "receipt", r->receipt, sizeof(r->receipt));
    l->paid_n++;
    return LEDGER_PAID;
}

static enum ledger_event on_reversal(struct ledger *l UNUSED,
                                     struct ledger_reader *r,
                                     const struct json *doc)
{
    read_text(doc, "receipt", r->receipt, sizeof(r->receipt));
    return LEDGER_REVERSED;
}

static enum ledger_event on_notice(struct ledger *l,
                                   struct ledger_reader *r UNUSED,
                                   const struct json *doc)
{
    ledger_count_notice(l, json_get(doc, "lost") != NULL,
                        (int)read_number(doc, "status"));
    return LEDGER_NOTHING;
}

static enum ledger_event on_register(struct ledger *l UNUSED,
                                     struct ledger_reader *r,
                                     const struct json *doc)
{
    read_text(doc, "api", r->api, sizeof(r->api));
    read_text(doc, "url", r->url, sizeof(r->url));
    r->registered = (struct ledger_register){
        .api = r->api,
        .shortcode = read_number(doc, "shortcode"),
        .version = (int)read_number(doc, "version"),
        .url = r->url,
    };
    return LEDGER_REGISTERED;
}

static const struct {
    const char *type;
    enum ledger_event (*read)(struct ledger *l, struct ledger_reader *r,
                              const struct json *doc);
} readers[] = {
    {"push", on_push},     {"accept", on_accept},     {"debit", on_debit},
    {"end", on_end},       {"callback", on_callback}, {"paid", on_paid},
    {"notice", on_notice}, {"register", on_register}, {"reversal", on_reversal},
};

static bool read_at(struct ledger_reader *r, const struct json *doc)
{
    const char *at = json_text(json_get(doc, "at"));
    struct err err;

    return at && clock_parse(at, strlen(at), &r->at, &err) == ERR_NONE;
}

static enum ledger_event replay(struct ledger *l, struct ledger_reader *r,
                                const struct json *doc, uint64_t offset)
{
    const char *type = json_text(json_get(doc, "t"));

    if (!type || !read_at(r, doc))
        return LEDGER_BAD;
    if (strcmp(type, "reset") == 0) {
        ledger_forget(l, offset);
        return LEDGER_RESET;
    }
    for (size_t i = 0; i < ARRAY_LEN(readers); i++)
        if (strcmp(readers[i].type, type) == 0)
            return readers[i].read(l, r, doc);
    return LEDGER_BAD;
}

enum ledger_event ledger_replay(struct ledger *l, struct ledger_reader *r,
                                const char *line, size_t len, uint64_t offset)
{
    CLEANUP(json_free)
    struct json *doc = NULL;
    struct err err;

    if (json_parse_tolerant(line, len, &doc, &err))
        return LEDGER_BAD;
    return replay(l, r, doc, offset);
}
