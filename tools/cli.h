/*
 * The frame of `foleni`: arguments, the table of commands, help, exit codes.
 * A command is a row of commands.c and a function; what is the same for all of
 * them (settings, faults, how an error ends) is here.
 *
 * Answers go to standard output, everything else to standard error. With
 * --json the answer is one JSON document.
 */
#ifndef FOLENI_TOOLS_CLI_H
#define FOLENI_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base.h"
#include "common/err.h"

struct config;

#define CLI_SETS_MAX 256
#define CLI_WORDS_MAX 8

/** Options as bits, so that a command can say which ones it takes. */
enum cli_option {
    CLI_CONFIG = 1 << 0,
    CLI_SET = 1 << 1,
    CLI_CHECK = 1 << 2,
    CLI_VERSION = 1 << 3,
    CLI_HELP = 1 << 4,
    CLI_JSON = 1 << 5,
    CLI_DIR = 1 << 6,
    CLI_DRY_RUN = 1 << 7,
    CLI_WHY = 1 << 8,
    CLI_WHO = 1 << 9,
    CLI_YES = 1 << 10,
    CLI_FROM = 1 << 11,
    CLI_TO = 1 << 12,
    CLI_UNTIL = 1 << 13,
    CLI_WITHIN = 1 << 14,
    CLI_PAID = 1 << 16,
    CLI_PAID_AT = 1 << 17,
    CLI_NOT_PAID = 1 << 18,
    CLI_AGAIN = 1 << 19,
    CLI_FORCE = 1 << 20,
    CLI_SKIP_DELETED = 1 << 21,
    CLI_OPERATION = 1 << 22,
    CLI_FOR = 1 << 23
};

/** The options of a command that changes something (operator.h). */
#define CLI_OPERATOR (CLI_WHY | CLI_WHO | CLI_YES)

/** The command line, read. All texts are borrowed from argv. */
struct cli {
    unsigned options;   /* those that were given */
    const char *config; /* NULL = defaults only  */
    const char *directory;
    const char *why, *who;
    const char *from, *to;
    const char *until, *within;
    const char *paid, *paid_at; /* a receipt, and when */
    const char *operation;      /* push, query, token  */
    const char *duration;       /* --for: "10m"        */
    const char *sets[CLI_SETS_MAX];
    size_t sets_n;
    const char *words[CLI_WORDS_MAX]; /* "topics", "create" */
    size_t words_n;
    const char *const *operands; /* the words behind the command's name */
    size_t operands_n;
};

/** What a command prints comes from its function; it returns why it failed. */
typedef enum err_code (*command_fn)(const struct cli *cli,
                                    const struct config *cfg, struct err *err);

struct command {
    const char *name;     /* "topics create"                            */
    const char *operands; /* "PAYMENT DECISION", one word each; NULL = none.
                             All have to be given                       */
    const char *summary;  /* one line for the list                      */
    const char *help;     /* what it does, what it needs, what it leaves */
    const char *examples; /* indented lines                             */
    unsigned options;     /* beyond those that all take                 */
    command_fn run;
};

extern const struct command commands[];
extern const size_t commands_n;

/** Reads the command line. ERR_USAGE says what is wrong with it. */
MUST_CHECK enum err_code cli_read(int argc, char **argv, struct cli *ret,
                                  struct err *err);

/** The command that the words name, or NULL with ERR_USAGE in @p err. Sets
 *  the operands. */
const struct command *cli_command(struct cli *cli, struct err *err);

/** Runs a whole command line and returns the exit code (sysexits(3)). */
int cli_run(int argc, char **argv);

bool cli_has(const struct cli *cli, enum cli_option option);

/** The exit code that stands for @p code. */
int cli_exit_code(enum err_code code);

/** --help: of @p command, or of all whose name begins with the words given. */
void cli_help(const struct cli *cli, const struct command *command);

/* The commands. */
enum err_code config_show_run(const struct cli *cli, const struct config *cfg,
                              struct err *err);
enum err_code config_defaults_run(const struct cli *cli,
                                  const struct config *cfg, struct err *err);
enum err_code clock_accept_run(const struct cli *cli, const struct config *cfg,
                               struct err *err);
enum err_code doctor_audit_run(const struct cli *cli, const struct config *cfg,
                               struct err *err);
enum err_code migrate_run(const struct cli *cli, const struct config *cfg,
                          struct err *err);
enum err_code pull_register_run(const struct cli *cli, const struct config *cfg,
                                struct err *err);
enum err_code purge_run(const struct cli *cli, const struct config *cfg,
                        struct err *err);
enum err_code recover_run(const struct cli *cli, const struct config *cfg,
                          struct err *err);
enum err_code pools_run(const struct cli *cli, const struct config *cfg,
                        struct err *err);
enum err_code lag_run(const struct cli *cli, const struct config *cfg,
                      struct err *err);
enum err_code pause_run(const struct cli *cli, const struct config *cfg,
                        struct err *err);
enum err_code resume_run(const struct cli *cli, const struct config *cfg,
                         struct err *err);
enum err_code topics_create_run(const struct cli *cli, const struct config *cfg,
                                struct err *err);
enum err_code topics_diff_run(const struct cli *cli, const struct config *cfg,
                              struct err *err);
enum err_code topics_list_run(const struct cli *cli, const struct config *cfg,
                              struct err *err);
enum err_code alarms_list_run(const struct cli *cli, const struct config *cfg,
                              struct err *err);
enum err_code alarms_seen_run(const struct cli *cli, const struct config *cfg,
                              struct err *err);
enum err_code notices_list_run(const struct cli *cli, const struct config *cfg,
                               struct err *err);
enum err_code breaker_list_run(const struct cli *cli, const struct config *cfg,
                               struct err *err);
enum err_code breaker_open_run(const struct cli *cli, const struct config *cfg,
                               struct err *err);
enum err_code breaker_close_run(const struct cli *cli, const struct config *cfg,
                                struct err *err);
enum err_code breaker_auto_run(const struct cli *cli, const struct config *cfg,
                               struct err *err);
enum err_code resolve_run(const struct cli *cli, const struct config *cfg,
                          struct err *err);

#endif
