/*
 * The heap against a plain array, with nodes cancelled at random.
 */
#include "common/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NODES 300
#define STEPS 20000
#define SEED 20261121u

static uint32_t seed = SEED;

/* xorshift32: the same steps in every run. */
static uint32_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

static const struct heap_node *smallest(const struct heap_node *nodes)
{
    const struct heap_node *min = NULL;

    for (size_t i = 0; i < NODES; i++)
        if (nodes[i].at && (!min || nodes[i].key < min->key))
            min = &nodes[i];
    return min;
}

/* No parent is larger than its children, and every node knows its place. */
static void assert_heap(const struct heap *heap)
{
    for (size_t i = 0; i < heap->n; i++) {
        assert_int_equal(heap->nodes[i]->at, i + 1);
        assert_true(heap->nodes[(i - (i > 0)) / 2]->key <= heap->nodes[i]->key);
    }
}

static void test_empty_heap_has_no_minimum(void **state)
{
    struct heap heap = {0};

    (void)state;
    assert_null(heap_min(&heap));
    heap_done(&heap);
}

static void test_nodes_come_out_in_order(void **state)
{
    static struct heap_node nodes[NODES];
    struct heap heap = {0};
    int64_t last = INT64_MIN;

    (void)state;
    for (size_t i = 0; i < NODES; i++)
        heap_add(&heap, &nodes[i], (int64_t)(next_random() % 100) - 50);
    for (size_t i = 0; i < NODES; i++) {
        struct heap_node *min = heap_min(&heap);

        assert_true(min->key >= last);
        last = min->key;
        heap_remove(&heap, min);
        assert_int_equal(min->at, 0);
    }
    assert_null(heap_min(&heap));
    heap_done(&heap);
}

static void test_removing_twice_does_nothing(void **state)
{
    struct heap heap = {0};
    struct heap_node a = {0}, b = {0};

    (void)state;
    heap_add(&heap, &a, 1);
    heap_add(&heap, &b, 2);
    heap_remove(&heap, &a);
    heap_remove(&heap, &a);
    assert_ptr_equal(heap_min(&heap), &b);
    assert_int_equal(heap.n, 1);
    heap_done(&heap);
}

static void test_extreme_keys_are_ordered(void **state)
{
    struct heap heap = {0};
    struct heap_node low = {0}, high = {0};

    (void)state;
    heap_add(&heap, &high, INT64_MAX);
    heap_add(&heap, &low, INT64_MIN);
    assert_ptr_equal(heap_min(&heap), &low);
    heap_remove(&heap, &low);
    assert_ptr_equal(heap_min(&heap), &high);
    heap_done(&heap);
}

static void test_random_steps_agree_with_an_array(void **state)
{
    static struct heap_node nodes[NODES];
    struct heap heap = {0};
    size_t n = 0;

    (void)state;
    for (int step = 0; step < STEPS; step++) {
        struct heap_node *node = &nodes[next_random() % NODES];
        const struct heap_node *min;

        if (node->at) {
            heap_remove(&heap, node);
            n--;
        } else {
            heap_add(&heap, node, (int64_t)(next_random() % 1000));
            n++;
        }
        assert_int_equal(heap.n, n);
        assert_heap(&heap);
        min = smallest(nodes);
        if (min)
            assert_int_equal(heap_min(&heap)->key, min->key);
        else
            assert_null(heap_min(&heap));
    }
    heap_done(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_heap_has_no_minimum),
        cmocka_unit_test(test_nodes_come_out_in_order),
        cmocka_unit_test(test_removing_twice_does_nothing),
        cmocka_unit_test(test_extreme_keys_are_ordered),
        cmocka_unit_test(test_random_steps_agree_with_an_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
