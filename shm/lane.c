
#define _GNU_SOURCE

#include "lane.h"
#include "clock.h"
#include "fault.h"
#include "lane_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


typedef struct {
    const sluice_dir_t  *dir;
    unsigned             lanes;
} sluice_lane_census_t;


static int sluice_lane_count(const char *name, void *data);
static void sluice_lane_give_back(sluice_lane_t *lane, sluice_entry_t *entry);


sluice_status_t
sluice_lane_create(const sluice_dir_t *dir, const sluice_lane_conf_t *conf,
    sluice_lane_t *lane, sluice_error_t *error)
{
    char                  name[SLUICE_FILE_NAME_MAX];
    uint32_t              i;
    sluice_status_t       status;
    sluice_file_spec_t    spec;
    sluice_lane_census_t  census;

    census.dir = dir;
    census.lanes = 0;

    status = sluice_dir_walk(dir, sluice_lane_count, &census, error);
    if (status != SLUICE_OK) {
        return status;
    }

    if (census.lanes >= SLUICE_LANES_MAX) {
        return sluice_error(error, SLUICE_FULL,
                            "\"%s\" has %u lanes that are not drained",
                            dir->path, census.lanes);
    }

    memset(lane, 0, sizeof(sluice_lane_t));

    lane->free = malloc(conf->entries * sizeof(uint32_t));
    if (lane->free == NULL) {
        return sluice_error(error, SLUICE_FAILED, "no memory for a lane");
    }

    memset(&spec, 0, sizeof(sluice_file_spec_t));
    spec.kind = SLUICE_FILE_LANE;
    spec.subject = "lane";
    spec.geometry[0] = conf->ring_size;
    spec.geometry[1] = conf->entries;
    spec.geometry[2] = SLUICE_RECORD_MAX;
    spec.geometry[3] = sizeof(sluice_entry_t);
    spec.section[0] = sizeof(sluice_lane_control_t);
    spec.section[1] = conf->entries * sizeof(sluice_entry_t);
    spec.section[2] = conf->ring_size;

    status = sluice_file_create(dir, &spec, &lane->file, error);
    if (status != SLUICE_OK) {
        free(lane->free);
        lane->free = NULL;
        return status;
    }

    lane->control = sluice_file_section(&lane->file, 0);
    lane->entries = sluice_file_section(&lane->file, 1);
    lane->ring = sluice_file_section(&lane->file, 2);
    lane->ring_size = conf->ring_size;
    lane->nentries = conf->entries;
    lane->nfree = conf->entries;

    /* the lowest entries are on top of the stack, and stay in the cache */

    for (i = 0; i < conf->entries; i++) {
        lane->free[i] = conf->entries - 1 - i;
    }

    lane->control->pid = (uint32_t) getpid();
    lane->control->slot = conf->slot;
    lane->control->started = sluice_clock_wall_us();
    snprintf(lane->control->node, SLUICE_NODE_MAX, "%s", conf->node);

    strcpy(name, SLUICE_LANE_PREFIX);
    sluice_uuid_format(lane->file.header.uuid,
                       name + sizeof(SLUICE_LANE_PREFIX) - 1);

    if (!sluice_file_lock(&lane->file, SLUICE_LOCK_OWNER, true)) {
        status = sluice_error_errno(error, SLUICE_FAILED,
                                    "locking a new lane failed");

    } else {
        status = sluice_file_publish(dir, &lane->file, name, error);
    }

    if (status != SLUICE_OK) {
        sluice_file_close(dir, &lane->file);
        free(lane->free);
        lane->free = NULL;
    }

    return status;
}


static int
sluice_lane_count(const char *name, void *data)
{
    sluice_lane_census_t  *census = data;

    sluice_error_t          error;
    sluice_lane_reader_t    reader;

    if (strncmp(name, SLUICE_LANE_PREFIX, sizeof(SLUICE_LANE_PREFIX) - 1)
        != 0)
    {
        return 0;
    }

    census->lanes++;

    if (sluice_lane_reader_open(census->dir, name, &reader, &error)
        != SLUICE_OK)
    {
        return 0;
    }

    if (sluice_lane_reader_own(&reader)
        && sluice_lane_reader_retire(census->dir, &reader) == SLUICE_OK)
    {
        census->lanes--;
    }

    sluice_lane_reader_close(census->dir, &reader);

    return 0;
}


void
sluice_lane_close(const sluice_dir_t *dir, sluice_lane_t *lane)
{
    if (lane->file.map == NULL) {
        return;
    }

    /* the consumer has it open: then the retiring is left to the consumer */

    if (lane->nfree == lane->nentries
        && __atomic_load_n(&lane->control->tail, __ATOMIC_ACQUIRE)
           == lane->head)
    {
        (void) sluice_file_retire(dir, &lane->file);
    }

    sluice_file_close(dir, &lane->file);

    free(lane->free);
    lane->free = NULL;
}


uint64_t
sluice_lane_room(sluice_lane_t *lane)
{
    uint64_t  used, taken;

    used = lane->head - lane->tail;

    if (lane->ring_size - used < lane->reserved + SLUICE_RECORD_MAX) {

        /* pairs with the consumer's release: it has copied what it frees */

        taken = __atomic_load_n(&lane->control->tail, __ATOMIC_ACQUIRE);

        /* an impossible tail reads as full */

        if (taken < lane->tail || taken > lane->head) {
            return 0;
        }

        lane->tail = taken;
        used = lane->head - taken;
    }

    if (lane->ring_size - used < lane->reserved) {
        return 0;
    }

    return lane->ring_size - used - lane->reserved;
}


sluice_entry_t *
sluice_lane_admit(sluice_lane_t *lane, uint64_t time)
{
    sluice_entry_t         *entry;
    sluice_lane_control_t  *control;

    control = lane->control;

    if (lane->nfree == 0 || sluice_lane_room(lane) < SLUICE_RECORD_MAX) {
        __atomic_store_n(&control->refused, control->refused + 1,
                         __ATOMIC_RELAXED);
        return NULL;
    }

    entry = &lane->entries[lane->free[--lane->nfree]];

    lane->reserved += SLUICE_RECORD_MAX;
    lane->sequence++;

    __atomic_store_n(&control->sequence, lane->sequence, __ATOMIC_RELAXED);
    __atomic_store_n(&control->reserved, lane->reserved, __ATOMIC_RELAXED);
    __atomic_store_n(&control->open, lane->nentries - lane->nfree,
                     __ATOMIC_RELAXED);

    entry->mark = 0;
    sluice_record_init(&entry->record, lane->sequence, time);

    return entry;
}


void
sluice_lane_open(sluice_entry_t *entry)
{
    sluice_fault("lane.admit.filled");

    /* pairs with the reader of a dead owner's entry: what it holds, then it */

    __atomic_store_n(&entry->sequence, entry->record.sequence,
                     __ATOMIC_RELEASE);

    sluice_fault("lane.admit.opened");
}


void
sluice_lane_cancel(sluice_lane_t *lane, sluice_entry_t *entry)
{
    __atomic_store_n(&entry->sequence, 0, __ATOMIC_RELEASE);

    sluice_lane_give_back(lane, entry);
}


void
sluice_lane_push(sluice_lane_t *lane, sluice_entry_t *entry)
{
    size_t                  size;
    sluice_lane_control_t  *control;

    control = lane->control;
    size = sluice_record_size(&entry->record);

    sluice_record_seal(&entry->record, lane->file.header.uuid, lane->head);

    /*
     * From the mark on the entry's record is final: if head does not get past
     * the mark, a reader makes the record from the entry, else not.
     */

    __atomic_store_n(&entry->mark, lane->head + 1, __ATOMIC_RELEASE);

    sluice_fault("lane.push.marked");

    sluice_ring_write(lane->ring, lane->ring_size, lane->offset,
                      &entry->record, size);

    sluice_fault("lane.push.copied");

    lane->head += size;
    lane->offset += size;

    if (lane->offset >= lane->ring_size) {
        lane->offset -= lane->ring_size;
    }

    /* pairs with the consumer's acquire of head: the record, then head */

    __atomic_store_n(&control->head, lane->head, __ATOMIC_RELEASE);

    sluice_fault("lane.push.published");

    __atomic_store_n(&entry->sequence, 0, __ATOMIC_RELEASE);

    sluice_fault("lane.push.freed");

    __atomic_store_n(&control->pushed, control->pushed + 1, __ATOMIC_RELAXED);

    sluice_lane_give_back(lane, entry);
}


static void
sluice_lane_give_back(sluice_lane_t *lane, sluice_entry_t *entry)
{
    sluice_lane_control_t  *control;

    control = lane->control;

    lane->free[lane->nfree++] = (uint32_t) (entry - lane->entries);
    lane->reserved -= SLUICE_RECORD_MAX;

    __atomic_store_n(&control->reserved, lane->reserved, __ATOMIC_RELAXED);
    __atomic_store_n(&control->open, lane->nentries - lane->nfree,
                     __ATOMIC_RELAXED);
}


void
sluice_ring_write(uint8_t *ring, uint64_t ring_size, uint64_t offset,
    const void *data, size_t len)
{
    size_t  first;

    first = (size_t) (ring_size - offset);

    if (len <= first) {
        memcpy(ring + offset, data, len);
        return;
    }

    memcpy(ring + offset, data, first);
    memcpy(ring, (const uint8_t *) data + first, len - first);
}
