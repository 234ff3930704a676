
/*
 * Sixteen bytes at once: a snapshot and a compare-and-swap.
 *
 * On x86-64 it needs -mcx16 (any CPU since 2006).  A load is one VMOVDQA
 * where the CPU has AVX, which makes aligned ones atomic (Intel SDM volume
 * 3A, 9.1.1); elsewhere a compare-and-swap, which writes.
 */

#ifndef SLUICE_CAS16_H
#define SLUICE_CAS16_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif


typedef unsigned __int128  sluice_u128_t;


/* TSan sees no load in assembly; gcc and clang tell of it differently */

#if defined(__SANITIZE_THREAD__)
#define SLUICE_TSAN  1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLUICE_TSAN  1
#endif
#endif


static inline sluice_u128_t
sluice_load16(sluice_u128_t *p)
{
#if defined(__x86_64__) && !defined(SLUICE_TSAN)

    __m128i  x;

    if (__builtin_expect(__builtin_cpu_supports("avx") != 0, 1)) {
        __asm__ volatile ("vmovdqa %1, %0" : "=x" (x) : "m" (*p));

        return (sluice_u128_t) (uint64_t)
                   _mm_cvtsi128_si64(_mm_unpackhi_epi64(x, x)) << 64
               | (uint64_t) _mm_cvtsi128_si64(x);
    }

#endif

    return __sync_val_compare_and_swap(p, (sluice_u128_t) 0,
                                       (sluice_u128_t) 0);
}


/* a full barrier; on failure *old is what stands there */
static inline bool
sluice_cas16(sluice_u128_t *p, sluice_u128_t *old, sluice_u128_t new)
{
    sluice_u128_t  seen;

    seen = __sync_val_compare_and_swap(p, *old, new);

    if (seen == *old) {
        return true;
    }

    *old = seen;

    return false;
}


#endif /* SLUICE_CAS16_H */
