
#define _GNU_SOURCE

#include "log.h"
#include "clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define SLUICE_LOG_LINE     2048
#define SLUICE_LOG_SECRETS  8


static void sluice_log_cut_userinfo(char *text);
static void sluice_log_mask(char *text, const char *secret);


static const char  *sluice_log_names[SLUICE_LOG_LEVELS] = {
    "error", "warn", "info", "debug"
};

static sluice_log_level_t  sluice_log_max = SLUICE_LOG_INFO;
static char                sluice_log_secrets[SLUICE_LOG_SECRETS][256];
static unsigned            sluice_log_nsecrets;


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


void
sluice_log_secret(const char *text, size_t len)
{
    char  *to;

    /* masking every "a" would hide the log, not the secret */

    if (len < 4 || sluice_log_nsecrets == SLUICE_LOG_SECRETS) {
        return;
    }

    to = sluice_log_secrets[sluice_log_nsecrets++];

    if (len >= sizeof(sluice_log_secrets[0])) {
        len = sizeof(sluice_log_secrets[0]) - 1;
    }

    memcpy(to, text, len);
    to[len] = '\0';
}


void
sluice_log_secret_uri(const char *uri)
{
    size_t       n;
    const char  *start, *end, *p;

    start = strstr(uri, "://");
    end = strrchr(uri, '@');

    if (start == NULL || end == NULL || end < start) {
        return;
    }

    start += 3;

    sluice_log_secret(start, (size_t) (end - start));

    p = memchr(start, ':', (size_t) (end - start));

    if (p == NULL) {
        return;
    }

    sluice_log_secret(p + 1, (size_t) (end - p - 1));

    /* an unescaped one falls apart where the parser thinks it ends */

    while (++p < end) {
        n = strcspn(p, "@/:?,");
        sluice_log_secret(p, n);
        p += n;
    }
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
    vsnprintf(line + head, sizeof(line) - 1 - (size_t) head, fmt, args);
    va_end(args);

    sluice_log_redact(line + head);

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
    unsigned  i;

    sluice_log_cut_userinfo(text);

    for (i = 0; i < sluice_log_nsecrets; i++) {
        sluice_log_mask(text, sluice_log_secrets[i]);
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


/* never longer than it was: a secret has four bytes at least */

static void
sluice_log_mask(char *text, const char *secret)
{
    char    *p;
    size_t   len;

    len = strlen(secret);
    p = text;

    while ((p = strstr(p, secret)) != NULL) {
        memcpy(p, "***", 3);
        memmove(p + 3, p + len, strlen(p + len) + 1);
        p += 3;
    }
}
