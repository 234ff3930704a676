
/* sluicectl status: what the files hold */

#define _GNU_SOURCE

#include "ctl.h"
#include "clock.h"
#include "lane.h"
#include "limit.h"
#include "workers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


/* of the live windows of a zone */
typedef struct {
    uint64_t  live;
    uint64_t  now;              /* monotonic ms                              */
    uint32_t  window;
} sluice_ctl_census_t;


static void sluice_ctl_workers(sluice_ctl_t *ctl);
static void sluice_ctl_slot(sluice_ctl_t *ctl, const sluice_file_t *file,
    const sluice_slot_t *slot, unsigned i);
static void sluice_ctl_lanes(sluice_ctl_t *ctl);
static void sluice_ctl_lane(sluice_ctl_t *ctl, const char *name);
static void sluice_ctl_zones(sluice_ctl_t *ctl);
static void sluice_ctl_zone(sluice_ctl_t *ctl, const char *name);
static void sluice_ctl_zone_live(sluice_u128_t slot, void *data);


static const sluice_column_t  sluice_ctl_worker_columns[] = {
    { "slot", "SLOT", 4, SLUICE_CELL_NUMBER },
    { "pid", "PID", 8, SLUICE_CELL_NUMBER },
    { "alive", "ALIVE", 5, SLUICE_CELL_YES },
    { "age_s", "AGE", 8, SLUICE_CELL_AGE },
    { "lane", "LANE", 36, SLUICE_CELL_TEXT },
    { NULL, NULL, 0, 0 }
};

static const sluice_column_t  sluice_ctl_lane_columns[] = {
    { "lane", "LANE", 36, SLUICE_CELL_TEXT },
    { "pid", "PID", 8, SLUICE_CELL_NUMBER },
    { "owned", "OWNED", 5, SLUICE_CELL_YES },
    { "ring", "RING", 7, SLUICE_CELL_BYTES },
    { "lag", "LAG", 7, SLUICE_CELL_BYTES },
    { "used", "USED", 6, SLUICE_CELL_PERCENT },
    { "reserved", "RESERVED", 8, SLUICE_CELL_BYTES },
    { "open", "OPEN", 6, SLUICE_CELL_NUMBER },
    { "pushed", "PUSHED", 12, SLUICE_CELL_NUMBER },
    { "refused", "REFUSED", 8, SLUICE_CELL_NUMBER },
    { "damaged", "DAMAGED", 7, SLUICE_CELL_BYTES },
    { NULL, NULL, 0, 0 }
};

static const sluice_column_t  sluice_ctl_zone_columns[] = {
    { "zone", "ZONE", 16, SLUICE_CELL_TEXT },
    { "number", "N", 3, SLUICE_CELL_NUMBER },
    { "use", "USE", 6, SLUICE_CELL_TEXT },
    { "unit", "UNIT", 8, SLUICE_CELL_TEXT },
    { "window_s", "WINDOW", 8, SLUICE_CELL_AGE },
    { "scale", "SCALE", 6, SLUICE_CELL_NUMBER },
    { "slots", "SLOTS", 10, SLUICE_CELL_NUMBER },
    { "live", "LIVE", 10, SLUICE_CELL_NUMBER },
    { "fill", "FILL", 6, SLUICE_CELL_PERCENT },
    { "passed", "PASSED", 12, SLUICE_CELL_NUMBER },
    { "refused", "REFUSED", 10, SLUICE_CELL_NUMBER },
    { "evicted", "EVICTED", 8, SLUICE_CELL_NUMBER },
    { "contended", "CONTENDED", 9, SLUICE_CELL_NUMBER },
    { NULL, NULL, 0, 0 }
};


void
sluice_ctl_status(sluice_ctl_t *ctl)
{
    sluice_ctl_workers(ctl);
    sluice_ctl_lanes(ctl);
    sluice_ctl_pools(ctl);
    sluice_ctl_zones(ctl);
    sluice_ctl_conns(ctl);
}


static const char *
sluice_ctl_stat_text(unsigned i)
{
    return i < SLUICE_STAT_COUNT ? sluice_stat_text((sluice_stat_t) i) : "";
}


static void
sluice_ctl_workers(sluice_ctl_t *ctl)
{
    bool             stale, read;
    bson_t           totals;
    unsigned         i, j;
    uint64_t         sum[SLUICE_STAT_COUNT];
    sluice_file_t    file;
    sluice_slot_t   *slots;

    memset(sum, 0, sizeof(sum));
    read = false;

    slots = calloc(SLUICE_SLOTS, sizeof(sluice_slot_t));

    sluice_ctl_table(ctl, "workers", sluice_ctl_worker_columns);

    if (slots != NULL
        && sluice_ctl_open(ctl, SLUICE_WORKERS_NAME, SLUICE_FILE_WORKERS,
                           &file, &stale))
    {
        if (file.header.geometry[0] != SLUICE_SLOTS
            || file.header.geometry[1] != SLUICE_STAT_MAX)
        {
            sluice_ctl_skip(ctl, file.name, "it has another geometry");

        } else {
            read = sluice_ctl_read(ctl, &file, 0, 0, slots,
                                   SLUICE_SLOTS * sizeof(sluice_slot_t));
        }

        for (i = 0; read && i < SLUICE_SLOTS; i++) {
            sluice_ctl_slot(ctl, &file, &slots[i], i);

            for (j = 0; j < SLUICE_STAT_COUNT; j++) {
                sum[j] += slots[i].stat[j];
            }
        }

        sluice_file_close(&ctl->dir, &file);
    }

    sluice_ctl_table_end(ctl);
    free(slots);

    bson_init(&totals);

    for (j = 0; read && j < SLUICE_STAT_COUNT; j++) {
        sluice_ctl_number(&totals, sluice_stat_name((sluice_stat_t) j),
                          sum[j]);
    }

    sluice_ctl_object(ctl, "totals", &totals, sluice_ctl_stat_text);
    bson_destroy(&totals);
}


static void
sluice_ctl_slot(sluice_ctl_t *ctl, const sluice_file_t *file,
    const sluice_slot_t *slot, unsigned i)
{
    bool      alive;
    char      uuid[37];
    bson_t    row;

    static const uint8_t  none[16];

    alive = sluice_file_locked(file, SLUICE_LOCK_SLOT + (off_t) i);

    if (!alive && slot->state == SLUICE_SLOT_FREE) {
        return;
    }

    bson_init(&row);
    sluice_ctl_number(&row, "slot", i);
    sluice_ctl_number(&row, "pid", slot->pid);
    BSON_APPEND_BOOL(&row, "alive", alive);
    sluice_ctl_since(ctl, &row, slot->started);

    if (memcmp(slot->lane, none, 16) != 0) {
        sluice_uuid_format(slot->lane, uuid);
        BSON_APPEND_UTF8(&row, "lane", uuid);
    }

    sluice_ctl_row(ctl, &row);
    bson_destroy(&row);
}


static void
sluice_ctl_lanes(sluice_ctl_t *ctl)
{
    sluice_ctl_files(ctl, "lanes", sluice_ctl_lane_columns,
                     SLUICE_LANE_PREFIX, sluice_ctl_lane);
}


static void
sluice_ctl_lane(sluice_ctl_t *ctl, const char *name)
{
    bool                    stale;
    char                    uuid[37];
    bson_t                  row;
    uint64_t                ring, lag;
    sluice_file_t           file;
    sluice_lane_control_t   control;

    if (!sluice_ctl_open(ctl, name, SLUICE_FILE_LANE, &file, &stale)) {
        return;
    }

    if (!sluice_ctl_read(ctl, &file, 0, 0, &control, sizeof(control))) {
        sluice_file_close(&ctl->dir, &file);
        return;
    }

    ring = file.header.geometry[0];
    lag = control.head - control.tail;

    sluice_uuid_format(file.header.uuid, uuid);

    bson_init(&row);
    BSON_APPEND_UTF8(&row, "lane", uuid);
    sluice_ctl_number(&row, "pid", control.pid);
    sluice_ctl_number(&row, "slot", control.slot);
    sluice_ctl_text(&row, "node", control.node, SLUICE_NODE_MAX);
    BSON_APPEND_BOOL(&row, "owned",
                     sluice_file_locked(&file, SLUICE_LOCK_OWNER));
    BSON_APPEND_BOOL(&row, "stale", stale);
    sluice_ctl_since(ctl, &row, control.started);
    sluice_ctl_number(&row, "ring", ring);
    sluice_ctl_number(&row, "head", control.head);
    sluice_ctl_number(&row, "tail", control.tail);

    if (control.head < control.tail || ring == 0 || lag > ring) {
        sluice_ctl_skip(ctl, name, "its head and tail are impossible");

    } else {
        sluice_ctl_number(&row, "lag", lag);
        BSON_APPEND_DOUBLE(&row, "used", (double) lag * 100 / (double) ring);
    }

    sluice_ctl_number(&row, "reserved", control.reserved);
    sluice_ctl_number(&row, "open", control.open);
    sluice_ctl_number(&row, "entries", file.header.geometry[1]);
    sluice_ctl_number(&row, "sequence", control.sequence);
    sluice_ctl_number(&row, "pushed", control.pushed);
    sluice_ctl_number(&row, "refused", control.refused);
    sluice_ctl_number(&row, "damaged", control.skipped);

    sluice_ctl_row(ctl, &row);

    bson_destroy(&row);
    sluice_file_close(&ctl->dir, &file);
}


static void
sluice_ctl_zones(sluice_ctl_t *ctl)
{
    sluice_ctl_files(ctl, "zones", sluice_ctl_zone_columns,
                     SLUICE_LIMIT_PREFIX, sluice_ctl_zone);
}


static void
sluice_ctl_zone(sluice_ctl_t *ctl, const char *name)
{
    bool                    stale;
    bson_t                  row;
    size_t                  size;
    unsigned                i;
    uint64_t                live, slots;
    sluice_file_t           file;
    const uint64_t         *g;
    sluice_ctl_census_t     census;
    sluice_limit_column_t  *columns, sum;

    if (!sluice_ctl_open(ctl, name, SLUICE_FILE_ZONE, &file, &stale)) {
        return;
    }

    g = file.header.geometry;
    size = SLUICE_SLOTS * sizeof(sluice_limit_column_t);
    columns = malloc(size);

    census.live = 0;
    census.now = sluice_clock_ms();
    census.window = (uint32_t) g[1];

    if (columns == NULL
        || !sluice_ctl_read(ctl, &file, 1, 0, columns, size)
        || !sluice_ctl_each_slot(ctl, &file, sluice_ctl_zone_live, &census))
    {
        goto done;
    }

    /* after a boot no window of it is live */

    live = stale ? 0 : census.live;

    memset(&sum, 0, sizeof(sum));

    for (i = 0; i < SLUICE_SLOTS; i++) {
        sum.passed += columns[i].passed;
        sum.refused += columns[i].refused;
        sum.evicted += columns[i].evicted;
        sum.contended += columns[i].contended;
        sum.inserted += columns[i].inserted;
    }

    slots = g[0] * SLUICE_LIMIT_BUCKET;

    bson_init(&row);

    sluice_ctl_named(&row, "zone", name, SLUICE_LIMIT_PREFIX);

    BSON_APPEND_UTF8(&row, "use", sluice_ctl_use(&file));
    BSON_APPEND_UTF8(&row, "unit", sluice_ctl_unit(&file));
    BSON_APPEND_DOUBLE(&row, "window_s", (double) g[1] / 1e3);
    sluice_ctl_number(&row, "scale", g[2]);
    sluice_ctl_number(&row, "slots", slots);
    sluice_ctl_number(&row, "live", live);
    BSON_APPEND_DOUBLE(&row, "fill", (double) live * 100 / (double) slots);
    sluice_ctl_number(&row, "passed", sum.passed);
    sluice_ctl_number(&row, "refused", sum.refused);
    sluice_ctl_number(&row, "evicted", sum.evicted);
    sluice_ctl_number(&row, "contended", sum.contended);
    sluice_ctl_number(&row, "inserted", sum.inserted);

    sluice_ctl_row(ctl, &row);
    bson_destroy(&row);

done:

    free(columns);
    sluice_file_close(&ctl->dir, &file);
}


static void
sluice_ctl_zone_live(sluice_u128_t slot, void *data)
{
    sluice_ctl_census_t  *census = data;

    census->live += sluice_limit_slot_live(slot, census->now, census->window);
}
