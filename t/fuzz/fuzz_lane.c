
/*
 * libFuzzer: a lane file whose header, control, entries and ring are changed
 * by the input.  The reader answers, always; it never crashes, never goes
 * back, never passes the head, and comes to an end.
 *
 * The input is a list of changes, applied to a good file with records in it:
 * {section, offset, length, bytes}.  The header's CRC is made right again if
 * the input's first bit says so, records are sealed again if its second does,
 * the file is truncated after it was opened if its third does.
 */

#include "guard.h"
#include "hash.h"
#include "lane_reader.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static sluice_dir_t   fuzz_dir;
static char           fuzz_path[64];
static char           fuzz_name[SLUICE_FILE_NAME_MAX];
static int            fuzz_fd = -1;
static size_t         fuzz_size;
static uint8_t       *fuzz_good, *fuzz_bad;


static void
fuzz_end(void)
{
    char  path[256];

    snprintf(path, sizeof(path), "%s/%s", fuzz_path, fuzz_name);
    unlink(path);
    rmdir(fuzz_path);
}


/* a lane that was left by its owner: records, an open entry, a marked one */

static void
fuzz_begin(void)
{
    int                  i;
    sluice_lane_t        lane;
    sluice_entry_t      *entry;
    sluice_error_t       error;
    sluice_lane_conf_t   conf;

    sluice_guard_init();

    snprintf(fuzz_path, sizeof(fuzz_path), "%s/sluice-fuzz.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");

    memset(&conf, 0, sizeof(conf));
    conf.ring_size = SLUICE_LANE_RING_MIN;
    conf.entries = 4;
    conf.node = "fuzz";

    if (mkdtemp(fuzz_path) == NULL
        || sluice_dir_open(&fuzz_dir, fuzz_path, geteuid(), getegid(), true,
                           &error) != SLUICE_OK
        || sluice_lane_create(&fuzz_dir, &conf, &lane, &error) != SLUICE_OK)
    {
        abort();
    }

    for (i = 0; i < 6; i++) {
        entry = sluice_lane_admit(&lane, 1);
        sluice_lane_open(entry);
        sluice_record_add(&entry->record, SLUICE_ITEM_HOST, fuzz_path, 13);
        sluice_lane_push(&lane, entry);
    }

    entry = sluice_lane_admit(&lane, 1);
    sluice_lane_open(entry);
    entry = sluice_lane_admit(&lane, 1);
    sluice_lane_open(entry);
    entry->mark = lane.head + 1;

    fuzz_size = lane.file.size;
    fuzz_good = malloc(fuzz_size);
    fuzz_bad = malloc(fuzz_size);

    if (fuzz_good == NULL || fuzz_bad == NULL) {
        abort();
    }

    memcpy(fuzz_good, lane.file.map, fuzz_size);
    strcpy(fuzz_name, lane.file.name);
    sluice_file_close(&fuzz_dir, &lane.file);
    free(lane.free);

    fuzz_fd = openat(fuzz_dir.fd, fuzz_name, O_RDWR|O_CLOEXEC);

    if (fuzz_fd == -1) {
        abort();
    }

    atexit(fuzz_end);
}


static size_t
fuzz_apply(const uint8_t *data, size_t size)
{
    size_t                 at, len, end;
    unsigned               i;
    uint64_t               position;
    sluice_record_t       *record;
    sluice_file_header_t  *header;

    static const struct {
        size_t  offset;
        size_t  size;
    } sections[4] = {
        { 0, sizeof(sluice_file_header_t) },
        { 4096, sizeof(sluice_lane_control_t) },
        { 8192, 4 * sizeof(sluice_entry_t) },
        { 8192 + 20480, 4096 }
    };

    memcpy(fuzz_bad, fuzz_good, fuzz_size);
    end = fuzz_size;

    for (at = 1; at + 4 <= size; at += len) {
        i = data[at] & 3;
        len = data[at + 3];
        position = (size_t) (data[at + 1] | data[at + 2] << 8)
                   % sections[i].size;

        if (data[at] == 0xff) {
            end = position * 8 % fuzz_size;
        }

        at += 4;

        if (len > size - at) {
            len = size - at;
        }

        if (len > sections[i].size - position) {
            len = sections[i].size - position;
        }

        memcpy(fuzz_bad + sections[i].offset + position, data + at, len);
    }

    header = (sluice_file_header_t *) fuzz_bad;

    if (data[0] & 2) {
        for (position = 0; position < 4096; position += 8) {
            record = (sluice_record_t *) (fuzz_bad + sections[3].offset
                                          + position);

            if (record->type == SLUICE_RECORD_REQUEST
                && record->version == SLUICE_RECORD_VERSION
                && record->length >= sizeof(sluice_record_t)
                && record->length <= SLUICE_RECORD_MAX)
            {
                record->crc = sluice_record_crc(record, header->uuid,
                                                position);
            }
        }
    }

    if (data[0] & 1) {
        header->crc = sluice_crc32c(0, header,
                                    offsetof(sluice_file_header_t, crc));
    }

    return end;
}


/* cut: the file is truncated while it is mapped */

static void
fuzz_read(bool cut)
{
    uint8_t                 raw[256];
    uint32_t                i;
    uint64_t                end, position, steps;
    sluice_read_t           rc;
    sluice_error_t          error;
    sluice_lane_reader_t    reader;
    const sluice_record_t  *record;

    static _Alignas(16) uint8_t  copy[SLUICE_RECORD_MAX];

    if (sluice_lane_reader_open(&fuzz_dir, fuzz_name, &reader, &error)
        != SLUICE_OK)
    {
        return;
    }

    if (!sluice_lane_reader_own(&reader)) {
        abort();
    }

    if (cut && ftruncate(fuzz_fd, 8192) == -1) {
        abort();
    }

    for (steps = 0; /* void */ ; steps++) {
        position = reader.position;
        rc = sluice_lane_reader_next(&reader, &record, &end, &error);

        if (rc == SLUICE_READ_EMPTY || rc == SLUICE_READ_BROKEN) {
            break;
        }

        if (reader.position <= position || reader.position > reader.head
            || steps > reader.ring_size / 8)
        {
            abort();
        }

        if (rc == SLUICE_READ_RECORD) {
            if (sluice_record_check(record, end - position) != NULL
                || end != reader.position)
            {
                abort();
            }

        } else if (reader.damage.position != position
                   || reader.damage.len != reader.position - position
                   || sluice_lane_reader_raw(&reader, position, raw,
                                             reader.damage.len < 256
                                             ? reader.damage.len : 256)
                      == cut)
        {
            abort();
        }
    }

    for (i = 0; i < reader.nentries; i++) {
        if (sluice_lane_reader_entry(&reader, i, (sluice_record_t *) copy)
            == SLUICE_READ_RECORD
            && sluice_record_check((sluice_record_t *) copy,
                                   SLUICE_RECORD_MAX) != NULL)
        {
            abort();
        }
    }

    (void) sluice_lane_reader_advance(&reader, reader.position);
    sluice_lane_reader_close(&fuzz_dir, &reader);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t  end;

    if (fuzz_fd == -1) {
        fuzz_begin();
    }

    if (size == 0) {
        return 0;
    }

    end = fuzz_apply(data, size);

    if (ftruncate(fuzz_fd, (off_t) end) == -1
        || pwrite(fuzz_fd, fuzz_bad, end, 0) != (ssize_t) end)
    {
        abort();
    }

    fuzz_read((data[0] & 4) != 0);

    return 0;
}
