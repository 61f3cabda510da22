/*
 * SIGHUP: clients, shortcodes, limits and the keys of callback and C2B paths
 * change without a restart. A refusal stands in /health until a later reload
 * is taken. A key that would be gone is asked for in the ledger first; whoever
 * cannot be asked has not said yes. One question at a time: a second SIGHUP
 * meanwhile is refused.
 */
#include "common/app_priv.h"
#include "common/buf.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* One line of the log per fault. */
static void say_faults(char *text)
{
    for (char *end; *text; text = end) {
        end = text + strcspn(text, "\n");
        if (*end)
            *end++ = '\0';
        log_error("app", "reload_fault", KV("text", text));
    }
}

static void refuse(struct program *program, struct config *newer,
                   const struct err *why)
{
    metric_add(M_RELOAD_REFUSED, 1);
    (void)snprintf(program->refused, sizeof(program->refused),
                   "the last reload was refused: %.120s", why->text);
    log_error("app", "reload_refused", KV_ERR(why));
    config_free(newer);
}

static void renew(struct program *program, struct config *newer)
{
    struct config *cfg = program->app.cfg;

    config_renew(cfg, newer);
    config_free(newer);
    metric_add(M_RELOADED, 1);
    program->refused[0] = '\0';
    log_info("app", "reloaded", KV_INT("clients", cfg->clients_n),
             KV_INT("shortcodes", cfg->shortcodes_n),
             KV_INT("mac_key_id", cfg->callbacks_mac_key_id),
             KV_INT("second_mac_key_id", cfg->callbacks_second_mac_key_id));
    if (program->reload.renewed)
        program->reload.renewed(program->reload.arg);
}

static void take(struct program *program, struct config *newer)
{
    struct err err;

    if (program->newer) {
        (void)err_set(&err, ERR_CONFLICT, "the last reload is not over yet");
        refuse(program, newer, &err);
    } else if (config_may_renew(program->app.cfg, newer, &program->dropped,
                                &err)) {
        refuse(program, newer, &err);
    } else if (program->dropped) {
        program->newer = newer;
        program->reload.ask(program->reload.arg, program->dropped);
    } else {
        renew(program, newer);
    }
}

void app_key_used(struct app *app, bool used, const struct err *err)
{
    struct program *program = container_of(app, struct program, app);
    struct config *newer = TAKE(program->newer);
    struct err why;

    must(newer);
    if (!err && !used) {
        renew(program, newer);
        return;
    }
    if (err)
        (void)err_set(&why, err->code,
                      "could not ask whether key %lld is used: %s",
                      (long long)program->dropped, err->text);
    else
        (void)err_set(&why, ERR_CONFLICT,
                      "cannot drop key %lld of callback paths: open attempts "
                      "use it",
                      (long long)program->dropped);
    refuse(program, newer, &why);
}

static void reload(void *arg)
{
    struct program *program = arg;
    struct config *newer;
    struct buf faults;
    struct err err;

    buf_init(&faults, APP_FAULTS_BYTES_MAX);
    if (app_load(program->app.spec, &program->args, &newer, &faults, &err)) {
        say_faults(faults.data);
        refuse(program, NULL, &err);
    } else {
        take(program, newer);
    }
    buf_done(&faults);
}

void app_on_reload(struct app *app, const struct app_reload *how)
{
    struct program *program = container_of(app, struct program, app);

    program->reload = *how;
    loop_on_signal(app->loop, SIGHUP, reload, program);
}
