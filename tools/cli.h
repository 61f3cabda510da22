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
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"

struct config;

#define CLI_SETS_MAX 256
#define CLI_WORDS_MAX 8

/** Options as bits, so that a command can say which ones it takes. */
typedef uint64_t cli_options;
#define CLI_BIT(n) (UINT64_C(1) << (n))
#define CLI_CONFIG CLI_BIT(0)
#define CLI_SET CLI_BIT(1)
#define CLI_CHECK CLI_BIT(2)
#define CLI_VERSION CLI_BIT(3)
#define CLI_HELP CLI_BIT(4)
#define CLI_JSON CLI_BIT(5)
#define CLI_DIR CLI_BIT(6)
#define CLI_DRY_RUN CLI_BIT(7)
#define CLI_WHY CLI_BIT(8)
#define CLI_WHO CLI_BIT(9)
#define CLI_YES CLI_BIT(10)
#define CLI_FROM CLI_BIT(11)
#define CLI_TO CLI_BIT(12)
#define CLI_UNTIL CLI_BIT(13)
#define CLI_WITHIN CLI_BIT(14)
#define CLI_PAID CLI_BIT(15)
#define CLI_PAID_AT CLI_BIT(16)
#define CLI_NOT_PAID CLI_BIT(17)
#define CLI_AGAIN CLI_BIT(18)
#define CLI_FORCE CLI_BIT(19)
#define CLI_SKIP_DELETED CLI_BIT(20)
#define CLI_OPERATION CLI_BIT(21)
#define CLI_FOR CLI_BIT(22)
#define CLI_CLASS CLI_BIT(23)
#define CLI_CODE CLI_BIT(24)
#define CLI_STAGE CLI_BIT(25)
#define CLI_REFERENCE CLI_BIT(26)
#define CLI_CLIENT CLI_BIT(27)
#define CLI_PHONE CLI_BIT(28)
#define CLI_SHORTCODE CLI_BIT(29)
#define CLI_REPLAYS CLI_BIT(30)
#define CLI_GROUP_BY CLI_BIT(31)
#define CLI_LIMIT CLI_BIT(32)
#define CLI_RATE CLI_BIT(34)
#define CLI_PROBE CLI_BIT(35)
#define CLI_DEADLINE CLI_BIT(36)
#define CLI_RESUME CLI_BIT(37)
#define CLI_PRODUCTION CLI_BIT(38)

/** The options of a command that changes something (operator.h). */
#define CLI_OPERATOR (CLI_WHY | CLI_WHO | CLI_YES)

/** The command line, read. All texts are borrowed from argv. */
struct cli {
    cli_options options; /* those that were given */
    const char *config;  /* NULL = defaults only  */
    const char *directory;
    const char *why, *who;
    const char *from, *to;
    const char *until, *within;
    const char *paid, *paid_at; /* a receipt, and when */
    const char *operation;      /* push, query, token  */
    const char *duration;       /* --for: "10m"        */
    /* which letters (letter.h), and how they are shown and replayed */
    const char *class, *code, *stage, *reference;
    const char *client, *phone, *shortcode, *replays;
    const char *group_by, *limit;
    const char *rate, *probe, *deadline, *resume;
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
    cli_options options;  /* beyond those that all take                 */
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

bool cli_has(const struct cli *cli, cli_options option);

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
enum err_code dead_list_run(const struct cli *cli, const struct config *cfg,
                            struct err *err);
enum err_code dead_show_run(const struct cli *cli, const struct config *cfg,
                            struct err *err);
enum err_code dead_discard_run(const struct cli *cli, const struct config *cfg,
                               struct err *err);
enum err_code dead_replay_run(const struct cli *cli, const struct config *cfg,
                              struct err *err);
enum err_code doctor_run(const struct cli *cli, const struct config *cfg,
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
