
/*
 * A sliding window in Redis against ours, decision by decision.
 *
 *   redis_loop SOCKET PID KEYS N
 *
 * Over a unix socket to the Redis server that is process PID: the usual Lua
 * script of two weighted windows, by EVALSHA, KEYS clients at random.  First
 * all are in; then N decisions one at a time, as a gateway waits for each
 * before it passes a request on, and N with 64 on the way, as nothing does
 * that has to answer them.  Ours begins where Redis's client does, with the
 * text of the key and the clock, and each key depends on the decision before
 * it.  Prints "name value" lines, nanoseconds a decision: the least of several
 * runs, and for one at a time the CPU time of client and server too.
 */

#define _GNU_SOURCE

#include "clock.h"
#include "limit.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>


#define REDIS_RUNS    5
#define REDIS_BATCH   64
#define REDIS_WINDOW  3600000           /* ms                                */
#define REDIS_LIMIT   1000000
#define REDIS_PASSED  ":1\r\n"


typedef struct {
    int       fd;
    int       pid;
    char      sha[41];
    uint64_t  keys;
    uint64_t  seed;
} redis_t;


static const char  redis_script[] =
    "local current = tonumber(redis.call('GET', KEYS[1]) or '0') "
    "local previous = tonumber(redis.call('GET', KEYS[2]) or '0') "
    "local max, now, window = tonumber(ARGV[1]), tonumber(ARGV[2]), "
                             "tonumber(ARGV[3]) "
    "if previous * (1 - now % window / window) + current + 1 > max then "
    "  return 0 "
    "end "
    "redis.call('INCR', KEYS[1]) "
    "if current == 0 then redis.call('PEXPIRE', KEYS[1], 2 * window) end "
    "return 1";


static double
redis_now(clockid_t clock)
{
    struct timespec  ts;

    clock_gettime(clock, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


/* ns that this process and the server have been on a CPU */

static double
redis_cpu(const redis_t *redis)
{
    FILE                *file;
    char                 path[64];
    unsigned long long   ns;

    snprintf(path, sizeof(path), "/proc/%d/schedstat", redis->pid);

    ns = 0;
    file = fopen(path, "r");

    if (file == NULL || fscanf(file, "%llu", &ns) != 1) {
        fprintf(stderr, "redis_loop: no %s\n", path);
        exit(1);
    }

    fclose(file);

    return redis_now(CLOCK_PROCESS_CPUTIME_ID) + (double) ns;
}


static void
redis_send(const redis_t *redis, const char *data, size_t len)
{
    ssize_t  n;

    for ( /* void */ ; len != 0; data += n, len -= (size_t) n) {
        n = write(redis->fd, data, len);

        if (n <= 0) {
            perror("redis_loop: write()");
            exit(1);
        }
    }
}


/* the bytes of an answer whose length is known */

static void
redis_read(const redis_t *redis, char *data, size_t len)
{
    ssize_t  n;

    for ( /* void */ ; len != 0; data += n, len -= (size_t) n) {
        n = read(redis->fd, data, len);

        if (n <= 0) {
            perror("redis_loop: read()");
            exit(1);
        }
    }
}


static void
redis_connect(redis_t *redis, const char *path)
{
    char                answer[64], text[1024];
    int                 n;
    struct sockaddr_un  addr;

    memset(&addr, 0, sizeof(struct sockaddr_un));
    addr.sun_family = AF_UNIX;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);

    redis->fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (redis->fd == -1
        || connect(redis->fd, (struct sockaddr *) &addr, sizeof(addr)) == -1)
    {
        perror("redis_loop: connect()");
        exit(1);
    }

    n = snprintf(text, sizeof(text),
                 "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$%zu\r\n%s\r\n",
                 sizeof(redis_script) - 1, redis_script);

    redis_send(redis, text, (size_t) n);

    /* $40, the digest */

    redis_read(redis, answer, 5);

    if (memcmp(answer, "$40\r\n", 5) != 0) {
        fprintf(stderr, "redis_loop: the script is refused\n");
        exit(1);
    }

    redis_read(redis, redis->sha, 40);
    redis_read(redis, answer, 2);
}


static int
redis_client(char *text, uint64_t n)
{
    return snprintf(text, 32, "client:%016llx",
                    (unsigned long long) table_mix(n));
}


/* one call of the script, of constant length but for the clock */

static size_t
redis_call(const redis_t *redis, char *text, uint64_t n)
{
    int       len;
    char      client[32], now[24];
    uint64_t  ms, index;

    (void) redis_client(client, n);

    ms = sluice_clock_ms();
    index = ms / REDIS_WINDOW;

    snprintf(now, sizeof(now), "%llu", (unsigned long long) ms);

    len = snprintf(text, 512,
                   "*8\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n2\r\n"
                   "$34\r\n%s:%010llu\r\n$34\r\n%s:%010llu\r\n"
                   "$7\r\n%07d\r\n$%zu\r\n%s\r\n$7\r\n%07d\r\n",
                   redis->sha, client, (unsigned long long) index, client,
                   (unsigned long long) (index - 1), REDIS_LIMIT, strlen(now),
                   now, REDIS_WINDOW);

    return (size_t) len;
}


/* decisions of the clients from `first` on, or of random ones */

static void
redis_decide(redis_t *redis, uint64_t n, unsigned batch, bool random)
{
    char      text[REDIS_BATCH * 512], answer[REDIS_BATCH * 4];
    size_t    len;
    unsigned  i;
    uint64_t  done, key;

    for (done = 0; done < n; done += batch) {
        len = 0;

        for (i = 0; i < batch; i++) {
            key = random ? table_random(&redis->seed, redis->keys)
                         : (done + i) % redis->keys;
            len += redis_call(redis, text + len, key);
        }

        redis_send(redis, text, len);
        redis_read(redis, answer, batch * 4);

        for (i = 0; i < batch; i++) {
            if (memcmp(answer + 4 * i, REDIS_PASSED, 4) != 0) {
                fprintf(stderr, "redis_loop: Redis answers \"%.4s\"\n",
                        answer + 4 * i);
                exit(1);
            }
        }
    }
}


static void
redis_ours(sluice_limit_t *limit, uint64_t keys, uint64_t n, bool random)
{
    int                    len;
    char                   client[32];
    uint64_t               i, key, seed;
    sluice_limit_state_t   state;

    seed = 1;
    state.seen.current = 0;

    for (i = 0; i < n; i++) {
        seed += state.seen.current;
        key = random ? table_random(&seed, keys) : i;
        len = redis_client(client, key);

        if (sluice_limit_charge(limit,
                                sluice_limit_hash(limit, client, (size_t) len),
                                sluice_clock_ms(), REDIS_LIMIT, 1, &state)
            != SLUICE_LIMIT_PASSED)
        {
            fprintf(stderr, "redis_loop: ours refuses\n");
            exit(1);
        }
    }
}


/* what both do before they begin */

static void
redis_text(uint64_t keys, uint64_t n)
{
    char      client[32];
    uint64_t  i, seed;

    seed = 1;

    for (i = 0; i < n; i++) {
        (void) redis_client(client, table_random(&seed, keys));
        __asm__ volatile ("" : : "r" (client) : "memory");
    }
}


static void
redis_least(double *least, double value)
{
    *least = (*least == 0 || value < *least) ? value : *least;
}


int
main(int argc, char **argv)
{
    int             i;
    double          start, cpu, alone, alone_cpu, pipelined, ours, text;
    redis_t         redis;
    uint64_t        n;
    sluice_limit_t  limit;

    if (argc != 5) {
        fprintf(stderr, "redis_loop: see the head of its source\n");
        return 2;
    }

    memset(&redis, 0, sizeof(redis_t));
    redis.pid = atoi(argv[2]);
    redis.keys = strtoull(argv[3], NULL, 10);
    redis.seed = 1;
    n = strtoull(argv[4], NULL, 10) / REDIS_BATCH * REDIS_BATCH;

    redis_connect(&redis, argv[1]);
    redis_decide(&redis, redis.keys, REDIS_BATCH, false);

    table_open(&limit, redis.keys * sizeof(sluice_u128_t) * 3 / 2,
               REDIS_WINDOW);
    redis_ours(&limit, redis.keys, redis.keys, false);

    alone = alone_cpu = pipelined = ours = text = 0;

    for (i = 0; i < REDIS_RUNS; i++) {
        cpu = redis_cpu(&redis);
        start = redis_now(CLOCK_MONOTONIC);
        redis_decide(&redis, n, 1, true);
        redis_least(&alone, redis_now(CLOCK_MONOTONIC) - start);
        redis_least(&alone_cpu, redis_cpu(&redis) - cpu);

        start = redis_now(CLOCK_MONOTONIC);
        redis_decide(&redis, n, REDIS_BATCH, true);
        redis_least(&pipelined, redis_now(CLOCK_MONOTONIC) - start);

        start = redis_now(CLOCK_MONOTONIC);
        redis_ours(&limit, redis.keys, n, true);
        redis_least(&ours, redis_now(CLOCK_MONOTONIC) - start);

        start = redis_now(CLOCK_MONOTONIC);
        redis_text(redis.keys, n);
        redis_least(&text, redis_now(CLOCK_MONOTONIC) - start);
    }

    printf("redis_ns %.1f\n", alone / (double) n);
    printf("redis_cpu_ns %.1f\n", alone_cpu / (double) n);
    printf("redis_pipelined_ns %.1f\n", pipelined / (double) n);
    printf("ours_ns %.1f\n", (ours - text) / (double) n);

    table_close(&limit);
    close(redis.fd);

    return 0;
}
