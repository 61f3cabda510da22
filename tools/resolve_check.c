/*
 * What stands against a decision: the payment's state, a worker that may live
 * (S6 by its heartbeat, S9 by its recorder when this is its host), a deadline,
 * a receipt that is somebody else's.
 */
#include "tools/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

static const char SQL_HOLDER[] =
    "SELECT id::text FROM payments WHERE receipt = $1 AND id <> $2::uuid "
    "LIMIT 1";
/* A record of that receipt that says something else. */
static const char SQL_OTHER_FACTS[] =
    "SELECT n.amount, n.shortcode, coalesce(n.reference, ''), n.phone "
    "FROM notices n JOIN payments p ON p.id = $2::uuid "
    "WHERE n.source IN (4, 5) AND n.receipt = $1 "
    "AND (n.amount <> p.amount OR n.shortcode <> p.shortcode "
    "OR (length(n.phone) = 12 "
    "AND p.msisdn::text NOT LIKE replace(n.phone, '*', '_'))) LIMIT 1";
static bool on_this_host(const struct run *run)
{
    char host[65] = "", boot[40] = "";
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

    if (f && !fgets(boot, 37, f))
        boot[0] = '\0';
    if (f)
        fclose(f);
    if (*run->cfg->host_id)
        snprintf(host, sizeof(host), "%s", run->cfg->host_id);
    else if (gethostname(host, sizeof(host) - 1))
        return false;
    return !strcmp(host, column(run, P_HOST)) &&
           !strcmp(boot, column(run, P_BOOT));
}

/* A living or frozen process holds the lock of its recorder (rule S9). What
   cannot be looked at is not proven. */
static bool recorder_is_free(const char *path)
{
    int fd;
    bool is_free;

    if (!*path)
        return true;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT;
    is_free = flock(fd, LOCK_EX | LOCK_NB) == 0;
    close(fd);
    return is_free;
}

static enum err_code check_worker(const struct run *run, struct err *err)
{
    if (!yes(run, P_DEAD))
        return err_set(err, ERR_DENIED,
                       "worker %s on %s, which made its last push, lives: its "
                       "answer may still come. Wait, or end that worker, or "
                       "give --force",
                       column(run, P_OWNER), column(run, P_HOST));
    if (strtoll(column(run, P_OWNER), NULL, 10) && !yes(run, P_SETTLED) &&
        on_this_host(run) && !recorder_is_free(column(run, P_RECORDER)))
        return err_set(err, ERR_DENIED,
                       "worker %s beats no more, but its process is there and "
                       "holds its recorder: it may be frozen in its push. End "
                       "it, or give --force",
                       column(run, P_OWNER));
    return ERR_NONE;
}

static enum err_code check_again(const struct run *run, struct err *err)
{
    if (yes(run, P_LATE))
        return err_set(err, ERR_DENIED,
                       "its deadline %s has passed: it cannot be pushed again. "
                       "Say --paid or --not-paid; its client may ask anew",
                       column(run, P_DEADLINE));
    return forced(run) ? ERR_NONE : check_worker(run, err);
}

static enum err_code check_paid(const struct run *run, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *holder = NULL;
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *facts = NULL;
    const char *const params[] = {run->cli->paid, run->id};

    if (pg_session_exec(run->session, SQL_HOLDER, params, ARRAY_LEN(params),
                        &holder, err) ||
        pg_session_exec(run->session, SQL_OTHER_FACTS, params,
                        ARRAY_LEN(params), &facts, err))
        return err_wrap(err, "could not look for the receipt");
    if (pg_text_rows_n(holder))
        return err_set(err, ERR_DENIED,
                       "receipt %s is that of payment %s: one receipt pays "
                       "one payment",
                       run->cli->paid, pg_text_value(holder, 0, 0));
    if (pg_text_rows_n(facts) && !forced(run))
        return err_set(err, ERR_DENIED,
                       "M-Pesa's notice of receipt %s says KES %s by %s to %s "
                       "for %s, which is not this payment. Look again, or give "
                       "--force",
                       run->cli->paid, pg_text_value(facts, 0, 0),
                       pg_text_value(facts, 0, 3), pg_text_value(facts, 0, 1),
                       pg_text_value(facts, 0, 2));
    return ERR_NONE;
}

static enum err_code check_state(const struct run *run, struct err *err)
{
    long state = strtol(column(run, P_STATE), NULL, 10);

    if (state == PAYMENT_UNKNOWN || state == PAYMENT_UNRESOLVED)
        return ERR_NONE;
    return err_set(err, ERR_DENIED,
                   "payment %s is %s: only unknown and unresolved ones need a "
                   "person",
                   run->id, state_of(column(run, P_STATE)));
}

enum err_code resolve_check(const struct run *run, struct err *err)
{
    if (check_state(run, err))
        return err->code;
    switch (run->decision) {
    case PAID: return check_paid(run, err);
    case AGAIN: return check_again(run, err);
    case NOT_PAID: break;
    }
    return forced(run) ? ERR_NONE : check_worker(run, err);
}
