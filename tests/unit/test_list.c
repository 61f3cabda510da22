/*
 * The intrusive list.
 */
#include "common/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int id;
    struct list node;
};

/* The ids of @p head's list as one decimal number, walked both ways. */
static int ids(const struct list *head)
{
    int forth = 0, back = 0, unit = 1;

    for (struct list *l = head->next; l != head; l = l->next)
        forth = 10 * forth + container_of(l, struct item, node)->id;
    for (struct list *l = head->prev; l != head; l = l->prev) {
        back += unit * container_of(l, struct item, node)->id;
        unit *= 10;
    }
    assert_int_equal(forth, back);
    return forth;
}

static void fill(struct list *head, struct item *items, int first, int n)
{
    list_init(head);
    for (int i = 0; i < n; i++) {
        items[i].id = first + i;
        list_append(head, &items[i].node);
    }
}

static void test_append_keeps_the_order(void **state)
{
    struct list head;
    struct item items[3];

    (void)state;
    list_init(&head);
    assert_true(list_empty(&head));
    fill(&head, items, 1, 3);
    assert_false(list_empty(&head));
    assert_int_equal(ids(&head), 123);
}

static void test_remove_anywhere_and_twice(void **state)
{
    struct list head;
    struct item items[3];

    (void)state;
    fill(&head, items, 1, 3);
    list_remove(&items[1].node);
    list_remove(&items[1].node);
    assert_int_equal(ids(&head), 13);
    list_remove(&items[2].node);
    list_remove(&items[0].node);
    assert_true(list_empty(&head));
}

static void test_shift_takes_the_first(void **state)
{
    struct list head;
    struct item items[2];

    (void)state;
    fill(&head, items, 1, 2);
    assert_ptr_equal(list_shift(&head), &items[0].node);
    assert_true(list_empty(&items[0].node));
    assert_ptr_equal(list_shift(&head), &items[1].node);
    assert_null(list_shift(&head));
}

static void test_splice_moves_all(void **state)
{
    struct list to, from;
    struct item a[2], b[3];

    (void)state;
    fill(&to, a, 1, 2);
    fill(&from, b, 3, 3);
    list_splice(&to, &from);
    assert_int_equal(ids(&to), 12345);
    assert_true(list_empty(&from));
    list_splice(&to, &from);
    assert_int_equal(ids(&to), 12345);
    list_splice(&from, &to);
    assert_int_equal(ids(&from), 12345);
    assert_true(list_empty(&to));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_keeps_the_order),
        cmocka_unit_test(test_remove_anywhere_and_twice),
        cmocka_unit_test(test_shift_takes_the_first),
        cmocka_unit_test(test_splice_moves_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
