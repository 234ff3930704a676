
#define _GNU_SOURCE

#include "log.h"
#include "clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define SLUICE_LOG_LINE   2048
#define SLUICE_LOG_KNOWN  16        /* so much of a secret gives it away     */


typedef struct sluice_log_secret_s  sluice_log_secret_t;

struct sluice_log_secret_s {
    sluice_log_secret_t  *next;             /* none that is longer           */
    size_t                len;
    char                  text[];
};


static bool sluice_log_secret_query(const char *uri);
static bool sluice_log_secret_value(const char *text, size_t len);
static int sluice_log_hex(char c);
static void sluice_log_text(char *text, size_t size, const char *fmt,
    va_list args);
static void sluice_log_cut_userinfo(char *text);
static void sluice_log_mask(char *text, const sluice_log_secret_t *secret);


static const char  *sluice_log_names[SLUICE_LOG_LEVELS] = {
    "error", "warn", "info", "debug"
};

static sluice_log_level_t    sluice_log_max = SLUICE_LOG_INFO;
static sluice_log_secret_t  *sluice_log_secrets;


void
sluice_log_level(sluice_log_level_t level)
{
    sluice_log_max = level;
}


int
sluice_log_level_parse(const char *name)
{
    int  i;

    for (i = 0; i < SLUICE_LOG_LEVELS; i++) {
        if (strcmp(name, sluice_log_names[i]) == 0) {
            return i;
        }
    }

    return -1;
}


bool
sluice_log_secret(const char *text, size_t len)
{
    sluice_log_secret_t  *secret, **at;

    /* masking every "a" would hide the log, not the secret */

    if (len < 4) {
        return true;
    }

    /* the longest first: masked, it leaves nothing of one within it */

    for (at = &sluice_log_secrets; *at != NULL; at = &(*at)->next) {

        if ((*at)->len < len) {
            break;
        }

        if ((*at)->len == len && memcmp((*at)->text, text, len) == 0) {
            return true;
        }
    }

    secret = malloc(sizeof(sluice_log_secret_t) + len);
    if (secret == NULL) {
        return false;
    }

    secret->next = *at;
    secret->len = len;
    memcpy(secret->text, text, len);

    *at = secret;

    return true;
}


bool
sluice_log_secret_uri(const char *uri)
{
    size_t       n;
    const char  *start, *end, *p;

    if (!sluice_log_secret_query(uri)) {
        return false;
    }

    start = strstr(uri, "://");
    end = strrchr(uri, '@');

    if (start == NULL || end == NULL || end < start) {
        return true;
    }

    start += 3;

    if (!sluice_log_secret(start, (size_t) (end - start))) {
        return false;
    }

    p = memchr(start, ':', (size_t) (end - start));

    if (p == NULL) {
        return true;
    }

    if (!sluice_log_secret(p + 1, (size_t) (end - p - 1))) {
        return false;
    }

    /* an unescaped one falls apart where the parser thinks it ends */

    while (++p < end) {
        n = strcspn(p, "@/:?,");

        if (!sluice_log_secret(p, n)) {
            return false;
        }

        p += n;
    }

    return true;
}


/* passwords among the options: the one of a TLS key, under all its names */

static bool
sluice_log_secret_query(const char *uri)
{
    size_t       n;
    const char  *p, *part;

    p = uri;

    while ((p = strcasestr(p, "password=")) != NULL) {
        p += sizeof("password=") - 1;
        n = strcspn(p, "&");

        if (!sluice_log_secret_value(p, n)) {
            return false;
        }

        /* an unescaped one goes on in what is no option */

        for (part = p + n; *part != '\0'; part += n) {
            part++;
            n = strcspn(part, "&");

            if (memchr(part, '=', n) == NULL
                && !sluice_log_secret_value(part, n))
            {
                return false;
            }
        }
    }

    return true;
}


/* as it is, and unescaped */

static bool
sluice_log_secret_value(const char *text, size_t len)
{
    int      high, low;
    bool     ok;
    char    *plain;
    size_t   i, n;

    plain = malloc(len + 1);
    if (plain == NULL) {
        return false;
    }

    for (i = 0, n = 0; i < len; i++) {
        plain[n++] = text[i];

        if (text[i] != '%' || len - i < 3) {
            continue;
        }

        high = sluice_log_hex(text[i + 1]);
        low = sluice_log_hex(text[i + 2]);

        if (high >= 0 && low >= 0) {
            plain[n - 1] = (char) (high << 4 | low);
            i += 2;
        }
    }

    ok = sluice_log_secret(text, len) && sluice_log_secret(plain, n);

    free(plain);

    return ok;
}


static int
sluice_log_hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;

    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}


void
sluice_log(sluice_log_level_t level, const char *fmt, ...)
{
    char             line[SLUICE_LOG_LINE];
    int              head;
    size_t           i, len;
    ssize_t          n;
    va_list          args;
    struct tm        tm;
    struct timespec  ts;

    if (level > sluice_log_max) {
        return;
    }

    clock_gettime(CLOCK_REALTIME, &ts);
    localtime_r(&ts.tv_sec, &tm);

    head = (int) strftime(line, sizeof(line), "%Y/%m/%d %H:%M:%S", &tm);
    head += snprintf(line + head, sizeof(line) - (size_t) head,
                     " [%s] %d: ", sluice_log_names[level], (int) getpid());

    va_start(args, fmt);
    sluice_log_text(line + head, sizeof(line) - 1 - (size_t) head, fmt, args);
    va_end(args);

    len = strlen(line);

    /* one event is one line, whatever a server's message or a name holds */

    for (i = (size_t) head; i < len; i++) {
        if ((unsigned char) line[i] < ' ' || line[i] == 0x7f) {
            line[i] = ' ';
        }
    }

    line[len++] = '\n';

    do {
        n = write(STDERR_FILENO, line, len);
    } while (n == -1 && errno == EINTR);
}


/* without secrets; one that the line's end cuts would not be known again */

static void
sluice_log_text(char *text, size_t size, const char *fmt, va_list args)
{
    int      n;
    char    *whole;
    va_list  again;

    va_copy(again, args);
    n = vsnprintf(text, size, fmt, args);

    if (n < 0 || (size_t) n < size) {
        sluice_log_redact(text);

    } else {
        whole = malloc((size_t) n + 1);

        if (whole != NULL) {
            vsnprintf(whole, (size_t) n + 1, fmt, again);
            sluice_log_redact(whole);
        }

        snprintf(text, size, "%s", whole != NULL ? whole
                                                 : "no memory for a line");
        free(whole);
    }

    va_end(again);
}


bool
sluice_log_due(sluice_log_limit_t *limit, uint64_t interval,
    unsigned *withheld)
{
    uint64_t  now;

    now = sluice_clock_ms();

    if (now < limit->next) {
        limit->withheld++;
        return false;
    }

    *withheld = limit->withheld;

    limit->next = now + interval;
    limit->withheld = 0;

    return true;
}


void
sluice_log_redact(char *text)
{
    const sluice_log_secret_t  *secret;

    sluice_log_cut_userinfo(text);

    for (secret = sluice_log_secrets; secret != NULL; secret = secret->next) {
        sluice_log_mask(text, secret);
    }
}


static void
sluice_log_cut_userinfo(char *text)
{
    char  *p, *at, *last;

    p = text;

    while ((p = strstr(p, "://")) != NULL) {
        p += 3;
        last = NULL;

        /*
         * The last "@": a password that should have been escaped has more,
         * and may have spaces.
         */

        for (at = p; *at != '\0' && *at != '"'; at++) {
            if (*at == '@') {
                last = at;
            }
        }

        if (last != NULL) {
            memmove(p, last + 1, strlen(last + 1) + 1);
        }
    }
}


/*
 * Never longer than it was: a secret has four bytes at least.  A message of
 * libmongoc has room for 500 bytes, and may have the beginning of a long one.
 */

static void
sluice_log_mask(char *text, const sluice_log_secret_t *secret)
{
    char    *p;
    size_t   known, len;

    known = (secret->len < SLUICE_LOG_KNOWN) ? secret->len : SLUICE_LOG_KNOWN;
    p = text;

    while ((p = memmem(p, strlen(p), secret->text, known)) != NULL) {

        for (len = known; len < secret->len; len++) {
            if (p[len] != secret->text[len]) {
                break;
            }
        }

        memcpy(p, "***", 3);
        memmove(p + 3, p + len, strlen(p + len) + 1);
        p += 3;
    }
}
