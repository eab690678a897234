/* Rows from the form they are kept in to the form that an arithmetic takes.
 *
 * Plain loops without branches: the compiler makes vectors of them. */
#ifndef COLPALI_MAXSIM_UNPACK_H
#define COLPALI_MAXSIM_UNPACK_H

#include "kernel.h"

#ifdef MAXSIM_X86
#include <immintrin.h>
#define SIGNS_WIDE signs_avx2
#else
#define SIGNS_WIDE(row, dim, to) signs_plain(row, 0, dim, to)
#endif

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Exact for every finite value: the product moves the exponent, subnormal numbers included. */
static inline float float_of_half(uint16_t half) {
    float size = float_of((uint32_t)(half & 0x7fff) << 13) * 0x1p112f;
    return float_of(bits_of(size) | (uint32_t)(half & 0x8000) << 16);
}

/* To the nearest, ties to even. */
static inline uint16_t bfloat16_of(float value) {
    uint32_t bits = bits_of(value);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Eight bytes, 1 where the bit is set, the highest bit first in memory (little endian). */
static inline uint64_t spread(uint8_t bits) {
    uint64_t picked = bits * UINT64_C(0x0101010101010101) & UINT64_C(0x0102040810204080);
    return (picked + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7 & UINT64_C(0x0101010101010101);
}

/* From here on signs are unsigned bytes around 128: 127 for a minus, 129 for a plus. */
static void signs_plain(const char *row, int64_t from, int64_t dim, char *to) {
    for (int64_t i = from / 8; i < dim / 8; i++) {
        uint64_t signs = UINT64_C(0x7f7f7f7f7f7f7f7f) + 2 * spread((uint8_t)row[i]);
        memcpy(to + 8 * i, &signs, 8);
    }
}

#ifdef MAXSIM_X86
static __attribute__((target("avx2"))) void signs_avx2(const char *row, int64_t dim, char *to) {
    const __m256i copies = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2,
                                            2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i picked = _mm256_set1_epi64x(0x0102040810204080);
    int64_t i = 0;
    for (; i + 32 <= dim; i += 32) {
        __m256i bits = _mm256_shuffle_epi8(_mm256_set1_epi32((int)word_at(row + i / 8)), copies);
        __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, picked), picked);
        __m256i signs = _mm256_sub_epi8(_mm256_set1_epi8(127), _mm256_add_epi8(set, set));
        _mm256_storeu_si256((__m256i *)(void *)(to + i), signs);
    }
    signs_plain(row, i, dim, to);
}
#endif

static inline int64_t stored_row_bytes(int form, int64_t dim) {
    switch (form) {
    case FORM_FLOAT32: return 4 * dim;
    case FORM_FLOAT16: return 2 * dim;
    case FORM_BFLOAT16: return row_bytes(ARITHMETIC_BFLOAT16, dim);
    case FORM_INT8: return dim;
    case FORM_UINT8: return row_bytes(ARITHMETIC_INT8, dim);
    default: return dim / 8;
    }
}

/* The form that needs no unpacking. */
static inline int native_form(int arithmetic) {
    return arithmetic == ARITHMETIC_FLOAT32    ? FORM_FLOAT32
           : arithmetic == ARITHMETIC_BFLOAT16 ? FORM_BFLOAT16
                                               : FORM_UINT8;
}

static inline int can_unpack(int form, int arithmetic) {
    if (form < 0 || form >= FORM_COUNT) return 0;
    int whole = form == FORM_INT8 || form == FORM_UINT8 || form == FORM_BINARY;
    return arithmetic != ARITHMETIC_INT8 || whole;
}

/* One loop an arithmetic; `form` is known where it is inlined, so that no loop has a branch. */
#define INLINED static inline __attribute__((always_inline))

INLINED float value_at(const char *row, int form, int64_t i) {
    float value;
    uint16_t half;
    switch (form) {
    case FORM_FLOAT32: memcpy(&value, row + 4 * i, 4); return value;
    case FORM_FLOAT16: memcpy(&half, row + 2 * i, 2); return float_of_half(half);
    case FORM_BFLOAT16: memcpy(&half, row + 2 * i, 2); return float_of((uint32_t)half << 16);
    case FORM_INT8: return (float)(int8_t)row[i];
    case FORM_UINT8: return (float)((int)(uint8_t)row[i] - 128);
    default: return (float)(((uint8_t)row[i / 8] >> (7 - i % 8) & 1) * 2 - 1);
    }
}

INLINED void unpack_row(const char *row, const int form, int64_t dim, const int arithmetic,
                        const int wide, char *to) {
    const int64_t bytes = row_bytes(arithmetic, dim);
    if (form == native_form(arithmetic)) {
        memcpy(to, row, (size_t)bytes);
    } else if (arithmetic == ARITHMETIC_FLOAT32) {
        for (int64_t i = 0; i < dim; i++) {
            float value = value_at(row, form, i);
            memcpy(to + 4 * i, &value, 4);
        }
    } else if (arithmetic == ARITHMETIC_BFLOAT16) {
        for (int64_t i = 0; i < dim; i++) {
            uint16_t value = bfloat16_of(value_at(row, form, i));
            memcpy(to + 2 * i, &value, 2);
        }
        memset(to + 2 * dim, 0, (size_t)(bytes - 2 * dim));
    } else {
        if (form == FORM_INT8) {
            for (int64_t i = 0; i < dim; i++) to[i] = (char)((uint8_t)row[i] ^ 0x80);
        } else {
            if (wide) {
                SIGNS_WIDE(row, dim, to);
            } else {
                signs_plain(row, 0, dim, to);
            }
        }
        memset(to + dim, 0, (size_t)(bytes - dim));
    }
}

#define UNPACK_FORM(FORM, ARITHMETIC)                                                              \
    for (int64_t i = 0; i < n; i++)                                                                \
        unpack_row(rows + i * from, FORM, dim, ARITHMETIC, wide, to + i * into)
#define UNPACK_ARITHMETIC(ARITHMETIC)                                                              \
    switch (form) {                                                                                \
    case FORM_FLOAT32: UNPACK_FORM(FORM_FLOAT32, ARITHMETIC); break;                               \
    case FORM_FLOAT16: UNPACK_FORM(FORM_FLOAT16, ARITHMETIC); break;                               \
    case FORM_BFLOAT16: UNPACK_FORM(FORM_BFLOAT16, ARITHMETIC); break;                             \
    case FORM_INT8: UNPACK_FORM(FORM_INT8, ARITHMETIC); break;                                     \
    case FORM_UINT8: UNPACK_FORM(FORM_UINT8, ARITHMETIC); break;                                   \
    default: UNPACK_FORM(FORM_BINARY, ARITHMETIC);                                                 \
    }

INLINED void unpack_rows_inlined(const char *rows, int form, int64_t n, int64_t dim, int arithmetic,
                                 const int wide, char *to) {
    const int64_t from = stored_row_bytes(form, dim), into = row_bytes(arithmetic, dim);
    if (arithmetic == ARITHMETIC_FLOAT32) {
        UNPACK_ARITHMETIC(ARITHMETIC_FLOAT32)
    } else if (arithmetic == ARITHMETIC_BFLOAT16) {
        UNPACK_ARITHMETIC(ARITHMETIC_BFLOAT16)
    } else {
        UNPACK_ARITHMETIC(ARITHMETIC_INT8)
    }
}

typedef void unpack_function(const char *rows, int form, int64_t n, int64_t dim, int arithmetic,
                             char *to);

static void unpack_rows_plain(const char *rows, int form, int64_t n, int64_t dim, int arithmetic,
                              char *to) {
    unpack_rows_inlined(rows, form, n, dim, arithmetic, 0, to);
}

#ifdef MAXSIM_X86
/* The same with wider registers. */
static __attribute__((target("avx2"))) void unpack_rows_avx2(const char *rows, int form, int64_t n,
                                                             int64_t dim, int arithmetic, char *to) {
    unpack_rows_inlined(rows, form, n, dim, arithmetic, 1, to);
}
#endif

static inline unpack_function *unpack_rows(void) {
#ifdef MAXSIM_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) return unpack_rows_avx2;
#endif
    return unpack_rows_plain;
}

#endif
