// The first two layers of relu networks with few inputs and a narrow second layer, such as the tutorial's.
//
// Their products have inner dimensions of 1 to 4, for which the tiles of layers.h load more than they
// multiply. Here a hidden unit's activation is used for the second layer while it is in a register, and its
// gradient in the input of the first is never stored. As in `benchmarks/loop.c`.
#pragma once

#include "layers.h"

constexpr int THIN = 4;                     // most inputs, and most units of the second layer
constexpr int AT_A_TIME = L >= 16 ? 2 : 1;  // hidden units of the backward pass, as many as registers hold

// z of the second layer, or relu(z) where `positive_part`, and the input `layers[1].h` of it.
template <int IN, int OUT>
TILE void thin_forward(const Layer *layers, const real *x, real *z, bool positive_part, const uint16_t *bits,
                       long columns, long blocks) {
    const real *w = layers[0].w, *b = layers[0].b, *w2 = layers[1].w, *b2 = layers[1].b;
    const long units = layers[0].out;
    const vec scale = all(layers[1].scale);
    const whole last_kept = layers[1].last_kept;
    real *h = layers[1].h;
    for (long k = 0; k < blocks; k++, x += IN * B, z += OUT * B) {
        vec sum[OUT][BV], in[IN][BV];
        UNROLL for (int v = 0; v < BV; v++) {
            UNROLL for (int i = 0; i < IN; i++) in[i][v] = load(x + i * B + v * L);
            UNROLL for (int j = 0; j < OUT; j++) sum[j][v] = all(b2[j]);
        }
        for (long u = 0; u < units; u++, h += B) UNROLL for (int v = 0; v < BV; v++) {
            vec a = all(b[u]);
            UNROLL for (int i = 0; i < IN; i++) a += all(w[u * IN + i]) * in[i][v];
            a = relu(a);
            if (bits != nullptr) a = kept(bits + u * columns + k * B + v * L, last_kept, a * scale);
            store(h + v * L, a);
            UNROLL for (int j = 0; j < OUT; j++) sum[j][v] += all(w2[j * units + u]) * a;
        }
        UNROLL for (int j = 0; j < OUT; j++) UNROLL for (int v = 0; v < BV; v++) {
            store(z + j * B + v * L, positive_part ? relu(sum[j][v]) : sum[j][v]);
        }
    }
}

// The gradients of hidden units u … u + U - 1 as vectors, to be summed over their lanes.
template <int IN, int OUT, int U>
INLINE void thin_units(const Layer *layers, const real *x, long blocks, long u0, real *dw, real *db, real *dw2) {
    const long units = layers[0].out;
    vec w[OUT][U], a2[OUT][U], a1[IN][U], ab[U];
    UNROLL for (int u = 0; u < U; u++) {
        ab[u] = (vec){};
        UNROLL for (int i = 0; i < IN; i++) a1[i][u] = (vec){};
        UNROLL for (int j = 0; j < OUT; j++) {
            a2[j][u] = (vec){};
            w[j][u] = all(layers[1].w[j * units + u0 + u] * layers[1].scale);
        }
    }
    for (long k = 0; k < blocks; k++) UNROLL for (int v = 0; v < BV; v++) {
        vec d[OUT], in[IN];
        UNROLL for (int j = 0; j < OUT; j++) d[j] = load(layers[1].d + (k * OUT + j) * B + v * L);
        UNROLL for (int i = 0; i < IN; i++) in[i] = load(x + (k * IN + i) * B + v * L);
        UNROLL for (int u = 0; u < U; u++) {
            const vec a = load(layers[1].h + (k * units + u0 + u) * B + v * L);
            vec dz = w[0][u] * d[0];
            UNROLL for (int j = 1; j < OUT; j++) dz += w[j][u] * d[j];
            dz = gated(a, dz);  // relu', as in `backward_tile`
            UNROLL for (int j = 0; j < OUT; j++) a2[j][u] += a * d[j];
            UNROLL for (int i = 0; i < IN; i++) a1[i][u] += in[i] * dz;
            ab[u] += dz;
        }
    }
    UNROLL for (int u = 0; u < U; u++) {
        UNROLL for (int i = 0; i < IN; i++) store(dw + ((u0 + u) * IN + i) * L, a1[i][u]);
        store(db + (u0 + u) * L, ab[u]);
        UNROLL for (int j = 0; j < OUT; j++) store(dw2 + (j * units + u0 + u) * L, a2[j][u]);
    }
}

// Numbers of `Shared::sums` that `thin_backward` fills: of dw, db, dw2 and db2, each as `add_sums` reads it.
constexpr long thin_sums(long units) {
    return (rounded_up(units * THIN) * 2 + rounded_up(units) + rounded_up(THIN)) * L;
}

// Adds the gradients in the weights and biases of both layers over blocks, or sets them.
template <int IN, int OUT>
TILE void thin_backward(const Layer *layers, const real *x, long blocks, const Shared &shared, bool set) {
    const long units = layers[0].out;
    real *dw = shared.sums, *db = dw + rounded_up(units * IN) * L, *dw2 = db + rounded_up(units) * L;
    long u = 0;
    for (; u + AT_A_TIME <= units; u += AT_A_TIME) thin_units<IN, OUT, AT_A_TIME>(layers, x, blocks, u, dw, db, dw2);
    for (; u < units; u++) thin_units<IN, OUT, 1>(layers, x, blocks, u, dw, db, dw2);
    real *db2 = dw2 + rounded_up(units * OUT) * L;
    UNROLL for (int j = 0; j < OUT; j++) {
        vec total = {};
        for (long k = 0; k < blocks; k++) UNROLL for (int v = 0; v < BV; v++) {
            total += load(layers[1].d + (k * OUT + j) * B + v * L);
        }
        store(db2 + j * L, total);
    }
    add_sums(dw, units * IN, layers[0].dw, set);
    add_sums(db, units, layers[0].db, set);
    add_sums(dw2, units * OUT, layers[1].dw, set);
    add_sums(db2, OUT, layers[1].db, set);
}

struct Thin {
    void (*forward)(const Layer *, const real *, real *, bool, const uint16_t *, long, long);
    void (*backward)(const Layer *, const real *, long, const Shared &, bool);
};
#define PAIR(I, O) {thin_forward<I, O>, thin_backward<I, O>}
#define ROW(I) {PAIR(I, 1), PAIR(I, 2), PAIR(I, 3), PAIR(I, 4)}
constexpr Thin THIN_LAYERS[THIN][THIN] = {ROW(1), ROW(2), ROW(3), ROW(4)};
#undef ROW
#undef PAIR
