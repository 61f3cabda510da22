/*
 * `foleni dead list`: the newest letters that a filter means, or how many there
 * are by class, code, hour and the like.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/json.h"
#include "common/must.h"
#include "tools/cli.h"
#include "tools/letter_show.h"
#include "tools/letters.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_DEFAULT 100
#define SHOWN_MAX 1000
#define GROUPS_MAX 1000 /* what is beyond counts as "others" */
#define GROUP_KEYS_MAX 6
#define GROUP_SIZE 160
#define JSON_BYTES_MAX ((size_t)8 << 20)
#define HOUR_CHARS 13 /* "2026-11-21T07" */
#define DAY_CHARS 10

/* --- groups --- */

typedef void (*group_fn)(const struct letter_view *l, char *out, size_t size);

static void by_class(const struct letter_view *l, char *out, size_t size)
{
    text_copy(out, size, l->class);
}

static void by_code(const struct letter_view *l, char *out, size_t size)
{
    text_copy(out, size, l->code);
}

static void by_stage(const struct letter_view *l, char *out, size_t size)
{
    text_copy(out, size, l->stage);
}

static void by_client(const struct letter_view *l, char *out, size_t size)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(&l->client, text);
    text_copy(out, size, text);
}

static void by_time(const struct letter_view *l, char *out, size_t chars)
{
    char text[CLOCK_TEXT_SIZE];

    clock_format(l->last_at, 0, text);
    text_copy(out, chars + 1, text);
}

static void by_hour(const struct letter_view *l, char *out, size_t size)
{
    by_time(l, out, MIN(size - 1, HOUR_CHARS));
}

static void by_day(const struct letter_view *l, char *out, size_t size)
{
    by_time(l, out, MIN(size - 1, DAY_CHARS));
}

static const struct group_key {
    const char *name;
    group_fn write;
} group_keys[] = {
    {"class", by_class},   {"code", by_code}, {"stage", by_stage},
    {"client", by_client}, {"hour", by_hour}, {"day", by_day},
};

struct group {
    char texts[GROUP_KEYS_MAX][GROUP_SIZE / 4];
    size_t n;
};

struct listing {
    const struct letter_filter *filter;
    size_t meant; /* letters */
    /* the newest ones */
    struct letter_view *newest;
    size_t room, shown;
    /* or groups */
    const struct group_key *keys[GROUP_KEYS_MAX];
    size_t keys_n;
    struct group *groups;
    size_t groups_n, others;
};

static enum err_code read_keys(const char *text, struct listing *ret,
                               struct err *err)
{
    while (*text) {
        size_t len = strcspn(text, ","), i = 0;

        while (i < ARRAY_LEN(group_keys) &&
               (strlen(group_keys[i].name) != len ||
                strncmp(group_keys[i].name, text, len) != 0))
            i++;
        if (i == ARRAY_LEN(group_keys) || ret->keys_n == GROUP_KEYS_MAX)
            return err_set(err, ERR_USAGE,
                           "--group-by \"%.60s\": some of class, code, stage, "
                           "client, hour and day, parted by commas",
                           text);
        ret->keys[ret->keys_n++] = &group_keys[i];
        text += len + (text[len] == ',');
    }
    return ret->keys_n ? ERR_NONE
                       : err_set(err, ERR_USAGE, "--group-by says nothing");
}

static void count_group(struct listing *l, const struct letter_view *letter)
{
    struct group group = {.n = 1};

    for (size_t k = 0; k < l->keys_n; k++)
        l->keys[k]->write(letter, group.texts[k], sizeof(group.texts[k]));
    for (size_t i = 0; i < l->groups_n; i++)
        if (memcmp(l->groups[i].texts, group.texts, sizeof(group.texts)) == 0) {
            l->groups[i].n++;
            return;
        }
    if (l->groups_n == GROUPS_MAX)
        l->others++;
    else
        l->groups[l->groups_n++] = group;
}

static int compare_groups(const void *a, const void *b)
{
    const struct group *x = a, *y = b;

    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return memcmp(x->texts, y->texts, sizeof(x->texts));
}

static void print_groups(const struct listing *l)
{
    for (size_t k = 0; k < l->keys_n; k++)
        printf("%-24s  ", l->keys[k]->name);
    puts("   letters");
    for (size_t i = 0; i < l->groups_n; i++) {
        for (size_t k = 0; k < l->keys_n; k++)
            printf("%-24s  ", l->groups[i].texts[k]);
        printf("%10zu\n", l->groups[i].n);
    }
    if (l->others)
        printf("and %zu letters in more than %d groups\n", l->others,
               GROUPS_MAX);
}

static void put_groups(const struct listing *l, struct json_out *j)
{
    json_open(j, "groups", '[');
    for (size_t i = 0; i < l->groups_n; i++) {
        json_open(j, NULL, '{');
        for (size_t k = 0; k < l->keys_n; k++)
            json_put_text(j, l->keys[k]->name, l->groups[i].texts[k]);
        json_put_int(j, "letters", (int64_t)l->groups[i].n);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_put_int(j, "others", (int64_t)l->others);
}

/* --- the newest --- */

static void keep_newest(struct listing *l, const struct letter_view *letter)
{
    size_t oldest = 0;

    if (l->shown < l->room) {
        l->newest[l->shown++] = *letter;
        return;
    }
    for (size_t i = 1; i < l->shown; i++)
        if (l->newest[i].last_at < l->newest[oldest].last_at)
            oldest = i;
    if (letter->last_at > l->newest[oldest].last_at)
        l->newest[oldest] = *letter;
}

static int compare_newest(const void *a, const void *b)
{
    const struct letter_view *x = a, *y = b;

    if (x->last_at != y->last_at)
        return x->last_at > y->last_at ? -1 : 1;
    return x->place.offset > y->place.offset ? -1 : 1;
}

static void print_newest(const struct listing *l)
{
    if (l->shown)
        letter_print_head();
    for (size_t i = 0; i < l->shown; i++)
        letter_print_line(&l->newest[i]);
    if (l->shown < l->meant)
        printf("the newest %zu of %zu letters; --limit shows more, --group-by "
               "counts them\n",
               l->shown, l->meant);
    else
        printf("%zu letter%s\n", l->meant, l->meant == 1 ? "" : "s");
}

static void put_newest(const struct listing *l, struct json_out *j)
{
    json_open(j, "letters", '[');
    for (size_t i = 0; i < l->shown; i++)
        letter_put(&l->newest[i], j);
    json_close(j, ']');
}

/* --- the command --- */

static bool take(void *arg, const struct letter_view *letter,
                 const struct kafka_record *record)
{
    struct listing *l = arg;

    (void)record;
    if (!letter_matches(l->filter, letter))
        return true;
    l->meant++;
    if (l->keys_n)
        count_group(l, letter);
    else
        keep_newest(l, letter);
    return true;
}

static enum err_code read_limit(const struct cli *cli, struct listing *l,
                                struct err *err)
{
    char *end;
    long n = cli->limit ? strtol(cli->limit, &end, 10) : SHOWN_DEFAULT;

    if (cli->limit && (*end || n < 1 || n > SHOWN_MAX))
        return err_set(err, ERR_USAGE, "--limit: 1 to %d", SHOWN_MAX);
    l->room = (size_t)n;
    return cli->group_by ? read_keys(cli->group_by, l, err) : ERR_NONE;
}

static void answer_json(const struct listing *l)
{
    struct buf text;
    struct json_out j = {&text, false};

    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_put_int(&j, "meant", (int64_t)l->meant);
    if (l->keys_n)
        put_groups(l, &j);
    else
        put_newest(l, &j);
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

static void answer(const struct cli *cli, struct listing *l)
{
    qsort(l->newest, l->shown, sizeof(*l->newest), compare_newest);
    qsort(l->groups, l->groups_n, sizeof(*l->groups), compare_groups);
    if (cli_has(cli, CLI_JSON))
        answer_json(l);
    else if (l->keys_n)
        print_groups(l);
    else
        print_newest(l);
}

enum err_code dead_list_run(const struct cli *cli, const struct config *cfg,
                            struct err *err)
{
    struct letter_filter filter;
    struct letters_ends ends;
    struct listing l = {.filter = &filter};
    enum err_code code;

    if (letter_filter_read(cli, cfg, &filter, err) ||
        read_limit(cli, &l, err) || letters_ends_read(cfg, &ends, err))
        return err->code;
    l.newest = must_alloc(l.room, sizeof(*l.newest));
    l.groups = must_alloc(GROUPS_MAX, sizeof(*l.groups));
    code = letters_walk(cfg, &ends, true, take, &l, err);
    if (!code)
        answer(cli, &l);
    free(l.newest);
    free(l.groups);
    letters_ends_free(&ends);
    return code;
}
