
#define _GNU_SOURCE

#include "lanes.h"
#include "clock.h"
#include "fault.h"
#include "guard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>


#define SLUICE_LANES_RETRY   5000       /* ms, for what could not be opened  */
#define SLUICE_LANES_REPEAT  1000       /* ms between lines about scans      */


static int sluice_lanes_visit(const char *name, void *data);
static sluice_inlet_t *sluice_lanes_find(const sluice_lanes_t *lanes,
    const char *name);
static sluice_inlet_t *sluice_lanes_add(sluice_lanes_t *lanes,
    const char *name);
static void sluice_inlet_open(sluice_lanes_t *lanes, sluice_inlet_t *inlet);
static void sluice_inlet_put_back(sluice_inlet_t *inlet);
static void sluice_lanes_drop(sluice_lanes_t *lanes, unsigned i);
static void sluice_lanes_check_dir(sluice_lanes_t *lanes);
static bool sluice_inlet_remove(sluice_lanes_t *lanes, sluice_inlet_t *inlet);


static inline bool
sluice_inlet_idle(const sluice_inlet_t *inlet)
{
    return inlet->nspans == 0;
}


static inline bool
sluice_inlet_left(const sluice_inlet_t *inlet)
{
    return inlet->state == SLUICE_INLET_BROKEN
           || inlet->state == SLUICE_INLET_SKIPPED;
}


void
sluice_lanes_init(sluice_lanes_t *lanes, const sluice_dir_t *dir)
{
    memset(lanes, 0, sizeof(sluice_lanes_t));

    lanes->dir = dir;
}


void
sluice_lanes_close(sluice_lanes_t *lanes)
{
    while (lanes->n > 0) {
        sluice_lanes_drop(lanes, lanes->n - 1);
    }

    free(lanes->inlet);
    lanes->inlet = NULL;
    lanes->size = 0;
}


void
sluice_lanes_scan(sluice_lanes_t *lanes)
{
    unsigned         i, withheld;
    sluice_error_t   error;
    sluice_inlet_t  *inlet;

    lanes->scans++;

    lanes->unread = sluice_dir_walk(lanes->dir, sluice_lanes_visit, lanes,
                                    &error)
                    != SLUICE_OK;

    if (lanes->unread) {
        if (sluice_log_due(&lanes->limit, SLUICE_LANES_REPEAT, &withheld)) {
            sluice_log(SLUICE_LOG_ERROR, "%s", error.text);
        }

        return;
    }

    lanes->scanned = true;

    for (i = 0; i < lanes->n; i++) {

        inlet = lanes->inlet[i];

        /* what we left alone and somebody has removed since */

        if (inlet->seen != lanes->scans && sluice_inlet_left(inlet)
            && sluice_inlet_idle(inlet))
        {
            sluice_lanes_drop(lanes, i--);
            continue;
        }

        /*
         * The lock is free the moment its owner is dead.  Who else may have
         * it is a worker that counts lanes, for as long as it looks.
         */

        if (inlet->state == SLUICE_INLET_LIVE
            && sluice_lane_reader_own(&inlet->reader))
        {
            sluice_log(SLUICE_LOG_DEBUG, "\"%s\" of process %u has lost its "
                       "owner", inlet->name, inlet->reader.pid);

            inlet->state = SLUICE_INLET_ORPHAN;
        }

        if (inlet->state == SLUICE_INLET_LIVE) {
            sluice_inlet_put_back(inlet);
        }
    }

    sluice_lanes_check_dir(lanes);
}


static int
sluice_lanes_visit(const char *name, void *data)
{
    sluice_lanes_t  *lanes = data;

    sluice_inlet_t  *inlet;

    if (strncmp(name, SLUICE_LANE_PREFIX, sizeof(SLUICE_LANE_PREFIX) - 1)
        != 0)
    {
        return 0;
    }

    inlet = sluice_lanes_find(lanes, name);

    if (inlet == NULL) {
        inlet = sluice_lanes_add(lanes, name);

        if (inlet == NULL) {
            sluice_log(SLUICE_LOG_ERROR, "no memory for \"%s\"", name);
            return -1;
        }
    }

    if (inlet->state == SLUICE_INLET_SKIPPED
        && sluice_clock_ms() >= inlet->retry)
    {
        sluice_inlet_open(lanes, inlet);
    }

    inlet->seen = lanes->scans;

    return 0;
}


static sluice_inlet_t *
sluice_lanes_find(const sluice_lanes_t *lanes, const char *name)
{
    unsigned  i;

    for (i = 0; i < lanes->n; i++) {
        if (strcmp(lanes->inlet[i]->name, name) == 0) {
            return lanes->inlet[i];
        }
    }

    return NULL;
}


static sluice_inlet_t *
sluice_lanes_add(sluice_lanes_t *lanes, const char *name)
{
    unsigned          size;
    sluice_inlet_t   *inlet, **p;

    if (lanes->n == lanes->size) {
        size = lanes->size ? lanes->size * 2 : 16;
        p = realloc(lanes->inlet, size * sizeof(sluice_inlet_t *));

        if (p == NULL) {
            return NULL;
        }

        lanes->inlet = p;
        lanes->size = size;
    }

    inlet = calloc(1, sizeof(sluice_inlet_t));
    if (inlet == NULL) {
        return NULL;
    }

    strcpy(inlet->name, name);
    inlet->state = SLUICE_INLET_SKIPPED;
    inlet->initial = !lanes->scanned;

    lanes->inlet[lanes->n++] = inlet;

    return inlet;
}


/* told when it fails first; tried again in case it is a matter of rights */

static void
sluice_inlet_open(sluice_lanes_t *lanes, sluice_inlet_t *inlet)
{
    sluice_error_t   error;
    sluice_status_t  status;

    status = sluice_lane_reader_open(lanes->dir, inlet->name, &inlet->reader,
                                     &error);
    inlet->status = status;

    if (status != SLUICE_OK) {

        /* a lane that its worker has just removed, or is removing */

        if (inlet->retry == 0 && status != SLUICE_ABSENT
            && status != SLUICE_BUSY)
        {
            sluice_log(SLUICE_LOG_ERROR, "skipped: %s", error.text);
        }

        inlet->retry = sluice_clock_ms() + SLUICE_LANES_RETRY;

        return;
    }

    if (inlet->retry != 0) {
        sluice_log(SLUICE_LOG_WARN, "\"%s\" can be read now", inlet->name);
    }

    sluice_log(SLUICE_LOG_DEBUG, "\"%s\" of process %u: %llu bytes wait",
               inlet->name, inlet->reader.pid, (unsigned long long)
               (inlet->reader.head - inlet->reader.position));

    inlet->state = SLUICE_INLET_LIVE;
    inlet->looked = inlet->reader.position;
    inlet->first = inlet->reader.head;
    inlet->last = 0;
    inlet->acked = inlet->reader.position;
}


/*
 * An impossible tail reads as full: its worker pushes nothing any more, and
 * nothing would ever move the tail again.
 */

static void
sluice_inlet_put_back(sluice_inlet_t *inlet)
{
    uint64_t  tail;

    if (!sluice_guard_load(&inlet->reader.control->tail, &tail)
        || tail == inlet->acked)
    {
        return;
    }

    sluice_log(SLUICE_LOG_ERROR, "the tail of \"%s\" was damaged, %llu: put "
               "back to %llu", inlet->name, (unsigned long long) tail,
               (unsigned long long) inlet->acked);

    (void) sluice_lane_reader_advance(&inlet->reader, inlet->acked);
}


static void
sluice_lanes_drop(sluice_lanes_t *lanes, unsigned i)
{
    sluice_inlet_t  *inlet;

    inlet = lanes->inlet[i];

    if (inlet->state != SLUICE_INLET_SKIPPED) {
        sluice_lane_reader_close(lanes->dir, &inlet->reader);
    }

    free(inlet);

    lanes->inlet[i] = lanes->inlet[--lanes->n];
}


/* a service manager may remove the directory with nginx, and make it anew */

static void
sluice_lanes_check_dir(sluice_lanes_t *lanes)
{
    struct stat  ours, named;

    if (lanes->replaced || fstat(lanes->dir->fd, &ours) == -1
        || stat(lanes->dir->path, &named) == -1)
    {
        return;
    }

    if (ours.st_ino != named.st_ino || ours.st_dev != named.st_dev) {
        sluice_log(SLUICE_LOG_WARN, "\"%s\" is another directory now",
                   lanes->dir->path);
        lanes->replaced = true;
    }
}


void
sluice_lanes_mark_last(sluice_lanes_t *lanes)
{
    unsigned         i;
    uint64_t         head;
    sluice_inlet_t  *inlet;

    for (i = 0; i < lanes->n; i++) {

        inlet = lanes->inlet[i];

        if (sluice_inlet_left(inlet)) {
            continue;
        }

        if (!sluice_guard_load(&inlet->reader.control->head, &head)) {
            head = 0;
        }

        inlet->last = head;
    }
}


void
sluice_inlet_break(sluice_inlet_t *inlet, const char *reason)
{
    if (inlet->state != SLUICE_INLET_BROKEN) {
        inlet->state = SLUICE_INLET_BROKEN;

        if (reason != NULL) {
            sluice_log(SLUICE_LOG_ERROR, "skipped: %s", reason);

        } else {
            sluice_log(SLUICE_LOG_ERROR, "skipped: \"%s\" was truncated",
                       inlet->name);
        }
    }
}


bool
sluice_inlet_room(const sluice_inlet_t *inlet, uint64_t batch)
{
    return inlet->nspans < SLUICE_BATCHES_MAX
           || inlet->spans[(inlet->span + inlet->nspans - 1)
                           % SLUICE_BATCHES_MAX].batch == batch;
}


bool
sluice_inlet_join(sluice_inlet_t *inlet, uint64_t batch)
{
    sluice_inlet_span_t  *span;

    if (inlet->nspans > 0) {
        span = &inlet->spans[(inlet->span + inlet->nspans - 1)
                             % SLUICE_BATCHES_MAX];

        if (span->batch == batch) {
            return false;
        }
    }

    /* sluice_inlet_room() was asked */

    span = &inlet->spans[(inlet->span + inlet->nspans++) % SLUICE_BATCHES_MAX];

    span->batch = batch;
    span->end = inlet->acked;
    span->entries = inlet->forgotten;
    span->done = false;

    return true;
}


void
sluice_inlet_cover(sluice_inlet_t *inlet, uint64_t end, uint32_t entries)
{
    sluice_inlet_span_t  *span;

    span = &inlet->spans[(inlet->span + inlet->nspans - 1)
                         % SLUICE_BATCHES_MAX];

    span->end = end;
    span->entries = entries;
}


void
sluice_inlet_acknowledged(sluice_inlet_t *inlet, uint64_t batch)
{
    bool                  moved;
    unsigned              i;
    uint32_t              entries;
    sluice_inlet_span_t  *span;

    for (i = 0; i < inlet->nspans; i++) {
        span = &inlet->spans[(inlet->span + i) % SLUICE_BATCHES_MAX];

        if (span->batch == batch) {
            span->done = true;
            break;
        }
    }

    moved = false;
    entries = inlet->forgotten;

    while (inlet->nspans > 0 && inlet->spans[inlet->span].done) {
        span = &inlet->spans[inlet->span];

        inlet->acked = span->end;
        entries = span->entries;
        moved = true;

        inlet->span = (inlet->span + 1) % SLUICE_BATCHES_MAX;
        inlet->nspans--;
    }

    if (!moved) {
        return;
    }

    if (!sluice_lane_reader_advance(&inlet->reader, inlet->acked)) {
        sluice_inlet_break(inlet, NULL);
        return;
    }

    /* the tail first: entries are read when the ring is at its end */

    while (inlet->forgotten < entries) {
        if (!sluice_lane_reader_forget(&inlet->reader, inlet->forgotten)) {
            sluice_inlet_break(inlet, NULL);
            return;
        }

        inlet->forgotten++;
    }
}


void
sluice_lanes_remove_drained(sluice_lanes_t *lanes)
{
    unsigned  i;

    for (i = 0; i < lanes->n; i++) {
        if (lanes->inlet[i]->state == SLUICE_INLET_READ
            && sluice_inlet_idle(lanes->inlet[i])
            && sluice_inlet_remove(lanes, lanes->inlet[i]))
        {
            sluice_lanes_drop(lanes, i--);
        }
    }
}


static bool
sluice_inlet_remove(sluice_lanes_t *lanes, sluice_inlet_t *inlet)
{
    sluice_fault("drain.recovered");

    /* damaged entries, which are in the quarantine, and published ones */

    while (inlet->forgotten < inlet->reader.nentries) {
        if (!sluice_lane_reader_forget(&inlet->reader, inlet->forgotten++)) {
            sluice_inlet_break(inlet, NULL);
            return false;
        }
    }

    /* looks once more itself whether there is nothing left */

    if (sluice_lane_reader_retire(lanes->dir, &inlet->reader) != SLUICE_OK) {
        if (!inlet->told) {
            inlet->told = true;
            sluice_log(SLUICE_LOG_DEBUG, "\"%s\" is drained and somebody "
                       "has it open", inlet->name);
        }

        return false;
    }

    sluice_log(SLUICE_LOG_INFO, "\"%s\" of process %u is drained, its owner "
               "is gone: removed", inlet->name, inlet->reader.pid);

    lanes->removed++;

    return true;
}


uint64_t
sluice_lanes_lag(const sluice_lanes_t *lanes)
{
    unsigned               i;
    uint64_t               lag, head;
    const sluice_inlet_t  *inlet;

    lag = 0;

    for (i = 0; i < lanes->n; i++) {
        inlet = lanes->inlet[i];

        if (!sluice_inlet_left(inlet)
            && sluice_guard_load(&inlet->reader.control->head, &head)
            && head - inlet->acked <= inlet->reader.ring_size)
        {
            lag += head - inlet->acked;
        }
    }

    return lag;
}


unsigned
sluice_lanes_left(const sluice_lanes_t *lanes)
{
    unsigned               i, n;
    const sluice_inlet_t  *inlet;

    n = 0;

    for (i = 0; i < lanes->n; i++) {
        inlet = lanes->inlet[i];

        /* ABSENT: its worker has removed it meanwhile */

        n += sluice_inlet_left(inlet)
             && !(inlet->state == SLUICE_INLET_SKIPPED
                  && inlet->status == SLUICE_ABSENT);
    }

    return n;
}


bool
sluice_lanes_past_first(const sluice_lanes_t *lanes)
{
    unsigned               i;
    const sluice_inlet_t  *inlet;

    for (i = 0; i < lanes->n; i++) {
        inlet = lanes->inlet[i];

        if (!inlet->initial) {
            continue;
        }

        switch (inlet->state) {

        case SLUICE_INLET_LIVE:
            if (inlet->acked < inlet->first) {
                return false;
            }
            break;

        case SLUICE_INLET_ORPHAN:
            return false;

        case SLUICE_INLET_READ:
            if (!sluice_inlet_idle(inlet)) {
                return false;
            }
            break;

        case SLUICE_INLET_SKIPPED:

            /* rights may be given: then what it holds comes */

            if (inlet->status != SLUICE_CORRUPT
                && inlet->status != SLUICE_VERSION)
            {
                return false;
            }
            break;

        default: /* SLUICE_INLET_BROKEN */
            break;
        }
    }

    return lanes->scanned;
}


bool
sluice_lanes_past_last(const sluice_lanes_t *lanes)
{
    unsigned               i;
    const sluice_inlet_t  *inlet;

    for (i = 0; i < lanes->n; i++) {
        inlet = lanes->inlet[i];

        if (!sluice_inlet_idle(inlet)) {
            return false;
        }

        switch (inlet->state) {

        case SLUICE_INLET_LIVE:
            if (inlet->acked < inlet->last) {
                return false;
            }
            break;

        case SLUICE_INLET_ORPHAN:
            return false;

        default:        /* READ and still there: somebody else has it open */
            break;
        }
    }

    return true;
}
