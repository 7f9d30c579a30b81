"""A network that learns from the symmetry of noisy patterns, without clean ones."""

from tvjax.learning.count_network import (
    CountNetwork as CountNetwork,
    load_counts as load_counts,
    save_counts as save_counts,
)
from tvjax.learning.pairs import TrainingSeries as TrainingSeries
from tvjax.learning.prediction import predict as predict
from tvjax.learning.training import (
    find_device as find_device,
    train as train,
    Trained as Trained,
)
