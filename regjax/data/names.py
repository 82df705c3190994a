"""Names of the data sets that come with regjax, in the order in which they are listed.

A module of its own, so that a shell which completes a name imports neither JAX nor pandas.
"""

# Stands where no data are named.
DEFAULT = "two_regions"
# Functions of `regjax.data.datasets`.
CLASSICS = ("moons", "circles", "spirals", "blobs", "xor", "flower")
BUILT_IN = (DEFAULT, *CLASSICS)
# scikit-learn's.
BUNDLED = ("iris", "wine", "breast_cancer", "digits", "diabetes")
