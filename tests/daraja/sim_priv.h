/*
 * What the handlers share. Only the simulator's own files include this.
 */
#ifndef FOLENI_TESTS_DARAJA_SIM_PRIV_H
#define FOLENI_TESTS_DARAJA_SIM_PRIV_H

#include "common/buf.h"
#include "common/config.h"
#include "common/http.h"
#include "common/list.h"
#include "common/loop.h"
#include "tests/daraja/access.h"
#include "tests/daraja/answer.h"
#include "tests/daraja/chance.h"
#include "tests/daraja/courier.h"
#include "tests/daraja/handset.h"
#include "tests/daraja/ident.h"
#include "tests/daraja/inspect.h"
#include "tests/daraja/journal.h"
#include "tests/daraja/ledger.h"
#include "tests/daraja/letter.h"
#include "tests/daraja/merchant.h"
#include "tests/daraja/paid.h"
#include "tests/daraja/profile.h"
#include "tests/daraja/prompt.h"
#include "tests/daraja/sim.h"

enum down_kind { DOWN_NOT, DOWN_REFUSE, DOWN_500, DOWN_503, DOWN_STALL };

struct sim {
    struct loop *loop;
    const struct config *cfg;
    struct config limits; /* cfg with the simulator's own HTTP limits */
    struct http_server *plain, *tls;
    struct profile profile;
    uint64_t seed;
    struct chance chance; /* for what belongs to no push */
    struct idents ids;
    uint64_t ids_n; /* request ids given out */
    uint64_t conversations_n;
    struct access *access;
    struct handsets *handsets;
    struct prompts *prompts;
    struct journal *journal;
    struct ledger ledger;
    struct paid paid;            /* all money, as Pull and Status know it */
    struct merchants *merchants; /* what the shortcodes registered      */
    struct letters *letters;
    char last_receipt[RECEIPT_SIZE];
    struct answers *answers;
    struct courier *courier;
    struct list due;   /* prompts whose callback goes out this turn   */
    uint64_t due_need; /* how much of the journal they depend on      */
    struct buf text;   /* scratch, for one body at a time           */
    enum down_kind down;
    struct loop_timer up;    /* ends the outage           */
    struct loop_timer again; /* after the disk refused    */
    bool disk_failed;
    uint64_t tokens, queries, pulls;
};

/* One row of handlers each: push.c, query.c, oauth.c, control.c. */
void sim_push(void *arg, struct http_request *req);
void sim_query(void *arg, struct http_request *req);
void sim_token(void *arg, struct http_request *req);
void sim_c2b_register_v1(void *arg, struct http_request *req);
void sim_c2b_register_v2(void *arg, struct http_request *req);
void sim_c2b_simulate(void *arg, struct http_request *req);
void sim_pull_register(void *arg, struct http_request *req);
void sim_pull_post(void *arg, struct http_request *req);
void sim_pull_get(void *arg, struct http_request *req);
void sim_status(void *arg, struct http_request *req);
void sim_reversal(void *arg, struct http_request *req);
void sim_wrong_method(void *arg, struct http_request *req);

void control_profile(void *arg, struct http_request *req);
void control_show_profile(void *arg, struct http_request *req);
void control_script(void *arg, struct http_request *req);
void control_handsets(void *arg, struct http_request *req);
void control_tokens(void *arg, struct http_request *req);
void control_down(void *arg, struct http_request *req);
void control_journal(void *arg, struct http_request *req);
void control_summary(void *arg, struct http_request *req);
void control_metrics(void *arg, struct http_request *req);
void control_health(void *arg, struct http_request *req);
void control_reset(void *arg, struct http_request *req);
void control_register(void *arg, struct http_request *req);
void control_pay(void *arg, struct http_request *req);

/* control.c, for the control routes of other files. */

/** The body as an object, or NULL when it was answered 400. */
struct json *control_body(struct http_request *req);
void control_refuse(struct http_request *req, const char *why);
void control_ok(struct http_request *req);

/** Answers as the outage says; false when there is none. */
bool outage_answer(struct sim *sim, struct http_request *req);

/** Begins, changes or (DOWN_NOT) ends an outage. */
void outage_set(struct sim *sim, enum down_kind kind, int64_t for_us);

/** An answer to @p req that depends on all that was journalled so far. */
struct answer *sim_answer(struct sim *sim, struct http_request *req);

/** Sends an error envelope at @p at_us. */
void sim_refuse(struct sim *sim, struct http_request *req, int status,
                const char *code, const char *message, int64_t at_us);

/** Fills @p a with what row @p row says; @p p may be NULL. */
void sim_fill(struct sim *sim, struct answer *a, const struct answer_row *row,
              const struct ledger_prompt *p);

/**
 * What all requests but push and query begin with: no outage, a good token, a
 * JSON object, and in @p member a shortcode of the token's app. @p ret_doc is
 * NULL before; the caller frees it whatever happens.
 *
 * @return false when it was answered.
 */
bool sim_enter(struct sim *sim, struct http_request *req, const char *member,
               struct json **ret_doc, struct merchant **ret);

/** The same for a body that is not http_body()'s. */
bool sim_enter_body(struct sim *sim, struct http_request *req, const char *text,
                    size_t len, const char *member, struct json **ret_doc,
                    struct merchant **ret);

/** A fresh ConversationID ("AG_..."). */
void sim_conversation_id(struct sim *sim, char out[REQUEST_ID_SIZE]);

/** A fresh requestId. */
void sim_request_id(struct sim *sim, char out[REQUEST_ID_SIZE]);

/** Reads a body as JSON; NULL when it is none. Free with json_free(). */
struct json *sim_body(const struct http_request *req);

/** Forgets prompts, letters, money and registrations. */
void sim_forget(struct sim *sim);

/** Seeds everything random. */
void sim_seed(struct sim *sim, uint64_t seed);

/* c2b.c */

/** Money that no push asked for. A receipt is made when @p row has none. */
void c2b_pay(struct sim *sim, struct paid_row *row, enum c2b_kind kind);

/** Confirms @p row to the URL that its shortcode registered, if any. */
void c2b_tell(struct sim *sim, const struct paid_row *row, enum c2b_kind kind,
              int64_t after_us);

/* life.c: from acceptance to the last callback. */

/** Arms the customer's decision, @p after_us from now. */
void life_begin(struct sim *sim, struct prompt *prompt, int64_t after_us);

/** Goes on with a prompt that was open when the last process ended. */
void life_resume(struct sim *sim, struct prompt *prompt);

/** Starts the callbacks that are due; after the journal's commit. */
void life_flush(struct sim *sim);

/** Forgets all prompts. */
void life_reset(struct sim *sim);

/** Cancels all that is armed; the prompts are freed next. */
void life_stop(struct sim *sim);

#endif
