/* What surrounds a convolution of the synthesis network, in one pass over its output (tilegen/model/fused.py).
 *
 * For every pixel and channel: optionally the [1, 3, 3, 1] filter, then demodulation, noise, bias and leaky ReLU, then
 * the style of the next convolution, and the bands of the image if the layer feeds one. Styles and demodulation are
 * bilinear between sites. Sums are float32; x and out are float32 or bfloat16, channels last.
 */
#include <cstdint>
#include <cstring>
#include <utility>

namespace {

constexpr int LANES = 16;       // channels side by side; every ISA has them as one or more registers
constexpr int MOST_BANDS = 16;

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
struct bfloat16 {
    uint16_t bits;
};

#define INLINE inline __attribute__((always_inline))

INLINE floats load(const float *from) {
    floats value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

INLINE floats load(const bfloat16 *from) {
    halves value;
    std::memcpy(&value, from, sizeof value);
    return (floats)(__builtin_convertvector(value, words) << 16);
}

INLINE void store(float *to, floats value) { std::memcpy(to, &value, sizeof value); }

/* To the nearest, ties to even, as torch rounds. */
INLINE void store(bfloat16 *to, floats value) {
    words bits = (words)value;
    bits += 0x7FFF + ((bits >> 16) & 1);
    halves rounded = __builtin_convertvector(bits >> 16, halves);
    std::memcpy(to, &rounded, sizeof rounded);
}

/* Bits are selected by hand: compilers take a conditional on vectors apart into lanes. */
INLINE floats leaky_relu(floats value) {
    const words positive = (words)(value > (floats){});
    return (floats)(((words)value & positive) | ((words)(value * 0.2f) & ~positive));
}

/* Sums of neighbours WIDTH lanes apart, those of `a` and `b` in turn. */
template <int WIDTH, int... LANE>
INLINE floats pair_sums(floats a, floats b, std::integer_sequence<int, LANE...>) {
    const words even = {static_cast<uint32_t>(LANE & WIDTH ? LANE - WIDTH + LANES : LANE)...};
    return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, even + WIDTH);
}

/* Lane p of the result is the sum of the lanes of vectors[p]: a tree of additions, the same on every ISA. */
template <int WIDTH = 1>
INLINE floats sums(floats (&vectors)[LANES]) {
    for (int p = 0; p < LANES; p += 2 * WIDTH)
        vectors[p] = pair_sums<WIDTH>(vectors[p], vectors[p + WIDTH], std::make_integer_sequence<int, LANES>());
    if constexpr (2 * WIDTH < LANES) return sums<2 * WIDTH>(vectors);
    return vectors[0];
}

/* Where the pixels of a row or column lie between sites. */
struct Axis {
    const int32_t *site;    // the site before each pixel
    const float *fraction;  // of the way to the next one; 0 where every pixel is a site
};

struct Layer {
    const void *x;                  // [.., x_cols, channels], the output of the convolution
    int64_t x_cols, row0, col0;     // its width, and the first pixel of it that is read
    int64_t rows, cols, channels;   // of the layer
    Axis by_row, by_col;
    int64_t grid_cols;              // of the three maps on the sites, [.., grid_cols, channels]
    const float *gain;              // demodulation
    const float *style;             // of the next convolution; null without out
    const float *image_style;       // null without image
    const float *noise;             // [rows, cols]
    const float *strength, *bias;   // [channels]
    void *out;                      // [rows, cols, channels] or null
    const float *image_weight;      // [bands, channels]
    const float *image_bias;        // [bands]
    float *image;                   // [bands, image_rows, image_cols] or null
    int64_t bands, image_row0, image_col0, image_rows, image_cols;
    float *scratch;                 // (3 * grid_cols + cols + 3) * channels floats
};

/* A row of pixels lies between two rows of sites. */
INLINE void mix_rows(const float *grid, int64_t size, int64_t site, float fraction, float *line) {
    const float *before = grid + site * size, *after = fraction > 0 ? before + size : before;
    for (int64_t i = 0; i < size; i += LANES)
        store(line + i, load(before + i) * (1 - fraction) + load(after + i) * fraction);
}

/* Between two sites of a line. */
struct Line {
    floats before, step;
    __attribute__((always_inline)) Line(const float *from, const float *to)
        : before(load(from)), step(load(to) - load(from)) {}
    __attribute__((always_inline)) floats at(float fraction) const { return before + step * fraction; }
};

/* The taps of StyleGAN2's filter, with the gain of zero insertion along one axis. */
INLINE floats filtered(floats a, floats b, floats c, floats d) { return (a + d) * 0.25f + (b + c) * 0.75f; }

template <typename T, bool FILTER, bool OUT, bool IMAGE, int BANDS>
INLINE void paint_row(const Layer &layer, int64_t row) {
    const int64_t channels = layer.channels, grid = layer.grid_cols * channels, bands = BANDS ? BANDS : layer.bands;
    const float row_fraction = layer.by_row.fraction[row];
    float *gain = layer.scratch, *style = gain + grid, *image_style = style + grid, *vertical = image_style + grid;
    mix_rows(layer.gain, grid, layer.by_row.site[row], row_fraction, gain);
    if (OUT) mix_rows(layer.style, grid, layer.by_row.site[row], row_fraction, style);
    if (IMAGE) mix_rows(layer.image_style, grid, layer.by_row.site[row], row_fraction, image_style);

    const int64_t pitch = layer.x_cols * channels;
    const T *x = static_cast<const T *>(layer.x) + (layer.row0 + row) * pitch + layer.col0 * channels;
    // The filter is separable: along the columns once for the whole row, along the row below, pixel by pixel.
    if (FILTER)
        for (int64_t i = 0; i < (layer.cols + 3) * channels; i += LANES)
            store(vertical + i,
                  filtered(load(x + i), load(x + pitch + i), load(x + 2 * pitch + i), load(x + 3 * pitch + i)));
    T *out = static_cast<T *>(layer.out) + (OUT ? row * layer.cols * channels : 0);
    const int64_t image_row = row - layer.image_row0;
    const bool row_in_image = IMAGE && image_row >= 0 && image_row < layer.image_rows;

    floats totals[BANDS ? BANDS : MOST_BANDS][LANES] = {};
    for (int64_t start = 0, stop; start < layer.cols; start = stop) {
        // Pixels between the same two sites: what they share stays in registers.
        const int64_t site = layer.by_col.site[start], before = site * channels, end = start / LANES * LANES + LANES;
        for (stop = start + 1; stop < layer.cols && stop < end && layer.by_col.site[stop] == site;) stop++;
        const int64_t after = layer.by_col.fraction[start] > 0 ? before + channels : before;
        for (int64_t c = 0; c < channels; c += LANES) {
            const Line gains(gain + before + c, gain + after + c);
            const Line styles(OUT ? style + before + c : gain, OUT ? style + after + c : gain);
            const Line image_styles(IMAGE ? image_style + before + c : gain, IMAGE ? image_style + after + c : gain);
            const floats strength = load(layer.strength + c), bias = load(layer.bias + c);
            for (int64_t col = start; col < stop; col++) {
                const float fraction = layer.by_col.fraction[col], noise = layer.noise[row * layer.cols + col];
                const int64_t at = col * channels + c;
                floats value = FILTER ? filtered(load(vertical + at), load(vertical + at + channels),
                                                 load(vertical + at + 2 * channels),
                                                 load(vertical + at + 3 * channels))
                                      : load(x + at);
                value = value * gains.at(fraction) + (strength * noise + bias);
                value = leaky_relu(value);
                if (IMAGE) {
                    const floats styled = value * image_styles.at(fraction);
                    for (int64_t band = 0; band < bands; band++) {
                        const floats part = styled * load(layer.image_weight + band * channels + c);
                        floats &total = totals[band][col % LANES];
                        total = c ? total + part : part;
                    }
                }
                if (OUT) store(out + at, value * styles.at(fraction));
            }
        }
        if (row_in_image && (stop == end || stop == layer.cols))
            for (int64_t band = 0; band < bands; band++) {
                float *image = layer.image + (band * layer.image_rows + image_row) * layer.image_cols;
                const floats values = sums(totals[band]) + layer.image_bias[band];
                for (int64_t col = end - LANES; col < stop; col++)
                    if (col >= layer.image_col0 && col < layer.image_col0 + layer.image_cols)
                        image[col - layer.image_col0] = values[col % LANES];
            }
    }
}

template <typename T, bool FILTER, bool OUT, bool IMAGE, int BANDS>
void paint(const Layer &given) {
    const Layer layer = given;  // in registers: for all the compiler knows, a store of pixels may change what is given
    for (int64_t row = 0; row < layer.rows; row++)
        paint_row<T, FILTER, OUT, IMAGE, BANDS>(layer, row);
}

template <typename T>
void paint_any(const Layer &layer, bool filter) {
    if (filter)
        paint<T, true, true, false, 0>(layer);
    else if (!layer.image)
        paint<T, false, true, false, 0>(layer);
    else if (layer.out)
        layer.bands == 3 ? paint<T, false, true, true, 3>(layer) : paint<T, false, true, true, 0>(layer);
    else
        layer.bands == 3 ? paint<T, false, false, true, 3>(layer) : paint<T, false, false, true, 0>(layer);
}

}  // namespace

extern "C" {

void layer_float32(const Layer *layer, int64_t filter) { paint_any<float>(*layer, filter); }

void layer_bfloat16(const Layer *layer, int64_t filter) { paint_any<bfloat16>(*layer, filter); }

}  // extern "C"
