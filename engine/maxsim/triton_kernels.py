"""The kernels of the Triton backend: a page's best similarities, and their sums over each query.

With `TRITON_INTERPRET=1` in the environment, Triton's interpreter runs them on a CPU.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _row_values(values, local, part, DIM: tl.constexpr, BINARY: tl.constexpr, BLOCK: tl.constexpr):
    """Values of some rows from `part * BLOCK` on, (n_rows, BLOCK), as they are stored.

    Signs come as +1 and -1. What stands beyond DIM is finite: the queries have zeros there.
    """
    if BINARY:
        bytes = part * (BLOCK // 8) + tl.arange(0, BLOCK // 8)
        where = values + local[:, None] * (DIM // 8) + bytes[None, :]
        packed = tl.load(where, mask=bytes[None, :] < DIM // 8, other=0).to(tl.int32)
        # The first sign of a byte is its highest bit.
        signs = (packed[:, :, None] >> (7 - tl.arange(0, 8))[None, None, :]) & 1
        found = tl.reshape(2 * signs - 1, (local.shape[0], BLOCK))
    else:
        columns = part * BLOCK + tl.arange(0, BLOCK)
        where = values + local[:, None] * DIM + columns[None, :]
        if DIM % BLOCK == 0:
            found = tl.load(where)
        else:
            found = tl.load(where, mask=columns[None, :] < DIM, other=0)
    return found


@triton.jit
def _query_values(queries, vectors, n_vectors, part, DIM: tl.constexpr, BLOCK: tl.constexpr):
    """Values of query vectors from `part * BLOCK` on, (BLOCK, n); zeros where there are none."""
    columns = part * BLOCK + tl.arange(0, BLOCK)
    where = queries + vectors.to(tl.int64)[None, :] * DIM + columns[:, None]
    there = (vectors < n_vectors)[None, :] & (columns < DIM)[:, None]
    return tl.load(where, mask=there, other=0)


# Numbers that change from request to request are not compiled in: a request would wait for it.
@triton.jit(do_not_specialize=["first_page", "n_pages", "n_vectors", "n_blocks"])
def best_similarities(
    rows,
    offsets,
    scales,
    queries,
    best,
    first_page,
    n_pages,
    n_vectors,
    n_blocks,
    DIM: tl.constexpr,
    BINARY: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_DIM: tl.constexpr,
):
    """Find the largest dot product of each query vector with the rows of each of some pages.

    A program takes one page and BLOCK_QUERIES query vectors. Products are those of the queries'
    dtype, sums are float32; rows of any other dtype become it after they were loaded.

    Args:
        rows: All pages' vectors, one page after the other: (n, DIM), or uint8 (n, DIM / 8), eight
            signs each.
        offsets: int64, where each page's rows begin, and where the last one's end.
        scales: float32, what each page's values are multiplied by, above 0.
        queries: (n_vectors, DIM), float32, float16 or bfloat16.
        best: float32 (n_vectors, n_pages), filled in.
        first_page: Index of the first page of `best` in `offsets` and `scales`.
        n_pages: How many pages.
        n_vectors: How many query vectors.
        n_blocks: ceil(n_vectors / BLOCK_QUERIES); there are n_pages * n_blocks programs.
        DIM: Width of the vectors.
        BINARY: Whether rows are signs.
        BLOCK_ROWS: Rows that are multiplied at a time.
        BLOCK_QUERIES: Query vectors of a program.
        BLOCK_DIM: Values of a vector that are multiplied at a time.
    """
    # Programs of one page follow each other: the first reads its rows, the others find them in L2.
    page = tl.program_id(0) // n_blocks
    block = tl.program_id(0) % n_blocks
    width: tl.constexpr = DIM // 8 if BINARY else DIM
    parts: tl.constexpr = (DIM + BLOCK_DIM - 1) // BLOCK_DIM
    dtype: tl.constexpr = queries.dtype.element_ty

    start = tl.load(offsets + first_page + page)  # int64: a large store has more than 2^31 values
    length = (tl.load(offsets + first_page + page + 1) - start).to(tl.int32)
    values = rows + start * width
    vectors = block * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    if parts == 1:
        columns = _query_values(queries, vectors, n_vectors, 0, DIM, BLOCK_DIM)
    # The maximum over rows is taken once, at the end: until then each place has its own.
    running = tl.full((BLOCK_ROWS, BLOCK_QUERIES), float("-inf"), tl.float32)
    for _ in range(0, length, BLOCK_ROWS):
        # Beyond the page's end its last row is taken again, which no maximum minds: neither rows
        # nor products need a mask.
        local = tl.minimum(tl.arange(0, BLOCK_ROWS), length - 1)
        if parts == 1:
            some = _row_values(values, local, 0, DIM, BINARY, BLOCK_DIM).to(dtype)
            found = tl.dot(some, columns, input_precision="ieee")
        else:
            found = tl.zeros((BLOCK_ROWS, BLOCK_QUERIES), tl.float32)
            for part in range(parts):
                some = _row_values(values, local, part, DIM, BINARY, BLOCK_DIM).to(dtype)
                columns = _query_values(queries, vectors, n_vectors, part, DIM, BLOCK_DIM)
                found = tl.dot(some, columns, found, input_precision="ieee")
        running = tl.maximum(running, found)
        values += BLOCK_ROWS * width
        length -= BLOCK_ROWS
    found = tl.max(running, axis=0) * tl.load(scales + first_page + page)
    where = best + vectors.to(tl.int64) * n_pages + page
    tl.store(where, found, mask=vectors < n_vectors)


@triton.jit(do_not_specialize=["first_page", "n_pages", "n_columns", "n_queries"])
def sums_over_queries(
    best,
    starts,
    factors,
    scores,
    first_page,
    n_pages,
    n_columns,
    n_queries,
    BLOCK_VECTORS: tl.constexpr,
    BLOCK_PAGES: tl.constexpr,
):
    """Sum up the best similarities of each query's vectors, in float64 and always in one order.

    A program takes one query and BLOCK_PAGES pages.

    Args:
        best: float32 (n_vectors, n_pages), of `best_similarities`.
        starts: int64, where each query's vectors begin, and where the last one's end.
        factors: float32 (n_vectors,), what each vector's similarities are multiplied by.
        scores: float32 (n_queries, n_columns), filled in from column `first_page` on.
        first_page: Column of the first page.
        n_pages: How many pages.
        n_columns: Columns of `scores`.
        n_queries: How many queries; there are n_queries * ceil(n_pages / BLOCK_PAGES) programs.
        BLOCK_VECTORS: Query vectors that are added at a time.
        BLOCK_PAGES: Pages of a program.
    """
    query = tl.program_id(0) % n_queries
    pages = tl.program_id(0) // n_queries * BLOCK_PAGES + tl.arange(0, BLOCK_PAGES)
    end = tl.load(starts + query + 1)
    total = tl.zeros((BLOCK_PAGES,), tl.float64)
    for first in range(tl.load(starts + query), end, BLOCK_VECTORS):
        vectors = first + tl.arange(0, BLOCK_VECTORS)
        there = (vectors < end)[:, None] & (pages < n_pages)[None, :]
        found = tl.load(best + vectors[:, None] * n_pages + pages[None, :], mask=there, other=0)
        factor = tl.load(factors + vectors, mask=vectors < end, other=0)
        total += tl.sum(found.to(tl.float64) * factor.to(tl.float64)[:, None], axis=0)
    where = scores + query.to(tl.int64) * n_columns + first_page + pages
    tl.store(where, total.to(tl.float32), mask=pages < n_pages)
