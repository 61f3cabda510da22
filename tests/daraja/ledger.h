/*
 * What happened, twice: as lines of the journal and as counts. The counts of
 * lines that were read back at start are the same as of those written now, so
 * that a restart of the simulator loses nothing.
 *
 * Lines (one JSON object each; "n" is the push's number):
 *   push      received: order, connection, and how it was dealt with
 *   accept    a prompt reaches the handset; always just after its push line
 *   debit     money moved
 *   end       a prompt ended without money
 *   callback  one delivery: acknowledged, refused, or lost on purpose
 *   paid      money came that no push asked for (C2B simulate)
 *   notice    one delivery of what belongs to no prompt (letter.h)
 *   reversal  money went back
 *   register  a shortcode has registered C2B URLs or Pull
 *   reset     everything before is of no account for the counts
 */
#ifndef FOLENI_TESTS_DARAJA_LEDGER_H
#define FOLENI_TESTS_DARAJA_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "tests/daraja/ident.h"
#include "tests/daraja/order.h"
#include "tests/daraja/plan.h"
#include "tests/daraja/tally.h"

struct json_out;
struct journal;

struct ledger_counts {
    uint64_t pushes, accepted, debits, ended;
    uint64_t callbacks_acked, callbacks_failed, callbacks_lost;
    int64_t debited; /* shillings */
    uint64_t notices_acked, notices_failed, notices_lost;
};

struct ledger {
    struct journal *journal; /* NULL while lines are read back         */
    uint64_t n;              /* number of the last push                 */
    uint64_t paid_n;         /* payments without a push, ever           */
    struct ledger_counts counts;
    struct tally orders;   /* by msisdn, reference, amount            */
    struct tally attempts; /* by the callback URL's path              */
    struct tally payments; /* by the path without attempt and MAC     */
    uint64_t since;        /* the journal's offset of the last reset  */
};

/** An accepted push, as journalled and read back. */
struct ledger_prompt {
    uint64_t n;
    struct order order;
    struct plan plan;
    int64_t accepted_at;
    char checkout[CHECKOUT_SIZE];
    char merchant[REQUEST_ID_SIZE];
};

/** How a callback went. */
struct ledger_callback {
    uint64_t n;
    const struct order *order;
    const char *checkout;
    int tries;  /* this is the tries-th delivery         */
    int status; /* HTTP status, 0 = none                 */
    bool lost;  /* not sent, on purpose                  */
    const char *error;
};

/** How a notice went. */
struct ledger_notice {
    const char *kind, *receipt;
    int status; /* HTTP status, 0 = none */
    bool lost;  /* not sent, on purpose  */
    const char *error;
};

/** What a shortcode registered. */
struct ledger_register {
    const char *api; /* "c2b", "pull" */
    int64_t shortcode;
    int version;
    const char *url; /* <= ORDER_URL_MAX */
};

void ledger_init(struct ledger *l);
void ledger_done(struct ledger *l);

/**
 * Writes a received push and returns its number.
 *
 * @param answer  The script's name of what is answered, or "refused", "down".
 * @param code    errorCode of a refusal, "" otherwise.
 * @param peer    Address and port of the connection.
 */
uint64_t ledger_push(struct ledger *l, const struct order *order, int64_t at,
                     const char *answer, const char *code, const char *peer);
void ledger_accept(struct ledger *l, const struct ledger_prompt *p);
void ledger_debit(struct ledger *l, const struct ledger_prompt *p, int64_t at,
                  const char *receipt);
void ledger_end(struct ledger *l, const struct ledger_prompt *p, int64_t at,
                const char *code);
void ledger_callback(struct ledger *l, const struct ledger_callback *c,
                     int64_t at);
/** Money that no push asked for; the order's URL is not used. */
void ledger_paid(struct ledger *l, const struct order *o, int64_t at,
                 const char *receipt);
void ledger_reversal(struct ledger *l, const char *receipt, int64_t at);
void ledger_notice(struct ledger *l, const struct ledger_notice *n, int64_t at);
void ledger_register(struct ledger *l, const struct ledger_register *r,
                     int64_t at);
void ledger_reset(struct ledger *l, int64_t at);

/** Writes the counts as members of the object that is open in @p j. */
void ledger_summary(const struct ledger *l, struct json_out *j);

/** What a line that was read back means to the prompts. */
enum ledger_event {
    LEDGER_NOTHING,
    LEDGER_ACCEPTED,   /* `prompt` is complete                            */
    LEDGER_DECIDED,    /* by `prompt.checkout`; code and receipt are set  */
    LEDGER_CALLED,     /* likewise                                        */
    LEDGER_PAID,       /* `prompt.order` and receipt are set              */
    LEDGER_REVERSED,   /* receipt is set                                  */
    LEDGER_REGISTERED, /* `registered` is set                           */
    LEDGER_RESET,
    LEDGER_BAD /* no line of ours                                       */
};

/** Carries what a line needs of the line before it. */
struct ledger_reader {
    struct ledger_prompt prompt;
    char url[ORDER_URL_MAX + 1]; /* what prompt.order.url points to */
    char code[RESULT_SIZE];
    char receipt[RECEIPT_SIZE];
    char api[8];
    struct ledger_register registered; /* points into this reader       */
    int64_t at;
};

/** Counts a line that was read back and says what it was. */
enum ledger_event ledger_replay(struct ledger *l, struct ledger_reader *r,
                                const char *line, size_t len, uint64_t offset);

#endif
