
#define _GNU_SOURCE

#include "guard.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>


static __thread sigjmp_buf             sluice_guard_point;
static __thread volatile sig_atomic_t  sluice_guard_armed;


static void
sluice_guard_handler(int signo)
{
    if (sluice_guard_armed) {
        sluice_guard_armed = 0;
        siglongjmp(sluice_guard_point, 1);
    }

    /* not ours: the fault comes again and ends the process as it should */

    signal(signo, SIG_DFL);
}


void
sluice_guard_init(void)
{
    struct sigaction  sa;

    memset(&sa, 0, sizeof(struct sigaction));
    sa.sa_handler = sluice_guard_handler;

    /* the jump does not restore the mask: that would be a system call each */

    sa.sa_flags = SA_NODEFER;
    sigemptyset(&sa.sa_mask);

    sigaction(SIGBUS, &sa, NULL);
}


bool
sluice_guard_copy(void *to, const void *from, size_t len)
{
    if (sigsetjmp(sluice_guard_point, 0) != 0) {
        return false;
    }

    sluice_guard_armed = 1;
    memcpy(to, from, len);
    sluice_guard_armed = 0;

    return true;
}


bool
sluice_guard_load(const uint64_t *from, uint64_t *value)
{
    if (sigsetjmp(sluice_guard_point, 0) != 0) {
        return false;
    }

    sluice_guard_armed = 1;
    *value = __atomic_load_n(from, __ATOMIC_ACQUIRE);
    sluice_guard_armed = 0;

    return true;
}


bool
sluice_guard_store(uint64_t *to, uint64_t value)
{
    if (sigsetjmp(sluice_guard_point, 0) != 0) {
        return false;
    }

    sluice_guard_armed = 1;
    __atomic_store_n(to, value, __ATOMIC_RELEASE);
    sluice_guard_armed = 0;

    return true;
}
