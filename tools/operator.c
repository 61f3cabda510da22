/*
 * Who, why, the question, the trail. The question goes to standard error, so
 * that the answer of a command stays clean with --json.
 */
#include "tools/operator.h"

#include "common/must.h"

#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_SIZE 16
#define LOGIN_BYTES_MAX 4096

static const char SQL_AUDIT[] =
    "SELECT audit_operator($1, $2, $3, $4, $5::jsonb, $6::jsonb)";

/* --- who and why --- */

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/** Characters of @p text, were it UTF-8; whether it is, Postgres says. */
static size_t characters(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static enum err_code check(const char *name, const char *text, size_t max,
                           struct err *err)
{
    if (is_blank(text))
        return err_set(err, ERR_USAGE, "--%s says nothing", name);
    if (characters(text) > max)
        return err_set(err, ERR_USAGE, "--%s is longer than %zu characters",
                       name, max);
    return ERR_NONE;
}

/** The name of the login, "" when there is none. Sudo's user counts as who
 *  sits there. */
static void login_name(char *out, size_t size)
{
    const char *sudo = getuid() == 0 ? getenv("SUDO_USER") : NULL;
    char bytes[LOGIN_BYTES_MAX];
    struct passwd row, *found = NULL;

    out[0] = '\0';
    if (sudo && *sudo)
        (void)snprintf(out, size, "%s", sudo);
    else if (getpwuid_r(getuid(), &row, bytes, sizeof(bytes), &found) == 0 &&
             found)
        (void)snprintf(out, size, "%s", found->pw_name);
}

enum err_code operator_read(const struct cli *cli, struct operator* ret,
                            struct err *err)
{
    *ret = (struct operator){.why = cli->why, .yes = cli_has(cli, CLI_YES)};
    if (!cli->why)
        return err_set(err, ERR_USAGE,
                       "needs --why: the reason stands in the audit trail");
    if (check("why", cli->why, OPERATOR_WHY_MAX, err))
        return err->code;
    if (cli->who && check("who", cli->who, OPERATOR_WHO_MAX, err))
        return err->code;
    if (cli->who)
        (void)snprintf(ret->who, sizeof(ret->who), "%s", cli->who);
    else
        login_name(ret->who, sizeof(ret->who));
    if (is_blank(ret->who))
        return err_set(err, ERR_USAGE, "this login has no name: give --who");
    return ERR_NONE;
}

/* --- the question --- */

enum err_code operator_confirm(const struct operator* op, struct err *err,
                               const char *fmt, ...)
{
    char answer[ANSWER_SIZE] = "";
    va_list args;

    fflush(stdout);
    fprintf(stderr, "foleni: %s is about to ", op->who);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputs(op->yes ? "\n" : "\nType yes to go on: ", stderr);
    if (op->yes)
        return ERR_NONE;
    if (!isatty(STDIN_FILENO)) {
        fputs("\n", stderr);
        return err_set(err, ERR_USAGE,
                       "there is no terminal to ask: give --yes if you mean "
                       "it; nothing was done");
    }
    if (fgets(answer, sizeof(answer), stdin) && !strcmp(answer, "yes\n"))
        return ERR_NONE;
    return err_set(err, ERR_DENIED, "nothing was done");
}

/* --- the trail --- */

enum err_code operator_audit(struct pg_session *s, const struct operator* op,
                             const struct operator_action *done, int64_t *ret,
                             struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *const params[] = {done->action, done->subject, op->who,
                                  op->why,      done->before,  done->after};

    if (pg_session_exec(s, SQL_AUDIT, params, ARRAY_LEN(params), &rows, err))
        return err_wrap(err, "could not write the audit trail");
    if (ret)
        *ret = strtoll(pg_text_value(rows, 0, 0), NULL, 10);
    return ERR_NONE;
}
