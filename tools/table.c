/*
 * Rows of texts, printed.
 */
#include "tools/table.h"

#include "common/buf.h"
#include "common/json.h"
#include "common/must.h"
#include "common/pg.h"

#include <stdio.h>

#define JSON_BYTES_MAX ((size_t)4 << 20)

static void print_json(const struct table *table,
                       const struct pg_text_rows *rows)
{
    struct buf text;
    struct json_out j = {&text, false};

    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_open(&j, table->name, '[');
    for (size_t i = 0; i < pg_text_rows_n(rows); i++) {
        json_open(&j, NULL, '{');
        for (size_t c = 0; c < TABLE_COLUMNS_MAX && table->columns[c].name;
             c++) {
            const char *v = pg_text_value(rows, i, c);

            if (v)
                json_put_text(&j, table->columns[c].name, v);
            else
                json_put_null(&j, table->columns[c].name);
        }
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

static void print_line(const struct table *table,
                       const struct pg_text_rows *rows, size_t row)
{
    for (size_t c = 0; c < TABLE_COLUMNS_MAX && table->columns[c].name; c++) {
        const char *v = pg_text_value(rows, row, c);

        printf("%-*s  ", table->columns[c].width, v ? v : "");
    }
    putchar('\n');
}

static void print_table(const struct table *table,
                        const struct pg_text_rows *rows)
{
    if (!pg_text_rows_n(rows)) {
        puts(table->none);
        return;
    }
    for (size_t c = 0; c < TABLE_COLUMNS_MAX && table->columns[c].name; c++)
        printf("%-*s  ", table->columns[c].width, table->columns[c].name);
    putchar('\n');
    for (size_t i = 0; i < pg_text_rows_n(rows); i++)
        print_line(table, rows, i);
}

enum err_code table_show(const struct cli *cli, const struct config *cfg,
                         const struct table *table, struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *session = NULL;
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;

    if (pg_session_open(cfg->database_conninfo, cfg->database_password,
                        &session, err))
        return err->code;
    if (pg_session_exec(session, table->sql, NULL, 0, &rows, err))
        return err_wrap(err, "could not read the %s", table->name);
    if (cli_has(cli, CLI_JSON))
        print_json(table, rows);
    else
        print_table(table, rows);
    return ERR_NONE;
}
