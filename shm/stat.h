
/*
 * The counters of a process slot.  Only the owner of the slot writes its own
 * column, so a plain load, add and store is enough and a kill leaves nothing
 * torn; a statistic is the sum over all columns, dead owners' included.
 *
 * The list is the one place where a counter has its name and its meaning.
 * New ones are added at the end: the position is the format.
 */

#ifndef SLUICE_STAT_H
#define SLUICE_STAT_H

#include <stdint.h>


#define SLUICE_STATS(X)                                                       \
    X(ADMITTED,       "admitted",       "requests let through")               \
    X(REFUSED_LIMIT,  "refused_limit",  "refused, over a limit")              \
    X(REFUSED_KEY,    "refused_key",    "refused, no key was well")           \
    X(REFUSED_RECORD, "refused_record", "refused, no room for a record")      \
    X(REFUSED_ERROR,  "refused_error",  "refused, a limit had no value")      \
    X(RECORDED,       "recorded",       "records pushed into a lane")         \
    X(DROPPED,        "dropped",        "let through without a record")       \
    X(UNRECORDED,     "unrecorded",     "ended before admission, no room")    \
    X(CONTENDED,      "contended",      "refused, a slot was fought over")    \
    X(TRUNCATED,      "truncated",      "records with a value cut")           \
    X(RECLAIMED,      "reclaimed",      "slots of dead processes given back") \
    X(EMPTY_KEY,      "empty_key",      "limits passed over, empty key")      \
    X(NO_SLOT,        "no_slot",        "times a worker found no free slot")  \
    X(NO_LANE,        "no_lane",        "times a worker could make no lane")  \
    X(DRY_RUN,        "dry_run",        "limits passed over, dry run")        \
    X(REFUSED_PROXY,  "refused_proxy",  "refused, no proxy was up")           \
    X(TUNNELS,        "tunnels",        "tunnels made")                       \
    X(TUNNEL_FAILURES, "tunnel_failures", "tries of a proxy that failed")     \
    X(DIRECT,         "direct",         "requests that went without a proxy")


typedef enum {
#define SLUICE_STAT_ID(id, name, text)  SLUICE_STAT_##id,
    SLUICE_STATS(SLUICE_STAT_ID)
#undef SLUICE_STAT_ID
    SLUICE_STAT_COUNT
} sluice_stat_t;

#define SLUICE_STAT_MAX  64             /* room in the file                  */

_Static_assert(SLUICE_STAT_COUNT <= SLUICE_STAT_MAX, "counters");


static inline void
sluice_stat_add(uint64_t *column, sluice_stat_t stat, uint64_t n)
{
    __atomic_store_n(&column[stat],
                     __atomic_load_n(&column[stat], __ATOMIC_RELAXED) + n,
                     __ATOMIC_RELAXED);
}


/* "admitted", and a line of help; stat < SLUICE_STAT_COUNT */
const char *sluice_stat_name(sluice_stat_t stat);
const char *sluice_stat_text(sluice_stat_t stat);


#endif /* SLUICE_STAT_H */
