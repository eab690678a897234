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
#define TILE_CONFIGURE(config) _tile_loadconfig(config)
#define TILE_RELEASE() _tile_release()
#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, place, stride) _tile_loadd(tile, place, stride)
#define TILE_STORE(tile, place, stride) _tile_stored(tile, place, stride)
#define TILE_PRODUCTS_BFLOAT16(sums, page, query) _tile_dpbf16ps(sums, page, query)
#define TILE_PRODUCTS_INT8(sums, page, query) _tile_dpbusd(sums, page, query)
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
    TILE_CONFIGURE(&config);
}

static TILES_TARGET void release_tiles(void) { TILE_RELEASE(); }

/* Tiles 0 to 3 hold the sums of row halves and query tiles, 4 and 5 page rows, 6 and 7 queries. A
 * step of the loop takes 64 bytes of each row: 16 words. */
#define DEFINE_ROWMAX_AMX(NAME, VALUE, PRODUCTS)                                                   \
    static TILES_TARGET void NAME(const char *rows, int64_t stride, int64_t n, const char *tiles,  \
                                  int64_t steps, int64_t n_tiles, void *best) {                    \
        const int64_t tile_bytes = steps * 4 * LANES;                                              \
        VALUE sums[2][2][TILE_ROWS][LANES] __attribute__((aligned(64)));                           \
        for (int64_t t = 0; t < n_tiles; t += 2) {                                                 \
            const int two = t + 1 < n_tiles;                                                       \
            const char *first = tiles + t * tile_bytes, *second = first + two * tile_bytes;        \
            VALUE most[2][LANES];                                                                  \
            memcpy(most[0], (const VALUE *)best + t * LANES, sizeof most[0]);                      \
            memcpy(most[1], (const VALUE *)best + (t + two) * LANES, sizeof most[1]);              \
            for (int64_t i = 0; i < n; i += AMX_BLOCK) {                                           \
                const char *upper = rows + (i + AMX_BLOCK <= n ? i : n - AMX_BLOCK) * stride;      \
                const char *lower = upper + TILE_ROWS * stride;                                    \
                TILE_ZERO(0);                                                                      \
                TILE_ZERO(1);                                                                      \
                TILE_ZERO(2);                                                                      \
                TILE_ZERO(3);                                                                      \
                for (int64_t s = 0; s < steps; s += TILE_ROWS) {                                   \
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
                TILE_STORE(0, sums[0][0], TILE_ROW_BYTES);                                         \
                TILE_STORE(2, sums[0][1], TILE_ROW_BYTES);                                         \
                if (two) {                                                                         \
                    TILE_STORE(1, sums[1][0], TILE_ROW_BYTES);                                     \
                    TILE_STORE(3, sums[1][1], TILE_ROW_BYTES);                                     \
                }                                                                                  \
                for (int w = 0; w <= two; w++)                                                     \
                    for (int r = 0; r < 2 * TILE_ROWS; r++)                                        \
                        for (int lane = 0; lane < LANES; lane++) {                                 \
                            VALUE sum = sums[w][r / TILE_ROWS][r % TILE_ROWS][lane];               \
                            most[w][lane] = sum > most[w][lane] ? sum : most[w][lane];             \
                        }                                                                          \
            }                                                                                      \
            memcpy((VALUE *)best + t * LANES, most[0], sizeof most[0]);                            \
            if (two) memcpy((VALUE *)best + (t + 1) * LANES, most[1], sizeof most[1]);             \
        }                                                                                          \
    }

DEFINE_ROWMAX_AMX(rowmax_bfloat16_amx, float, TILE_PRODUCTS_BFLOAT16)
DEFINE_ROWMAX_AMX(rowmax_int8_amx, int32_t, TILE_PRODUCTS_INT8)

#endif
