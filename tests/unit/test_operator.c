/*
 * Who and why of commands that change something, and their rows in the trail,
 * against a real server. FOLENI_TEST_CONNINFO comes from tests/unit/run.
 */
#include "tools/operator.h"

#include "tests/unit/ledger.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

#define ACTIONS_N 20

static const struct operator me = {.who = "ann", .why = "said so", .yes = true};

static int make_database(void **state)
{
    (void)state;
    return ledger_make("foleni_operator");
}

static struct cli with_why(const char *why)
{
    return (struct cli){.options = CLI_WHY, .why = why};
}

/* --- who and why --- */

static void assert_refused(const struct cli *cli, const char *word)
{
    struct operator op;
    struct err err;

    assert_int_equal(operator_read(cli, &op, &err), ERR_USAGE);
    assert_non_null(strstr(err.text, word));
}

static void a_reason_is_needed(void **state)
{
    struct cli cli = {0};
    char longer[OPERATOR_WHY_MAX + 2];

    (void)state;
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_refused(&cli, "--why");
    cli = with_why(" \t\n");
    assert_refused(&cli, "says nothing");
    cli = with_why(longer);
    assert_refused(&cli, "longer");
    cli = with_why("fine");
    cli.who = " ";
    assert_refused(&cli, "--who says nothing");
    cli.who = longer;
    assert_refused(&cli, "--who is longer");
}

static void the_login_is_who(void **state)
{
    struct cli cli = with_why("fine");
    struct operator op;
    struct err err;

    (void)state;
    assert_int_equal(operator_read(&cli, &op, &err), ERR_NONE);
    assert_true(op.who[0] != '\0');
    assert_false(op.yes);
    cli.who = "ann";
    cli.options |= CLI_YES;
    assert_int_equal(operator_read(&cli, &op, &err), ERR_NONE);
    assert_string_equal(op.who, "ann");
    assert_true(op.yes);
}

static void without_a_terminal_nobody_says_yes(void **state)
{
    struct operator op = me;
    struct err err;

    (void)state;
    assert_int_equal(operator_confirm(&op, &err, "do %d things", 3), ERR_NONE);
    op.yes = false;
    assert_non_null(freopen("/dev/null", "r", stdin));
    assert_int_equal(operator_confirm(&op, &err, "do it"), ERR_USAGE);
    assert_non_null(strstr(err.text, "--yes"));
}

/* --- the trail --- */

static enum err_code act(struct pg_session *s, const struct operator_action *a,
                         int64_t *id)
{
    struct err err;
    enum err_code code = operator_audit(s, &me, a, id, &err);

    if (code)
        ledger_run(s, "ROLLBACK");
    return code;
}

static int64_t broken(struct pg_session *s)
{
    return ledger_ask(
        s, "SELECT count(*) FROM (SELECT o.*, lag(hash, 1, '') OVER w AS was, "
           "row_number() OVER w AS n, operator_action_hash(o) AS wanted "
           "FROM operator_actions o WINDOW w AS (ORDER BY id)) AS o "
           "WHERE prev_hash <> was OR hash <> wanted OR id <> n");
}

static void actions_are_a_chain(void **state)
{
    CLEANUP(pg_session_close)
    struct pg_session *s = ledger_session(ledger_conninfo);
    const struct operator_action a = {"resolve", "payment 1", NULL,
                                      "{\"state\": \"succeeded\"}"};
    int64_t id = 0;

    (void)state;
    for (int i = 1; i <= ACTIONS_N; i++) {
        assert_int_equal(act(s, &a, &id), ERR_NONE);
        assert_int_equal(id, i);
    }
    ledger_run(s, "BEGIN");
    assert_int_equal(act(s, &a, &id), ERR_NONE);
    ledger_run(s, "ROLLBACK");
    assert_int_equal(act(s, &a, &id), ERR_NONE);
    assert_int_equal(id, ACTIONS_N + 1);
    assert_int_equal(broken(s), 0);
    ledger_run(s, "UPDATE operator_actions SET why = 'else' WHERE id = 7");
    assert_int_equal(broken(s), 1);
}

/* The second waits until the first one's transaction has ended. */
static void two_at_once_are_one_chain(void **state)
{
    CLEANUP(pg_session_close)
    struct pg_session *s = ledger_session(ledger_conninfo);
    CLEANUP(pg_session_close)
    struct pg_session *other = ledger_session(ledger_conninfo);
    const struct operator_action a = {"recover", "normal:3", NULL, NULL};
    struct err err;
    int64_t id = 0;

    (void)state;
    ledger_run(s, "TRUNCATE operator_actions");
    ledger_run(s, "BEGIN");
    assert_int_equal(act(s, &a, &id), ERR_NONE);
    ledger_run(other, "SET lock_timeout = '100ms'");
    assert_int_equal(operator_audit(other, &me, &a, &id, &err), ERR_CONFLICT);
    ledger_run(s, "COMMIT");
    assert_int_equal(operator_audit(other, &me, &a, &id, &err), ERR_NONE);
    assert_int_equal(id, 2);
    assert_int_equal(broken(s), 0);
}

static void what_is_no_action_is_refused(void **state)
{
    CLEANUP(pg_session_close)
    struct pg_session *s = ledger_session(ledger_conninfo);
    const struct operator_action bad[] = {
        {"Resolve it", "payment 1", NULL, NULL},
        {"resolve", "", NULL, NULL},
        {"resolve", "payment 1", "{", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(act(s, &bad[i], NULL), ERR_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reason_is_needed),
        cmocka_unit_test(the_login_is_who),
        cmocka_unit_test(without_a_terminal_nobody_says_yes),
        cmocka_unit_test(actions_are_a_chain),
        cmocka_unit_test(two_at_once_are_one_chain),
        cmocka_unit_test(what_is_no_action_is_refused),
    };

    return cmocka_run_group_tests(tests, make_database, NULL);
}
