/*
 * The frame of a program: from argv to a loop that can run, and from SIGTERM
 * to an exit code. What a program does in between is not known here.
 *
 * SIGTERM and SIGINT are caught from app_new() on, so that one that comes
 * during a slow start ends in an orderly way as soon as the loop turns.
 */
#include "common/app.h"

#include "common/app_priv.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#define HELP_BYTES_MAX (16 * 1024)

static void signal_came(void *arg);
static void drain_over(void *arg);

/* --- start --- */

static NORETURN void say_help(const struct app_spec *spec)
{
    struct buf b;

    buf_init(&b, HELP_BYTES_MAX);
    app_help(spec, &b);
    fputs(b.data, stdout);
    buf_done(&b);
    exit(EX_OK);
}

enum err_code app_load(const struct app_spec *spec, const struct app_args *args,
                       struct config **ret, struct buf *faults, struct err *err)
{
    CLEANUP(config_free)
    struct config *cfg = NULL;

    if (config_load(args->config, (const char *const *)args->sets, args->sets_n,
                    &cfg, faults, err))
        return err->code;
    if (spec->check)
        spec->check(cfg, faults);
    if (faults->len > 0 || faults->failed)
        return err_set(err, ERR_CONFIG, "settings cannot be used");
    *ret = TAKE(cfg);
    return ERR_NONE;
}

/* As app_load(), and says the faults, or, for --check, the outcome. */
static enum err_code settings(const struct app_spec *spec,
                              const struct app_args *args, struct config **ret,
                              struct err *err)
{
    struct buf faults;
    enum err_code code;

    buf_init(&faults, APP_FAULTS_BYTES_MAX);
    code = app_load(spec, args, ret, &faults, err);
    fputs(faults.data, stderr);
    if (faults.failed)
        fputs("... and more faults than can be shown\n", stderr);
    buf_done(&faults);
    if (args->what != APP_CHECK)
        return code;
    if (code == ERR_NONE)
        puts("configuration is fine");
    exit(code == ERR_NONE ? EX_OK : EX_CONFIG);
}

/* The usual soft limit of 1,024 is less than http.connections_max and
   worker.slots may need; who wants less sets the hard one. */
static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("app", "descriptors_not_raised",
                 KV_INT("max", limit.rlim_max));
}

static struct app *make(const struct app_spec *spec,
                        const struct app_args *args, struct config *cfg)
{
    struct program *program = NEW(struct program);
    struct app *app = &program->app;

    app->spec = spec;
    app->cfg = cfg;
    program->args = *args;
    log_open(spec->name, (enum log_level)cfg->log_level, cfg->log_format == 1);
    raise_descriptors();
    signal(SIGPIPE, SIG_IGN);
    app->loop = loop_new();
    loop_on_signal(app->loop, SIGTERM, signal_came, program);
    loop_on_signal(app->loop, SIGINT, signal_came, program);
    timer_init(&program->drain_timer, drain_over, program);
    metric_set(M_START_TIME, clock_wall_at() / US_PER_S);
    log_info("app", "started", KV("version", FOLENI_VERSION),
             KV_INT("pid", getpid()));
    return app;
}

enum err_code app_new(const struct app_spec *spec, int argc, char **argv,
                      struct app **ret, struct err *err)
{
    struct app_args args;
    struct config *cfg = NULL;
    enum err_code code;

    log_open(spec->name, LOG_INFO, false);
    if (app_args_read(spec, argc, argv, &args, err)) {
        fprintf(stderr, "%s: %s; see --help\n", spec->name, err->text);
        return err->code;
    }
    if (args.what == APP_HELP)
        say_help(spec);
    if (args.what == APP_VERSION) {
        printf("%s %s\n", spec->name, FOLENI_VERSION);
        exit(EX_OK);
    }
    code = settings(spec, &args, &cfg, err);
    if (code == ERR_NONE)
        *ret = make(spec, &args, cfg);
    else
        app_args_done(&args);
    return code;
}

void app_free(struct app *app)
{
    struct program *program;

    if (!app)
        return;
    program = container_of(app, struct program, app);
    http_server_free(app->admin);
    timer_cancel(app->loop, &program->drain_timer);
    loop_free(app->loop);
    config_free(app->cfg);
    free(program->admin.routes);
    app_args_done(&program->args);
    config_free(program->newer);
    free(program);
}

/* --- run and stop --- */

static void stop(struct program *program)
{
    log_info("app", "stopping", KV_INT("drain_timeout_ms", program->drain_ms));
    timer_set(program->app.loop, &program->drain_timer,
              clock_now_us() + program->drain_ms * US_PER_MS);
    if (program->on_stop)
        program->on_stop(program->arg);
}

/* Once is enough: who cannot wait for the drain has SIGKILL. */
static void signal_came(void *arg)
{
    struct program *program = arg;

    if (program->app.stopping)
        return;
    program->app.stopping = true;
    if (program->running)
        stop(program);
}

void app_stop(struct app *app)
{
    signal_came(container_of(app, struct program, app));
}

static void drain_over(void *arg)
{
    struct program *program = arg;

    loop_stop(program->app.loop);
}

void app_drained(struct app *app)
{
    struct program *program = container_of(app, struct program, app);

    must(app->stopping);
    program->drained = true;
    loop_stop(app->loop);
}

int app_run(struct app *app, int64_t drain_ms, void (*on_stop)(void *arg),
            void *arg)
{
    struct program *program = container_of(app, struct program, app);
    int exit_code;

    program->running = true;
    program->drain_ms = drain_ms;
    program->on_stop = on_stop;
    program->arg = arg;
    if (app->stopping)
        stop(program);
    loop_run(app->loop);
    exit_code = program->drained ? EX_OK : EX_TEMPFAIL;
    if (program->drained)
        log_info("app", "stopped", KV_INT("exit_code", exit_code));
    else
        log_warn("app", "stopped_undrained", KV_INT("exit_code", exit_code));
    return exit_code;
}

int app_fail(const char *name, const struct err *err)
{
    static const int exit_codes[] = {
        [ERR_USAGE] = EX_USAGE,       [ERR_CONFIG] = EX_CONFIG,
        [ERR_LIMIT] = EX_TEMPFAIL,    [ERR_UNAVAILABLE] = EX_TEMPFAIL,
        [ERR_UNSURE] = EX_TEMPFAIL,   [ERR_TIMEOUT] = EX_TEMPFAIL,
        [ERR_MEMORY] = EX_TEMPFAIL,   [ERR_IO] = EX_TEMPFAIL,
        [ERR_INTERNAL] = EX_SOFTWARE,
    };
    int exit_code = exit_codes[err->code] ? exit_codes[err->code] : EX_SOFTWARE;

    log_error("app", "failed", KV("name", name), KV_INT("exit_code", exit_code),
              KV_ERR(err));
    return exit_code;
}
