/*
 * Accepted pushes, from acceptance until the query has forgotten them.
 */
#ifndef FOLENI_TESTS_DARAJA_PROMPT_H
#define FOLENI_TESTS_DARAJA_PROMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/list.h"
#include "common/loop.h"
#include "tests/daraja/ident.h"
#include "tests/daraja/ledger.h"

struct answer;

/** Prompts at once; beyond it the system is busy. */
#define PROMPTS_OPEN_MAX 500000
/** Finished ones that the query still knows. */
#define PROMPTS_KEPT_MAX 100000

enum prompt_state {
    PROMPT_OPEN,    /* on the handset's screen                          */
    PROMPT_DECIDED, /* its callback is due at some time                 */
    PROMPT_CALLING, /* a callback is on its way                         */
    PROMPT_DONE     /* nothing more will happen                         */
};

struct prompt {
    struct list by_age; /* in prompts: open ones, or finished ones      */
    struct list due;    /* in the list of callbacks that go out next    */
    struct prompt *chain;
    struct loop_timer timer;
    void *sim;              /* whose timer it is */
    struct ledger_prompt p; /* its URL is owned until DONE, then ""     */
    enum prompt_state state;
    bool forgotten; /* a reset came while a callback was on its way     */
    int tries;      /* callbacks sent                                   */
    char code[RESULT_SIZE]; /* "" while OPEN                            */
    char receipt[RECEIPT_SIZE];
    int64_t decided_at;  /* wall clock */
    uint64_t need;       /* of the journal, before the callback goes out */
    struct answer *held; /* the push's answer that waits for the callback */
};

struct prompts;

struct prompts *prompts_new(void);

/** Frees all; no timer may be armed any more. */
void prompts_free(struct prompts *ps);

/** Copies @p p with its URL; NULL when PROMPTS_OPEN_MAX are open. */
struct prompt *prompt_add(struct prompts *ps, const struct ledger_prompt *p);

/** By CheckoutRequestID, or NULL. */
struct prompt *prompt_find(const struct prompts *ps, const char *checkout);

/** Moves it to the finished ones, of which the oldest may go. */
void prompt_finish(struct prompts *ps, struct prompt *prompt);

/** Removes and frees it. */
void prompt_drop(struct prompts *ps, struct prompt *prompt);

/** Prompts that are not DONE. */
size_t prompts_open(const struct prompts *ps);

/** The oldest that is not DONE, the oldest that is; NULL for none. */
struct prompt *prompts_first_open(const struct prompts *ps);
struct prompt *prompts_first_done(const struct prompts *ps);

/** The open one after @p prompt, by age. */
struct prompt *prompts_next_open(const struct prompts *ps,
                                 const struct prompt *prompt);

#endif
