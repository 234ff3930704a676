
#define _GNU_SOURCE

#include "lane_reader.h"
#include "guard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>


/* how much is copied at a time; a multiple of 8, more than a record */
#define SLUICE_WINDOW  (256 * 1024)

/* how much of a ring stays mapped in behind the reader */
#define SLUICE_BEHIND  (512 * 1024)

/* the same of entries; a power of two */
#define SLUICE_ENTRIES_BEHIND  128


static sluice_status_t sluice_lane_reader_check(sluice_lane_reader_t *reader,
    sluice_error_t *error);
static bool sluice_lane_reader_fill(sluice_lane_reader_t *reader);
static const char *sluice_lane_reader_at(sluice_lane_reader_t *reader,
    uint64_t position, const sluice_record_t **record);
static void sluice_lane_reader_let_go(const sluice_lane_reader_t *reader,
    uint32_t i);
static sluice_read_t sluice_lane_reader_skip(sluice_lane_reader_t *reader,
    const char *reason, sluice_error_t *error);


sluice_status_t
sluice_lane_reader_open(const sluice_dir_t *dir, const char *name,
    sluice_lane_reader_t *reader, sluice_error_t *error)
{
    uint64_t         tail;
    sluice_status_t  status;

    memset(reader, 0, sizeof(sluice_lane_reader_t));

    status = sluice_file_open(dir, name, SLUICE_FILE_LANE, SLUICE_OPEN_READ,
                              &reader->file, error);

    /* records have wall clock times: they outlive a boot */

    if (status != SLUICE_OK && status != SLUICE_STALE) {
        return status;
    }

    status = sluice_lane_reader_check(reader, error);
    if (status != SLUICE_OK) {
        goto failed;
    }

    if (!sluice_guard_load(&reader->control->tail, &tail)
        || !sluice_guard_load(&reader->control->head, &reader->head)
        || !sluice_guard_copy(reader->node, reader->control->node,
                              SLUICE_NODE_MAX)
        || !sluice_guard_copy(&reader->pid, &reader->control->pid, 4))
    {
        status = sluice_error(error, SLUICE_CORRUPT, "\"%s\" is truncated",
                              name);
        goto failed;
    }

    reader->node[SLUICE_NODE_MAX - 1] = '\0';

    /* positions go in steps of 8: they would pass such a head by */

    if (reader->head % 8 != 0) {
        status = sluice_error(error, SLUICE_CORRUPT,
                              "\"%s\" has an impossible head, %llu", name,
                              (unsigned long long) reader->head);
        goto failed;
    }

    if (tail > reader->head || reader->head - tail > reader->ring_size
        || tail % 8 != 0)
    {
        tail = (reader->head > reader->ring_size)
               ? reader->head - reader->ring_size : 0;
    }

    reader->position = tail;
    reader->window_start = tail;
    reader->dropped = tail;

    return SLUICE_OK;

failed:

    sluice_file_close(dir, &reader->file);

    return status;
}


/* the header's CRC was right, but a hostile writer can make one as well */

static sluice_status_t
sluice_lane_reader_check(sluice_lane_reader_t *reader, sluice_error_t *error)
{
    const sluice_file_header_t  *h;

    h = &reader->file.header;

    if (h->geometry[0] < SLUICE_LANE_RING_MIN
        || h->geometry[0] > SLUICE_LANE_RING_MAX
        || h->geometry[0] % 4096 != 0
        || h->geometry[1] == 0 || h->geometry[1] > SLUICE_LANE_OPEN_MAX
        || h->geometry[2] != SLUICE_RECORD_MAX
        || h->geometry[3] != sizeof(sluice_entry_t)
        || h->section[0].size != sizeof(sluice_lane_control_t)
        || h->section[1].size != h->geometry[1] * sizeof(sluice_entry_t)
        || h->section[2].size != h->geometry[0])
    {
        return sluice_error(error, SLUICE_CORRUPT,
                            "\"%s\" has an impossible geometry",
                            reader->file.name);
    }

    reader->ring_size = h->geometry[0];
    reader->nentries = (uint32_t) h->geometry[1];
    reader->control = sluice_file_section(&reader->file, 0);
    reader->entries = sluice_file_section(&reader->file, 1);
    reader->ring = sluice_file_section(&reader->file, 2);

    return SLUICE_OK;
}


void
sluice_lane_reader_close(const sluice_dir_t *dir, sluice_lane_reader_t *reader)
{
    sluice_file_close(dir, &reader->file);

    free(reader->window);
    reader->window = NULL;
}


bool
sluice_lane_reader_own(sluice_lane_reader_t *reader)
{
    return sluice_file_lock(&reader->file, SLUICE_LOCK_OWNER, true);
}


bool
sluice_lane_reader_raw(const sluice_lane_reader_t *reader, uint64_t position,
    void *to, size_t len)
{
    size_t    first;
    uint64_t  offset;

    offset = position % reader->ring_size;
    first = (size_t) (reader->ring_size - offset);

    if (len <= first) {
        return sluice_guard_copy(to, reader->ring + offset, len);
    }

    return sluice_guard_copy(to, reader->ring + offset, first)
           && sluice_guard_copy((uint8_t *) to + first, reader->ring,
                                len - first);
}


static bool
sluice_lane_reader_fill(sluice_lane_reader_t *reader)
{
    uint64_t  len;

    if (reader->window == NULL) {
        reader->window = malloc(SLUICE_WINDOW);

        if (reader->window == NULL) {
            return false;
        }
    }

    len = reader->head - reader->position;

    if (len > SLUICE_WINDOW) {
        len = SLUICE_WINDOW;
    }

    /*
     * The pages are the file's, but what we have touched of them is counted
     * as ours, and with many large rings would be as much as they are.
     */

    if (reader->position - reader->dropped >= SLUICE_BEHIND) {
        (void) madvise((void *) reader->ring, reader->ring_size,
                       MADV_DONTNEED);
        reader->dropped = reader->position;
    }

    reader->window_start = reader->position;
    reader->window_len = (size_t) len;

    return sluice_lane_reader_raw(reader, reader->position, reader->window,
                                  (size_t) len);
}


/* the record at a position of the window, or why there is none */

static const char *
sluice_lane_reader_at(sluice_lane_reader_t *reader, uint64_t position,
    const sluice_record_t **record)
{
    size_t                  left;
    const char             *reason;
    const sluice_record_t  *r;

    left = reader->window_len - (size_t) (position - reader->window_start);
    r = (const void *) (reader->window + (position - reader->window_start));

    reason = sluice_record_check(r, left);

    if (reason != NULL) {
        return reason;
    }

    if (sluice_record_size(r) > left
        || r->crc != sluice_record_crc(r, reader->file.header.uuid, position))
    {
        return "wrong checksum";
    }

    *record = r;

    return NULL;
}


sluice_read_t
sluice_lane_reader_next(sluice_lane_reader_t *reader,
    const sluice_record_t **record, uint64_t *end, sluice_error_t *error)
{
    size_t       left;
    uint64_t     head;
    const char  *reason;

    if (reader->position == reader->head) {

        /* pairs with the owner's release of head: head, then the records */

        if (!sluice_guard_load(&reader->control->head, &head)) {
            sluice_error(error, SLUICE_CORRUPT, "\"%s\" is truncated",
                         reader->file.name);
            return SLUICE_READ_BROKEN;
        }

        if (head < reader->head || head - reader->position > reader->ring_size
            || head % 8 != 0)
        {
            sluice_error(error, SLUICE_CORRUPT, "\"%s\" has an impossible "
                         "head, %llu after %llu", reader->file.name,
                         (unsigned long long) head,
                         (unsigned long long) reader->head);
            return SLUICE_READ_BROKEN;
        }

        reader->head = head;

        if (reader->position == head) {
            return SLUICE_READ_EMPTY;
        }
    }

    /* a record may begin in the window and end behind it */

    left = reader->window_len
           - (size_t) (reader->position - reader->window_start);

    if (left < SLUICE_RECORD_MAX && left < reader->head - reader->position
        && !sluice_lane_reader_fill(reader))
    {
        sluice_error(error, SLUICE_CORRUPT, "\"%s\" is truncated, or there "
                     "is no memory to read it", reader->file.name);
        return SLUICE_READ_BROKEN;
    }

    reason = sluice_lane_reader_at(reader, reader->position, record);

    if (reason != NULL) {
        return sluice_lane_reader_skip(reader, reason, error);
    }

    reader->position += sluice_record_size(*record);
    *end = reader->position;

    return SLUICE_READ_RECORD;
}


/*
 * Looks for the next record: its checksum covers its position, so what
 * passes is one.  No more than a window is skipped in one call.
 */

static sluice_read_t
sluice_lane_reader_skip(sluice_lane_reader_t *reader, const char *reason,
    sluice_error_t *error)
{
    uint64_t                from, p, end;
    const sluice_record_t  *record;

    from = reader->position;

    if (!sluice_lane_reader_fill(reader)) {
        sluice_error(error, SLUICE_CORRUPT, "\"%s\" is truncated",
                     reader->file.name);
        return SLUICE_READ_BROKEN;
    }

    end = from + reader->window_len;

    for (p = from + 8; p < end; p += 8) {

        /* one that ends behind the window is for the next call to judge */

        if (end - p < SLUICE_RECORD_MAX && end != reader->head) {
            break;
        }

        if (sluice_lane_reader_at(reader, p, &record) == NULL) {
            break;
        }
    }

    reader->damage.position = from;
    reader->damage.len = (size_t) (p - from);
    reader->damage.reason = reason;
    reader->skipped += p - from;
    reader->position = p;

    return SLUICE_READ_DAMAGED;
}


bool
sluice_lane_reader_advance(sluice_lane_reader_t *reader, uint64_t position)
{
    /* pairs with the owner's acquire of tail: our copies, then the room */

    return sluice_guard_store(&reader->control->skipped, reader->skipped)
           && sluice_guard_store(&reader->control->tail, position);
}


sluice_read_t
sluice_lane_reader_entry(sluice_lane_reader_t *reader, uint32_t i,
    sluice_record_t *copy)
{
    uint64_t               sequence, mark;
    const char            *reason;
    const sluice_entry_t  *entry;

    entry = &reader->entries[i];

    reader->damage.position = i;
    reader->damage.len = 0;
    reader->damage.reason = "the file is truncated";

    sluice_lane_reader_let_go(reader, i);

    if (!sluice_guard_load(&entry->sequence, &sequence)
        || !sluice_guard_load(&entry->mark, &mark))
    {
        return SLUICE_READ_DAMAGED;
    }

    if (sequence == 0 || (mark != 0 && mark - 1 < reader->head)) {
        return SLUICE_READ_EMPTY;
    }

    if (!sluice_guard_copy(copy, entry->bytes, SLUICE_RECORD_MAX)) {
        return SLUICE_READ_DAMAGED;
    }

    reader->damage.len = SLUICE_RECORD_MAX;

    reason = sluice_record_check(copy, SLUICE_RECORD_MAX);

    if (reason == NULL && copy->sequence != sequence) {
        reason = "another sequence number";
    }

    if (reason != NULL) {
        reader->damage.reason = reason;
        return SLUICE_READ_DAMAGED;
    }

    if (mark == 0) {
        copy->flags |= SLUICE_RECORD_ABORTED;
    }

    return SLUICE_READ_RECORD;
}


/* each entry has a page or two, see sluice_lane_reader_fill() */

static void
sluice_lane_reader_let_go(const sluice_lane_reader_t *reader, uint32_t i)
{
    if ((i & (SLUICE_ENTRIES_BEHIND - 1)) == 0 || i + 1 == reader->nentries) {
        (void) madvise((void *) reader->entries,
                       reader->nentries * sizeof(sluice_entry_t),
                       MADV_DONTNEED);
    }
}


bool
sluice_lane_reader_forget(sluice_lane_reader_t *reader, uint32_t i)
{
    uint64_t  sequence, *p;

    sluice_lane_reader_let_go(reader, i);

    p = (uint64_t *) &reader->entries[i].sequence;

    if (!sluice_guard_load(p, &sequence)) {
        return false;
    }

    return sequence == 0 || sluice_guard_store(p, 0);
}


sluice_status_t
sluice_lane_reader_retire(const sluice_dir_t *dir,
    sluice_lane_reader_t *reader)
{
    uint32_t  i;
    uint64_t  head, tail, sequence, mark;

    if (!sluice_guard_load(&reader->control->head, &head)
        || !sluice_guard_load(&reader->control->tail, &tail)
        || head != tail)
    {
        return SLUICE_BUSY;
    }

    for (i = 0; i < reader->nentries; i++) {
        sluice_lane_reader_let_go(reader, i);

        if (!sluice_guard_load(&reader->entries[i].sequence, &sequence)
            || !sluice_guard_load(&reader->entries[i].mark, &mark)
            || (sequence != 0 && (mark == 0 || mark - 1 >= head)))
        {
            return SLUICE_BUSY;
        }
    }

    return sluice_lane_reader_done(dir, reader);
}


sluice_status_t
sluice_lane_reader_done(const sluice_dir_t *dir, sluice_lane_reader_t *reader)
{
    return sluice_file_retire(dir, &reader->file);
}
