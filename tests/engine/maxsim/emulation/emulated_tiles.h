/* AMX tiles in software, so that the code around them runs on every machine. Only for tests.
 *
 * As the manual has it: a product takes row r of the page tile and column c of the query tile, in
 * words of 32 bits, two bfloat16 or four bytes at a time. Misuse ends the process. */
#ifndef COLPALI_MAXSIM_EMULATED_TILES_H
#define COLPALI_MAXSIM_EMULATED_TILES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct {
    int configured;
    uint8_t rows[8];
    uint16_t row_bytes[8];
    uint8_t data[8][16][64];
} emulated;

static inline void emulated_configure(const void *place) {
    const uint8_t *config = place;
    if (config[0] != 1) abort();
    for (int tile = 0; tile < 8; tile++) {
        memcpy(&emulated.row_bytes[tile], config + 16 + 2 * tile, 2);
        emulated.rows[tile] = config[48 + tile];
        if (emulated.row_bytes[tile] > 64 || emulated.rows[tile] > 16) abort();
    }
    emulated.configured = 1;
}

static inline void emulated_release(void) { memset(&emulated, 0, sizeof emulated); }

static inline void emulated_check(int tile) {
    if (!emulated.configured || tile < 0 || tile > 7) abort();
}

static inline void emulated_zero(int tile) {
    emulated_check(tile);
    memset(emulated.data[tile], 0, sizeof emulated.data[tile]);
}

static inline void emulated_load(int tile, const void *place, int64_t stride) {
    emulated_check(tile);
    emulated_zero(tile);
    for (int row = 0; row < emulated.rows[tile]; row++)
        memcpy(emulated.data[tile][row], (const char *)place + row * stride,
               emulated.row_bytes[tile]);
}

static inline void emulated_store(int tile, void *place, int64_t stride) {
    emulated_check(tile);
    for (int row = 0; row < emulated.rows[tile]; row++)
        memcpy((char *)place + row * stride, emulated.data[tile][row], emulated.row_bytes[tile]);
}

static inline float emulated_bfloat16(const uint8_t *place) {
    uint32_t bits = (uint32_t)place[0] << 16 | (uint32_t)place[1] << 24;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline void emulated_products(int sums, int page, int query, int whole) {
    emulated_check(sums), emulated_check(page), emulated_check(query);
    for (int row = 0; row < emulated.rows[sums]; row++)
        for (int word = 0; word < emulated.row_bytes[page] / 4; word++)
            for (int column = 0; column < emulated.row_bytes[sums] / 4; column++) {
                uint8_t *to = &emulated.data[sums][row][4 * column];
                const uint8_t *left = &emulated.data[page][row][4 * word];
                const uint8_t *right = &emulated.data[query][word][4 * column];
                if (whole) {
                    int32_t sum;
                    memcpy(&sum, to, 4);
                    for (int i = 0; i < 4; i++) sum += (int32_t)left[i] * (int8_t)right[i];
                    memcpy(to, &sum, 4);
                } else {
                    float sum;
                    memcpy(&sum, to, 4);
                    for (int i = 0; i < 2; i++)
                        sum += emulated_bfloat16(left + 2 * i) * emulated_bfloat16(right + 2 * i);
                    memcpy(to, &sum, 4);
                }
            }
}

#define EMULATED_REGISTER(VECTOR, VALUE, LOAD, LARGER, STORE)                                      \
    typedef struct {                                                                               \
        VALUE lanes[16];                                                                           \
    } VECTOR;                                                                                      \
    static inline VECTOR LOAD(const VALUE *place) {                                                \
        VECTOR vector;                                                                             \
        if ((uintptr_t)place % 64 != 0) abort();                                                   \
        memcpy(vector.lanes, place, sizeof vector.lanes);                                          \
        return vector;                                                                             \
    }                                                                                              \
    static inline VECTOR LARGER(VECTOR a, VECTOR b) {                                              \
        for (int i = 0; i < 16; i++) a.lanes[i] = a.lanes[i] > b.lanes[i] ? a.lanes[i] : b.lanes[i]; \
        return a;                                                                                  \
    }                                                                                              \
    static inline void STORE(VALUE *place, VECTOR vector) {                                        \
        memcpy(place, vector.lanes, sizeof vector.lanes);                                          \
    }

EMULATED_REGISTER(FLOATS, float, LOAD_FLOATS, LARGER_FLOATS, STORE_FLOATS)
EMULATED_REGISTER(INTEGERS, int32_t, LOAD_INTEGERS, LARGER_INTEGERS, STORE_INTEGERS)

#define TILE_CONFIGURE(config) emulated_configure(&(config))
#define TILE_STORES_DONE() (void)0
#define TILE_RELEASE() emulated_release()
#define TILE_ZERO(tile) emulated_zero(tile)
#define TILE_LOAD(tile, place, stride) emulated_load(tile, place, stride)
#define TILE_STORE(tile, place, stride) emulated_store(tile, place, stride)
#define TILE_PRODUCTS_BFLOAT16(sums, page, query) emulated_products(sums, page, query, 0)
#define TILE_PRODUCTS_INT8(sums, page, query) emulated_products(sums, page, query, 1)

#endif
