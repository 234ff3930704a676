
/*
 * Lanes under stress: producers that push in whatever order, one consumer
 * that drains them all.  Each request is recorded exactly once, byte for
 * byte, and a lane's records come in the order they were pushed.  Processes
 * are killed meanwhile, and their lanes recovered; threads are for TSan.
 *
 *   stress_lane [SECONDS [threads|processes|both]], prints TAP
 */

#include "guard.h"
#include "lane_reader.h"
#include "util.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>


#define STRESS_PRODUCERS  4
#define STRESS_LIVES      2048          /* of producers, one after another   */
#define STRESS_REQUESTS   (1u << 17)    /* of one life                       */
#define STRESS_OPEN       10

#define load(p)      __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store(p, v)  __atomic_store_n(p, v, __ATOMIC_RELEASE)


typedef enum {
    STRESS_NOTHING = 0,
    STRESS_OPENING,
    STRESS_OPENED,
    STRESS_PUSHING,
    STRESS_PUSHED,
    STRESS_CANCELLING,
    STRESS_CANCELLED
} stress_step_t;


typedef struct {
    uint32_t  ready;                    /* the lane has its name             */
    uint32_t  stopped;
    char      name[SLUICE_FILE_NAME_MAX];
    uint8_t   step[STRESS_REQUESTS];
} stress_life_t;


typedef struct {
    uint32_t       stop;
    stress_life_t  life[STRESS_LIVES];
} stress_shared_t;


/* what the consumer knows of a life */
typedef struct {
    bool                   opened;
    bool                   over;
    sluice_lane_reader_t   reader;
    uint64_t               pushed;      /* the last one's number             */
    uint8_t               *seen;        /* 1: final, 2: aborted              */
} stress_seen_t;


static util_dir_t        stress_dir;
static stress_shared_t  *stress;
static stress_seen_t     stress_seen[STRESS_LIVES];
static uint64_t          stress_records;
static uint64_t          stress_aborted;
static unsigned          stress_tests;


static size_t
stress_len(uint64_t sequence)
{
    return sequence * 2654435761u % 1000;
}


static void
stress_fill(sluice_record_t *record)
{
    size_t   i, len;
    uint8_t  value[1024];

    len = stress_len(record->sequence);

    for (i = 0; i < len; i++) {
        value[i] = (uint8_t) (record->sequence * 31 + i);
    }

    util_check(sluice_record_add(record, SLUICE_ITEM_URI, value, len));
}


static void
stress_produce(unsigned number)
{
    unsigned             n, k;
    uint64_t             seed, pushed, sequence;
    sluice_lane_t        lane;
    stress_life_t       *life;
    sluice_error_t       error;
    sluice_entry_t      *open[STRESS_OPEN];
    sluice_lane_conf_t   conf;

    memset(&conf, 0, sizeof(conf));
    conf.ring_size = SLUICE_LANE_RING_MIN;
    conf.entries = STRESS_OPEN;
    conf.node = "stress";

    life = &stress->life[number];
    seed = util_seed() + number * 7919;
    pushed = 0;
    n = 0;

    util_check(sluice_lane_create(&stress_dir.dir, &conf, &lane, &error)
               == SLUICE_OK);
    strcpy(life->name, lane.file.name);
    store(&life->ready, 1);

    while (lane.sequence < STRESS_REQUESTS - 1
           && !load(&stress->stop))
    {
        if (n < STRESS_OPEN && util_random(&seed) % 2) {
            open[n] = sluice_lane_admit(&lane, number);

            if (open[n] != NULL) {
                sequence = open[n]->record.sequence;
                store(&life->step[sequence], STRESS_OPENING);
                sluice_lane_open(open[n]);
                store(&life->step[sequence], STRESS_OPENED);
                stress_fill(&open[n]->record);
                n++;
                continue;
            }

            sched_yield();
        }

        if (n == 0) {
            continue;
        }

        k = (unsigned) (util_random(&seed) % n);
        sequence = open[k]->record.sequence;

        if (util_random(&seed) % 16 == 0) {
            store(&life->step[sequence], STRESS_CANCELLING);
            sluice_lane_cancel(&lane, open[k]);
            store(&life->step[sequence], STRESS_CANCELLED);

        } else {
            open[k]->record.tokens_out = ++pushed;
            store(&life->step[sequence], STRESS_PUSHING);
            sluice_lane_push(&lane, open[k]);
            store(&life->step[sequence], STRESS_PUSHED);
        }

        open[k] = open[--n];
    }

    while (n > 0) {
        n--;
        sequence = open[n]->record.sequence;
        open[n]->record.tokens_out = ++pushed;
        sluice_lane_push(&lane, open[n]);
        store(&life->step[sequence], STRESS_PUSHED);
    }

    sluice_file_close(&stress_dir.dir, &lane.file);
    free(lane.free);
    store(&life->stopped, 1);
}


static void
stress_check(unsigned number, const sluice_record_t *record, bool ring)
{
    size_t          offset, i;
    sluice_item_t   item;
    stress_seen_t  *seen;

    seen = &stress_seen[number];

    util_check(record->sequence > 0 && record->sequence < STRESS_REQUESTS);
    util_check(seen->seen[record->sequence] == 0);
    util_check(record->time == number);

    offset = 0;

    if (record->flags & SLUICE_RECORD_ABORTED) {
        util_check(!ring);
        seen->seen[record->sequence] = 2;
        stress_aborted++;

        if (!sluice_record_next(record, &offset, &item)) {
            return;                             /* was not yet filled in */
        }

    } else {
        seen->seen[record->sequence] = 1;
        util_check(record->tokens_out == ++seen->pushed);
        util_check(sluice_record_next(record, &offset, &item));
    }

    stress_records++;

    util_check(item.tag == SLUICE_ITEM_URI);
    util_check(item.length == stress_len(record->sequence));

    for (i = 0; i < item.length; i++) {
        util_check(item.data[i] == (uint8_t) (record->sequence * 31 + i));
    }

    util_check(!sluice_record_next(record, &offset, &item));
}


/* reads what is there; taken over in pieces; true: there was something */

static bool
stress_drain(unsigned number, uint64_t *seed)
{
    bool                    any;
    uint64_t                end;
    sluice_read_t           rc;
    stress_seen_t          *seen;
    sluice_error_t          error;
    const sluice_record_t  *record;

    seen = &stress_seen[number];
    any = false;
    end = 0;

    while ((rc = sluice_lane_reader_next(&seen->reader, &record, &end, &error))
           == SLUICE_READ_RECORD)
    {
        any = true;
        stress_check(number, record, true);

        if (util_random(seed) % 4 == 0) {
            util_check(sluice_lane_reader_advance(&seen->reader, end));
        }
    }

    util_check(rc == SLUICE_READ_EMPTY);

    if (any) {
        util_check(sluice_lane_reader_advance(&seen->reader,
                                              seen->reader.position));
    }

    return any;
}


/* the lane of a dead owner, or of one that is through */

static void
stress_finish(unsigned number)
{
    uint32_t               i;
    sluice_read_t          rc;
    stress_seen_t         *seen;
    stress_life_t         *life;
    sluice_lane_reader_t  *reader;

    static _Alignas(16) uint8_t  copy[SLUICE_RECORD_MAX];

    seen = &stress_seen[number];
    life = &stress->life[number];
    reader = &seen->reader;

    for (i = 0; i < reader->nentries; i++) {
        rc = sluice_lane_reader_entry(reader, i, (sluice_record_t *) copy);
        util_check(rc == SLUICE_READ_EMPTY || rc == SLUICE_READ_RECORD);

        if (rc == SLUICE_READ_RECORD) {
            stress_check(number, (const sluice_record_t *) copy, false);
        }
    }

    /* busy: another producer counts the lanes just now */

    for (i = 0; sluice_lane_reader_done(&stress_dir.dir, reader) != SLUICE_OK;
         i++)
    {
        util_check(i < 1000000);
        sched_yield();
    }

    sluice_lane_reader_close(&stress_dir.dir, reader);

    for (i = 1; i < STRESS_REQUESTS; i++) {

        switch (load(&life->step[i])) {

        case STRESS_NOTHING:
        case STRESS_CANCELLED:
            util_check(seen->seen[i] == 0);
            break;

        case STRESS_OPENING:
        case STRESS_CANCELLING:
            util_check(seen->seen[i] != 1);
            break;

        case STRESS_OPENED:
            util_check(seen->seen[i] == 2);
            break;

        case STRESS_PUSHING:
            util_check(seen->seen[i] != 0);
            break;

        default:
            util_check(seen->seen[i] == 1);
            break;
        }
    }

    free(seen->seen);
    seen->seen = NULL;
    seen->over = true;
}


/* one turn over the lanes from `first` on; false: all are over */

static bool
stress_consume(unsigned first, unsigned last, uint64_t *seed)
{
    bool            left, any;
    unsigned        i;
    stress_seen_t  *seen;
    sluice_error_t  error;

    left = false;
    any = false;

    for (i = first; i < last; i++) {
        seen = &stress_seen[i];

        if (seen->over) {
            continue;
        }

        left = true;

        if (!load(&stress->life[i].ready)) {
            continue;
        }

        if (!seen->opened) {
            seen->seen = calloc(STRESS_REQUESTS, 1);
            util_check(seen->seen != NULL);
            util_check(sluice_lane_reader_open(&stress_dir.dir,
                                               stress->life[i].name,
                                               &seen->reader, &error)
                       == SLUICE_OK);
            seen->opened = true;
        }

        if (stress_drain(i, seed)) {
            any = true;
        }

        /* first the lock, then what came before it */

        if (sluice_lane_reader_own(&seen->reader)) {
            (void) stress_drain(i, seed);
            stress_finish(i);
        }
    }

    if (!any) {
        sched_yield();
    }

    return left;
}


static void *
stress_thread(void *data)
{
    stress_produce((unsigned) (uintptr_t) data);

    return NULL;
}


static void
stress_threads(double seconds)
{
    double      end;
    unsigned    i, first, next;
    uint64_t    seed;
    pthread_t   thread[STRESS_PRODUCERS];

    store(&stress->stop, 0);
    seed = util_seed();
    end = util_now() + seconds;
    next = 0;

    do {
        first = next;
        next = first + STRESS_PRODUCERS;

        for (i = 0; i < STRESS_PRODUCERS; i++) {
            util_check(pthread_create(&thread[i], NULL, stress_thread,
                                      (void *) (uintptr_t) (first + i)) == 0);
        }

        while (stress_consume(first, next, &seed)) {
            if (util_now() >= end) {
                store(&stress->stop, 1);
            }
        }

        for (i = 0; i < STRESS_PRODUCERS; i++) {
            pthread_join(thread[i], NULL);
        }

    } while (util_now() < end && next + STRESS_PRODUCERS <= STRESS_LIVES);

    printf("ok %u - threads: %u lanes, %llu records\n", ++stress_tests, next,
           (unsigned long long) stress_records);
}


static int
stress_process(void *data)
{
    stress_produce((unsigned) (uintptr_t) data);

    return 0;
}


/* every 20 ms one of the processes is killed and another one is started */

static void
stress_processes(double seconds)
{
    double    end, next_kill;
    pid_t     pid[STRESS_PRODUCERS];
    unsigned  i, lives;
    uint64_t  seed;

    store(&stress->stop, 0);
    seed = util_seed();
    lives = 0;

    for (i = 0; i < STRESS_PRODUCERS; i++) {
        pid[i] = util_fork(stress_process, (void *) (uintptr_t) lives++);
    }

    end = util_now() + seconds;
    next_kill = util_now() + 0.02;

    while (util_now() < end && lives < STRESS_LIVES) {
        (void) stress_consume(0, lives, &seed);

        if (util_now() < next_kill) {
            continue;
        }

        /* one that has not made its lane yet has nothing to recover */

        i = (unsigned) (util_random(&seed) % STRESS_PRODUCERS);

        kill(pid[i], SIGKILL);
        util_check(util_wait(pid[i]) != 1);
        pid[i] = util_fork(stress_process, (void *) (uintptr_t) lives++);
        next_kill = util_now() + 0.02;
    }

    for (i = 0; i < STRESS_PRODUCERS; i++) {
        kill(pid[i], SIGKILL);
        util_check(util_wait(pid[i]) != 1);
    }

    for (i = 0; i < lives; i++) {
        if (!load(&stress->life[i].ready)) {
            stress_seen[i].over = true;
        }
    }

    while (stress_consume(0, lives, &seed)) { /* void */ }

    util_check(lives < 20 || stress_aborted > 0);

    printf("ok %u - processes: %u lives, %llu records, %llu of them aborted\n",
           ++stress_tests, lives, (unsigned long long) stress_records,
           (unsigned long long) stress_aborted);
}


static void
stress_begin(void)
{
    stress = mmap(NULL, sizeof(stress_shared_t), PROT_READ|PROT_WRITE,
                  MAP_SHARED|MAP_ANONYMOUS|MAP_NORESERVE, -1, 0);
    util_check(stress != MAP_FAILED);
    util_check(util_dir_make(&stress_dir));
    memset(stress_seen, 0, sizeof(stress_seen));
    stress_records = 0;
    stress_aborted = 0;
}


static void
stress_end(void)
{
    util_dir_remove(&stress_dir);
    munmap(stress, sizeof(stress_shared_t));
}


int
main(int argc, char **argv)
{
    double       seconds;
    const char  *mode;

    seconds = (argc > 1) ? atof(argv[1]) : 10;
    mode = (argc > 2) ? argv[2] : UTIL_STRESS_MODE;

    sluice_guard_init();

    if (strcmp(mode, "processes") != 0) {
        stress_begin();
        stress_threads(strcmp(mode, "both") == 0 ? seconds / 2 : seconds);
        util_check(util_dir_count(&stress_dir.dir, "lane.", NULL) == 0);
        stress_end();
    }

    if (strcmp(mode, "threads") != 0) {
        stress_begin();
        stress_processes(strcmp(mode, "both") == 0 ? seconds / 2 : seconds);
        stress_end();
    }

    printf("1..%u\n", stress_tests);

    return 0;
}
