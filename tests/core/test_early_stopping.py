import numpy as np

import regjax
from regjax.core.early_stopping import init_best, keep_best
from regjax.core.mlp import Layer


def layers(value):
    return (Layer(np.full((1, 1), value, np.float32), np.zeros((1, 1), np.float32)),)


def test_the_untrained_network_does_not_compete():
    best = init_best(layers(-1), regjax.HParams(patience=20.0))
    for step, loss in ((0, 0.1), (10, 0.9), (20, 0.8)):
        best = keep_best(best, layers(step), np.float32(loss), step, np.float32(20))
    assert (int(best.step), int(best.stopped_at), float(best.params[0].w[0, 0])) == (20, -1, 20)
