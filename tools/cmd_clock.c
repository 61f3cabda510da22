/*
 * `foleni clock accept`: a person says that the database's clock, which has
 * stepped, is right as it is now. Workers that doubt it look for that word in
 * the audit trail every two seconds.
 */
#include "common/config.h"
#include "common/must.h"
#include "tools/cli.h"
#include "tools/operator.h"

#include <stdio.h>

static enum err_code accept(struct pg_session *s, const struct operator* who,
                            const char *now, struct err *err)
{
    char after[128];
    struct operator_action done = {"clock.accept", "database", NULL, after};

    snprintf(after, sizeof(after), "{\"now\":\"%.64s\"}", now);
    if (pg_session_exec(s, "BEGIN", NULL, 0, NULL, err) ||
        operator_audit(s, who, &done, NULL, err) ||
        pg_session_exec(s, "COMMIT", NULL, 0, NULL, err))
        return err->code;
    return ERR_NONE;
}

enum err_code clock_accept_run(const struct cli *cli, const struct config *cfg,
                               struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *s = NULL;
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    struct operator who;

    if (operator_read(cli, &who, err) ||
        pg_session_open(cfg->database_conninfo, cfg->database_password, &s,
                        err) ||
        pg_session_exec(s,
                        "SELECT to_char(clock_timestamp() AT TIME ZONE "
                        "'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
                        NULL, 0, &rows, err))
        return err->code;
    if (operator_confirm(&who, err,
                         "have workers believe the database's clock, which "
                         "says %s: what is due or expired by it is so",
                         pg_text_value(rows, 0, 0)) ||
        accept(s, &who, pg_text_value(rows, 0, 0), err))
        return err->code;
    puts("accepted; workers that doubt it go on within seconds");
    return ERR_NONE;
}
