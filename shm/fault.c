
#include "fault.h"

#ifdef SLUICE_FAULTS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


static const char  *sluice_fault_names[] = {
    "file.temporary",           /* a temporary file exists, empty            */
    "file.allocated",           /* it has its size and a header, no magic    */
    "file.whole",               /* it is whole, under its temporary name     */
    "file.published",           /* it has its name                           */
    "slot.locked",              /* the slot's lock is held, nothing written  */
    "slot.claimed",             /* the slot is marked as taken               */
    "slot.forgetting",          /* pools are given back, keys are not        */
    "lane.admit.filled",        /* an entry is filled in, not yet open       */
    "lane.admit.opened",        /* it is open                                */
    "lane.push.marked",         /* it is marked with the ring position       */
    "lane.push.copied",         /* the record is in the ring, head unmoved   */
    "lane.push.published",      /* head is past it, the entry still open     */
    "lane.push.freed",          /* the entry is free                         */
    "limit.insert.tentative",   /* a tentative entry stands in the table     */
    "limit.insert.looked",      /* the second look is over                   */
    "limit.insert.final",       /* the entry is final                        */
    "conn.take.found",          /* the key's row is known, nothing is raised */
    "conn.take.raised",         /* its column is raised, nothing checked     */
    "conn.insert.leaving",      /* a row's key is to go, the row looked at   */
    "conn.insert.tentative",    /* a tentative entry stands in the row       */
    "conn.insert.looked",       /* the second look is over                   */
    "conn.insert.raised",       /* its column is raised, the row nobody's    */
    "conn.insert.final",        /* the entry is final                        */
    "pool.naming",              /* lines are ours to give out                */
    "pool.freed",               /* a line is nobody's, its last state in it  */
    "pool.cleared",             /* ... and empty                             */
    "pool.claimed",             /* it is another member's                    */
    "pool.taken",               /* the member's in-flight count is raised    */
    "pool.raised",              /* the same, and max is not looked at yet    */
    "pool.early",               /* the next early try is ours, of no member  */
    "member.probing",           /* a probe is ours                           */
    "member.early",             /* an early try is ours                      */
    "member.counted",           /* an error is in the row, nothing is judged */
    "member.denied",            /* the same of a strike                      */
    "member.insert.tentative",  /* a tentative window stands in a line       */
    "member.insert.looked",     /* the second look is over                   */
    "drain.copied",             /* a batch is read, nothing is written       */
    "drain.written",            /* it is acknowledged, the tail unmoved      */
    "drain.advanced",           /* the tail is past it                       */
    "drain.recovered",          /* open entries are written, file in place   */
    NULL
};


const char *
sluice_fault_name(unsigned i)
{
    return sluice_fault_names[i];
}


void
sluice_fault_pass(const char *name)
{
    static char  wanted[64];
    static long  left;
    static int   ready;

    int          i;
    char        *colon;
    const char  *env;

    if (!ready) {
        ready = 1;
        env = getenv("SLUICE_FAULT");

        if (env != NULL && *env != '\0') {
            snprintf(wanted, sizeof(wanted), "%s", env);
            colon = strchr(wanted, ':');
            left = (colon != NULL) ? atol(colon + 1) : 1;

            if (colon != NULL) {
                *colon = '\0';
            }

            for (i = 0; sluice_fault_names[i] != NULL; i++) {
                if (strcmp(sluice_fault_names[i], wanted) == 0) {
                    break;
                }
            }

            if (sluice_fault_names[i] == NULL) {
                fprintf(stderr, "SLUICE_FAULT: no point \"%s\"\n", wanted);
                abort();
            }
        }
    }

    if (left > 0 && strcmp(wanted, name) == 0 && --left == 0) {
        raise(SIGKILL);
    }
}

#endif
