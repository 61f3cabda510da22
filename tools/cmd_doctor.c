/*
 * `foleni doctor`: runs the tables of checks and says what each found.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/must.h"
#include "tools/cli.h"
#include "tools/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_BYTES_MAX ((size_t)1 << 18)
#define ANSWER_MS 10000 /* for each statement */

static const char *const grades[] = {
    [DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail"};

struct run {
    struct doctor doctor;
    struct json_out *json; /* NULL = as text */
    int counts[ARRAY_LEN(grades)];
    char worst[200]; /* names of what fails, or else of what is warned of */
    enum doctor_grade grade;
};

/* --- for the checks --- */

void doctor_say(struct doctor_line *line, enum doctor_grade grade,
                const char *todo, const char *fmt, ...)
{
    va_list args;

    if (*line->found && grade <= line->grade)
        return;
    line->grade = grade;
    va_start(args, fmt);
    vsnprintf(line->found, sizeof(line->found), fmt, args);
    va_end(args);
    snprintf(line->todo, sizeof(line->todo), "%s", todo);
}

bool doctor_ask(struct doctor *d, struct doctor_line *line, const char *sql,
                const char *const *params, size_t params_n,
                struct pg_text_rows **ret)
{
    struct err err;

    if (!pg_session_exec(d->pg, sql, params, params_n, ret, &err))
        return true;
    if (err.code == ERR_INTERNAL || err.code == ERR_INPUT)
        doctor_say(line, DOCTOR_FAIL,
                   "may this login read the tables, and are they there "
                   "(foleni migrate)?",
                   "%s", err.text);
    else
        doctor_say(line, DOCTOR_WARN, "look again", "not judged: %s", err.text);
    return false;
}

const char *doctor_text(const struct pg_text_rows *rows, size_t row, size_t col)
{
    const char *text = pg_text_value(rows, row, col);

    return text ? text : "";
}

long long doctor_number(const struct pg_text_rows *rows, size_t row, size_t col)
{
    return strtoll(doctor_text(rows, row, col), NULL, 10);
}

/* --- lines --- */

static void show(const struct run *run, const char *name,
                 const struct doctor_line *line)
{
    if (run->json) {
        json_open(run->json, NULL, '{');
        json_put_text(run->json, "check", name);
        json_put_text(run->json, "grade", grades[line->grade]);
        json_put_text(run->json, "found", line->found);
        if (*line->todo)
            json_put_text(run->json, "todo", line->todo);
        json_close(run->json, '}');
        return;
    }
    printf("%-4s  %-20s  %s\n", grades[line->grade], name, line->found);
    if (*line->todo)
        printf("%28s%s\n", "-> ", line->todo);
    fflush(stdout);
}

static void count(struct run *run, const char *name, enum doctor_grade grade)
{
    size_t len;

    run->counts[grade]++;
    if (grade > run->grade)
        *run->worst = '\0';
    run->grade = MAX(run->grade, grade);
    if (grade == DOCTOR_OK || grade < run->grade)
        return;
    len = strlen(run->worst);
    snprintf(run->worst + len, sizeof(run->worst) - len, "%s%s",
             len ? ", " : "", name);
}

static bool away(const struct doctor *d, enum doctor_need need,
                 struct doctor_line *line)
{
    if (need == NEEDS_POSTGRES && !d->pg)
        doctor_say(line, DOCTOR_WARN, "", "not judged: postgres is away");
    else if (need == NEEDS_KAFKA && d->kafka_err.code)
        doctor_say(line, DOCTOR_WARN, "", "not judged: kafka is away");
    return *line->found;
}

static void run_table(struct run *run, const struct doctor_check *checks,
                      size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct doctor_line line = {.grade = DOCTOR_OK};

        if (!away(&run->doctor, checks[i].need, &line))
            checks[i].run(&run->doctor, &line);
        show(run, checks[i].name, &line);
        count(run, checks[i].name, line.grade);
    }
}

/* --- the whole --- */

/* What is away is no error of ours: a line says it. */
static void open_all(struct doctor *d)
{
    if (!pg_session_open(d->cfg->database_conninfo, d->cfg->database_password,
                         &d->pg, &d->pg_err))
        pg_session_limit(d->pg, ANSWER_MS);
    if (!kafka_cluster_read(d->cfg, &d->cluster, &d->kafka_err))
        d->kafka_err.code = ERR_NONE;
}

static void run_all(struct run *run, bool production)
{
    run_table(run, doctor_host, doctor_host_n);
    run_table(run, doctor_kafka, doctor_kafka_n);
    run_table(run, doctor_ledger, doctor_ledger_n);
    if (production)
        run_table(run, doctor_production, doctor_production_n);
}

static void run_json(struct run *run, bool production)
{
    struct buf text;
    struct json_out j = {&text, false};

    buf_init(&text, JSON_BYTES_MAX);
    run->json = &j;
    json_open(&j, NULL, '{');
    json_open(&j, "checks", '[');
    run_all(run, production);
    json_close(&j, ']');
    for (size_t i = 0; i < ARRAY_LEN(grades); i++)
        json_put_int(&j, grades[i], run->counts[i]);
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

enum err_code doctor_run(const struct cli *cli, const struct config *cfg,
                         struct err *err)
{
    struct run run = {.doctor = {.cfg = cfg, .migrations = cli->directory}};
    bool production = cli_has(cli, CLI_PRODUCTION);

    open_all(&run.doctor);
    if (cli_has(cli, CLI_JSON))
        run_json(&run, production);
    else
        run_all(&run, production);
    pg_session_close(run.doctor.pg);
    if (run.grade == DOCTOR_OK)
        return ERR_NONE;
    if (run.grade == DOCTOR_WARN)
        return err_set(err, ERR_CONFLICT, "%d of the checks warn: %s",
                       run.counts[DOCTOR_WARN], run.worst);
    return err_set(err, ERR_INPUT, "%d of the checks fail: %s",
                   run.counts[DOCTOR_FAIL], run.worst);
}
