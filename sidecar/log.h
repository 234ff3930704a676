
/*
 * One line an event to the standard error, as nginx's error log has them:
 *
 *   2024/05/17 09:30:00 [warn] 4711: MongoDB is away: ...
 *
 * No line carries a password: what stands between "://" and "@" is cut out of
 * every one, and so is each secret that was told to sluice_log_secret().
 * Any thread; secrets and level are set before the second one starts.
 */

#ifndef SLUICE_LOG_H
#define SLUICE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


typedef enum {
    SLUICE_LOG_ERROR = 0,
    SLUICE_LOG_WARN,
    SLUICE_LOG_INFO,
    SLUICE_LOG_DEBUG,
    SLUICE_LOG_LEVELS
} sluice_log_level_t;


/* for an event that repeats: zeroed at first, one caller at a time */
typedef struct {
    uint64_t  next;             /* monotonic ms: not before                  */
    unsigned  withheld;
} sluice_log_limit_t;


void sluice_log_level(sluice_log_level_t level);

/* -1 for a word that is no level */
int sluice_log_level_parse(const char *name);

/*
 * From now on "***" stands for it, whatever its length, and for what begins
 * as it does with 16 bytes; shorter than 4 bytes: not masked.  false: no
 * memory to keep it, and lines may have it.
 */
bool sluice_log_secret(const char *text, size_t len);

/*
 * For a URI, before anything parses it: what is between "://" and the last
 * "@" is a secret, as a whole and in the parts that a message might show;
 * so is what an option holds whose name ends in "password".  false: no memory
 * to keep them all.
 */
bool sluice_log_secret_uri(const char *uri);

void sluice_log(sluice_log_level_t level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Whether the event may be told now, once in `interval` ms; `*withheld` is
 * how often it was not since the last time.
 */
bool sluice_log_due(sluice_log_limit_t *limit, uint64_t interval,
    unsigned *withheld);

/* cuts userinfo and secrets out of a text, in place */
void sluice_log_redact(char *text);


#endif /* SLUICE_LOG_H */
