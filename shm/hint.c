
#include "hint.h"

#include <string.h>


#define SLUICE_HINT_NONE    UINT64_MAX

#define SLUICE_HINT_NAME    64                  /* bytes, the longest name   */
#define SLUICE_HINT_VALUE   128

#define SLUICE_HINT_SECOND  1000000000ull       /* ns                        */
#define SLUICE_HINT_UNIX    1000000000ull       /* from here on a number of
                                                   seconds is a Unix time... */
#define SLUICE_HINT_UNIX_MS 100000000000ull     /* ... and one of ms         */


typedef struct {
    const char  *p;
    const char  *end;
} sluice_hint_text_t;


/* a moment, UTC */
typedef struct {
    int       year;
    int       month;                            /* 1 to 12                   */
    int       day;
    int       hour;
    int       minute;
    int       second;
    uint64_t  ns;                               /* of the second             */
    int       offset;                           /* minutes east              */
} sluice_hint_date_t;


typedef enum {
    SLUICE_HINT_RESET,
    SLUICE_HINT_REMAINING,
    SLUICE_HINT_OTHER
} sluice_hint_what_t;


static sluice_hint_what_t sluice_hint_what(sluice_hint_text_t *name);
static bool sluice_hint_remains(sluice_hint_text_t value, bool *spent);
static void sluice_hint_limit(sluice_hints_t *hints, uint32_t name,
    uint64_t reset, bool spent);
static uint64_t sluice_hint_first(const sluice_hints_t *hints, bool left);
static uint64_t sluice_hint_reset(sluice_hint_text_t value, uint64_t now);
static uint64_t sluice_hint_after(sluice_hint_text_t value, uint64_t now);
static bool sluice_hint_number(sluice_hint_text_t *value, uint64_t *whole,
    sluice_hint_text_t *fraction);
static uint64_t sluice_hint_ns(uint64_t whole, sluice_hint_text_t fraction,
    uint64_t unit);
static bool sluice_hint_bare(sluice_hint_text_t value, uint64_t unit,
    uint64_t *ns);
static bool sluice_hint_duration(sluice_hint_text_t value, uint64_t *ns);
static bool sluice_hint_date(sluice_hint_text_t value, uint64_t now,
    uint64_t *ns);
static bool sluice_hint_rfc3339(sluice_hint_text_t value, uint64_t *ns);
static bool sluice_hint_match(sluice_hint_text_t *value, const char *form,
    sluice_hint_date_t *date);
static bool sluice_hint_digits(sluice_hint_text_t *value, unsigned n,
    int *number);
static bool sluice_hint_month(sluice_hint_text_t *value, int *month);
static bool sluice_hint_epoch(const sluice_hint_date_t *date, uint64_t *ns);
static int64_t sluice_hint_days(int64_t year, int month, int day);


static const struct {
    const char  *name;
    uint64_t     ns;
} sluice_hint_units[] = {
    { "ns", 1 },
    { "us", 1000 },
    { "\302\265s", 1000 },                      /* the micro sign            */
    { "\316\274s", 1000 },                      /* the Greek letter          */
    { "ms", 1000000 },
    { "s", SLUICE_HINT_SECOND },
    { "m", 60 * SLUICE_HINT_SECOND },
    { "h", 3600 * SLUICE_HINT_SECOND },
    { "d", 86400 * SLUICE_HINT_SECOND },
    { NULL, 0 }
};


static inline char
sluice_hint_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char) (c | 0x20) : c;
}


static inline bool
sluice_hint_digit(const sluice_hint_text_t *value)
{
    return value->p != value->end && *value->p >= '0' && *value->p <= '9';
}


/* whether it begins so, letters of any case; if so, that is taken off */

static bool
sluice_hint_begins(sluice_hint_text_t *text, const char *with)
{
    size_t  i;

    for (i = 0; with[i] != '\0'; i++) {
        if (text->p + i == text->end
            || sluice_hint_lower(text->p[i]) != with[i])
        {
            return false;
        }
    }

    text->p += i;

    return true;
}


static bool
sluice_hint_ends(sluice_hint_text_t *text, const char *with)
{
    size_t              len;
    sluice_hint_text_t  tail;

    len = strlen(with);

    if ((size_t) (text->end - text->p) < len) {
        return false;
    }

    tail.p = text->end - len;
    tail.end = text->end;

    if (!sluice_hint_begins(&tail, with)) {
        return false;
    }

    text->end -= len;

    return true;
}


static inline uint64_t
sluice_hint_sum(uint64_t a, uint64_t b)
{
    return (a <= UINT64_MAX - b) ? a + b : UINT64_MAX;
}


/* rounded up: a moment too early would be refused again */

static uint64_t
sluice_hint_ms(uint64_t ns)
{
    ns = ns / 1000000 + (ns % 1000000 != 0);

    return (ns < SLUICE_HINT_MAX) ? ns : SLUICE_HINT_MAX;
}


/* from now to a time, both since 1970 */

static uint64_t
sluice_hint_until(uint64_t ns, uint64_t now)
{
    return (ns / 1000 >= now) ? sluice_hint_ms(ns - now * 1000) : 0;
}


void
sluice_hints_init(sluice_hints_t *hints, uint64_t now)
{
    memset(hints, 0, sizeof(sluice_hints_t));

    hints->now = now;
    hints->retry_ms = SLUICE_HINT_NONE;
    hints->retry_after = SLUICE_HINT_NONE;
}


void
sluice_hints_add(sluice_hints_t *hints, const char *name, size_t name_len,
    const char *value, size_t len)
{
    bool                spent;
    char                c;
    uint32_t            hash;
    uint64_t            ns, ms;
    sluice_hint_text_t  n, v;

    /* no hint is longer: whatever is, is passed over without being read */

    if (name_len < sizeof("retry-after") - 1 || name_len > SLUICE_HINT_NAME
        || len > SLUICE_HINT_VALUE)
    {
        return;
    }

    c = sluice_hint_lower(name[0]);

    if (c != 'r' && c != 'x' && c != 'a') {
        return;
    }

    n.p = name;
    n.end = name + name_len;
    v.p = value;
    v.end = value + len;

    while (v.p != v.end && (*v.p == ' ' || *v.p == '\t')) {
        v.p++;
    }

    while (v.p != v.end && (v.end[-1] == ' ' || v.end[-1] == '\t')) {
        v.end--;
    }

    if (sluice_hint_begins(&n, "retry-after")) {

        if (n.p == n.end) {
            ms = sluice_hint_after(v, hints->now);

            if (ms != SLUICE_HINT_NONE
                && (hints->retry_after == SLUICE_HINT_NONE
                    || hints->retry_after < ms))
            {
                hints->retry_after = ms;
            }

        } else if (sluice_hint_begins(&n, "-ms") && n.p == n.end
                   && sluice_hint_bare(v, 1000000, &ns))
        {
            ms = sluice_hint_ms(ns);

            if (hints->retry_ms == SLUICE_HINT_NONE || hints->retry_ms < ms) {
                hints->retry_ms = ms;
            }
        }

        return;
    }

    /* the same name with another of these is another limit */

    if (sluice_hint_begins(&n, "x-ratelimit-")) {
        hash = 1;

    } else if (sluice_hint_begins(&n, "ratelimit-")) {
        hash = 2;

    } else if (sluice_hint_begins(&n, "anthropic-ratelimit-")) {
        hash = 3;

    } else {
        return;
    }

    spent = false;

    switch (sluice_hint_what(&n)) {

    case SLUICE_HINT_RESET:
        ms = sluice_hint_reset(v, hints->now);

        if (ms == SLUICE_HINT_NONE) {
            return;
        }

        break;

    case SLUICE_HINT_REMAINING:
        if (!sluice_hint_remains(v, &spent)) {
            return;
        }

        ms = SLUICE_HINT_NONE;
        break;

    default:
        return;
    }

    /* FNV-1a: who makes two names of one hash delays only himself */

    for (hash ^= 2166136261u; n.p != n.end; n.p++) {
        hash = (hash ^ (uint8_t) sluice_hint_lower(*n.p)) * 16777619u;
    }

    sluice_hint_limit(hints, hash, ms, spent);
}


/* leaves the limit's own name: of "reset-requests", "requests-reset" */

static sluice_hint_what_t
sluice_hint_what(sluice_hint_text_t *name)
{
    unsigned            i;
    sluice_hint_text_t  n;

    static const char  *heads[] = { "reset", "remaining" };
    static const char  *tails[] = { "-reset", "-remaining" };

    for (i = 0; i < SLUICE_HINT_OTHER; i++) {

        n = *name;

        if (sluice_hint_begins(&n, heads[i])
            && (n.p == n.end || sluice_hint_begins(&n, "-")))
        {
            *name = n;
            return (sluice_hint_what_t) i;
        }

        if (sluice_hint_ends(name, tails[i])) {
            return (sluice_hint_what_t) i;
        }
    }

    return SLUICE_HINT_OTHER;
}


/* nothing remains, or less: what was used is known afterwards only */

static bool
sluice_hint_remains(sluice_hint_text_t value, bool *spent)
{
    bool                less;
    uint64_t            whole;
    sluice_hint_text_t  fraction;

    less = (value.p != value.end && *value.p == '-');
    value.p += less;

    if (!sluice_hint_number(&value, &whole, &fraction)
        || value.p != value.end)
    {
        return false;
    }

    *spent = less || (whole == 0 && sluice_hint_ns(0, fraction, 1) == 0);

    return true;
}


/* reset: NONE if this is what remains */

static void
sluice_hint_limit(sluice_hints_t *hints, uint32_t name, uint64_t reset,
    bool spent)
{
    unsigned  i;

    for (i = 0; i < hints->n; i++) {
        if (hints->limit[i].name == name) {
            break;
        }
    }

    if (i == hints->n) {
        if (i == SLUICE_HINT_LIMITS) {
            return;
        }

        hints->n++;
        hints->limit[i].name = name;
        hints->limit[i].reset = SLUICE_HINT_NONE;
    }

    if (reset == SLUICE_HINT_NONE) {
        hints->limit[i].spent |= spent;
        hints->limit[i].left |= !spent;

    } else if (hints->limit[i].reset == SLUICE_HINT_NONE
               || hints->limit[i].reset < reset)
    {
        hints->limit[i].reset = reset;
    }
}


uint64_t
sluice_hints_wait(const sluice_hints_t *hints, bool limited, uint64_t guess)
{
    bool      spent;
    unsigned  i;
    uint64_t  wait;

    if (hints->retry_ms != SLUICE_HINT_NONE) {
        return hints->retry_ms;
    }

    if (hints->retry_after != SLUICE_HINT_NONE) {
        return hints->retry_after;
    }

    wait = SLUICE_HINT_NONE;
    spent = false;

    for (i = 0; i < hints->n; i++) {

        if (!hints->limit[i].spent) {
            continue;
        }

        spent = true;

        if (hints->limit[i].reset != SLUICE_HINT_NONE
            && (wait == SLUICE_HINT_NONE || wait < hints->limit[i].reset))
        {
            wait = hints->limit[i].reset;
        }
    }

    if (spent || !limited) {
        return wait;
    }

    wait = sluice_hint_first(hints, false);

    if (wait != SLUICE_HINT_NONE) {
        return wait;
    }

    wait = sluice_hint_first(hints, true);

    return (wait < guess) ? wait : SLUICE_HINT_NONE;
}


/*
 * When the first of the limits that are not whole will be.  Not at once: of
 * some that are nearly so it may be none.
 */

static uint64_t
sluice_hint_first(const sluice_hints_t *hints, bool left)
{
    unsigned  i;
    uint64_t  first;

    first = SLUICE_HINT_NONE;

    for (i = 0; i < hints->n; i++) {
        if (hints->limit[i].left == left && hints->limit[i].reset != 0
            && hints->limit[i].reset < first)
        {
            first = hints->limit[i].reset;
        }
    }

    return (first > SLUICE_HINT_LEAST) ? first : SLUICE_HINT_LEAST;
}


static uint64_t
sluice_hint_after(sluice_hint_text_t value, uint64_t now)
{
    uint64_t  ns;

    if (sluice_hint_bare(value, SLUICE_HINT_SECOND, &ns)) {
        return sluice_hint_ms(ns);
    }

    if (sluice_hint_date(value, now, &ns)) {
        return sluice_hint_until(ns, now);
    }

    return SLUICE_HINT_NONE;
}


static uint64_t
sluice_hint_reset(sluice_hint_text_t value, uint64_t now)
{
    uint64_t            ns, whole;
    sluice_hint_text_t  rest, fraction;

    rest = value;

    if (sluice_hint_number(&rest, &whole, &fraction) && rest.p == rest.end) {

        /* no limit is whole again in thirty years only: it is a date */

        if (whole < SLUICE_HINT_UNIX) {
            return sluice_hint_ms(sluice_hint_ns(whole, fraction,
                                                 SLUICE_HINT_SECOND));
        }

        ns = (whole < SLUICE_HINT_UNIX_MS)
             ? sluice_hint_ns(whole, fraction, SLUICE_HINT_SECOND)
             : sluice_hint_ns(whole, fraction, 1000000);

        return sluice_hint_until(ns, now);
    }

    if (sluice_hint_duration(value, &ns)) {
        return sluice_hint_ms(ns);
    }

    if (sluice_hint_rfc3339(value, &ns)) {
        return sluice_hint_until(ns, now);
    }

    return SLUICE_HINT_NONE;
}


/*
 * Takes off "12" or "12.5".  whole saturates; no sign, no exponent, and digits
 * on both sides of a point.
 */

static bool
sluice_hint_number(sluice_hint_text_t *value, uint64_t *whole,
    sluice_hint_text_t *fraction)
{
    uint64_t  n, digit;

    if (!sluice_hint_digit(value)) {
        return false;
    }

    for (n = 0; sluice_hint_digit(value); value->p++) {
        digit = (uint64_t) (*value->p - '0');
        n = (n <= (UINT64_MAX - digit) / 10) ? n * 10 + digit : UINT64_MAX;
    }

    *whole = n;

    fraction->p = value->p;
    fraction->end = value->p;

    if (value->p == value->end || *value->p != '.') {
        return true;
    }

    value->p++;

    if (!sluice_hint_digit(value)) {
        return false;
    }

    fraction->p = value->p;

    while (sluice_hint_digit(value)) {
        value->p++;
    }

    fraction->end = value->p;

    return true;
}


/* so many of a unit, in ns, rounded up; saturates */

static uint64_t
sluice_hint_ns(uint64_t whole, sluice_hint_text_t fraction, uint64_t unit)
{
    bool      more;
    uint64_t  ns, part, digit;

    if (whole > UINT64_MAX / unit) {
        return UINT64_MAX;
    }

    ns = whole * unit;
    more = false;

    /* a tenth of a unit is whole ns, down to a few of them */

    for (part = unit; fraction.p != fraction.end; fraction.p++) {
        digit = (uint64_t) (*fraction.p - '0');
        part /= 10;

        ns = sluice_hint_sum(ns, part * digit);
        more |= (part == 0 && digit != 0);
    }

    return sluice_hint_sum(ns, more);
}


/* a number and nothing else */

static bool
sluice_hint_bare(sluice_hint_text_t value, uint64_t unit, uint64_t *ns)
{
    uint64_t            whole;
    sluice_hint_text_t  fraction;

    if (!sluice_hint_number(&value, &whole, &fraction)
        || value.p != value.end)
    {
        return false;
    }

    *ns = sluice_hint_ns(whole, fraction, unit);

    return true;
}


/* as Go prints them, and with days; the order of the units is not asked */

static bool
sluice_hint_duration(sluice_hint_text_t value, uint64_t *ns)
{
    unsigned            i;
    uint64_t            whole;
    sluice_hint_text_t  unit, fraction;

    *ns = 0;

    do {
        if (!sluice_hint_number(&value, &whole, &fraction)) {
            return false;
        }

        unit.p = value.p;

        while (value.p != value.end && !sluice_hint_digit(&value)) {
            value.p++;
        }

        unit.end = value.p;

        for (i = 0; sluice_hint_units[i].name != NULL; i++) {
            if (strlen(sluice_hint_units[i].name)
                == (size_t) (unit.end - unit.p)
                && memcmp(unit.p, sluice_hint_units[i].name,
                          (size_t) (unit.end - unit.p)) == 0)
            {
                break;
            }
        }

        if (sluice_hint_units[i].name == NULL) {
            return false;
        }

        *ns = sluice_hint_sum(*ns, sluice_hint_ns(whole, fraction,
                                                  sluice_hint_units[i].ns));

    } while (value.p != value.end);

    return true;
}


/* HTTP's three (RFC 9110, 5.6.7); the name of the day is not asked */

static bool
sluice_hint_date(sluice_hint_text_t value, uint64_t now, uint64_t *ns)
{
    int64_t              later;
    sluice_hint_text_t   v;
    sluice_hint_date_t   date;

    v = value;

    if (sluice_hint_match(&v, "W, d b Y H:M:S G", &date) && v.p == v.end) {
        return sluice_hint_epoch(&date, ns);
    }

    v = value;

    if (sluice_hint_match(&v, "W b e H:M:S Y", &date) && v.p == v.end) {
        return sluice_hint_epoch(&date, ns);
    }

    v = value;

    if (!sluice_hint_match(&v, "W, d-b-y H:M:S G", &date)
        || v.p != v.end)
    {
        return false;
    }

    /* of the years that end so, the last not more than fifty ahead */

    later = (int64_t) (now / 86400000000) + 18262;
    date.year += 2400;

    while (sluice_hint_days(date.year, date.month, date.day) > later) {
        date.year -= 100;
    }

    return sluice_hint_epoch(&date, ns);
}


static bool
sluice_hint_rfc3339(sluice_hint_text_t value, uint64_t *ns)
{
    bool                 west;
    int                  hour, minute;
    sluice_hint_text_t   fraction;
    sluice_hint_date_t   date;

    if (!sluice_hint_match(&value, "Y-m-dTH:M:S", &date)) {
        return false;
    }

    if (sluice_hint_begins(&value, ".")) {

        fraction.p = value.p;

        while (sluice_hint_digit(&value)) {
            value.p++;
        }

        fraction.end = value.p;

        if (fraction.p == fraction.end) {
            return false;
        }

        date.ns = sluice_hint_ns(0, fraction, SLUICE_HINT_SECOND);
    }

    if (sluice_hint_begins(&value, "z")) {
        return value.p == value.end && sluice_hint_epoch(&date, ns);
    }

    west = sluice_hint_begins(&value, "-");

    if ((!west && !sluice_hint_begins(&value, "+"))
        || !sluice_hint_digits(&value, 2, &hour) || hour > 23
        || !sluice_hint_begins(&value, ":")
        || !sluice_hint_digits(&value, 2, &minute) || minute > 59
        || value.p != value.end)
    {
        return false;
    }

    date.offset = west ? -(hour * 60 + minute) : hour * 60 + minute;

    return sluice_hint_epoch(&date, ns);
}


/*
 * Letters stand for fields, as strftime()'s where it has one; y is the year of
 * a century, W any name of a day, G "GMT"; the rest stands for itself.
 */

static bool
sluice_hint_match(sluice_hint_text_t *value, const char *form,
    sluice_hint_date_t *date)
{
    bool         well;
    const char  *p;

    memset(date, 0, sizeof(sluice_hint_date_t));
    date->month = 1;

    for ( /* void */ ; *form != '\0'; form++) {

        switch (*form) {

        case 'Y':
            well = sluice_hint_digits(value, 4, &date->year);
            break;

        case 'y':
            well = sluice_hint_digits(value, 2, &date->year);
            break;

        case 'm':
            well = sluice_hint_digits(value, 2, &date->month);
            break;

        case 'b':
            well = sluice_hint_month(value, &date->month);
            break;

        case 'e':
            well = sluice_hint_begins(value, " ")
                   ? sluice_hint_digits(value, 1, &date->day)
                   : sluice_hint_digits(value, 2, &date->day);
            break;

        case 'd':
            well = sluice_hint_digits(value, 2, &date->day);
            break;

        case 'H':
            well = sluice_hint_digits(value, 2, &date->hour);
            break;

        case 'M':
            well = sluice_hint_digits(value, 2, &date->minute);
            break;

        case 'S':
            well = sluice_hint_digits(value, 2, &date->second);
            break;

        case 'T':
            well = sluice_hint_begins(value, "t")
                   || sluice_hint_begins(value, " ");
            break;

        case 'G':
            well = sluice_hint_begins(value, "gmt");
            break;

        case 'W':
            p = value->p;

            while (value->p != value->end
                   && sluice_hint_lower(*value->p) >= 'a'
                   && sluice_hint_lower(*value->p) <= 'z')
            {
                value->p++;
            }

            well = (value->p - p >= 3);
            break;

        default:
            well = (value->p != value->end && *value->p == *form);
            value->p += well;
        }

        if (!well) {
            return false;
        }
    }

    return true;
}


static bool
sluice_hint_digits(sluice_hint_text_t *value, unsigned n, int *number)
{
    for (*number = 0; n != 0; n--) {
        if (!sluice_hint_digit(value)) {
            return false;
        }

        *number = *number * 10 + (*value->p++ - '0');
    }

    return true;
}


static bool
sluice_hint_month(sluice_hint_text_t *value, int *month)
{
    int  i;

    static const char  *names[] = { "jan", "feb", "mar", "apr", "may", "jun",
                                    "jul", "aug", "sep", "oct", "nov",
                                    "dec" };

    for (i = 0; i < 12; i++) {
        if (sluice_hint_begins(value, names[i])) {
            *month = i + 1;
            return true;
        }
    }

    return false;
}


/* since 1970; what was before is 0; saturates in 2554.  false: no such day */

static bool
sluice_hint_epoch(const sluice_hint_date_t *date, uint64_t *ns)
{
    int64_t  first, seconds;

    if (date->month < 1 || date->month > 12 || date->hour > 23
        || date->minute > 59 || date->second > 60)
    {
        return false;
    }

    first = sluice_hint_days(date->year, date->month, 1);

    if (date->day < 1
        || first + date->day > (date->month == 12
                                ? sluice_hint_days(date->year + 1, 1, 1)
                                : sluice_hint_days(date->year,
                                                   date->month + 1, 1)))
    {
        return false;
    }

    seconds = (first + date->day - 1) * 86400 + date->hour * 3600
              + (date->minute - date->offset) * 60 + date->second;

    if (seconds < 0) {
        *ns = 0;

    } else if ((uint64_t) seconds >= UINT64_MAX / SLUICE_HINT_SECOND - 1) {
        *ns = UINT64_MAX;

    } else {
        *ns = (uint64_t) seconds * SLUICE_HINT_SECOND + date->ns;
    }

    return true;
}


/*
 * Days from 1970-01-01, in the Gregorian calendar: eras of 400 years, which
 * begin in March, so that the odd day comes last (H. Hinnant, "chrono-
 * Compatible Low-Level Date Algorithms", days_from_civil).
 */

static int64_t
sluice_hint_days(int64_t year, int month, int day)
{
    int64_t  era, y, in_year;

    /* from 400 on, so that nothing here is negative */

    year += 400 - (month <= 2);
    era = year / 400;
    y = year % 400;
    in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return (era - 1) * 146097 + y * 365 + y / 4 - y / 100 + in_year - 719468;
}
