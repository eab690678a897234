/* What this processor has, and what the system lets this process use of it. */
#ifndef COLPALI_MAXSIM_PROCESSOR_H
#define COLPALI_MAXSIM_PROCESSOR_H

#include <cpuid.h>
#include <stdint.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernel.h"

#define LEAF7_AMX (1u << 22 | 1u << 24 | 1u << 25) /* edx: amx-bf16, amx-tile, amx-int8 */
#define XCR0_TILES (3u << 17)
#define REQUEST_PERMISSION 0x1023 /* arch_prctl's ARCH_REQ_XCOMP_PERM */
#define TILE_DATA 18

static inline int may_use_tiles(void) {
#ifdef MAXSIM_EMULATED_TILES
    return 1;
#elif defined(__linux__)
    uint32_t a, b, c, d;
    /* What is around the tiles is compiled for it. */
    if (!__builtin_cpu_supports("avx512f")) return 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & LEAF7_AMX) != LEAF7_AMX) return 0;
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    if ((a & XCR0_TILES) != XCR0_TILES) return 0;
    /* A process has to ask for the eight KiB of registers; threads made later have it, too. */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return 0;
#endif
}

/* Whether an arithmetic can be computed with these instructions here. */
static inline int has_instructions(int instructions, int arithmetic) {
    __builtin_cpu_init();
    if (instructions == USE_AMX) {
        /* There are no tiles of float32: that is left to AVX-512. */
        if (!may_use_tiles()) return 0;
        return arithmetic != ARITHMETIC_FLOAT32 || __builtin_cpu_supports("avx512f");
    }
    if (instructions == USE_AVX512) {
        if (!__builtin_cpu_supports("avx512f")) return 0;
        return arithmetic == ARITHMETIC_FLOAT32    ? 1
               : arithmetic == ARITHMETIC_BFLOAT16 ? !!__builtin_cpu_supports("avx512bf16")
                                                   : !!__builtin_cpu_supports("avx512vnni");
    }
    return instructions == USE_AVX2 && arithmetic == ARITHMETIC_FLOAT32 &&
           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

#endif
