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
            forward_pass(batch.x + first * layers[0].in * B, bits, batch.columns, first, blocks);
            loss_pass(batch, first, blocks);
            for (size_t l = thin ? 2 : 0; l < layers.size(); l++) {
                const Layer &layer = layers[l];
                add_gradient(layer, layer.h ? layer.h : batch.x + first * layer.in * B, blocks, shared, first == 0);
            }
            if (thin) thin->backward(layers.data(), batch.x + first * layers[0].in * B, blocks, shared, first == 0);
        }
        update(one, learning_rate(one.rates, number));
    }

    // Returns the logits of `blocks` blocks of samples, at most `at_once`, [block][outputs][B]; no layer is masked.
    // `params` has weights and biases of each layer in turn.
    const real *infer(const std::vector<const real *> &params, const real *x, long blocks) {
        for (size_t l = 0; l < layers.size(); l++) {
            layers[l].w = params[2 * l];
            layers[l].b = params[2 * l + 1];
            layers[l].scale = 1;
        }
        forward_pass(x, nullptr, 0, 0, blocks);
        return layers.back().d;
    }

    std::vector<Leaf> leaves;
    long num_numbers = 0, at_once;

private:
    real *take(long count) {
        buffers.emplace_back(count);
        return buffers.back().data();
    }

    // Takes `blocks` blocks of samples forward; their bits begin at the block `first` of rows of `columns`.
    void forward_pass(const real *x, const uint16_t *const *bits, long columns, long first, long blocks) {
        const size_t last = layers.size() - 1;
        const auto bits_of = [&](size_t l) { return layers[l].masked ? bits[l] + first * B : nullptr; };
        const auto z_of = [&](size_t l) { return l == last ? layers[l].d : layers[l + 1].h; };
        size_t l = 0;
        if (thin) {
            const bool plain = last > 1 && !layers[2].masked;
            thin->forward(layers.data(), x, z_of(1), plain, bits_of(1), columns, blocks);
            if (last > 1 && !plain) activate<RELU>(layers[2], bits_of(2), columns, blocks);
            l = 2;
        } else if (layers[0].masked) {
            memcpy(layers[0].h, x, sizeof(real) * blocks * layers[0].in * B);
            activate<IDENTITY>(layers[0], bits_of(0), columns, blocks);
        }
        for (; l <= last; l++) {
            const real *h = layers[l].h ? layers[l].h : x;
            if (l < last && settings.activation == RELU && !layers[l + 1].masked) {
                forward<true>(layers[l], h, z_of(l), blocks);
                continue;
            }
            forward<false>(layers[l], h, z_of(l), blocks);
            if (l < last && layers[l + 1].gate != OPEN) {
                activate(settings.activation, layers[l + 1], bits_of(l + 1), columns, blocks);
            }
        }
    }

    // Takes the logits of `blocks` blocks of a batch, from the block `first` on, to gradients in all layers' outputs.
    void loss_pass(const Batch &batch, long first, long blocks) {
        const size_t last = layers.size() - 1;
        const long outputs = layers[last].out, targets = settings.loss == SOFTMAX_CROSS_ENTROPY ? 1 : outputs;
        loss_gradient(settings.loss, layers[last].d, outputs, batch.y + first * targets * B, batch.share + first * B,
                      blocks);
        for (size_t l = last; l > (thin ? 1 : 0); l--) backward(layers[l], layers[l - 1].d, blocks);
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
        // Corrections of the bias of Adam's moments.
        real first = 1, second = 1;
        if (settings.optimizer >= ADAM) {
            first -= real(pow(one.rates.b1, one.count));
            second -= real(pow(one.rates.b2, one.count));
        }
        for (size_t i = 0; i < leaves.size(); i++) {
            const bool weights = i % 2 == 0;  // biases are never penalised
            real *p = one.numbers.data() + leaves[i].at;
            Change change = {p, gradient + leaves[i].at, p + num_numbers, p + 2 * num_numbers,
                             rounded_up(leaves[i].size), rate, weights ? one.l2[i / 2] : 0,
                             weights ? one.l1[i / 2] : 0, weights ? one.rates.weight_decay : 0, first, second};
            switch (settings.optimizer) {
                case SGD: change_leaf<SGD>(change, one.rates); break;
                case MOMENTUM: change_leaf<MOMENTUM>(change, one.rates); break;
                case NESTEROV: change_leaf<NESTEROV>(change, one.rates); break;
                case ADAM: change_leaf<ADAM>(change, one.rates); break;
                case ADAMW: change_leaf<ADAMW>(change, one.rates); break;
            }
        }
    }

    // A leaf: parameters, gradient and moments, and the strengths for it.
    struct Change {
        real *p;
        const real *g;
        real *m, *v;
        long size;
        real rate, l2, l1, weight_decay, first, second;
    };

    // The loop goes over whole vectors; the compiler makes them.
    template <Optimizer O> static void change_leaf(const Change &c, const Rates &rates) {
        real *__restrict p = c.p, *__restrict m = c.m, *__restrict v = c.v;
        const real *__restrict g = c.g;
        const real rate = c.rate, l2 = c.l2, l1 = c.l1, decay = rates.momentum, b1 = rates.b1, b2 = rates.b2;
        for (long i = 0; i < c.size; i++) {
            const real sign = p[i] > 0 ? real(1) : p[i] < 0 ? real(-1) : p[i];  // 0 at the kink
            real step = g[i] + (l2 * p[i] + l1 * sign);
            if (O == MOMENTUM || O == NESTEROV) {
                m[i] = step + decay * m[i];
                step = O == MOMENTUM ? m[i] : step + decay * m[i];
            }
            if (O == ADAM || O == ADAMW) {
                m[i] = (1 - b1) * step + b1 * m[i];
                v[i] = (1 - b2) * (step * step) + b2 * v[i];
                step = m[i] / c.first / (root(v[i] / c.second) + rates.eps);
            }
            if (O == ADAMW) step += c.weight_decay * p[i];
            p[i] -= rate * step;
        }
    }

    static real root(real value) { return DOUBLE ? sqrt(value) : sqrtf(float(value)); }

    const Settings settings;
    std::vector<Layer> layers;
    std::vector<Buffer> buffers;
    Shared shared;
    real *gradient;
    const Thin *thin = nullptr;
};
