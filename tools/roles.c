/*
 * Rights are taken away and given anew each time, within one transaction, so
 * that a table of a later migration has them and nothing is left of an older
 * plan. A role that somebody else creates in the same moment is fine.
 */
#include "tools/roles.h"

#include <string.h>

static const char SQL_CREATE[] =
    "DO $$ DECLARE r text; BEGIN FOREACH r IN ARRAY "
    "ARRAY['foleni_worker', 'foleni_operator', 'foleni_reader', 'foleni_api'] "
    "LOOP "
    "CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = r); "
    "BEGIN EXECUTE format('CREATE ROLE %I NOLOGIN', r); "
    "EXCEPTION WHEN duplicate_object OR unique_violation "
    "OR insufficient_privilege THEN NULL; END; "
    "END LOOP; END $$";

static const char SQL_ALL_THERE[] =
    "SELECT count(*) = 4 FROM pg_roles WHERE rolname IN "
    "('foleni_worker', 'foleni_operator', 'foleni_reader', 'foleni_api')";

#define ALL "foleni_worker, foleni_operator, foleni_reader, foleni_api"
#define WRITERS "foleni_worker, foleni_operator"

static const char SQL_GRANT[] =
    "DO $$ DECLARE s text := quote_ident(current_schema()); BEGIN "
    "EXECUTE format('GRANT USAGE ON SCHEMA %s TO " ALL "', s); "
    "EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %s FROM " ALL "', s); "
    "EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %s TO " ALL "', s); "
    "EXECUTE format('GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %s "
    "TO " WRITERS "', s); END $$;"
    "REVOKE DELETE ON payments FROM " WRITERS ";"
    "REVOKE UPDATE, DELETE ON timeline, anchors FROM " WRITERS ";"
    "REVOKE INSERT ON anchors FROM foleni_operator;"
    /* only by audit_operator(), which keeps the chain */
    "REVOKE INSERT, UPDATE, DELETE ON operator_actions FROM " WRITERS ";"
    "REVOKE INSERT, UPDATE, DELETE ON migrations FROM " WRITERS ";"
    /* only by purge_payments(), which says what it took from the anchors */
    "REVOKE INSERT, UPDATE, DELETE ON purges FROM " WRITERS ";"
    "GRANT EXECUTE ON FUNCTION purge_payments TO foleni_operator;"
    "GRANT EXECUTE ON FUNCTION audit_operator TO " WRITERS ";"
    /* the API reads, and notes cancels */
    "GRANT EXECUTE ON FUNCTION ask_cancel TO foleni_api, foleni_operator;";

static enum err_code exec(struct pg_session *s, const char *sql,
                          struct err *err)
{
    return pg_session_exec(s, sql, NULL, 0, NULL, err);
}

enum err_code roles_grant(struct pg_session *s, bool *granted, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;

    *granted = false;
    if (exec(s, SQL_CREATE, err) ||
        pg_session_exec(s, SQL_ALL_THERE, NULL, 0, &rows, err))
        return err_wrap(err, "could not create the roles");
    if (strcmp(pg_text_value(rows, 0, 0), "t") != 0)
        return ERR_NONE;
    if (exec(s, SQL_GRANT, err))
        return err_wrap(err, "could not grant the roles their rights");
    *granted = true;
    return ERR_NONE;
}
