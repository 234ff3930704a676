
#include "hash.h"

#include <string.h>


#define SLUICE_CRC32C_POLY  0x82f63b78u         /* reflected */




/* one table, built by the compiler's constant folding of this recurrence */

#define C1(c)   (((c) >> 1) ^ (((c) & 1) ? SLUICE_CRC32C_POLY : 0))
#define C4(c)   C1(C1(C1(C1(c))))

/*
 * A nibble at a time: 16 entries stay in one cache line.  It is the path for
 * CPUs without a CRC instruction and for the sidecar's tests of the other.
 */
static const uint32_t  sluice_crc32c_nibble[16] = {
    C4(0u), C4(1u), C4(2u), C4(3u), C4(4u), C4(5u), C4(6u), C4(7u),
    C4(8u), C4(9u), C4(10u), C4(11u), C4(12u), C4(13u), C4(14u), C4(15u)
};


static inline uint64_t
sluice_le64(const uint8_t *p)
{
    uint64_t  v;

    memcpy(&v, p, 8);

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif

    return v;
}


static uint32_t
sluice_crc32c_table(uint32_t crc, const uint8_t *p, size_t len)
{
    while (len--) {
        crc ^= *p++;
        crc = (crc >> 4) ^ sluice_crc32c_nibble[crc & 15];
        crc = (crc >> 4) ^ sluice_crc32c_nibble[crc & 15];
    }

    return crc;
}


#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t
sluice_crc32c_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t  c;

    c = crc;

    for ( /* void */ ; len >= 32; p += 32, len -= 32) {
        c = __builtin_ia32_crc32di(c, sluice_le64(p));
        c = __builtin_ia32_crc32di(c, sluice_le64(p + 8));
        c = __builtin_ia32_crc32di(c, sluice_le64(p + 16));
        c = __builtin_ia32_crc32di(c, sluice_le64(p + 24));
    }

    for ( /* void */ ; len >= 8; p += 8, len -= 8) {
        c = __builtin_ia32_crc32di(c, sluice_le64(p));
    }

    crc = (uint32_t) c;

    while (len--) {
        crc = __builtin_ia32_crc32qi(crc, *p++);
    }

    return crc;
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)

#include <arm_acle.h>

static uint32_t
sluice_crc32c_arm(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t  word;

    for ( /* void */ ; len >= 8; p += 8, len -= 8) {
        memcpy(&word, p, 8);
        crc = __crc32cd(crc, word);
    }

    while (len--) {
        crc = __crc32cb(crc, *p++);
    }

    return crc;
}

#endif


uint32_t
sluice_crc32c(uint32_t crc, const void *data, size_t len)
{
    crc = ~crc;

#if defined(__x86_64__)

    if (__builtin_cpu_supports("sse4.2")) {
        return ~sluice_crc32c_sse42(crc, data, len);
    }

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)

    return ~sluice_crc32c_arm(crc, data, len);

#endif

    return ~sluice_crc32c_table(crc, data, len);
}


#define sluice_rotl(x, b)  (((x) << (b)) | ((x) >> (64 - (b))))

#define sluice_sipround(v)                                                    \
    v[0] += v[1]; v[1] = sluice_rotl(v[1], 13); v[1] ^= v[0];                 \
    v[0] = sluice_rotl(v[0], 32);                                             \
    v[2] += v[3]; v[3] = sluice_rotl(v[3], 16); v[3] ^= v[2];                 \
    v[0] += v[3]; v[3] = sluice_rotl(v[3], 21); v[3] ^= v[0];                 \
    v[2] += v[1]; v[1] = sluice_rotl(v[1], 17); v[1] ^= v[2];                 \
    v[2] = sluice_rotl(v[2], 32)


sluice_hash_t
sluice_siphash(const uint8_t key[16], const void *data, size_t len)
{
    size_t          i, tail;
    uint64_t        k0, k1, m, v[4];
    const uint8_t  *p;
    sluice_hash_t   hash;

    k0 = sluice_le64(key);
    k1 = sluice_le64(key + 8);

    v[0] = 0x736f6d6570736575ull ^ k0;
    v[1] = 0x646f72616e646f6dull ^ k1 ^ 0xee;
    v[2] = 0x6c7967656e657261ull ^ k0;
    v[3] = 0x7465646279746573ull ^ k1;

    p = data;
    m = (uint64_t) len << 56;

    for (i = 0; i + 8 <= len; i += 8) {
        uint64_t  w = sluice_le64(p + i);

        v[3] ^= w;
        sluice_sipround(v);
        sluice_sipround(v);
        v[0] ^= w;
    }

    /* the bytes that are left, of a load of eight if there are as many */

    tail = len - i;

    if (tail != 0 && len > 8) {
        m |= sluice_le64(p + len - 8) >> (64 - 8 * tail);

    } else {
        for ( /* void */ ; i < len; i++) {
            m |= (uint64_t) p[i] << 8 * i;
        }
    }

    v[3] ^= m;
    sluice_sipround(v);
    sluice_sipround(v);
    v[0] ^= m;

    v[2] ^= 0xee;
    for (i = 0; i < 4; i++) { sluice_sipround(v); }
    hash.lo = v[0] ^ v[1] ^ v[2] ^ v[3];

    v[1] ^= 0xdd;
    for (i = 0; i < 4; i++) { sluice_sipround(v); }
    hash.hi = v[0] ^ v[1] ^ v[2] ^ v[3];

    return hash;
}
