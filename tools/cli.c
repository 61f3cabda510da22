/*
 * Arguments and dispatch. Options may stand anywhere; "--name value" and
 * "--name=value" are the same; "--" ends them. An option that the command does
 * not take is refused instead of ignored.
 */
#include "tools/cli.h"

#include "common/app.h"
#include "common/buf.h"
#include "common/config.h"
#include "common/near.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define FAULTS_BYTES_MAX ((size_t)1 << 20)
#define NAME_SIZE 64

static const struct option_row {
    const char *name;
    char letter;
    cli_options option;
    const char *value; /* NULL = takes none */
    size_t at;         /* the member of struct cli that gets the value */
    const char *help;
} option_rows[] = {
#define AT(member) offsetof(struct cli, member)
    {"config", 'c', CLI_CONFIG, "FILE", AT(config),
     "settings; without it the defaults"},
    {"set", 0, CLI_SET, "PATH=VALUE", 0,
     "overrides one setting; may be repeated"},
    {"json", 0, CLI_JSON, NULL, 0, "answers with one JSON document"},
    {"dir", 0, CLI_DIR, "DIR", AT(directory),
     "where the files NNNN_name.sql are"},
    {"dry-run", 0, CLI_DRY_RUN, NULL, 0,
     "shows what would be done, does nothing"},
    {"why", 0, CLI_WHY, "TEXT", AT(why), "the reason, for the audit trail"},
    {"who", 0, CLI_WHO, "NAME", AT(who), "who does it; else the login's name"},
    {"yes", 0, CLI_YES, NULL, 0, "does it without asking"},
    {"from", 0, CLI_FROM, "TIME", AT(from), "only what is not older"},
    {"to", 0, CLI_TO, "TIME", AT(to), "only what is older"},
    {"until", 0, CLI_UNTIL, "TIME", AT(until),
     "when it ends by itself, as 30m or 2026-11-21T07:46:00Z"},
    {"within", 0, CLI_WITHIN, "TIME", AT(within), "the time to reckon with"},
    {"paid", 0, CLI_PAID, "RECEIPT", AT(paid), "it is paid, by this receipt"},
    {"paid-at", 0, CLI_PAID_AT, "TIME", AT(paid_at),
     "when, as 2026-11-21T07:46:00Z"},
    {"not-paid", 0, CLI_NOT_PAID, NULL, 0, "it is not paid, and over"},
    {"again", 0, CLI_AGAIN, NULL, 0, "its customer is prompted again"},
    {"force", 0, CLI_FORCE, NULL, 0, "though what stands against it is said"},
    {"skip-deleted", 0, CLI_SKIP_DELETED, NULL, 0,
     "gives up requests that are gone from the log"},
    {"operation", 0, CLI_OPERATION, "NAME", AT(operation),
     "push (unless given), query or token"},
    {"for", 0, CLI_FOR, "TIME", AT(duration),
     "ends by itself, as 30s, 10m or 2h"},
    {"class", 0, CLI_CLASS, "NAME", AT(class), "error class, as provider"},
    {"code", 0, CLI_CODE, "CODE", AT(code), "error code"},
    {"stage", 0, CLI_STAGE, "NAME", AT(stage), "intake, claim or flow"},
    {"reference", 0, CLI_REFERENCE, "TEXT", AT(reference),
     "what the customer sees"},
    {"client", 0, CLI_CLIENT, "NAME", AT(client), "a client's name or id"},
    {"phone", 0, CLI_PHONE, "MSISDN", AT(phone),
     "as 2547..., 07... or +2547..."},
    {"shortcode", 0, CLI_SHORTCODE, "NUMBER", AT(shortcode), "whom to pay"},
    {"replays", 0, CLI_REPLAYS, "N", AT(replays), "replayed so often before"},
    {"group-by", 0, CLI_GROUP_BY, "NAMES", AT(group_by),
     "counts by class, code, stage, client, hour or day, parted by commas"},
    {"limit", 0, CLI_LIMIT, "N", AT(limit), "the newest so many (100)"},
    {"rate", 0, CLI_RATE, "N", AT(rate), "so many in a second (10)"},
    {"probe", 0, CLI_PROBE, "N", AT(probe),
     "so many first, and the rest when they fare well (10)"},
    {"deadline", 0, CLI_DEADLINE, "TIME", AT(deadline),
     "how long each may take from then on, as 15m"},
    {"resume", 0, CLI_RESUME, "ID", AT(resume), "goes on with that replay"},
    {"production", 0, CLI_PRODUCTION, NULL, 0,
     "also what has to hold where real money is moved"},
    {"check", 0, CLI_CHECK, NULL, 0,
     "says what is wrong with the settings, ends"},
    {"version", 0, CLI_VERSION, NULL, 0, "says the version, ends"},
    {"help", 'h', CLI_HELP, NULL, 0, "this text, or that of a command"},
#undef AT
};

#define CLI_COMMON \
    (CLI_CONFIG | CLI_SET | CLI_JSON | CLI_CHECK | CLI_VERSION | CLI_HELP)

bool cli_has(const struct cli *cli, cli_options option)
{
    return (cli->options & option) != 0;
}

/* --- arguments --- */

static enum err_code take_value(struct cli *cli, const struct option_row *row,
                                const char *value, struct err *err)
{
    cli->options |= row->option;
    if (row->at)
        *(const char **)((char *)cli + row->at) = value;
    if (row->option != CLI_SET)
        return ERR_NONE;
    if (cli->sets_n == CLI_SETS_MAX)
        return err_set(err, ERR_USAGE, "more than %d --set", CLI_SETS_MAX);
    cli->sets[cli->sets_n++] = value;
    return ERR_NONE;
}

static const struct option_row *find_option(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(option_rows); i++) {
        const struct option_row *row = &option_rows[i];
        if (strlen(row->name) == len && !memcmp(row->name, name, len))
            return row;
    }
    return NULL;
}

static const struct option_row *find_letter(char letter)
{
    for (size_t i = 0; i < ARRAY_LEN(option_rows); i++)
        if (option_rows[i].letter && option_rows[i].letter == letter)
            return &option_rows[i];
    return NULL;
}

static enum err_code unknown_option(const char *arg, size_t len,
                                    struct err *err)
{
    struct near near;
    char name[NAME_SIZE];

    snprintf(name, sizeof(name), "%.*s", (int)MIN(len, sizeof(name) - 1), arg);
    near_init(&near, name);
    for (size_t i = 0; i < ARRAY_LEN(option_rows); i++)
        near_offer(&near, option_rows[i].name);
    if (near.best)
        return err_set(err, ERR_USAGE,
                       "there is no option --%s; did you mean --%s?", name,
                       near.best);
    return err_set(err, ERR_USAGE, "there is no option --%s", name);
}

/** An argument on its way: the option, and the value that stuck to it. */
struct found {
    const struct option_row *row;
    const char *value; /* NULL = none stuck to it */
};

/** "--name", "--name=value", "-c", "-cvalue". */
static enum err_code find(const char *arg, struct found *ret, struct err *err)
{
    if (arg[1] != '-') {
        ret->row = find_letter(arg[1]);
        ret->value = arg[2] ? arg + 2 : NULL;
        if (!ret->row)
            return err_set(err, ERR_USAGE, "there is no option -%c", arg[1]);
        return ERR_NONE;
    }
    size_t len = strcspn(arg + 2, "=");
    ret->row = find_option(arg + 2, len);
    ret->value = arg[2 + len] ? arg + 2 + len + 1 : NULL;
    return ret->row ? ERR_NONE : unknown_option(arg + 2, len, err);
}

/** Reads the option at argv[*i]; moves *i on over its value. */
static enum err_code read_option(struct cli *cli, int argc, char **argv, int *i,
                                 struct err *err)
{
    struct found found;

    if (find(argv[*i], &found, err))
        return err->code;
    if (found.row->value && !found.value && *i + 1 < argc)
        found.value = argv[++*i];
    if (found.row->value && !found.value)
        return err_set(err, ERR_USAGE, "--%s needs its %s", found.row->name,
                       found.row->value);
    if (!found.row->value && found.value)
        return err_set(err, ERR_USAGE, "--%s takes no value", found.row->name);
    return take_value(cli, found.row, found.value, err);
}

enum err_code cli_read(int argc, char **argv, struct cli *ret, struct err *err)
{
    struct cli cli = {0};
    bool options = true;

    for (int i = 1; i < argc; i++) {
        bool option = options && argv[i][0] == '-' && argv[i][1];
        if (option && !strcmp(argv[i], "--")) {
            options = false;
        } else if (option) {
            if (read_option(&cli, argc, argv, &i, err))
                return err->code;
        } else if (cli.words_n == CLI_WORDS_MAX) {
            return err_set(err, ERR_USAGE, "too many words, at \"%s\"",
                           argv[i]);
        } else {
            cli.words[cli.words_n++] = argv[i];
        }
    }
    *ret = cli;
    return ERR_NONE;
}

/* --- commands --- */

/** The words with a space between, cut when they are too long. */
static void join_words(const struct cli *cli, char out[NAME_SIZE])
{
    size_t n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < cli->words_n && n < NAME_SIZE; i++)
        n += (size_t)snprintf(out + n, NAME_SIZE - n, "%s%s", i ? " " : "",
                              cli->words[i]);
}

/** Whether @p command is @p words, or begins with them and a space. */
static bool begins(const struct command *command, const char *words)
{
    size_t len = strlen(words);

    return !len || (!strncmp(command->name, words, len) &&
                    strchr(" ", command->name[len]));
}

static const struct command *no_command(const char *words, struct err *err)
{
    const char *first = NULL, *last = NULL;
    struct near near;

    near_init(&near, words);
    for (size_t i = 0; i < commands_n; i++) {
        near_offer(&near, commands[i].name);
        if (!begins(&commands[i], words))
            continue;
        first = first ? first : commands[i].name;
        last = commands[i].name;
    }
    if (first && words[0])
        (void)err_set(err, ERR_USAGE, "\"%s\" what? As in `%s` or `%s`", words,
                      first, last);
    else if (near.best)
        (void)err_set(err, ERR_USAGE,
                      "there is no command \"%s\"; did you mean \"%s\"?", words,
                      near.best);
    else
        (void)err_set(err, ERR_USAGE, "there is no command \"%s\"", words);
    return NULL;
}

/** The first option that was given but that @p command does not take. */
static const struct option_row *foreign_option(const struct cli *cli,
                                               const struct command *command)
{
    cli_options foreign = cli->options & ~(command->options | CLI_COMMON);

    for (size_t i = 0; i < ARRAY_LEN(option_rows); i++)
        if (foreign & option_rows[i].option)
            return &option_rows[i];
    return NULL;
}

/** The words of a text that are parted by one space. */
static size_t count_words(const char *text)
{
    size_t n = text && *text;

    for (; text && *text; text++)
        n += *text == ' ';
    return n;
}

/** The command whose name the words begin with; of several the longest. */
static const struct command *find_command(const char *words)
{
    const struct command *found = NULL;

    for (size_t i = 0; i < commands_n; i++) {
        const char *name = commands[i].name;
        size_t len = strlen(name);

        if (strncmp(words, name, len) != 0 || !strchr(" ", words[len]))
            continue;
        if (!found || len > strlen(found->name))
            found = &commands[i];
    }
    return found;
}

static enum err_code
take_operands(struct cli *cli, const struct command *command, struct err *err)
{
    size_t wanted = count_words(command->operands);
    size_t named = count_words(command->name);

    cli->operands = cli->words + named;
    cli->operands_n = cli->words_n - named;
    if (cli->operands_n == wanted)
        return ERR_NONE;
    if (!wanted)
        return err_set(err, ERR_USAGE, "`%s` takes nothing like \"%s\"",
                       command->name, cli->operands[0]);
    return err_set(err, ERR_USAGE, "`%s` needs %s", command->name,
                   command->operands);
}

const struct command *cli_command(struct cli *cli, struct err *err)
{
    const struct command *command;
    const struct option_row *foreign;
    char words[NAME_SIZE];

    join_words(cli, words);
    command = find_command(words);
    if (!command || cli->words_n < count_words(command->name))
        return no_command(words, err);
    if (take_operands(cli, command, err))
        return NULL;
    foreign = foreign_option(cli, command);
    if (!foreign)
        return command;
    (void)err_set(err, ERR_USAGE, "`%s` takes no option --%s", command->name,
                  foreign->name);
    return NULL;
}

/* --- help --- */

static void help_option(const struct option_row *row)
{
    char name[NAME_SIZE];

    snprintf(name, sizeof(name), "%s--%s%s%s",
             row->letter == 'c'   ? "-c, "
             : row->letter == 'h' ? "-h, "
                                  : "    ",
             row->name, row->value ? " " : "", row->value ? row->value : "");
    printf("  %-24s  %s\n", name, row->help);
}

static void help_options(cli_options options)
{
    puts("\nOptions:");
    for (size_t i = 0; i < ARRAY_LEN(option_rows); i++)
        if (options & option_rows[i].option)
            help_option(&option_rows[i]);
}

void cli_help(const struct cli *cli, const struct command *command)
{
    char words[NAME_SIZE];

    if (command) {
        printf("Usage: foleni %s%s%s [option]...\n\n%s\n\nExamples:\n%s",
               command->name, command->operands ? " " : "",
               command->operands ? command->operands : "", command->help,
               command->examples);
        help_options(command->options | CLI_COMMON);
        return;
    }
    join_words(cli, words);
    puts("Usage: foleni COMMAND [option]...\n"
         "Looks after Foleni, the payment job processor.\n\nCommands:");
    for (size_t i = 0; i < commands_n; i++)
        if (begins(&commands[i], words))
            printf("  %-24s  %s\n", commands[i].name, commands[i].summary);
    help_options(CLI_COMMON);
    puts("\n`foleni COMMAND --help` says more. Exit codes follow sysexits(3): "
         "0 fine,\n64 usage, 69 service away, 75 try again, 78 configuration.");
}

/** --help, also of a group ("topics") and of nothing at all. */
static int run_help(const struct cli *cli)
{
    const struct command *command;
    bool group = false;
    char words[NAME_SIZE];
    struct err err;

    join_words(cli, words);
    command = find_command(words);
    for (size_t i = 0; i < commands_n && !group; i++)
        group = begins(&commands[i], words);
    if (!command && !group) {
        (void)no_command(words, &err);
        fprintf(stderr, "foleni: %s\n", err.text);
        return EX_USAGE;
    }
    cli_help(cli, command);
    return EX_OK;
}

/* --- running --- */

int cli_exit_code(enum err_code code)
{
    static const int codes[] = {
        [ERR_NONE] = EX_OK,
        [ERR_INPUT] = EX_DATAERR,
        [ERR_CONFIG] = EX_CONFIG,
        [ERR_USAGE] = EX_USAGE,
        [ERR_NOT_FOUND] = EX_NOINPUT,
        [ERR_CONFLICT] = EX_TEMPFAIL,
        [ERR_DENIED] = EX_NOPERM,
        [ERR_LIMIT] = EX_TEMPFAIL,
        [ERR_UNAVAILABLE] = EX_UNAVAILABLE,
        [ERR_UNSURE] = EX_TEMPFAIL,
        [ERR_TIMEOUT] = EX_TEMPFAIL,
        [ERR_MEMORY] = EX_OSERR,
        [ERR_IO] = EX_IOERR,
        [ERR_INTERNAL] = EX_SOFTWARE,
    };

    return (size_t)code < ARRAY_LEN(codes) ? codes[code] : EX_SOFTWARE;
}

/** Says the error, once, and returns its exit code. */
static int fail(const struct err *err)
{
    fflush(stdout);
    fprintf(stderr, "foleni: %s\n", err->text);
    if (err->code == ERR_USAGE)
        fputs("See `foleni --help`.\n", stderr);
    return cli_exit_code(err->code);
}

static enum err_code load(const struct cli *cli, struct config **ret,
                          struct err *err)
{
    struct buf faults;

    buf_init(&faults, FAULTS_BYTES_MAX);
    enum err_code code =
        config_load(cli->config, cli->sets, cli->sets_n, ret, &faults, err);
    fwrite(faults.data, 1, faults.len, stderr);
    buf_done(&faults);
    return code;
}

static enum err_code run_command(struct cli *cli, struct err *err)
{
    CLEANUP(config_free)
    struct config *cfg = NULL;
    const struct command *command = NULL;

    if (!cli_has(cli, CLI_CHECK) || cli->words_n > 0) {
        command = cli_command(cli, err);
        if (!command)
            return err->code;
    }
    if (load(cli, &cfg, err))
        return err->code;
    if (cli_has(cli, CLI_CHECK)) {
        puts("the settings are fine");
        return ERR_NONE;
    }
    return command->run(cli, cfg, err);
}

int cli_run(int argc, char **argv)
{
    struct cli cli;
    struct err err;

    if (cli_read(argc, argv, &cli, &err))
        return fail(&err);
    if (cli_has(&cli, CLI_HELP))
        return run_help(&cli);
    if (cli_has(&cli, CLI_VERSION)) {
        puts("foleni " FOLENI_VERSION);
        return EX_OK;
    }
    if (cli.words_n == 0 && !cli_has(&cli, CLI_CHECK)) {
        (void)err_set(&err, ERR_USAGE, "which command?");
        return fail(&err);
    }
    if (run_command(&cli, &err))
        return fail(&err);
    if (fflush(stdout) || ferror(stdout)) {
        (void)err_set(&err, ERR_IO, "could not write to standard output");
        return fail(&err);
    }
    return EX_OK;
}
