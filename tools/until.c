/*
 * Durations of one number and one letter; more is nobody's habit.
 */
#include "tools/until.h"

#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

#define DURATION_MAX_S (INT64_C(366) * 86400)
#define DIGITS_MAX 9

enum err_code duration_read(const char *text, const char *option,
                            int64_t *ret_s, struct err *err)
{
    static const char units[] = "smhd";
    static const int64_t seconds[] = {1, 60, 3600, 86400};
    size_t digits = strspn(text, "0123456789");
    const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;
    int64_t s;

    if (!digits || digits > DIGITS_MAX || !unit || text[digits + 1])
        return err_set(err, ERR_USAGE,
                       "--%s: \"%.40s\" is not like 90s, 30m, 2h or 7d", option,
                       text);
    s = strtoll(text, NULL, 10) * seconds[unit - units];
    if (s < 1 || s > DURATION_MAX_S)
        return err_set(err, ERR_USAGE, "--%s: 1s to 366d", option);
    *ret_s = s;
    return ERR_NONE;
}

enum err_code until_read(const char *text, char ret[UNTIL_SIZE],
                         struct err *err)
{
    int64_t now = clock_wall_at(), at, s;
    struct err no;

    if (clock_parse(text, strlen(text), &at, &no)) {
        if (duration_read(text, "until", &s, err))
            return err->code;
        at = now + s * US_PER_S;
    }
    if (at <= now)
        return err_set(err, ERR_USAGE, "--until: that time is over");
    clock_format(at, 3, ret);
    return ERR_NONE;
}

enum err_code moment_read(const char *text, const char *option, int64_t *ret_at,
                          struct err *err)
{
    struct err no;
    int64_t s;

    if (!clock_parse(text, strlen(text), ret_at, &no))
        return ERR_NONE;
    if (duration_read(text, option, &s, &no))
        return err_set(err, ERR_USAGE,
                       "--%s: \"%.40s\" is neither a time such as "
                       "2026-11-21T07:46:00Z nor how long ago, such as 2h",
                       option, text);
    *ret_at = clock_wall_at() - s * US_PER_S;
    return ERR_NONE;
}
