
/*
 * Fills lanes as workers would, for measurements of what drains them:
 *
 *   producer dir=PATH [lanes=N] [records=N] [ring=BYTES] [entries=N]
 *            [rate=N] [open=N] [linger=SECONDS]
 *
 * records: over all lanes; rate: of them in a second, 0: as fast as there is
 * room; open: entries left open in each lane at the end, as by a worker that
 * was killed; linger: how long the lanes keep their owner after that.
 * Prints a line of JSON.
 */

#define _GNU_SOURCE

#include "clock.h"
#include "guard.h"
#include "lane.h"
#include "sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#define PRODUCER_LANES  64


static const struct {
    const char  *name;
    uint64_t     preset;
} producer_words[] = {
    { "lanes", 1 },
    { "records", 1000000 },
    { "ring", 8 * 1024 * 1024 },
    { "entries", 1024 },
    { "rate", 0 },
    { "open", 0 },
    { "linger", 0 },
    { NULL, 0 }
};

enum { LANES, RECORDS, RING, ENTRIES, RATE, OPEN, LINGER, WORDS };


static sluice_lane_t  producer_lane[PRODUCER_LANES];


static int
producer_parse(int argc, char **argv, const char **dir, uint64_t *value)
{
    int     i, n;
    size_t  len;

    for (n = 0; n < WORDS; n++) {
        value[n] = producer_words[n].preset;
    }

    *dir = NULL;

    for (i = 1; i < argc; i++) {
        if (strncmp(argv[i], "dir=", 4) == 0) {
            *dir = argv[i] + 4;
            continue;
        }

        for (n = 0; n < WORDS; n++) {
            len = strlen(producer_words[n].name);

            if (strncmp(argv[i], producer_words[n].name, len) == 0
                && argv[i][len] == '=')
            {
                value[n] = strtoull(argv[i] + len + 1, NULL, 10);
                break;
            }
        }

        if (n == WORDS) {
            fprintf(stderr, "producer: what is \"%s\"?\n", argv[i]);
            return -1;
        }
    }

    return (*dir != NULL && value[LANES] >= 1
            && value[LANES] <= PRODUCER_LANES) ? 0 : -1;
}


/* one record into the lane, as soon as there is room */

static uint64_t
producer_push(sluice_lane_t *lane, uint64_t n, bool leave_open)
{
    uint64_t         waits;
    sluice_entry_t  *entry;

    waits = 0;

    while ((entry = sluice_lane_admit(lane, sluice_clock_wall_us())) == NULL) {
        waits++;
        usleep(200);
    }

    sluice_lane_open(entry);
    sample_fill(&entry->record, n);

    if (leave_open) {
        entry->record.outcome = SLUICE_OUTCOME_OPEN;
        entry->record.request_time = SLUICE_UNKNOWN_US;
        entry->record.status = 0;

    } else {
        sluice_lane_push(lane, entry);
    }

    return waits;
}


int
main(int argc, char **argv)
{
    uint64_t            n, waits, value[WORDS], start, now, due, bytes;
    unsigned            i;
    const char         *path;
    sluice_dir_t        dir;
    sluice_error_t      error;
    sluice_lane_conf_t  conf;

    if (producer_parse(argc, argv, &path, value) != 0) {
        fprintf(stderr, "producer: see the head of its source\n");
        return 2;
    }

    sluice_guard_init();

    if (sluice_dir_open(&dir, path, geteuid(), getegid(), true, &error)
        != SLUICE_OK)
    {
        fprintf(stderr, "producer: %s\n", error.text);
        return 1;
    }

    memset(&conf, 0, sizeof(sluice_lane_conf_t));
    conf.ring_size = value[RING];
    conf.entries = (uint32_t) value[ENTRIES];
    conf.node = "bench";

    for (i = 0; i < value[LANES]; i++) {
        conf.slot = i;

        if (sluice_lane_create(&dir, &conf, &producer_lane[i], &error)
            != SLUICE_OK)
        {
            fprintf(stderr, "producer: %s\n", error.text);
            return 1;
        }
    }

    waits = 0;
    start = sluice_clock_us();

    for (n = 0; n < value[RECORDS]; n++) {

        waits += producer_push(&producer_lane[n % value[LANES]], n, false);

        if (value[RATE] != 0) {
            due = start + n * 1000000 / value[RATE];
            now = sluice_clock_us();

            if (now < due) {
                usleep((useconds_t) (due - now));
            }
        }
    }

    now = sluice_clock_us();
    bytes = 0;

    for (i = 0; i < value[LANES]; i++) {
        bytes += producer_lane[i].head;

        for (n = 0; n < value[OPEN]; n++) {
            waits += producer_push(&producer_lane[i], n, true);
        }
    }

    printf("{\"records\":%llu,\"open\":%llu,\"bytes\":%llu,\"seconds\":%.6f,"
           "\"rate\":%.0f,\"waits\":%llu}\n",
           (unsigned long long) value[RECORDS],
           (unsigned long long) (value[OPEN] * value[LANES]),
           (unsigned long long) bytes, (double) (now - start) / 1e6,
           (double) value[RECORDS] * 1e6 / (double) (now - start + 1),
           (unsigned long long) waits);
    fflush(stdout);

    if (value[LINGER] != 0) {
        sleep((unsigned) value[LINGER]);
    }

    /* no tidying up: a worker that was killed does none */

    _exit(0);
}
