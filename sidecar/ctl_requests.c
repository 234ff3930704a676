
/* sluicectl requests: what is open now */

#define _GNU_SOURCE

#include "ctl.h"
#include "document.h"
#include "lane.h"

#include <string.h>


static void sluice_ctl_lane_requests(sluice_ctl_t *ctl, const char *name);
static bool sluice_ctl_entry(sluice_ctl_t *ctl, const sluice_file_t *file,
    const sluice_lane_control_t *control, const char *uuid, uint32_t i);
static void sluice_ctl_request(sluice_ctl_t *ctl, const sluice_file_t *file,
    const sluice_lane_control_t *control, const char *uuid,
    const sluice_record_t *record);


static const sluice_column_t  sluice_ctl_request_columns[] = {
    { "age_s", "AGE", 8, SLUICE_CELL_AGE },
    { "pid", "PID", 7, SLUICE_CELL_NUMBER },
    { "sequence", "SEQUENCE", 9, SLUICE_CELL_NUMBER },
    { "client", "CLIENT", 32, SLUICE_CELL_TEXT },
    { "pool", "POOL", 10, SLUICE_CELL_TEXT },
    { "key", "KEY", 10, SLUICE_CELL_TEXT },
    { "proxy", "PROXY", 10, SLUICE_CELL_TEXT },
    { "status", "STATUS", 6, SLUICE_CELL_NUMBER },
    { "tries", "TRIES", 5, SLUICE_CELL_NUMBER },
    { "bytes_in", "IN", 7, SLUICE_CELL_BYTES },
    { "bytes_out", "OUT", 7, SLUICE_CELL_BYTES },
    { "method", "METHOD", 6, SLUICE_CELL_TEXT },
    { "host", "HOST", 20, SLUICE_CELL_TEXT },
    { "uri", "URI", 0, SLUICE_CELL_TEXT },
    { NULL, NULL, 0, 0 }
};


void
sluice_ctl_requests(sluice_ctl_t *ctl)
{
    sluice_ctl_files(ctl, "requests", sluice_ctl_request_columns,
                     SLUICE_LANE_PREFIX, sluice_ctl_lane_requests);
}


static void
sluice_ctl_lane_requests(sluice_ctl_t *ctl, const char *name)
{
    bool                         stale;
    char                         uuid[37];
    uint32_t                     i;
    sluice_file_t                file;
    const sluice_file_header_t  *h;
    sluice_lane_control_t        control;

    if (!sluice_ctl_open(ctl, name, SLUICE_FILE_LANE, &file, &stale)) {
        return;
    }

    h = &file.header;

    if (h->geometry[1] > SLUICE_LANE_OPEN_MAX
        || h->geometry[3] != sizeof(sluice_entry_t)
        || h->section[1].size != h->geometry[1] * sizeof(sluice_entry_t))
    {
        sluice_ctl_skip(ctl, name, "it has an impossible geometry");

    } else if (sluice_ctl_read(ctl, &file, 0, 0, &control, sizeof(control))) {

        sluice_uuid_format(h->uuid, uuid);

        for (i = 0; i < h->geometry[1]; i++) {
            if (!sluice_ctl_entry(ctl, &file, &control, uuid, i)) {
                break;
            }
        }
    }

    sluice_file_close(&ctl->dir, &file);
}


/*
 * The owner writes while we read: a copy is believed if it is well formed
 * and the entry is still the same request's afterwards.  What looks damaged
 * twice is damaged.  false: the file cannot be read.
 */

static bool
sluice_ctl_entry(sluice_ctl_t *ctl, const sluice_file_t *file,
    const sluice_lane_control_t *control, const char *uuid, uint32_t i)
{
    uint64_t                 at, head[2], sequence;
    unsigned                 tries;
    const char              *reason;
    static sluice_entry_t    entry;

    at = (uint64_t) i * sizeof(sluice_entry_t);
    reason = NULL;

    for (tries = 0; tries < 2; tries++) {

        if (!sluice_ctl_read(ctl, file, 1, at, head, sizeof(head))) {
            return false;
        }

        /* free; or its record is in the ring and it is about to be */

        if (head[0] == 0 || (head[1] != 0 && head[1] - 1 < control->head)) {
            return true;
        }

        if (!sluice_ctl_read(ctl, file, 1, at, &entry, sizeof(entry))
            || !sluice_ctl_read(ctl, file, 1, at, &sequence, 8))
        {
            return false;
        }

        if (entry.sequence != head[0] || sequence != head[0]) {
            reason = NULL;
            continue;
        }

        reason = sluice_record_check(&entry.record, SLUICE_RECORD_MAX);

        if (reason == NULL && entry.record.sequence != sequence) {
            reason = "another sequence number";
        }

        if (reason == NULL) {
            sluice_ctl_request(ctl, file, control, uuid, &entry.record);
            return true;
        }
    }

    if (reason != NULL) {
        sluice_ctl_skip(ctl, file->name, "entry %u: %s", i, reason);
    }

    return true;
}


static void
sluice_ctl_request(sluice_ctl_t *ctl, const sluice_file_t *file,
    const sluice_lane_control_t *control, const char *uuid,
    const sluice_record_t *record)
{
    char    node[SLUICE_NODE_MAX];
    bson_t  row, document;

    memcpy(node, control->node, SLUICE_NODE_MAX);
    node[SLUICE_NODE_MAX - 1] = '\0';

    bson_init(&row);
    BSON_APPEND_UTF8(&row, "lane", uuid);
    sluice_ctl_number(&row, "pid", control->pid);
    sluice_ctl_number(&row, "sequence", record->sequence);
    sluice_ctl_since(ctl, &row, record->time);

    bson_init(&document);
    sluice_document_make(&document, record, file->header.uuid, node);
    bson_copy_to_excluding_noinit(&document, &row, "_id", "v", "time",
                                  "time_us", NULL);

    sluice_ctl_row(ctl, &row);

    bson_destroy(&document);
    bson_destroy(&row);
}
