// Trains random networks with every array in memory of its own size, for the address sanitizer: test_source.py.
#include "train.cc"

#include <stdio.h>
#include <stdlib.h>

#include <random>

static std::mt19937 generator;
static int below(int count) { return int(generator() % uint32_t(count)); }

// An array that ends where the sanitizer watches.
template <class T> static std::unique_ptr<T[]> filled(long count, T (*make)()) {
    std::unique_ptr<T[]> found(new T[count]);
    for (long i = 0; i < count; i++) found[i] = make();
    return found;
}
static real normal() { return real(generator()) / real(1u << 31) - 1; }

static void train_one() {
    const int depth = below(4);
    const int widths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40};
    std::vector<int64_t> sizes = {1 + below(below(2) ? 20 : 4)};  // so few as `thin.h` knows, or more
    for (int l = 0; l < depth; l++) sizes.push_back(widths[below(l == 1 ? 8 : 15)]);
    sizes.push_back(1 + below(5));
    const long layers = long(sizes.size()) - 1, replicates = 1 + below(3), lanes = 1 + below(3), networks = replicates * lanes;
    std::unique_ptr<int64_t[]> own_sizes(new int64_t[layers + 1]), masked(new int64_t[layers]);
    for (long l = 0; l <= layers; l++) own_sizes[l] = sizes[l];
    const bool hidden = below(2), input = below(3) == 0;
    for (long l = 0; l < layers; l++) masked[l] = l ? hidden : input;
    Task task = {};
    task.num_layers = layers;
    task.sizes = own_sizes.get();
    task.masked = masked.get();
    task.activation = below(4);
    task.loss = below(4);
    task.optimizer = below(5);
    task.schedule = below(3);
    task.warmup_steps = below(3);
    task.schedule_steps = 5 + below(5);
    task.samples = 1 + below(150);
    task.batch_size = below(2) ? 1 + below(int(task.samples)) : 0;
    task.num_batches = task.batch_size ? task.samples / task.batch_size : 1;
    task.shuffle = below(2);
    task.start = below(3);
    task.stop = task.start + below(6);
    task.replicates = replicates;
    task.lanes = lanes;
    task.targets = task.loss == SOFTMAX_CROSS_ENTROPY ? 1 : sizes.back();
    const bool apart = below(2);
    task.x_stride = apart ? sizes[0] * task.samples : 0;
    task.y_stride = apart ? task.targets * task.samples : 0;
    const auto x = filled<real>((apart ? replicates : 1) * sizes[0] * task.samples, normal);
    const auto rows = filled<real>((apart ? replicates : 1) * sizes[0] * task.samples, normal);
    const auto y = filled<real>((apart ? replicates : 1) * task.targets * task.samples, [] { return real(below(2)); });
    const auto folds = filled<int64_t>(replicates, [] { return int64_t(0); });
    for (long r = 0; apart && r < replicates; r++) folds[r] = replicates - 1 - r;
    const auto weights = filled<real>(replicates * task.samples, [] { return real(below(5) > 0); });
    const auto divisors = filled<real>(replicates, [] { return real(10); });
    const auto keys = filled<uint32_t>(2 * replicates, [] { return uint32_t(generator()); });
    const auto rates = filled<Rates>(networks, [] { return Rates{0.1, 0.9, 0.9, 0.999, 1e-8, 0.1, 0.5, 0.5}; });
    const auto l2 = filled<real>(networks * layers, normal), l1 = filled<real>(networks * layers, normal);
    const auto thresholds = filled<real>(networks * layers, [] { return real(1 + below(65536)); });
    std::vector<std::unique_ptr<real[]>> leaves;
    std::vector<real *> params, moments;
    for (int copy = 0; copy < 3; copy++) for (long l = 0; l < layers; l++) {
        for (long size : {sizes[l] * sizes[l + 1], sizes[l + 1]}) {
            leaves.push_back(filled<real>(networks * size, copy ? [] { return real(0); } : normal));
            (copy ? moments : params).push_back(leaves.back().get());
        }
    }
    const auto counts = filled<int32_t>(networks, [] { return int32_t(0); });
    task.rows = below(2) ? rows.get() : nullptr;
    task.x = x.get(); task.y = y.get(); task.folds = folds.get(); task.weights = weights.get(); task.divisors = divisors.get();
    task.keys = keys.get(); task.rates = rates.get(); task.l2 = l2.get(); task.l1 = l1.get();
    task.thresholds = thresholds.get(); task.params = params.data(); task.moments = moments.data();
    task.counts = counts.get();
    const auto idle = filled<int8_t>(networks, [] { return int8_t(below(4) == 0); });
    task.idle = below(2) ? idle.get() : nullptr;
    if (regjax_train(&task)) abort();

    const auto logits = filled<real>(networks * sizes.back() * task.samples, normal);
    Inference inference = {};
    inference.num_layers = layers;
    inference.sizes = own_sizes.get();
    inference.activation = task.activation;
    inference.replicates = replicates; inference.lanes = lanes; inference.samples = task.samples;
    inference.x = task.x; inference.folds = task.folds; inference.x_stride = task.x_stride;
    inference.weights = task.weights; inference.params = task.params; inference.idle = task.idle;
    inference.logits = logits.get();
    if (regjax_infer(&inference)) abort();
}

int main(int, char **arguments) {
    const int count = atoi(arguments[1]);
    for (int i = 0; i < count; i++) {
        generator.seed(uint32_t(i));
        train_one();
    }
    printf("%d networks\n", count);
}
