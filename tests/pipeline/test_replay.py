import numpy as np

from tests.pipeline.stand_ins import Halved
from tvjax.io.spool import Spool
from tvjax.noise import Poisson
from tvjax.pipeline.frames_outcome import Record
from tvjax.pipeline.replay import Replay

RECORDS = [
    Record(0.1, 0.0, True),
    None,
    Record(0.3, 0.0, True),
    Record(0.4, 0.0, False),
]


def test_frames_return_by_their_turn_in_batches_of_any_size(tmp_path):
    spool = Spool(tmp_path / "out.h5", (2, 3))
    for number in (0, 2, 3):  # the one without a valid pixel was not kept
        spool.append(np.full((2, 3), number, np.float32))
    choice = Halved(np.ones((1, 2, 3)), *(np.array(0.0) for _ in range(4)))
    order = [3, 1, 0, 2]

    def ask(replay, size):
        y = np.zeros((size, 2, 3), np.uint32)
        return replay(
            y,
            noise=Poisson(1.0),
            alpha=1.0,
            mask=np.ones(y.shape, bool),
            per_frame=False,
            weights=None,
            repeats=False,
            protect=True,
        )

    for size, batches in (
        (1, [[3], [0], [2]]),
        (2, [[3, 3], [0, 2]]),
        (3, [[3, 0, 0], [2] * 3]),
    ):
        replay = Replay(choice, spool, RECORDS, order)
        assert ask(replay, 1) is choice
        for batch in batches:
            found = ask(replay, size)
            assert found.image[:, 0, 0].tolist() == batch
            expected = [RECORDS[index] for index in batch]
            assert found.alpha.tolist() == [record.alpha for record in expected]
            assert found.converged.tolist() == [record.converged for record in expected]
    spool.close()
