/*
 * The table of prompts: a hash by CheckoutRequestID that grows, a list of open
 * and one of finished prompts.
 */
#include "tests/daraja/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "common/must.h"
#include "tests/daraja/chance.h"

#define BUCKETS_MIN 4096 /* a power of two */

struct prompts {
    struct list open, done;
    size_t open_n, done_n;
    struct prompt **buckets;
    size_t buckets_n;
};

struct prompts *prompts_new(void)
{
    struct prompts *ps = NEW(struct prompts);

    list_init(&ps->open);
    list_init(&ps->done);
    ps->buckets_n = BUCKETS_MIN;
    ps->buckets = must_alloc(ps->buckets_n, sizeof(struct prompt *));
    return ps;
}

static struct prompt **bucket(const struct prompts *ps, const char *checkout)
{
    uint64_t h = chance_hash(checkout, strlen(checkout));

    return &ps->buckets[h & (ps->buckets_n - 1)];
}

static void release(struct prompt *prompt)
{
    if (prompt->state != PROMPT_DONE)
        free((void *)(uintptr_t)prompt->p.order.url);
    free(prompt);
}

static void free_list(struct list *head)
{
    struct list *node;

    while ((node = list_shift(head)))
        release(container_of(node, struct prompt, by_age));
}

void prompts_free(struct prompts *ps)
{
    if (!ps)
        return;
    free_list(&ps->open);
    free_list(&ps->done);
    free(ps->buckets);
    free(ps);
}

static void rehash(struct prompts *ps, struct list *head)
{
    for (struct list *at = head->next; at != head; at = at->next) {
        struct prompt *prompt = container_of(at, struct prompt, by_age);
        struct prompt **to = bucket(ps, prompt->p.checkout);

        prompt->chain = *to;
        *to = prompt;
    }
}

static void grow(struct prompts *ps)
{
    free(ps->buckets);
    ps->buckets_n *= 2;
    ps->buckets = must_alloc(ps->buckets_n, sizeof(struct prompt *));
    rehash(ps, &ps->open);
    rehash(ps, &ps->done);
}

struct prompt *prompt_add(struct prompts *ps, const struct ledger_prompt *p)
{
    struct prompt *prompt, **at;

    if (ps->open_n >= PROMPTS_OPEN_MAX)
        return NULL;
    if (ps->open_n + ps->done_n >= ps->buckets_n)
        grow(ps);
    prompt = NEW(struct prompt);
    prompt->p = *p;
    prompt->p.order.url = must_strdup(p->order.url);
    list_init(&prompt->due);
    list_append(&ps->open, &prompt->by_age);
    ps->open_n++;
    at = bucket(ps, p->checkout);
    prompt->chain = *at;
    *at = prompt;
    return prompt;
}

struct prompt *prompt_find(const struct prompts *ps, const char *checkout)
{
    struct prompt *prompt = *bucket(ps, checkout);

    while (prompt && strcmp(prompt->p.checkout, checkout) != 0)
        prompt = prompt->chain;
    return prompt;
}

void prompt_drop(struct prompts *ps, struct prompt *prompt)
{
    struct prompt **at = bucket(ps, prompt->p.checkout);

    while (*at != prompt)
        at = &(*at)->chain;
    *at = prompt->chain;
    list_remove(&prompt->by_age);
    list_remove(&prompt->due);
    if (prompt->state == PROMPT_DONE)
        ps->done_n--;
    else
        ps->open_n--;
    release(prompt);
}

void prompt_finish(struct prompts *ps, struct prompt *prompt)
{
    must(prompt->state != PROMPT_DONE);
    free((void *)(uintptr_t)prompt->p.order.url);
    prompt->p.order.url = "";
    prompt->state = PROMPT_DONE;
    list_remove(&prompt->by_age);
    list_append(&ps->done, &prompt->by_age);
    ps->open_n--;
    if (++ps->done_n > PROMPTS_KEPT_MAX)
        prompt_drop(ps, prompts_first_done(ps));
}

size_t prompts_open(const struct prompts *ps)
{
    return ps->open_n;
}

static struct prompt *first(const struct list *head)
{
    return list_empty(head) ? NULL
                            : container_of(head->next, struct prompt, by_age);
}

struct prompt *prompts_first_open(const struct prompts *ps)
{
    return first(&ps->open);
}

struct prompt *prompts_first_done(const struct prompts *ps)
{
    return first(&ps->done);
}

struct prompt *prompts_next_open(const struct prompts *ps,
                                 const struct prompt *prompt)
{
    struct list *next = prompt->by_age.next;

    return next == &ps->open ? NULL : container_of(next, struct prompt, by_age);
}
