/*
 * The command line, over getopt_long(3): five options that every program has,
 * and a program's own ones, each of which is only another spelling of a
 * setting. What the settings may hold is not looked at here.
 */
#include "common/app_priv.h"

#include "common/buf.h"
#include "common/must.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 32
#define SETS_MAX 256
#define HELP_COLUMN 24

/* Beyond every letter; a program's own ones follow from OPT_OWN on. */
enum {
    OPT_CONFIG = 'c',
    OPT_SET = 256,
    OPT_CHECK,
    OPT_VERSION,
    OPT_HELP,
    OPT_OWN
};

static const struct {
    const char *option, *help;
} common_lines[] = {
    {"-c, --config FILE", "settings; without it everything has its default"},
    {"    --set PATH=VALUE", "overrides one setting; may be repeated"},
    {"    --check", "says what is wrong with the settings, and ends"},
    {"    --version", "says the version, and ends"},
    {"    --help", "this text"},
};

/* Long options as getopt_long() wants them: ours, the program's, the end. */
static void options_fill(const struct app_spec *spec, struct option *options)
{
    static const struct option common[] = {
        {"config", required_argument, NULL, OPT_CONFIG},
        {"set", required_argument, NULL, OPT_SET},
        {"check", no_argument, NULL, OPT_CHECK},
        {"version", no_argument, NULL, OPT_VERSION},
        {"help", no_argument, NULL, OPT_HELP},
    };
    size_t n = ARRAY_LEN(common);

    must(n + spec->options_n < OPTIONS_MAX);
    memcpy(options, common, sizeof(common));
    for (size_t i = 0; i < spec->options_n; i++)
        options[n++] = (struct option){
            .name = spec->options[i].name,
            .has_arg =
                spec->options[i].value_name ? required_argument : no_argument,
            .val = OPT_OWN + (int)i,
        };
    options[n] = (struct option){0};
}

/* Takes over @p set, "path=value" from the heap. */
static enum err_code add_set(struct app_args *args, char *set, struct err *err)
{
    if (args->sets_n == SETS_MAX) {
        free(set);
        return err_set(err, ERR_USAGE, "more than %d settings given", SETS_MAX);
    }
    args->sets = must_grow(args->sets, args->sets_n + 1, sizeof(char *));
    args->sets[args->sets_n++] = set;
    return ERR_NONE;
}

static char *spelled_out(const char *path, const char *value)
{
    size_t size = strlen(path) + strlen(value) + sizeof("=");
    char *set = must_alloc(1, size);

    snprintf(set, size, "%s=%s", path, value);
    return set;
}

/* getopt says which one it was by its letter, or, when it has none, by where
   it stands. */
static enum err_code bad_option(const char *what, char **argv, struct err *err)
{
    if (optopt > 0 && optopt < OPT_SET)
        return err_set(err, ERR_USAGE, "option \"-%c\" %s", optopt, what);
    return err_set(err, ERR_USAGE, "option \"%s\" %s", argv[optind - 1], what);
}

static enum err_code take(const struct app_spec *spec, int option, char **argv,
                          struct app_args *args, struct err *err)
{
    const struct app_option *o;

    switch (option) {
    case OPT_CONFIG: args->config = optarg; return ERR_NONE;
    case OPT_SET: return add_set(args, must_strdup(optarg), err);
    case OPT_CHECK: args->what = APP_CHECK; return ERR_NONE;
    case OPT_VERSION: args->what = APP_VERSION; return ERR_NONE;
    case OPT_HELP: args->what = APP_HELP; return ERR_NONE;
    case ':': return bad_option("needs a value", argv, err);
    case '?': return bad_option("is not known, or takes no value", argv, err);
    default: break;
    }
    o = &spec->options[option - OPT_OWN];
    return add_set(args, spelled_out(o->setting, optarg ? optarg : "true"),
                   err);
}

enum err_code app_args_read(const struct app_spec *spec, int argc, char **argv,
                            struct app_args *ret, struct err *err)
{
    struct option options[OPTIONS_MAX];
    struct app_args args = {0};
    enum err_code code = ERR_NONE;
    int option;

    options_fill(spec, options);
    optind = 0; /* GNU's way to begin anew: tests read several lines */
    while (code == ERR_NONE &&
           (option = getopt_long(argc, argv, ":c:", options, NULL)) != -1)
        code = take(spec, option, argv, &args, err);
    if (code == ERR_NONE && optind < argc)
        code =
            err_set(err, ERR_USAGE, "unexpected argument \"%s\"", argv[optind]);
    if (code != ERR_NONE) {
        app_args_done(&args);
        return code;
    }
    *ret = args;
    return ERR_NONE;
}

void app_args_done(struct app_args *args)
{
    for (size_t i = 0; i < args->sets_n; i++)
        free(args->sets[i]);
    free(args->sets);
    *args = (struct app_args){0};
}

static void help_line(struct buf *out, const char *option, const char *help)
{
    buf_addf(out, "  %-*s  %s\n", HELP_COLUMN, option, help);
}

void app_help(const struct app_spec *spec, struct buf *out)
{
    buf_addf(out, "Usage: %s [option]...\n%s\n\n", spec->name, spec->summary);
    for (size_t i = 0; i < ARRAY_LEN(common_lines); i++)
        help_line(out, common_lines[i].option, common_lines[i].help);
    for (size_t i = 0; i < spec->options_n; i++) {
        const struct app_option *o = &spec->options[i];
        char option[64];

        snprintf(option, sizeof(option), "    --%s%s%s", o->name,
                 o->value_name ? " " : "", o->value_name ? o->value_name : "");
        help_line(out, option, o->help);
    }
    buf_adds(out, "\nThe settings and their defaults: `foleni config`, "
                  "config.cfg.\n");
}
