"""Designs: numbers of rows and words for them, metrics that may be ranked."""

import numpy as np
import pytest

from regjax.study.resolve import make_design


def test_rows_are_numbered_by_configuration_seed_and_fold():
    design = make_design("two_regions", {}, {"l2": [0, 0.5]}, seeds=[3, 7], folds=2)
    assert [tuple(design.row(index)) for index in (0, 1, 2, 4, 7)] == [
        (0, 3, 0), (0, 3, 1), (0, 7, 0), (1, 3, 0), (1, 7, 1)
    ]  # fmt: skip
    assert design.index(1, 1, 1) == 7
    assert design.row_in_words(7) == "l2=0.5, seed 7, fold 1"


def test_a_metric_that_some_fold_does_not_define_is_said_before_training():
    from sklearn.model_selection import KFold, LeaveOneOut

    X, y = np.arange(12.0)[:, None], np.arange(12.0)
    design = make_design((X, y), folds=LeaveOneOut())
    with pytest.raises(ValueError, match="val_r2 is not in fold 0, whose held-out samples do not vary"):
        design.check_metric(None)
    assert design.check_metric("val_rmse") == "val_rmse"
    design = make_design((X, np.arange(12) // 6), folds=KFold(4))
    with pytest.raises(ValueError, match="val_roc_auc is not in fold 0, whose held-out samples lack a class"):
        design.check_metric("val_roc_auc")
