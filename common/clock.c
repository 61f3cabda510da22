/*
 * Reading the clocks, and dates as text. Calendar arithmetic is done here (the
 * proleptic Gregorian calendar, days counted from 1970-01-01) because the C
 * library's functions look at the process's time zone or at hidden state.
 */
#include "common/clock.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#define SECONDS_PER_DAY 86400
#define EAT_OFFSET_S (3 * 3600) /* Kenya has had no other since 1960 */
#define DAYS_MAX 2932896        /* 9999-12-31 */
#define LAST_AT (((DAYS_MAX + INT64_C(1)) * SECONDS_PER_DAY) * US_PER_S - 1)
/* RFC 3339 sets no end to a fraction's digits; we do. */
#define TEXT_MAX 64

struct date {
    int year, month, day, hour, minute, second;
};

/* A text that is being read; `bad` is the sum of all steps. */
struct cursor {
    const char *p, *end;
    bool bad;
};

static int64_t read_us(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

int64_t clock_now_us(void)
{
    return read_us(CLOCK_BOOTTIME);
}

int64_t clock_wall_at(void)
{
    return read_us(CLOCK_REALTIME);
}

/* Days since 1970-01-01. Years begin in March here, so that the leap day is
   the last of a year and months have a closed form. */
static int64_t days_of(int year, int month, int day)
{
    int y = month > 2 ? year : year - 1;
    int m = month > 2 ? month - 3 : month + 9;
    int64_t leaps = y / 4 - y / 100 + y / 400;

    return INT64_C(365) * y + leaps + (153 * m + 2) / 5 + day - 1 - 719468;
}

/* The other direction, over eras of 400 years. @p days is 0 or more. */
static void date_of(int64_t days, struct date *ret)
{
    int64_t z = days + 719468;
    int era = (int)(z / 146097);
    int doe = (int)(z % 146097);
    int yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int m = (5 * doy + 2) / 153;

    ret->day = doy - (153 * m + 2) / 5 + 1;
    ret->month = m < 10 ? m + 3 : m - 9;
    ret->year = 400 * era + yoe + (ret->month <= 2);
}

static void split(int64_t at_s, struct date *ret)
{
    int of_day = (int)(at_s % SECONDS_PER_DAY);

    date_of(at_s / SECONDS_PER_DAY, ret);
    ret->hour = of_day / 3600;
    ret->minute = of_day / 60 % 60;
    ret->second = of_day % 60;
}

/* Writes @p n digits of @p value and returns what follows them. */
static char *put(char *p, int value, int n)
{
    for (int i = n - 1; i >= 0; i--) {
        p[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return p + n;
}

static char *put_after(char *p, char mark, int value, int n)
{
    *p = mark;
    return put(p + 1, value, n);
}

void clock_format(int64_t at, int digits, char out[CLOCK_TEXT_SIZE])
{
    int64_t us = MIN(MAX(at, 0), LAST_AT);
    int fraction = (int)(us % US_PER_S);
    struct date d;
    char *p;

    split(us / US_PER_S, &d);
    p = put(out, d.year, 4);
    p = put_after(p, '-', d.month, 2);
    p = put_after(p, '-', d.day, 2);
    p = put_after(p, 'T', d.hour, 2);
    p = put_after(p, ':', d.minute, 2);
    p = put_after(p, ':', d.second, 2);
    if (digits == 3)
        p = put_after(p, '.', fraction / 1000, 3);
    else if (digits == 6)
        p = put_after(p, '.', fraction, 6);
    memcpy(p, "Z", 2);
}

void clock_format_eat(int64_t at, char out[15])
{
    int64_t us = MIN(MAX(at, 0), LAST_AT - EAT_OFFSET_S * US_PER_S);
    struct date d;
    char *p;

    split(us / US_PER_S + EAT_OFFSET_S, &d);
    p = put(out, d.year, 4);
    p = put(p, d.month, 2);
    p = put(p, d.day, 2);
    p = put(p, d.hour, 2);
    p = put(p, d.minute, 2);
    p = put(p, d.second, 2);
    *p = '\0';
}

/* --- reading --- */

static int get(struct cursor *c, int digits)
{
    int value = 0;

    for (int i = 0; i < digits; i++) {
        if (c->p == c->end || *c->p < '0' || *c->p > '9') {
            c->bad = true;
            return 0;
        }
        value = 10 * value + (*c->p++ - '0');
    }
    return value;
}

static bool next_is(struct cursor *c, const char *any_of)
{
    if (c->p == c->end || *c->p == '\0' || !strchr(any_of, *c->p))
        return false;
    c->p++;
    return true;
}

static int get_after(struct cursor *c, const char *mark, int digits)
{
    if (!next_is(c, mark))
        c->bad = true;
    return get(c, digits);
}

/* Microseconds of ".123456789"; what is finer is cut. */
static int get_fraction(struct cursor *c)
{
    int us = 0;
    int unit = (int)US_PER_S / 10;

    if (!next_is(c, "."))
        return 0;
    us = get(c, 1) * unit;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9') {
        unit /= 10;
        us += (*c->p++ - '0') * unit;
    }
    return us;
}

/* Seconds east of Greenwich of "Z", "+03:00". */
static int get_offset(struct cursor *c)
{
    int sign, hours, minutes;

    if (next_is(c, "Zz"))
        return 0;
    sign = c->p < c->end && *c->p == '-' ? -1 : 1;
    hours = get_after(c, "+-", 2);
    minutes = get_after(c, ":", 2);
    if (hours > 23 || minutes > 59)
        c->bad = true;
    return sign * (3600 * hours + 60 * minutes);
}

static bool date_ok(const struct date *d)
{
    static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = d->year % 4 == 0 && (d->year % 100 != 0 || d->year % 400 == 0);

    if (d->month < 1 || d->month > 12 || d->day < 1)
        return false;
    if (d->day > days[d->month - 1] + (leap && d->month == 2))
        return false;
    return d->hour <= 23 && d->minute <= 59 && d->second <= 60;
}

/* Seconds since 1970. A leap second counts as the next minute's first. */
static int64_t seconds_of(const struct date *d)
{
    return days_of(d->year, d->month, d->day) * SECONDS_PER_DAY +
           3600 * d->hour + 60 * d->minute + d->second;
}

static bool leap_second_ok(const struct date *d, int64_t at_s)
{
    return d->second < 60 || at_s % SECONDS_PER_DAY == 0;
}

enum err_code clock_parse(const char *text, size_t len, int64_t *ret_at,
                          struct err *err)
{
    struct cursor c = {.p = text, .end = text + len, .bad = len > TEXT_MAX};
    struct date d;
    int64_t at_s;
    int us;

    d.year = get(&c, 4);
    d.month = get_after(&c, "-", 2);
    d.day = get_after(&c, "-", 2);
    d.hour = get_after(&c, "Tt", 2);
    d.minute = get_after(&c, ":", 2);
    d.second = get_after(&c, ":", 2);
    us = get_fraction(&c);
    at_s = -get_offset(&c);
    if (c.bad || c.p != c.end || !date_ok(&d))
        return err_set(err, ERR_INPUT, "not a time as in RFC 3339");
    at_s += seconds_of(&d);
    if (!leap_second_ok(&d, at_s))
        return err_set(err, ERR_INPUT, "no leap second at that time");
    if (at_s < 0 || at_s > LAST_AT / US_PER_S)
        return err_set(err, ERR_INPUT, "time is not within 1970 to 9999");
    *ret_at = at_s * US_PER_S + us;
    return ERR_NONE;
}

enum err_code clock_parse_eat(const char *text, size_t len, int64_t *ret_at,
                              struct err *err)
{
    struct cursor c = {.p = text, .end = text + len};
    struct date d;
    int64_t at_s;

    d.year = get(&c, 4);
    d.month = get(&c, 2);
    d.day = get(&c, 2);
    d.hour = get(&c, 2);
    d.minute = get(&c, 2);
    d.second = get(&c, 2);
    if (c.bad || c.p != c.end || !date_ok(&d) || d.second > 59)
        return err_set(err, ERR_INPUT, "not a time as yyyyMMddHHmmss");
    at_s = seconds_of(&d) - EAT_OFFSET_S;
    if (at_s < 0)
        return err_set(err, ERR_INPUT, "time is before 1970");
    *ret_at = at_s * US_PER_S;
    return ERR_NONE;
}
