
/*
 * Fault points: named places at which a test kills the process.
 *
 * SLUICE_FAULT=name:n raises SIGKILL the n-th time the point is passed (n is
 * 1 unless given).  They exist only in builds with -DSLUICE_FAULTS; in any
 * other build a point is nothing.  `make crash` kills at each one and checks
 * what was left.  The names are listed in fault.c, so that a test can ask
 * for all of them and a misspelt one is an error.
 */

#ifndef SLUICE_FAULT_H
#define SLUICE_FAULT_H


#ifdef SLUICE_FAULTS

void sluice_fault_pass(const char *name);

/* the i-th name, NULL past the last one */
const char *sluice_fault_name(unsigned i);

#define sluice_fault(name)  sluice_fault_pass(name)

#else

#define sluice_fault(name)

#endif


#endif /* SLUICE_FAULT_H */
