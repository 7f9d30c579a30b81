import json
from datetime import datetime
from importlib.metadata import version

import numpy as np

from tests.io.rewriting import provenance
from tvjax.io import Provenance
from tvjax.io.provenance import program
from tvjax.noise import describe_noise, Gaussian, PoissonGaussian


def test_the_record_tells_program_settings_noise_and_results():
    record = json.loads(provenance(2).as_json())
    assert f"{record['program']} {record['version']}" == program()
    assert record["version"] == version("tvjax")
    assert record["settings"] == {"alpha": "auto", "scale": 16}
    assert record["frames"] == [0, 2]
    assert record["alpha"] == [0.5, 0.5]  # results stand among the rest
    assert datetime.fromisoformat(record["date"]).tzinfo is not None


def test_the_model_of_the_noise_is_named_under_the_key_that_describes_it():
    for noise, name in (
        (Gaussian(np.float32(2.0)), "Gaussian"),
        (PoissonGaussian(2.0, 1.0), "PoissonGaussian"),
    ):
        described = describe_noise(noise)
        record = Provenance(
            settings={}, inputs=("a.h5",), frames=(0, 1), noise=described, results={}
        )
        written = json.loads(record.as_json())["noise"]
        assert written == described
        assert written["model"] == name


def test_a_result_does_not_displace_what_every_record_has():
    record = Provenance(
        settings={},
        inputs=("a.h5",),
        frames=(0, 1),
        noise={},
        results={"frames": [7, 8], "rank": 3},
    )
    written = json.loads(record.as_json())
    assert (written["frames"], written["rank"]) == ([0, 1], 3)
