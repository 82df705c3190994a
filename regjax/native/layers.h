// Forward and backward through the layers of one network, for blocks of B samples.
//
// A block of a layer with some units is `[unit][B]` numbers, so that a vector holds samples of one unit. All
// blocks of a batch, or as many as stay in the cache, go through a layer together, and each weight that is
// loaded serves all of them. `w` is (out, in), as in `core/mlp.py`.
#pragma once

#include "vectors.h"

enum Activation { RELU, TANH, SIGMOID, IDENTITY };
enum Loss { SIGMOID_CROSS_ENTROPY, SOFTMAX_CROSS_ENTROPY, SQUARED_ERROR, POISSON };
// How the derivative of a layer's input is known: from its sign, from stored factors, or as 1.
enum Gate { POSITIVE, FACTORS, OPEN };

// A layer of weights of one network, with buffers for the blocks in work.
struct Layer {
    long in, out;
    const real *w, *b;  // of the network in training
    real *dw, *db;
    bool masked;      // whether units of its input are dropped
    whole last_kept;  // the largest 16 bits that keep one
    real scale;       // 65536/(last_kept + 1), 1 without a mask
    Gate gate;        // of its input
    real *h, *g;      // its input and the factors of FACTORS, [block][in][B]; without h the input is the data
    real *d;          // gradient in its output, [block][out][B]
};

// A batch of samples, in blocks; the same for all networks of a replicate.
struct Batch {
    long blocks, columns;  // columns: samples of a row of bits
    const real *x;         // [block][features][B]
    const real *y;         // [block][targets][B]
    const real *share;     // [block][B]: weights over their divisor, 0 beyond the last sample
};

// Memory that all layers use in turn.
struct Shared {
    real *sums;        // vectors that are to be summed
    real *transposed;  // [block][B][units, rounded up to L]
};

constexpr long rounded_up(long count) { return (count + L - 1) / L * L; }

template <int N> struct Constant { static constexpr int value = N; };
// Calls f(Constant<M>, first) for pieces of M units that together are `first` … `count` - 1, M as large as may be.
template <int M, class F> INLINE void in_tiles(long first, long count, const F &f) {
    for (; first + M <= count; first += M) f(Constant<M>{}, first);
    if constexpr (M > 1) in_tiles<M / 2>(first, count, f);
}

// -- forward -----------------------------------------------------------------------------------------------

// z = w·h + b of units o … o + M - 1, or relu(z).
template <int M, bool POSITIVE_PART>
TILE void forward_tile(const Layer &layer, const real *h, real *z, long blocks, long o) {
    const long in = layer.in;
    const real *w = layer.w + o * in, *b = layer.b + o;
    z += o * B;
    for (long k = 0; k < blocks; k++, h += in * B, z += layer.out * B) {
        vec a[M][BV];
        UNROLL for (int m = 0; m < M; m++) UNROLL for (int v = 0; v < BV; v++) a[m][v] = all(b[m]);
        for (long i = 0; i < in; i++) {
            vec x[BV];
            UNROLL for (int v = 0; v < BV; v++) x[v] = load(h + i * B + v * L);
            UNROLL for (int m = 0; m < M; m++) {
                const vec c = all(w[m * in + i]);
                UNROLL for (int v = 0; v < BV; v++) a[m][v] += c * x[v];
            }
        }
        UNROLL for (int m = 0; m < M; m++) UNROLL for (int v = 0; v < BV; v++) {
            store(z + m * B + v * L, POSITIVE_PART ? relu(a[m][v]) : a[m][v]);
        }
    }
}

template <bool POSITIVE_PART> void forward(const Layer &layer, const real *h, real *z, long blocks) {
    in_tiles<TILE_UNITS>(0, layer.out, [&](auto m, long o) {
        forward_tile<decltype(m)::value, POSITIVE_PART>(layer, h, z, blocks, o);
    });
}

// Turns z in `layer.h` into the layer's input, and stores the factors of its derivative.
template <Activation A> TILE void activate(const Layer &layer, const uint16_t *bits, long columns, long blocks) {
    const vec scale = all(layer.scale);
    for (long k = 0; k < blocks; k++) for (long u = 0; u < layer.in; u++) UNROLL for (int v = 0; v < BV; v++) {
        const long at = (k * layer.in + u) * B + v * L;
        vec a = load(layer.h + at), d = all(1);
        if (A == RELU) a = relu(a);
        // da/dz, of the activation before dropout.
        if (A == TANH) { a = hyperbolic_tangent(a); d = all(1) - a * a; }
        if (A == SIGMOID) { a = sigmoid(a); d = a * (all(1) - a); }
        if (bits != nullptr) {
            const uint16_t *drawn = bits + u * columns + k * B + v * L;
            a = kept(drawn, layer.last_kept, a * scale);
            if (A != RELU) d = kept(drawn, layer.last_kept, d * scale);
        }
        store(layer.h + at, a);
        if (layer.g != nullptr) store(layer.g + at, d);
    }
}

inline void activate(Activation activation, const Layer &layer, const uint16_t *bits, long columns, long blocks) {
    switch (activation) {
        case RELU: return activate<RELU>(layer, bits, columns, blocks);
        case TANH: return activate<TANH>(layer, bits, columns, blocks);
        case SIGMOID: return activate<SIGMOID>(layer, bits, columns, blocks);
        case IDENTITY: return activate<IDENTITY>(layer, bits, columns, blocks);
    }
}

// -- loss --------------------------------------------------------------------------------------------------

// Replaces logits z by the gradient of Σ share·loss in them.
inline void softmax_gradient(real *z, long outputs, const real *y, const real *share, long blocks) {
    for (long k = 0; k < blocks; k++, z += outputs * B) UNROLL for (int v = 0; v < BV; v++) {
        vec top = load(z + v * L), total = {};
        for (long o = 1; o < outputs; o++) {
            const vec c = load(z + o * B + v * L);
            top = c > top ? c : top;
        }
        for (long o = 0; o < outputs; o++) {
            const vec e = small_exponential(load(z + o * B + v * L) - top);
            total += e;
            store(z + o * B + v * L, e);
        }
        const vec label = load(y + k * B + v * L), portion = load(share + k * B + v * L);
        for (long o = 0; o < outputs; o++) {
            const vec p = load(z + o * B + v * L) / total;
            const vec chosen = label == all(real(o)) ? all(1) : (vec){};
            store(z + o * B + v * L, (p - chosen) * portion);
        }
    }
}

template <Loss LOSS> void loss_gradient(real *z, long outputs, const real *y, const real *share, long blocks) {
    for (long k = 0; k < blocks; k++) for (long o = 0; o < outputs; o++) UNROLL for (int v = 0; v < BV; v++) {
        const long at = (k * outputs + o) * B + v * L;
        const vec c = load(z + at);
        const vec mean = LOSS == SIGMOID_CROSS_ENTROPY ? sigmoid(c) : LOSS == POISSON ? exponential(c) : c;
        store(z + at, (mean - load(y + at)) * load(share + k * B + v * L));
    }
}

inline void loss_gradient(Loss loss, real *z, long outputs, const real *y, const real *share, long blocks) {
    switch (loss) {
        case SIGMOID_CROSS_ENTROPY: return loss_gradient<SIGMOID_CROSS_ENTROPY>(z, outputs, y, share, blocks);
        case SOFTMAX_CROSS_ENTROPY: return softmax_gradient(z, outputs, y, share, blocks);
        case SQUARED_ERROR: return loss_gradient<SQUARED_ERROR>(z, outputs, y, share, blocks);
        case POISSON: return loss_gradient<POISSON>(z, outputs, y, share, blocks);
    }
}

// -- backward ----------------------------------------------------------------------------------------------

// dh = wᵀ·d of inputs i … i + M - 1, times the derivative of the activation that made them and its mask.
template <int M, Gate GATE> TILE void backward_tile(const Layer &layer, real *dh, long blocks, long i) {
    const long in = layer.in, out = layer.out;
    const real *w = layer.w + i, *d = layer.d, *h = layer.h + i * B, *g = layer.g + i * B;
    const vec scale = all(layer.scale);
    dh += i * B;
    for (long k = 0; k < blocks; k++, d += out * B, h += in * B, g += in * B, dh += in * B) {
        vec a[M][BV];
        UNROLL for (int m = 0; m < M; m++) UNROLL for (int v = 0; v < BV; v++) a[m][v] = (vec){};
        for (long o = 0; o < out; o++) {
            vec c[BV];
            UNROLL for (int v = 0; v < BV; v++) c[v] = load(d + o * B + v * L);
            UNROLL for (int m = 0; m < M; m++) {
                const vec b = all(w[o * in + m]);
                UNROLL for (int v = 0; v < BV; v++) a[m][v] += b * c[v];
            }
        }
        UNROLL for (int m = 0; m < M; m++) UNROLL for (int v = 0; v < BV; v++) {
            const long at = m * B + v * L;
            // relu' = 1 where its output is above 0; a unit that is dropped has the output 0.
            if (GATE == POSITIVE) store(dh + at, gated(load(h + at), a[m][v] * scale));
            if (GATE == FACTORS) store(dh + at, a[m][v] * load(g + at));
            if (GATE == OPEN) store(dh + at, a[m][v]);
        }
    }
}

template <Gate GATE> void backward(const Layer &layer, real *dh, long blocks) {
    in_tiles<TILE_UNITS>(0, layer.in, [&](auto m, long i) {
        backward_tile<decltype(m)::value, GATE>(layer, dh, blocks, i);
    });
}

inline void backward(const Layer &layer, real *dh, long blocks) {
    switch (layer.gate) {
        case POSITIVE: return backward<POSITIVE>(layer, dh, blocks);
        case FACTORS: return backward<FACTORS>(layer, dh, blocks);
        case OPEN: return backward<OPEN>(layer, dh, blocks);
    }
}

// -- gradient in the weights -------------------------------------------------------------------------------

// Adds the sums of `count` vectors to as many numbers, or sets them. Whole groups of L vectors are read, and
// as many numbers written: both are rounded up where they are allocated.
inline void add_sums(const real *vectors, long count, real *to, bool set) {
    for (long i = 0; i < count; i += L) {
        const vec s = count - i <= GROUP ? sums<GROUP>(vectors + i * L) : sums<L>(vectors + i * L);
        if (i + L <= count) store_unaligned(to + i, set ? s : s + load_unaligned(to + i));
        else for (int k = 0; i + k < count; k++) to[i + k] = set ? s[k] : s[k] + to[i + k];
    }
}

constexpr int SUM_OUT = 4, SUM_IN = 4;      // of a tile whose sums are vectors
constexpr int ROWS = TILE_UNITS, WIDTH = 2;  // of a tile of a product

// dw of NO × NI weights as vectors, to be summed over their lanes: Σ d·h over samples.
template <int NO, int NI> TILE void sum_tile(const Layer &layer, const real *h, long blocks, long o, long i, real *to) {
    vec a[NO][NI];
    UNROLL for (int m = 0; m < NO; m++) UNROLL for (int n = 0; n < NI; n++) a[m][n] = (vec){};
    for (long k = 0; k < blocks; k++) {
        const real *d = layer.d + (k * layer.out + o) * B, *x = h + (k * layer.in + i) * B;
        UNROLL for (int v = 0; v < BV; v++) {
            vec c[NO];
            UNROLL for (int m = 0; m < NO; m++) c[m] = load(d + m * B + v * L);
            UNROLL for (int n = 0; n < NI; n++) {
                const vec b = load(x + n * B + v * L);
                UNROLL for (int m = 0; m < NO; m++) a[m][n] += c[m] * b;
            }
        }
    }
    UNROLL for (int m = 0; m < NO; m++) UNROLL for (int n = 0; n < NI; n++) {
        store(to + (m * layer.in + i + n) * L, a[m][n]);
    }
}

// dw of NO rows × NI vectors of weights: Σ over samples of d, a number, times h, a vector over inputs.
template <int NO, int NI>
TILE void product_tile(const Layer &layer, const real *t, long width, long blocks, long o, long i, bool set) {
    vec a[NO][NI];
    UNROLL for (int m = 0; m < NO; m++) UNROLL for (int n = 0; n < NI; n++) a[m][n] = (vec){};
    for (long k = 0; k < blocks; k++) {
        const real *d = layer.d + (k * layer.out + o) * B, *x = t + k * B * width + i;
        for (int s = 0; s < B; s++) {
            vec b[NI];
            UNROLL for (int n = 0; n < NI; n++) b[n] = load(x + s * width + n * L);
            UNROLL for (int m = 0; m < NO; m++) {
                const vec c = all(d[m * B + s]);
                UNROLL for (int n = 0; n < NI; n++) a[m][n] += c * b[n];
            }
        }
    }
    UNROLL for (int m = 0; m < NO; m++) UNROLL for (int n = 0; n < NI; n++) {
        const long at = i + n * L;
        real *to = layer.dw + (o + m) * layer.in + at;
        if (at + L <= layer.in) store_unaligned(to, set ? a[m][n] : a[m][n] + load_unaligned(to));
        else for (long k = 0; at + k < layer.in; k++) to[k] = set ? a[m][n][k] : a[m][n][k] + to[k];
    }
}

// Writes blocks [unit][B] as [B][units], with 0 up to `width` units.
inline void transpose_blocks(const real *h, long units, long width, long blocks, real *to) {
    for (long k = 0; k < blocks; k++) {
        const real *from = h + k * units * B;
        real *t = to + k * B * width;
        long u = 0;
        for (; u + L <= units; u += L) UNROLL for (int v = 0; v < BV; v++) {
            transpose(from + u * B + v * L, B, t + v * L * width + u, width);
        }
        for (; u < width; u++) for (int s = 0; s < B; s++) t[s * width + u] = u < units ? from[u * B + s] : 0;
    }
}

// Adds the gradient in the weights and biases of a layer over blocks, or sets it.
inline void add_gradient(const Layer &layer, const real *h, long blocks, const Shared &shared, bool set) {
    const long in = layer.in, out = layer.out, width = rounded_up(in), vectors = blocks * BV;
    // The second way transposes the inputs, and multiplies inputs beyond the last one; the first sums lanes.
    // 45 and 70 are instructions of `sums` and of `transpose` for a vector.
    const long by_sums = out * in * vectors + out * in * 45 / L;
    const long by_product = out * width * vectors + width / L * vectors * 70 + out * vectors;
    if (by_sums <= by_product) {
        in_tiles<SUM_OUT>(0, out, [&](auto m, long o) {
            constexpr int NO = decltype(m)::value;
            in_tiles<SUM_IN>(0, in, [&](auto n, long i) {
                sum_tile<NO, decltype(n)::value>(layer, h, blocks, o, i, shared.sums);
            });
            add_sums(shared.sums, NO * in, layer.dw + o * in, set);
        });
    } else {
        transpose_blocks(h, in, width, blocks, shared.transposed);
        in_tiles<ROWS>(0, out, [&](auto m, long o) {
            constexpr int NO = decltype(m)::value;
            in_tiles<WIDTH>(0, width / L, [&](auto n, long i) {
                product_tile<NO, decltype(n)::value>(layer, shared.transposed, width, blocks, o, i * L, set);
            });
        });
    }
    for (long o = 0; o < out; o++) {
        vec total = {};
        for (long k = 0; k < blocks; k++) UNROLL for (int v = 0; v < BV; v++) {
            total += load(layer.d + (k * out + o) * B + v * L);
        }
        store(shared.sums + o * L, total);
    }
    add_sums(shared.sums, out, layer.db, set);
}
