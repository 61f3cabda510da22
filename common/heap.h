/*
 * A binary min-heap of `struct heap_node`s embedded in the elements. Each node
 * knows its place, so that cancelling any of them is O(log n).
 */
#ifndef FOLENI_COMMON_HEAP_H
#define FOLENI_COMMON_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"

struct heap_node {
    int64_t key; /* what the heap orders by, e.g. a due time in us */
    size_t at;   /* place in the heap plus one; 0 = in no heap       */
};

struct heap {
    struct heap_node **nodes;
    size_t n;
    size_t cap;
};

/** Frees the table, not the elements. */
void heap_done(struct heap *heap);

/** Adds @p node, which is in no heap, under @p key. Dies without memory. */
void heap_add(struct heap *heap, struct heap_node *node, int64_t key);

/** Takes @p node out; nothing happens when it is in no heap. */
void heap_remove(struct heap *heap, struct heap_node *node);

/** The node with the smallest key, or NULL; it stays in the heap. */
struct heap_node *heap_min(const struct heap *heap);

#endif
