/*
 * What app.c and app_admin.c share: the parts of a program that nobody else
 * sees.
 */
#ifndef FOLENI_COMMON_APP_PRIV_H
#define FOLENI_COMMON_APP_PRIV_H

#include "common/app.h"

#define ADMIN_ROUTES_MAX 4 /* a program's own ones on the admin listener */

/** The admin listener's answers to where they come from. */
struct admin {
    struct app *app;
    app_health_fn health;
    void *arg; /* of health and of the program's own routes */
    struct http_route own[ADMIN_ROUTES_MAX];
    struct http_route *routes; /* all that are served */
};

/** What the command line says. */
struct app_args {
    const char *config; /* borrowed from argv; NULL = defaults only */
    char **sets;        /* "path=value" */
    size_t sets_n;
    enum { APP_RUN, APP_CHECK, APP_HELP, APP_VERSION } what;
};

struct program {
    struct app app; /* the public face; first, so both have one address */
    struct admin admin;
    struct app_args args; /* for reading the settings again */
    struct app_reload reload;
    struct config *newer; /* waits for the ledger's answer, or NULL */
    int64_t dropped;      /* the key that it is about */
    char refused[160];    /* why the last reload was, "" = it was not */
    bool running;
    bool drained;
    void (*on_stop)(void *arg);
    void *arg;
    int64_t drain_ms;
    struct loop_timer drain_timer;
};

/**
 * Reads @p argv.
 *
 * @return ERR_USAGE for what the program does not know.
 */
MUST_CHECK enum err_code app_args_read(const struct app_spec *spec, int argc,
                                       char **argv, struct app_args *ret,
                                       struct err *err);
void app_args_done(struct app_args *args);

/** Loads the settings; every fault is a line of @p faults. */
MUST_CHECK enum err_code app_load(const struct app_spec *spec,
                                  const struct app_args *args,
                                  struct config **ret, struct buf *faults,
                                  struct err *err);

#define APP_FAULTS_BYTES_MAX ((size_t)64 * 1024)

/** Writes the text of --help. */
void app_help(const struct app_spec *spec, struct buf *out);

/** Writes the document of GET /health and returns its status. */
int app_health(const struct app *app, const struct health *rows, size_t rows_n,
               struct buf *out);

#endif
