/*
 * One allocation per letter. It stands in one list: waiting (its timer is
 * armed), due (for the turn's end) or going (the courier has it).
 */
#include "tests/daraja/letter.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/must.h"
#include "common/payment.h"
#include "tests/daraja/journal.h"

/* When the courier is full, one is tried again after this. */
#define BUSY_US (10 * US_PER_MS)

struct letter {
    struct list node;
    struct letters *ls;
    struct loop_timer timer;
    uint64_t need;
    const char *kind;
    int64_t shortcode;
    char receipt[RECEIPT_SIZE];
    char *url, *body;
    size_t len;
};

struct letters {
    struct loop *loop;
    struct courier *courier;
    struct ledger *ledger;
    struct list waiting, due, going;
    size_t n;
    uint64_t need;
};

struct letters *letters_new(struct loop *loop, struct courier *courier,
                            struct ledger *ledger)
{
    struct letters *ls = NEW(struct letters);

    ls->loop = loop;
    ls->courier = courier;
    ls->ledger = ledger;
    list_init(&ls->waiting);
    list_init(&ls->due);
    list_init(&ls->going);
    return ls;
}

static void drop(struct letter *l)
{
    timer_cancel(l->ls->loop, &l->timer);
    list_remove(&l->node);
    l->ls->n--;
    free(l->url);
    free(l->body);
    free(l);
}

static void drop_all(struct list *head)
{
    while (!list_empty(head))
        drop(container_of(head->next, struct letter, node));
}

void letters_reset(struct letters *ls)
{
    drop_all(&ls->waiting);
    drop_all(&ls->due);
}

void letters_free(struct letters *ls)
{
    if (!ls)
        return;
    letters_reset(ls);
    drop_all(&ls->going);
    free(ls);
}

static void note(struct letters *ls, const struct ledger_notice *n)
{
    ledger_notice(ls->ledger, n, clock_wall_at());
}

static void on_done(void *arg, int status, const char *error)
{
    struct letter *l = arg;

    note(l->ls, &(struct ledger_notice){.kind = l->kind,
                                        .receipt = l->receipt,
                                        .status = status,
                                        .error = error});
    drop(l);
}

static void on_due(void *arg)
{
    struct letter *l = arg;

    list_remove(&l->node);
    list_append(&l->ls->due, &l->node);
    l->ls->need = MAX(l->ls->need, l->need);
}

static void wait_until(struct letter *l, int64_t at_us)
{
    list_remove(&l->node);
    list_append(&l->ls->waiting, &l->node);
    timer_set(l->ls->loop, &l->timer, at_us);
}

void letters_send(struct letters *ls, const struct letter_spec *spec)
{
    struct letter *l;

    if (ls->n >= LETTERS_MAX) {
        note(ls, &(struct ledger_notice){.kind = spec->kind,
                                         .receipt = spec->receipt,
                                         .lost = true,
                                         .error = "too many"});
        return;
    }
    l = NEW(struct letter);
    ls->n++;
    l->ls = ls;
    list_init(&l->node);
    timer_init(&l->timer, on_due, l);
    l->need = journal_size(ls->ledger->journal);
    l->kind = spec->kind;
    l->shortcode = spec->shortcode;
    text_copy(l->receipt, sizeof(l->receipt), spec->receipt);
    l->url = must_strdup(spec->url);
    l->len = spec->body->len;
    l->body = must_alloc(l->len + 1, 1);
    memcpy(l->body, spec->body->data, l->len);
    wait_until(l, spec->at_us);
}

static void send_one(struct letters *ls, struct letter *l)
{
    struct courier_letter letter = {.url = l->url,
                                    .shortcode = l->shortcode,
                                    .body = l->body,
                                    .len = l->len,
                                    .done = on_done,
                                    .arg = l};
    struct err err;

    list_append(&ls->going, &l->node);
    if (courier_send(ls->courier, &letter, &err) == ERR_NONE)
        return;
    if (err.code == ERR_LIMIT)
        wait_until(l, loop_now_us(ls->loop) + BUSY_US);
    else
        on_done(l, 0, err.text);
}

uint64_t letters_need(const struct letters *ls)
{
    return ls->need;
}

void letters_flush(struct letters *ls)
{
    struct list now;
    struct list *node;

    list_init(&now);
    list_splice(&now, &ls->due);
    ls->need = 0;
    while ((node = list_shift(&now)))
        send_one(ls, container_of(node, struct letter, node));
}

size_t letters_open(const struct letters *ls)
{
    return ls->n;
}
