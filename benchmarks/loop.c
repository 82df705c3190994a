/* Trains a 2-20-3-1 network by hand: what a loop made for exactly one network reaches on this processor.
 *
 * relu, relu, the sigmoid's cross-entropy; all samples in every step; plain gradient descent in float32 on
 * mean loss + l2/(2n) * sum of squared weights.
 *
 * A vector holds samples. A step has three passes over data that stay in the first-level cache:
 *   forward   blocks of two vectors; the second layer's sums stay in registers while the hidden units of the
 *             first are computed, used and stored one by one; the block ends with its deltas of layer two.
 *   backward  by hidden units, two at a time; the sums of their twelve gradients stay in registers.
 *   update    sums the lanes of 16 gradients at once, for 127 sums one by one would cost as much as a pass.
 */

#include <stdlib.h>
#include <string.h>

#define INPUTS 2
#define HIDDEN 20
#define SECOND 3

/* Of `params`: each layer's weights (fan_out, fan_in), then its biases. */
#define W1 0
#define B1 (W1 + HIDDEN * INPUTS)
#define W2 (B1 + HIDDEN)
#define B2 (W2 + SECOND * HIDDEN)
#define W3 (B2 + SECOND)
#define B3 (W3 + SECOND)
#define PARAMS (B3 + 1)
#define PADDED_PARAMS ((PARAMS + 15) / 16 * 16)

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

#ifdef __AVX512F__

#include <immintrin.h>

#define LANES 16
#define UNITS 2 /* hidden units at a time: 12 sums, 6 weights and what is loaded fill 32 registers */
typedef __m512 vec;

INLINE vec all(float value) { return _mm512_set1_ps(value); }
INLINE vec load(const float *p) { return _mm512_load_ps(p); }
INLINE void store(float *p, vec v) { _mm512_store_ps(p, v); }
INLINE vec fma_(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vec relu(vec v) { return _mm512_max_ps(v, _mm512_setzero_ps()); }

/* a * b + c where gate > 0, else 0: the mask costs nothing on top of the product. */
INLINE vec gated_fma(vec gate, vec a, vec b, vec c) {
    return _mm512_maskz_fmadd_ps(_mm512_cmp_ps_mask(gate, _mm512_setzero_ps(), _CMP_GT_OQ), a, b, c);
}

INLINE vec gated(vec gate, vec v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(gate, _mm512_setzero_ps(), _CMP_GT_OQ), v);
}

INLINE vec clamp(vec v, float limit) {
    return _mm512_max_ps(_mm512_min_ps(v, all(limit)), all(-limit));
}

INLINE vec rounded(vec v) {
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

INLINE vec scaled(vec v, vec k) { return _mm512_scalef_ps(v, k); } /* v * 2^k */

/* The sums of 16 vectors as one vector: each level halves the vectors and interleaves the partial sums. */
INLINE vec sums(const float *rows) {
    vec t[16];
    UNROLL for (int i = 0; i < 8; i++) {
        vec a = load(rows + 32 * i), b = load(rows + 32 * i + 16);
        t[i] = _mm512_unpacklo_ps(a, b) + _mm512_unpackhi_ps(a, b);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        __m512d a = _mm512_castps_pd(t[2 * i]), b = _mm512_castps_pd(t[2 * i + 1]);
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)) + _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
    UNROLL for (int level = 2; level > 0; level--) {
        UNROLL for (int i = 0; i < level; i++) {
            vec a = t[2 * i], b = t[2 * i + 1];
            t[i] = _mm512_shuffle_f32x4(a, b, 0x88) + _mm512_shuffle_f32x4(a, b, 0xdd);
        }
    }
    return t[0];
}

#else /* The compiler's own vectors, on any processor, in pieces where its registers are shorter. */

#define LANES 8
#define UNITS 1
typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int lanes_mask __attribute__((vector_size(4 * LANES)));
#ifdef __clang__
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (lanes_mask){__VA_ARGS__})
#endif

INLINE vec all(float value) { return value - (vec){0}; }
INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec v) { *(vec *)p = v; }
INLINE vec fma_(vec a, vec b, vec c) { return a * b + c; }
INLINE vec gated(vec gate, vec v) { return (vec)((lanes_mask)v & (lanes_mask)(gate > (vec){0})); }
INLINE vec gated_fma(vec gate, vec a, vec b, vec c) { return gated(gate, fma_(a, b, c)); }
INLINE vec relu(vec v) { return gated(v, v); }

INLINE vec either(lanes_mask where, vec a, vec b) {
    return (vec)(((lanes_mask)a & where) | ((lanes_mask)b & ~where));
}

INLINE vec clamp(vec v, float limit) {
    v = either(v > all(limit), all(limit), v);
    return either(v < all(-limit), all(-limit), v);
}

INLINE vec rounded(vec v) {
    vec half = either(v > all(0), all(0.5f), all(-0.5f)); /* the conversion cuts */
    return __builtin_convertvector(__builtin_convertvector(v + half, lanes_mask), vec);
}

INLINE vec scaled(vec v, vec k) { return v * (vec)((__builtin_convertvector(k, lanes_mask) + 127) << 23); }

/* The sums of 8 vectors as one vector, as above. */
INLINE vec sums(const float *rows) {
    vec t[8];
    UNROLL for (int i = 0; i < 8; i++) t[i] = load(rows + LANES * i);
    UNROLL for (int i = 0; i < 4; i++) {
        t[i] = SHUFFLED(t[2 * i], t[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14) +
               SHUFFLED(t[2 * i], t[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    UNROLL for (int i = 0; i < 2; i++) {
        t[i] = SHUFFLED(t[2 * i], t[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13) +
               SHUFFLED(t[2 * i], t[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    return SHUFFLED(t[0], t[1], 0, 1, 2, 3, 8, 9, 10, 11) +
           SHUFFLED(t[0], t[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

#endif

/* exp(-z) = 2^k * exp(r) with |r| <= ln(2)/2, where a polynomial of degree 6 is good to float32. */
INLINE vec sigmoid(vec z) {
    vec t = clamp(z, 87.0f);
    vec k = rounded(t * all(-1.44269504f));
    /* ln(2) in two parts, else the error of k * ln(2) grows with |z|. */
    vec r = fma_(k, all(-0.693359375f), all(0) - t);
    r = fma_(k, all(2.12194440e-4f), r);
    vec p = fma_(r, all(1.0f / 720), all(1.0f / 120));
    p = fma_(p, r, all(1.0f / 24));
    p = fma_(p, r, all(1.0f / 6));
    p = fma_(p, r, all(0.5f));
    p = fma_(p, r, all(1.0f));
    p = fma_(p, r, all(1.0f));
    return all(1.0f) / (all(1.0f) + scaled(p, k));
}

#define BLOCK 2 /* vectors of a forward block: a weight is broadcast once for both */

/* Trains one network from `params` and leaves there what came of it.
 *
 * x is (INPUTS, n_padded), y is (n_padded), n_padded a multiple of 16; what lies beyond n does not count.
 */
void train(const float *x, const float *y, int n, int n_padded, float *params, float learning_rate, float l2,
           long steps) {
    const int width = (n_padded + BLOCK * LANES - 1) / (BLOCK * LANES) * (BLOCK * LANES);
    const int num_rows = INPUTS + 2 + SECOND + HIDDEN;
    const size_t bytes = ((size_t)num_rows * width * sizeof(float) + 63) / 64 * 64;
    float *const scratch = aligned_alloc(64, bytes);
    if (scratch == NULL) abort();
    memset(scratch, 0, bytes);
    float *const x0 = scratch, *const x1 = x0 + width, *const label = x1 + width;
    float *const share = label + width, *const delta2 = share + width;
    float *const a1 = delta2 + SECOND * width;
    memcpy(x0, x, n * sizeof(float));
    memcpy(x1, x + n_padded, n * sizeof(float));
    memcpy(label, y, n * sizeof(float));
    for (int i = 0; i < n; i++) share[i] = 1.0f / n; /* the mean; padding has no share in it */

    _Alignas(64) float p[PADDED_PARAMS] = {0};
    _Alignas(64) float decay[PADDED_PARAMS];
    _Alignas(64) float gradients[PADDED_PARAMS * LANES] = {0};
    memcpy(p, params, PARAMS * sizeof(float));
    for (int i = 0; i < PADDED_PARAMS; i++) {
        int bias = (B1 <= i && i < W2) || (B2 <= i && i < W3) || B3 <= i;
        /* Not 1 - learning_rate * l2 / n: its rounding to float32 would change a small l2 by 0.2 %. */
        decay[i] = bias ? 0.0f : l2 / n;
    }

    for (long step = 0; step < steps; step++) {
        vec grad_b2[SECOND] = {all(0), all(0), all(0)}, grad_w3[SECOND] = {all(0), all(0), all(0)};
        vec grad_b3 = all(0);
        for (int at = 0; at < width; at += BLOCK * LANES) {
            vec sum[SECOND][BLOCK], in0[BLOCK], in1[BLOCK];
            UNROLL for (int v = 0; v < BLOCK; v++) {
                in0[v] = load(x0 + at + v * LANES);
                in1[v] = load(x1 + at + v * LANES);
                UNROLL for (int j = 0; j < SECOND; j++) sum[j][v] = all(p[B2 + j]);
            }
            UNROLL for (int h = 0; h < HIDDEN; h++) {
                vec w0 = all(p[W1 + INPUTS * h]), w1 = all(p[W1 + INPUTS * h + 1]), b = all(p[B1 + h]);
                UNROLL for (int v = 0; v < BLOCK; v++) {
                    vec a = relu(fma_(w1, in1[v], fma_(w0, in0[v], b)));
                    store(a1 + h * width + at + v * LANES, a);
                    UNROLL for (int j = 0; j < SECOND; j++) {
                        sum[j][v] = fma_(all(p[W2 + j * HIDDEN + h]), a, sum[j][v]);
                    }
                }
            }
            UNROLL for (int v = 0; v < BLOCK; v++) {
                const int here = at + v * LANES;
                vec z3 = all(p[B3]);
                UNROLL for (int j = 0; j < SECOND; j++) z3 = fma_(all(p[W3 + j]), relu(sum[j][v]), z3);
                vec delta3 = (sigmoid(z3) - load(label + here)) * load(share + here);
                grad_b3 += delta3;
                UNROLL for (int j = 0; j < SECOND; j++) {
                    grad_w3[j] = fma_(relu(sum[j][v]), delta3, grad_w3[j]);
                    vec delta = gated(sum[j][v], all(p[W3 + j]) * delta3);
                    grad_b2[j] += delta;
                    store(delta2 + j * width + here, delta);
                }
            }
        }
        UNROLL for (int j = 0; j < SECOND; j++) {
            store(gradients + (B2 + j) * LANES, grad_b2[j]);
            store(gradients + (W3 + j) * LANES, grad_w3[j]);
        }
        store(gradients + B3 * LANES, grad_b3);

        for (int h = 0; h < HIDDEN; h += UNITS) {
            vec w[SECOND][UNITS], grad_w2[SECOND][UNITS], grad_w1[INPUTS][UNITS], grad_b1[UNITS];
            UNROLL for (int u = 0; u < UNITS; u++) {
                grad_b1[u] = grad_w1[0][u] = grad_w1[1][u] = all(0);
                UNROLL for (int j = 0; j < SECOND; j++) {
                    w[j][u] = all(p[W2 + j * HIDDEN + h + u]);
                    grad_w2[j][u] = all(0);
                }
            }
            for (int at = 0; at < width; at += LANES) {
                vec d0 = load(delta2 + at), d1 = load(delta2 + width + at);
                vec d2 = load(delta2 + 2 * width + at);
                vec in0 = load(x0 + at), in1 = load(x1 + at);
                UNROLL for (int u = 0; u < UNITS; u++) {
                    vec a = load(a1 + (h + u) * width + at);
                    vec delta = gated_fma(a, w[2][u], d2, fma_(w[1][u], d1, w[0][u] * d0));
                    grad_w2[0][u] = fma_(a, d0, grad_w2[0][u]);
                    grad_w2[1][u] = fma_(a, d1, grad_w2[1][u]);
                    grad_w2[2][u] = fma_(a, d2, grad_w2[2][u]);
                    grad_w1[0][u] = fma_(in0, delta, grad_w1[0][u]);
                    grad_w1[1][u] = fma_(in1, delta, grad_w1[1][u]);
                    grad_b1[u] += delta;
                }
            }
            UNROLL for (int u = 0; u < UNITS; u++) {
                store(gradients + (W1 + INPUTS * (h + u)) * LANES, grad_w1[0][u]);
                store(gradients + (W1 + INPUTS * (h + u) + 1) * LANES, grad_w1[1][u]);
                store(gradients + (B1 + h + u) * LANES, grad_b1[u]);
                UNROLL for (int j = 0; j < SECOND; j++) {
                    store(gradients + (W2 + j * HIDDEN + h + u) * LANES, grad_w2[j][u]);
                }
            }
        }

        for (int i = 0; i < PADDED_PARAMS; i += LANES) {
            vec gradient = sums(gradients + i * LANES);
            gradient = fma_(load(decay + i), load(p + i), gradient);
            store(p + i, fma_(all(-learning_rate), gradient, load(p + i)));
        }
    }
    memcpy(params, p, PARAMS * sizeof(float));
    free(scratch);
}
