/*
 * The heap as an array of pointers. Every step that puts a node somewhere goes
 * through place(), so a node always knows where it stands.
 */
#include "common/heap.h"

#include <stdlib.h>

#include "common/must.h"

#define FIRST_CAP 16

static void place(struct heap *heap, size_t i, struct heap_node *node);
static void rise(struct heap *heap, size_t i, struct heap_node *node);
static void sink(struct heap *heap, size_t i, struct heap_node *node);

void heap_done(struct heap *heap)
{
    free(heap->nodes);
    *heap = (struct heap){0};
}

void heap_add(struct heap *heap, struct heap_node *node, int64_t key)
{
    must(node->at == 0);
    if (heap->n == heap->cap) {
        heap->cap = heap->cap ? 2 * heap->cap : FIRST_CAP;
        heap->nodes = must_grow(heap->nodes, heap->cap, sizeof(heap->nodes[0]));
    }
    node->key = key;
    rise(heap, heap->n++, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    size_t hole = node->at - 1;
    struct heap_node *last;

    if (node->at == 0)
        return;
    must(hole < heap->n && heap->nodes[hole] == node);
    node->at = 0;
    last = heap->nodes[--heap->n];
    if (last == node)
        return;
    if (hole > 0 && last->key < heap->nodes[(hole - 1) / 2]->key)
        rise(heap, hole, last);
    else
        sink(heap, hole, last);
}

struct heap_node *heap_min(const struct heap *heap)
{
    return heap->n ? heap->nodes[0] : NULL;
}

static void place(struct heap *heap, size_t i, struct heap_node *node)
{
    heap->nodes[i] = node;
    node->at = i + 1;
}

/* The place @p i is free; parents with larger keys move down into it. */
static void rise(struct heap *heap, size_t i, struct heap_node *node)
{
    while (i > 0) {
        size_t up = (i - 1) / 2;

        if (heap->nodes[up]->key <= node->key)
            break;
        place(heap, i, heap->nodes[up]);
        i = up;
    }
    place(heap, i, node);
}

/* The place @p i is free; the smaller child moves up while it is smaller. */
static void sink(struct heap *heap, size_t i, struct heap_node *node)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= heap->n)
            break;
        if (child + 1 < heap->n &&
            heap->nodes[child + 1]->key < heap->nodes[child]->key)
            child++;
        if (node->key <= heap->nodes[child]->key)
            break;
        place(heap, i, heap->nodes[child]);
        i = child;
    }
    place(heap, i, node);
}
