/*
 * What a refusal of the server means for its caller, by SQLSTATE (appendix A of
 * PostgreSQL's manual): a table of prefixes, the longest that fits. What is
 * not in it is ERR_INTERNAL: rolled back, and nobody knows better.
 */
#include <libpq-fe.h>
#include <string.h>

#include "common/must.h"
#include "common/pg_priv.h"

/* A transaction that ends in an error is rolled back, whatever the error; the
   exceptions are those that end the session, perhaps just after a commit. */
static const struct rule {
    const char *prefix;
    enum err_code code;
    bool breaks; /* this connection is of no further use */
} rules[] = {
    {"08", ERR_UNSURE, true},          /* connection exceptions             */
    {"0A000", ERR_UNAVAILABLE, true},  /* "cached plan must not change …"   */
    {"22", ERR_INPUT, false},          /* a value out of its range or form  */
    {"23", ERR_INPUT, false},          /* a constraint of a value           */
    {"23505", ERR_CONFLICT, false},    /* unique_violation                  */
    {"25006", ERR_UNAVAILABLE, true},  /* read only: no longer the primary  */
    {"26", ERR_UNAVAILABLE, true},     /* our prepared statements are gone  */
    {"40", ERR_CONFLICT, false},       /* deadlock, serialisation           */
    {"53", ERR_UNAVAILABLE, false},    /* disk full, out of memory          */
    {"55000", ERR_UNAVAILABLE, false}, /* steady_now(): the clock stepped   */
    {"55P03", ERR_CONFLICT, false},    /* lock_timeout                      */
    {"57014", ERR_UNAVAILABLE, false}, /* cancelled, or statement_timeout   */
    {"57P", ERR_UNSURE, true},         /* shutdown, crash, starting up      */
};

static const struct rule *rule_of(const char *sqlstate)
{
    const struct rule *best = NULL;

    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        size_t n = strlen(rules[i].prefix);

        if (strncmp(sqlstate, rules[i].prefix, n) == 0 &&
            (!best || n > strlen(best->prefix)))
            best = &rules[i];
    }
    return best;
}

bool pg_err_breaks(const char *sqlstate)
{
    const struct rule *rule = rule_of(sqlstate);

    return rule && rule->breaks;
}

void pg_first_line(const char *message, char *out, size_t size)
{
    size_t n = strcspn(message, "\r\n");

    n = MIN(n, size - 1);
    memcpy(out, message, n);
    out[n] = '\0';
}

enum err_code pg_err_of_result(struct err *err, const struct pg_result *r)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *said = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    const struct rule *rule = state ? rule_of(state) : NULL;
    char line[PG_NOTE_SIZE];

    if (!state) { /* libpq's own: the connection went away */
        pg_first_line(PQresultErrorMessage(r), line, sizeof(line));
        return err_set_from(err, ERR_UNSURE, ERR_POSTGRES, 0, "%s", line);
    }
    pg_first_line(said ? said : "no message", line, sizeof(line));
    err_set_from(err, rule ? rule->code : ERR_INTERNAL, ERR_POSTGRES, 0,
                 "postgres refused: %s", line);
    pg_first_line(state, err->detail, sizeof(err->detail));
    return err->code;
}
