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

// Encrypts the counters (high, low) under a key; `Word` is uint32_t or a vector of them, N of each.
template <int N, class Word> INLINE void threefry(Key key, Word *high, Word *low) {
    const uint32_t keys[3] = {key.a, key.b, key.a ^ key.b ^ 0x1BD11BDA};
    constexpr int distances[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    UNROLL for (int n = 0; n < N; n++) { high[n] += keys[0]; low[n] += keys[1]; }
    UNROLL for (int block = 0; block < 5; block++) {
        UNROLL for (int j = 0; j < 4; j++) {
            const int d = distances[block % 2][j];
            UNROLL for (int n = 0; n < N; n++) {
                high[n] += low[n];
                low[n] = high[n] ^ (low[n] << d | low[n] >> (32 - d));
            }
        }
        UNROLL for (int n = 0; n < N; n++) {
            high[n] += keys[(block + 1) % 3];
            low[n] += keys[(block + 2) % 3] + uint32_t(block + 1);
        }
    }
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

constexpr int AT_ONCE = 4;  // vectors of counters, whose rounds overlap

// Bytes that `random_bits` may write for `total` numbers: whole vectors, and a block that is read beyond.
inline size_t bytes_of_bits(long total) { return 2 * size_t(total + 8 + 4 * WORDS + B); }

// Writes `total` 16-bit numbers as `random_bits` of `core/random.py` draws them.
inline void random_bits(Key key, long total, uint16_t *out) {
    const long count = (total + 3) / 4;
    words lane;
    for (int i = 0; i < WORDS; i++) lane[i] = i;
    for (long at = 0; at < count; at += AT_ONCE * WORDS) {
        words high[AT_ONCE], low[AT_ONCE];
        UNROLL for (int n = 0; n < AT_ONCE; n++) {
            high[n] = (words){};
            low[n] = lane + uint32_t(at + n * WORDS);
        }
        threefry<AT_ONCE>(key, high, low);
        UNROLL for (int n = 0; n < AT_ONCE; n++) {
            const long first = at + n * WORDS;
            const halves quarter[4] = {
                __builtin_convertvector(low[n] & 0xffffu, halves), __builtin_convertvector(low[n] >> 16, halves),
                __builtin_convertvector(high[n] & 0xffffu, halves), __builtin_convertvector(high[n] >> 16, halves)};
            // Quarters of the numbers lie behind one another: the last vector must not reach into the next.
            const long here = std::min<long>(WORDS, count - first);
            UNROLL for (int j = 0; j < 4; j++) {
                if (here == WORDS) *(halves_unaligned *)(out + j * count + first) = quarter[j];
                else for (long i = 0; i < here; i++) out[j * count + first + i] = quarter[j][i];
            }
        }
    }
}

// The order of an epoch as `epoch_order` draws it: samples of weight 0 last, ties in their order.
class Order {
public:
    // `weights` has the `count` samples' weights.
    void draw(Key key, uint32_t epoch, const real *weights, long count, bool shuffle) {
        places.resize(count);
        if (!shuffle) {
            std::stable_sort(begin(weights, count), places.end(),
                             [&](int32_t a, int32_t b) { return weights[a] > 0 && !(weights[b] > 0); });
            return;
        }
        const Key own = place_key(key, epoch, BATCH);
        keys.resize(count);
        for (long i = 0; i < count; i++) {
            uint32_t high = 0, low = uint32_t(i);
            threefry<1>(own, &high, &low);
            // A uniform number in [0, 1) has the first 23 bits as its digits; 2 stands for weight 0.
            const uint32_t digits = weights[i] > 0 ? (high ^ low) >> 9 : 1u << 24;
            keys[i] = uint64_t(digits) << 32 | uint64_t(i);
        }
        std::sort(keys.begin(), keys.end());
        for (long i = 0; i < count; i++) places[i] = int32_t(keys[i]);
    }

    std::vector<int32_t> places;

private:
    std::vector<int32_t>::iterator begin(const real *, long count) {
        for (long i = 0; i < count; i++) places[i] = int32_t(i);
        return places.begin();
    }

    std::vector<uint64_t> keys;
};
