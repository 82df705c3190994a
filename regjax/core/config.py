"""`Config`: the settings that change a shape or the compiled program.

Every function that is compiled takes one as a static argument. The numbers that may change without a new
compilation, and so may be axes of a grid, are in hparams.py.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import numbers
from collections.abc import Sequence
from typing import Any, Literal, get_args

from .checks import check_choice, check_count, check_known, shown

Activation = Literal["relu", "tanh", "sigmoid", "gelu", "silu", "selu", "identity"]
Loss = Literal[
    "sigmoid_cross_entropy", "softmax_cross_entropy", "multilabel_cross_entropy", "squared_error", "poisson"
]
Optimizer = Literal["sgd", "momentum", "nesterov", "adam", "adamw"]
Init = Literal["tutorial", "he", "glorot", "sklearn", "sklearn_logistic"]
Dtype = Literal["float32", "float64"]
Precision = Literal["highest", "high", "default", "bfloat16"]
Schedule = Literal["constant", "cosine", "cyclic", "exponential", "invscaling", "adaptive"]
StopOn = Literal["loss", "score"]
Norm = Literal["none", "layer", "batch"]
Embedding = Literal["none", "periodic", "piecewise"]
Metric = Literal["loss", "accuracy", "balanced_accuracy", "roc_auc", "rmse", "r2"]

# The losses of real targets; the others are of class labels.
REAL_LOSSES: tuple[Loss, ...] = ("squared_error", "poisson")
# The activations that scikit-learn has too, under its own names.
SKLEARNS_ACTIVATIONS: tuple[Activation, ...] = ("relu", "tanh", "sigmoid", "identity")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The settings that change a shape or the compiled program of a training run: frozen and hashable.

    Attributes:
        layer_sizes: units of the input, of each hidden layer and of the output. `(2, 1)` has no hidden
            layer.
        activation: activation of every hidden layer; the output layer is linear and gives logits.
        loss: "auto" takes squared error for real targets, and for class labels sigmoid cross-entropy
            with one output and softmax cross-entropy with several. Labels of which a sample may have any
            number take multilabel cross-entropy, in `make_train` and the estimators. "poisson", for counts
            and rates >= 0, is half the Poisson deviance; predictions are then exp of the logits.
        optimizer: one of optax's: "sgd", "momentum", "nesterov", "adam", "adamw".
        num_steps: gradient steps, at least 1.
        batch_size: samples per step, or None for the full batch.
        eval_every: steps between two records of the history, at least 1.
        init: scale of the normal initial weights: "tutorial" 1/√fan_in, "he" √(2/fan_in),
            "glorot" √(2/(fan_in + fan_out)), biases 0; or scikit-learn's, "sklearn": uniform within
            √(6/(fan_in + fan_out)), biases too, and "sklearn_logistic", within √(2/(fan_in + fan_out)).
        dtype: "float32" or "float64" of parameters and data.
        schedule: schedule of the learning rate: "constant"; "cosine", down to end_fraction of it after
            decay_steps; "cyclic", the same begun anew after every decay_steps; "exponential", times
            decay_rate after every decay_steps, without stairs. With `stop_on` also scikit-learn's
            "invscaling", divided by (samples seen + 1)^power_t, and "adaptive", divided by 5 where a run
            would stop, down to 1e-6.
        warmup_steps: steps in which the learning rate rises linearly from 0, in each cycle of "cyclic";
            decay_steps contain them.
        decay_steps: steps of the schedule, more than warmup_steps; None takes num_steps.
        class_weight: "balanced" gives every class the same total weight, a tuple each its own; None leaves
            the samples' weights unchanged. It acts on the data term, whose weights keep their mean 1, so λ
            keeps its meaning.
        batches: "equal": an epoch is ⌊n/batch_size⌋ batches, without the remainder; a data term is divided by
            batch_size, penalties by n. "all", as in scikit-learn: the remainder is a smaller batch, and the
            objective of a batch is divided by its weight, the penalties' part too.
        shuffle: whether every epoch has its own order of samples.
        epsilon_hat: whether Adam's eps is added before the correction of the bias, as in scikit-learn and
            Keras (ε̂ in Kingma & Ba 2015, §2).
        stop_on: whether a run stops after n_iter_no_change epochs that are no better by tol: "loss", in
            the mean objective of the epoch's batches; "score", in the accuracy or R² of samples that are
            held out for it, and the best parameters are put back. None never stops.
        clip_loss: whether the cross-entropy by which a run stops is scikit-learn's, of probabilities that are
            clipped at the dtype's eps. Gradients are never clipped. Where a regulariser is on that
            scikit-learn lacks, a class weight, gelu, silu or selu, the loss stays the true one.
        draws: the generator of initial weights and orders of samples: "jax", from (seed, fold, step); or, in
            a sweep, "sklearn": NumPy's, from the seed, which gives scikit-learn's for random_state = seed.
        metrics: metrics that are recorded beside the loss: () is the loss alone, None all that fit the
            targets. Without roc_auc, which sorts, a record takes half the time.
        precision: precision of matrix products. "highest", "high" and "default" are JAX's words: "highest" is
            full float32 on every device; on an NVIDIA GPU that has TF32 (10 bits of mantissa for 23) "high"
            and "default" both use it, and on a CPU they change nothing. "bfloat16" rounds the operands of
            every product to bfloat16 (7 bits) and sums in float32, on every device; not with float64.
        norm: normalisation of every hidden layer before its activation: "layer", over the units of a sample;
            "batch", over the samples of a step, by their weights, and by running statistics in inference.
        residual: whether a layer between two hidden layers of equal width adds its input to its output.
        embedding: what the first layer sees of each feature: "none", itself; "periodic", sines and cosines of
            embedding_size trained frequencies; "piecewise", how far it has come through each of
            embedding_size bins, whose edges are quantiles of the training part.
        embedding_size: frequencies or bins of a feature, at least 1.
        embedding_scale: standard deviation of the initial frequencies, in turns per unit of the input.
        members: networks that share their weights up to factors of rank one, each trained by its own loss;
            their mean predicts. 1 is a single network.

    Raises:
        ValueError: a value out of its range, naming it.
        TypeError: a value of the wrong kind, naming it.

    Example:
        >>> import regjax
        >>> config = regjax.Config(layer_sizes=(4, 16, 3), optimizer="adam", batch_size=32)
        >>> config.loss, config.num_steps
        ('auto', 30000)
    """

    layer_sizes: tuple[int, ...] = (2, 20, 3, 1)
    activation: Activation = "relu"
    loss: Loss | Literal["auto"] = "auto"
    optimizer: Optimizer = "sgd"
    num_steps: int = 30_000
    batch_size: int | None = None
    eval_every: int = 1_000
    init: Init = "tutorial"
    dtype: Dtype = "float32"
    precision: Precision = "highest"
    schedule: Schedule = "constant"
    warmup_steps: int = 0
    decay_steps: int | None = None
    class_weight: Literal["balanced"] | tuple[float, ...] | None = None
    batches: Literal["equal", "all"] = "equal"
    shuffle: bool = True
    epsilon_hat: bool = False
    stop_on: StopOn | None = None
    clip_loss: bool = False
    draws: Literal["jax", "sklearn"] = "jax"
    metrics: tuple[Metric, ...] | None = None
    norm: Norm = "none"
    residual: bool = False
    embedding: Embedding = "none"
    embedding_size: int = 8
    embedding_scale: float = 0.3
    members: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.layer_sizes, str) or not isinstance(self.layer_sizes, Sequence):
            raise TypeError(f"layer_sizes must be a tuple of whole numbers, got {shown(self.layer_sizes)}")
        if len(self.layer_sizes) < 2:
            raise ValueError(
                f"layer_sizes must name an input and an output layer, got {tuple(self.layer_sizes)}"
            )
        # Set with `object.__setattr__`, here and below, because the class is frozen.
        sizes = tuple(check_count("layer_sizes", size) for size in self.layer_sizes)
        object.__setattr__(self, "layer_sizes", sizes)
        for name in ("num_steps", "eval_every"):
            object.__setattr__(self, name, check_count(name, getattr(self, name)))
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", check_count("batch_size", self.batch_size))
        for name, choices in (
            ("activation", get_args(Activation)),
            ("loss", ("auto", *get_args(Loss))),
            ("optimizer", get_args(Optimizer)),
            ("init", get_args(Init)),
            ("dtype", get_args(Dtype)),
            ("precision", get_args(Precision)),
            ("schedule", get_args(Schedule)),
            ("batches", ("equal", "all")),
            ("shuffle", (True, False)),
            ("epsilon_hat", (True, False)),
            ("clip_loss", (True, False)),
            ("draws", ("jax", "sklearn")),
            ("stop_on", (None, *get_args(StopOn))),
            ("norm", get_args(Norm)),
            ("residual", (True, False)),
            ("embedding", get_args(Embedding)),
        ):
            check_choice(name, getattr(self, name), choices)
        check_precision(self.precision, self.dtype)
        self._check_class_weight()
        self._check_metrics()
        self._check_blocks()
        if self.schedule in ("invscaling", "adaptive") and self.stop_on is None:
            raise ValueError(f"schedule {self.schedule} must be used with stop_on, got none")
        object.__setattr__(self, "warmup_steps", check_count("warmup_steps", self.warmup_steps, at_least=0))
        if self.decay_steps is not None:
            least = self.warmup_steps + 1
            object.__setattr__(self, "decay_steps", check_count("decay_steps", self.decay_steps, least))

    def _check_class_weight(self) -> None:
        given, wanted = self.class_weight, "balanced, None or a number >= 0 for each class, not all 0"
        if given in (None, "balanced"):
            return
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise ValueError(f"class_weight must be {wanted}, got {shown(given)}")
        numbers_ = [v for v in given if isinstance(v, numbers.Real) and not isinstance(v, bool)]
        if len(numbers_) < len(given) or not all(0 <= v < math.inf for v in numbers_) or not any(numbers_):
            raise ValueError(f"class_weight must be {wanted}, got {shown(given)}")
        object.__setattr__(self, "class_weight", tuple(float(v) for v in numbers_))

    def _check_metrics(self) -> None:
        if self.metrics is None:
            return
        if isinstance(self.metrics, str) or not isinstance(self.metrics, Sequence):
            raise TypeError(f"metrics must be names or None, got {shown(self.metrics)}")
        for name in self.metrics:
            check_known("metrics", name, get_args(Metric))
        # In one order, so that the same set of metrics is the same program.
        chosen = tuple(name for name in get_args(Metric) if name == "loss" or name in self.metrics)
        object.__setattr__(self, "metrics", chosen)

    def _check_blocks(self) -> None:
        for name in ("embedding_size", "members"):
            object.__setattr__(self, name, check_count(name, getattr(self, name)))
        scale = self.embedding_scale
        if isinstance(scale, bool) or not isinstance(scale, numbers.Real) or not 0 < scale < math.inf:
            raise ValueError(f"embedding_scale must be a number > 0, got {shown(scale)}")
        object.__setattr__(self, "embedding_scale", float(scale))
        hidden = self.layer_sizes[1:-1]
        if self.residual and not any(a == b for a, b in itertools.pairwise(hidden)):
            raise ValueError(
                "residual must be used with two hidden layers of equal width side by side, "
                f"got hidden layers {hidden}"
            )
        if self.norm != "none" and not hidden:
            raise ValueError("norm must be used with a hidden layer, got none")
        if self.norm == "layer" and min(hidden) < 2:
            raise ValueError(
                "norm layer must be used with at least 2 units in each hidden layer, "
                f"got hidden layers {hidden}"
            )
        if self.draws != "jax" and not self.is_plain:
            raise ValueError(
                "draws must be jax with norm, residual, embedding or members, which scikit-learn lacks, "
                f"got {self.draws!r}"
            )

    @property
    def is_plain(self) -> bool:
        """Whether the network is the plain one of `mlp.py`, without any block of `blocks.py`."""
        return not self.blocks

    @property
    def blocks(self) -> str:
        """The blocks that are on, in words: "norm layer, members 4"; "" of a plain network."""
        on = [f"norm {self.norm}"] * (self.norm != "none") + ["residual"] * self.residual
        on += [f"embedding {self.embedding}"] * (self.embedding != "none")
        return ", ".join(on + [f"members {self.members}"] * (self.members > 1))

    @property
    def widths(self) -> tuple[int, ...]:
        """The units that the matrices of weights connect: `layer_sizes`, with the inputs as embedded."""
        per_feature = {"none": 1, "periodic": 2 * self.embedding_size, "piecewise": self.embedding_size}
        return (self.layer_sizes[0] * per_feature[self.embedding], *self.layer_sizes[1:])

    @property
    def num_layers(self) -> int:
        """Number of weight matrices."""
        return len(self.layer_sizes) - 1

    @property
    def num_hidden(self) -> int:
        """Number of hidden layers."""
        return len(self.layer_sizes) - 2

    def program(self) -> Config:
        """Returns the config without the values passed at run time; equal results share a compilation.

        A loop over segments passes the steps as numbers to `run_segment` and `measure`.
        """
        # A schedule has its length compiled in; without one the number of steps is only passed.
        scheduled = self.schedule in ("cosine", "cyclic", "exponential") or self.warmup_steps > 0
        decay_steps = self.schedule_steps if scheduled else None
        return dataclasses.replace(self, num_steps=1, eval_every=1, decay_steps=decay_steps)

    @property
    def schedule_steps(self) -> int:
        """Number of steps of the schedule, warm-up included."""
        return max(self.decay_steps or self.num_steps, self.warmup_steps + 1)


def check_precision(precision: Precision, dtype: Any) -> None:
    """Raises ValueError where the operands of float64 products would be rounded to bfloat16."""
    if precision == "bfloat16" and dtype == "float64":
        raise ValueError("precision must be highest, high or default with float64, got 'bfloat16'")
