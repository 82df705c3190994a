// The random numbers of `core/random.py`, bit for bit: Threefry-2x32 with 20 rounds.
#pragma once

#include "vectors.h"

#include <algorithm>
#include <vector>

constexpr int WORDS = BYTES / 4;  // 32-bit words of a vector
typedef uint32_t words __attribute__((vector_size(BYTES)));
typedef uint16_t halves __attribute__((vector_size(BYTES / 2)));
typedef halves halves_unaligned __attribute__((aligned(2), may_alias));

struct Key { uint32_t a, b; };

// Keeps the compiler from moving what makes a vector behind what follows: GCC would put the rounds of N vectors
// one after the other, each at the latency of its chain.
INLINE void pin(uint32_t &) {}
INLINE void pin(words &v) {
#if defined(__AVX512F__)
    asm volatile("" : "+v"(v));
#elif defined(__x86_64__)
    asm volatile("" : "+x"(v));
#elif defined(__aarch64__)
    asm volatile("" : "+w"(v));
#else
    (void)v;
#endif
}

// Four rounds, by the distances of even blocks (ODD = 0) or odd ones, and then the keys of the block.
template <int N, int ODD, class Word> INLINE void threefry_block(Word *high, Word *low, uint32_t key, uint32_t other) {
    constexpr int distances[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    UNROLL for (int j = 0; j < 4; j++) {
        const int d = distances[ODD][j];
        UNROLL for (int n = 0; n < N; n++) {
            high[n] += low[n];
            low[n] = high[n] ^ (low[n] << d | low[n] >> (32 - d));
            pin(low[n]);
        }
    }
    UNROLL for (int n = 0; n < N; n++) { high[n] += key; low[n] += other; }
}

// Encrypts the counters (high, low) under a key; `Word` is uint32_t or a vector of them, N of each.
template <int N, class Word> INLINE void threefry(Key key, Word *high, Word *low) {
    const uint32_t keys[3] = {key.a, key.b, key.a ^ key.b ^ 0x1BD11BDA};
    UNROLL for (int n = 0; n < N; n++) { high[n] += keys[0]; low[n] += keys[1]; }
    // Two blocks at a time: the distances are constants, and the code stays short.
    for (uint32_t block = 0; block < 4; block += 2) {
        threefry_block<N, 0>(high, low, keys[(block + 1) % 3], keys[(block + 2) % 3] + block + 1);
        threefry_block<N, 1>(high, low, keys[(block + 2) % 3], keys[block % 3] + block + 2);
    }
    threefry_block<N, 0>(high, low, keys[2], keys[0] + 5);
}

// `jax.random.fold_in`.
inline Key fold_in(Key key, uint32_t number) {
    uint32_t high = 0, low = number;
    threefry<1>(key, &high, &low);
    return {high, low};
}

// The places of `core/random.py` that the kernel draws at.
enum Place : uint32_t { BATCH = 1, MASKS = 2 };
inline Key place_key(Key key, uint32_t step, Place place) { return fold_in(fold_in(key, step), place); }

// Vectors of counters, whose rounds overlap: as many as registers hold.
constexpr int AT_ONCE = BYTES == 64 ? 8 : 4;

// Bytes that `random_bits` may write for `total` numbers: whole vectors, and a block that is read beyond.
inline size_t bytes_of_bits(long total) { return 2 * size_t(total + 8 + 4 * WORDS + B); }

// Calls f(first, high, low) for the words of the counters 0 … count - 1, in vectors of WORDS of them, from the
// last vector to the first.
template <class F> INLINE void encrypt(Key key, long count, const F &f) {
    constexpr long GROUP_WORDS = AT_ONCE * WORDS;
    words lane;
    for (int i = 0; i < WORDS; i++) lane[i] = i;
    for (long at = (count - 1) / GROUP_WORDS * GROUP_WORDS; at >= 0; at -= GROUP_WORDS) {
        words high[AT_ONCE], low[AT_ONCE];
        UNROLL for (int n = 0; n < AT_ONCE; n++) {
            high[n] = (words){};
            low[n] = lane + uint32_t(at + n * WORDS);
        }
        threefry<AT_ONCE>(key, high, low);
        UNROLL for (int n = AT_ONCE - 1; n >= 0; n--) {
            if (at + n * WORDS < count) f(at + n * WORDS, high[n], low[n]);
        }
    }
}

// Writes `total` 16-bit numbers as `random_bits` of `core/random.py` draws them.
inline void random_bits(Key key, long total, uint16_t *out) {
    // Quarters of the numbers lie behind one another. The last vector of a quarter reaches into the next one,
    // whose first numbers are written later: vectors go backwards.
    const long count = (total + 3) / 4;
    encrypt(key, count, [&](long first, words high, words low) {
        const auto write = [&](int quarter, words numbers) {
            *(halves_unaligned *)(out + quarter * count + first) = __builtin_convertvector(numbers, halves);
        };
        write(0, low & 0xffffu);
        write(1, low >> 16);
        write(2, high & 0xffffu);
        write(3, high >> 16);
    });
}

// The order of an epoch as `epoch_order` draws it: samples of weight 0 last, ties in their order.
class Order {
public:
    // `weights` has the `count` samples' weights. The order that is there already is not drawn again.
    void draw(Key key, uint32_t epoch, const real *weights, long count, bool shuffle) {
        const Drawn asked = {key.a, key.b, epoch, shuffle};
        const bool same = !memcmp(&asked, &drawn, sizeof(Drawn)) && count == long(drawn_weights.size());
        if (same && !memcmp(weights, drawn_weights.data(), count * sizeof(real))) return;
        drawn_weights.clear();  // until it is drawn there is none: memory may run out
        sort_samples(key, epoch, weights, count, shuffle);
        drawn = asked;
        drawn_weights.assign(weights, weights + count);
    }

    std::vector<int32_t> places;

private:
    struct Entry { uint32_t digits; int32_t place; };
    struct Drawn { uint32_t a, b, epoch, shuffle; };

    void sort_samples(Key key, uint32_t epoch, const real *weights, long count, bool shuffle) {
        constexpr uint32_t LAST = 1u << 23;  // behind every number of 23 bits
        sorted.resize(count);
        for (long i = 0; i < count; i++) sorted[i] = {weights[i] > 0 ? 0 : LAST, int32_t(i)};
        if (shuffle) {
            encrypt(place_key(key, epoch, BATCH), count, [&](long first, words high, words low) {
                // The first 23 bits are the digits of a uniform number in [0, 1).
                const words digits = (high ^ low) >> 9;
                const long here = std::min<long>(WORDS, count - first);
                for (long i = 0; i < here; i++) {
                    if (!sorted[first + i].digits) sorted[first + i].digits = digits[i];
                }
            });
        }
        sort();
        places.resize(count);
        for (long i = 0; i < count; i++) places[i] = sorted[i].place;
    }

    // By the 24 digits, 8 at a time from the last on; each pass keeps the order of what is alike.
    void sort() {
        other.resize(sorted.size());
        for (int shift = 0; shift < 24; shift += 8) {
            long starts[257] = {};
            for (const Entry &entry : sorted) starts[(entry.digits >> shift & 255) + 1]++;
            for (int i = 0; i < 256; i++) starts[i + 1] += starts[i];
            for (const Entry &entry : sorted) other[starts[entry.digits >> shift & 255]++] = entry;
            sorted.swap(other);
        }
    }

    std::vector<Entry> sorted, other;
    Drawn drawn = {};
    std::vector<real> drawn_weights;
};
