/*
 * Settings: every kind of fault with its place and words, numbers that
 * libconfig would wrap, secrets, overrides, lists, orders; and that the shipped
 * config.cfg is what the table says.
 */
#include "common/config.h"

#include "common/buf.h"
#include "common/config_priv.h"
#include "common/json.h"
#include "common/near.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_BYTES_MAX ((size_t)1 << 22)
#define SETS_MAX 8

#define CLIENT_A                                                          \
    "{ id = \"6f1c6a3e-7c1b-4b0e-9d5a-0d3a4c5b6e7f\"; name = \"shop\";\n" \
    "  api_key_sha256 = \"0123456789abcdef0123456789abcdef"               \
    "0123456789abcdef0123456789abcdef\"; }"
#define CLIENT_B                                                         \
    "{ id = \"7f1c6a3e-7c1b-4b0e-9d5a-0d3a4c5b6e7f\"; name = \"bus\";\n" \
    "  api_key_sha256 = \"1123456789abcdef0123456789abcdef"              \
    "0123456789abcdef0123456789abcdef\"; }"

/* One test's files and outcome. */
static struct {
    char directory[64], file[80], secret[80];
    struct buf faults;
    struct config *cfg;
    enum err_code code;
    struct err err;
} t;

static void write_bytes(const char *path, const void *data, size_t len)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    memset(&t, 0, sizeof(t));
    snprintf(t.directory, sizeof(t.directory), "/tmp/test_config.XXXXXX");
    assert_non_null(mkdtemp(t.directory));
    snprintf(t.file, sizeof(t.file), "%s/a.cfg", t.directory);
    snprintf(t.secret, sizeof(t.secret), "%s/secret", t.directory);
    buf_init(&t.faults, TEXT_BYTES_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    config_free(t.cfg);
    buf_done(&t.faults);
    unlink(t.file);
    unlink(t.secret);
    rmdir(t.directory);
    return 0;
}

/** Loads @p path with the overrides, up to a NULL. */
static void load_path(const char *path, const char *const *sets)
{
    size_t n = 0;

    while (sets && sets[n])
        n++;
    config_free(t.cfg);
    t.cfg = NULL;
    buf_reset(&t.faults);
    t.code = config_load(path, sets, n, &t.cfg, &t.faults, &t.err);
}

static void load_bytes(const void *data, size_t len)
{
    write_bytes(t.file, data, len);
    load_path(t.file, NULL);
}

static void load(const char *text)
{
    load_bytes(text, strlen(text));
}

static void load_set(const char *set)
{
    load_path(NULL, (const char *const[]){set, NULL});
}

static void expect_fine(void)
{
    if (t.code)
        print_error("%s", t.faults.data);
    assert_int_equal(t.code, ERR_NONE);
    assert_non_null(t.cfg);
    assert_int_equal(t.faults.len, 0);
}

static size_t lines(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/** Expects a line that begins so; a number at the start is the file's line. */
static void expect_line(const char *begin)
{
    char line[1024];
    const char *at = t.faults.data;
    bool in_file = begin[0] >= '0' && begin[0] <= '9';

    assert_int_equal(t.code, ERR_CONFIG);
    assert_null(t.cfg);
    snprintf(line, sizeof(line), "%s%s%s", in_file ? t.file : "",
             in_file ? ":" : "", begin);
    for (; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (!strncmp(at, line, strlen(line)))
            return;
    fail_msg("no line begins with\n%s\nin\n%s", line, t.faults.data);
}

static void expect_only(const char *begin)
{
    expect_line(begin);
    if (lines(t.faults.data) != 1)
        fail_msg("more than one fault: %s", t.faults.data);
}

/* --- defaults and the shipped file --- */

static void test_defaults(void **state)
{
    (void)state;
    load_path(NULL, NULL);
    expect_fine();
    assert_int_equal(t.cfg->payments_ttl_ms, 900000);
    assert_int_equal(t.cfg->log_level, 1);
    assert_true(t.cfg->recorder_enabled);
    assert_string_equal(t.cfg->kafka_brokers, "127.0.0.1:9092");
    assert_string_equal(t.cfg->callbacks_mac_key, "");
    assert_int_equal(t.cfg->kafka_properties.n, 0);
    assert_int_equal(t.cfg->clients_n, 0);
}

static void test_every_default_is_in_its_range(void **state)
{
    (void)state;
    load_path(NULL, NULL);
    expect_fine();
    for (size_t i = 0; i < config_settings.rows_n; i++) {
        const struct config_row *r = &config_settings.rows[i];
        if (r->type == ROW_INTEGER)
            assert_in_range(r->fallback, r->min, r->max);
        if (r->type == ROW_TEXT)
            assert_in_range(strlen(r->text), 0, r->max);
        assert_non_null(strchr(r->path, '.'));
    }
}

/* Rule S4: the longest deadline is shorter than the shortest retention. */
static void test_no_deadline_outlives_its_record(void **state)
{
    const struct config_row *ttl =
        config_row(&config_settings, "payments.ttl_ms");
    const struct config_row *kept =
        config_row(&config_settings, "topics.requests_retention_h");

    (void)state;
    assert_true(ttl->max < kept->min * 3600000);
}

static void test_shipped_file_is_the_table(void **state)
{
    struct buf want;
    FILE *file = fopen("config.cfg", "r");
    char *have = calloc(1, TEXT_BYTES_MAX);

    (void)state;
    assert_non_null(file);
    assert_in_range(fread(have, 1, TEXT_BYTES_MAX - 1, file), 1,
                    TEXT_BYTES_MAX);
    fclose(file);
    buf_init(&want, TEXT_BYTES_MAX);
    config_write_default(&want);
    if (strcmp(have, want.data) != 0)
        fail_msg("config.cfg is old: build/foleni config defaults >config.cfg");
    free(have);
    buf_done(&want);
}

static void test_shipped_file_gives_the_defaults(void **state)
{
    struct config *defaults = NULL;

    (void)state;
    load_path(NULL, NULL);
    expect_fine();
    defaults = t.cfg;
    t.cfg = NULL;
    load_path("config.cfg", NULL);
    expect_fine();
    for (size_t i = 0; i < config_settings.rows_n; i++) {
        const struct config_row *r = &config_settings.rows[i];
        const struct config_object *da = &config_full(defaults)->settings;
        const struct config_object *db = &config_full(t.cfg)->settings;
        const struct origin *origin = field_origin(db, r);
        if (r->type == ROW_INTEGER)
            assert_int_equal(*field_integer(da, r), *field_integer(db, r));
        if (r->type == ROW_BOOLEAN)
            assert_int_equal(*field_boolean(da, r), *field_boolean(db, r));
        if (r->type == ROW_CHOICE)
            assert_int_equal(*field_choice(da, r), *field_choice(db, r));
        if (r->type == ROW_TEXT)
            assert_string_equal(*field_text(da, r), *field_text(db, r));
        assert_int_equal(origin->from,
                         r->type == ROW_SECRET ? FROM_DEFAULT : FROM_FILE);
    }
    config_free(defaults);
}

/* --- a value by itself --- */

static void test_values_of_every_kind(void **state)
{
    (void)state;
    load("log: { level = \"warn\"; format = \"json\"; }\n"
         "kafka = { brokers = \"a:1,b:2\";\n"
         "  properties = [ \"debug=broker,topic\", \"client.rack=x=y\" ]; };\n"
         "worker = { slots = 0x10; lease_ms = 20L; };\n"
         "recorder = { enabled = FALSE; };\n");
    expect_fine();
    assert_int_equal(t.cfg->log_level, 2);
    assert_int_equal(t.cfg->log_format, 1);
    assert_string_equal(t.cfg->kafka_brokers, "a:1,b:2");
    assert_int_equal(t.cfg->kafka_properties.n, 2);
    assert_string_equal(t.cfg->kafka_properties.items[0], "debug=broker,topic");
    assert_string_equal(t.cfg->kafka_properties.items[1], "client.rack=x=y");
    assert_int_equal(t.cfg->worker_slots, 16);
    assert_int_equal(t.cfg->worker_lease_ms, 20);
    assert_false(t.cfg->recorder_enabled);
}

static const struct {
    const char *text, *fault;
} wrong[] = {
    {"worker = { slots = 0; };", "1: worker.slots: is 0, must be a whole "
                                 "number from 1 to 10000 calls"},
    {"worker = { slots = 10001; };", "1: worker.slots: is 10001, must be"},
    {"worker = { slots = -5; };", "1: worker.slots: is -5, must be"},
    {"\nworker = { slots = \"7\"; };",
     "2: worker.slots: is the text \"7\", must be a whole number"},
    {"worker = { slots = 1.5; };",
     "1: worker.slots: is a number with a fraction, must be a whole number"},
    {"worker = { slots = .5; };", "1: worker.slots: is a number with a frac"},
    {"worker = { slots = 1e3; };", "1: worker.slots: is a number with a frac"},
    {"worker = { slots = true; };", "1: worker.slots: is true, must be"},
    {"worker = { slots = [1]; };", "1: worker.slots: is a list, must be"},
    {"worker = { slots = { a = 1; }; };", "1: worker.slots: is a group, must"},
    {"recorder = { enabled = 1; };",
     "1: recorder.enabled: is 1, must be true or false"},
    {"recorder = { enabled = \"yes\"; };",
     "1: recorder.enabled: is the text \"yes\", must be true or false"},
    {"log = { level = \"loud\"; };",
     "1: log.level: is the text \"loud\", must be debug, info, warn or error"},
    {"log = { level = 1; };", "1: log.level: is 1, must be debug, info"},
    {"kafka = { brokers = 9092; };",
     "1: kafka.brokers: is 9092, must be a text in double quotes"},
    {"kafka = { prefix = \"a\nb\"; };",
     "1: kafka.prefix: holds the control character 0x0a"},
    {"worker = { pools = \"highhighhighhighhighhighhighhighhighhighhighhighhi"
     "ghhighhighhighhigh\"; };",
     "1: worker.pools: has 68 bytes, at most 64 are allowed"},
    {"kafka = { properties = \"a=b\"; };",
     "1: kafka.properties: is the text \"a=b\", must be a list of texts"},
    {"kafka = { properties = [ 1, 2 ]; };",
     "1: kafka.properties: is 1, must be a text in double quotes"},
    {"kafka = { properties = [ \"linger.ms\" ]; };",
     "1: kafka.properties: each item must be \"name=value\""},
    {"kafka = 5;", "1: kafka: is a group of settings: kafka = { ... };"},
    {"clients = { };", "1: clients: must be a list of at most 1000 groups"},
    {"clients = ( 5 );", "1: clients: each element must be a group"},
};

static void test_wrong_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        load(wrong[i].text);
        expect_line(wrong[i].fault);
    }
}

static void test_too_many_texts(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, TEXT_BYTES_MAX);
    buf_adds(&text, "kafka = { properties = [ \"a=b\"");
    for (int i = 0; i < 64; i++)
        buf_adds(&text, ", \"a=b\"");
    buf_adds(&text, " ]; };");
    load(text.data);
    expect_only("1: kafka.properties: has 65 items, at most 64 are allowed");
    buf_done(&text);
}

static const struct {
    const char *text, *fault;
} unknown[] = {
    {"\n\nworker = { slot = 5; };",
     "3: worker.slot: is no setting; did you mean worker.slots?"},
    {"worker = { listen = \"a:1\"; };",
     "1: worker.listen: is no setting; did you mean api.listen?"},
    {"worker = { zebra_crossing = 1; };",
     "1: worker.zebra_crossing: is no setting (`foleni config show` lists"},
    {"database = { pasword_file = \"/x\"; };",
     "1: database.pasword_file: is no setting; did you mean "
     "database.password_file?"},
    {"wokrer = { slots = 5; };",
     "1: wokrer: is no group of settings; did you mean worker?"},
    {"client = ( );", "1: client: is no group of settings; did you mean cl"},
    {"slots = 5;", "1: slots: is no setting; did you mean worker.slots?"},
    {"clients = ( { nmae = \"x\"; } );",
     "1: clients[0].nmae: is no setting; did you mean name?"},
};

static void test_unknown_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        load(unknown[i].text);
        expect_line(unknown[i].fault);
    }
}

static void test_all_faults_at_once(void **state)
{
    (void)state;
    load("worker = {\n  slots = 0;\n  slot = 1;\n};\n"
         "log = { level = \"loud\"; };\n"
         "api = { listen = \"here\"; };\n"
         "payments = { backoff_min_ms = 100; backoff_max_ms = 50; };\n");
    expect_line("2: worker.slots: is 0");
    expect_line("3: worker.slot: is no setting");
    expect_line("5: log.level: is the text \"loud\"");
    expect_line("6: api.listen: is \"here\", must be address:port");
    expect_line("7: payments.backoff_min_ms: payments.backoff_min_ms (100)");
    assert_int_equal(lines(t.faults.data), 5);
    assert_non_null(strstr(t.err.text, "5 faults in "));
}

/* --- the file as a whole --- */

static void test_numbers_beyond_32_bits_do_not_wrap(void **state)
{
    (void)state;
    load("worker = { slots = 3000000000; };");
    expect_only("1: worker.slots: is 3000000000, must be");
    load("worker = { slots = -3000000000; };");
    expect_only("1: worker.slots: is -3000000000, must be");
    load("worker = { slots = 4294967297; };"); /* 1 after wrapping */
    expect_only("1: worker.slots: is 4294967297, must be");
    load("worker = { slots = 0x100000001; };");
    expect_only("1: worker.slots: is 4294967297, must be");
    load("worker = { slots = 18446744073709551617; };"); /* 1 in 64 bits */
    expect_only("1: the number 18446744073709551617 does not fit 64 bits");
    load("worker = { slots = 99999999999999999999999999999999999999999L; };");
    expect_only("1: the number 99999999999999999999999999999");
}

static void test_digits_in_names_and_texts_stay(void **state)
{
    (void)state;
    load("# 3000000000 in a comment\n// 99999999999999999999\n"
         "/* 99999999999999999999 */ kafka = {\n"
         "  prefix = \"p99999999999999999999\"; # \"5\n"
         "  brokers = \"a\\\"5\" \":5000000000\"; };");
    expect_fine();
    assert_string_equal(t.cfg->kafka_prefix, "p99999999999999999999");
    assert_string_equal(t.cfg->kafka_brokers, "a\"5:5000000000");
}

static const struct {
    const char *text, *fault;
} broken[] = {
    {"worker = {\n slots = ;\n};", "2: syntax error"},
    {"worker = { slots = 5; slots = 6; };", "1: duplicate setting name"},
    {"worker = { slots = 5; };\nworker = { lease_ms = 6; };",
     "2: duplicate setting name"},
    {"log = { };\n/* worker = { slots = 0; };",
     "2: this comment is never closed"},
    {"kafka = { prefix = \"a;\n };", "1: this string is never closed"},
    {"\n@include \"/etc/passwd\"\n", "2: @include is not supported"},
    {"worker = { slots = ((((((((((1)))))))))); };", "1: is nested too deep"},
};

static void test_broken_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        load(broken[i].text);
        expect_line(broken[i].fault);
    }
}

static void test_files_that_are_none(void **state)
{
    char line[200];

    (void)state;
    load_path("/nowhere/at/all.cfg", NULL);
    expect_only("/nowhere/at/all.cfg: could not be opened: No such file");
    load_path(t.directory, NULL);
    snprintf(line, sizeof(line), "%s: could not be read: Is a directory",
             t.directory);
    expect_only(line);
    load_bytes("log = { };\0worker = { slots = 0; };", 36);
    snprintf(line, sizeof(line), "%s: holds a zero byte", t.file);
    expect_only(line);
    char *large = calloc(1, CONFIG_FILE_BYTES_MAX + 1);
    memset(large, '\n', CONFIG_FILE_BYTES_MAX + 1);
    load_bytes(large, CONFIG_FILE_BYTES_MAX + 1);
    snprintf(line, sizeof(line), "%s: is larger than 1048576 bytes", t.file);
    expect_only(line);
    load_bytes(large, CONFIG_FILE_BYTES_MAX);
    expect_fine();
    free(large);
}

static void test_a_broken_file_still_checks_the_overrides(void **state)
{
    (void)state;
    write_bytes(t.file, "log = {", 7);
    load_path(t.file, (const char *const[]){"worker.slots=0", NULL});
    expect_line("1: syntax error");
    expect_line("--set worker.slots=0: worker.slots: is 0, must be");
    assert_int_equal(lines(t.faults.data), 2);
}

/* --- overrides --- */

static void test_set_overrides_the_file(void **state)
{
    (void)state;
    write_bytes(t.file, "worker = { slots = 5; lease_ms = 70; };", 39);
    load_path(t.file, (const char *const[]){
                          "worker.slots=6", "worker.slots=7", "log.level=error",
                          "recorder.enabled=false", "api.listen=[::1]:80",
                          "kafka.properties=a=b,c=d=e", NULL});
    expect_fine();
    assert_int_equal(t.cfg->worker_slots, 7);
    assert_int_equal(t.cfg->worker_lease_ms, 70);
    assert_int_equal(t.cfg->log_level, 3);
    assert_false(t.cfg->recorder_enabled);
    assert_string_equal(t.cfg->api_listen, "[::1]:80");
    assert_int_equal(t.cfg->kafka_properties.n, 2);
    assert_string_equal(t.cfg->kafka_properties.items[1], "c=d=e");
}

static const struct {
    const char *set, *fault;
} wrong_sets[] = {
    {"worker.slots", "--set worker.slots: must be path=value"},
    {"=5", "--set =5: must be path=value"},
    {"worker.slot=5", "--set worker.slot: worker.slot: is no setting; did "
                      "you mean worker.slots?"},
    {"worker.slots=abc", "--set worker.slots=abc: worker.slots: is the text "
                         "\"abc\", must be a whole number from 1 to"},
    {"worker.slots=", "--set worker.slots=: worker.slots: is the text"},
    {"worker.slots=7x", "--set worker.slots=7x: worker.slots: is the text"},
    {"worker.slots=99999999999999999999",
     "--set worker.slots=99999999999999999999: worker.slots: is the text"},
    {"worker.slots=3000000000", "--set worker.slots=3000000000: worker.slots: "
                                "is 3000000000, must be"},
    {"recorder.enabled=1", "--set recorder.enabled=1: recorder.enabled: is "
                           "the text \"1\", must be true or false"},
    {"log.level=loud", "--set log.level=loud: log.level: is the text"},
    {"clients=x", "--set clients: clients: is no setting"},
    {"worker.heartbeat_ms=2000", "--set worker.heartbeat_ms=2000: "
                                 "worker.heartbeat_ms: worker.heartbeat_ms "
                                 "(2000) must be below worker.heartbeat_trust"},
};

static void test_wrong_sets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong_sets); i++) {
        load_set(wrong_sets[i].set);
        expect_only(wrong_sets[i].fault);
    }
}

static void test_set_of_a_secret_is_refused_and_not_repeated(void **state)
{
    static const char *const sets[] = {
        "database.password=hunter2",
        "callbacks.mac_key=hunter2hunter2hunter2",
        "kafka.properties=sasl.password=hunter2",
        "database.conninfo=host=x password=hunter2",
        "database.conninfo=postgres://u:hunter2@host/db",
        "no.such.secret=hunter2"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        load_set(sets[i]);
        assert_int_equal(t.code, ERR_CONFIG);
        assert_int_equal(lines(t.faults.data), 1);
        assert_null(strstr(t.faults.data, "hunter2"));
        assert_null(strstr(t.err.text, "hunter2"));
    }
}

/* --- secrets --- */

static void load_secret(const void *data, size_t len)
{
    char text[300];

    write_bytes(t.secret, data, len);
    snprintf(text, sizeof(text), "database = {\n password_file = \"%s\"; };",
             t.secret);
    load(text);
}

static void expect_secret_fault(const char *why)
{
    char line[300];

    snprintf(line, sizeof(line),
             "2: database.password_file: the file \"%s\" %s", t.secret, why);
    expect_only(line);
}

static void test_secret_from_a_file(void **state)
{
    char longest[CONFIG_SECRET_BYTES_MAX + 2];

    (void)state;
    load_secret("hunter2\n", 8);
    expect_fine();
    assert_string_equal(t.cfg->database_password, "hunter2");
    load_secret("hunter2\r\n", 9);
    expect_fine();
    assert_string_equal(t.cfg->database_password, "hunter2");
    load_secret("hunter2 ", 8);
    expect_fine();
    assert_string_equal(t.cfg->database_password, "hunter2 ");
    memset(longest, 'x', sizeof(longest));
    longest[CONFIG_SECRET_BYTES_MAX] = '\n';
    load_secret(longest, CONFIG_SECRET_BYTES_MAX + 1);
    expect_fine();
    assert_int_equal(strlen(t.cfg->database_password), CONFIG_SECRET_BYTES_MAX);
    longest[CONFIG_SECRET_BYTES_MAX] = 'x';
    longest[CONFIG_SECRET_BYTES_MAX + 1] = '\n';
    load_secret(longest, CONFIG_SECRET_BYTES_MAX + 2);
    expect_secret_fault("has more than 4096 bytes");
}

static void test_secret_files_that_are_refused(void **state)
{
    (void)state;
    load_secret("", 0);
    expect_secret_fault("is empty");
    load_secret("\n", 1);
    expect_secret_fault("is empty");
    load_secret("two\nlines\n", 10);
    expect_secret_fault("must be one line of text");
    load_secret("zero\0byte", 9);
    expect_secret_fault("must be one line of text");
    load("database = { password_file = \"/nowhere/at/all\"; };");
    expect_only("1: database.password_file: the file \"/nowhere/at/all\" could "
                "not be opened: No such file");
    load("database = { password_file = \"/tmp\"; };");
    expect_only("1: database.password_file: the file \"/tmp\" could not be "
                "read: Is a directory");
    load("database = { password_file = \"\"; };");
    expect_only("1: database.password_file: is empty, must name a file");
    load("database = { password_file = 7; };");
    expect_only("1: database.password_file: is 7, must be a text");
}

static void test_secret_from_the_environment(void **state)
{
    (void)state;
    setenv("TEST_CONFIG_SECRET", "from-env-of-16-bytes", 1);
    load("callbacks = { mac_key_env = \"TEST_CONFIG_SECRET\"; };");
    expect_fine();
    assert_string_equal(t.cfg->callbacks_mac_key, "from-env-of-16-bytes");
    setenv("TEST_CONFIG_SECRET", "too-short", 1);
    load("callbacks = { mac_key_env = \"TEST_CONFIG_SECRET\"; };");
    expect_only("1: callbacks.mac_key: must be 16 bytes or more");
    assert_null(strstr(t.faults.data, "too-short"));
    unsetenv("TEST_CONFIG_SECRET");
    load("callbacks = { mac_key_env = \"TEST_CONFIG_SECRET\"; };");
    expect_only("1: callbacks.mac_key_env: the environment variable "
                "\"TEST_CONFIG_SECRET\" is not set");
}

static void test_second_mac_key(void **state)
{
    (void)state;
    setenv("TEST_CONFIG_SECRET", "the-newer-key-of-ours", 1);
    setenv("TEST_CONFIG_SECOND", "the-older-key-of-ours", 1);
    load("callbacks = { mac_key_env = \"TEST_CONFIG_SECRET\";\n"
         "mac_key_id = 2; second_mac_key_env = \"TEST_CONFIG_SECOND\";\n"
         "second_mac_key_id = 1; };");
    expect_fine();
    assert_string_equal(config_mac_key(t.cfg, 2), "the-newer-key-of-ours");
    assert_string_equal(config_mac_key(t.cfg, 1), "the-older-key-of-ours");
    assert_null(config_mac_key(t.cfg, 0));
    assert_null(config_mac_key(t.cfg, 3));
    load("callbacks = { second_mac_key_env = \"TEST_CONFIG_SECOND\";\n"
         "second_mac_key_id = 1; };");
    expect_only("2: callbacks.second_mac_key_id: is callbacks.mac_key_id too");
    load("callbacks = { second_mac_key_env = \"TEST_CONFIG_SECOND\"; };");
    expect_only("callbacks.second_mac_key_id: goes with");
    load("callbacks = { second_mac_key_id = 5; };");
    expect_only("1: callbacks.second_mac_key_id: goes with");
}

/* What a process that runs takes from newer settings, and what it refuses. */
static void test_renewed_keys(void **state)
{
    struct config *newer;
    struct err err;
    int64_t dropped;

    (void)state;
    setenv("TEST_CONFIG_SECRET", "the-newer-key-of-ours", 1);
    setenv("TEST_CONFIG_SECOND", "the-older-key-of-ours", 1);
    load("callbacks = { mac_key_env = \"TEST_CONFIG_SECRET\";\n"
         "mac_key_id = 2; second_mac_key_env = \"TEST_CONFIG_SECOND\";\n"
         "second_mac_key_id = 1; };");
    newer = TAKE(t.cfg);
    load("callbacks = { mac_key_env = \"TEST_CONFIG_SECOND\"; };\n"
         "worker = { slots = 7; };");
    assert_int_equal(config_may_renew(t.cfg, newer, &dropped, &err), ERR_NONE);
    assert_int_equal(dropped, 0);
    config_renew(t.cfg, newer);
    assert_string_equal(config_mac_key(t.cfg, 2), "the-newer-key-of-ours");
    assert_string_equal(t.cfg->callbacks_mac_key, "the-newer-key-of-ours");
    assert_int_equal(t.cfg->worker_slots, 7); /* needs a restart */
    config_free(newer);
    newer = TAKE(t.cfg);
    load("callbacks = { mac_key_env = \"TEST_CONFIG_SECRET\";\n"
         "mac_key_id = 2; };");
    assert_int_equal(config_may_renew(newer, t.cfg, &dropped, &err), ERR_NONE);
    assert_int_equal(dropped, 1);
    load("callbacks = { mac_key_env = \"TEST_CONFIG_SECOND\"; };");
    assert_int_equal(config_may_renew(newer, t.cfg, &dropped, &err),
                     ERR_CONFIG);
    assert_non_null(strstr(err.text, "signs now"));
    load("callbacks = { mac_key_env = \"TEST_CONFIG_SECOND\";\n"
         "mac_key_id = 2; };");
    assert_int_equal(config_may_renew(newer, t.cfg, &dropped, &err),
                     ERR_CONFIG);
    assert_non_null(strstr(err.text, "another key"));
    config_free(newer);
}

static void test_networks(void **state)
{
    (void)state;
    load("callbacks = { networks = [ \"196.201.214.0/24\", \"::1\" ]; };");
    expect_fine();
    load("callbacks = { networks = [ \"196.201.214.1/24\" ]; };");
    expect_only("1: callbacks.networks: has \"196.201.214.1/24\", must be");
}

static void test_secret_is_never_written_in_the_file(void **state)
{
    (void)state;
    load("database = { password = \"hunter2\"; };");
    expect_only("1: database.password: is a secret and never written here: "
                "use password_file");
    assert_null(strstr(t.faults.data, "hunter2"));
}

static void test_secret_has_one_source(void **state)
{
    (void)state;
    setenv("TEST_CONFIG_SECRET", "hunter2", 1);
    load("database = { password_file = \"/nowhere\";\n"
         "password_env = \"TEST_CONFIG_SECRET\"; };");
    expect_line("2: database.password_env: database.password was given at");
    write_bytes(t.file, "database = { password_file = \"/nowhere\"; };", 43);
    load_path(t.file, (const char *const[]){
                          "database.password_env=TEST_CONFIG_SECRET", NULL});
    expect_fine();
    assert_string_equal(t.cfg->database_password, "hunter2");
}

static void test_secret_kafka_properties(void **state)
{
    char text[300];

    (void)state;
    load("kafka = { properties = [ \"sasl.password=hunter2\" ]; };");
    expect_only("1: kafka.properties: sasl.password is a secret");
    assert_null(strstr(t.faults.data, "hunter2"));
    write_bytes(t.secret, "hunter2\n", 8);
    snprintf(
        text, sizeof(text),
        "kafka = { properties = [ \"a=b\", \"sasl.password_file=%s\" ]; };",
        t.secret);
    load(text);
    expect_fine();
    assert_string_equal(t.cfg->kafka_properties.items[0], "a=b");
    assert_string_equal(t.cfg->kafka_properties.items[1],
                        "sasl.password=hunter2");
    load("kafka = { properties = [ \"ssl.key.password_file=/nowhere\" ]; };");
    expect_only("1: kafka.properties: ssl.key.password_file: the file "
                "\"/nowhere\" could not be opened");
}

/* --- forms and orders --- */

static const struct {
    const char *set;
    bool fine;
} forms[] = {
    {"api.listen=127.0.0.1:0", true},
    {"api.listen=localhost:65535", true},
    {"api.listen=[::1]:8080", true},
    {"api.listen=127.0.0.1:65536", false},
    {"api.listen=127.0.0.1", false},
    {"api.listen=:8080", false},
    {"api.listen=::1:8080", false},
    {"api.listen=127.0.0.1:", false},
    {"api.listen=127.0.0.1:+80", false},
    {"api.listen=", false},
    {"sim.tls_listen=", true},
    {"callbacks.base_url=https://pay.example.org/x", true},
    {"callbacks.base_url=http://[::1]:8080", true},
    {"callbacks.base_url=https://pay.example.org/", false},
    {"callbacks.base_url=ftp://pay.example.org", false},
    {"callbacks.base_url=https://", false},
    {"callbacks.base_url=https://a?b", false},
    {"callbacks.base_url=pay.example.org", false},
    {"kafka.prefix=staging.", true},
    {"kafka.prefix=stag ing", false},
    {"kafka.brokers=", false},
    {"kafka.brokers=a:1,", false},
    {"worker.pools=low", true},
    {"worker.pools=low,high", true},
    {"worker.pools=", false},
    {"worker.pools=high,", false},
    {"worker.pools=high,high", false},
    {"worker.pools=higher", false},
    {"database.conninfo=postgres://u@h/db", true},
    {"database.conninfo=postgres://u:p@h:5432/db", false},
    {"database.conninfo=host=x PASSWORD=y", false},
    {"database.conninfo=", false},
    {"worker.lease_ms=0", false},
};

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        load_set(forms[i].set);
        if (forms[i].fine)
            expect_fine();
        else if (t.code != ERR_CONFIG || lines(t.faults.data) != 1)
            fail_msg("%s: %s", forms[i].set, t.faults.data);
    }
}

static const struct {
    const char *sets[4];
    const char *fault; /* NULL = fine */
} orders[] = {
    {{"worker.heartbeat_trust_ms=1000"},
     "--set worker.heartbeat_trust_ms=1000: worker.heartbeat_trust_ms: "
     "worker.heartbeat_ms (1000) must be below"},
    {{"worker.heartbeat_dead_ms=2000"},
     "--set worker.heartbeat_dead_ms=2000: worker.heartbeat_dead_ms: "
     "worker.heartbeat_trust_ms (2000) must be below"},
    {{"worker.heartbeat_dead_ms=2001"}, NULL},
    {{"payments.backoff_min_ms=60001"},
     "--set payments.backoff_min_ms=60001: payments.backoff_min_ms: "
     "payments.backoff_min_ms (60001) must be at most"},
    {{"payments.backoff_min_ms=60000"}, NULL},
    {{"payments.busy_phone_max_ms=59999"},
     "--set payments.busy_phone_max_ms=59999"},
    {{"payments.query_first_ms=60001"}, "--set payments.query_first_ms=60001"},
    {{"payments.prompt_timeout_ms=20000"},
     "--set payments.prompt_timeout_ms=20000: payments.prompt_timeout_ms: "
     "payments.query_first_ms (20000) must be below"},
    {{"payments.unresolved_after_ms=89999"},
     "--set payments.unresolved_after_ms=89999"},
    {{"gate.total_timeout_ms=9999"}, "--set gate.total_timeout_ms=9999"},
    {{"topics.min_insync=4"}, "--set topics.min_insync=4"},
    {{"topics.replication=1", "topics.min_insync=1"}, NULL},
    {{"worker.drain_timeout_ms=70000"},
     "--set worker.drain_timeout_ms=70000: worker.drain_timeout_ms: is 70000, "
     "must be above gate.connect_timeout_ms + gate.total_timeout_ms (70000)"},
    {{"worker.drain_timeout_ms=70001"}, NULL},
    {{"payments.ttl_ms=86400000"}, NULL},
    {{"database.retention_h=168"},
     "--set database.retention_h=168: database.retention_h: "
     "topics.requests_retention_h (168) must be below"},
    {{"topics.requests_retention_h=8760", "database.retention_h=8760"},
     "--set topics.requests_retention_h=8760: topics.requests_retention_h: "
     "topics.requests_retention_h (8760) must be below database.retention_h "
     "(8760): a record that Kafka still has must find its payment's row"},
    {{"topics.requests_retention_h=167", "database.retention_h=168"}, NULL},
    {{"api.tls_cert=/x"}, "--set api.tls_cert=/x: api.tls_cert: goes with"},
    {{"api.tls_cert=/x", "api.tls_key=/y"}, NULL},
    {{"sim.tls_listen=a:1"}, "--set sim.tls_listen=a:1: sim.tls_listen: needs"},
};

static void test_orders(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        load_path(NULL, orders[i].sets);
        if (orders[i].fault)
            expect_only(orders[i].fault);
        else
            expect_fine();
    }
}

static void test_one_mistake_is_one_line(void **state)
{
    (void)state;
    load("clients = ( { id = 5; name = \"n\"; api_key_sha256 = [ ]; } );");
    expect_line("1: clients[0].id: is 5, must be a text");
    expect_line("1: clients[0].api_key_sha256: is a list, must be a text");
    assert_int_equal(lines(t.faults.data), 2);
    write_bytes(t.file, "log = {", 7);
    load_path(t.file, (const char *const[]){"worker.heartbeat_ms=9000", NULL});
    expect_only("1: syntax error");
    load("worker = { heartbeat_ms = 99999; };");
    expect_only("1: worker.heartbeat_ms: is 99999, must be");
}

/* --- clients and shortcodes --- */

static void test_clients(void **state)
{
    struct uuid id = {{0}};

    (void)state;
    load("clients = (\n" CLIENT_A ",\n" CLIENT_B " );");
    expect_fine();
    assert_int_equal(t.cfg->clients_n, 2);
    assert_string_equal(t.cfg->clients[0].name, "shop");
    assert_string_equal(t.cfg->clients[0].signing_secret, "");
    assert_int_equal(t.cfg->clients[0].api_key_hash[0], 0x01);
    assert_int_equal(t.cfg->clients[1].api_key_hash[31], 0xef);
    assert_int_equal(t.cfg->clients[1].uuid.b[0], 0x7f);
    assert_ptr_equal(config_client(t.cfg, &t.cfg->clients[1].uuid),
                     &t.cfg->clients[1]);
    assert_null(config_client(t.cfg, &id));
}

static void test_wrong_clients(void **state)
{
    (void)state;
    load("clients = (\n" CLIENT_A ",\n" CLIENT_A " );");
    expect_line("4: clients[1].id: is that of clients[0] (");
    expect_line("5: clients[1].api_key_sha256: is that of clients[0] (");
    assert_int_equal(lines(t.faults.data), 2);
    load("clients = (\n{ id = \"x\"; api_key_sha256 = \"12\"; },\n"
         "{ id = \"y\"; api_key_sha256 = \"zz\"; name = \"n\"; } );");
    expect_line("2: clients[0].name: is missing: what people call it");
    expect_line("2: clients[0].id: is \"x\", must be a UUID");
    expect_line("2: clients[0].api_key_sha256: is \"12\", must be 64 hexa");
    expect_line("3: clients[1].id: is \"y\", must be a UUID");
    expect_line("3: clients[1].api_key_sha256: is \"zz\", must be 64 hexa");
    assert_int_equal(lines(t.faults.data), 5);
    setenv("TEST_CONFIG_SECRET", "15-bytes-of-key", 1);
    load("clients = ( { id = \"6f1c6a3e-7c1b-4b0e-9d5a-0d3a4c5b6e7f\";\n"
         "signing_secret_env = \"TEST_CONFIG_SECRET\"; } );");
    expect_line("2: clients[0].signing_secret: must be 16 bytes or more");
}

#define SECRETS                                     \
    "consumer_key_env = \"TEST_CONFIG_SECRET\";"    \
    "consumer_secret_env = \"TEST_CONFIG_SECRET\";" \
    "passkey_env = \"TEST_CONFIG_SECRET\";"

static void test_shortcodes(void **state)
{
    (void)state;
    setenv("TEST_CONFIG_SECRET", "hunter2", 1);
    load("shortcodes = ( { shortcode = 174379; " SECRETS " },\n"
         "{ shortcode = 600999; environment = \"production\"; party_b = 12345;"
         "transaction_type = \"CustomerBuyGoodsOnline\"; rate = 50;" SECRETS
         "},\n{ shortcode = 600998; base_url = \"http://127.0.0.1:1\";" SECRETS
         "} );");
    expect_fine();
    assert_int_equal(t.cfg->shortcodes_n, 3);
    const struct shortcode *s = config_shortcode(t.cfg, 174379);
    assert_non_null(s);
    assert_string_equal(s->base_url, "https://sandbox.safaricom.co.ke");
    assert_string_equal(s->transaction_type, "CustomerPayBillOnline");
    assert_string_equal(s->consumer_secret, "hunter2");
    assert_int_equal(s->party_b, 174379);
    assert_int_equal(s->rate, 0);
    s = config_shortcode(t.cfg, 600999);
    assert_string_equal(s->base_url, "https://api.safaricom.co.ke");
    assert_int_equal(s->party_b, 12345);
    assert_int_equal(s->rate, 50);
    assert_string_equal(config_shortcode(t.cfg, 600998)->base_url,
                        "http://127.0.0.1:1");
    assert_null(config_shortcode(t.cfg, 1));
}

static void test_renewed_shortcodes(void **state)
{
    struct config *newer;
    const struct shortcode *before;
    struct err err;
    int64_t dropped;

    (void)state;
    setenv("TEST_CONFIG_SECRET", "the-newer-key-of-ours", 1);
    load("shortcodes = ( { shortcode = 174379; " SECRETS " rate = 9; },\n"
         "{ shortcode = 600001; " SECRETS " } );");
    expect_fine();
    newer = TAKE(t.cfg);
    load("shortcodes = ( { shortcode = 600000; " SECRETS " },\n"
         "{ shortcode = 174379; " SECRETS " rate = 2; } );");
    expect_fine();
    before = config_shortcode(t.cfg, 174379);
    assert_int_equal(config_may_renew(t.cfg, newer, &dropped, &err), ERR_NONE);
    config_renew(t.cfg, newer);
    config_free(newer);
    assert_int_equal(t.cfg->shortcodes_n, 3);
    assert_int_equal(config_shortcode(t.cfg, 174379)->rate, 9);
    assert_int_equal(before->rate, 2); /* good, and of the settings before */
    assert_string_equal(config_shortcode(t.cfg, 600001)->passkey,
                        "the-newer-key-of-ours");
    assert_false(config_shortcode(t.cfg, 600001)->gone);
    assert_true(config_shortcode(t.cfg, 600000)->gone);
    assert_int_equal(t.cfg->shortcodes[2].shortcode, 600000); /* the last */
}

static void test_wrong_shortcodes(void **state)
{
    (void)state;
    setenv("TEST_CONFIG_SECRET", "hunter2", 1);
    load("shortcodes = ( { environment = \"prod\";\n"
         "transaction_type = \"PayBill\"; base_url = \"x\"; },\n"
         "{ shortcode = 99; " SECRETS " },\n"
         "{ shortcode = 174379; " SECRETS " },\n"
         "{ shortcode = 174379; " SECRETS " } );");
    expect_line("1: shortcodes[0].shortcode: is missing: PayBill");
    expect_line("1: shortcodes[0].consumer_key: is missing (as ..._file or "
                "..._env): Daraja");
    expect_line("1: shortcodes[0].consumer_secret: is missing");
    expect_line("1: shortcodes[0].passkey: is missing");
    expect_line("1: shortcodes[0].environment: is \"prod\", must be sandbox");
    expect_line("2: shortcodes[0].transaction_type: is \"PayBill\", must be");
    expect_line("2: shortcodes[0].base_url: is \"x\", must be http");
    expect_line("3: shortcodes[1].shortcode: is 99, must be a whole number "
                "from 10000 to 9999999");
    expect_line("5: shortcodes[3].shortcode: is that of shortcodes[2] (");
    assert_int_equal(lines(t.faults.data), 9);
}

static void test_too_many_clients(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, TEXT_BYTES_MAX);
    buf_adds(&text, "clients = ( { }");
    for (int i = 0; i < CONFIG_ELEMENTS_MAX; i++)
        buf_adds(&text, ", { }");
    buf_adds(&text, " );");
    load(text.data);
    expect_only("1: clients: must be a list of at most 1000 groups");
    buf_done(&text);
}

/* --- showing --- */

static void load_for_show(void)
{
    setenv("TEST_CONFIG_SECRET", "hunter2-hunter2-hunter2", 1);
    write_bytes(t.secret, "hunter2\n", 8);
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    buf_addf(&text,
             "database = {\n password_file = \"%s\"; };\n"
             "kafka = { prefix = \"x.\"; properties = [ \"a=\\\"b\\\"\",\n"
             "\"sasl.password_file=%s\" ]; };\n"
             "clients = ( " CLIENT_A " );\n"
             "shortcodes = ( { shortcode = 174379; " SECRETS " } );\n",
             t.secret, t.secret);
    write_bytes(t.file, text.data, text.len);
    buf_done(&text);
    load_path(t.file, (const char *const[]){"worker.slots=77", NULL});
    expect_fine();
}

/** Expects the words in this order on one line of @p text. */
static void expect_words(const char *text, const char *const *words)
{
    const char *at = strstr(text, words[0]);

    assert_non_null(at);
    const char *end = strchr(at, '\n');
    for (size_t i = 0; words[i]; i++) {
        at = strstr(at, words[i]);
        if (!at || at > end)
            fail_msg("no \"%s\" after \"%s\"", words[i], words[0]);
    }
}

static void test_show(void **state)
{
    struct buf text;
    char place[100];

    (void)state;
    load_for_show();
    buf_init(&text, TEXT_BYTES_MAX);
    config_show(t.cfg, &text);
    assert_false(text.failed);
    assert_null(strstr(text.data, "hunter2"));
    expect_words(text.data,
                 (const char *const[]){"worker.slots ", "= 77", "calls",
                                       "--set", "calls to", NULL});
    snprintf(place, sizeof(place), "%s:3", t.file);
    expect_words(text.data, (const char *const[]){"kafka.prefix ", "= \"x.\"",
                                                  place, "put before", NULL});
    expect_words(text.data, (const char *const[]){"log.level ", "= \"info\"",
                                                  "default", NULL});
    expect_words(text.data,
                 (const char *const[]){"kafka.properties ", "\"a=\\\"b\\\"\"",
                                       "sasl.password=(hidden)", NULL});
    snprintf(place, sizeof(place), "= (from file %s)", t.secret);
    expect_words(text.data,
                 (const char *const[]){"database.password ", place, NULL});
    expect_words(text.data, (const char *const[]){"callbacks.mac_key ",
                                                  "= (not set)", NULL});
    expect_words(text.data,
                 (const char *const[]){"shortcodes[0].passkey ",
                                       "= (from environment TEST_CONFIG_SECRET",
                                       NULL});
    expect_words(text.data,
                 (const char *const[]){"clients[0].name ", "= \"shop\"", NULL});
    buf_done(&text);
}

static const struct json *find_setting(const struct json *root,
                                       const char *path)
{
    const struct json *s = json_first(json_get(root, "settings"));

    while (s && strcmp(json_text(json_get(s, "path")), path) != 0)
        s = json_next(s);
    assert_non_null(s);
    return s;
}

static void test_show_json(void **state)
{
    struct buf text;
    struct json *root = NULL;
    struct err err;
    int64_t n;

    (void)state;
    load_for_show();
    buf_init(&text, TEXT_BYTES_MAX);
    config_show_json(t.cfg, &text);
    assert_null(strstr(text.data, "hunter2"));
    assert_int_equal(json_parse_strict(text.data, text.len, &root, &err), 0);
    const struct json *s = find_setting(root, "worker.slots");
    assert_true(json_integer(json_get(s, "value"), &n));
    assert_int_equal(n, 77);
    assert_string_equal(json_text(json_get(s, "from")), "set");
    assert_string_equal(json_text(json_get(s, "unit")), "calls");
    s = find_setting(root, "clients[0].name");
    assert_string_equal(json_text(json_get(s, "value")), "shop");
    assert_string_equal(json_text(json_get(s, "from")), "file");
    s = find_setting(root, "shortcodes[0].passkey");
    assert_string_equal(json_text(json_get(s, "value")),
                        "(from environment TEST_CONFIG_SECRET)");
    s = json_first(json_get(find_setting(root, "kafka.properties"), "value"));
    assert_string_equal(json_text(s), "a=\"b\"");
    assert_string_equal(json_text(json_next(s)), "sasl.password=(hidden)");
    json_free(root);
    buf_done(&text);
}

static void test_near(void **state)
{
    struct near near;

    (void)state;
    assert_int_equal(near_distance("", ""), 0);
    assert_int_equal(near_distance("kitten", "sitting"), 3);
    assert_int_equal(near_distance("", "abc"), 3);
    near_init(&near, "slots");
    near_offer(&near, "rate");
    assert_null(near.best);
    near_offer(&near, "slot");
    near_offer(&near, "sloth");
    assert_string_equal(near.best, "slot");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_every_default_is_in_its_range),
        TEST(test_no_deadline_outlives_its_record),
        TEST(test_shipped_file_is_the_table),
        TEST(test_shipped_file_gives_the_defaults),
        TEST(test_values_of_every_kind),
        TEST(test_wrong_values),
        TEST(test_too_many_texts),
        TEST(test_unknown_names),
        TEST(test_all_faults_at_once),
        TEST(test_numbers_beyond_32_bits_do_not_wrap),
        TEST(test_digits_in_names_and_texts_stay),
        TEST(test_broken_files),
        TEST(test_files_that_are_none),
        TEST(test_a_broken_file_still_checks_the_overrides),
        TEST(test_set_overrides_the_file),
        TEST(test_wrong_sets),
        TEST(test_set_of_a_secret_is_refused_and_not_repeated),
        TEST(test_secret_from_a_file),
        TEST(test_secret_files_that_are_refused),
        TEST(test_secret_from_the_environment),
        TEST(test_second_mac_key),
        TEST(test_renewed_keys),
        TEST(test_networks),
        TEST(test_secret_is_never_written_in_the_file),
        TEST(test_secret_has_one_source),
        TEST(test_secret_kafka_properties),
        TEST(test_forms),
        TEST(test_orders),
        TEST(test_one_mistake_is_one_line),
        TEST(test_clients),
        TEST(test_wrong_clients),
        TEST(test_shortcodes),
        TEST(test_wrong_shortcodes),
        TEST(test_renewed_shortcodes),
        TEST(test_too_many_clients),
        TEST(test_show),
        TEST(test_show_json),
        TEST(test_near),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
