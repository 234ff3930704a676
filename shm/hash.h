
/*
 * The two hashes that the shared files need.
 *
 * CRC32C (Castagnoli, RFC 3720 appendix B.4) tells a whole record from a
 * torn or stale one; by SSE4.2 where the CPU has it, by tables elsewhere.
 *
 * SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012) places
 * keys in tables: a client that picks keys cannot make them collide without
 * the table's own 16-byte key.
 *
 * Pure functions; any thread or process.
 */

#ifndef SLUICE_HASH_H
#define SLUICE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>


typedef struct {
    uint64_t  lo;
    uint64_t  hi;
} sluice_hash_t;


/* crc: 0, or what a call on the bytes before returned */
uint32_t sluice_crc32c(uint32_t crc, const void *data, size_t len);

sluice_hash_t sluice_siphash(const uint8_t key[16], const void *data,
    size_t len);

/*
 * The same for 128 bits which nobody could choose, as those of a keyed hash:
 * another hash would add nothing, the key only tells tables apart.
 */
static inline sluice_hash_t
sluice_hash_id(const uint8_t key[16], const uint8_t id[16])
{
    uint64_t       word[4];
    sluice_hash_t  hash;

    memcpy(word, id, 16);
    memcpy(word + 2, key, 16);

    hash.lo = word[0] ^ word[2];
    hash.hi = word[1] ^ word[3];

    return hash;
}

/*
 * By which a limit table knows a key again, and an operator finds it: 48 bits,
 * never 0.
 */
static inline uint64_t
sluice_hash_fingerprint(sluice_hash_t hash)
{
    return (hash.hi >> 16) | 1;
}


#endif /* SLUICE_HASH_H */
