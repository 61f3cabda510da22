/*
 * daraja-sim: Safaricom's Daraja API for development and tests, faults and
 * all. What it does is in sim.c and README.md; here are only its arguments.
 */
#include "common/app.h"
#include "common/log.h"
#include "common/metrics.h"
#include "tests/daraja/sim.h"

#define DRAIN_MS 1000

static const struct app_option options[] = {
    {"listen", "sim.listen", "ADDR:PORT", "plain HTTP listener"},
    {"journal", "sim.journal", "FILE", "where pushes and debits are written"},
    {"seed", "sim.seed", "N", "seed of everything random"},
};

static const struct app_spec spec = {
    .name = "daraja-sim",
    .summary = "Simulates Safaricom's Daraja API (OAuth, STK push, query, "
               "callbacks) for tests.",
    .options = options,
    .options_n = ARRAY_LEN(options),
    .metric_groups = MG_COMMON | MG_SIM,
};

/* What is open is in the journal and goes on at the next start. */
static void on_stop(void *arg)
{
    app_drained(arg);
}

int main(int argc, char **argv)
{
    CLEANUP(app_free)
    struct app *app = NULL;
    CLEANUP(sim_free)
    struct sim *sim = NULL;
    struct err err;

    if (app_new(&spec, argc, argv, &app, &err))
        return app_fail(spec.name, &err);
    if (sim_new(app->loop, app->cfg, &sim, &err))
        return app_fail(spec.name, &err);
    return app_run(app, DRAIN_MS, on_stop, app);
}
