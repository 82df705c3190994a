// Parts of the native kernel as functions of arrays, for test_source.py.
#include "threefry.h"

extern "C" void apply(int which, const real *in, real *out, long count) {
    for (long i = 0; i < count; i += L) {
        real own[L] = {};
        for (int k = 0; k < L && i + k < count; k++) own[k] = in[i + k];
        const vec v = load_unaligned(own);
        const vec found = which == 0 ? exponential(v) : which == 1 ? small_exponential(v)
                        : which == 2 ? sigmoid(v) : which == 3 ? hyperbolic_tangent(v) : relu(v);
        for (int k = 0; k < L && i + k < count; k++) out[i + k] = found[k];
    }
}

extern "C" int lanes() { return L; }

// Sums of `count` rows of L numbers, a whole number of vectors; and the transpose of the first L rows.
extern "C" void shuffle(const real *rows, long count, real *totals, real *transposed) {
    alignas(BYTES) real own[L * L] = {};
    for (long i = 0; i < count * L; i++) own[i] = rows[i];
    store_unaligned(totals, count <= GROUP ? sums<GROUP>(own) : sums<L>(own));
    transpose(rows, L, transposed, L);
}

extern "C" void bits(uint32_t a, uint32_t b, long total, uint16_t *out) {
    std::vector<uint16_t> found(bytes_of_bits(total) / 2);
    random_bits({a, b}, total, found.data());
    std::copy(found.begin(), found.begin() + total, out);
}

extern "C" void order(uint32_t a, uint32_t b, uint32_t epoch, const real *weights, long count, int shuffle,
                      int32_t *out) {
    static Order found;  // as in train.cc
    found.draw({a, b}, epoch, weights, count, shuffle);
    std::copy(found.places.begin(), found.places.end(), out);
}
