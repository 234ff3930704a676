
/*
 * How many requests fail, with a pool of keys.
 *
 *   keys_sim [MINUTES]          lines of "name value"
 *   keys_sim [MINUTES] table    a line for each way to choose, three loads
 *
 * Plays the same traffic and the same mishaps to ways of choosing a key, on a
 * clock of its own; the pool, its members and the choice are the real ones.
 * The same numbers on every machine.
 *
 * The upstream lets each of 20 keys have 60 requests a minute: a bucket of 60
 * that gains one a second.  What it refuses is not counted; where it is said
 * so it is, as some providers do, down to a minute's debt.  7 of 10 429s say in
 * Retry-After when there will be one again.  Beyond that:
 *
 *   revoked     each key about every 10 hours; 401 until the operator has put
 *               another in its place, half an hour later
 *   odd 401     1 of 2,000 answers, from a key that is well
 *   bursts      each key about every 10 minutes, for about 20 s: 7 of 10
 *               answers are 503
 *   odd 503     1 of 500 answers
 *   overload    of the provider, about every 15 minutes, for about 15 s: 429
 *               for every key
 *
 * An answer takes 0.8 s in the median (log-normal), a refusal 60 ms.  Requests
 * are Poisson, of 200 clients, through four workers.  What the upstream does
 * depends on the key and the millisecond alone.
 */

#define _GNU_SOURCE

#include "balance.h"
#include "table.h"

#include <math.h>


#define SIM_KEYS        20
#define SIM_RATE        60              /* a minute, for each key            */
#define SIM_WORKERS     4
#define SIM_CLIENTS     200
#define SIM_TRIES       3
#define SIM_COOL        60              /* s                                 */
#define SIM_REQUESTS    4096            /* in flight at a time               */
#define SIM_SPANS       4096
#define SIM_MINUTE      60000ull
#define SIM_BEGIN       (60 * SIM_MINUTE)


typedef enum {
    SIM_STATELESS,
    SIM_POOL,
    SIM_BEST
} sim_kind_t;

typedef struct {
    const char               *name;
    sim_kind_t                kind;
    sluice_balance_method_t   method;
    unsigned                  tries;
    unsigned                  cool;     /* s, what it guesses after a 429    */
    bool                      limit;    /* it knows what a key may have      */
} sim_way_t;

/* times that something is the matter, ms, in order */
typedef struct {
    uint64_t  from[SIM_SPANS];
    uint64_t  to[SIM_SPANS];
    unsigned  n;
    unsigned  at;                       /* none before it matters any more   */
} sim_spans_t;

typedef struct {
    sim_spans_t  revoked;
    sim_spans_t  burst;
    double       bucket;
    uint64_t     filled;                /* ms, as of when                    */
    bool         replaced;              /* the revoked one before `at` is    */
} sim_key_t;

typedef struct {
    unsigned                worker;
    unsigned                client;
    unsigned                tries;
    unsigned                key;
    unsigned                status;
    uint64_t                hint;
    sluice_balance_set_t    had;
    sluice_balance_hold_t   hold;
} sim_request_t;

typedef struct {
    uint64_t  time;
    unsigned  request;
} sim_event_t;

typedef struct {
    uint64_t  requests;
    uint64_t  failed;
    uint64_t  refused;                  /* of them, without a try            */
    uint64_t  tries;
    uint64_t  wasted;                   /* of them, not answered by 200      */
    uint64_t  denied;                   /* of them, by a revoked key         */
    uint64_t  well;                     /* keys that would answer, a second  */
    uint64_t  punished;                 /* of them, not to be had            */
} sim_sum_t;


static const sim_way_t  sim_ways[] = {
    { "round robin, 1 try", SIM_STATELESS, 0, 1, 0, false },
    { "round robin, 3 tries", SIM_STATELESS, 0, SIM_TRIES, 0, false },
    { "pool, round_robin", SIM_POOL, SLUICE_BALANCE_ROUND_ROBIN, SIM_TRIES,
      SIM_COOL, false },
    { "pool, least_used", SIM_POOL, SLUICE_BALANCE_LEAST_USED, SIM_TRIES,
      SIM_COOL, false },
    { "pool, random", SIM_POOL, SLUICE_BALANCE_RANDOM, SIM_TRIES, SIM_COOL,
      false },
    { "pool, hash", SIM_POOL, SLUICE_BALANCE_HASH, SIM_TRIES, SIM_COOL,
      false },
    { "limit, round_robin", SIM_POOL, SLUICE_BALANCE_ROUND_ROBIN, SIM_TRIES,
      SIM_COOL, true },
    { "limit, least_used", SIM_POOL, SLUICE_BALANCE_LEAST_USED, SIM_TRIES,
      SIM_COOL, true },
    { "limit, random", SIM_POOL, SLUICE_BALANCE_RANDOM, SIM_TRIES, SIM_COOL,
      true },
    { "limit, hash", SIM_POOL, SLUICE_BALANCE_HASH, SIM_TRIES, SIM_COOL,
      true },
    { "pool, 10 s", SIM_POOL, SLUICE_BALANCE_ROUND_ROBIN, SIM_TRIES, 10,
      false },
    { "limit, 10 s", SIM_POOL, SLUICE_BALANCE_ROUND_ROBIN, SIM_TRIES, 10,
      true },
    { "best possible", SIM_BEST, 0, 1, 0, false },
    { NULL, 0, 0, 0, 0, false }
};

static sluice_member_policy_t  sim_policy = {
    .cool_max = 10 * SIM_MINUTE,
    .denied = 3,
    .exhausted = 24 * 60 * SIM_MINUTE,
    .errors = 5,
    .window = 10 * 1000,
    .open = 30 * 1000,
    .open_max = 5 * SIM_MINUTE,
    .probe = 30 * 1000
};

static sim_key_t               sim_key[SIM_KEYS];
static sim_spans_t             sim_overload;
static sim_request_t           sim_request[SIM_REQUESTS];
static unsigned                sim_free[SIM_REQUESTS];
static unsigned                sim_nfree;
static sim_event_t             sim_event[SIM_REQUESTS];         /* a heap    */
static unsigned                sim_nevents;
static sluice_pool_t           sim_pool;
static sluice_balance_conf_t   sim_conf[SIM_KEYS];
static sluice_balance_t       *sim_balance[SIM_WORKERS];
static unsigned                sim_turn[SIM_WORKERS];
static bool                    sim_strict;      /* refused ones count, too  */
static sim_sum_t               sim_sum;


/* above 0, up to 1 */

static double
sim_uniform(uint64_t *seed)
{
    return (double) (table_random(seed, 1u << 31) + 1) / 0x1p31;
}


static double
sim_exponential(uint64_t *seed, double mean)
{
    return -log(sim_uniform(seed)) * mean;
}


/* a number from 0 on, below 1, of a key, a moment and what it is for */

static double
sim_luck(unsigned key, uint64_t now, unsigned what)
{
    return (double) (table_mix(table_mix(now * 64 + key) + what + 1) >> 11)
           / 0x1p53;
}


static void
sim_spans(sim_spans_t *spans, uint64_t *seed, double every, double length,
    uint64_t end)
{
    double  time;

    spans->n = 0;
    time = SIM_BEGIN;

    while (spans->n < SIM_SPANS) {
        time += sim_exponential(seed, every);

        if (time >= (double) end) {
            return;
        }

        spans->from[spans->n] = (uint64_t) time;

        /* below 0: that long; else about that long */

        time += (length < 0) ? -length : sim_exponential(seed, length);
        spans->to[spans->n++] = (uint64_t) time;
    }

    fprintf(stderr, "keys_sim: too many mishaps\n");
    exit(1);
}


/* times are asked for in order */

static bool
sim_within(sim_spans_t *spans, uint64_t now)
{
    while (spans->at < spans->n && spans->to[spans->at] <= now) {
        spans->at++;
    }

    return spans->at < spans->n && spans->from[spans->at] <= now;
}


/* what the key would answer now: nothing is charged */

static unsigned
sim_fate(unsigned n, uint64_t now)
{
    sim_key_t  *key;

    key = &sim_key[n];
    key->bucket += (double) (now - key->filled) * SIM_RATE / SIM_MINUTE;
    key->bucket = (key->bucket < SIM_RATE) ? key->bucket : SIM_RATE;
    key->filled = now;

    if (sim_within(&key->revoked, now)) {
        return 401;
    }

    if (sim_within(&sim_overload, now) || key->bucket < 1) {
        return 429;
    }

    if (sim_luck(n, now, 1) < 1.0 / 2000) {
        return 401;
    }

    if (sim_luck(n, now, 2) < (sim_within(&key->burst, now) ? 0.7 : 0.002)) {
        return 503;
    }

    return 200;
}


static void
sim_push(uint64_t time, unsigned request)
{
    unsigned  i;

    for (i = sim_nevents++;
         i > 0 && sim_event[(i - 1) / 2].time > time;
         i = (i - 1) / 2)
    {
        sim_event[i] = sim_event[(i - 1) / 2];
    }

    sim_event[i].time = time;
    sim_event[i].request = request;
}


static unsigned
sim_pop(void)
{
    unsigned     i, child, first;
    sim_event_t  last;

    first = sim_event[0].request;
    last = sim_event[--sim_nevents];

    for (i = 0; (child = 2 * i + 1) < sim_nevents; i = child) {
        if (child + 1 < sim_nevents
            && sim_event[child + 1].time < sim_event[child].time)
        {
            child++;
        }

        if (last.time <= sim_event[child].time) {
            break;
        }

        sim_event[i] = sim_event[child];
    }

    sim_event[i] = last;

    return first;
}


/* which key has the try; SIM_KEYS: none */

static unsigned
sim_choose(const sim_way_t *way, sim_request_t *r, uint64_t now)
{
    double    most;
    unsigned  i, k, best;
    uint64_t  retry;

    switch (way->kind) {

    case SIM_STATELESS:
        do {
            k = sim_turn[r->worker]++ % SIM_KEYS;
        } while (sluice_balance_has(&r->had, k));

        sluice_balance_set(&r->had, k);

        return k;

    case SIM_POOL:
        if (sluice_balance_take(sim_balance[r->worker], &r->had,
                                SLUICE_BALANCE_MAX, table_mix(r->client + 1),
                                0, sim_policy.probe, true, now, &r->hold,
                                &retry)
            != SLUICE_BALANCE_TAKEN)
        {
            return SIM_KEYS;
        }

        return r->hold.member;

    default:

        /* of those that will answer the fullest: it loses what it gains */

        best = SIM_KEYS;
        most = 0;

        for (i = 0; i < SIM_KEYS; i++) {
            if (sim_fate(i, now) == 200 && sim_key[i].bucket > most) {
                best = i;
                most = sim_key[i].bucket;
            }
        }

        return best;
    }
}


/* false: there is no key for it */

static bool
sim_try(const sim_way_t *way, unsigned request, uint64_t now)
{
    double          gauss, latency;
    sim_request_t  *r;

    r = &sim_request[request];
    r->key = sim_choose(way, r, now);

    if (r->key == SIM_KEYS) {
        return false;
    }

    r->tries++;
    r->status = sim_fate(r->key, now);
    r->hint = SLUICE_NEVER;

    /* Box and Muller */

    gauss = sqrt(-2 * log(1 - sim_luck(r->key, now, 3)))
            * cos(2 * M_PI * sim_luck(r->key, now, 4));
    latency = 60 * exp(0.3 * gauss);

    if (r->status == 200) {
        latency = 800 * exp(0.8 * gauss);
    }

    if (r->status == 200 || r->status == 503
        || (r->status == 429 && sim_strict
            && sim_key[r->key].bucket > -SIM_RATE))
    {
        sim_key[r->key].bucket -= 1;
    }

    /* 7 of 10 say when; the overloaded one says 10 s and does not know */

    if (r->status == 429 && sim_luck(r->key, now, 5) < 0.7) {
        r->hint = (sim_key[r->key].bucket >= 1)
                  ? 10000
                  : (uint64_t) ceil((1 - sim_key[r->key].bucket)
                                    * 60 / SIM_RATE) * 1000;
    }

    sim_sum.tries++;
    sim_sum.wasted += (r->status != 200);
    sim_sum.denied += (r->status == 401 && sim_within(&sim_key[r->key].revoked,
                                                      now));

    sim_push(now + (uint64_t) latency + 1, request);

    return true;
}


static void
sim_arrive(const sim_way_t *way, uint64_t *seed, uint64_t now)
{
    unsigned        request;
    sim_request_t  *r;

    if (sim_nfree == 0) {
        fprintf(stderr, "keys_sim: too many in flight\n");
        exit(1);
    }

    request = sim_free[--sim_nfree];
    r = &sim_request[request];
    memset(r, 0, sizeof(sim_request_t));

    r->worker = (unsigned) table_random(seed, SIM_WORKERS);
    r->client = (unsigned) table_random(seed, SIM_CLIENTS);

    sim_sum.requests++;

    if (!sim_try(way, request, now)) {
        sim_sum.failed++;
        sim_sum.refused++;
        sim_free[sim_nfree++] = request;
    }
}


static void
sim_answer(const sim_way_t *way, unsigned request, uint64_t now)
{
    sim_request_t    *r;
    sluice_answer_t   answer;

    r = &sim_request[request];

    if (way->kind == SIM_POOL) {
        answer = (r->status == 200) ? SLUICE_ANSWER_WELL
                 : (r->status == 401) ? SLUICE_ANSWER_DENIED
                 : (r->status == 429) ? SLUICE_ANSWER_COOL
                                      : SLUICE_ANSWER_ERROR;

        (void) sluice_member_answer(sluice_pool_line(&sim_pool,
                                                     sim_conf[r->key].line),
                                    &sim_policy, &r->hold.try, answer,
                                    SLUICE_REASON_STATUS, r->status, r->hint,
                                    now);

        sluice_balance_give(sim_balance[r->worker], &r->hold);
    }

    if (r->status != 200) {

        if (r->tries < way->tries && sim_try(way, request, now)) {
            return;
        }

        sim_sum.failed++;
    }

    sim_free[sim_nfree++] = request;
}


/* once a second: the operator, and who is punished for nothing */

static void
sim_second(const sim_way_t *way, uint64_t now)
{
    bool              half, well;
    unsigned          i;
    sim_key_t        *key;
    sluice_member_t  *member;

    for (i = 0; i < SIM_KEYS; i++) {
        key = &sim_key[i];
        member = sluice_pool_line(&sim_pool, sim_conf[i].line);

        (void) sim_fate(i, now);                /* fills the bucket */

        well = (key->bucket >= 1
                && !sim_within(&key->revoked, now)
                && !sim_within(&key->burst, now)
                && !sim_within(&sim_overload, now));

        if (sim_within(&key->revoked, now)) {
            key->replaced = false;

        } else if (!key->replaced) {
            key->replaced = true;
            sluice_member_enable(member);
        }

        sim_sum.well += well;
        sim_sum.punished += (way->kind == SIM_POOL && well
                             && sluice_member_recovery(member, now, &half)
                                != 0);
    }
}


static void
sim_reset(const sim_way_t *way)
{
    static char      id[SIM_KEYS][8];
    static uint64_t  fingerprint;

    unsigned        i;
    sluice_error_t  error;

    sim_nevents = 0;
    sim_nfree = 0;
    sim_overload.at = 0;
    sim_pool.control->early = 0;                /* time begins anew */
    sim_policy.cool = way->cool * 1000;
    memset(&sim_sum, 0, sizeof(sim_sum_t));

    for (i = 0; i < SIM_REQUESTS; i++) {
        sim_free[sim_nfree++] = i;
    }

    for (i = 0; i < SIM_KEYS; i++) {
        sim_key[i].revoked.at = 0;
        sim_key[i].burst.at = 0;
        sim_key[i].bucket = SIM_RATE;
        sim_key[i].filled = SIM_BEGIN;
        sim_key[i].replaced = true;

        /* another secret: a line of its own, without a past */

        snprintf(id[i], sizeof(id[i]), "key%u", i);
        memset(&sim_conf[i], 0, sizeof(sluice_balance_conf_t));
        sim_conf[i].id = id[i];
        sim_conf[i].weight = 1;

        if (sluice_pool_member(&sim_pool, ++fingerprint, id[i], 1,
                               &sim_conf[i].line, &error) != SLUICE_OK)
        {
            table_fail(&error);
        }

        if (way->limit) {
            sim_conf[i].nlimits = 1;
            sim_conf[i].limit[0].counts = SLUICE_COUNTS_REQUESTS;
            sim_conf[i].limit[0].window = SIM_MINUTE;
            sim_conf[i].limit[0].max = SIM_RATE;

            if (!sluice_member_limit_init(&sim_conf[i].limit[0])) {
                exit(1);
            }
        }
    }

    for (i = 0; i < SIM_WORKERS; i++) {
        sim_turn[i] = i * SIM_KEYS / SIM_WORKERS;
        sim_balance[i] = sluice_balance_init(sim_balance[i], &sim_pool,
                                             way->method, sim_conf, SIM_KEYS);
        sluice_balance_start(sim_balance[i], i, sim_turn[i]);
    }
}


static void
sim_play(const sim_way_t *way, double rate, uint64_t end)
{
    double    arrival;
    uint64_t  seed, now, second;

    sim_reset(way);

    seed = 1;
    second = SIM_BEGIN;
    arrival = SIM_BEGIN + sim_exponential(&seed, SIM_MINUTE / rate);

    for ( ;; ) {
        now = (uint64_t) arrival;

        if (sim_nevents > 0 && sim_event[0].time < now) {
            now = sim_event[0].time;
        }

        if (second <= now) {
            now = second;
        }

        if (now >= end) {
            return;
        }

        if (now == second) {
            sim_second(way, now);
            second += 1000;

        } else if (sim_nevents > 0 && sim_event[0].time == now) {
            sim_answer(way, sim_pop(), now);

        } else {
            sim_arrive(way, &seed, now);
            arrival += sim_exponential(&seed, SIM_MINUTE / rate);
        }
    }
}


static double
sim_percent(uint64_t part, uint64_t whole)
{
    return (whole != 0) ? 100.0 * (double) part / (double) whole : 0;
}


static void
sim_open(uint64_t end)
{
    char            path[64];
    unsigned        i;
    uint64_t        seed;
    sluice_dir_t    dir;
    sluice_error_t  error;

    snprintf(path, sizeof(path), "/dev/shm/sluice-bench.%d", (int) getpid());

    if (sluice_dir_open(&dir, path, geteuid(), getegid(), true, &error)
        != SLUICE_OK
        || sluice_pool_open(&dir, SLUICE_POOL_KEYS, "bench", &sim_pool, &error)
           != SLUICE_OK)
    {
        table_fail(&error);
    }

    /* the map outlives its name */

    (void) sluice_file_retire(&dir, &sim_pool.file);
    sluice_dir_close(&dir);
    rmdir(path);

    for (i = 0; i < SIM_WORKERS; i++) {
        sim_balance[i] = aligned_alloc(64, sluice_balance_size(SIM_KEYS));

        if (sim_balance[i] == NULL) {
            exit(1);
        }
    }

    seed = 2;
    sim_spans(&sim_overload, &seed, 15.0 * SIM_MINUTE, 15000, end);

    for (i = 0; i < SIM_KEYS; i++) {
        sim_spans(&sim_key[i].revoked, &seed, 600.0 * SIM_MINUTE,
                  -30.0 * SIM_MINUTE, end);
        sim_spans(&sim_key[i].burst, &seed, 10.0 * SIM_MINUTE, 20000, end);
    }
}


static void
sim_table(uint64_t end)
{
    unsigned          i;
    const sim_way_t  *way;

    static const struct {
        double  rate;
        bool    strict;
    } load[] = { { 1500, false }, { 1500, true }, { 900, false } };

    for (i = 0; i < 3; i++) {
        sim_strict = load[i].strict;

        printf("%s%.0f requests a minute%s; percent, tries a request\n\n"
               "| %-22s | failed | refused | tries | wasted | revoked "
               "| punished |\n|---|---|---|---|---|---|---|\n",
               i ? "\n" : "", load[i].rate,
               load[i].strict ? ", refused ones count" : "", "");

        for (way = sim_ways; way->name != NULL; way++) {
            sim_play(way, load[i].rate, end);
            printf("| %-22s | %6.2f | %7.2f | %5.2f | %6.2f | %7.3f "
                   "| %8.2f |\n", way->name,
                   sim_percent(sim_sum.failed, sim_sum.requests),
                   sim_percent(sim_sum.refused, sim_sum.requests),
                   sim_percent(sim_sum.tries, sim_sum.requests) / 100,
                   sim_percent(sim_sum.wasted, sim_sum.tries),
                   sim_percent(sim_sum.denied, sim_sum.tries),
                   sim_percent(sim_sum.punished, sim_sum.well));
        }
    }
}


/* what is told is the worst of the methods, without limits */

static void
sim_figures(uint64_t end)
{
    double            share, worst, best;
    const sim_way_t  *way;

    worst = 0;
    best = 0;

    for (way = sim_ways; way->name != NULL; way++) {
        if (way->kind == SIM_STATELESS || way->limit
            || (way->kind == SIM_POOL && way->cool != SIM_COOL))
        {
            continue;
        }

        sim_play(way, 1500, end);
        share = sim_percent(sim_sum.failed, sim_sum.requests) / 100;

        if (way->kind == SIM_BEST) {
            best = share;

        } else if (share > worst) {
            worst = share;
        }
    }

    printf("keys.sim_failed_share %.4f\n", worst);
    printf("keys.sim_best_share %.4f\n", best);
}


int
main(int argc, char **argv)
{
    uint64_t  minutes;

    minutes = (argc > 1) ? strtoull(argv[1], NULL, 10) : 480;

    if (minutes == 0 || minutes > 10000) {
        fprintf(stderr, "keys_sim: see the head of its source\n");
        return 2;
    }

    sim_open(SIM_BEGIN + minutes * SIM_MINUTE);

    if (argc > 2) {
        sim_table(SIM_BEGIN + minutes * SIM_MINUTE);

    } else {
        sim_figures(SIM_BEGIN + minutes * SIM_MINUTE);
    }

    sluice_pool_close(NULL, &sim_pool);

    return 0;
}
