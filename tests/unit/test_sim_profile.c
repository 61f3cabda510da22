/* Unit tests of profiles, scripts' steps, and the plans drawn from them. */
#include "tests/daraja/profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/json.h"

static struct json *parse(const char *text)
{
    struct json *doc = NULL;
    struct err err;

    assert_int_equal(json_parse_strict(text, strlen(text), &doc, &err), 0);
    return doc;
}

static enum err_code read_into(struct profile *p, const char *text,
                               struct err *err)
{
    struct json *doc = parse(text);
    enum err_code code = profile_read(p, doc, err);

    json_free(doc);
    return code;
}

static void knobs_are_read(void **state)
{
    struct profile p;
    struct err err;

    (void)state;
    profile_preset(&p, PRESET_CALM);
    assert_int_equal(
        read_into(&p,
                  "{\"answer_ms\":{\"p50\":800,\"p95\":4000},\"decide_ms\":70,"
                  "\"callbacks\":false,\"lock_leak\":0.25,"
                  "\"query_pending\":\"mixed\",\"rate_per_s\":10,"
                  "\"fate\":{\"cancel\":0.1,\"no_answer\":0.9},"
                  "\"answer\":{\"rst_after\":1},\"callback\":{\"lost\":0.5}}",
                  &err),
        0);
    assert_int_equal(p.answer.p50_us, 800000);
    assert_int_equal(p.answer.p95_us, 4000000);
    assert_int_equal(p.decide.p50_us, 70000);
    assert_int_equal(p.decide.p95_us, 70000);
    assert_false(p.callbacks);
    assert_int_equal(p.lock_leak, 250000);
    assert_int_equal(p.query_pending, PENDING_MIXED);
    assert_int_equal(p.rate_per_s, 10);
    assert_int_equal(p.fate_ppm[FATE_CANCEL], 100000);
    assert_int_equal(p.fate_ppm[FATE_NO_ANSWER], 900000);
    assert_int_equal(p.answer_ppm[ANSWER_RST_AFTER], PPM);
    assert_int_equal(p.callback_ppm[CALLBACK_LOST], 500000);
}

static void a_set_of_probabilities_replaces_the_old(void **state)
{
    struct profile p;
    struct err err;

    (void)state;
    profile_preset(&p, PRESET_DARAJA);
    assert_true(p.fate_ppm[FATE_NO_FUNDS] > 0);
    assert_int_equal(read_into(&p, "{\"fate\":{\"cancel\":0.2}}", &err), 0);
    assert_int_equal(p.fate_ppm[FATE_NO_FUNDS], 0);
    assert_int_equal(p.fate_ppm[FATE_CANCEL], 200000);
}

static void a_preset_comes_before_the_rest(void **state)
{
    struct profile p, calm;
    struct err err;

    (void)state;
    profile_preset(&calm, PRESET_CALM);
    profile_preset(&p, PRESET_DARAJA);
    assert_int_equal(
        read_into(&p, "{\"token_ms\":9,\"preset\":\"calm\"}", &err), 0);
    assert_int_equal(p.token.p50_us, 9000);
    assert_int_equal(p.answer.p50_us, calm.answer.p50_us);
}

static void what_is_wrong_is_refused_whole(void **state)
{
    static const char *const wrong[] = {
        "{\"anser_ms\":1}",
        "{\"answer_ms\":-1}",
        "{\"answer_ms\":\"5\"}",
        "{\"answer_ms\":1.5}",
        "{\"answer_ms\":{\"p50\":5}}",
        "{\"answer_ms\":{\"p50\":5,\"p95\":4}}",
        "{\"answer_ms\":{\"p50\":5,\"p95\":9,\"p99\":10}}",
        "{\"callbacks\":1}",
        "{\"callbacks\":\"true\"}",
        "{\"lock_leak\":1.01}",
        "{\"lock_leak\":-0.5}",
        "{\"lock_leak\":\"0.5\"}",
        "{\"lock_leak\":true}",
        "{\"lock_leak\":null}",
        "{\"query_pending\":\"later\"}",
        "{\"query_pending\":1}",
        "{\"token_ttl_s\":0}",
        "{\"preset\":\"wild\"}",
        "{\"fate\":{\"dance\":0.1}}",
        "{\"fate\":{\"cancel\":0.6,\"no_answer\":0.6}}",
        "{\"fate\":{\"code\":0.1}}",
        "{\"fate\":0.1}",
        "{\"answer\":{\"rst\":0.1}}",
        "{\"callback\":{\"never\":0.1}}",
        "{\"token_ms\":5,\"callback\":[]}",
        "[]",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct profile p, before;
        struct err err;

        profile_preset(&p, PRESET_CALM);
        before = p;
        assert_int_equal(read_into(&p, wrong[i], &err), ERR_INPUT);
        assert_memory_equal(&p, &before, sizeof(p));
    }
}

static void what_is_written_can_be_read(void **state)
{
    struct profile p, back;
    struct buf text;
    struct err err;

    (void)state;
    buf_init(&text, 65536);
    for (int preset = PRESET_CALM; preset <= PRESET_SANDBOX; preset++) {
        profile_preset(&p, (enum preset)preset);
        profile_preset(&back, PRESET_CALM);
        buf_reset(&text);
        profile_write(&p, &text);
        assert_int_equal(read_into(&back, text.data, &err), 0);
        assert_memory_equal(&p, &back, sizeof(p));
    }
    buf_done(&text);
}

static enum err_code read_step(const char *text, struct step *s)
{
    struct json *doc = parse(text);
    struct err err;
    enum err_code code = step_read(doc, s, &err);

    json_free(doc);
    return code;
}

static void a_step_is_read(void **state)
{
    struct step s;

    (void)state;
    assert_int_equal(
        read_step("{\"fate\":\"cancel\",\"answer\":\"truncated_after\","
                  "\"callback\":\"twice\",\"answer_ms\":1,\"decide_ms\":2,"
                  "\"callback_ms\":3,\"c2b\":\"twice\",\"c2b_ms\":4}",
                  &s),
        0);
    assert_int_equal(s.c2b, C2B_TWICE);
    assert_int_equal(s.c2b_us, 4000);
    assert_int_equal(s.fate, FATE_CANCEL);
    assert_int_equal(s.answer, ANSWER_TRUNCATED_AFTER);
    assert_int_equal(s.callback, CALLBACK_TWICE);
    assert_int_equal(s.answer_us, 1000);
    assert_int_equal(s.decide_us, 2000);
    assert_int_equal(s.callback_us, 3000);
    assert_int_equal(read_step("{}", &s), 0);
    assert_int_equal(s.fate, -1);
    assert_int_equal(s.callback_us, -1);
    assert_int_equal(read_step("{\"fate\":\"code:SFC_IC0003\"}", &s), 0);
    assert_int_equal(s.fate, FATE_CODE);
    assert_string_equal(s.code, "SFC_IC0003");
    assert_int_equal(read_step("{\"fate\":\"code:0\"}", &s), 0);
    assert_int_equal(s.fate, FATE_PAY);
}

static void a_wrong_step_is_refused(void **state)
{
    static const char *const wrong[] = {
        "{\"fate\":\"payed\"}",
        "{\"fate\":\"code\"}",
        "{\"fate\":\"code:\"}",
        "{\"fate\":\"code:12 3\"}",
        "{\"fate\":\"code:1234567890123456\"}",
        "{\"fate\":1032}",
        "{\"answer\":\"rst\"}",
        "{\"callback\":\"never\"}",
        "{\"c2b\":\"early\"}",
        "{\"answer_ms\":-1}",
        "{\"decide_ms\":\"7\"}",
        "{\"callback_ms\":3600001}",
        "{\"wait_ms\":1}",
        "[]",
    };
    struct step s;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(read_step(wrong[i], &s), ERR_INPUT);
}

static void draw(struct plan *plan, const struct profile *p, uint64_t seed,
                 const char *step)
{
    struct chance c;
    struct step s;

    chance_seed(&c, seed);
    if (step)
        assert_int_equal(read_step(step, &s), 0);
    plan_draw(plan, p, &c, step ? &s : NULL);
}

static void a_plan_follows_the_profile(void **state)
{
    struct profile p;
    struct plan plan;

    (void)state;
    profile_preset(&p, PRESET_CALM);
    draw(&plan, &p, 1, NULL);
    assert_int_equal(plan.fate, FATE_PAY);
    assert_int_equal(plan.answer, ANSWER_OK);
    assert_int_equal(plan.callback, CALLBACK_ONCE);
    assert_string_equal(plan.code, "0");
    assert_int_equal(plan.decide_us, p.decide.p50_us);
    p.fate_ppm[FATE_NO_ANSWER] = PPM;
    p.callback_ppm[CALLBACK_LATE] = PPM;
    draw(&plan, &p, 1, NULL);
    assert_string_equal(plan.code, "1037");
    assert_int_equal(plan.decide_us, p.no_answer.p50_us);
    assert_int_equal(plan.callback_us, p.callback.p50_us + p.late.p50_us);
}

static void a_script_overrides_the_profile(void **state)
{
    struct profile p;
    struct plan plan, other;

    (void)state;
    profile_preset(&p, PRESET_DARAJA);
    draw(&plan, &p, 5,
         "{\"fate\":\"code:1019\",\"answer\":\"busy\",\"callback\":\"once\","
         "\"answer_ms\":7,\"decide_ms\":0,\"callback_ms\":9}");
    assert_string_equal(plan.code, "1019");
    assert_int_equal(plan.answer, ANSWER_BUSY);
    assert_int_equal(plan.answer_us, 7000);
    assert_int_equal(plan.decide_us, 0);
    assert_int_equal(plan.callback_us, 9000);
    /* What it leaves open is what the seed gives without it. */
    draw(&plan, &p, 5, "{\"answer\":\"ok\"}");
    draw(&other, &p, 5, NULL);
    assert_int_equal(plan.callback_us, other.callback_us);
    assert_int_equal(plan.fate, other.fate);
    draw(&plan, &p, 5, "{\"callback\":\"early\"}");
    assert_int_equal(plan.decide_us, 0);
    assert_int_equal(plan.callback_us, 0);
}

static void names_find_their_rows(void **state)
{
    (void)state;
    for (int i = 0; i < FATES_N; i++)
        assert_int_equal(fate_find(fate_name(i)), i);
    for (int i = 0; i < ANSWERS_N; i++)
        assert_int_equal(answer_find(answer_name(i)), i);
    for (int i = 0; i < CALLBACKS_N; i++)
        assert_int_equal(callback_find(callback_name(i)), i);
    for (int i = 0; i < C2BS_N; i++)
        assert_int_equal(c2b_find(c2b_name(i)), i);
    /* A name says whether the push was accepted. */
    for (int i = 0; i < ANSWERS_N; i++) {
        const char *name = answer_name(i);

        if (strstr(name, "_after"))
            assert_true(answer_row((enum answer_kind)i)->accepts);
        if (strstr(name, "_before"))
            assert_false(answer_row((enum answer_kind)i)->accepts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knobs_are_read),
        cmocka_unit_test(a_set_of_probabilities_replaces_the_old),
        cmocka_unit_test(a_preset_comes_before_the_rest),
        cmocka_unit_test(what_is_wrong_is_refused_whole),
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(a_step_is_read),
        cmocka_unit_test(a_wrong_step_is_refused),
        cmocka_unit_test(a_plan_follows_the_profile),
        cmocka_unit_test(a_script_overrides_the_profile),
        cmocka_unit_test(names_find_their_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
