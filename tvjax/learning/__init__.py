"""A network that learns from the symmetry of noisy patterns, without clean ones."""

from tvjax.learning.count_network import (
    CountNetwork as CountNetwork,
    load_counts as load_counts,
    save_counts as save_counts,
)
from tvjax.learning.pairs import Series as Series
from tvjax.learning.prediction import predict as predict
from tvjax.learning.training import (
    find_device as find_device,
    train as train,
    train_on as train_on,
    Trained as Trained,
)
