
#define _GNU_SOURCE

#include "drain.h"
#include "clock.h"
#include "fault.h"

#include <stdlib.h>
#include <string.h>


#define SLUICE_DRAIN_SCAN     100       /* ms between two scans              */
#define SLUICE_DRAIN_QUANTUM  512       /* records of a lane at a time       */
#define SLUICE_DRAIN_HOLD     1000      /* ms until a quarantine is retried  */
#define SLUICE_DRAIN_REPEAT   1000      /* ms between lines about damage     */

/* bytes a millisecond that a worker pushes at most, by a wide margin */
#define SLUICE_DRAIN_BURST    (128 * 1024)

/* scans until a lane that has an owner is believed to have one */
#define SLUICE_DRAIN_SURE     3


static bool sluice_drain_collect(sluice_drain_t *drain);
static bool sluice_drain_read(sluice_drain_t *drain);
static bool sluice_drain_lane(sluice_drain_t *drain, sluice_inlet_t *inlet);
static bool sluice_drain_entries(sluice_drain_t *drain,
    sluice_inlet_t *inlet);
static bool sluice_drain_damage(sluice_drain_t *drain, sluice_inlet_t *inlet,
    const void *bytes, size_t len);
static bool sluice_drain_damaged_ring(sluice_drain_t *drain,
    sluice_inlet_t *inlet);
static void sluice_drain_cover(sluice_drain_t *drain, sluice_inlet_t *inlet,
    uint64_t end, uint32_t entries);
static bool sluice_drain_ready(sluice_drain_t *drain);
static bool sluice_drain_submit(sluice_drain_t *drain, bool moved);
static void sluice_drain_scan(sluice_drain_t *drain);


sluice_status_t
sluice_drain_init(sluice_drain_t *drain, const sluice_dir_t *dir,
    const sluice_options_t *options, sluice_sink_t *sink,
    sluice_quarantine_t *quarantine, sluice_writers_t *writers,
    sluice_error_t *error)
{
    unsigned         i, n;
    sluice_batch_t  *batch;

    memset(drain, 0, sizeof(sluice_drain_t));

    drain->options = options;
    drain->sink = sink;
    drain->quarantine = quarantine;
    drain->writers = writers;
    drain->pause = 1;

    sluice_lanes_init(&drain->lanes, dir);

    /* one is filled while each writer has one and one waits for it */

    n = 2 * writers->n + 1;

    for (i = 0; i < n; i++) {
        batch = sluice_batch_create((uint32_t) options->batch_size);

        if (batch == NULL) {
            sluice_drain_close(drain);
            return sluice_error(error, SLUICE_FAILED,
                                "no memory for %u batches", n);
        }

        batch->next = drain->free;
        drain->free = batch;
    }

    return SLUICE_OK;
}


void
sluice_drain_close(sluice_drain_t *drain)
{
    sluice_batch_t  *batch;

    sluice_batch_destroy(drain->batch);
    drain->batch = NULL;

    while (drain->free != NULL) {
        batch = drain->free;
        drain->free = batch->next;
        sluice_batch_destroy(batch);
    }

    sluice_lanes_close(&drain->lanes);
}


bool
sluice_drain_turn(sluice_drain_t *drain)
{
    bool  moved;

    moved = sluice_drain_collect(drain);

    if (sluice_clock_ms() >= drain->next_scan) {
        sluice_drain_scan(drain);
    }

    moved |= sluice_drain_read(drain);
    moved |= sluice_drain_submit(drain, moved);

    if (moved) {
        sluice_lanes_remove_drained(&drain->lanes);
    }

    return moved;
}


/*
 * Looking at a busy lane too often takes the core from a worker, and the line
 * with its head: a ring may fill to an eighth in between.  It may never fill
 * as a whole, however sudden the burst.
 */

uint64_t
sluice_drain_pause(sluice_drain_t *drain)
{
    double            share, most;
    uint64_t          longest, bound;
    unsigned          i;
    sluice_inlet_t   *inlet;

    most = 0;
    longest = drain->options->poll;

    for (i = 0; i < drain->lanes.n; i++) {
        inlet = drain->lanes.inlet[i];

        if (inlet->state != SLUICE_INLET_LIVE) {
            continue;
        }

        share = (double) (inlet->reader.position - inlet->looked)
                / (double) inlet->reader.ring_size;
        inlet->looked = inlet->reader.position;

        if (share > most) {
            most = share;
        }

        bound = inlet->reader.ring_size / SLUICE_DRAIN_BURST;

        if (bound < longest) {
            longest = bound;
        }
    }

    if (most > 1.0 / 8) {
        drain->pause /= 2;

    } else if (most < 1.0 / 32) {
        drain->pause *= 2;
    }

    if (drain->pause > longest) {
        drain->pause = longest;
    }

    if (drain->pause == 0) {
        drain->pause = 1;
    }

    return drain->pause;
}


static void
sluice_drain_scan(sluice_drain_t *drain)
{
    sluice_lanes_t  *lanes;

    lanes = &drain->lanes;

    sluice_lanes_scan(lanes);
    sluice_lanes_remove_drained(lanes);
    sluice_writers_lag(drain->writers, sluice_lanes_lag(lanes));
    sluice_writers_watch(drain->writers);

    if (!drain->settled && lanes->scans >= SLUICE_DRAIN_SURE
        && sluice_lanes_past_first(lanes))
    {
        drain->settled = true;

        if (drain->sink->settled != NULL) {
            drain->sink->settled(drain->sink);
        }
    }

    drain->next_scan = sluice_clock_ms() + SLUICE_DRAIN_SCAN;
}


/* the one place where tails move */

static bool
sluice_drain_collect(sluice_drain_t *drain)
{
    bool             any;
    uint32_t         i;
    sluice_batch_t  *batch;

    any = false;

    while ((batch = sluice_writers_collect(drain->writers)) != NULL) {
        any = true;

        sluice_fault("drain.written");

        for (i = 0; i < batch->nlanes; i++) {
            sluice_inlet_acknowledged(batch->lanes[i].inlet, batch->number);
        }

        sluice_fault("drain.advanced");

        sluice_batch_clear(batch);
        batch->next = drain->free;
        drain->free = batch;
    }

    return any;
}


static bool
sluice_drain_read(sluice_drain_t *drain)
{
    bool      moved;
    unsigned  i, n;

    moved = false;
    n = drain->lanes.n;

    for (i = 0; i < n && sluice_drain_ready(drain); i++) {
        moved |= sluice_drain_lane(drain,
                               drain->lanes.inlet[(drain->first + i) % n]);
    }

    /* the lane that found the batch full comes first next time */

    drain->first = (n != 0) ? (drain->first + i) % n : 0;

    return moved;
}


/* whether there is a batch with room; it is what holds the drain back */

static bool
sluice_drain_ready(sluice_drain_t *drain)
{
    if (drain->batch == NULL) {
        if (drain->free == NULL) {
            return false;
        }

        drain->batch = drain->free;
        drain->free = drain->batch->next;

        drain->batch->number = ++drain->number;
        drain->batch->opened = 0;
    }

    if (!sluice_batch_full(drain->batch)) {
        return true;
    }

    return sluice_drain_submit(drain, true) && sluice_drain_ready(drain);
}


/* the batch being filled goes so far in that lane */

static void
sluice_drain_cover(sluice_drain_t *drain, sluice_inlet_t *inlet, uint64_t end,
    uint32_t entries)
{
    sluice_batch_t  *batch;

    batch = drain->batch;

    if (sluice_inlet_join(inlet, batch->number)) {
        inlet->batch_lane = sluice_batch_join(batch, inlet,
                                              inlet->reader.file.header.uuid,
                                              inlet->reader.node);
    }

    if (batch->opened == 0) {
        batch->opened = sluice_clock_ms();
    }

    sluice_inlet_cover(inlet, end, entries);
}


static bool
sluice_drain_lane(sluice_drain_t *drain, sluice_inlet_t *inlet)
{
    unsigned                i;
    uint64_t                end;
    sluice_error_t          error;
    const sluice_record_t  *record;

    if ((inlet->state != SLUICE_INLET_LIVE
         && inlet->state != SLUICE_INLET_ORPHAN)
        || !sluice_inlet_room(inlet, drain->batch->number))
    {
        return false;
    }

    if (inlet->held && !sluice_drain_damaged_ring(drain, inlet)) {
        return false;
    }

    for (i = 0; i < SLUICE_DRAIN_QUANTUM; i++) {

        if (sluice_batch_full(drain->batch)
            || (drain->stopping && inlet->state == SLUICE_INLET_LIVE
                && inlet->reader.position >= inlet->last))
        {
            break;
        }

        switch (sluice_lane_reader_next(&inlet->reader, &record, &end,
                                        &error))
        {

        case SLUICE_READ_RECORD:
            sluice_drain_cover(drain, inlet, end, inlet->entry);
            sluice_batch_add(drain->batch, inlet->batch_lane, record);
            drain->counters.records++;
            break;

        case SLUICE_READ_EMPTY:
            if (inlet->state == SLUICE_INLET_ORPHAN) {
                return sluice_drain_entries(drain, inlet);
            }

            return i != 0;

        case SLUICE_READ_DAMAGED:
            inlet->held = true;
            inlet->held_until = 0;

            /* on the disk, which takes its time: now the other lanes */

            (void) sluice_drain_damaged_ring(drain, inlet);

            return true;

        default: /* SLUICE_READ_BROKEN */
            sluice_inlet_break(inlet, error.text);
            return true;
        }
    }

    return i != 0;
}


/* the ring is read to its end, which is final: now what was under way */

static bool
sluice_drain_entries(sluice_drain_t *drain, sluice_inlet_t *inlet)
{
    sluice_lane_reader_t        *reader;
    _Alignas(8) static uint8_t   copy[SLUICE_RECORD_MAX];

    reader = &inlet->reader;

    for ( /* void */ ; inlet->entry < reader->nentries; inlet->entry++) {

        if (sluice_batch_full(drain->batch)) {
            return true;
        }

        switch (sluice_lane_reader_entry(reader, inlet->entry,
                                         (sluice_record_t *) copy))
        {

        case SLUICE_READ_RECORD:
            sluice_drain_cover(drain, inlet, reader->position,
                               inlet->entry + 1);
            sluice_batch_add(drain->batch, inlet->batch_lane,
                             (const sluice_record_t *) copy);
            drain->counters.records++;
            drain->counters.recovered++;
            break;

        case SLUICE_READ_EMPTY:
            break;

        default: /* SLUICE_READ_DAMAGED */
            if (reader->damage.len == 0) {
                sluice_inlet_break(inlet, NULL);
                return true;
            }

            if (!sluice_drain_damage(drain, inlet, copy, SLUICE_RECORD_MAX)) {
                return false;
            }
            break;
        }
    }

    inlet->state = SLUICE_INLET_READ;

    return true;
}


/* false: the quarantine cannot take it, and the lane waits */

static bool
sluice_drain_damaged_ring(sluice_drain_t *drain, sluice_inlet_t *inlet)
{
    bool                   kept;
    uint8_t               *bytes;
    sluice_lane_reader_t  *reader;

    reader = &inlet->reader;

    if (sluice_clock_ms() < inlet->held_until) {
        return false;
    }

    bytes = malloc(reader->damage.len);

    if (bytes != NULL
        && !sluice_lane_reader_raw(reader, reader->damage.position, bytes,
                                   reader->damage.len))
    {
        free(bytes);
        sluice_inlet_break(inlet, NULL);
        return false;
    }

    kept = (bytes != NULL)
           && sluice_drain_damage(drain, inlet, bytes, reader->damage.len);

    free(bytes);

    if (!kept) {
        inlet->held_until = sluice_clock_ms() + SLUICE_DRAIN_HOLD;
        return false;
    }

    inlet->held = false;

    sluice_drain_cover(drain, inlet,
                       reader->damage.position + reader->damage.len,
                       inlet->entry);

    return true;
}


static bool
sluice_drain_damage(sluice_drain_t *drain, sluice_inlet_t *inlet,
    const void *bytes, size_t len)
{
    unsigned               withheld;
    sluice_error_t         error;
    sluice_status_t        status;
    sluice_lane_reader_t  *reader;

    reader = &inlet->reader;

    status = sluice_quarantine_damage(drain->quarantine,
                                      reader->file.header.uuid,
                                      reader->damage.position,
                                      reader->damage.reason, bytes, len,
                                      &error);

    if (status == SLUICE_OK) {
        drain->counters.damaged++;
        drain->counters.damaged_bytes += len;
    }

    if (!sluice_log_due(&drain->limit, SLUICE_DRAIN_REPEAT, &withheld)) {
        return status == SLUICE_OK;
    }

    if (status != SLUICE_OK) {
        sluice_log(SLUICE_LOG_ERROR, "\"%s\" waits, it has damaged bytes and "
                   "they cannot be kept: %s", inlet->name, error.text);
        return false;
    }

    sluice_log(SLUICE_LOG_ERROR, "skipped: %zu bytes of \"%s\" at %s %llu are "
               "no record: %s; %s (%u more since the last line)", len,
               inlet->name,
               inlet->state == SLUICE_INLET_ORPHAN
               && reader->position == reader->head ? "entry" : "position",
               (unsigned long long) reader->damage.position,
               reader->damage.reason,
               drain->sink->keeps_nothing ? "dropped" : "kept in quarantine",
               withheld);

    return true;
}


/* hands the batch over if it is full, or old enough, or the last one */

static bool
sluice_drain_submit(sluice_drain_t *drain, bool moved)
{
    sluice_batch_t  *batch;

    batch = drain->batch;

    if (batch == NULL || batch->nlanes == 0
        || (drain->sink->serial && drain->writers->in_flight != 0))
    {
        return false;
    }

    if (!sluice_batch_full(batch)
        && !(drain->stopping && !moved)
        && sluice_clock_ms() - batch->opened < drain->options->batch_time)
    {
        return false;
    }

    sluice_fault("drain.copied");

    drain->batch = NULL;

    sluice_writers_submit(drain->writers, batch);

    return true;
}


void
sluice_drain_stop(sluice_drain_t *drain)
{
    sluice_lanes_scan(&drain->lanes);
    sluice_lanes_mark_last(&drain->lanes);

    drain->stopping = true;
}


bool
sluice_drain_over(const sluice_drain_t *drain)
{
    return drain->stopping && drain->writers->in_flight == 0
           && (drain->batch == NULL || drain->batch->nlanes == 0)
           && sluice_lanes_past_last(&drain->lanes);
}
