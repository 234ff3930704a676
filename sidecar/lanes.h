
/*
 * The set of lanes: finds them in the directory, tells those whose owner
 * lives from those whose owner is gone, and removes what is drained.  One
 * thread.
 *
 * A lane without an owner goes through: its lock is ours (ORPHAN), its ring
 * and its entries are read (READ), everything is acknowledged, it is
 * unlinked.  A kill anywhere in between leaves a lane without an owner, with
 * less in it or the same: the next start does the rest once more.
 */

#ifndef SLUICE_LANES_H
#define SLUICE_LANES_H

#include "lane_reader.h"
#include "log.h"
#include "writer.h"


/* filled, waiting for a writer, and being written */
#define SLUICE_BATCHES_MAX  (2 * SLUICE_WRITERS_MAX + 1)


typedef enum {
    SLUICE_INLET_LIVE = 0,      /* its owner lives                           */
    SLUICE_INLET_ORPHAN,        /* its owner is gone, we hold its lock       */
    SLUICE_INLET_READ,          /* the same, and all that it held is read    */
    SLUICE_INLET_BROKEN,        /* cannot be read on: left as it is          */
    SLUICE_INLET_SKIPPED        /* could not be opened: left as it is        */
} sluice_inlet_state_t;


/* how far a batch that is not yet acknowledged covers the lane */
typedef struct {
    uint64_t  batch;
    uint64_t  end;                      /* position in the ring              */
    uint32_t  entries;                  /* entries before this one           */
    bool      done;
} sluice_inlet_span_t;


/* a lane, from the side where it flows in */
typedef struct {
    sluice_lane_reader_t   reader;
    char                   name[SLUICE_FILE_NAME_MAX];
    sluice_inlet_state_t   state;
    uint64_t               seen;        /* by which scan                     */
    uint64_t               retry;       /* monotonic ms: not opened before   */

    uint64_t               looked;      /* position before the last pause    */
    uint64_t               first;       /* head when it was opened           */
    uint64_t               last;        /* head when we were told to stop    */
    uint64_t               acked;       /* position, the tail is there       */
    uint32_t               entry;       /* next to be read                   */
    uint32_t               forgotten;   /* entries that are acknowledged     */
    sluice_status_t        status;      /* why it could not be opened        */
    bool                   initial;     /* it was there when we began        */
    bool                   told;        /* that it cannot be removed         */

    /* damage that is not yet in the quarantine */
    bool                   held;
    uint64_t               held_until;  /* monotonic ms                      */

    uint32_t               batch_lane;  /* its index in the newest batch     */

    sluice_inlet_span_t    spans[SLUICE_BATCHES_MAX];
    unsigned               span;        /* the oldest                        */
    unsigned               nspans;
} sluice_inlet_t;


typedef struct {
    const sluice_dir_t   *dir;
    sluice_inlet_t      **inlet;
    unsigned              n;
    unsigned              size;
    uint64_t              scans;
    uint64_t              removed;      /* lanes                             */
    bool                  scanned;      /* one scan saw all of the directory */
    bool                  unread;       /* the last one did not              */
    sluice_log_limit_t    limit;
    bool                  replaced;     /* the path names another directory  */
} sluice_lanes_t;


/* the directory stays open for as long as the lanes do */
void sluice_lanes_init(sluice_lanes_t *lanes, const sluice_dir_t *dir);
void sluice_lanes_close(sluice_lanes_t *lanes);

/* looks for new lanes, and for owners that are gone */
void sluice_lanes_scan(sluice_lanes_t *lanes);

/* notes up to where a lane with an owner is to be drained before an end */
void sluice_lanes_mark_last(sluice_lanes_t *lanes);

/* reports, once, that the lane is left as it is; NULL: it was truncated */
void sluice_inlet_break(sluice_inlet_t *inlet, const char *reason);

/*
 * Whether the lane can join it.  Spans that are done stay behind one that is
 * not, and their batches are used again: a batch that waits for its server
 * holds back the lanes it is of.
 */
bool sluice_inlet_room(const sluice_inlet_t *inlet, uint64_t batch);

/*
 * The lane joins a batch; false: it had joined before.  From then on until
 * it is acknowledged the lane stays, and `cover` tells how far the batch
 * goes: to that position of the ring, and to before that entry.
 */
bool sluice_inlet_join(sluice_inlet_t *inlet, uint64_t batch);
void sluice_inlet_cover(sluice_inlet_t *inlet, uint64_t end,
    uint32_t entries);

/* moves the tail over the acknowledged batches up to the first gap */
void sluice_inlet_acknowledged(sluice_inlet_t *inlet, uint64_t batch);

/* unlinks and closes orphans of which all is acknowledged */
void sluice_lanes_remove_drained(sluice_lanes_t *lanes);

/* bytes that wait in all rings */
uint64_t sluice_lanes_lag(const sluice_lanes_t *lanes);

/* how many are left as they are, and hold what they held */
unsigned sluice_lanes_left(const sluice_lanes_t *lanes);

/* whether all that was there when we began, or when told, is acknowledged */
bool sluice_lanes_past_first(const sluice_lanes_t *lanes);
bool sluice_lanes_past_last(const sluice_lanes_t *lanes);


#endif /* SLUICE_LANES_H */
