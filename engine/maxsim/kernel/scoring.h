/* From a job to its scores: query tiles once, then page by page in threads. */
#ifndef COLPALI_MAXSIM_SCORING_H
#define COLPALI_MAXSIM_SCORING_H

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "kernel.h"
#include "tiles.h"
#include "unpack.h"

#define MAX_THREADS 256
#define LEAST_CHUNK_ROWS 96 /* a multiple of every block */
#define MOST_CHUNK_ROWS 480

struct work {
    const struct job *job;
    struct engine engine;
    unpack_function *unpack;
    int64_t n_vectors, n_tiles, steps, chunk_rows;
    char *tiles;
    float *token_scales;    /* what a query vector's rounded values are multiplied by */
    int32_t *token_offsets; /* int8: what the 128 on each page value adds */
    int64_t next_page;
    int status;
};

static void *aligned_bytes(int64_t bytes) {
    return aligned_alloc(64, (size_t)round_up(bytes > 0 ? bytes : 1, 64));
}

/* What a rounded vector is multiplied by to be the nearest to what it was: then no part of the
 * rounding points along the vector, which is where the page vectors that matter point, too. */
static float nearest_scale(double with_itself, double with_rounded, float otherwise) {
    return with_rounded > 0 ? (float)(with_itself / with_rounded) : otherwise;
}

/* Round a query vector to int8 by its own largest value. */
static void pack_int8(const float *row, int64_t dim, int64_t vector, struct work *work, char *to) {
    float largest = 0;
    for (int64_t i = 0; i < dim; i++) largest = fabsf(row[i]) > largest ? fabsf(row[i]) : largest;
    /* Below this its inverse would be infinite; such a vector is worth nothing. */
    const float inverse = largest > 1e-35f ? 127 / largest : 0;
    int32_t sum = 0;
    double with_itself = 0, with_rounded = 0;
    for (int64_t i = 0; i < dim; i++) {
        int32_t value = (int32_t)lrintf(row[i] * inverse);
        to[i / 4 * 4 * LANES + i % 4] = (char)value;
        sum += value;
        with_itself += (double)row[i] * row[i];
        with_rounded += (double)row[i] * value;
    }
    work->token_scales[vector] = nearest_scale(with_itself, with_rounded, 0);
    work->token_offsets[vector] = 128 * sum;
}

static void pack_bfloat16(const float *row, int64_t dim, int64_t vector, struct work *work,
                          char *to) {
    double with_itself = 0, with_rounded = 0;
    for (int64_t i = 0; i < dim; i++) {
        uint16_t value = bfloat16_of(row[i]);
        memcpy(to + i / 2 * 4 * LANES + i % 2 * 2, &value, 2);
        with_itself += (double)row[i] * row[i];
        with_rounded += (double)row[i] * float_of((uint32_t)value << 16);
    }
    work->token_scales[vector] = nearest_scale(with_itself, with_rounded, 1);
}

/* Lay query vectors out in tiles; lanes and width that are not there are zeros, whose sums nobody
 * reads. */
static void pack_queries(struct work *work) {
    const struct job *job = work->job;
    memset(work->tiles, 0, (size_t)(work->n_tiles * work->steps * 4 * LANES));
    for (int64_t vector = 0; vector < work->n_vectors; vector++) {
        const float *row = job->queries + vector * job->dim;
        char *to = work->tiles + vector / LANES * work->steps * 4 * LANES + vector % LANES * 4;
        if (job->arithmetic == ARITHMETIC_INT8) {
            pack_int8(row, job->dim, vector, work, to);
        } else if (job->arithmetic == ARITHMETIC_BFLOAT16) {
            pack_bfloat16(row, job->dim, vector, work, to);
        } else {
            work->token_scales[vector] = 1;
            for (int64_t i = 0; i < job->dim; i++) memcpy(to + i * 4 * LANES, row + i, 4);
        }
    }
}

/* Whether a page's rows are used where they lie. */
static int is_ready(const struct work *work, int64_t page) {
    const struct job *job = work->job;
    return job->forms[page] == native_form(job->arithmetic) &&
           job->lengths[page] >= work->engine.block;
}

/* Rows to fetch while those of a page before `row` are multiplied; NULL if there are none. */
static const char *rows_ahead(const struct work *work, int64_t page, int64_t row) {
    const struct job *job = work->job;
    if (row < job->lengths[page])
        return (const char *)job->pages[page] + row * row_bytes(job->arithmetic, job->dim);
    /* With several threads another may take it: then this one's is not far behind. */
    page = __atomic_load_n(&work->next_page, __ATOMIC_RELAXED);
    return page < job->n_pages && is_ready(work, page) ? job->pages[page] : NULL;
}

/* Largest products of one page, whatever its form. */
static void best_of_page(const struct work *work, int64_t page, char *scratch, void *best) {
    const struct job *job = work->job;
    const int64_t length = job->lengths[page], block = work->engine.block;
    const int64_t stride = row_bytes(job->arithmetic, job->dim);
    const int form = job->forms[page];
    const int64_t stored = stored_row_bytes(form, job->dim);
    const int ready = is_ready(work, page);
    for (int64_t start = 0; start < length; start += work->chunk_rows) {
        int64_t n = length - start < work->chunk_rows ? length - start : work->chunk_rows;
        const char *rows = (const char *)job->pages[page] + start * stored, *next = NULL;
        if (ready) {
            next = rows_ahead(work, page, start + n);
            if (n < block) {
                rows -= (block - n) * stored;
                n = block;
            }
        } else {
            work->unpack(rows, form, n, job->dim, job->arithmetic, scratch);
            for (; n < block; n++) /* the last vector again, which no maximum minds */
                memcpy(scratch + n * stride, scratch + (n - 1) * stride, (size_t)stride);
            rows = scratch;
        }
        work->engine.rowmax(rows, stride, n, next, work->tiles, work->steps, work->n_tiles, best);
    }
}

static void score_page(const struct work *work, int64_t page, const void *best) {
    const struct job *job = work->job;
    for (int64_t query = 0; query < job->n_queries; query++) {
        double sum = 0; /* a query of many vectors would lose digits in float32 */
        for (int64_t v = job->query_starts[query]; v < job->query_starts[query + 1]; v++) {
            if (job->arithmetic == ARITHMETIC_INT8) {
                int64_t steps = (int64_t)((const int32_t *)best)[v] - work->token_offsets[v];
                sum += (double)work->token_scales[v] * (double)steps;
            } else {
                sum += (double)work->token_scales[v] * (double)((const float *)best)[v];
            }
        }
        job->scores[query * job->n_pages + page] = (float)(sum * (double)job->scales[page]);
    }
}

static void *serve(void *argument) {
    struct work *work = argument;
    const struct job *job = work->job;
    const int64_t lanes = work->n_tiles * LANES;
    char *scratch = aligned_bytes(work->chunk_rows * row_bytes(job->arithmetic, job->dim));
    char *best = aligned_bytes(4 * lanes);
    if (scratch == NULL || best == NULL) {
        __atomic_store_n(&work->status, STATUS_NO_MEMORY, __ATOMIC_RELAXED);
    } else {
        const int tiled = job->instructions == USE_AMX && job->arithmetic != ARITHMETIC_FLOAT32;
        if (tiled) configure_tiles();
        for (;;) {
            int64_t page = __atomic_fetch_add(&work->next_page, 1, __ATOMIC_RELAXED);
            if (page >= job->n_pages) break;
            for (int64_t lane = 0; lane < lanes; lane++) {
                if (job->arithmetic == ARITHMETIC_INT8) {
                    ((int32_t *)(void *)best)[lane] = INT32_MIN;
                } else {
                    ((float *)(void *)best)[lane] = -INFINITY;
                }
            }
            best_of_page(work, page, scratch, best);
            score_page(work, page, best);
        }
        if (tiled) release_tiles();
    }
    free(scratch);
    free(best);
    return NULL;
}

static int score_all(const struct job *job, struct engine engine) {
    for (int64_t page = 0; page < job->n_pages; page++)
        if (job->lengths[page] < 1 || !can_unpack(job->forms[page], job->arithmetic))
            return STATUS_UNSUPPORTED;
    const int64_t row = row_bytes(job->arithmetic, job->dim);
    struct work work = {.job = job, .engine = engine, .unpack = unpack_rows(), .status = STATUS_DONE};
    work.n_vectors = job->query_starts[job->n_queries];
    work.n_tiles = (work.n_vectors + LANES - 1) / LANES;
    work.steps = row / 4;
    work.chunk_rows = engine.chunk_bytes / row / LEAST_CHUNK_ROWS * LEAST_CHUNK_ROWS;
    if (work.chunk_rows < LEAST_CHUNK_ROWS) work.chunk_rows = LEAST_CHUNK_ROWS;
    if (work.chunk_rows > MOST_CHUNK_ROWS) work.chunk_rows = MOST_CHUNK_ROWS;
    work.tiles = aligned_bytes(work.n_tiles * work.steps * 4 * LANES);
    work.token_scales = aligned_bytes(4 * work.n_vectors);
    work.token_offsets = aligned_bytes(4 * work.n_vectors);
    if (work.tiles == NULL || work.token_scales == NULL || work.token_offsets == NULL) {
        work.status = STATUS_NO_MEMORY;
    } else {
        pack_queries(&work);
        pthread_t threads[MAX_THREADS];
        int started = 0;
        int64_t wanted = job->threads < job->n_pages ? job->threads : job->n_pages;
        while (started + 1 < wanted && started < MAX_THREADS &&
               pthread_create(&threads[started], NULL, serve, &work) == 0)
            started++; /* with fewer than wanted the work is done all the same */
        serve(&work);
        while (started > 0) pthread_join(threads[--started], NULL);
    }
    free(work.tiles);
    free(work.token_scales);
    free(work.token_offsets);
    return work.status;
}

#endif
