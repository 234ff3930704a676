
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

    __m128i   x;
    uint64_t  lo, hi;

    /* all in registers: compilers would take the upper half by memory */

    if (__builtin_expect(__builtin_cpu_supports("avx") != 0, 1)) {
        __asm__ volatile ("vmovdqa %3, %0\n\t"
                          "vmovq %0, %1\n\t"
                          "vpextrq $1, %0, %2"
                          : "=&x" (x), "=r" (lo), "=r" (hi) : "m" (*p));

        return (sluice_u128_t) hi << 64 | lo;
    }

#endif

    return __sync_val_compare_and_swap(p, (sluice_u128_t) 0,
                                       (sluice_u128_t) 0);
}


/*
 * Halves of it, each of a moment of its own.  A compare-and-swap with both for
 * the old value fails if they were never one; nothing else may be concluded
 * from them.
 */
static inline uint64_t
sluice_load16_low(const sluice_u128_t *p)
{
    return __atomic_load_n((const uint64_t *) p
                           + (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__),
                           __ATOMIC_RELAXED);
}


static inline uint64_t
sluice_load16_high(const sluice_u128_t *p)
{
    return __atomic_load_n((const uint64_t *) p
                           + (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__),
                           __ATOMIC_RELAXED);
}


/* a full barrier; on failure *old is what stands there now */
static inline bool
sluice_cas16(sluice_u128_t *p, sluice_u128_t *old, sluice_u128_t new)
{
    if (__sync_bool_compare_and_swap(p, *old, new)) {
        return true;
    }

    *old = sluice_load16(p);

    return false;
}


#endif /* SLUICE_CAS16_H */
