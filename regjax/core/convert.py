"""The name of regjax's λ in other libraries, and the factor by which it differs.

regjax's data term is a mean over examples and its penalty is l2/(2n)·Σ W², n the number of training
samples whatever the batch; biases are not penalised. For users; nothing in regjax calls it.
"""

from __future__ import annotations

from .checks import check_count
from .config import Config
from .hparams import check_hparam


def l2_elsewhere(l2: float, num_train: int, *, batch_size: int | None = None) -> dict[str, float]:
    """Returns the values that give the same objective as `HParams(l2=l2)` in other libraries.

    | key | objective there | value |
    |---|---|---|
    | `sklearn.MLP.alpha` | mean loss + alpha/(2·batch)·Σ W² | l2·batch/n |
    | `sklearn.Ridge.alpha` | Σ (y - Xw)² + alpha·Σ w² | l2 |
    | `sklearn.LogisticRegression.C` | C·Σ loss + ½·Σ w² | 1/l2 |
    | `torch.SGD.weight_decay` | gradient + weight_decay·W; biases too, unless grouped | l2/n |
    | `optax.add_decayed_weights` | the same; biases too, unless masked | l2/n |
    | `keras.regularizers.L2` | mean loss + l2·Σ W² | l2/(2n) |

    AdamW's `weight_decay` is another thing (decoupled) and has no such factor.

    Args:
        l2: λ, >= 0.
        num_train: n, the number of training samples, at least 1.
        batch_size: batch size of scikit-learn's MLP, which divides by the batch; None is the full batch.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: an argument out of its range.

    Example:
        >>> import regjax.core.convert
        >>> regjax.core.convert.l2_elsewhere(0.8, num_train=200)["torch.SGD.weight_decay"]
        0.004
    """
    check_hparam(Config(), "l2", l2)
    n = check_count("num_train", num_train)
    batch = n if batch_size is None else check_count("batch_size", batch_size)
    if batch > n:
        raise ValueError(f"batch_size must be at most num_train = {n}, got {batch}")
    return {
        "sklearn.MLP.alpha": l2 * batch / n,
        "sklearn.Ridge.alpha": l2,
        "sklearn.LogisticRegression.C": 1 / l2 if l2 > 0 else float("inf"),
        "torch.SGD.weight_decay": l2 / n,
        "optax.add_decayed_weights": l2 / n,
        "keras.regularizers.L2": l2 / (2 * n),
    }
