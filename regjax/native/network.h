// One step of one network: the gradient of a batch, and the update of the parameters.
#pragma once

#include <math.h>

#include <memory>
#include <vector>

#include "thin.h"

enum Optimizer { SGD, MOMENTUM, NESTEROV, ADAM, ADAMW };
enum Schedule { CONSTANT, COSINE, EXPONENTIAL };

// Memory for numbers, from a multiple of the length of a vector on, and 0 at first.
class Buffer {
public:
    explicit Buffer(long count = 0) : numbers(new char[size_t(count) * sizeof(real) + BYTES]()) {}
    real *data() const { return (real *)((uintptr_t(numbers.get()) + BYTES - 1) / BYTES * BYTES); }

private:
    std::unique_ptr<char[]> numbers;
};

// What a network is trained with: the hyperparameters of `core/hparams.py`.
struct Rates { real learning_rate, momentum, b1, b2, eps, weight_decay, end_fraction, decay_rate; };

// A leaf of the parameters in the memory of a network, rounded up to whole vectors.
struct Leaf { long size, at; };

// A network in training: parameters, and the optimizer's moments behind one another.
struct Trainee {
    Buffer numbers;      // parameters, and as many numbers for each moment
    int32_t count;       // updates done, of adam
    Rates rates;
    const real *l2, *l1;    // over n, by layer
    const real *threshold;  // of the 16 bits, by layer
};

struct Settings {
    long num_layers;
    const int64_t *sizes;
    Activation activation;
    Loss loss;
    Optimizer optimizer;
    Schedule schedule;
    long warmup_steps, schedule_steps;
    const int64_t *masked;  // whether units of the input of each layer are dropped
};

// Bytes of activations and gradients of the blocks that are in work together: the second-level cache holds them.
constexpr long IN_WORK = 384 << 10, FEWEST_BLOCKS = 4;

class Network {
public:
    // `blocks` is the largest number of blocks of a batch.
    Network(const Settings &settings, long blocks) : settings(settings), layers(settings.num_layers) {
        long units = 0, widest = 0;
        for (long l = 0; l <= settings.num_layers; l++) {
            units += settings.sizes[l];
            widest = std::max<long>(widest, settings.sizes[l]);
        }
        at_once = std::min(blocks, std::max<long>(FEWEST_BLOCKS, IN_WORK / (2 * units * B * long(sizeof(real)))));
        for (long l = 0; l < settings.num_layers; l++) {
            Layer &layer = layers[l];
            layer.in = settings.sizes[l];
            layer.out = settings.sizes[l + 1];
            layer.masked = settings.masked[l];
            const bool plain = l == 0 || (settings.activation == IDENTITY && !layer.masked);
            layer.gate = plain ? OPEN : settings.activation == RELU ? POSITIVE : FACTORS;
            layer.h = l > 0 || layer.masked ? take(at_once * layer.in * B) : nullptr;
            layer.g = layer.gate == FACTORS ? take(at_once * layer.in * B) : nullptr;
            layer.d = take(at_once * layer.out * B);
            for (long size : {layer.in * layer.out, layer.out}) {
                leaves.push_back({size, num_numbers});
                num_numbers += rounded_up(size);
            }
        }
        gradient = take(num_numbers);
        // Two layers that share their passes, see thin.h.
        const int64_t *sizes = settings.sizes;
        if (settings.activation == RELU && layers.size() >= 2 && sizes[0] <= THIN && sizes[2] <= THIN && !layers[0].masked)
            thin = &THIN_LAYERS[sizes[0] - 1][sizes[2] - 1];
        const long sums = std::max(rounded_up(SUM_OUT * widest), rounded_up(widest)) * L;
        shared = {take(std::max(sums, thin ? thin_sums(sizes[1]) : 0)), take(at_once * B * rounded_up(widest))};
    }

    int moments() const {
        return settings.optimizer == SGD ? 0 : settings.optimizer >= ADAM ? 2 : 1;
    }

    // Trains one step; `bits` has those of each layer that is masked.
    void step(Trainee &one, const Batch &batch, const uint16_t *const *bits, long number) {
        for (size_t l = 0; l < layers.size(); l++) {
            Layer &layer = layers[l];
            layer.w = one.numbers.data() + leaves[2 * l].at;
            layer.b = one.numbers.data() + leaves[2 * l + 1].at;
            layer.dw = gradient + leaves[2 * l].at;
            layer.db = gradient + leaves[2 * l + 1].at;
            layer.last_kept = layer.masked ? whole(one.threshold[l]) - 1 : 0;
            layer.scale = layer.masked ? 65536 / one.threshold[l] : 1;
        }
        for (long first = 0; first < batch.blocks; first += at_once) {
            const long blocks = std::min(at_once, batch.blocks - first);
            for (long k = 0; k < blocks; k++) pass(batch, bits, first + k, k);
            for (size_t l = thin ? 2 : 0; l < layers.size(); l++) {
                const Layer &layer = layers[l];
                add_gradient(layer, layer.h ? layer.h : batch.x + first * layer.in * B, blocks, shared, first == 0);
            }
            if (thin) thin->backward(layers.data(), batch.x + first * layers[0].in * B, blocks, shared, first == 0);
        }
        update(one, learning_rate(one.rates, number));
    }

    std::vector<Leaf> leaves;
    long num_numbers = 0;

private:
    real *take(long count) {
        buffers.emplace_back(count);
        return buffers.back().data();
    }

    // Takes one block forward and backward; it is the k-th of those in work.
    void pass(const Batch &batch, const uint16_t *const *bits, long block, long k) {
        const size_t last = layers.size() - 1;
        const auto bits_of = [&](size_t l) { return layers[l].masked ? bits[l] + block * B : nullptr; };
        const real *x = batch.x + block * layers[0].in * B;
        size_t l = 0;
        if (thin) {
            real *z = last == 1 ? layers[1].d + k * layers[1].out * B : layers[2].h + k * layers[2].in * B;
            real *h = layers[1].h + k * layers[1].in * B;
            thin->forward(layers.data(), x, h, z, bits_of(1), batch.columns);
            if (last > 1) activate<RELU>(layers[2], z, nullptr, bits_of(2), batch.columns);
            l = 2;
        } else if (layers[0].masked) {
            real *h = layers[0].h + k * layers[0].in * B;
            memcpy(h, x, sizeof(real) * layers[0].in * B);
            activate<IDENTITY>(layers[0], h, nullptr, bits_of(0), batch.columns);
        }
        for (; l <= last; l++) {
            const Layer &layer = layers[l];
            const real *h = layer.h ? layer.h + k * layer.in * B : x;
            if (l == last) {
                forward<false>(layer, h, layer.d + k * layer.out * B);
                break;
            }
            const Layer &next = layers[l + 1];
            real *z = next.h + k * next.in * B, *g = next.g ? next.g + k * next.in * B : nullptr;
            if (settings.activation == RELU && !next.masked) forward<true>(layer, h, z);
            else {
                forward<false>(layer, h, z);
                if (next.gate != OPEN) activate(settings.activation, next, z, g, bits_of(l + 1), batch.columns);
            }
        }
        const long outputs = layers[last].out, targets = settings.loss == SOFTMAX_CROSS_ENTROPY ? 1 : outputs;
        loss_gradient(settings.loss, layers[last].d + k * outputs * B, outputs, batch.y + block * targets * B,
                      batch.share + block * B);
        for (l = last; l > (thin ? 1 : 0); l--) {
            const Layer &layer = layers[l];
            const long at = k * layer.in * B;
            backward(layer, layer.d + k * layer.out * B, layer.h + at, layer.g ? layer.g + at : nullptr,
                     layers[l - 1].d + at);
        }
    }

    // As `core/optimizers.py`: the peak times a schedule.
    real learning_rate(const Rates &rates, long number) const {
        if (settings.schedule == CONSTANT && settings.warmup_steps == 0) return rates.learning_rate;
        const double after = double(number - settings.warmup_steps);
        double factor = 1;
        if (settings.schedule == COSINE) {
            const double length = double(settings.schedule_steps - settings.warmup_steps);
            const double cosine = 0.5 * (1 + cos(M_PI * std::min(after, length) / length));
            factor = rates.end_fraction + (1 - rates.end_fraction) * cosine;
        } else if (settings.schedule == EXPONENTIAL) {
            factor = exp(log(double(rates.decay_rate)) * after / double(settings.schedule_steps));
        }
        if (after < 0) factor = 1 + after / double(settings.warmup_steps);
        return real(rates.learning_rate * factor);
    }

    // Moves the parameters against the gradient, to which that of the penalties on weights is added.
    void update(Trainee &one, real rate) {
        one.count++;
        const real first = 1 - real(pow(one.rates.b1, one.count)), second = 1 - real(pow(one.rates.b2, one.count));
        for (size_t i = 0; i < leaves.size(); i++) {
            const bool weights = i % 2 == 0;
            const long size = rounded_up(leaves[i].size);
            real *p = one.numbers.data() + leaves[i].at, *g = gradient + leaves[i].at;
            real *m = p + num_numbers, *v = m + num_numbers;
            if (weights) add_penalties(p, g, size, one.l2[i / 2], one.l1[i / 2]);
            const real decay = weights && settings.optimizer == ADAMW ? one.rates.weight_decay : 0;
            switch (settings.optimizer) {
                case SGD: sgd(p, g, size, rate); break;
                case MOMENTUM: momentum(p, g, m, size, rate, one.rates.momentum, false); break;
                case NESTEROV: momentum(p, g, m, size, rate, one.rates.momentum, true); break;
                default: adam(p, g, m, v, size, rate, one.rates, first, second, decay);
            }
        }
    }

    // The loops below go over whole vectors, and the compiler vectorises them.

    static void add_penalties(const real *__restrict p, real *__restrict g, long size, real l2, real l1) {
        for (long i = 0; i < size; i++) {
            const real sign = p[i] > 0 ? real(1) : p[i] < 0 ? real(-1) : p[i];  // 0 at the kink
            g[i] += l2 * p[i] + l1 * sign;
        }
    }

    static void sgd(real *__restrict p, const real *__restrict g, long size, real rate) {
        for (long i = 0; i < size; i++) p[i] -= rate * g[i];
    }

    static void momentum(real *__restrict p, const real *__restrict g, real *__restrict trace, long size, real rate,
                         real decay, bool nesterov) {
        for (long i = 0; i < size; i++) {
            trace[i] = g[i] + decay * trace[i];
            p[i] -= rate * (nesterov ? g[i] + decay * trace[i] : trace[i]);
        }
    }

    static void adam(real *__restrict p, const real *__restrict g, real *__restrict m, real *__restrict v, long size,
                     real rate, const Rates &rates, real first, real second, real weight_decay) {
        const real b1 = rates.b1, b2 = rates.b2, eps = rates.eps;
        for (long i = 0; i < size; i++) {
            m[i] = (1 - b1) * g[i] + b1 * m[i];
            v[i] = (1 - b2) * (g[i] * g[i]) + b2 * v[i];
            const real root = DOUBLE ? sqrt(v[i] / second) : sqrtf(float(v[i] / second));
            p[i] -= rate * (m[i] / first / (root + eps) + weight_decay * p[i]);
        }
    }

    const Settings settings;
    std::vector<Layer> layers;
    std::vector<Buffer> buffers;
    Shared shared;
    real *gradient;
    const Thin *thin = nullptr;
    long at_once;
};
