"""regjax trains whole grids of regularised neural networks at once and says which regularisation helped."""

from regjax.config import Config as Config, HParams as HParams
from regjax.data import Data as Data, load_csv, load_mat, load_npz, two_regions
from regjax.noise import replicate_key
from regjax.mlp import Layer, init_params, forward, backward, predict, predict_proba
from regjax.cost import cost, cost_and_grads
from regjax.train import make_train
