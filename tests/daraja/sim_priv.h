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
    struct access *access;
    struct handsets *handsets;
    struct prompts *prompts;
    struct journal *journal;
    struct ledger ledger;
    struct answers *answers;
    struct courier *courier;
    struct list due;   /* prompts whose callback goes out this turn   */
    uint64_t due_need; /* how much of the journal they depend on      */
    struct buf text;   /* scratch, for one body at a time           */
    enum down_kind down;
    struct loop_timer up;    /* ends the outage           */
    struct loop_timer again; /* after the disk refused    */
    bool disk_failed;
    uint64_t tokens, queries;
};

/* One row of handlers each: push.c, query.c, oauth.c, control.c. */
void sim_push(void *arg, struct http_request *req);
void sim_query(void *arg, struct http_request *req);
void sim_token(void *arg, struct http_request *req);
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

/** A fresh requestId. */
void sim_request_id(struct sim *sim, char out[REQUEST_ID_SIZE]);

/** Reads a body as JSON; NULL when it is none. Free with json_free(). */
struct json *sim_body(const struct http_request *req);

/** Seeds everything random. */
void sim_seed(struct sim *sim, uint64_t seed);

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
