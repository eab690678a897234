/* What the kernel's parts share: forms, arithmetics, and the job that Python fills in. */
#ifndef COLPALI_MAXSIM_KERNEL_H
#define COLPALI_MAXSIM_KERNEL_H

#include <stdint.h>
#include <string.h>

/* Tokens of a query tile, the lanes of one 512 bit register of 32 bit sums. */
#define LANES 16

/* How a page's vectors lie in memory, row after row. PACKED rows are padded in their width with
 * zeros to the STEPS of an arithmetic, which adds nothing to a dot product. */
enum form {
    FORM_FLOAT32 = 0,
    FORM_FLOAT16 = 1,
    FORM_BFLOAT16 = 2, /* packed: the form of ARITHMETIC_BFLOAT16 */
    FORM_INT8 = 3,
    FORM_UINT8 = 4,  /* packed: int8 + 128, the form of ARITHMETIC_INT8 */
    FORM_BINARY = 5, /* signs, eight to a byte, the first in the highest bit; 1 is +1, 0 is -1 */
    FORM_COUNT = 6
};

/* What the products are computed in; sums are float32, for int8 int32 and thus exact. */
enum arithmetic {
    ARITHMETIC_FLOAT32 = 0,
    ARITHMETIC_BFLOAT16 = 1,
    ARITHMETIC_INT8 = 2,
    ARITHMETIC_COUNT = 3
};

enum instructions { USE_AVX2 = 0, USE_AVX512 = 1, USE_AMX = 2, USE_COUNT = 3 };

enum status { STATUS_DONE = 0, STATUS_NO_MEMORY = 1, STATUS_UNSUPPORTED = 2 };

/* Mirrored by engine/maxsim/native.py. */
struct job {
    int64_t dim;
    int64_t n_queries;
    int64_t n_pages;
    const float *queries;        /* (n_vectors of all queries, dim) */
    const int64_t *query_starts; /* n_queries + 1 */
    const void *const *pages;
    const int64_t *lengths; /* vectors of each page, at least 1 */
    const int32_t *forms;   /* of each page */
    const float *scales;    /* of each page: what its stored values are multiplied by */
    float *scores;          /* (n_queries, n_pages) */
    int32_t arithmetic;
    int32_t instructions;
    int32_t threads;
};

/* Largest dot product of each query vector with `n` page rows, and with what `best` holds already.
 *
 * rows: `n` rows, `stride` bytes apart; n is at least the `block` of the instructions.
 * next: rows that come after these, to be fetched meanwhile where that pays; may be NULL.
 * tiles: query tiles; a tile is `steps` times LANES words of 32 bits: one float, two bfloat16 or
 *     four int8 of a vector's width at a time, for each of the tile's vectors.
 * best: (tiles * LANES) float or int32. */
typedef void rowmax_function(const char *rows, int64_t stride, int64_t n, const char *next,
                             const char *tiles, int64_t steps, int64_t n_tiles, void *best);

struct engine {
    int64_t block;       /* rows that are taken at a time */
    int64_t chunk_bytes; /* of rows that all query vectors see before the next rows */
    rowmax_function *rowmax;
};

static inline uint32_t word_at(const char *place) {
    uint32_t word; /* pages come from messages, at any address */
    memcpy(&word, place, sizeof word);
    return word;
}

static inline int64_t round_up(int64_t value, int64_t step) {
    return (value + step - 1) / step * step;
}

/* Values of a row that one arithmetic takes: its width, padded. */
static inline int64_t padded_width(int arithmetic, int64_t dim) {
    return arithmetic == ARITHMETIC_FLOAT32    ? dim
           : arithmetic == ARITHMETIC_BFLOAT16 ? round_up(dim, 32)
                                               : round_up(dim, 64);
}

static inline int64_t value_bytes(int arithmetic) {
    return arithmetic == ARITHMETIC_FLOAT32 ? 4 : arithmetic == ARITHMETIC_BFLOAT16 ? 2 : 1;
}

/* Bytes of a padded row; a multiple of the 64 that a tile row has, but for float32. */
static inline int64_t row_bytes(int arithmetic, int64_t dim) {
    return padded_width(arithmetic, dim) * value_bytes(arithmetic);
}

#endif
