/* Random fields on the CPU: the same bits as tilegen/fields/counter.py and latent.py, many times as fast.
 *
 * Compiled without contraction of products and sums, so that every value is rounded as torch rounds it. Sums run in
 * the order of the plain twins. Nothing here allocates or keeps anything: callers pass the memory, threads may overlap.
 */
#include <algorithm>
#include <cstdint>
#include <cstring>

namespace {

constexpr int NORMALS_PER_CALL = 8;
constexpr int BLOCK = 16;  // Philox calls side by side: one vector of 32-bit words

/* Philox4x32-10 (Salmon et al. 2011, Table 2) of BLOCK counters under one key. */
inline void philox(uint32_t c[4][BLOCK], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < BLOCK; i++) {
            uint64_t p0 = (uint64_t)c[0][i] * 0xD2511F53u, p1 = (uint64_t)c[2][i] * 0xCD9E8D57u;
            uint32_t n0 = (uint32_t)(p1 >> 32) ^ c[1][i] ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c[3][i] ^ k1;
            c[1][i] = (uint32_t)p1;
            c[3][i] = (uint32_t)p0;
            c[0][i] = n0;
            c[2][i] = n2;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* Eight normals for each of the `count` <= BLOCK neighbours of (row, first): out[i][lane]. */
inline void normals(const float *table, int64_t row, int64_t first, int count, uint32_t k0, uint32_t k1,
                    float *out) {
    uint32_t c[4][BLOCK];
    for (int i = 0; i < BLOCK; i++) {
        uint64_t col = (uint64_t)(first + i);
        c[0][i] = (uint32_t)(uint64_t)row;
        c[1][i] = (uint32_t)((uint64_t)row >> 32);
        c[2][i] = (uint32_t)col;
        c[3][i] = (uint32_t)(col >> 32);
    }
    philox(c, k0, k1);
    for (int i = 0; i < count; i++)
        for (int word = 0; word < 4; word++) {
            out[i * NORMALS_PER_CALL + 2 * word] = table[c[word][i] & 0xFFFFu];
            out[i * NORMALS_PER_CALL + 2 * word + 1] = table[c[word][i] >> 16];
        }
}

inline int64_t floor_division(int64_t value, int64_t by) { return value / by - (value % by < 0); }

}  // namespace

extern "C" {

/* One plane: eight neighbouring columns share a call. out: [rows, cols]. */
void normal_plane(const float *table, int64_t row0, int64_t rows, int64_t col0, int64_t cols, uint32_t k0, uint32_t k1,
                  float *out) {
    /* Columns may be negative. */
    int64_t first = floor_division(col0, NORMALS_PER_CALL), last = -floor_division(-col0 - cols, NORMALS_PER_CALL);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t block = first; block < last; block += BLOCK) {
            float values[BLOCK * NORMALS_PER_CALL];
            int count = static_cast<int>(std::min<int64_t>(last - block, BLOCK));
            normals(table, row0 + r, block, count, k0, k1, values);
            int64_t from = block * NORMALS_PER_CALL, to = from + count * NORMALS_PER_CALL;
            int64_t skip = std::max<int64_t>(col0 - from, 0), end = std::min(to, col0 + cols);
            std::memcpy(out + (r * cols + from + skip - col0), values + skip,
                        (size_t)(end - from - skip) * sizeof(float));
        }
}

/* White vectors of 8 * groups channels at every place. out: [rows, cols, 8 * groups]; keys: [groups, 2]. */
void normal_vectors(const float *table, int64_t row0, int64_t rows, int64_t col0, int64_t cols, const uint32_t *keys,
                    int64_t groups, float *out) {
    int64_t channels = groups * NORMALS_PER_CALL;
    for (int64_t group = 0; group < groups; group++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c += BLOCK) {
                float values[BLOCK * NORMALS_PER_CALL];
                int count = static_cast<int>(std::min<int64_t>(cols - c, BLOCK));
                normals(table, row0 + r, col0 + c, count, keys[2 * group], keys[2 * group + 1], values);
                for (int i = 0; i < count; i++)
                    std::memcpy(out + (r * cols + c + i) * channels + group * NORMALS_PER_CALL,
                                values + i * NORMALS_PER_CALL, NORMALS_PER_CALL * sizeof(float));
            }
}

/* One axis of the process convolution: site `place` is the sum over taps of weights[phase][tap] * nodes[first + tap].
 *
 * nodes: [outer, num_nodes, inner], out: [outer, num_sites, inner]; both axes of an image are this with other outer and
 * inner. Taps are added one by one, as the twin adds them.
 */
void filter_axis(const float *nodes, int64_t outer, int64_t num_nodes, int64_t inner, const float *weights,
                 int64_t spacing, int64_t taps, int64_t start, int64_t num_sites, float *out) {
    const int64_t base = floor_division(start, spacing);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t s = 0; s < num_sites; s++) {
            int64_t site = start + s;
            int64_t node = floor_division(site, spacing);
            const float *w = weights + (site - node * spacing) * taps;
            const float *read = nodes + (o * num_nodes + node - base) * inner;
            float *total = out + (o * num_sites + s) * inner;
            for (int64_t i = 0; i < inner; i++)
                total[i] = read[i] * w[0];
            for (int64_t tap = 1; tap < taps; tap++)
                for (int64_t i = 0; i < inner; i++)
                    total[i] = total[i] + read[tap * inner + i] * w[tap];
        }
}

}  // extern "C"
