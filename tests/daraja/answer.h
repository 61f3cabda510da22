/*
 * Answers that go out later, and never before the journal's commit of their
 * turn: each is filled when the request came and sent, or spoilt, when due.
 */
#ifndef FOLENI_TESTS_DARAJA_ANSWER_H
#define FOLENI_TESTS_DARAJA_ANSWER_H

#include <stdint.h>

#include "common/base.h"
#include "common/http.h"
#include "common/loop.h"
#include "tests/daraja/plan.h"

struct answer;
struct answers;
struct buf;

#define ANSWER_BODY_MAX 768

struct answers *answers_new(struct loop *loop);

/** Frees all; their requests must be gone already. NULL is fine. */
void answers_free(struct answers *as);

/**
 * Takes @p req, which nobody else answers from now on. The answer depends on
 * the first @p need bytes of the journal.
 */
struct answer *answer_new(struct answers *as, struct http_request *req,
                          uint64_t need);

/** Says what is done in the end; @p body (NULL = empty) is copied. */
void answer_fill(struct answer *a, enum answer_act act, int status,
                 const char *content_type, const struct buf *body);

/**
 * Does it at @p at_us, or at the end of this turn when that is past. Calling
 * again changes the time. Once it is done the pointer is gone.
 */
void answer_at(struct answer *a, int64_t at_us);

/** Sets *@p holder to @p a until the answer is done or its client gone. */
void answer_hold(struct answer *a, struct answer **holder);

/** Ends the hold, when there is one, and does the answer at @p at_us. */
void answer_release(struct answer **holder, int64_t at_us);

/** How much of the journal what is due depends on. */
uint64_t answers_need(const struct answers *as);

/** Does what is due; after the journal's commit. */
void answers_flush(struct answers *as);

/** Answers that were not done yet. */
size_t answers_open(const struct answers *as);

#endif
