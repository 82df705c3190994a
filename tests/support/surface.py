"""The public names, pinned: a name that comes or goes is a change that the changelog tells."""

import importlib

# The documented surface: all else may change without a word.
SURFACE = {
    "regjax": """Config HParams Data load_mat load_npz load_table two_regions Layer init_params forward
        backward predict predict_proba cost cost_and_grads dropout_masks replicate_key make_train
        Trained check_gradient Grid grid random_grid sobol_grid sweep tune Tuned Search Maybe Where
        DEFAULT_SPACE Questions Results load plan Plan population Population Explore Schedule
        train_schedule refit references hypergradient sensitivities Sensitivities Model save_model load_model
        export_onnx fit TableEncoder
        RegMLPClassifier RegMLPRegressor RegGridSearchCV RegRandomizedSearchCV
        RegHalvingGridSearchCV RegHalvingRandomSearchCV RegPathCV one_se""",
    "regjax.plot": """KINDS animate boundaries boundary curves data_set forest gap heatmap importance masks
        outer_folds path power question rungs schedules stability""",
    "regjax.data.datasets": "two_regions moons circles spirals blobs xor flower",
    "regjax.optuna": "optimize as_study",
    "regjax.report": "About page",
    "regjax.tutorial": """backward_propagation backward_propagation_with_dropout
        backward_propagation_with_regularization compute_cost compute_cost_with_regularization
        forward_propagation forward_propagation_with_dropout initialize_parameters load_2D_dataset model
        plot_decision_boundary predict predict_dec relu sigmoid update_parameters""",
}
# Modules of `regjax.core` whose names without an underscore are public.
CORE_MODULES = ("activations", "convert", "losses", "metrics", "mlp", "objective", "penalties")


def core_names(name):
    """Returns the functions and classes that a module of `regjax.core` defines and does not hide."""
    module = importlib.import_module(f"regjax.core.{name}")
    return [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
