/* Row maxima with AVX2 and AVX-512. */
#ifndef COLPALI_MAXSIM_VECTORS_H
#define COLPALI_MAXSIM_VECTORS_H

#include <immintrin.h>

#include "kernel.h"

#define SIX_ROWS(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define TWELVE_ROWS(DO) SIX_ROWS(DO) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

#define JOINED_(a, b) a##b
#define JOINED(a, b) JOINED_(a, b)

/* The processor does not see that a dozen rows read side by side are one stream. That matters where
 * rows are multiplied faster than they come: float32's are large, int8's products quick. */
#define FETCH_AHEAD(place) __builtin_prefetch(place)
#define LEAVE(place) (void)(place)

/* 16 registers: 6 x 2 sums, 2 of the query, 1 of the page. */
#define AVX2_BLOCK 6
#define NAME rowmax_float32_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define ROWS AVX2_BLOCK
#define EACH_ROW SIX_ROWS
#define VECTOR __m256
#define REGISTER_LANES 8
#define ZERO() _mm256_setzero_ps()
#define LOAD(place) _mm256_loadu_ps((const float *)(const void *)(place))
#define STORE(place, vector) _mm256_storeu_ps((float *)(void *)(place), vector)
#define SPREAD(word) _mm256_castsi256_ps(_mm256_set1_epi32((int)(word)))
#define ADD_PRODUCTS(sums, page, query) _mm256_fmadd_ps(page, query, sums)
#define LARGER(a, b) _mm256_max_ps(a, b)
#define FETCH FETCH_AHEAD
#include "rowmax.inc"

/* 32 registers: 12 x 2 sums, 2 of the query, and room for pages. */
#define AVX512_BLOCK 12
#define NAME rowmax_float32_avx512
#define TARGET __attribute__((target("avx512f")))
#define ROWS AVX512_BLOCK
#define EACH_ROW TWELVE_ROWS
#define VECTOR __m512
#define REGISTER_LANES 16
#define ZERO() _mm512_setzero_ps()
#define LOAD(place) _mm512_loadu_ps(place)
#define STORE(place, vector) _mm512_storeu_ps(place, vector)
#define SPREAD(word) _mm512_castsi512_ps(_mm512_set1_epi32((int)(word)))
#define ADD_PRODUCTS(sums, page, query) _mm512_fmadd_ps(page, query, sums)
#define LARGER(a, b) _mm512_max_ps(a, b)
#define FETCH FETCH_AHEAD
#include "rowmax.inc"

#define NAME rowmax_bfloat16_avx512
#define TARGET __attribute__((target("avx512f,avx512bf16")))
#define ROWS AVX512_BLOCK
#define EACH_ROW TWELVE_ROWS
#define VECTOR __m512
#define REGISTER_LANES 16
#define ZERO() _mm512_setzero_ps()
#define LOAD(place) _mm512_loadu_ps(place)
#define STORE(place, vector) _mm512_storeu_ps(place, vector)
#define SPREAD(word) _mm512_castsi512_ps(_mm512_set1_epi32((int)(word)))
#define ADD_PRODUCTS(sums, page, query) _mm512_dpbf16_ps(sums, (__m512bh)(page), (__m512bh)(query))
#define LARGER(a, b) _mm512_max_ps(a, b)
#define FETCH LEAVE
#include "rowmax.inc"

/* Keeps gcc 12 from carrying each sum through the loop in two registers and in memory. */
static inline __attribute__((always_inline, target("avx512f"))) __m512i in_place(__m512i sums) {
    __asm__("" : "+v"(sums));
    return sums;
}

/* Unsigned page bytes times signed query bytes; what the offset of 128 adds is the same for all
 * rows, so that it does not touch the maximum and is taken off once. */
#define NAME rowmax_int8_avx512
#define TARGET __attribute__((target("avx512f,avx512vnni")))
#define ROWS AVX512_BLOCK
#define EACH_ROW TWELVE_ROWS
#define VECTOR __m512i
#define REGISTER_LANES 16
#define ZERO() _mm512_setzero_si512()
#define LOAD(place) _mm512_loadu_si512(place)
#define STORE(place, vector) _mm512_storeu_si512(place, vector)
#define SPREAD(word) _mm512_set1_epi32((int)(word))
#define ADD_PRODUCTS(sums, page, query) in_place(_mm512_dpbusd_epi32(sums, page, query))
#define LARGER(a, b) _mm512_max_epi32(a, b)
#define FETCH FETCH_AHEAD
#include "rowmax.inc"

#endif
