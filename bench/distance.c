
/*
 * How far the two weighted windows are from a log of every admission.
 *
 *   distance [KEYS] [LIMIT]
 *
 * Plays the same traffic to a real table, on a clock of its own, and to a log
 * that has the time of everything it admitted.  Told are, in shares of all
 * requests, what the table admitted and the log did not, the other way round,
 * and the most that the table admitted in any window's length, wherever it
 * begins, as a share of the limit beyond it.
 *
 * "Estimate" is the error without its consequences: every request is counted,
 * admitted or not, and wrong is what is above the limit by two windows and not
 * by the log, or the other way round.
 *
 * The same numbers on every machine.
 *
 * Keys do not meet: each is played to its end, then the clock goes on with
 * the next.
 */

#define _GNU_SOURCE

#include "limit.h"
#include "table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define DISTANCE_WINDOW     60000u      /* ms                                */
#define DISTANCE_WINDOWS    50u         /* that a key is played for          */
#define DISTANCE_LIMIT_MAX  10000u


/* one key's traffic; times in ms from its beginning, which is a window's */
typedef struct {
    uint64_t  seed;
    double    rate;                     /* requests a ms                     */
    double    time;
    uint64_t  left;                     /* of a burst                        */
    uint32_t  limit;
} distance_source_t;

typedef struct {
    const char  *name;
    void       (*begin)(distance_source_t *source);
    void       (*next)(distance_source_t *source);
} distance_traffic_t;

/* times within the last window's length */
typedef struct {
    uint64_t  *time;
    uint64_t   size;
    uint64_t   first;
    uint64_t   end;
} distance_log_t;

typedef struct {
    sluice_limit_t  table;
    sluice_hash_t   key;
    sluice_hash_t   key_of_all;
    uint32_t        max;
    distance_log_t  admitted;           /* by the table                      */
    distance_log_t  log;                /* by the log                        */
    distance_log_t  all;
} distance_limits_t;

typedef struct {
    uint64_t  decisions;
    uint64_t  refused;
    uint64_t  wrongly_admitted;
    uint64_t  wrongly_refused;
    uint64_t  wrongly_estimated;
    uint64_t  most;
} distance_sum_t;


static uint64_t  distance_now;


static uint64_t
distance_clock(void)
{
    return distance_now;
}


/* above 0, up to 1 */

static double
distance_uniform(distance_source_t *source)
{
    return (double) (table_random(&source->seed, 1u << 31) + 1) / 0x1p31;
}


static double
distance_exponential(distance_source_t *source, double mean)
{
    return -log(distance_uniform(source)) * mean;
}


static double
distance_full_rate(const distance_source_t *source)
{
    return (double) source->limit / DISTANCE_WINDOW;
}


/* Poisson, each key at a rate of its own from a fifth of the limit to twice */

static void
steady_begin(distance_source_t *source)
{
    source->rate = distance_full_rate(source)
                   * 0.2 * pow(10, distance_uniform(source));
}


static void
steady_next(distance_source_t *source)
{
    source->time += distance_exponential(source, 1 / source->rate);
}


/*
 * Poisson, rates as many clients of one service have them: most far below
 * the limit, few above (Pareto with exponent 1.2 from 2 % of the limit).
 */

static void
many_begin(distance_source_t *source)
{
    double  share;

    share = 0.02 * pow(distance_uniform(source), -1 / 1.2);
    source->rate = distance_full_rate(source) * (share < 20 ? share : 20);
}


/* bursts of up to the limit, 20 times as fast as it, and pauses */

static void
bursty_next(distance_source_t *source)
{
    if (source->left == 0) {
        source->left = 1 + table_random(&source->seed, source->limit);
        source->time += distance_exponential(source, DISTANCE_WINDOW / 2.0);
        return;
    }

    source->left--;
    source->time += distance_exponential(source,
                                         1 / distance_full_rate(source) / 20);
}


/* a job once a minute that asks four fifths of the limit at once */

static void
cron_begin(distance_source_t *source)
{
    source->time = (double) table_random(&source->seed, DISTANCE_WINDOW);
    source->left = source->limit * 4 / 5;
}


static void
cron_next(distance_source_t *source)
{
    if (source->left == 0) {
        source->left = source->limit * 4 / 5;
        source->time += DISTANCE_WINDOW * (0.95 + 0.1
                                           * distance_uniform(source));
        return;
    }

    source->left--;
    source->time += 1;
}


/* never stops: ten times the limit */

static void
hammer_begin(distance_source_t *source)
{
    source->rate = distance_full_rate(source) * 10;
}


/*
 * Knows the edges: the whole limit in the last millisecond of a window, then
 * through the next one at ten times the limit, so that whatever can be had
 * is had; then two windows of silence.
 */

static void
edge_begin(distance_source_t *source)
{
    source->time = DISTANCE_WINDOW - 1;
    source->left = source->limit;
}


static void
edge_next(distance_source_t *source)
{
    double  within;

    if (source->left != 0) {
        source->left--;
        return;
    }

    within = fmod(source->time, 4.0 * DISTANCE_WINDOW);

    if (within >= 2.0 * DISTANCE_WINDOW - 1) {
        source->time += 5.0 * DISTANCE_WINDOW - 1 - within;
        source->left = source->limit;
        return;
    }

    source->time += 0.1 / distance_full_rate(source);
}


/*
 * The other way round: the whole limit in the first millisecond, which two
 * windows take for spread over all of it; tries on at the limit's own rate.
 */

static void
front_begin(distance_source_t *source)
{
    source->left = source->limit;
}


static void
front_next(distance_source_t *source)
{
    double  within;

    if (source->left != 0) {
        source->left--;
        return;
    }

    within = fmod(source->time, 4.0 * DISTANCE_WINDOW);

    if (within >= 2.0 * DISTANCE_WINDOW - 1) {
        source->time += 4.0 * DISTANCE_WINDOW - within;
        source->left = source->limit;
        return;
    }

    source->time += 1 / distance_full_rate(source);
}


static const distance_traffic_t  distance_traffic[] = {
    { "many clients", many_begin, steady_next },
    { "steady", steady_begin, steady_next },
    { "bursty", NULL, bursty_next },
    { "once a minute", cron_begin, cron_next },
    { "never stops", hammer_begin, steady_next },
    { "edge, last ms", edge_begin, edge_next },
    { "edge, first ms", front_begin, front_next },
    { NULL, NULL, NULL }
};


/* how many there were in the window's length that ends now */

static uint64_t
distance_count(distance_log_t *log)
{
    while (log->first < log->end
           && log->time[log->first % log->size] + DISTANCE_WINDOW
              <= distance_now)
    {
        log->first++;
    }

    return log->end - log->first;
}


static void
distance_add(distance_log_t *log)
{
    if (log->end - log->first == log->size) {
        fprintf(stderr, "distance: a log is full\n");
        exit(1);
    }

    log->time[log->end++ % log->size] = distance_now;
}


static void
distance_log_make(distance_log_t *log, uint64_t size)
{
    memset(log, 0, sizeof(distance_log_t));

    log->size = size;
    log->time = calloc(size, sizeof(uint64_t));

    if (log->time == NULL) {
        exit(1);
    }
}


static void
distance_decide(distance_limits_t *limits, distance_sum_t *sum)
{
    bool                  ours, theirs;
    uint64_t              count, estimate;
    sluice_limit_state_t  state;

    count = distance_count(&limits->admitted);
    ours = sluice_limit_charge(&limits->table, limits->key, distance_now,
                               limits->max, 1, &state)
           == SLUICE_LIMIT_PASSED;

    if (ours) {
        distance_add(&limits->admitted);
        sum->most = (count + 1 > sum->most) ? count + 1 : sum->most;
    }

    theirs = distance_count(&limits->log) < limits->max;

    if (theirs) {
        distance_add(&limits->log);
    }

    sum->decisions++;
    sum->refused += !ours;
    sum->wrongly_admitted += (ours && !theirs);
    sum->wrongly_refused += (!ours && theirs);

    /* every request counts */

    if (sluice_limit_charge(&limits->table, limits->key_of_all, distance_now,
                            SLUICE_LIMIT_UNITS_MAX, 1, &state)
        != SLUICE_LIMIT_PASSED)
    {
        fprintf(stderr, "distance: not everything was counted\n");
        exit(1);
    }

    estimate = (uint64_t) state.seen.previous
                 * (DISTANCE_WINDOW - state.seen.elapsed)
               + ((uint64_t) state.seen.current + 1) * DISTANCE_WINDOW;

    sum->wrongly_estimated +=
                 (estimate <= (uint64_t) limits->max * DISTANCE_WINDOW)
                 != (distance_count(&limits->all) < limits->max);

    distance_add(&limits->all);
}


static void
distance_key(const distance_traffic_t *traffic, distance_limits_t *limits,
    uint64_t n, distance_sum_t *sum)
{
    uint64_t           begin;
    distance_source_t  source;

    /* what was before does not count any more */

    begin = distance_now - distance_now % DISTANCE_WINDOW
            + 3 * DISTANCE_WINDOW;

    limits->key = table_key(2 * n);
    limits->key_of_all = table_key(2 * n + 1);

    memset(&source, 0, sizeof(distance_source_t));
    source.seed = n;
    source.limit = limits->max;

    if (traffic->begin != NULL) {
        traffic->begin(&source);
    }

    for ( ;; ) {
        traffic->next(&source);

        if (source.time >= (double) DISTANCE_WINDOWS * DISTANCE_WINDOW) {
            return;
        }

        distance_now = begin + (uint64_t) source.time;
        distance_decide(limits, sum);
    }
}


static double
distance_percent(uint64_t part, uint64_t whole)
{
    return 100.0 * (double) part / (double) whole;
}


int
main(int argc, char **argv)
{
    uint32_t                   max;
    uint64_t                   n, keys;
    distance_sum_t             sum;
    distance_limits_t          limits;
    const distance_traffic_t  *traffic;

    keys = (argc > 1) ? strtoull(argv[1], NULL, 10) : 2000;
    max = (argc > 2) ? (uint32_t) strtoul(argv[2], NULL, 10) : 60;

    if (keys == 0 || max == 0 || max > DISTANCE_LIMIT_MAX) {
        fprintf(stderr, "distance: see the head of its source\n");
        return 2;
    }

    memset(&limits, 0, sizeof(distance_limits_t));
    table_open(&limits.table, 1024 * 1024, DISTANCE_WINDOW);
    limits.table.clock = distance_clock;
    limits.max = max;

    /* no window's length has more than two limits, or 64 times as many asked */

    distance_log_make(&limits.admitted, 2 * (uint64_t) max);
    distance_log_make(&limits.log, max);
    distance_log_make(&limits.all, 64 * (uint64_t) max);

    printf("%llu keys each, %u in a minute\n\n"
           "%-15s %10s %9s %9s %9s %9s %7s\n",
           (unsigned long long) keys, max, "traffic", "requests", "refused",
           "wrong in", "wrong out", "estimate", "worst");

    for (traffic = distance_traffic; traffic->name != NULL; traffic++) {

        memset(&sum, 0, sizeof(distance_sum_t));

        for (n = 0; n < keys; n++) {
            distance_key(traffic, &limits, n, &sum);
        }

        printf("%-15s %10llu %8.2f%% %8.3f%% %8.3f%% %8.3f%% %+6.1f%%\n",
               traffic->name, (unsigned long long) sum.decisions,
               distance_percent(sum.refused, sum.decisions),
               distance_percent(sum.wrongly_admitted, sum.decisions),
               distance_percent(sum.wrongly_refused, sum.decisions),
               distance_percent(sum.wrongly_estimated, sum.decisions),
               distance_percent(sum.most, max) - 100);
    }

    table_close(&limits.table);
    free(limits.admitted.time);
    free(limits.log.time);
    free(limits.all.time);

    return 0;
}
