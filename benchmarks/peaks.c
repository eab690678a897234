/* The most that one core multiplies and adds: independent sums that never leave registers. */
#include <immintrin.h>
#include <stdint.h>

#include "tiles.h" /* of engine/maxsim/kernel */

#define SUMS 12
/* The sums end in memory, so that they are worth computing; what they are made of is not known. */
#define LOOP(KIND, START, STEP, STORE)                                                             \
    KIND one = START;                                                                              \
    __asm__("" : "+v"(one));                                                                       \
    KIND sums[SUMS];                                                                               \
    for (int i = 0; i < SUMS; i++) sums[i] = one;                                                  \
    for (int64_t n = 0; n < times; n++) {                                                          \
        _Pragma("GCC unroll 12") for (int i = 0; i < SUMS; i++) sums[i] = STEP;                    \
    }                                                                                              \
    for (int i = 0; i < SUMS; i++) {                                                               \
        STORE;                                                                                     \
        __asm__ volatile("" ::: "memory");                                                         \
    }

float sink[16];

/* Each returns the multiplications and additions of one turn of its loop. */
__attribute__((target("avx2,fma"))) int64_t peak_avx2_float32(int64_t times) {
    LOOP(__m256, _mm256_set1_ps(0.5f), _mm256_fmadd_ps(sums[i], one, one),
         _mm256_storeu_ps(sink, sums[i]))
    return 2 * 8 * SUMS;
}

__attribute__((target("avx512f"))) int64_t peak_avx512_float32(int64_t times) {
    LOOP(__m512, _mm512_set1_ps(0.5f), _mm512_fmadd_ps(sums[i], one, one),
         _mm512_storeu_ps(sink, sums[i]))
    return 2 * 16 * SUMS;
}

__attribute__((target("avx512f,avx512bf16"))) int64_t peak_avx512_bfloat16(int64_t times) {
    LOOP(__m512, _mm512_set1_ps(0.5f), _mm512_dpbf16_ps(sums[i], (__m512bh)one, (__m512bh)one),
         _mm512_storeu_ps(sink, sums[i]))
    return 2 * 32 * SUMS;
}

__attribute__((target("avx512f,avx512vnni"))) int64_t peak_avx512_int8(int64_t times) {
    LOOP(__m512i, _mm512_set1_epi32(1), _mm512_dpbusd_epi32(sums[i], one, one),
         _mm512_storeu_si512(sink, sums[i]))
    return 2 * 64 * SUMS;
}

/* Only after the kernel has asked the system for the tiles. */
TILES_TARGET int64_t peak_amx_bfloat16(int64_t times) {
    configure_tiles();
    for (int64_t n = 0; n < times; n++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    release_tiles();
    return 4 * 2 * 16 * 16 * 32;
}

TILES_TARGET int64_t peak_amx_int8(int64_t times) {
    configure_tiles();
    for (int64_t n = 0; n < times; n++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    release_tiles();
    return 4 * 2 * 16 * 16 * 64;
}
