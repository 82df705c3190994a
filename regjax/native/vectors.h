// Vectors of the widest registers of the processor, by the vector types of GCC and Clang.
//
// `real` is the dtype of the networks, given by the build as -DREAL=float or -DREAL=double. A vector holds L
// numbers. Nothing here rounds otherwise than IEEE arithmetic, apart from fused multiply-adds.
#pragma once

#include <stdint.h>
#include <string.h>

#ifndef REAL
#define REAL float
#endif
typedef REAL real;

#define INLINE static inline __attribute__((always_inline))
// Tiles stay functions of their own: inlined into loops of unknown length they take minutes to compile.
#define TILE static __attribute__((noinline))
#define UNROLL _Pragma("GCC unroll 16")

#if defined(__AVX512F__)
constexpr int BYTES = 64, TILE_UNITS = 8;
#elif defined(__AVX__)
constexpr int BYTES = 32, TILE_UNITS = 4;
#elif defined(__aarch64__)
constexpr int BYTES = 16, TILE_UNITS = 8;
#else
constexpr int BYTES = 16, TILE_UNITS = 4;
#endif
constexpr bool DOUBLE = sizeof(real) == 8;
constexpr int L = BYTES / sizeof(real);
// Samples of a block: a weight that is loaded serves two vectors.
constexpr int BV = 2, B = BV * L;

template <bool Wide> struct Whole { typedef int32_t type; };
template <> struct Whole<true> { typedef int64_t type; };
typedef Whole<DOUBLE>::type whole;
typedef real vec __attribute__((vector_size(BYTES)));
typedef whole ivec __attribute__((vector_size(BYTES)));
typedef vec vec_unaligned __attribute__((aligned(sizeof(real)), may_alias));
typedef uint16_t bits16 __attribute__((vector_size(2 * L)));
typedef bits16 bits16_unaligned __attribute__((aligned(2), may_alias));

INLINE vec all(real value) { return value - (vec){}; }
INLINE vec load(const real *p) { return *(const vec *)p; }
INLINE void store(real *p, vec v) { *(vec *)p = v; }
INLINE vec load_unaligned(const real *p) { return *(const vec_unaligned *)p; }
INLINE void store_unaligned(real *p, vec v) { *(vec_unaligned *)p = v; }

// max(v, 0), and 0 where v is NaN, as `core/activations.py` has it.
INLINE vec relu(vec v) { return v > (vec){} ? v : (vec){}; }
INLINE vec gated(vec gate, vec v) { return gate > (vec){} ? v : (vec){}; }
// NaN stays NaN.
INLINE vec clamped(vec v, real low, real high) {
    v = v > all(high) ? all(high) : v;
    return v < all(low) ? all(low) : v;
}
// v where the 16 bits of a sample are at most `last`, else 0.
INLINE vec kept(const uint16_t *bits, whole last, vec v) {
    const ivec drawn = __builtin_convertvector(*(const bits16_unaligned *)bits, ivec);
    return drawn <= last - (ivec){} ? v : (vec){};
}

// -- shuffles, whose indices are computed by the compiler --------------------------------------------------

template <int... I> struct Indices {};
template <int N, int... I> struct Count : Count<N - 1, N - 1, I...> {};
template <int... I> struct Count<0, I...> { typedef Indices<I...> type; };
typedef Count<L>::type AllLanes;

// Picker::at(k) is the index of element k of the result, counted through both vectors.
template <class Picker, int... I> INLINE vec pick(vec a, vec b, Indices<I...>) {
    return __builtin_shufflevector(a, b, Picker::at(I)...);
}
template <class Picker> INLINE vec pick(vec a, vec b) { return pick<Picker>(a, b, AllLanes{}); }

constexpr int GROUP = 16 / sizeof(real);  // elements of 128 bits, within which shuffles are cheap
// Of pairs of W elements in each 128 bits: the first (HIGH = 0) or the last half, from a and b in turn.
template <int W, int HIGH> struct Within {
    static constexpr int at(int k) {
        const int j = k % GROUP;
        return (j / W % 2) * L + k / GROUP * GROUP + j / (2 * W) * W + j % W + HIGH * GROUP / 2;
    }
};
// The even (ODD = 0) or odd groups of 128 bits of a, and then those of b.
template <int ODD> struct Groups {
    static constexpr int at(int k) { return (k / GROUP * 2 + ODD) * GROUP + k % GROUP; }
};
// The elements of the first (HIGH = 0) or last halves of a and b in turn.
template <int HIGH> struct Interleaved {
    static constexpr int at(int k) { return k / 2 + HIGH * L / 2 + k % 2 * L; }
};

// The sums of L vectors as one vector: each level halves the vectors and adds halves of two of them.
INLINE vec sums(const real *rows) {
    vec t[L];
    UNROLL for (int i = 0; i < L; i++) t[i] = load(rows + i * L);
    UNROLL for (int i = 0; i < L / 2; i++) {
        t[i] = pick<Within<1, 0>>(t[2 * i], t[2 * i + 1]) + pick<Within<1, 1>>(t[2 * i], t[2 * i + 1]);
    }
    int left = L / 2;
    if (GROUP == 4) {
        left /= 2;
        UNROLL for (int i = 0; i < L / 4; i++) {
            t[i] = pick<Within<GROUP / 2, 0>>(t[2 * i], t[2 * i + 1]) +
                   pick<Within<GROUP / 2, 1>>(t[2 * i], t[2 * i + 1]);
        }
    }
    UNROLL for (; left > 1; left /= 2) {
        UNROLL for (int i = 0; i < left / 2; i++) {
            t[i] = pick<Groups<0>>(t[2 * i], t[2 * i + 1]) + pick<Groups<1>>(t[2 * i], t[2 * i + 1]);
        }
    }
    return t[0];
}

INLINE real sum_of(vec v) {
    real total = 0;
    for (int k = 0; k < L; k++) total += v[k];
    return total;
}

// Writes the transpose of L rows of L numbers: `stride` apart in `from`, `to_stride` apart in `to`.
INLINE void transpose(const real *from, long stride, real *to, long to_stride) {
    vec r[L], t[L];
    UNROLL for (int i = 0; i < L; i++) r[i] = load_unaligned(from + i * stride);
    // Interleaving rows i and i + L/2, log2(L) times, moves each element to its place.
    UNROLL for (int n = 1; n < L; n *= 2) {
        UNROLL for (int i = 0; i < L / 2; i++) {
            t[2 * i] = pick<Interleaved<0>>(r[i], r[i + L / 2]);
            t[2 * i + 1] = pick<Interleaved<1>>(r[i], r[i + L / 2]);
        }
        UNROLL for (int i = 0; i < L; i++) r[i] = t[i];
    }
    UNROLL for (int i = 0; i < L; i++) store_unaligned(to + i * to_stride, r[i]);
}

// -- exponentials ------------------------------------------------------------------------------------------

// v·2^k, k whole, in two factors: 2^128 is no number of float, and 2^-130 only a denormal one.
INLINE vec scaled(vec v, ivec k) {
    constexpr int BIAS = DOUBLE ? 1023 : 127, MANTISSA = DOUBLE ? 52 : 23;
    const ivec half = k >> 1;
    return v * (vec)((half + BIAS) << MANTISSA) * (vec)((k - half + BIAS) << MANTISSA);
}

// t = k·ln 2 + r with |r| <= ln(2)/2; returns exp(r) - 1 by its Taylor series, to about an ulp.
INLINE vec reduced_exp(vec t, ivec &k) {
    // Adding 1.5·2^mantissa rounds to a whole number, which then stands in the last bits.
    constexpr real MAGIC = DOUBLE ? 6755399441055744.0 : 12582912.0;
    const vec shifted = t * all(real(1.4426950408889634)) + all(MAGIC);
    k = (ivec)shifted - (ivec)all(MAGIC);
    const vec whole_part = shifted - all(MAGIC);
    // ln 2 in two parts, the first with zeros at its end: their products with k are exact, and cancel.
    constexpr real HIGH = DOUBLE ? 0.693147180369123816490 : 0.693359375;
    constexpr real LOW = DOUBLE ? 1.90821492927058770002e-10 : -2.12194440e-4;
    const vec r = (t - whole_part * all(HIGH)) - whole_part * all(LOW);
    constexpr int DEGREE = DOUBLE ? 13 : 7;
    constexpr double FACTORIAL[] = {1, 1, 2, 6, 24, 120, 720, 5040, 40320, 362880, 3628800, 39916800,
                                    479001600, 6227020800};
    vec p = all(real(1 / FACTORIAL[DEGREE]));
    UNROLL for (int n = DEGREE - 1; n >= 2; n--) p = p * r + all(real(1 / FACTORIAL[n]));
    return r + r * r * p;
}

// exp(v): infinite above the largest number's logarithm, 0 below, NaN of NaN.
INLINE vec exponential(vec v) {
    ivec k;
    const vec p = reduced_exp(clamped(v, DOUBLE ? -746 : -104, DOUBLE ? 710 : 89), k);
    return scaled(all(1) + p, k);
}

INLINE vec sigmoid(vec v) { return all(1) / (all(1) + exponential(-v)); }

// tanh(v) = m/(m + 2) with m = exp(2v) - 1 = 2^k·(exp(r) - 1) + (2^k - 1), exact to a few ulp also near 0.
INLINE vec hyperbolic_tangent(vec v) {
    constexpr real MOST = DOUBLE ? 20 : 10;  // beyond it tanh is 1 in all digits
    ivec k;
    const vec bounded = clamped(v, -MOST, MOST), p = reduced_exp(bounded + bounded, k);
    const vec power = scaled(all(1), k), m = power * p + (power - all(1));
    return m / (m + all(2));
}
