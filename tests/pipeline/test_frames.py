import dataclasses
import json
import threading
import tracemalloc

import h5py
import numpy as np
import pytest

from tests.pipeline.stand_ins import Halve, MASKED, save_frames
from tvjax.io import FileError, open_series
from tvjax.noise import Gaussian
from tvjax.pipeline import denoise_files, frames as scans
from tvjax.settings import Settings


def stored(path):
    with open_series(path) as series:
        return np.stack([np.where(f.mask, f.data, 0) / 16 for f in series.frames()])


def test_every_frame_is_denoised_and_written_in_order(scan, tmp_path, counts):
    output = tmp_path / "clean" / "scan_master.h5"
    outcome = denoise_files(scan, output, denoise=Halve())
    np.testing.assert_array_equal(
        stored(output), np.where(counts == MASKED, 0, counts / 2)
    )
    assert len(outcome.records) == 9
    assert outcome.tally.counts_out == outcome.tally.counts_in / 2


def test_noise_and_strength_are_chosen_once_from_frames_spread_over_the_scan(
    scan, tmp_path, counts
):
    halve = Halve()
    denoise_files(scan, tmp_path / "clean_master.h5", denoise=halve)
    choice, *frames = halve.calls
    valid = np.where(counts == MASKED, 0, counts)
    np.testing.assert_array_equal(choice["y"], valid[[0, 2, 4, 6, 8]])
    assert choice["alpha"] is None
    assert {call["alpha"] for call in frames} == {0.25}
    assert len({id(call["noise"]) for call in halve.calls}) == 1


def test_integers_reach_the_denoiser_as_integers_and_without_marks(scan, tmp_path):
    halve = Halve()
    denoise_files(scan, tmp_path / "clean_master.h5", denoise=halve)
    for call in halve.calls:
        assert call["y"].dtype == np.uint32
        assert not call["y"][~call["mask"]].any()


def test_what_is_doubtful_about_a_file_is_passed_on(scan, tmp_path):
    with h5py.File(scan, "r+") as file:
        file["entry/bad_pixel_mask"] = np.zeros((20, 30), np.uint8)
    outcome = denoise_files(scan, tmp_path / "clean_master.h5", denoise=Halve())
    assert any("/entry/bad_pixel_mask" in text for text in outcome.warnings)
    assert "/entry/bad_pixel_mask" in outcome.report()


def test_noise_with_a_level_for_each_pixel_has_a_background_too(scan):
    with open_series(scan) as series:
        sample = list(series.frames(0, 2))
    shape = sample[0].data.shape
    one, each = (
        scans._background(sample, Gaussian(sigma))
        for sigma in (2.5, np.full(shape, 2.5))
    )
    assert one == each and one[1] == 2.5


def test_per_frame_leaves_the_strength_to_each_frame(scan, tmp_path):
    halve = Halve()
    settings = Settings(per_frame=True)
    outcome = denoise_files(scan, tmp_path / "c_master.h5", settings, denoise=halve)
    assert [call["alpha"] for call in halve.calls] == [None] * 10
    assert [record.alpha for record in outcome.records] == [0.25] * 9


def test_what_the_sample_chose_for_its_spots_holds_for_all_frames(scan, tmp_path):
    for protection, asked in ((0.5, 0.5), (None, True)):
        halve = Halve(protection=protection)
        settings = Settings(overwrite=True)
        denoise_files(scan, tmp_path / "c.h5", settings, denoise=halve)
        assert halve.calls[0]["protect"] is True
        assert {call["protect"] for call in halve.calls[1:]} == {asked}


def test_repeats_choose_together_and_are_denoised_one_by_one(scan, tmp_path):
    halve = Halve()
    settings = Settings(repeats=True)
    denoise_files(scan, tmp_path / "c.h5", settings, denoise=halve)
    assert [call["repeats"] for call in halve.calls][0] is True
    assert not any(call["repeats"] for call in halve.calls[1:])
    single = Settings(repeats=True, frames="0:1")
    with pytest.raises(FileError, match="gives one frame, and `--repeats` needs two"):
        denoise_files(scan, tmp_path / "d.h5", single, denoise=halve)
    assert not (tmp_path / "d.h5").exists()


@pytest.mark.parametrize("per_frame", [False, True])
def test_frames_that_all_served_for_the_choice_are_denoised_once(
    scan, tmp_path, counts, per_frame
):
    halve = Halve()
    settings = Settings(frames="2:6", per_frame=per_frame)
    denoise_files(scan, tmp_path / "c.h5", settings, denoise=halve)
    assert len(halve.calls) == 1
    np.testing.assert_array_equal(
        stored(tmp_path / "c.h5"), np.where(counts == MASKED, 0, counts / 2)[2:6]
    )


def test_a_given_strength_is_used_as_it_is(scan, tmp_path):
    halve = Halve()
    denoise_files(scan, tmp_path / "c_master.h5", Settings(alpha=0.7), denoise=halve)
    assert {call["alpha"] for call in halve.calls} == {0.7}


@pytest.mark.parametrize("size", [2, 4, 9])
def test_batches_give_what_single_frames_give(scan, tmp_path, monkeypatch, size):
    denoise_files(scan, tmp_path / "one_master.h5", denoise=Halve())
    monkeypatch.setattr(scans, "_batch_size", lambda shape: size)
    halve = Halve()
    outcome = denoise_files(scan, tmp_path / "more_master.h5", denoise=halve)
    assert {call["y"].shape for call in halve.calls[1:]} == {(size, 20, 30)}
    np.testing.assert_array_equal(
        stored(tmp_path / "more_master.h5"), stored(tmp_path / "one_master.h5")
    )
    assert len(outcome.records) == 9


def test_a_frame_without_a_valid_pixel_leaves_as_it_came(tmp_path, counts):
    counts[3] = MASKED
    scan = save_frames(tmp_path / "raw" / "scan_master.h5", counts)
    outcome = denoise_files(scan, tmp_path / "c_master.h5", denoise=Halve())
    with open_series(tmp_path / "c_master.h5") as series:
        assert (next(series.frames(3)).data == MASKED).all()
    assert outcome.records[3].alpha == 0


def test_input_without_a_valid_pixel_is_refused(tmp_path, counts):
    counts[:] = MASKED
    scan = save_frames(tmp_path / "raw" / "scan.h5", counts)
    with pytest.raises(FileError, match="every pixel invalid"):
        denoise_files(scan, tmp_path / "clean.h5", denoise=Halve())


def test_a_mask_file_is_added_to_the_mask_of_the_input(scan, tmp_path):
    mask = np.ones((20, 30), bool)
    mask[:5] = False
    np.save(tmp_path / "mask.npy", mask)
    halve = Halve()
    settings = Settings(mask=str(tmp_path / "mask.npy"))
    denoise_files(scan, tmp_path / "c_master.h5", settings, denoise=halve)
    for call in halve.calls:
        assert not call["mask"][..., :5, :].any()
        assert not call["mask"][..., 9:11, :].any()
        assert call["mask"][..., 5:9, :].all()


def test_a_range_of_frames_is_a_slice(scan, tmp_path, counts):
    settings = Settings(frames="-4:8")
    outcome = denoise_files(scan, tmp_path / "c.h5", settings, denoise=Halve())
    assert outcome.frames == (5, 8)
    np.testing.assert_array_equal(
        stored(tmp_path / "c.h5"), np.where(counts == MASKED, 0, counts / 2)[5:8]
    )


@pytest.mark.parametrize("frames", ["0:10", "9:", "5:5", "-10:"])
def test_a_range_beyond_the_series_is_refused(scan, tmp_path, frames):
    with pytest.raises(FileError, match="has the frames 0:9, not"):
        denoise_files(scan, tmp_path / "c.h5", Settings(frames=frames), denoise=Halve())


def test_one_file_and_a_range_are_a_numbered_series(scan, tmp_path, counts):
    denoise_files(scan, tmp_path / "x.cbf", denoise=Halve())
    settings = Settings(frames="1:4", force=True)
    outcome = denoise_files(
        tmp_path / "x_00002.cbf", tmp_path / "y.h5", settings, denoise=Halve(factor=1)
    )
    assert outcome.frames == (1, 4)
    expected = np.where(counts == MASKED, 0, counts / 2)[2:5]
    np.testing.assert_array_equal(stored(tmp_path / "y.h5") / 16, expected)


def test_what_was_denoised_is_refused_unless_forced(scan, tmp_path):
    clean = tmp_path / "clean_master.h5"
    denoise_files(scan, clean, denoise=Halve())
    with pytest.raises(FileError, match="denoised by tvjax .* before: .*--force"):
        denoise_files(clean, tmp_path / "twice_master.h5", denoise=Halve())
    settings = Settings(force=True)
    denoise_files(clean, tmp_path / "twice_master.h5", settings, denoise=Halve())


def test_provenance_tells_settings_noise_and_each_frame(scan, tmp_path):
    clean = tmp_path / "clean_master.h5"
    settings = Settings(noise="mixed:2,3", frames="2:5")
    denoise_files(scan, clean, settings, denoise=Halve())
    with h5py.File(clean) as file:
        process = file["entry/tvjax"]
        resolved = dataclasses.asdict(settings) | {
            "dtype": "uint32",
            "scale": 16,
            "emit": [],
        }
        del resolved["resume"]  # which changes nothing
        assert json.loads(process["settings"][()]) == resolved
        assert json.loads(process["noise"][()]) == {
            "model": "PoissonGaussian",
            "gain": 2.0,
            "sigma": 3.0,
            "offset": 0.0,
        }
        assert process["frames"][()].tolist() == [2, 5]
        assert process["alpha"][()].tolist() == [0.25] * 3
        assert process["inputs"][0].decode() == str(scan)


def test_a_faint_background_is_not_rounded_away(tmp_path):
    """At the usual scale 0.02 counts would be stored as zero."""
    counts = np.random.default_rng(0).poisson(0.02, (8, 200, 300)).astype(np.uint32)
    scan = save_frames(tmp_path / "scan_master.h5", counts)

    def flatten(y, **options):
        mean = np.mean(y, axis=(1, 2), keepdims=True, dtype=np.float32)
        return Halve(factor=0)(y, **options)._replace(image=mean + 0 * y)

    outcome = denoise_files(scan, tmp_path / "clean_master.h5", denoise=flatten)
    assert outcome.tally.counts_out == pytest.approx(outcome.tally.counts_in, rel=1e-3)
    assert outcome.scale > 16


def test_the_scale_leaves_room_for_a_bright_spot_of_a_full_type(tmp_path):
    """Four times 2^30 is nothing in 32 bits."""
    counts = np.zeros((5, 200, 300), np.uint32)
    counts[:, 100, 150] = 2**30
    scan = save_frames(tmp_path / "scan_master.h5", counts)

    def fade(y, **options):
        return Halve()(y, **options)._replace(image=np.full(y.shape, 2e-4, np.float32))

    outcome = denoise_files(scan, tmp_path / "clean_master.h5", denoise=fade)
    assert outcome.scale == 16


def test_a_dry_run_chooses_and_writes_nothing(scan, tmp_path):
    outcome = denoise_files(
        scan, tmp_path / "clean" / "c_master.h5", denoise=Halve(), dry_run=True
    )
    assert not outcome.records
    assert outcome.choice.alpha == 0.25
    assert not list((tmp_path / "clean").iterdir())


def test_progress_is_told_after_each_frame(scan, tmp_path):
    told = []
    denoise_files(
        scan,
        tmp_path / "c_master.h5",
        denoise=Halve(),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(done, 9) for done in range(1, 10)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, FileError, RuntimeError])
def test_an_interrupted_run_leaves_its_journal_and_no_thread(scan, tmp_path, error):
    def interrupt(done, total):
        if done == 4:
            raise error

    threads = threading.active_count()
    with pytest.raises(error):
        denoise_files(
            scan, tmp_path / "c" / "c_master.h5", denoise=Halve(), progress=interrupt
        )
    assert [path.name for path in (tmp_path / "c").iterdir()] == [".c.h5.journal"]
    assert threading.active_count() == threads


def test_a_frame_that_cannot_be_read_stops_the_run(scan, tmp_path, monkeypatch):
    data_file = scan.with_name("scan_data_000001.h5")
    with h5py.File(data_file) as file:
        chunk = file["entry/data/data"].id.get_chunk_info(5)
    content = bytearray(data_file.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    data_file.write_bytes(content)
    with pytest.raises(FileError, match="scan_data_000001.h5 is truncated or damaged"):
        denoise_files(scan, tmp_path / "c" / "c_master.h5", denoise=Halve())
    assert [path.name for path in (tmp_path / "c").iterdir()] == [".c.h5.journal"]


@pytest.mark.slow
def test_two_thousand_frames_pass_in_constant_memory(tmp_path):
    frames = np.broadcast_to(np.uint16(3), (2000, 48, 64))
    scan = save_frames(tmp_path / "scan_master.h5", frames)
    live = []
    tracemalloc.start()
    outcome = denoise_files(
        scan,
        tmp_path / "clean_master.h5",
        Settings(dtype="float32"),
        denoise=lambda y, **options: Halve()(y, **options),
        progress=lambda done, total: live.append(tracemalloc.get_traced_memory()[0]),
    )
    tracemalloc.stop()
    assert len(outcome.records) == 2000
    # A record a frame stays behind, some 200 bytes; a frame has 6,000.
    assert max(live[1000:]) - max(live[:1000]) < 1000 * 48 * 64 * 2 / 8


def warnings_of(scan, tmp_path, settings=None, **options):
    outcome = denoise_files(
        scan, tmp_path / "w_master.h5", settings, denoise=Halve(**options)
    )
    assert all(text in outcome.report() for text in outcome.warnings)
    return " ".join(outcome.warnings)


def test_frames_that_did_not_converge_are_counted(scan, tmp_path):
    told = warnings_of(scan, tmp_path, converged=False, factor=1)
    assert told == "9 frames did not reach the tolerance of the solver."


def test_a_strength_at_the_end_of_its_range_is_told(scan, tmp_path):
    assert "alpha ended at the end" in warnings_of(scan, tmp_path, at_bound=True)


def test_a_change_of_the_total_is_told(scan, tmp_path):
    assert "total counts changed" in warnings_of(scan, tmp_path)


def test_a_strength_above_the_noise_of_the_background_is_told(scan, tmp_path):
    above = Settings(alpha=1.5, noise="poisson:1")
    told = warnings_of(scan, tmp_path, above, factor=1)
    assert told.startswith("alpha 1.5 is above the noise 1.41 of the background (2)")
    below = Settings(alpha=1.4, noise="poisson:1", overwrite=True)
    assert not warnings_of(scan, tmp_path, below, factor=1)


def test_negative_pixels_are_told_with_the_remedy(scan, tmp_path):
    assert "--dtype float32 keeps them" in warnings_of(scan, tmp_path, factor=-1)


def test_the_report_has_what_a_reader_asks_first(scan, tmp_path):
    outcome = denoise_files(scan, tmp_path / "c_master.h5", denoise=Halve(factor=1))
    report = outcome.report()
    for text in (
        "scan_master.h5 (HDF5, 9 x 20 x 30), frames 0:9",
        "noise      Poisson, gain 1",
        "alpha      0.25",
        "9 of 9 frames",
        "(+0.000%)",
        "stored values are 16 x counts",
    ):
        assert text in report
    assert json.loads(json.dumps(outcome.asdict()))["alpha"] == [0.25] * 9


def test_the_example_is_a_frame_of_the_sample(scan, tmp_path, counts):
    example = denoise_files(scan, tmp_path / "c_master.h5", denoise=Halve()).example
    assert example.frame == 4
    np.testing.assert_array_equal(
        example.before, np.where(counts[4] == MASKED, 0, counts[4])
    )
    np.testing.assert_array_equal(example.after, example.before / 2)
