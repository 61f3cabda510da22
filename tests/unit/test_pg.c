/*
 * pg against a real server (FOLENI_TEST_CONNINFO, given by tests/unit/run):
 * values there and back, units as transactions, their order, every way in which
 * a connection can end, and a small relay that behaves as a pooler does.
 */
#include "common/pg.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/pg_priv.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

#define WAIT_MAX_US (20 * US_PER_S)
#define ENDS_MAX 32

enum {
    ECHO,
    ECHO_ARRAYS,
    PUT,
    RAISE,
    WARN,
    PUT_LATE,
    COUNT,
    SLEEP,
    BIG,
    SETTING,
};

static const struct pg_statement statements[] = {
    [ECHO] = {"echo", "SELECT $1::int2, $2::int4, $3::int8, $4::bool, "
                      "$5::uuid, $6::text, $7::bytea, $8::timestamptz"},
    [ECHO_ARRAYS] = {"echo_arrays",
                     "SELECT * FROM unnest($1::int2[], $2::int4[], $3::int8[], "
                     "$4::bool[], $5::uuid[], $6::text[], $7::bytea[], "
                     "$8::timestamptz[])"},
    [PUT] = {"put", "INSERT INTO things SELECT unnest($1::int4[])"},
    [RAISE] = {"raise", "SELECT raise($1::text)"},
    [WARN] = {"warn", "INSERT INTO warnings VALUES (1)"},
    [PUT_LATE] = {"put_late", "INSERT INTO late VALUES ($1::int4)"},
    [COUNT] = {"count", "SELECT count(*) FROM things"},
    [SLEEP] = {"sleep", "SELECT pg_sleep(60)"},
    [BIG] = {"big", "SELECT repeat($1::text, 3)"},
    [SETTING] = {"setting", "SELECT current_setting('lock_timeout')"},
};

static const char schema[] =
    "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
    "CREATE TABLE things (n int4 PRIMARY KEY CHECK (n <> 13));"
    "CREATE TABLE late (n int4, UNIQUE (n) DEFERRABLE INITIALLY DEFERRED);"
    "CREATE TABLE warnings (n int4);"
    "CREATE FUNCTION raise(code text) RETURNS void LANGUAGE plpgsql AS "
    "$$BEGIN RAISE EXCEPTION 'no luck' USING ERRCODE = code; END$$;"
    "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN RAISE WARNING 'canceling wait'; RETURN NULL; END$$;"
    "CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON warnings DEFERRABLE "
    "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION warn();";

static const char *const session[] = {"SET lock_timeout = '1234ms'", NULL};

/* --- a pg and what it said --- */

struct end {
    int unit;
    enum err_code code;
    char state[8];
    size_t results;
    int64_t value; /* an integer in the first cell of the first result */
};

struct fixture {
    struct loop *loop;
    struct pg *pg;
    struct pg_session *other; /* looks from aside */
    bool up;
    int downs;
    int ends_when_down; /* ends that came before on_state(false) */
    struct end ends[ENDS_MAX];
    int ends_n;
};

struct ticket {
    struct fixture *f;
    int unit;
};

static struct ticket tickets[ENDS_MAX];

static const char *conninfo(void)
{
    const char *given = getenv("FOLENI_TEST_CONNINFO");

    if (!given)
        fail_msg("FOLENI_TEST_CONNINFO is missing: use tests/unit/run");
    return given;
}

static void on_state(void *arg, bool up)
{
    struct fixture *f = arg;

    f->up = up;
    if (!up) {
        f->downs++;
        f->ends_when_down = f->ends_n;
    }
}

static void on_end(void *arg, struct pg_result *const *results, size_t n,
                   const struct err *err)
{
    struct ticket *t = arg;
    struct end *end = &t->f->ends[t->f->ends_n++];

    *end = (struct end){.unit = t->unit, .results = n};
    if (err) {
        end->code = err->code;
        memcpy(end->state, err->detail, sizeof(end->state));
    } else if (pg_rows(results[0]) > 0) {
        size_t len;

        (void)pg_get_text(results[0], 0, 0, &len);
        if (len == 2 || len == 4 || len == 8)
            end->value = pg_get_int(results[0], 0, 0);
    }
}

/* Turns the loop until *what equals wanted. */
static void turn_until(struct fixture *f, const int *what, int wanted)
{
    int64_t end_us = clock_now_us() + WAIT_MAX_US;

    while (*what < wanted && clock_now_us() < end_us)
        loop_once(f->loop, US_PER_S);
    if (*what < wanted)
        fail_msg("nothing within %d s", (int)(WAIT_MAX_US / US_PER_S));
}

static void turn_until_up(struct fixture *f)
{
    int64_t end_us = clock_now_us() + WAIT_MAX_US;

    while (!f->up && clock_now_us() < end_us)
        loop_once(f->loop, US_PER_S);
    assert_true(f->up);
    assert_true(pg_up(f->pg, NULL, 0));
}

static struct pg_spec spec_of(struct fixture *f)
{
    return (struct pg_spec){
        .conninfo = conninfo(),
        .password = "",
        .application_name = "test_pg",
        .statements = statements,
        .statements_n = ARRAY_LEN(statements),
        .units_max = 8,
        .session = session,
        .on_state = on_state,
        .arg = f,
    };
}

static void run(struct fixture *f, const char *sql)
{
    struct err err;

    if (pg_session_exec(f->other, sql, NULL, 0, NULL, &err))
        fail_msg("%s: %s", sql, err.text);
}

static int64_t look(struct fixture *f, const char *sql)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    struct err err;

    if (pg_session_exec(f->other, sql, NULL, 0, &rows, &err))
        fail_msg("%s: %s", sql, err.text);
    assert_int_equal(pg_text_rows_n(rows), 1);
    return strtoll(pg_text_value(rows, 0, 0), NULL, 10);
}

static int set_up_empty(void **state)
{
    struct fixture *f = NEW(struct fixture);
    struct err err;

    f->loop = loop_new();
    if (pg_session_open(conninfo(), "", &f->other, &err))
        fail_msg("%s", err.text);
    run(f, schema);
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    struct fixture *f;
    struct pg_spec spec;

    set_up_empty(state);
    f = *state;
    spec = spec_of(f);
    f->pg = pg_new(f->loop, &spec);
    turn_until_up(f);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    pg_free(f->pg);
    pg_session_close(f->other);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void sync_as(struct fixture *f, int unit)
{
    tickets[unit] = (struct ticket){f, unit};
    pg_sync(f->pg, on_end, &tickets[unit]);
}

static void send_put(struct fixture *f, int n)
{
    struct pg_params *p = pg_params(f->pg);

    pg_array(p, PG_INT4, 1);
    pg_int4(p, n);
    pg_send(f->pg, PUT, p);
}

static void send_raise(struct fixture *f, const char *sqlstate)
{
    struct pg_params *p = pg_params(f->pg);

    pg_text(p, sqlstate);
    pg_send(f->pg, RAISE, p);
}

/* --- values --- */

static const struct uuid some_id = {
    {0x6f, 0x1c, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xff}};
#define SOME_AT INT64_C(1763711160123456)

static void echo_done(void *arg, struct pg_result *const *results, size_t n,
                      const struct err *err)
{
    const struct pg_result *r = results[0];
    struct uuid id = pg_get_uuid(r, 0, 4);
    size_t len;

    assert_null(err);
    assert_int_equal(n, 2);
    assert_int_equal(pg_get_int(r, 0, 0), -2);
    assert_int_equal(pg_get_int(r, 0, 1), INT32_MIN);
    assert_int_equal(pg_get_int(r, 0, 2), INT64_MAX);
    assert_true(pg_get_bool(r, 0, 3));
    assert_true(uuid_equal(&id, &some_id));
    assert_string_equal(pg_get_text(r, 0, 5, NULL), "caf\xc3\xa9");
    assert_memory_equal(pg_get_text(r, 0, 6, &len), "a\0b", 3);
    assert_int_equal(len, 3);
    assert_int_equal(pg_get_time(r, 0, 7), SOME_AT);

    r = results[1];
    id = pg_get_uuid(r, 0, 4);
    for (size_t i = 0; i < 8; i++)
        assert_true(pg_is_null(r, 0, i));
    assert_int_equal(pg_get_int(r, 0, 2), 0);
    assert_false(pg_get_bool(r, 0, 3));
    assert_true(uuid_equal(&id, &(struct uuid){{0}}));
    assert_string_equal(pg_get_text(r, 0, 5, &len), "");
    assert_int_equal(len, 0);
    assert_int_equal(pg_get_time(r, 0, 7), 0);
    *(int *)arg = 1;
}

static void values_come_back(void **state)
{
    struct fixture *f = *state;
    struct pg_params *p = pg_params(f->pg);
    int done = 0;

    pg_int2(p, -2);
    pg_int4(p, INT32_MIN);
    pg_int8(p, INT64_MAX);
    pg_bool(p, true);
    pg_uuid(p, &some_id);
    pg_text(p, "caf\xc3\xa9");
    pg_bytes(p, "a\0b", 3);
    pg_time(p, SOME_AT);
    pg_send(f->pg, ECHO, p);
    p = pg_params(f->pg);
    for (int i = 0; i < 5; i++)
        pg_null(p);
    pg_text(p, NULL);
    pg_null(p);
    pg_time(p, 0);
    pg_send(f->pg, ECHO, p);
    pg_sync(f->pg, echo_done, &done);
    assert_int_equal(done, 0);
    turn_until(f, &done, 1);
}

static void put_arrays(struct pg_params *p, int n)
{
    pg_array(p, PG_INT2, (size_t)n);
    for (int i = 0; i < n; i++)
        pg_int2(p, (int16_t)-i);
    pg_array(p, PG_INT4, (size_t)n);
    for (int i = 0; i < n; i++)
        pg_int4(p, i * 1000000);
    pg_array(p, PG_INT8, (size_t)n);
    for (int i = 0; i < n; i++)
        pg_int8(p, i * INT64_C(254700000000));
    pg_array(p, PG_BOOL, (size_t)n);
    for (int i = 0; i < n; i++)
        pg_bool(p, i % 2);
    pg_array(p, PG_UUID, (size_t)n);
    for (int i = 0; i < n; i++)
        pg_uuid(p, &some_id);
    pg_array(p, PG_TEXT, (size_t)n);
    for (int i = 0; i < n; i++)
        pg_text(p, i == 1 ? NULL : i == 2 ? "" : "text");
    pg_array(p, PG_BYTEA, (size_t)n);
    for (int i = 0; i < n; i++)
        pg_bytes(p, &i, sizeof(i));
    pg_array(p, PG_TIMESTAMPTZ, (size_t)n);
    for (int i = 0; i < n; i++)
        pg_time(p, i == 1 ? 0 : SOME_AT + i);
}

static void arrays_done(void *arg, struct pg_result *const *results, size_t n,
                        const struct err *err)
{
    const struct pg_result *r = results[0];

    assert_null(err);
    assert_int_equal(n, 2);
    assert_int_equal(pg_rows(r), 1000);
    for (int i = 0; i < 1000; i++) {
        size_t row = (size_t)i;
        size_t len;

        assert_int_equal(pg_get_int(r, row, 0), -i);
        assert_int_equal(pg_get_int(r, row, 1), i * 1000000);
        assert_int_equal(pg_get_int(r, row, 2), i * INT64_C(254700000000));
        assert_int_equal(pg_get_bool(r, row, 3), i % 2);
        assert_int_equal(pg_is_null(r, row, 5), i == 1);
        (void)pg_get_text(r, row, 5, &len);
        assert_int_equal(len, i == 1 || i == 2 ? 0 : 4);
        assert_memory_equal(pg_get_text(r, row, 6, NULL), &i, sizeof(i));
        assert_int_equal(pg_get_time(r, row, 7), i == 1 ? 0 : SOME_AT + i);
    }
    assert_int_equal(pg_rows(results[1]), 0);
    *(int *)arg = 1;
}

static void arrays_come_back(void **state)
{
    struct fixture *f = *state;
    struct pg_params *p = pg_params(f->pg);
    int done = 0;

    put_arrays(p, 1000);
    pg_send(f->pg, ECHO_ARRAYS, p);
    p = pg_params(f->pg);
    put_arrays(p, 0);
    pg_send(f->pg, ECHO_ARRAYS, p);
    pg_sync(f->pg, arrays_done, &done);
    turn_until(f, &done, 1);
}

/* --- units --- */

static void a_unit_is_one_transaction(void **state)
{
    struct fixture *f = *state;
    int64_t failed = metric_get(M_PG_FAILED);

    send_put(f, 1);
    sync_as(f, 0);
    send_put(f, 2);
    send_put(f, 1); /* there already */
    sync_as(f, 1);
    send_put(f, 3);
    send_put(f, 4);
    sync_as(f, 2);
    assert_int_equal(f->ends_n, 0);
    turn_until(f, &f->ends_n, 3);
    assert_int_equal(f->ends[0].code, ERR_NONE);
    assert_int_equal(f->ends[1].code, ERR_CONFLICT);
    assert_string_equal(f->ends[1].state, "23505");
    assert_int_equal(f->ends[1].results, 0);
    assert_int_equal(f->ends[2].code, ERR_NONE);
    assert_int_equal(f->ends[2].results, 2);
    assert_int_equal(look(f, "SELECT sum(n) FROM things"), 1 + 3 + 4);
    assert_int_equal(metric_get(M_PG_FAILED), failed + 1);
    assert_int_equal(f->downs, 0);
    assert_true(pg_latency_us(f->pg) > 0);
}

static void changed_done(void *arg, struct pg_result *const *results, size_t n,
                         const struct err *err)
{
    assert_null(err);
    assert_int_equal(n, 1);
    *(int *)arg = (int)pg_changed(results[0]);
}

static void changed_rows_are_counted(void **state)
{
    struct fixture *f = *state;
    struct pg_params *p = pg_params(f->pg);
    int changed = 0;

    pg_array(p, PG_INT4, 3);
    for (int i = 0; i < 3; i++)
        pg_int4(p, i);
    pg_send(f->pg, PUT, p);
    pg_sync(f->pg, changed_done, &changed);
    turn_until(f, &changed, 3);
    assert_int_equal(changed, 3);
}

static void units_end_in_order_beyond_the_limit_too(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 12; i++) {
        send_put(f, i);
        sync_as(f, i);
    }
    assert_int_equal(pg_units(f->pg), 12);
    assert_int_equal(f->ends_n, 0);
    turn_until(f, &f->ends_n, 12);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(f->ends[i].unit, i);
        assert_int_equal(f->ends[i].code, i < 8 ? ERR_NONE : ERR_LIMIT);
    }
    assert_int_equal(pg_units(f->pg), 0);
    assert_int_equal(look(f, "SELECT count(*) FROM things"), 8);
}

static void ends_may_send(void *arg, struct pg_result *const *results, size_t n,
                          const struct err *err)
{
    struct ticket *t = arg;

    on_end(arg, results, n, err);
    if (t->f->ends_n < 20) {
        pg_send(t->f->pg, COUNT, NULL);
        pg_sync(t->f->pg, ends_may_send, t);
    }
}

static void a_callback_may_send_the_next_unit(void **state)
{
    struct fixture *f = *state;

    tickets[0] = (struct ticket){f, 0};
    pg_send(f->pg, COUNT, NULL);
    pg_sync(f->pg, ends_may_send, &tickets[0]);
    turn_until(f, &f->ends_n, 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(f->ends[i].code, ERR_NONE);
}

static void answers_larger_than_every_buffer(void **state)
{
    struct fixture *f = *state;
    size_t size = 4 << 20;
    char *text = must_alloc(1, size + 1);

    memset(text, 'x', size);
    for (int i = 0; i < 4; i++) {
        struct pg_params *p = pg_params(f->pg);

        pg_text(p, text);
        pg_send(f->pg, BIG, p);
        sync_as(f, i);
    }
    free(text);
    turn_until(f, &f->ends_n, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(f->ends[i].code, ERR_NONE);
}

/* --- errors --- */

static void sqlstates_by_the_table(void **state)
{
    static const struct {
        const char *sqlstate;
        enum err_code code;
        bool stays; /* the connection is used further */
    } rows[] = {
        {"22003", ERR_INPUT, true},        {"22021", ERR_INPUT, true},
        {"23514", ERR_INPUT, true},        {"23502", ERR_INPUT, true},
        {"23505", ERR_CONFLICT, true},     {"40001", ERR_CONFLICT, true},
        {"40P01", ERR_CONFLICT, true},     {"55P03", ERR_CONFLICT, true},
        {"53100", ERR_UNAVAILABLE, true},  {"57014", ERR_UNAVAILABLE, true},
        {"42P01", ERR_INTERNAL, true},     {"21000", ERR_INTERNAL, true},
        {"P0001", ERR_INTERNAL, true},     {"0A000", ERR_UNAVAILABLE, false},
        {"25006", ERR_UNAVAILABLE, false}, {"26000", ERR_UNAVAILABLE, false},
        {"57P01", ERR_UNSURE, false},      {"08006", ERR_UNSURE, false},
    };
    struct fixture *f = *state;

    for (int i = 0; i < (int)ARRAY_LEN(rows); i++) {
        int downs = f->downs;

        f->ends_n = 0;
        send_put(f, 100 + i);
        send_raise(f, rows[i].sqlstate);
        sync_as(f, 0);
        turn_until(f, &f->ends_n, 1);
        assert_string_equal(f->ends[0].state, rows[i].sqlstate);
        assert_int_equal(f->ends[0].code, rows[i].code);
        if (!rows[i].stays)
            turn_until(f, &f->downs, downs + 1);
        assert_int_equal(f->downs, downs + !rows[i].stays);
        turn_until_up(f);
    }
    assert_int_equal(look(f, "SELECT count(*) FROM things"), 0);
}

static void an_error_of_the_commit_itself(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 3; i++) {
        struct pg_params *p = pg_params(f->pg);

        pg_int4(p, i / 2); /* 0, 0, 1 */
        pg_send(f->pg, PUT_LATE, p);
        sync_as(f, i);
    }
    turn_until(f, &f->ends_n, 3);
    assert_int_equal(f->ends[0].code, ERR_NONE);
    assert_int_equal(f->ends[1].code, ERR_CONFLICT);
    assert_int_equal(f->ends[2].code, ERR_NONE);
    assert_int_equal(look(f, "SELECT count(*) FROM late"), 2);
    assert_int_equal(f->downs, 0);
}

static void a_warning_at_commit_is_unsure(void **state)
{
    struct fixture *f = *state;

    send_put(f, 1);
    sync_as(f, 0);
    pg_send(f->pg, WARN, NULL);
    sync_as(f, 1);
    send_put(f, 2);
    sync_as(f, 2);
    turn_until(f, &f->ends_n, 3);
    assert_int_equal(f->ends[0].code, ERR_NONE);
    assert_int_equal(f->ends[1].code, ERR_UNSURE);
    assert_int_equal(f->ends[2].code, ERR_NONE);
    assert_int_equal(look(f, "SELECT count(*) FROM warnings"), 1);
}

/* --- connections --- */

static void nothing_is_sent_before_it_is_up(void **state)
{
    struct fixture *f = *state;
    struct pg_spec spec = spec_of(f);

    f->pg = pg_new(f->loop, &spec);
    assert_false(pg_up(f->pg, NULL, 0));
    send_put(f, 1);
    sync_as(f, 0);
    assert_int_equal(f->ends_n, 0);
    turn_until(f, &f->ends_n, 1);
    assert_int_equal(f->ends[0].code, ERR_UNAVAILABLE);
    turn_until_up(f);
    assert_int_equal(look(f, "SELECT count(*) FROM things"), 0);
    send_put(f, 1);
    sync_as(f, 1);
    turn_until(f, &f->ends_n, 2);
    assert_int_equal(f->ends[1].code, ERR_NONE);
}

static const char kill_sql[] =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE application_name = 'test_pg'";

static void a_lost_connection_comes_back(void **state)
{
    struct fixture *f = *state;
    int64_t up = metric_get(M_PG_UP);

    send_put(f, 1);
    sync_as(f, 0);
    turn_until(f, &f->ends_n, 1);
    pg_send(f->pg, SLEEP, NULL);
    sync_as(f, 1);
    send_put(f, 2);
    sync_as(f, 2);
    while (look(f, "SELECT count(*) FROM pg_stat_activity WHERE "
                   "application_name = 'test_pg' AND query LIKE '%sleep%'") < 1)
        ;
    assert_int_equal(look(f, kill_sql), 1);
    turn_until(f, &f->downs, 1);
    assert_int_equal(f->ends_when_down, 3);
    assert_int_equal(f->ends[1].code, ERR_UNSURE);
    assert_int_equal(f->ends[2].code, ERR_UNSURE);
    assert_int_equal(metric_get(M_PG_UP), up - 1);
    send_put(f, 3);
    sync_as(f, 3);
    turn_until(f, &f->ends_n, 4);
    assert_int_equal(f->ends[3].code, ERR_UNAVAILABLE);
    turn_until_up(f);
    send_put(f, 4);
    sync_as(f, 4);
    turn_until(f, &f->ends_n, 5);
    assert_int_equal(f->ends[4].code, ERR_NONE);
    assert_int_equal(look(f, "SELECT sum(n) FROM things"), 1 + 4);
    assert_int_equal(metric_get(M_PG_UP), up);
}

static void an_idle_loss_is_noticed(void **state)
{
    struct fixture *f = *state;
    char note[PG_NOTE_SIZE];

    assert_int_equal(look(f, kill_sql), 1);
    turn_until(f, &f->downs, 1);
    assert_false(pg_up(f->pg, note, sizeof(note)));
    assert_non_null(strstr(note, "terminating connection"));
    turn_until_up(f);
}

struct setting {
    const char *wanted;
    int done;
};

static void setting_done(void *arg, struct pg_result *const *results, size_t n,
                         const struct err *err)
{
    struct setting *s = arg;

    assert_null(err);
    assert_int_equal(n, 1);
    assert_string_equal(pg_get_text(results[0], 0, 0, NULL), s->wanted);
    s->done = 1;
}

static void settings_are_sent_on_each_connection(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 2; round++) {
        struct setting s = {.wanted = "1234ms"};

        pg_send(f->pg, SETTING, NULL);
        pg_sync(f->pg, setting_done, &s);
        turn_until(f, &s.done, 1);
        assert_int_equal(look(f, kill_sql), 1);
        turn_until(f, &f->downs, round + 1);
        turn_until_up(f);
    }
}

static void no_session_waits_for_a_lock_without_end(void **state)
{
    struct fixture *f = *state;
    struct pg_spec spec = spec_of(f);
    struct setting s = {.wanted = "5s"};

    spec.session = NULL;
    f->pg = pg_new(f->loop, &spec);
    turn_until_up(f);
    pg_send(f->pg, SETTING, NULL);
    pg_sync(f->pg, setting_done, &s);
    turn_until(f, &s.done, 1);
}

static void a_silent_server_is_left(void **state)
{
    struct fixture *f = *state;
    struct pg_spec spec = spec_of(f);
    char note[PG_NOTE_SIZE];

    spec.silence_max_us = 100 * US_PER_MS;
    f->pg = pg_new(f->loop, &spec);
    turn_until_up(f);
    pg_send(f->pg, SLEEP, NULL);
    sync_as(f, 0);
    turn_until(f, &f->downs, 1);
    assert_int_equal(f->ends[0].code, ERR_UNSURE);
    assert_false(pg_up(f->pg, note, sizeof(note)));
    assert_string_equal(note, "no answer for 100 ms");
    turn_until_up(f);
}

/* Turns until the note is there that says why it does not come up. */
static void expect_note(struct fixture *f, const char *part)
{
    int64_t end_us = clock_now_us() + WAIT_MAX_US;
    char note[PG_NOTE_SIZE] = "";

    while (!strstr(note, part) && clock_now_us() < end_us) {
        loop_once(f->loop, US_PER_S);
        assert_false(pg_up(f->pg, note, sizeof(note)));
    }
    if (!strstr(note, part))
        fail_msg("no \"%s\" in: %s", part, note);
    assert_false(f->up);
}

static void a_bad_statement_is_named(void **state)
{
    static const struct pg_statement bad[] = {{"good", "SELECT 1"},
                                              {"bad", "SELECT * FROM nowhere"}};
    struct fixture *f = *state;
    struct pg_spec spec = spec_of(f);

    spec.statements = bad;
    spec.statements_n = ARRAY_LEN(bad);
    f->pg = pg_new(f->loop, &spec);
    expect_note(f, "relation \"nowhere\" does not exist");
    run(f, "CREATE TABLE nowhere ()");
    turn_until_up(f);
}

static void an_absent_server_is_named(void **state)
{
    struct fixture *f = *state;
    struct pg_spec spec = spec_of(f);

    spec.conninfo = "host=/nowhere/at/all dbname=postgres";
    f->pg = pg_new(f->loop, &spec);
    expect_note(f, "/nowhere/at/all");
    send_put(f, 1);
    sync_as(f, 0);
    for (int i = 0; i < 3; i++) /* at once, not with the next try */
        loop_once(f->loop, 0);
    assert_int_equal(f->ends_n, 1);
    assert_int_equal(f->ends[0].code, ERR_UNAVAILABLE);
}

static void a_standby_is_refused(void **state)
{
    struct fixture *f = *state;
    struct pg_spec spec = spec_of(f);

    run(f, "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN SUPERUSER; "
           "ALTER ROLE reader SET default_transaction_read_only = on");
    char info[512];
    (void)snprintf(info, sizeof(info), "%s user=reader", conninfo());
    spec.conninfo = info;
    f->pg = pg_new(f->loop, &spec);
    expect_note(f, "read-only");
}

/* --- a relay that answers the handshake as a pooler does --- */

/* The server's 'K' message (process number and key) with another number. */
static void forge_key(char *data, ssize_t n)
{
    static const char head[] = {'K', 0, 0, 0, 12};

    for (ssize_t i = 0; i + 13 <= n; i++)
        if (memcmp(data + i, head, sizeof(head)) == 0) {
            data[i + 8] = (char)(data[i + 8] + 1);
            return;
        }
}

static bool pass_on(int from, int to, bool forge)
{
    char data[16384];
    ssize_t n = read(from, data, sizeof(data));

    if (n <= 0)
        return false;
    if (forge)
        forge_key(data, n);
    return write(to, data, (size_t)n) == n;
}

static int dial(const char *directory)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)snprintf(to.sun_path, sizeof(to.sun_path), "%s/.s.PGSQL.5432",
                   directory);
    must(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

NORETURN static void relay(int listener, const char *directory)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
        bool open = true;

        fds[0].fd = accept(listener, NULL, NULL);
        fds[1].fd = dial(directory);
        while (open && poll(fds, 2, -1) > 0) {
            if (fds[0].revents)
                open = pass_on(fds[0].fd, fds[1].fd, false);
            if (open && fds[1].revents)
                open = pass_on(fds[1].fd, fds[0].fd, true);
        }
        close(fds[0].fd);
        close(fds[1].fd);
    }
}

static void a_pooler_is_refused(void **state)
{
    struct fixture *f = *state;
    struct pg_spec spec = spec_of(f);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char home[64] = "/tmp/foleni-relay.XXXXXX", info[256], server[80];
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    const char *host = strstr(conninfo(), "host=");
    pid_t pid;

    assert_non_null(host);
    (void)snprintf(server, sizeof(server), "%.*s", (int)strcspn(host + 5, " "),
                   host + 5);
    assert_non_null(mkdtemp(home));
    (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/.s.PGSQL.5432", home);
    (void)snprintf(info, sizeof(info), "host=%s user=foleni dbname=postgres",
                   home);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(listener, 4), 0);
    pid = fork();
    if (pid == 0)
        relay(listener, server);
    spec.conninfo = info;
    f->pg = pg_new(f->loop, &spec);
    expect_note(f, "pooler");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(listener);
    unlink(at.sun_path);
    rmdir(home);
}

/* --- sessions that wait --- */

static void a_session_answers_in_text(void **state)
{
    struct fixture *f = *state;
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *const params[] = {"7", NULL};
    struct err err;

    assert_int_equal(pg_session_exec(f->other, "SELECT $1::int + 1, $2::text",
                                     params, 2, &rows, &err),
                     ERR_NONE);
    assert_int_equal(pg_text_rows_n(rows), 1);
    assert_string_equal(pg_text_value(rows, 0, 0), "8");
    assert_null(pg_text_value(rows, 0, 1));
    assert_int_equal(
        pg_session_exec(f->other, "SELECT 1; SELECT x", NULL, 0, NULL, &err),
        ERR_INTERNAL);
    assert_string_equal(err.detail, "42703");
    assert_int_equal(pg_session_exec(f->other, "INSERT INTO things VALUES (13)",
                                     NULL, 0, NULL, &err),
                     ERR_INPUT);
    assert_int_equal(pg_session_exec(f->other, "", NULL, 0, NULL, &err),
                     ERR_NONE);
}

static void a_session_that_cannot_be(void **state)
{
    struct pg_session *s = NULL;
    struct err err;

    (void)state;
    assert_int_equal(
        pg_session_open("host=/nowhere/at/all", "secret", &s, &err),
        ERR_UNAVAILABLE);
    assert_null(s);
    assert_null(strstr(err.text, "secret"));
}

#define UP(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
#define BARE(fn) cmocka_unit_test_setup_teardown(fn, set_up_empty, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UP(values_come_back),
        UP(arrays_come_back),
        UP(a_unit_is_one_transaction),
        UP(changed_rows_are_counted),
        UP(units_end_in_order_beyond_the_limit_too),
        UP(a_callback_may_send_the_next_unit),
        UP(answers_larger_than_every_buffer),
        UP(sqlstates_by_the_table),
        UP(an_error_of_the_commit_itself),
        UP(a_warning_at_commit_is_unsure),
        BARE(nothing_is_sent_before_it_is_up),
        UP(a_lost_connection_comes_back),
        UP(an_idle_loss_is_noticed),
        UP(settings_are_sent_on_each_connection),
        BARE(a_silent_server_is_left),
        BARE(a_bad_statement_is_named),
        BARE(an_absent_server_is_named),
        BARE(a_standby_is_refused),
        BARE(a_pooler_is_refused),
        BARE(no_session_waits_for_a_lock_without_end),
        BARE(a_session_answers_in_text),
        BARE(a_session_that_cannot_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
