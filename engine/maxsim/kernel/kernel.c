/* MaxSim of queries and pages: pages are cut into chunks that stay in cache, unpacked where they
 * are not in the arithmetic's form, and each query vector's largest dot product is kept in
 * registers. Threads take pages in turn; what a page scores depends on nothing but the page.
 *
 * Two functions for engine/maxsim/native.py, and a third that packs pages. On other processors
 * than x86-64 they say that they can do nothing. */
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)) && !defined(MAXSIM_STUB)
#define MAXSIM_X86 1
#endif

#include <math.h>
#include <stdlib.h>

#include "kernel.h"
#include "unpack.h"

#define EXPORTED __attribute__((visibility("default")))

#ifdef MAXSIM_X86
#include <pthread.h>

#include "processor.h"
#include "tiles.h"
#include "vectors.h"

/* What stays in the second level of cache, and in the first: tiles read rows so fast that the
 * second would hold them up. */
#define FAR (256 * 1024)
#define NEAR (24 * 1024)

static struct engine engine_for(int instructions, int arithmetic) {
    static const struct engine engines[USE_COUNT][ARITHMETIC_COUNT] = {
        [USE_AVX2] = {[ARITHMETIC_FLOAT32] = {AVX2_BLOCK, FAR, rowmax_float32_avx2}},
        [USE_AVX512] = {{AVX512_BLOCK, FAR, rowmax_float32_avx512},
                        {AVX512_BLOCK, FAR, rowmax_bfloat16_avx512},
                        {AVX512_BLOCK, FAR, rowmax_int8_avx512}},
        [USE_AMX] = {{AVX512_BLOCK, FAR, rowmax_float32_avx512},
                     {AMX_BLOCK, NEAR, rowmax_bfloat16_amx},
                     {AMX_BLOCK, NEAR, rowmax_int8_amx}},
    };
    struct engine none = {0, 0, NULL};
    if (instructions < 0 || instructions >= USE_COUNT || arithmetic < 0 ||
        arithmetic >= ARITHMETIC_COUNT || !has_instructions(instructions, arithmetic))
        return none;
    return engines[instructions][arithmetic];
}

#include "scoring.h"

EXPORTED int maxsim_supports(int instructions, int arithmetic) {
    return engine_for(instructions, arithmetic).rowmax != NULL;
}

EXPORTED int maxsim_score(const struct job *job) {
    struct engine engine = engine_for(job->instructions, job->arithmetic);
    return engine.rowmax == NULL ? STATUS_UNSUPPORTED : score_all(job, engine);
}
#else
EXPORTED int maxsim_supports(int instructions, int arithmetic) {
    (void)instructions, (void)arithmetic;
    return 0;
}

EXPORTED int maxsim_score(const struct job *job) {
    (void)job;
    return STATUS_UNSUPPORTED;
}
#endif

/* Bytes that `n` rows take in an arithmetic's own form. */
EXPORTED int64_t maxsim_packed_bytes(int64_t n, int64_t dim, int arithmetic) {
    return n * row_bytes(arithmetic, dim);
}

EXPORTED int maxsim_pack(const void *rows, int form, int64_t n, int64_t dim, int arithmetic,
                         void *to) {
    if (!can_unpack(form, arithmetic)) return STATUS_UNSUPPORTED;
    unpack_rows()(rows, form, n, dim, arithmetic, to);
    return STATUS_DONE;
}
