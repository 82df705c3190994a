"""One network: pure functions of parameters, hyperparameters, data and keys; see README.md."""
