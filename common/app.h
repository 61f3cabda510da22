/*
 * What every program does the same way: arguments, configuration, logs, loop,
 * signals, admin listener, drain, exit code.
 *
 *   -c FILE  --set path=value (repeated)  --check  --version  --help
 *
 * Exit codes follow sysexits(3): 0 fine, 64 usage, 70 internal, 75 try again,
 * 78 configuration.
 */
#ifndef FOLENI_COMMON_APP_H
#define FOLENI_COMMON_APP_H

#include <stdbool.h>

#include "common/base.h"
#include "common/config.h"
#include "common/err.h"
#include "common/http.h"
#include "common/loop.h"

#define FOLENI_VERSION "0.1.0"

/**
 * A long option that is another spelling of --set setting=value. Without a
 * value_name it takes no value and means setting=true.
 */
struct app_option {
    const char *name, *setting, *value_name, *help;
};

struct app_spec {
    const char *name;    /* "foleni-worker"                        */
    const char *summary; /* one sentence for --help                */
    const struct app_option *options;
    size_t options_n;
    unsigned metric_groups; /* what /metrics shows                 */
    /** Further faults of the settings for this program, or NULL. */
    void (*check)(const struct config *cfg, struct buf *faults);
};

struct app {
    const struct app_spec *spec;
    struct config *cfg;
    struct loop *loop;
    struct http_server *admin;
    bool stopping; /* SIGTERM or SIGINT was seen */
};

/** How one dependency does, for /health. */
struct health {
    const char *name; /* "kafka", "postgres", "daraja"          */
    bool ok;
    bool needed;        /* when down, /health/ready says 503    */
    int64_t latency_us; /* of the last answer, -1 = none yet    */
    char note[160];     /* "connection refused, retrying in 2 s" */
};

/** Fills up to @p max rows and returns how many. */
typedef size_t (*app_health_fn)(void *arg, struct health *rows, size_t max);

/**
 * Reads arguments and configuration, opens the log, makes the loop. --help,
 * --version and --check are answered here and end the process.
 *
 * @return ERR_USAGE or ERR_CONFIG with the faults already on standard error.
 */
MUST_CHECK enum err_code app_new(const struct app_spec *spec, int argc,
                                 char **argv, struct app **ret,
                                 struct err *err);
void app_free(struct app *app);
DEFINE_CLEANUP(app_free, struct app *)

/**
 * Opens the admin listener: GET /health, /health/live, /health/ready, /metrics
 * and the program's own @p routes (at most 4), whose handlers get @p arg as
 * @p health does. Logs the address it got.
 */
MUST_CHECK enum err_code app_admin(struct app *app, const char *listen,
                                   const struct http_route *routes,
                                   size_t routes_n, app_health_fn health,
                                   void *arg, struct err *err);

/**
 * Runs until SIGTERM or SIGINT has been followed by app_drained(), or until
 * @p drain_ms have passed since the signal. @p on_stop runs once, at the
 * signal; app->stopping is true then.
 *
 * @return the exit code: 0 when drained, 75 when time ran out.
 */
int app_run(struct app *app, int64_t drain_ms, void (*on_stop)(void *arg),
            void *arg);

/** What a program does for the settings that may change while it runs. */
struct app_reload {
    /** Asks the ledger whether an open attempt names key @p id of callback
     *  paths, and says it by app_key_used(), once and later. */
    void (*ask)(void *arg, int64_t id);
    void (*renewed)(void *arg); /* app->cfg has what is new */
    void *arg;
};

/**
 * From now on SIGHUP reads file and --set anew, with all checks, and takes what
 * config_renew() takes. Faulty settings change nothing, nor does a dropped key
 * that an open attempt names, or when the ledger cannot say (rule S16); log,
 * metric and /health tell. Without this SIGHUP ends the process.
 */
void app_on_reload(struct app *app, const struct app_reload *how);

/** The answer to app_reload.ask; @p err = there is none. */
void app_key_used(struct app *app, bool used, const struct err *err);

/** Ends the program in order, as SIGTERM does. */
void app_stop(struct app *app);

/** Says that nothing is left to do after the signal; not before it. */
void app_drained(struct app *app);

/** Logs @p err as the reason of the end and returns the exit code for it. */
int app_fail(const char *name, const struct err *err);

#endif
