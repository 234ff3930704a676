
/*
 * Reads and writes of a mapped file that may be truncated under us: a fault
 * on it is an answer here, not the end of the process.  For the readers; the
 * handler of SIGBUS is theirs from sluice_guard_init() on.  Any thread.
 */

#ifndef SLUICE_GUARD_H
#define SLUICE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>


/* once, before any thread is started */
void sluice_guard_init(void);

/* false: the bytes are no longer there */
bool sluice_guard_copy(void *to, const void *from, size_t len);
bool sluice_guard_load(const uint64_t *from, uint64_t *value);   /* acquire */
bool sluice_guard_store(uint64_t *to, uint64_t value);           /* release */


#endif /* SLUICE_GUARD_H */
