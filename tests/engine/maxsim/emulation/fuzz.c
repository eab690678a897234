/* Random jobs in buffers of exactly their size, for a compiler's sanitizers to watch; scores are
 * compared with a double loop. Usage: fuzz <seed> <jobs> */
#include <stdio.h>

#include "../../../../engine/maxsim/kernel/kernel.c"

static uint64_t state;

static uint32_t next_number(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static int64_t below(int64_t limit) { return next_number() % limit; }

static float value(void) { return (float)next_number() / (float)(1u << 30) - 1; }

static void *exactly(int64_t bytes) {
    void *found = malloc((size_t)bytes);
    if (found == NULL) abort();
    return found;
}

/* What a stored value stands for. */
static double stored_value(const char *page, int form, int64_t dim, int64_t row, int64_t i) {
    return value_at(page + row * stored_row_bytes(form, dim), form, i);
}

static void fill(char *page, int form, int64_t n, int64_t dim) {
    int64_t bytes = stored_row_bytes(form, dim);
    for (int64_t i = 0; i < n * bytes; i++) page[i] = (char)next_number();
    for (int64_t row = 0; row < n; row++) {
        char *to = page + row * bytes;
        for (int64_t i = 0; i < dim; i++) {
            float number = value();
            uint16_t narrow = bfloat16_of(number), half = (uint16_t)(below(0x3c00) | below(2) << 15);
            if (form == FORM_FLOAT32) memcpy(to + 4 * i, &number, 4);
            if (form == FORM_FLOAT16) memcpy(to + 2 * i, &half, 2);
            if (form == FORM_BFLOAT16) memcpy(to + 2 * i, &narrow, 2);
        }
        if (form == FORM_BFLOAT16) memset(to + 2 * dim, 0, (size_t)(bytes - 2 * dim));
    }
}

static void check(const struct job *job, const float *scales) {
    for (int64_t q = 0; q < job->n_queries; q++)
        for (int64_t p = 0; p < job->n_pages; p++) {
            double sum = 0, allowed = 1e-20;
            for (int64_t v = job->query_starts[q]; v < job->query_starts[q + 1]; v++) {
                double best = -1e300, largest = 0;
                for (int64_t row = 0; row < job->lengths[p]; row++) {
                    double dot = 0, size = 0;
                    for (int64_t i = 0; i < job->dim; i++) {
                        double product = job->queries[v * job->dim + i] *
                                         stored_value(job->pages[p], job->forms[p], job->dim, row, i);
                        dot += product;
                        size += fabs(product);
                        if (job->arithmetic == ARITHMETIC_INT8) /* half a step of the query */
                            size += 64 * fabs(stored_value(job->pages[p], job->forms[p], job->dim, row, i)) / 127;
                    }
                    best = dot > best ? dot : best;
                    largest = size > largest ? size : largest;
                }
                sum += best;
                allowed += largest * (job->arithmetic == ARITHMETIC_FLOAT32 ? 4e-6 : 0.01);
            }
            double found = job->scores[q * job->n_pages + p];
            if (!(fabs(found - sum * scales[p]) <= allowed * scales[p])) {
                printf("score %g, expected %g within %g\n", found, sum * scales[p], allowed);
                abort();
            }
        }
}

static void one_job(void) {
    static const int64_t dims[] = {1, 2, 5, 8, 16, 31, 32, 40, 64, 96, 128, 136, 320};
    struct job job = {.dim = dims[below(13)], .n_queries = 1 + below(4), .n_pages = 1 + below(5)};
    job.arithmetic = (int32_t)below(ARITHMETIC_COUNT);
    job.instructions = (int32_t)below(USE_COUNT);
    job.threads = (int32_t)(1 + below(3));
    int64_t *starts = exactly(8 * (job.n_queries + 1)), *lengths = exactly(8 * job.n_pages);
    int32_t *forms = exactly(4 * job.n_pages);
    float *scales = exactly(4 * job.n_pages);
    char **pages = exactly((int64_t)sizeof(char *) * job.n_pages), **odd = exactly((int64_t)sizeof(char *) * job.n_pages);
    starts[0] = 0;
    for (int64_t q = 0; q < job.n_queries; q++) starts[q + 1] = starts[q] + 1 + below(40);
    float *queries = exactly(4 * starts[job.n_queries] * job.dim);
    for (int64_t i = 0; i < starts[job.n_queries] * job.dim; i++) queries[i] = value();
    for (int64_t p = 0; p < job.n_pages; p++) {
        do {
            forms[p] = (int32_t)below(FORM_COUNT);
        } while (!can_unpack(forms[p], job.arithmetic) || (forms[p] == FORM_BINARY && job.dim % 8));
        lengths[p] = 1 + below(below(8) ? 70 : 1100);
        scales[p] = (float)(1 + below(3)) / 2;
        int64_t bytes = lengths[p] * stored_row_bytes(forms[p], job.dim), skew = below(4);
        odd[p] = exactly(bytes + skew); /* pages come at any address */
        pages[p] = odd[p] + skew;
        fill(pages[p], forms[p], lengths[p], job.dim);
    }
    job.queries = queries, job.query_starts = starts, job.lengths = lengths;
    job.forms = forms, job.scales = scales, job.pages = (const void *const *)pages;
    job.scores = exactly(4 * job.n_queries * job.n_pages);
    int wanted = maxsim_supports(job.instructions, job.arithmetic) ? STATUS_DONE : STATUS_UNSUPPORTED;
    if (maxsim_score(&job) != wanted) abort();
    if (wanted == STATUS_DONE) check(&job, scales);
    for (int64_t p = 0; p < job.n_pages; p++) {
        if (job.arithmetic != ARITHMETIC_FLOAT32) {
            char *packed = exactly(maxsim_packed_bytes(lengths[p], job.dim, job.arithmetic));
            if (maxsim_pack(pages[p], forms[p], lengths[p], job.dim, job.arithmetic, packed)) abort();
            free(packed);
        }
        free(odd[p]);
    }
    free(starts), free(lengths), free(forms), free(scales), free(pages), free(odd);
    free(queries), free(job.scores);
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    state = strtoull(arguments[1], NULL, 10);
    for (long jobs = strtol(arguments[2], NULL, 10); jobs > 0; jobs--) one_job();
    return 0;
}
