// Vectors of the widest registers of the processor, by the vector types of GCC and Clang.
//
// `real` is the dtype of the networks, given by the build as -DREAL=float or -DREAL=double. A vector holds L
// numbers. Nothing here rounds otherwise than IEEE arithmetic, apart from fused multiply-adds.
#pragma once

#include <stdint.h>
#include <string.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#ifndef REAL
#define REAL float
#endif
typedef REAL real;

#define INLINE static inline __attribute__((always_inline))
// Tiles stay functions of their own: inlined into loops of unknown length they take minutes to compile.
#define TILE static __attribute__((noinline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

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

// a where a > b, else b: so b where one of them is NaN. Intrinsics, here and in `kept`, are one instruction,
// where the compilers make two or more of their own vectors.
INLINE vec larger(vec a, vec b) {
#if defined(__AVX512F__)
    if constexpr (DOUBLE) return (vec)_mm512_max_pd((__m512d)a, (__m512d)b);
    else return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
    if constexpr (DOUBLE) return (vec)_mm256_max_pd((__m256d)a, (__m256d)b);
    else return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return a > b ? a : b;
#endif
}
// max(v, 0), and 0 where v is NaN, as `core/activations.py` has it.
INLINE vec relu(vec v) { return larger(v, (vec){}); }
INLINE vec gated(vec gate, vec v) { return gate > (vec){} ? v : (vec){}; }
// Between `low` and `high`; NaN stays NaN.
INLINE vec clamped(vec v, real low, real high) { return larger(all(low), -larger(all(-high), -v)); }
// v where the 16 bits of a sample are at most `last`, else 0.
INLINE vec kept(const uint16_t *bits, whole last, vec v) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    if constexpr (DOUBLE) {
        const __mmask8 keep = _mm_cmple_epu16_mask(_mm_loadu_si128((const __m128i *)bits), _mm_set1_epi16(short(last)));
        return (vec)_mm512_maskz_mov_pd(keep, (__m512d)v);
    } else {
        const __m256i drawn = _mm256_loadu_si256((const __m256i *)bits);
        return (vec)_mm512_maskz_mov_ps(_mm256_cmple_epu16_mask(drawn, _mm256_set1_epi16(short(last))), (__m512)v);
    }
#endif
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
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(a, b, Picker::at(I)...);
#else
    return __builtin_shuffle(a, b, (ivec){Picker::at(I)...});
#endif
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

// The sums of N vectors, N = L or GROUP, as the first N numbers of a vector: each level halves the vectors and
// adds halves of two of them.
template <int N> INLINE vec sums(const real *rows) {
    vec t[N];
    UNROLL for (int i = 0; i < N; i++) t[i] = load(rows + i * L);
    UNROLL for (int i = 0; i < N / 2; i++) {
        t[i] = pick<Within<1, 0>>(t[2 * i], t[2 * i + 1]) + pick<Within<1, 1>>(t[2 * i], t[2 * i + 1]);
    }
    if (GROUP == 4) UNROLL for (int i = 0; i < N / 4; i++) {
        t[i] = pick<Within<GROUP / 2, 0>>(t[2 * i], t[2 * i + 1]) +
               pick<Within<GROUP / 2, 1>>(t[2 * i], t[2 * i + 1]);
    }
    // Now t[i] has partial sums of GROUP vectors in each of its groups.
    UNROLL for (int groups = L / GROUP, left = N / GROUP; groups > 1; groups /= 2) {
        // A vector that is alone is added to itself.
        const bool alone = left == 1;
        left = alone ? 1 : left / 2;
        UNROLL for (int i = 0; i < left; i++) {
            const vec a = t[alone ? 0 : 2 * i], b = t[alone ? 0 : 2 * i + 1];
            t[i] = pick<Groups<0>>(a, b) + pick<Groups<1>>(a, b);
        }
    }
    return t[0];
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

// 2^k of whole k that a number has as its exponent; 0 of the one below them.
INLINE vec power_of_two(ivec k) { return (vec)((k + (DOUBLE ? 1023 : 127)) << (DOUBLE ? 52 : 23)); }

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
    const vec p = all(1) + reduced_exp(clamped(v, DOUBLE ? -746 : -104, DOUBLE ? 710 : 89), k);
    const ivec half = k >> 1;  // in two factors: 2^128 is no number of float
    return p * power_of_two(half) * power_of_two(k - half);
}

// exp(v) of v that are not too large, and 0 where its exponent is the smallest or smaller.
INLINE vec small_exponential(vec v) {
    ivec k;
    const vec p = reduced_exp(clamped(v, DOUBLE ? -709 : -88, DOUBLE ? 709 : 88), k);
    const vec power = power_of_two(k);
    return power * p + power;
}

INLINE vec sigmoid(vec v) { return all(1) / (all(1) + small_exponential(-v)); }

// tanh(v) = m/(m + 2) with m = exp(2v) - 1 = 2^k·(exp(r) - 1) + (2^k - 1), exact to a few ulp also near 0.
INLINE vec hyperbolic_tangent(vec v) {
    constexpr real MOST = DOUBLE ? 20 : 10;  // beyond it tanh is 1 in all digits
    ivec k;
    const vec bounded = clamped(v, -MOST, MOST), p = reduced_exp(bounded + bounded, k);
    const vec power = power_of_two(k), m = power * p + (power - all(1));
    return m / (m + all(2));
}
