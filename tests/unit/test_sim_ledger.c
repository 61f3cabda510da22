/*
 * Unit tests of the oracle: journal, counts, and that what is read back counts
 * the same as what was written.
 */
#include "tests/daraja/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/json.h"
#include "tests/daraja/journal.h"

#define KEYS 5000
#define AT INT64_C(1795247160123456)

struct book {
    char path[64];
    struct journal *journal;
    struct ledger ledger;
    struct ledger_reader reader;
    int events[LEDGER_BAD + 1];
};

static void on_line(void *arg, const char *line, size_t len, uint64_t offset)
{
    struct book *b = arg;

    b->events[ledger_replay(&b->ledger, &b->reader, line, len, offset)]++;
}

static void open_book(struct book *b)
{
    struct err err;

    ledger_init(&b->ledger);
    memset(b->events, 0, sizeof(b->events));
    assert_int_equal(journal_open(b->path, on_line, b, &b->journal, &err), 0);
    b->ledger.journal = b->journal;
}

static void close_book(struct book *b)
{
    journal_close(b->journal);
    ledger_done(&b->ledger);
}

static int set_up(void **state)
{
    struct book *b = calloc(1, sizeof(*b));

    snprintf(b->path, sizeof(b->path), "/tmp/foleni-test-journal-%d", getpid());
    unlink(b->path);
    open_book(b);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct book *b = *state;

    close_book(b);
    unlink(b->path);
    free(b);
    return 0;
}

static struct ledger_prompt prompt_of(const char *url, const char *checkout)
{
    struct ledger_prompt p = {
        .order = {.shortcode = 174379,
                  .msisdn = 254708374149,
                  .amount = 100,
                  .reference = "INV1",
                  .url = url},
        .plan = {.fate = FATE_PAY, .callback = CALLBACK_TWICE, .code = "0"},
        .accepted_at = AT,
        .merchant = "m-1",
    };

    snprintf(p.checkout, sizeof(p.checkout), "%s", checkout);
    return p;
}

static void push(struct book *b, struct ledger_prompt *p)
{
    p->n = ledger_push(&b->ledger, &p->order, AT, "ok", "", "127.0.0.1:5");
}

/* Two attempts of one payment, both accepted, both paid. */
static void write_double(struct book *b)
{
    struct ledger_prompt p = prompt_of("http://h/callbacks/pay-1/1/aa", "c1");
    struct ledger_prompt q = prompt_of("http://h/callbacks/pay-1/2/bb", "c2");
    struct ledger_callback c = {p.n, &p.order, p.checkout, 1, 200, false, ""};
    struct err err;

    push(b, &p);
    ledger_accept(&b->ledger, &p);
    push(b, &q);
    ledger_accept(&b->ledger, &q);
    ledger_debit(&b->ledger, &p, AT, "RLA0X1Y2Z3");
    ledger_debit(&b->ledger, &q, AT, "RLA0X1Y2Z4");
    ledger_callback(&b->ledger, &c, AT);
    c.status = 500;
    ledger_callback(&b->ledger, &c, AT);
    c.lost = true;
    ledger_callback(&b->ledger, &c, AT);
    assert_int_equal(journal_commit(b->journal, journal_size(b->journal), &err),
                     0);
}

static void check_double(const struct ledger *l)
{
    assert_int_equal(l->counts.pushes, 2);
    assert_int_equal(l->counts.accepted, 2);
    assert_int_equal(l->counts.debits, 2);
    assert_int_equal(l->counts.debited, 200);
    assert_int_equal(l->counts.callbacks_acked, 1);
    assert_int_equal(l->counts.callbacks_failed, 1);
    assert_int_equal(l->counts.callbacks_lost, 1);
    assert_int_equal(l->orders.most[TALLY_DEBITS], 2);
    assert_int_equal(l->orders.twice[TALLY_PUSHES], 1);
    assert_int_equal(l->payments.most[TALLY_ACCEPTED], 2);
    assert_int_equal(l->attempts.most[TALLY_PUSHES], 1);
    assert_int_equal(l->n, 2);
}

static void a_double_charge_shows(void **state)
{
    struct book *b = *state;

    write_double(b);
    check_double(&b->ledger);
}

static void it_shows_after_a_restart_too(void **state)
{
    struct book *b = *state;

    write_double(b);
    close_book(b);
    open_book(b);
    check_double(&b->ledger);
    assert_int_equal(b->events[LEDGER_ACCEPTED], 2);
    assert_int_equal(b->events[LEDGER_DECIDED], 2);
    assert_int_equal(b->events[LEDGER_CALLED], 3);
    assert_int_equal(b->events[LEDGER_BAD], 0);
}

static void a_prompt_is_read_back(void **state)
{
    struct book *b = *state;
    struct ledger_prompt p = prompt_of("http://h/callbacks/pay-1/1/aa", "c1");
    const struct ledger_prompt *back = &b->reader.prompt;

    push(b, &p);
    ledger_accept(&b->ledger, &p);
    close_book(b);
    open_book(b);
    assert_int_equal(back->n, 1);
    assert_int_equal(back->order.msisdn, p.order.msisdn);
    assert_int_equal(back->order.shortcode, 174379);
    assert_string_equal(back->order.url, p.order.url);
    assert_string_equal(back->checkout, "c1");
    assert_string_equal(back->merchant, "m-1");
    assert_int_equal(back->plan.fate, FATE_PAY);
    assert_int_equal(back->plan.callback, CALLBACK_TWICE);
    assert_string_equal(back->plan.code, "0");
    assert_int_equal(back->accepted_at, AT);
}

static void a_torn_line_is_cut_off(void **state)
{
    struct book *b = *state;
    struct ledger_prompt p = prompt_of("http://h/callbacks/pay-1/3/cc", "c3");
    uint64_t size;
    FILE *f;

    write_double(b);
    size = journal_size(b->journal);
    close_book(b);
    f = fopen(b->path, "a");
    assert_non_null(f);
    fputs("{\"t\":\"debit\",\"at\":\"2026", f);
    fclose(f);
    open_book(b);
    check_double(&b->ledger);
    assert_int_equal(journal_size(b->journal), size);
    push(b, &p); /* stands in a line of its own */
    close_book(b);
    open_book(b);
    assert_int_equal(b->ledger.counts.pushes, 3);
    assert_int_equal(b->events[LEDGER_BAD], 0);
}

static void a_reset_begins_anew(void **state)
{
    struct book *b = *state;
    struct buf text;
    struct err err;

    buf_init(&text, 65536);
    write_double(b);
    ledger_reset(&b->ledger, AT);
    assert_int_equal(b->ledger.counts.debits, 0);
    assert_int_equal(b->ledger.orders.most[TALLY_DEBITS], 0);
    close_book(b);
    open_book(b);
    assert_int_equal(b->ledger.counts.debits, 0);
    assert_int_equal(b->events[LEDGER_RESET], 1);
    assert_int_equal(journal_read(b->journal, b->ledger.since, &text, &err), 0);
    assert_non_null(strstr(text.data, "{\"t\":\"reset\""));
    assert_null(strstr(text.data, "debit"));
    buf_done(&text);
}

static void it_is_read_in_whole_lines(void **state)
{
    struct book *b = *state;
    uint64_t offset = 0;
    struct buf text;
    struct err err;
    int lines = 0;

    write_double(b);
    buf_init(&text, 700); /* some lines, not all */
    do {
        buf_reset(&text);
        assert_int_equal(journal_read(b->journal, offset, &text, &err), 0);
        if (text.len > 0)
            assert_int_equal(text.data[text.len - 1], '\n');
        for (size_t i = 0; i < text.len; i++)
            lines += text.data[i] == '\n';
        offset += text.len;
    } while (text.len > 0);
    assert_int_equal(offset, journal_size(b->journal));
    assert_int_equal(lines, 9);
    assert_int_equal(journal_read(b->journal, offset + 1, &text, &err),
                     ERR_INPUT);
    buf_done(&text);
}

static void only_one_process_writes_it(void **state)
{
    struct book *b = *state;
    struct journal *second = NULL;
    struct err err;

    assert_int_equal(journal_open(b->path, on_line, b, &second, &err),
                     ERR_CONFLICT);
}

static void every_line_is_json(void **state)
{
    struct book *b = *state;
    struct ledger_prompt p = prompt_of("http://h/callbacks/pay-1/1/aa", "c1");
    struct buf text;
    struct json *doc;
    struct err err;

    buf_init(&text, 4096);
    snprintf(p.order.reference, sizeof(p.order.reference), "a\"\\\n\xff");
    push(b, &p);
    assert_int_equal(journal_commit(b->journal, journal_size(b->journal), &err),
                     0);
    assert_int_equal(journal_read(b->journal, 0, &text, &err), 0);
    assert_int_equal(json_parse_strict(text.data, text.len - 1, &doc, &err), 0);
    assert_string_equal(json_text(json_get(doc, "payment")), "pay-1");
    assert_string_equal(json_text(json_get(doc, "at")),
                        "2026-11-21T07:46:00.123456Z");
    json_free(doc);
    buf_done(&text);
}

static void a_tally_grows(void **state)
{
    struct tally t;

    (void)state;
    tally_init(&t);
    for (uint64_t key = 0; key < KEYS; key++)
        assert_int_equal(tally_add(&t, key, TALLY_PUSHES), key == 1 ? 2 : 1);
    tally_add(&t, KEYS - 1, TALLY_PUSHES);
    assert_int_equal(tally_get(&t, KEYS - 1, TALLY_PUSHES), 2);
    assert_int_equal(tally_get(&t, KEYS - 2, TALLY_PUSHES), 1);
    assert_int_equal(tally_get(&t, KEYS - 1, TALLY_DEBITS), 0);
    assert_int_equal(tally_get(&t, KEYS + 1, TALLY_PUSHES), 0);
    assert_int_equal(t.used, KEYS - 1); /* 0 is counted as 1 */
    assert_int_equal(t.twice[TALLY_PUSHES], 2);
    tally_done(&t);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_double_charge_shows),      CASE(it_shows_after_a_restart_too),
        CASE(a_prompt_is_read_back),      CASE(a_torn_line_is_cut_off),
        CASE(a_reset_begins_anew),        CASE(it_is_read_in_whole_lines),
        CASE(only_one_process_writes_it), CASE(every_line_is_json),
        cmocka_unit_test(a_tally_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
