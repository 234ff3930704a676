
/*
 * The kill -9 matrix of shm/: for each fault point a child runs a scripted
 * workload on a directory and is killed there, the first time it passes, the
 * second and a later one; then what it left is looked at.
 *
 * The driver walks the list of fault.c and fails on a name that it has no
 * scenario for.  Built with -DSLUICE_FAULTS; prints TAP.
 *
 * The child is this program again, since a fault point is armed once in a
 * process: crash WORKLOAD DIRECTORY.
 */

#include "clock.h"
#include "conn.h"
#include "fault.h"
#include "guard.h"
#include "lane_reader.h"
#include "limit.h"
#include "pool.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>


#define CRASH_MAX       256
#define CRASH_FILES     8
#define CRASH_SLOTS     8
#define CRASH_REQUESTS  60
#define CRASH_OPEN      6
#define CRASH_RING      SLUICE_LANE_RING_MIN
#define CRASH_KEYS      12
#define CRASH_LIMIT     3
#define CRASH_CHURN     400             /* keys that come and go: conn       */


/* what the child says of itself, and how far it came */

typedef enum {
    CRASH_NOTHING = 0,
    CRASH_ADMITTED,
    CRASH_OPENING,
    CRASH_OPENED,
    CRASH_PUSHING,
    CRASH_PUSHED,
    CRASH_CANCELLED
} crash_step_t;


typedef struct {
    uint32_t  step[CRASH_MAX];          /* of a request, by sequence         */
    uint32_t  taken[CRASH_MAX];         /* times it was taken over           */
    uint32_t  passed[CRASH_MAX];        /* charges let through, by key       */
    uint32_t  killed;                   /* the request or key at work on     */
} crash_truth_t;


typedef struct {
    const char     *name;
    unsigned        n;
    util_dir_t      d;
    crash_truth_t  *truth;
} crash_t;


typedef struct {
    const char   *name;
    const char   *workload;
    bool        (*check)(crash_t *c);
    bool        (*before)(crash_t *c);
    unsigned      later;                /* a time that is not the first ones */
} crash_scenario_t;


static char            *crash_self;
static unsigned         crash_tests;
static unsigned         crash_failed;
static sluice_error_t   crash_error;
static char             crash_why[1024];


#define expect(x)                                                             \
    do {                                                                      \
        if (!(x)) {                                                           \
            snprintf(crash_why, sizeof(crash_why), "%s:%d: %s (%s)",          \
                     __FILE__, __LINE__, #x, crash_error.text);               \
            return false;                                                     \
        }                                                                     \
    } while (0)


static void
crash_result(bool ok, const char *what)
{
    printf("%s %u - %s\n", ok ? "ok" : "not ok", ++crash_tests, what);

    if (!ok) {
        printf("# %s\n", crash_why);
        crash_failed++;
    }

    fflush(stdout);
}


static crash_truth_t *
crash_truth(const sluice_dir_t *dir)
{
    int    fd;
    void  *p;

    fd = openat(dir->fd, "truth", O_RDWR|O_CREAT|O_CLOEXEC, 0600);

    if (fd == -1 || ftruncate(fd, sizeof(crash_truth_t)) == -1) {
        perror("truth");
        exit(2);
    }

    p = mmap(NULL, sizeof(crash_truth_t), PROT_READ|PROT_WRITE, MAP_SHARED,
             fd, 0);
    close(fd);

    if (p == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }

    return p;
}


/* runs a workload; true: it was killed, as it should be if a point is set */

static bool
crash_run(crash_t *c, const char *workload, bool fault)
{
    int    status;
    char   env[80];
    pid_t  pid;

    fflush(NULL);
    pid = fork();

    if (pid == 0) {
        unsetenv("SLUICE_FAULT");

        if (fault) {
            snprintf(env, sizeof(env), "%s:%u", c->name, c->n);
            setenv("SLUICE_FAULT", env, 1);
        }

        execl(crash_self, "crash", workload, c->d.path, (char *) NULL);
        _exit(127);
    }

    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) { /* void */ }

    if (fault && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)) {
        snprintf(crash_why, sizeof(crash_why), "the point was not passed %u "
                 "times: status 0x%x", c->n, status);
        return false;
    }

    if (!fault && status != 0) {
        snprintf(crash_why, sizeof(crash_why), "%s failed: status 0x%x",
                 workload, status);
        return false;
    }

    return true;
}


/* files */

static void
crash_file_spec(sluice_file_spec_t *spec)
{
    memset(spec, 0, sizeof(sluice_file_spec_t));
    spec->kind = SLUICE_FILE_ZONE;
    spec->subject = "crash";
    spec->section[0] = 10000;
}


static int
crash_file_work(sluice_dir_t *dir, crash_truth_t *truth)
{
    char                 name[32];
    unsigned             i;
    sluice_file_t        file;
    sluice_status_t      status;
    sluice_file_spec_t   spec;

    (void) truth;

    crash_file_spec(&spec);

    for (i = 1; i <= CRASH_FILES; i++) {
        snprintf(name, sizeof(name), "zone.crash.%u", i);

        util_check(sluice_file_create(dir, &spec, &file, &crash_error)
                   == SLUICE_OK);
        memset(sluice_file_section(&file, 0), (int) i, 10000);
        status = sluice_file_publish(dir, &file, name, &crash_error);
        util_check(status == SLUICE_OK || status == SLUICE_EXISTS);
        sluice_file_close(dir, &file);
    }

    return 0;
}


/* what has its name is whole, what has not is swept */

static bool
crash_file_whole(crash_t *c, unsigned published)
{
    char            name[32];
    uint8_t        *p;
    unsigned        i, k;
    sluice_file_t   file;

    for (i = 1; i <= published; i++) {
        snprintf(name, sizeof(name), "zone.crash.%u", i);

        expect(sluice_file_open(&c->d.dir, name, SLUICE_FILE_ZONE,
                                SLUICE_OPEN_WRITE, &file, &crash_error)
               == SLUICE_OK);

        p = sluice_file_section(&file, 0);

        for (k = 0; k < 10000; k++) {
            expect(p[k] == i);
        }

        /* nobody holds it any more */

        expect(!sluice_file_locked(&file, SLUICE_LOCK_USERS));
        sluice_file_close(&c->d.dir, &file);
    }

    return true;
}


static bool
crash_file_check(crash_t *c)
{
    unsigned  published;

    published = (strcmp(c->name, "file.published") == 0) ? c->n : c->n - 1;

    expect(util_dir_count(&c->d.dir, "zone.", NULL) == published);
    expect(util_dir_count(&c->d.dir, ".new.", NULL)
           == (published == c->n ? 0 : 1));

    if (!crash_file_whole(c, published)) {
        return false;
    }

    sluice_file_sweep(&c->d.dir);
    expect(util_dir_count(&c->d.dir, ".new.", NULL) == 0);
    expect(util_dir_count(&c->d.dir, "zone.", NULL) == published);

    /* and the same again comes to its end */

    return crash_run(c, "file", false) && crash_file_whole(c, CRASH_FILES);
}


/* slots */

static bool
crash_conn_open(const sluice_dir_t *dir, sluice_conn_t *conn)
{
    sluice_conn_t  former;

    return sluice_conn_open(dir, "c", SLUICE_CONN_BUCKETS_MIN
                            * SLUICE_CONN_BUCKET * sizeof(sluice_conn_row_t),
                            conn, &former, &crash_error) == SLUICE_OK;
}


static bool
crash_pool_open(const sluice_dir_t *dir, sluice_pool_kind_t kind,
    sluice_pool_t *pool)
{
    return sluice_pool_open(dir, kind, "p", pool, &crash_error) == SLUICE_OK;
}


static sluice_conn_result_t
crash_conn_take(sluice_conn_t *conn, uint64_t key, uint32_t max,
    unsigned slot, sluice_conn_hold_t *hold)
{
    return sluice_conn_take(conn, sluice_conn_hash(conn, &key, sizeof(key)),
                            max, slot, hold);
}


/* unfinished rows, and what is in flight in all of them */

static unsigned
crash_conn_count(const sluice_conn_t *conn, unsigned *unfinished)
{
    uint64_t  i;
    unsigned  sum, state;

    sum = 0;
    *unfinished = 0;

    for (i = 0; i < conn->nbuckets * SLUICE_CONN_BUCKET; i++) {
        sum += sluice_conn_in_flight(&conn->rows[i]);
        state = (unsigned) ((uint64_t) conn->rows[i].word >> 56);
        *unfinished += (state > 1);
    }

    return sum;
}


static bool
crash_slot_prepare(crash_t *c)
{
    unsigned           line;
    sluice_conn_t      conn;
    sluice_pool_t      pool, proxies;
    sluice_workers_t   workers;

    expect(sluice_workers_open(&c->d.dir, &workers, &crash_error)
           == SLUICE_OK);
    expect(crash_pool_open(&c->d.dir, SLUICE_POOL_KEYS, &pool));
    expect(crash_pool_open(&c->d.dir, SLUICE_POOL_PROXIES, &proxies));
    expect(sluice_pool_member(&pool, 1, "a", 1, &line, &crash_error)
           == SLUICE_OK);
    expect(sluice_pool_member(&proxies, 1, "a", 1, &line, &crash_error)
           == SLUICE_OK);
    expect(crash_conn_open(&c->d.dir, &conn));

    sluice_conn_close(&c->d.dir, &conn);
    sluice_pool_close(&c->d.dir, &pool);
    sluice_pool_close(&c->d.dir, &proxies);
    sluice_workers_close(&c->d.dir, &workers);

    return true;
}


static int
crash_slot_work(sluice_dir_t *dir, crash_truth_t *truth)
{
    unsigned             i, slot;
    sluice_conn_t        conn;
    sluice_pool_t        pool, proxies;
    sluice_workers_t     workers[CRASH_SLOTS];
    sluice_conn_hold_t   hold;

    (void) truth;

    util_check(crash_pool_open(dir, SLUICE_POOL_KEYS, &pool));
    util_check(crash_pool_open(dir, SLUICE_POOL_PROXIES, &proxies));
    util_check(crash_conn_open(dir, &conn));

    for (i = 0; i < CRASH_SLOTS; i++) {
        util_check(sluice_workers_open(dir, &workers[i], &crash_error)
                   == SLUICE_OK);
        util_check(sluice_slot_claim(dir, &workers[i], &slot, &crash_error)
                   == SLUICE_OK);
        util_check(slot == i);

        sluice_pool_take(&pool, 0, slot);
        sluice_pool_take(&pool, 0, slot);
        sluice_pool_give(&pool, 0, slot);
        sluice_pool_take(&proxies, 0, slot);
        util_check(crash_conn_take(&conn, 1, 1000, slot, &hold)
                   == SLUICE_CONN_PASSED);
    }

    return 0;
}


static int
crash_reclaim_work(sluice_dir_t *dir, crash_truth_t *truth)
{
    sluice_workers_t  workers;

    (void) truth;

    util_check(sluice_workers_open(dir, &workers, &crash_error) == SLUICE_OK);
    (void) sluice_slot_reclaim(dir, &workers, SLUICE_SLOTS);

    return 0;
}


/* as many slots stand there as taken by a process that is dead */

static bool
crash_slot_dead(crash_t *c)
{
    return crash_slot_prepare(c) && crash_run(c, "slot", false);
}


static bool
crash_slot_free(crash_t *c, unsigned taken, unsigned in_pools,
    unsigned in_proxies, unsigned in_conns)
{
    unsigned           i, n, slot;
    sluice_conn_t      conn;
    sluice_pool_t      pool, proxies;
    sluice_workers_t   workers;

    expect(sluice_workers_open(&c->d.dir, &workers, &crash_error)
           == SLUICE_OK);
    expect(crash_pool_open(&c->d.dir, SLUICE_POOL_KEYS, &pool));
    expect(crash_pool_open(&c->d.dir, SLUICE_POOL_PROXIES, &proxies));
    expect(crash_conn_open(&c->d.dir, &conn));

    n = 0;

    for (i = 0; i < SLUICE_SLOTS; i++) {
        n += (workers.slots[i].state == SLUICE_SLOT_TAKEN);
        expect(!sluice_file_locked(&workers.file,
                                   SLUICE_LOCK_SLOT + (off_t) i));
    }

    expect(n == taken);
    expect(sluice_pool_in_flight(&pool, 0) == in_pools);
    expect(sluice_pool_in_flight(&proxies, 0) == in_proxies);
    expect(crash_conn_count(&conn, &n) == in_conns);

    expect(sluice_slot_reclaim(&c->d.dir, &workers, SLUICE_SLOTS) == taken);
    expect(sluice_pool_in_flight(&pool, 0) == 0);
    expect(sluice_pool_in_flight(&proxies, 0) == 0);
    expect(crash_conn_count(&conn, &n) == 0);

    for (i = 0; i < SLUICE_SLOTS; i++) {
        expect(workers.slots[i].state == SLUICE_SLOT_FREE);
    }

    expect(sluice_slot_claim(&c->d.dir, &workers, &slot, &crash_error)
           == SLUICE_OK);
    expect(slot == 0);

    sluice_conn_close(&c->d.dir, &conn);
    sluice_pool_close(&c->d.dir, &pool);
    sluice_pool_close(&c->d.dir, &proxies);
    sluice_workers_close(&c->d.dir, &workers);

    return true;
}


static bool
crash_slot_check(crash_t *c)
{
    unsigned  n;

    n = (strcmp(c->name, "slot.claimed") == 0) ? c->n : c->n - 1;

    return crash_slot_free(c, n, c->n - 1, c->n - 1, c->n - 1);
}


/* killed while taking over what another one's death had left */

static bool
crash_slot_again_check(crash_t *c)
{
    bool  forgotten, pools;

    /* claimed: what the n-th slot held has been given back; or half of it */

    forgotten = (strcmp(c->name, "slot.claimed") == 0);
    pools = forgotten || strcmp(c->name, "slot.forgetting") == 0;

    return crash_slot_free(c, CRASH_SLOTS, CRASH_SLOTS - pools,
                           CRASH_SLOTS - pools, CRASH_SLOTS - forgotten);
}


static bool
crash_reclaim_check(crash_t *c)
{
    unsigned  left, pools;

    left = CRASH_SLOTS - (c->n - 1);
    pools = left - (strcmp(c->name, "slot.forgetting") == 0);

    return crash_slot_free(c, left, pools, pools, left);
}


/* lanes */

static size_t
crash_lane_size(uint64_t sequence)
{
    return 112 + 8 * (sequence * 211 % 498);
}


static void
crash_lane_fill(sluice_record_t *record)
{
    size_t   n, size;
    uint8_t  value[240];

    memset(value, (int) record->sequence, sizeof(value));
    size = crash_lane_size(record->sequence);

    while (record->length < size) {
        n = size - record->length;
        n = (n > 240) ? 120 : n;
        util_check(sluice_record_add(record, SLUICE_ITEM_HOST, value, n - 4));
    }
}


/* the consumer takes over: what it has written down it has, then the tail */

static void
crash_lane_drain(sluice_lane_reader_t *reader, crash_truth_t *truth)
{
    uint64_t                end;
    const sluice_record_t  *record;

    while (sluice_lane_reader_next(reader, &record, &end, &crash_error)
           == SLUICE_READ_RECORD)
    {
        truth->taken[record->sequence]++;
        util_check(sluice_lane_reader_advance(reader, end));
    }
}


static int
crash_lane_work(sluice_dir_t *dir, crash_truth_t *truth)
{
    unsigned               i, n, k;
    uint64_t               sequence;
    sluice_lane_t          lane;
    sluice_entry_t        *open[CRASH_OPEN];
    sluice_lane_conf_t     conf;
    sluice_lane_reader_t   reader;

    memset(&conf, 0, sizeof(conf));
    conf.ring_size = CRASH_RING;
    conf.entries = CRASH_OPEN;
    conf.node = "crash";

    util_check(sluice_lane_create(dir, &conf, &lane, &crash_error)
               == SLUICE_OK);
    util_check(sluice_lane_reader_open(dir, lane.file.name, &reader,
                                       &crash_error) == SLUICE_OK);
    n = 0;

    for (i = 0; i < CRASH_REQUESTS; i++) {

        open[n] = sluice_lane_admit(&lane, 1);
        util_check(open[n] != NULL);

        sequence = open[n]->record.sequence;
        truth->killed = (uint32_t) sequence;
        truth->step[sequence] = CRASH_OPENING;
        sluice_lane_open(open[n]);
        truth->step[sequence] = CRASH_OPENED;
        crash_lane_fill(&open[n]->record);
        n++;

        if (n < CRASH_OPEN - 1 && i % 3 != 0) {
            continue;
        }

        /* not the oldest one: records are pushed in the order of their ends */

        k = i * 7 % n;
        sequence = open[k]->sequence;
        truth->killed = (uint32_t) sequence;

        if (i % 10 == 9) {
            truth->step[sequence] = CRASH_CANCELLED;
            sluice_lane_cancel(&lane, open[k]);

        } else {
            open[k]->record.status = 200;
            truth->step[sequence] = CRASH_PUSHING;
            sluice_lane_push(&lane, open[k]);
            truth->step[sequence] = CRASH_PUSHED;
        }

        open[k] = open[--n];

        if (i % 8 == 7) {
            crash_lane_drain(&reader, truth);
        }
    }

    return 0;
}


/* a record says what it should, aborted or final */

static bool
crash_lane_record(const sluice_record_t *record, bool aborted)
{
    size_t         offset, i;
    sluice_item_t  item;

    expect(record->sequence > 0 && record->sequence <= CRASH_REQUESTS);
    expect(sluice_record_size(record) == crash_lane_size(record->sequence));
    expect(record->status == (aborted ? 0 : 200));
    expect(!(record->flags & SLUICE_RECORD_ABORTED) == !aborted);

    offset = 0;

    while (sluice_record_next(record, &offset, &item)) {
        for (i = 0; i < item.length; i++) {
            expect(item.data[i] == (uint8_t) record->sequence);
        }
    }

    return true;
}


/* as the consumer does it with a dead owner's lane; taken: how often, which */

static bool
crash_lane_recover(crash_t *c, const char *name, uint32_t taken[CRASH_MAX],
    uint32_t aborted[CRASH_MAX], bool finish)
{
    uint64_t                end;
    uint32_t                i;
    sluice_read_t           rc;
    sluice_lane_reader_t    reader;
    const sluice_record_t  *record;

    static _Alignas(16) uint8_t  copy[SLUICE_RECORD_MAX];

    expect(sluice_lane_reader_open(&c->d.dir, name, &reader, &crash_error)
           == SLUICE_OK);
    expect(sluice_lane_reader_own(&reader));

    while ((rc = sluice_lane_reader_next(&reader, &record, &end, &crash_error))
           == SLUICE_READ_RECORD)
    {
        expect(crash_lane_record(record, false));
        taken[record->sequence]++;

        if (finish) {
            expect(sluice_lane_reader_advance(&reader, end));
        }
    }

    expect(rc == SLUICE_READ_EMPTY);

    for (i = 0; i < reader.nentries; i++) {
        rc = sluice_lane_reader_entry(&reader, i, (sluice_record_t *) copy);

        if (rc == SLUICE_READ_EMPTY) {
            continue;
        }

        expect(rc == SLUICE_READ_RECORD);

        record = (const sluice_record_t *) copy;
        taken[record->sequence]++;

        if (record->flags & SLUICE_RECORD_ABORTED) {
            aborted[record->sequence]++;
        }

        /* the one that was being opened had not been filled in by then */

        if (c->truth->step[record->sequence] != CRASH_OPENING) {
            expect(crash_lane_record(record,
                            c->truth->step[record->sequence] < CRASH_PUSHING));
        }
    }

    if (finish) {
        expect(sluice_lane_reader_done(&c->d.dir, &reader) == SLUICE_OK);
    }

    sluice_lane_reader_close(&c->d.dir, &reader);

    return true;
}


static bool
crash_lane_check(crash_t *c)
{
    char       name[SLUICE_FILE_NAME_MAX];
    bool       final;
    unsigned   i, pass, records;
    uint32_t   taken[CRASH_MAX], aborted[CRASH_MAX];

    expect(util_dir_count(&c->d.dir, "lane.", name) == 1);

    final = (strncmp(c->name, "lane.push.", 10) == 0);
    records = 0;

    /* the first consumer dies before it moves the tail; the second ends it */

    for (pass = 0; pass < 2; pass++) {
        memcpy(taken, c->truth->taken, sizeof(taken));
        memset(aborted, 0, sizeof(aborted));

        expect(crash_lane_recover(c, name, taken, aborted, pass == 1));

        for (i = 1; i < CRASH_MAX; i++) {

            switch (c->truth->step[i]) {

            case CRASH_NOTHING:
            case CRASH_CANCELLED:
                expect(taken[i] == 0);
                break;

            case CRASH_OPENING:
                expect(!final && i == c->truth->killed);
                expect(taken[i] == (strcmp(c->name, "lane.admit.opened") == 0));
                expect(aborted[i] == taken[i]);
                break;

            case CRASH_OPENED:
                expect(taken[i] == 1 && aborted[i] == 1);
                break;

            case CRASH_PUSHING:
                expect(final && i == c->truth->killed);
                expect(taken[i] == 1 && aborted[i] == 0);
                break;

            case CRASH_PUSHED:
                expect(taken[i] == 1 && aborted[i] == 0);
                records++;
                break;

            default:
                expect(false);
            }
        }
    }

    expect(c->n < 5 || records > 0);
    expect(util_dir_count(&c->d.dir, "lane.", NULL) == 0);

    return true;
}


/* limits */

static bool
crash_limit_open(const sluice_dir_t *dir, sluice_limit_t *limit)
{
    sluice_limit_t       former;
    sluice_limit_conf_t  conf;

    memset(&conf, 0, sizeof(conf));
    conf.size = SLUICE_LIMIT_BUCKETS_MIN * sizeof(sluice_limit_bucket_t);
    conf.window = SLUICE_LIMIT_WINDOW_MAX;
    conf.scale = 1;

    return sluice_limit_open(dir, "z", &conf, limit, &former, &crash_error)
           == SLUICE_OK;
}


static sluice_limit_result_t
crash_limit_charge(sluice_limit_t *limit, uint64_t key)
{
    sluice_limit_state_t  state;

    return sluice_limit_charge(limit,
                               sluice_limit_hash(limit, &key, sizeof(key)),
                               limit->clock(), CRASH_LIMIT, 1, &state);
}


static int
crash_limit_work(sluice_dir_t *dir, crash_truth_t *truth)
{
    unsigned         key;
    sluice_limit_t   limit;

    util_check(crash_limit_open(dir, &limit));

    for (key = 0; key < CRASH_KEYS; key++) {
        truth->killed = key;
        util_check(crash_limit_charge(&limit, key) == SLUICE_LIMIT_PASSED);
        truth->passed[key]++;
        util_check(crash_limit_charge(&limit, key / 2) == SLUICE_LIMIT_PASSED
                   || truth->passed[key / 2] == CRASH_LIMIT);

        if (truth->passed[key / 2] < CRASH_LIMIT) {
            truth->passed[key / 2]++;
        }
    }

    return 0;
}


static uint64_t
crash_later(void)
{
    return sluice_clock_ms() + 2000;
}


static void
crash_limit_count(const sluice_limit_t *limit, unsigned *tentative,
    unsigned *used)
{
    uint64_t        i;
    sluice_u128_t   v;

    *tentative = 0;
    *used = 0;

    for (i = 0; i < limit->nbuckets * SLUICE_LIMIT_BUCKET; i++) {
        v = limit->buckets[i / SLUICE_LIMIT_BUCKET]
            .slot[i % SLUICE_LIMIT_BUCKET];
        *used += (v != 0);
        *tentative += ((uint32_t) (v >> 48) == 0xffffffff);
    }
}


static bool
crash_limit_exact(crash_t *c, bool others_first)
{
    bool             final;
    unsigned         key, passed, tentative, used;
    sluice_limit_t   limit;

    expect(crash_limit_open(&c->d.dir, &limit));

    final = (strcmp(c->name, "limit.insert.final") == 0);
    crash_limit_count(&limit, &tentative, &used);
    expect(tentative == !final);
    expect(used == c->truth->killed + 1);

    if (others_first) {

        /* two seconds later it is free for whoever needs the room */

        limit.clock = crash_later;
        limit.own = &limit.columns[0];

        for (key = 1000; tentative != 0; key++) {
            expect(key < 20000);
            expect(crash_limit_charge(&limit, key) == SLUICE_LIMIT_PASSED);
            crash_limit_count(&limit, &tentative, &used);
            expect(limit.own->evicted == 0 || tentative == 0);
        }

        sluice_limit_close(&c->d.dir, &limit);
        return true;
    }

    for (key = 0; key < CRASH_KEYS; key++) {
        passed = c->truth->passed[key]
                 + (final && key == c->truth->killed);

        while (crash_limit_charge(&limit, key) == SLUICE_LIMIT_PASSED) {
            passed++;
            expect(passed <= CRASH_LIMIT);
        }

        expect(passed == CRASH_LIMIT);
    }

    crash_limit_count(&limit, &tentative, &used);
    expect(tentative == 0);
    expect(used == CRASH_KEYS);

    sluice_limit_close(&c->d.dir, &limit);

    return true;
}


static bool
crash_limit_check(crash_t *c)
{
    return crash_limit_exact(c, false);
}


static bool
crash_limit_freed_check(crash_t *c)
{
    return crash_limit_exact(c, true);
}


/* what is in flight by key */

static int
crash_conn_work(sluice_dir_t *dir, crash_truth_t *truth)
{
    unsigned             key, slot;
    sluice_conn_t        conn;
    sluice_workers_t     workers;
    sluice_conn_hold_t   hold;

    util_check(sluice_workers_open(dir, &workers, &crash_error) == SLUICE_OK);
    util_check(sluice_slot_claim(dir, &workers, &slot, &crash_error)
               == SLUICE_OK);
    util_check(crash_conn_open(dir, &conn));

    /* some that stay in flight; many that come and go, for all rows */

    for (key = 0; key < CRASH_KEYS; key++) {
        for (truth->killed = key;
             truth->passed[key] < 1 + key % CRASH_LIMIT;
             truth->passed[key]++)
        {
            util_check(crash_conn_take(&conn, key, CRASH_LIMIT, slot, &hold)
                       == SLUICE_CONN_PASSED);
        }
    }

    for (key = 1000; key < 1000 + CRASH_CHURN; key++) {
        truth->killed = key;
        util_check(crash_conn_take(&conn, key, CRASH_LIMIT, slot, &hold)
                   == SLUICE_CONN_PASSED);
        sluice_conn_give(&conn, slot, &hold);
    }

    return 0;
}


/* how many more of the key a survivor is let in with; they are given back */

static unsigned
crash_conn_room(sluice_conn_t *conn, uint64_t key)
{
    unsigned            i, n;
    sluice_conn_hold_t  hold[CRASH_LIMIT + 1];

    for (n = 0; n <= CRASH_LIMIT; n++) {
        if (crash_conn_take(conn, key, CRASH_LIMIT, 9, &hold[n])
            != SLUICE_CONN_PASSED)
        {
            break;
        }
    }

    for (i = 0; i < n; i++) {
        sluice_conn_give(conn, 9, &hold[i]);
    }

    return n;
}


/* it stands in one row, whatever became of the one where it was */

static bool
crash_conn_stands(const sluice_conn_t *conn, uint64_t key)
{
    uint64_t       i;
    unsigned       n;
    sluice_hash_t  hash;

    hash = sluice_conn_hash(conn, &key, sizeof(key));

    for (i = 0, n = 0; i < conn->nbuckets * SLUICE_CONN_BUCKET; i++) {
        n += conn->rows[i].word != 0
             && (uint64_t) (conn->rows[i].word >> 64) == hash.hi;
    }

    return n == 1;
}


/* there is room for so many of each key that it is LIMIT with the dead's */

static bool
crash_conn_rooms(crash_t *c, sluice_conn_t *conn, bool alive, bool counted)
{
    unsigned  key, held;

    for (key = 0; key < 1000 + CRASH_CHURN; key++) {

        if (key >= CRASH_KEYS && key != c->truth->killed) {
            continue;
        }

        held = (key < CRASH_KEYS) ? c->truth->passed[key] : 0;
        held += (counted && key == c->truth->killed);

        expect(crash_conn_room(conn, key)
               == CRASH_LIMIT - (alive ? held : 0));
        expect(crash_conn_stands(conn, key));
    }

    return true;
}


static bool
crash_conn_exact(crash_t *c, bool others_first)
{
    bool               counted, raised;
    unsigned           key, sum, n;
    sluice_conn_t      conn;
    sluice_workers_t   workers;

    expect(sluice_workers_open(&c->d.dir, &workers, &crash_error)
           == SLUICE_OK);
    expect(crash_conn_open(&c->d.dir, &conn));

    /* what it had raised stays until it is reclaimed: in the key's row? */

    counted = strcmp(c->name, "conn.take.raised") == 0
              || strcmp(c->name, "conn.insert.final") == 0;
    raised = counted || strcmp(c->name, "conn.insert.raised") == 0;

    for (key = 0, sum = raised; key < CRASH_KEYS; key++) {
        sum += c->truth->passed[key];
    }

    expect(crash_conn_count(&conn, &n) == sum);
    expect(n == (strncmp(c->name, "conn.insert.", 12) == 0 && !counted));

    if (!others_first && !crash_conn_rooms(c, &conn, true, counted)) {
        return false;
    }

    expect(sluice_slot_reclaim(&c->d.dir, &workers, SLUICE_SLOTS) == 1);
    expect(crash_conn_count(&conn, &n) == 0);

    if (!others_first && !crash_conn_rooms(c, &conn, false, counted)) {
        return false;
    }

    /* two seconds later it is free for whoever needs the row */

    conn.clock = crash_later;

    for (key = 20000; n != 0; key++) {
        expect(key < 40000);
        expect(crash_conn_room(&conn, key) == CRASH_LIMIT);
        expect(crash_conn_count(&conn, &n) == 0);
    }

    expect(conn.columns[9].contended == 0);

    sluice_conn_close(&c->d.dir, &conn);
    sluice_workers_close(&c->d.dir, &workers);

    return true;
}


static bool
crash_conn_check(crash_t *c)
{
    return crash_conn_exact(c, false);
}


static bool
crash_conn_freed_check(crash_t *c)
{
    return crash_conn_exact(c, true);
}


/* pools */

static bool
crash_pool_name(sluice_pool_t *pool, unsigned n, uint64_t now, unsigned *line)
{
    char  id[16];

    snprintf(id, sizeof(id), "member%u", n);

    return sluice_pool_member(pool, 100 + n, id, now, line, &crash_error)
           == SLUICE_OK
           && pool->members[*line].fingerprint == 100 + n
           && strcmp(pool->members[*line].id, id) == 0;
}


/* a line for each of eight members: there is none that is free, or all are */

static int
crash_member_work(sluice_dir_t *dir, crash_truth_t *truth)
{
    unsigned        i, line;
    sluice_pool_t   pool;

    (void) truth;

    util_check(crash_pool_open(dir, SLUICE_POOL_KEYS, &pool));

    for (i = 0; i < 8; i++) {
        util_check(crash_pool_name(&pool, i, 5000, &line));
        util_check(line == i);
    }

    return 0;
}


static bool
crash_pool_former(crash_t *c)
{
    unsigned        i, line;
    sluice_pool_t   pool;

    expect(crash_pool_open(&c->d.dir, SLUICE_POOL_KEYS, &pool));

    for (i = 0; i < SLUICE_POOL_MEMBERS; i++) {
        expect(crash_pool_name(&pool, 1000 + i, 1 + i, &line));
        sluice_member_disable(&pool.members[i], 5);
        pool.members[i].row[0] = 1;
        pool.members[i].window[3] = 1;
        pool.members[i].used = 1;
    }

    sluice_pool_close(&c->d.dir, &pool);

    return true;
}


static bool
crash_member_check(crash_t *c)
{
    bool              claimed, former;
    unsigned          i, line;
    sluice_pool_t     pool;
    sluice_member_t   zero;

    expect(crash_pool_open(&c->d.dir, SLUICE_POOL_KEYS, &pool));

    /* it is the member's, or nobody's, unless nothing has been done to it */

    claimed = strcmp(c->name, "pool.claimed") == 0;
    former = pool.members[20].fingerprint != 0;

    expect(pool.members[c->n - 1].fingerprint
           == (claimed ? 100 + c->n - 1
               : former && strcmp(c->name, "pool.naming") == 0
                 ? 1100 + c->n - 1 : 0));
    expect(pool.members[c->n].fingerprint == (former ? 1100 + c->n : 0));

    for (i = 0; i < 8; i++) {
        expect(crash_pool_name(&pool, i, 6000, &line));
        expect(line == i);

        memset(&zero, 0, sizeof(zero));
        snprintf(zero.id, sizeof(zero.id), "member%u", i);
        zero.fingerprint = 100 + i;
        zero.named = 6000;
        expect(memcmp(&pool.members[i], &zero, sizeof(zero)) == 0);
    }

    /* the others' are as they were */

    for (i = 8; former && i < SLUICE_POOL_MEMBERS; i++) {
        expect(crash_pool_name(&pool, 1000 + i, 6000, &line));
        expect(line == i);
        expect(!sluice_member_healthy(&pool.members[i]));
    }

    sluice_pool_close(&c->d.dir, &pool);

    return true;
}


static int
crash_take_work(sluice_dir_t *dir, crash_truth_t *truth)
{
    unsigned           i, slot;
    sluice_pool_t      pool;
    sluice_workers_t   workers;

    (void) truth;

    util_check(sluice_workers_open(dir, &workers, &crash_error) == SLUICE_OK);
    util_check(sluice_slot_claim(dir, &workers, &slot, &crash_error)
               == SLUICE_OK);
    util_check(crash_pool_open(dir, SLUICE_POOL_KEYS, &pool));

    for (i = 0; i < 8; i++) {
        sluice_pool_take(&pool, 0, slot);
        util_check(sluice_pool_take_max(&pool, 1, slot, 100));
    }

    return 0;
}


static bool
crash_take_check(crash_t *c)
{
    bool            raised;
    sluice_pool_t   pool;

    raised = strcmp(c->name, "pool.raised") == 0;

    expect(crash_pool_open(&c->d.dir, SLUICE_POOL_KEYS, &pool));
    expect(sluice_pool_in_flight(&pool, 1) == c->n - !raised);

    if (!crash_slot_free(c, 1, c->n, 0, 0)) {
        return false;
    }

    expect(sluice_pool_in_flight(&pool, 1) == 0);
    sluice_pool_close(&c->d.dir, &pool);

    return true;
}


/* a member's state */

static const sluice_member_policy_t  crash_policy = {
    .cool = 1000, .cool_max = 1000, .denied = 3, .exhausted = 1000,
    .errors = 3, .window = 1000, .open = 1000, .open_max = 1000, .probe = 1000
};


static int
crash_answer(sluice_member_t *member, sluice_answer_t answer, uint64_t now,
    uint64_t probe)
{
    sluice_member_try_t  try = { .began = now, .probe = probe };

    return sluice_member_answer(member, &crash_policy, &try, answer,
                                SLUICE_REASON_STATUS, 0, SLUICE_NEVER, now);
}


static int
crash_answer_work(sluice_dir_t *dir, crash_truth_t *truth)
{
    unsigned          i;
    uint64_t          probe;
    sluice_pool_t     pool;
    sluice_member_t  *m;

    (void) truth;

    util_check(crash_pool_open(dir, SLUICE_POOL_KEYS, &pool));

    m = &pool.members[0];
    (void) crash_answer(m, SLUICE_ANSWER_EXHAUSTED, 1000, 0);

    for (i = 0; i < 8; i++) {
        probe = sluice_member_probe(m, 2000, 500);
        util_check(probe != 0);
        (void) crash_answer(m, SLUICE_ANSWER_NONE, 2000, probe);
    }

    sluice_member_enable(m);

    for (i = 0; i < 3; i++) {
        (void) crash_answer(m, SLUICE_ANSWER_ERROR, 2000 + i, 0);
    }

    sluice_member_enable(m);

    for (i = 0; i < 3; i++) {
        (void) crash_answer(m, SLUICE_ANSWER_DENIED, 2000 + i, 0);
    }

    return 0;
}


/* who would have said how the probe went is dead: another one may */

static bool
crash_probe_check(crash_t *c)
{
    uint64_t          probe;
    sluice_pool_t     pool;
    sluice_member_t  *m;

    expect(crash_pool_open(&c->d.dir, SLUICE_POOL_KEYS, &pool));

    m = &pool.members[0];
    expect(!sluice_member_healthy(m));
    expect(sluice_member_probe(m, 2499, 500) == 0);

    probe = sluice_member_probe(m, 2500, 500);
    expect(probe != 0);
    expect(crash_answer(m, SLUICE_ANSWER_WELL, 2500, probe)
           == SLUICE_MEMBER_HEALTHY);
    sluice_pool_close(&c->d.dir, &pool);

    return true;
}


/* a member that rests for 100 s by a guess, and early tries of it */

static int
crash_early_work(sluice_dir_t *dir, crash_truth_t *truth)
{
    unsigned                i;
    uint64_t                now, early;
    sluice_pool_t           pool;
    sluice_member_t        *m;
    sluice_member_try_t     try = { .began = 1000 };
    sluice_member_policy_t  policy = { .cool = 100000, .cool_max = 100000 };

    (void) truth;

    util_check(crash_pool_open(dir, SLUICE_POOL_KEYS, &pool));

    m = &pool.members[0];
    (void) sluice_member_answer(m, &policy, &try, SLUICE_ANSWER_COOL,
                                SLUICE_REASON_STATUS, 429, SLUICE_NEVER, 1000);

    for (i = 1; i < 9; i++) {
        now = 1000 + i * SLUICE_POOL_EARLY;
        early = sluice_pool_early(&pool, 0, now, 2 * SLUICE_POOL_EARLY);
        util_check(early != 0);
        (void) crash_answer(m, SLUICE_ANSWER_NONE, now, early);
    }

    return 0;
}


/*
 * The guess remains, and the next early try comes in time: at once if nobody
 * went out, and else when the dead one's time is over.
 */

static bool
crash_early_check(crash_t *c)
{
    bool              half;
    uint64_t          now, late, early;
    sluice_pool_t     pool;
    sluice_member_t  *m;

    expect(crash_pool_open(&c->d.dir, SLUICE_POOL_KEYS, &pool));

    m = &pool.members[0];
    now = 1000 + c->n * SLUICE_POOL_EARLY;
    late = strcmp(c->name, "pool.early") == 0 ? SLUICE_POOL_EARLY
                                              : 2 * SLUICE_POOL_EARLY;

    expect(sluice_member_recovery(m, now, &half) == 101000);
    expect(sluice_pool_early(&pool, 0, now + late - 1, 2 * SLUICE_POOL_EARLY)
           == 0);

    early = sluice_pool_early(&pool, 0, now + late, 2 * SLUICE_POOL_EARLY);
    expect(early != 0);
    expect(crash_answer(m, SLUICE_ANSWER_WELL, now + late, early)
           == SLUICE_MEMBER_HEALTHY);
    sluice_pool_close(&c->d.dir, &pool);

    return true;
}


/* what was counted is; a row that is full needs one more to be so */

static bool
crash_row_check(crash_t *c)
{
    unsigned          n;
    sluice_pool_t     pool;
    sluice_member_t  *m;
    sluice_answer_t   answer;

    expect(crash_pool_open(&c->d.dir, SLUICE_POOL_KEYS, &pool));

    answer = strcmp(c->name, "member.denied") == 0 ? SLUICE_ANSWER_DENIED
                                                   : SLUICE_ANSWER_ERROR;
    m = &pool.members[0];
    expect(sluice_member_healthy(m));

    for (n = c->n + 1; crash_answer(m, answer, 2010 + n, 0) == -1; n++) {
        expect(n < 3);
    }

    expect(n == (c->n == 3 ? 4 : 3));
    expect(!sluice_member_healthy(m));
    sluice_pool_close(&c->d.dir, &pool);

    return true;
}


static void
crash_window_limit(sluice_member_limit_t *limit, unsigned kind)
{
    limit->counts = SLUICE_COUNTS_REQUESTS;
    limit->window = 60000 * (1 + kind);
    limit->max = CRASH_LIMIT;
    util_check(sluice_member_limit_init(limit));
}


static int
crash_window_work(sluice_dir_t *dir, crash_truth_t *truth)
{
    unsigned                i;
    uint64_t                retry;
    sluice_pool_t           pool;
    sluice_window_t         window;
    sluice_member_limit_t   limit;

    (void) truth;

    util_check(crash_pool_open(dir, SLUICE_POOL_KEYS, &pool));

    for (i = 0; i < SLUICE_MEMBER_WINDOWS; i++) {
        crash_window_limit(&limit, i);
        util_check(sluice_member_charge(&pool.members[0], &limit, 5000, 1,
                                        &window, &retry));
    }

    return 0;
}


static bool
crash_window_exact(crash_t *c, bool others_first)
{
    unsigned                i, k;
    uint64_t                retry;
    sluice_pool_t           pool;
    sluice_window_t         window;
    sluice_member_t        *m;
    sluice_member_limit_t   limit;

    expect(crash_pool_open(&c->d.dir, SLUICE_POOL_KEYS, &pool));

    m = &pool.members[0];
    expect(sluice_slot_index(m->window[c->n - 1]) == SLUICE_TENTATIVE);

    /* what was let in before counts, and what was not does not */

    for (i = 0; !others_first && i < SLUICE_MEMBER_WINDOWS; i++) {
        crash_window_limit(&limit, i);

        for (k = i < c->n - 1; k < CRASH_LIMIT; k++) {
            expect(sluice_member_charge(m, &limit, 5001, 1, &window, &retry));
        }

        expect(!sluice_member_charge(m, &limit, 5001, 1, &window, &retry));
    }

    /* two seconds later it is free for whoever needs the word */

    for (i = 10; others_first && i < 10 + SLUICE_MEMBER_WINDOWS; i++) {
        crash_window_limit(&limit, i);
        expect(sluice_member_charge(m, &limit, 7000, 1, &window, &retry)
               == (i + c->n <= 10 + SLUICE_MEMBER_WINDOWS));
    }

    sluice_pool_close(&c->d.dir, &pool);

    return true;
}


static bool
crash_window_check(crash_t *c)
{
    return crash_window_exact(c, false);
}


static bool
crash_window_freed_check(crash_t *c)
{
    return crash_window_exact(c, true);
}


static const crash_scenario_t  crash_scenarios[] = {
    { "file.temporary", "file",
      crash_file_check, NULL, 7 },
    { "file.allocated", "file",
      crash_file_check, NULL, 7 },
    { "file.whole", "file",
      crash_file_check, NULL, 7 },
    { "file.published", "file",
      crash_file_check, NULL, 7 },
    { "slot.locked", "slot",
      crash_slot_check, crash_slot_prepare, 7 },
    { "slot.locked", "slot",
      crash_slot_again_check, crash_slot_dead, 7 },
    { "slot.locked", "reclaim",
      crash_reclaim_check, crash_slot_dead, 7 },
    { "slot.claimed", "slot",
      crash_slot_check, crash_slot_prepare, 7 },
    { "slot.claimed", "slot",
      crash_slot_again_check, crash_slot_dead, 7 },
    { "slot.forgetting", "slot",
      crash_slot_again_check, crash_slot_dead, 7 },
    { "slot.forgetting", "reclaim",
      crash_reclaim_check, crash_slot_dead, 7 },
    { "lane.admit.filled", "lane",
      crash_lane_check, NULL, 45 },
    { "lane.admit.opened", "lane",
      crash_lane_check, NULL, 45 },
    { "lane.push.marked", "lane",
      crash_lane_check, NULL, 45 },
    { "lane.push.copied", "lane",
      crash_lane_check, NULL, 45 },
    { "lane.push.published", "lane",
      crash_lane_check, NULL, 45 },
    { "lane.push.freed", "lane",
      crash_lane_check, NULL, 45 },
    { "limit.insert.tentative", "limit",
      crash_limit_check, NULL, 11 },
    { "limit.insert.tentative", "limit",
      crash_limit_freed_check, NULL, 11 },
    { "limit.insert.looked", "limit",
      crash_limit_check, NULL, 11 },
    { "limit.insert.looked", "limit",
      crash_limit_freed_check, NULL, 11 },
    { "limit.insert.final", "limit",
      crash_limit_check, NULL, 11 },
    { "conn.take.found", "conn",
      crash_conn_check, NULL, 11 },
    { "conn.take.raised", "conn",
      crash_conn_check, NULL, 11 },
    { "conn.insert.leaving", "conn",
      crash_conn_check, NULL, 11 },
    { "conn.insert.leaving", "conn",
      crash_conn_freed_check, NULL, 11 },
    { "conn.insert.tentative", "conn",
      crash_conn_check, NULL, 11 },
    { "conn.insert.tentative", "conn",
      crash_conn_freed_check, NULL, 11 },
    { "conn.insert.looked", "conn",
      crash_conn_check, NULL, 11 },
    { "conn.insert.looked", "conn",
      crash_conn_freed_check, NULL, 11 },
    { "conn.insert.raised", "conn",
      crash_conn_check, NULL, 11 },
    { "conn.insert.raised", "conn",
      crash_conn_freed_check, NULL, 11 },
    { "conn.insert.final", "conn",
      crash_conn_check, NULL, 11 },
    { "pool.naming", "member",
      crash_member_check, NULL, 7 },
    { "pool.naming", "member",
      crash_member_check, crash_pool_former, 7 },
    { "pool.freed", "member",
      crash_member_check, NULL, 7 },
    { "pool.freed", "member",
      crash_member_check, crash_pool_former, 7 },
    { "pool.cleared", "member",
      crash_member_check, NULL, 7 },
    { "pool.cleared", "member",
      crash_member_check, crash_pool_former, 7 },
    { "pool.claimed", "member",
      crash_member_check, NULL, 7 },
    { "pool.claimed", "member",
      crash_member_check, crash_pool_former, 7 },
    { "pool.taken", "take",
      crash_take_check, crash_slot_prepare, 7 },
    { "pool.raised", "take",
      crash_take_check, crash_slot_prepare, 7 },
    { "member.probing", "answer",
      crash_probe_check, NULL, 7 },
    { "pool.early", "early",
      crash_early_check, NULL, 7 },
    { "member.early", "early",
      crash_early_check, NULL, 7 },
    { "member.counted", "answer",
      crash_row_check, NULL, 3 },
    { "member.denied", "answer",
      crash_row_check, NULL, 3 },
    { "member.insert.tentative", "window",
      crash_window_check, NULL, 4 },
    { "member.insert.tentative", "window",
      crash_window_freed_check, NULL, 4 },
    { "member.insert.looked", "window",
      crash_window_check, NULL, 4 },
    { "member.insert.looked", "window",
      crash_window_freed_check, NULL, 4 }
};

#define CRASH_SCENARIOS  (sizeof(crash_scenarios) / sizeof(crash_scenarios[0]))


static const struct {
    const char  *name;
    int        (*work)(sluice_dir_t *dir, crash_truth_t *truth);
} crash_workloads[] = {
    { "file", crash_file_work },
    { "slot", crash_slot_work },
    { "reclaim", crash_reclaim_work },
    { "lane", crash_lane_work },
    { "limit", crash_limit_work },
    { "conn", crash_conn_work },
    { "member", crash_member_work },
    { "take", crash_take_work },
    { "answer", crash_answer_work },
    { "early", crash_early_work },
    { "window", crash_window_work }
};


static int
crash_child(const char *workload, const char *path)
{
    unsigned      i;
    sluice_dir_t  dir;

    util_check(sluice_dir_open(&dir, path, geteuid(), getegid(), false,
                               &crash_error) == SLUICE_OK);

    for (i = 0; i < sizeof(crash_workloads) / sizeof(crash_workloads[0]); i++)
    {
        if (strcmp(crash_workloads[i].name, workload) == 0) {
            return crash_workloads[i].work(&dir, crash_truth(&dir));
        }
    }

    return 2;
}


static void
crash_one(const crash_scenario_t *s, unsigned n)
{
    bool     ok;
    char     what[128];
    crash_t  c;

    memset(&c, 0, sizeof(c));
    c.name = s->name;
    c.n = n;

    if (!util_dir_make(&c.d)) {
        perror("directory");
        exit(2);
    }

    c.truth = crash_truth(&c.d.dir);
    crash_why[0] = '\0';
    crash_error.text[0] = '\0';

    ok = (s->before == NULL || s->before(&c))
         && crash_run(&c, s->workload, true)
         && s->check(&c);

    snprintf(what, sizeof(what), "%s, time %u, in %s%s", s->name, n,
             s->workload,
             s->before == crash_slot_dead ? " after a death"
             : s->before == crash_pool_former ? ", of former members' lines"
             : s->check == crash_limit_freed_check
               || s->check == crash_conn_freed_check
               || s->check == crash_window_freed_check ? ", then other keys"
                                                       : "");

    crash_result(ok, what);

    munmap(c.truth, sizeof(crash_truth_t));
    util_dir_remove(&c.d);
}


int
main(int argc, char **argv)
{
    char         what[128];
    unsigned     i, k, n, found;
    const char  *name;

    sluice_guard_init();

    if (argc == 3) {
        return crash_child(argv[1], argv[2]);
    }

    crash_self = realpath("/proc/self/exe", NULL);

    if (crash_self == NULL) {
        perror("/proc/self/exe");
        return 2;
    }

    for (i = 0; (name = sluice_fault_name(i)) != NULL; i++) {

        if (strncmp(name, "drain.", 6) == 0) {
            printf("ok %u - %s # SKIP the sidecar's own test kills there\n",
                   ++crash_tests, name);
            continue;
        }

        found = 0;

        for (k = 0; k < CRASH_SCENARIOS; k++) {
            if (strcmp(crash_scenarios[k].name, name) != 0) {
                continue;
            }

            found++;

            for (n = 1; n < 3; n++) {
                crash_one(&crash_scenarios[k], n);
            }

            crash_one(&crash_scenarios[k], crash_scenarios[k].later);
        }

        if (found == 0) {
            snprintf(what, sizeof(what), "%s has a scenario", name);
            snprintf(crash_why, sizeof(crash_why), "write one");
            crash_result(false, what);
        }
    }

    printf("1..%u\n", crash_tests);

    if (crash_failed != 0) {
        printf("# %u of %u failed\n", crash_failed, crash_tests);
    }

    free(crash_self);

    return crash_failed != 0;
}
