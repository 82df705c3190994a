// Trains networks for a segment of steps: what `regjax/engine/native.py` calls where no XLA program runs.
//
// The networks of a replicate share key, batches and random bits, which are drawn once for some steps; then
// each network of it is trained for these steps, alone. No number of a network depends on another one, on
// how many there are, or on how a training is cut into segments.
#include "network.h"
#include "threefry.h"

// What is called with; `library.py` has the same fields. Pointers to numbers are to contiguous arrays.
struct Task {
    int64_t num_layers;
    const int64_t *sizes, *masked;
    int64_t activation, loss, optimizer, schedule, warmup_steps, schedule_steps;
    int64_t start, stop, batch_size, num_batches, shuffle;  // batch_size 0 takes all samples
    int64_t replicates, lanes;                              // lanes: networks of a replicate
    int64_t samples, targets;
    const real *x;               // (features, samples); x_stride numbers on, that of the next fold
    const real *rows;            // x sample by sample, (samples, features), or null; x_stride numbers on, the next
    const real *y;               // (targets, samples); y_stride numbers on, that of the next replicate
    const int64_t *folds;        // number of the inputs of each replicate
    int64_t x_stride, y_stride;  // 0 where all share the array
    const real *weights;         // (replicates, samples)
    const real *divisors;        // (replicates,): what the weights are divided by
    const uint32_t *keys;        // (replicates, 2)
    const Rates *rates;          // by network
    const real *l2, *l1;         // (networks, layers), over n
    const real *thresholds;      // (networks, layers)
    real *const *params;         // for each leaf, (networks, size of the leaf)
    real *const *moments;        // for each moment and leaf
    int32_t *counts;             // by network, or null
    const int8_t *idle;          // by network, 1 where it is not to be trained, or null for all
};

// Bytes of batches and random bits that are drawn ahead: they are read from the second-level cache.
constexpr long DRAWN = 256 << 10;

// The samples of one replicate: draws its batches and bits.
class Samples {
public:
    Samples(const Task &task, long replicate) : task(task), replicate(replicate) {
        features = task.sizes[0];
        x = task.x + task.folds[replicate] * task.x_stride;
        rows = task.rows ? task.rows + task.folds[replicate] * task.x_stride : nullptr;
        y = task.y + replicate * task.y_stride;
        weights = task.weights + replicate * task.samples;
        divisor = task.divisors[replicate];
        for (long l = 0; l < task.num_layers; l++) masked |= task.masked[l] != 0;
        for (long s = 0; s < task.samples && !task.batch_size; s++) {
            // Without masks, whose bits belong to columns, samples of weight 0 are left out of a full batch. Where
            // all weights are 0 the share of each sample is NaN, as by the plain program.
            if (masked || weights[s] > 0 || !(divisor > 0)) all_places.push_back(int32_t(s));
        }
        columns = task.batch_size ? task.batch_size : long(all_places.size());
        blocks = std::max<long>(1, (columns + B - 1) / B);
        const long of_batch = blocks * B * (features + task.targets + 1);
        long of_bits = 0;
        for (long l = 0; l < task.num_layers; l++) of_bits += task.masked[l] ? bytes_of_bits(task.sizes[l] * columns) : 0;
        const long bytes = (task.batch_size ? of_batch * long(sizeof(real)) : 0) + of_bits;
        steps = task.stop - task.start;
        if (bytes) steps = std::min(steps, std::max<long>(1, DRAWN / bytes));
        packed = Buffer((task.batch_size ? std::max<long>(steps, 1) : 1) * of_batch);
        numbers = of_batch;
        bits.resize(std::max<long>(steps, 1) * task.num_layers);
        for (long i = 0; i < long(bits.size()); i++) {
            const long l = i % task.num_layers;
            if (!task.masked[l]) continue;
            drawn.emplace_back(new uint16_t[bytes_of_bits(task.sizes[l] * columns) / 2]());
            bits[i] = drawn.back().get();
        }
        if (task.batch_size) by_sample();
        else pack_all(packed.data());
    }

    // Draws for `count` steps from `first` on, at most `steps`.
    void draw(long first, long count) {
        const Key key = {task.keys[2 * replicate], task.keys[2 * replicate + 1]};
        for (long i = 0; i < count; i++) {
            if (task.batch_size) {
                const long epoch = (first + i) / task.num_batches, index = (first + i) % task.num_batches;
                if (epoch != drawn_epoch) order.draw(key, uint32_t(epoch), weights, task.samples, task.shuffle);
                drawn_epoch = epoch;
                pack(order.places.data() + index * task.batch_size, packed.data() + i * numbers);
            }
            const Key masks = place_key(key, uint32_t(first + i), MASKS);
            for (long l = 0; l < task.num_layers; l++) {
                if (!task.masked[l]) continue;
                random_bits(fold_in(masks, uint32_t(l)), task.sizes[l] * columns, drawn_bits(i, l));
            }
        }
    }

    // The batch of the i-th step that was drawn, and the bits of each layer.
    Batch batch(long i) const {
        const real *here = packed.data() + (task.batch_size ? i * numbers : 0);
        const real *targets = here + blocks * B * features;
        return {blocks, columns, here, targets, targets + blocks * B * task.targets};
    }
    const uint16_t *const *bits_of(long i) const { return bits.data() + i * task.num_layers; }

    long steps, blocks;

private:
    uint16_t *drawn_bits(long i, long l) const { return const_cast<uint16_t *>(bits[i * task.num_layers + l]); }

    // A batch has samples from anywhere. It is gathered fastest from a table with inputs, targets and weight of a
    // sample behind one another; short segments would not make up for the time that it takes to make one.
    void by_sample() {
        const long width = features + task.targets + 1;
        if (rows && (task.stop - task.start) * task.batch_size < task.samples / 4) {
            source = {rows, y, weights, features, 1, task.samples, 1};
            return;
        }
        table = Buffer(task.samples * width);
        real *to = table.data();
        for (long s = 0; s < task.samples; s++, to += width) {
            if (rows) memcpy(to, rows + s * features, features * sizeof(real));
            else for (long f = 0; f < features; f++) to[f] = x[f * task.samples + s];
            for (long t = 0; t < task.targets; t++) to[features + t] = y[t * task.samples + s];
            to[width - 1] = weights[s];
        }
        to = table.data();
        source = {to, to + features, to + width - 1, width, width, 1, width};
    }

    // Writes `columns` samples in blocks: x, y, and their shares. What lies beyond the last one stays 0.
    void pack(const int32_t *places, real *to) const {
        real *px = to, *py = px + blocks * B * features, *ps = py + blocks * B * task.targets;
        for (long c = 0; c < columns; c++) {
            source.fetch(places[std::min(c + AHEAD, columns - 1)]);
            const long k = c / B, j = c % B, s = places[c];
            const real *row = source.x + s * source.x_step, *label = source.y + s * source.y_step;
            const real weight = source.weights[s * source.weights_step];
            // 0·inf is NaN: the inputs of a sample of weight 0, which must not reach a product, are 0.
            const bool seen = weight > 0;
            for (long f = 0; f < features; f++) px[(k * features + f) * B + j] = seen ? row[f] : 0;
            for (long t = 0; t < task.targets; t++) py[(k * task.targets + t) * B + j] = label[t * source.target_step];
            ps[c] = weight / divisor;
        }
    }

    // As `pack`, of all samples that a full batch has, which lie almost side by side.
    void pack_all(real *to) const {
        const auto write = [&](const real *from, long units, bool hidden) {
            for (long u = 0; u < units; u++, from += task.samples) for (long c = 0; c < columns; c++) {
                const long s = all_places[c];
                to[(c / B * units + u) * B + c % B] = !hidden || weights[s] > 0 ? from[s] : 0;
            }
            to += blocks * B * units;
        };
        write(x, features, true);  // hidden as in `pack`
        write(y, task.targets, false);
        for (long c = 0; c < columns; c++) to[c] = weights[all_places[c]] / divisor;
    }

    // Where the numbers of sample s are: x + s·x_step, and so on; target_step from one target to the next.
    struct Source {
        const real *x, *y, *weights;
        long x_step, y_step, target_step, weights_step;

        void fetch(long s) const {
            constexpr long LINE = 64 / sizeof(real);  // numbers that come with one fetch
            // Not of targets and weights elsewhere: that would take longer than it saves.
            for (long i = 0; i < x_step; i += LINE) __builtin_prefetch(x + s * x_step + i);
        }
    };

    static constexpr long AHEAD = 16;  // samples whose memory is fetched before they are needed
    const Task &task;
    const long replicate;
    long features, columns, numbers, drawn_epoch = -1;
    bool masked = false;
    const real *x, *rows, *y, *weights;
    real divisor;
    std::vector<int32_t> all_places;
    Buffer packed, table;
    Source source = {};
    std::vector<const uint16_t *> bits;
    std::vector<std::unique_ptr<uint16_t[]>> drawn;
    // Kept for the next segment of a thread, which mostly begins in the epoch that this one ends in.
    static thread_local Order order;
};
thread_local Order Samples::order;

// Copies a network between the arrays of a task and the memory that it is trained in.
template <bool IN> void move(const Task &task, const Network &network, long lane, Trainee &one) {
    const long count = long(network.leaves.size());
    for (int moment = 0; moment <= network.moments(); moment++) for (long i = 0; i < count; i++) {
        const Leaf &leaf = network.leaves[i];
        real *outside = (moment ? task.moments[(moment - 1) * count + i] : task.params[i]) + lane * leaf.size;
        real *inside = one.numbers.data() + moment * network.num_numbers + leaf.at;
        memcpy(IN ? inside : outside, IN ? outside : inside, leaf.size * sizeof(real));
    }
}

// The numbers of a replicate's networks that are not idle.
template <class T> std::vector<long> lanes_of(const T &task, long replicate) {
    std::vector<long> lanes;
    for (long lane = replicate * task.lanes; lane < (replicate + 1) * task.lanes; lane++) {
        if (!task.idle || !task.idle[lane]) lanes.push_back(lane);
    }
    return lanes;
}

static void train_replicate(const Task &task, const Settings &settings, long replicate) {
    const std::vector<long> lanes = lanes_of(task, replicate);
    if (lanes.empty()) return;
    Samples samples(task, replicate);
    Network network(settings, samples.blocks);
    std::vector<Trainee> trainees;
    for (long lane : lanes) {
        const long at = lane * task.num_layers;
        trainees.push_back({Buffer((1 + network.moments()) * network.num_numbers), task.counts ? task.counts[lane] : 0,
                            task.rates[lane], task.l2 + at, task.l1 + at, task.thresholds + at});
        move<true>(task, network, lane, trainees.back());
    }
    for (long step = task.start; step < task.stop; step += samples.steps) {
        const long count = std::min(samples.steps, task.stop - step);
        samples.draw(step, count);
        for (Trainee &one : trainees) for (long i = 0; i < count; i++) {
            network.step(one, samples.batch(i), samples.bits_of(i), step + i);
        }
    }
    for (size_t i = 0; i < lanes.size(); i++) {
        move<false>(task, network, lanes[i], trainees[i]);
        if (task.counts) task.counts[lanes[i]] = trainees[i].count;
    }
}

// Numbers too small for a full mantissa are 0, as XLA has them: a processor takes many times as long for them.
class DenormalsAreZero {
public:
#if defined(__x86_64__)
    DenormalsAreZero() : before(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(before | 0x8040); }
    ~DenormalsAreZero() { __builtin_ia32_ldmxcsr(before); }

private:
    const unsigned before;
#elif defined(__aarch64__)
    DenormalsAreZero() {
        asm volatile("mrs %0, fpcr" : "=r"(before));
        asm volatile("msr fpcr, %0" : : "r"(before | 1u << 24));
    }
    ~DenormalsAreZero() { asm volatile("msr fpcr, %0" : : "r"(before)); }

private:
    uint64_t before;
#endif
};

// Returns 0, or 1 where memory ran out: `bad_alloc`, or `length_error` of a vector.
extern "C" int regjax_train(const Task *task) {
    const Settings settings = {task->num_layers, task->sizes, Activation(task->activation), Loss(task->loss),
                               Optimizer(task->optimizer), Schedule(task->schedule), task->warmup_steps,
                               task->schedule_steps, task->masked};
    const DenormalsAreZero here;
    try {
        for (long replicate = 0; replicate < task->replicates; replicate++) train_replicate(*task, settings, replicate);
    } catch (...) {  // an exception that leaves a function of C ends the process
        return 1;
    }
    return 0;
}

// What records are made of is called with; `library.py` has the same fields.
struct Inference {
    int64_t num_layers;
    const int64_t *sizes;
    int64_t activation, replicates, lanes, samples;
    const real *x;  // as in Task, like what follows
    const int64_t *folds;
    int64_t x_stride;
    const real *weights;  // (replicates, samples)
    real *const *params;
    const int8_t *idle;
    real *logits;  // (networks, outputs, samples); those of idle networks stay as they are
};

// Samples are packed as many at a time as go through the layers together, for all networks of the replicate.
static void infer_replicate(const Inference &task, const Settings &settings, long replicate) {
    const std::vector<long> lanes = lanes_of(task, replicate);
    if (lanes.empty()) return;
    const long n = task.samples, features = task.sizes[0], outputs = task.sizes[task.num_layers];
    const real *x = task.x + task.folds[replicate] * task.x_stride, *weights = task.weights + replicate * n;
    Network network(settings, std::max<long>(1, (n + B - 1) / B));
    Buffer packed(network.at_once * features * B);
    std::vector<const real *> params(network.leaves.size());
    for (long first = 0; first < n; first += network.at_once * B) {
        const long count = std::min(network.at_once * B, n - first), blocks = (count + B - 1) / B;
        for (long f = 0; f < features; f++) for (long c = 0; c < blocks * B; c++) {
            // The inputs of a sample of weight 0, which may be NaN, are 0, as in `pack`.
            const bool seen = c < count && weights[first + c] > 0;
            packed.data()[(c / B * features + f) * B + c % B] = seen ? x[f * n + first + c] : 0;
        }
        for (long lane : lanes) {
            for (size_t i = 0; i < params.size(); i++) params[i] = task.params[i] + lane * network.leaves[i].size;
            const real *z = network.infer(params, packed.data(), blocks);
            for (long k = 0; k < blocks; k++) for (long o = 0; o < outputs; o++) {
                real *to = task.logits + (lane * outputs + o) * n + first + k * B;
                memcpy(to, z + (k * outputs + o) * B, sizeof(real) * std::min<long>(B, count - k * B));
            }
        }
    }
}

// Writes the logits of networks in inference mode, without masks. Returns as `regjax_train`.
extern "C" int regjax_infer(const Inference *task) {
    const DenormalsAreZero here;
    try {
        const std::vector<int64_t> masked(size_t(task->num_layers), 0);
        const Settings settings = {task->num_layers, task->sizes, Activation(task->activation), SQUARED_ERROR, SGD,
                                   CONSTANT, 0, 0, masked.data()};
        for (long replicate = 0; replicate < task->replicates; replicate++) infer_replicate(*task, settings, replicate);
    } catch (...) {
        return 1;
    }
    return 0;
}

// Bytes of a number, and of what is called with, by which `library.py` checks that it has the same fields.
extern "C" int64_t regjax_real_size() { return sizeof(real); }
extern "C" int64_t regjax_task_size() { return sizeof(Task); }
extern "C" int64_t regjax_inference_size() { return sizeof(Inference); }
