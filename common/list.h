/*
 * An intrusive doubly linked list with a head that is a node itself. The
 * element embeds a `struct list`; nothing is allocated, every step is O(1).
 * Not for sharing one node between two lists.
 */
#ifndef FOLENI_COMMON_LIST_H
#define FOLENI_COMMON_LIST_H

#include <stdbool.h>

#include "common/base.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

/** Puts @p n at the end of @p head's list. @p n is in no list. */
static inline void list_append(struct list *head, struct list *n)
{
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}

/** Takes @p n out of its list; harmless on a node that is in none. */
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

/** Takes the first node out and returns it, NULL when there is none. */
static inline struct list *list_shift(struct list *head)
{
    struct list *n = head->next;

    if (n == head)
        return NULL;
    list_remove(n);
    return n;
}

/** Moves all of @p from to the end of @p to; @p from is empty then. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
