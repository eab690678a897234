/* Row maxima with AMX tiles: 32 page rows and two query tiles at a time, the four tiles of sums in
 * registers for the whole width of a vector.
 *
 * Compiled with MAXSIM_EMULATED_TILES the instructions are functions of a header that the tests
 * bring along, so that what is around them is tested on machines without AMX. */
#ifndef COLPALI_MAXSIM_TILES_H
#define COLPALI_MAXSIM_TILES_H

#include "kernel.h"

#ifdef MAXSIM_EMULATED_TILES
#define TILES_TARGET
#include "emulated_tiles.h"
#else
#include <immintrin.h>
#define TILES_TARGET __attribute__((target("amx-tile,amx-bf16,amx-int8,avx512f")))
/* gcc 12's intrinsics do not tell the compiler what memory they read (of the configuration: eight
 * bytes of 64), and it leaves out or puts off what was stored there. */
#define TILE_CONFIGURE(config) __asm__ volatile("ldtilecfg %0" : : "m"(config))
#define TILE_STORES_DONE() __asm__ volatile("" : : : "memory")
#define TILE_RELEASE() _tile_release()
#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, place, stride) _tile_loadd(tile, place, stride)
#define TILE_STORE(tile, place, stride) _tile_stored(tile, place, stride)
#define TILE_PRODUCTS_BFLOAT16(sums, page, query) _tile_dpbf16ps(sums, page, query)
#define TILE_PRODUCTS_INT8(sums, page, query) _tile_dpbusd(sums, page, query)
#define FLOATS __m512
#define LOAD_FLOATS(place) _mm512_load_ps(place)
#define LARGER_FLOATS(a, b) _mm512_max_ps(a, b)
#define STORE_FLOATS(place, vector) _mm512_store_ps(place, vector)
#define INTEGERS __m512i
#define LOAD_INTEGERS(place) _mm512_load_si512(place)
#define LARGER_INTEGERS(a, b) _mm512_max_epi32(a, b)
#define STORE_INTEGERS(place, vector) _mm512_store_si512(place, vector)
#endif

#define TILE_ROWS 16
#define TILE_ROW_BYTES 64
#define AMX_BLOCK (2 * TILE_ROWS)

/* Palette 1: eight tiles of 16 rows of 64 bytes. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static TILES_TARGET void configure_tiles(void) {
    struct tile_config config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int tile = 0; tile < 8; tile++) {
        config.row_bytes[tile] = TILE_ROW_BYTES;
        config.rows[tile] = TILE_ROWS;
    }
    TILE_CONFIGURE(config);
}

static TILES_TARGET void release_tiles(void) { TILE_RELEASE(); }

/* Ask for the next bytes, and return what comes behind them. */
static inline __attribute__((always_inline)) const char *fetch_ahead(const char *next,
                                                                     int64_t bytes) {
    const char *const end = next + bytes;
    for (; next < end; next += TILE_ROW_BYTES) __builtin_prefetch(next, 0, 2);
    return end;
}

/* Largest of each column of a block's sums and of `most`; gcc 12 would keep `most` in memory. */
#define DEFINE_LARGEST(NAME, VALUE, VECTOR, LOAD, LARGER, STORE)                                   \
    static inline __attribute__((always_inline)) TILES_TARGET void NAME(VALUE *most,               \
                                                                        const VALUE *sums) {       \
        VECTOR upper = LOAD(most), lower = LOAD(sums);                                             \
        for (int r = 1; r < AMX_BLOCK - 1; r += 2) {                                               \
            upper = LARGER(upper, LOAD(sums + r * LANES));                                         \
            lower = LARGER(lower, LOAD(sums + (r + 1) * LANES));                                   \
        }                                                                                          \
        upper = LARGER(upper, LOAD(sums + (AMX_BLOCK - 1) * LANES));                               \
        STORE(most, LARGER(upper, lower));                                                         \
    }

DEFINE_LARGEST(largest_float32, float, FLOATS, LOAD_FLOATS, LARGER_FLOATS, STORE_FLOATS)
DEFINE_LARGEST(largest_int32, int32_t, INTEGERS, LOAD_INTEGERS, LARGER_INTEGERS, STORE_INTEGERS)

/* Tiles 0 to 3 hold the sums of row halves and query tiles, 4 and 5 page rows, 6 and 7 queries. A
 * step of the loop takes 64 bytes of each row: 16 words, and its share of
 * what comes next; the processor does not see that rows read side by side are one stream.
 *
 * While a block's products are computed, the sums of the one before become maxima. */
#define DEFINE_ROWMAX_AMX(NAME, VALUE, PRODUCTS, LARGEST)                                          \
    static TILES_TARGET void NAME(const char *rows, int64_t stride, int64_t n, const char *next,   \
                                  const char *tiles, int64_t steps, int64_t n_tiles,               \
                                  void *best) {                                                    \
        const int64_t tile_bytes = steps * 4 * LANES;                                              \
        VALUE sums[2][2][AMX_BLOCK][LANES] __attribute__((aligned(64)));                           \
        TILE_STORES_DONE();                                                                        \
        const int64_t passes = (n_tiles + 1) / 2;                                                  \
        const int64_t share = (AMX_BLOCK + passes - 1) / passes * TILE_ROW_BYTES;                  \
        const char *const last = next == NULL ? NULL : next + n * stride;                          \
        for (int64_t t = 0; t < n_tiles; t += 2) {                                                 \
            const int two = t + 1 < n_tiles;                                                       \
            const char *first = tiles + t * tile_bytes, *second = first + two * tile_bytes;        \
            VALUE *most = (VALUE *)best + t * LANES;                                               \
            int now = 0;                                                                           \
            for (int64_t i = 0; i < n; i += AMX_BLOCK, now = !now) {                               \
                const char *upper = rows + (i + AMX_BLOCK <= n ? i : n - AMX_BLOCK) * stride;      \
                const char *lower = upper + TILE_ROWS * stride;                                    \
                TILE_ZERO(0);                                                                      \
                TILE_ZERO(1);                                                                      \
                TILE_ZERO(2);                                                                      \
                TILE_ZERO(3);                                                                      \
                for (int64_t s = 0; s < steps; s += TILE_ROWS) {                                   \
                    if (next < last) next = fetch_ahead(next, share);                              \
                    TILE_LOAD(4, upper + 4 * s, stride);                                           \
                    TILE_LOAD(6, first + s * 4 * LANES, TILE_ROW_BYTES);                           \
                    TILE_LOAD(5, lower + 4 * s, stride);                                           \
                    PRODUCTS(0, 4, 6);                                                             \
                    PRODUCTS(2, 5, 6);                                                             \
                    if (two) {                                                                     \
                        TILE_LOAD(7, second + s * 4 * LANES, TILE_ROW_BYTES);                      \
                        PRODUCTS(1, 4, 7);                                                         \
                        PRODUCTS(3, 5, 7);                                                         \
                    }                                                                              \
                }                                                                                  \
                if (i > 0)                                                                         \
                    for (int w = 0; w <= two; w++) LARGEST(most + w * LANES, sums[!now][w][0]);    \
                TILE_STORE(0, sums[now][0], TILE_ROW_BYTES);                                       \
                TILE_STORE(2, sums[now][0] + TILE_ROWS, TILE_ROW_BYTES);                           \
                if (two) {                                                                         \
                    TILE_STORE(1, sums[now][1], TILE_ROW_BYTES);                                   \
                    TILE_STORE(3, sums[now][1] + TILE_ROWS, TILE_ROW_BYTES);                       \
                }                                                                                  \
            }                                                                                      \
            for (int w = 0; w <= two; w++) LARGEST(most + w * LANES, sums[!now][w][0]);            \
        }                                                                                          \
    }

DEFINE_ROWMAX_AMX(rowmax_bfloat16_amx, float, TILE_PRODUCTS_BFLOAT16, largest_float32)
DEFINE_ROWMAX_AMX(rowmax_int8_amx, int32_t, TILE_PRODUCTS_INT8, largest_int32)

#endif
