import dataclasses

import h5py
import jax
import numpy as np
import pytest

from tests.io.images import save_cbf
from tests.io.masters import write_master
from tests.pipeline.stand_ins import Halve, save_frames, Truncate, write_density
from tvjax.io import FileError, open_series
from tvjax.pipeline import denoise_files, denoise_many, denoise_stack_files
from tvjax.pipeline.many import Job
from tvjax.settings import Settings, SettingsError, StackSettings


@pytest.fixture
def folder(tmp_path, counts):
    """Two masters and a series of CBF."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in "AB":
        write_master(folder / f"{name}_master.h5", counts)
    for number in (8, 9, 10):
        save_cbf(folder / f"img_{number}.cbf", counts[0].astype(np.int32))
    return folder


@pytest.fixture
def halve_many(tmp_path):
    """Denoise several inputs into a folder, by a stand-in."""

    def run(inputs, settings=None, folder=tmp_path / "clean"):
        settings = settings or Settings()

        def denoise(job: Job):
            return denoise_files(
                job.source.names, job.output, settings, denoise=Halve()
            )

        return denoise_many(inputs, folder, settings, denoise)

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_every_input_gets_an_output_of_its_name(folder, tmp_path, halve_many):
    many = halve_many(folder)
    assert not many.failed and many.total == 3
    clean = tmp_path / "clean"
    assert [each.job.output.name for each in many.done] == [
        *("A_master.h5", "B_master.h5", "img_#.cbf")
    ]
    assert {"A_master.h5", "B_data_000003.h5", "img_10.cbf"} < {*names(clean)}
    for name in "AB":
        with open_series(clean / f"{name}_master.h5") as series:
            assert series.num_frames == 9
    assert many.facts()["done"].startswith("3 of 3 inputs")
    assert many.asdict()["done"][str(folder / "A_master.h5")]["scale"] == 16


def test_one_that_fails_stops_no_other_and_is_told(folder, tmp_path, halve_many):
    (folder / "A_data_000002.h5").unlink()
    (folder / "img_9.cbf").write_bytes(b"###CBF: VERSION 1.5")
    (folder / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    many = halve_many([folder, tmp_path / "gone.h5"])
    assert [each.job.source.label for each in many.done] == [
        str(folder / "B_master.h5")
    ]
    failed = {each.label.rpartition("/")[2]: each.sentence for each in many.failed}
    assert set(failed) == {"A_master.h5", "img_#.cbf", "bad.h5", "gone.h5"}
    assert "A_data_000002.h5, which is missing" in failed["A_master.h5"]
    assert "img_9.cbf is truncated or damaged" in failed["img_#.cbf"]
    assert many.facts()[str(tmp_path / "gone.h5")].startswith("FAILED: ")
    assert "gone.h5 does not exist" in failed["gone.h5"]
    told = {each.told for each in many.failed}
    assert failed["gone.h5"] in told and failed["img_#.cbf"] not in told
    assert {each.name for each in (tmp_path / "clean").iterdir()} == {
        *("B_master.h5", *(f"B_data_{n:06d}.h5" for n in (1, 2, 3)))
    }


def test_a_fault_of_the_program_stops_no_other(folder, tmp_path):
    def run(job):
        if job.number == 1:
            raise ZeroDivisionError("no")
        return denoise_files(job.source.names, job.output, denoise=Halve())

    many = denoise_many(folder, tmp_path / "clean", Settings(), run)
    assert len(many.done) == 2
    assert "tvjax failed (ZeroDivisionError: no): denoise" in many.failed[0].sentence


def test_an_interruption_leaves_the_rest(folder, tmp_path):
    def run(job):
        if job.number == 2:
            raise KeyboardInterrupt
        return denoise_files(job.source.names, job.output, denoise=Halve())

    many = denoise_many(folder, tmp_path / "clean", Settings(), run)
    assert len(many.done) == 1 and not many.failed
    assert many.not_begun == (str(folder / "B_master.h5"), str(folder / "img_#.cbf"))


def test_what_was_denoised_is_no_input_of_a_folder(folder, tmp_path, halve_many):
    halve_many(folder)
    with pytest.raises(FileError, match="There is nothing to denoise: .*was denoised"):
        halve_many(tmp_path / "clean", folder=tmp_path / "again")
    write_master(tmp_path / "clean" / "raw_master.h5", np.ones((2, 20, 30), np.uint32))
    many = halve_many(tmp_path / "clean", folder=tmp_path / "again")
    assert [each.job.output.name for each in many.done] == ["raw_master.h5"]
    assert sum("was denoised by tvjax" in text for text in many.warnings) == 3
    named = halve_many([tmp_path / "clean" / "A_master.h5"], folder=tmp_path / "b")
    assert "was denoised by tvjax" in named.failed[0].sentence  # who names it is told
    forced = Settings(force=True)
    assert halve_many(tmp_path / "clean", forced, tmp_path / "c").total == 4


def test_a_file_without_images_is_no_input_of_a_folder(folder, halve_many):
    with h5py.File(folder / "calibration.h5", "w") as file:
        file["matrix"] = np.eye(3)
    many = halve_many(folder)
    assert many.total == 3 and not many.failed
    assert any("calibration.h5 holds no images" in text for text in many.left_out)


@pytest.mark.parametrize("second", ["A_master.h5", "a/A_master.h5"])
def test_two_inputs_of_one_output_are_refused_before_any_work(
    folder, tmp_path, counts, halve_many, second
):
    other = folder / "other" / second
    other.parent.mkdir(parents=True)
    write_master(other, counts)
    with pytest.raises(FileError, match=r"would both be written to .*A_master\.h5"):
        halve_many([folder / "A_master.h5", folder / "B_master.h5", other])
    assert not (tmp_path / "clean").exists()


def test_data_files_of_one_name_are_refused_too(tmp_path, counts, halve_many):
    masters = []
    for name in "AB":
        (tmp_path / name).mkdir()
        master = write_master(tmp_path / name / "x_master.h5", counts)
        masters.append(master.rename(master.with_name(f"{name}_master.h5")))
    with pytest.raises(FileError, match=r"would both be .*x_data_000001\.h5"):
        halve_many(masters, Settings(overwrite=True))


def test_images_of_two_formats_have_one_record(folder, counts, halve_many):
    series = [folder / "img_8.cbf", folder / "img_8.tif"]
    save_frames(folder / "img_8.tif", counts[:1])
    with pytest.raises(FileError, match=r"img_8\.tvjax\.json"):
        halve_many(series)


def test_no_output_replaces_an_input(folder, tmp_path, halve_many):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    link = tmp_path / "link"
    link.symlink_to(folder)
    for output in (folder, link):
        with pytest.raises(FileError, match="would replace .*: choose another folder"):
            halve_many(folder / "A_master.h5", Settings(overwrite=True), output)
    # what another one reads by a link in its master
    other = save_frames(tmp_path / "notes.h5", np.ones((2, 20, 30), np.uint32))
    inputs = [other, folder / "B_master.h5"]
    with pytest.raises(FileError, match=r"would replace .*notes\.h5, from which .*B_m"):
        halve_many(inputs, Settings(overwrite=True), folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_stacks_go_to_a_folder(tmp_path, scene):
    for name in ("one.h5", "two.h5"):
        write_density(tmp_path / name, scene)
    settings = StackSettings()

    def run(job):
        return denoise_stack_files(
            job.source.names, job.output, settings, fit=Truncate()
        )

    many = denoise_many(tmp_path, tmp_path / "clean", settings, run)
    assert not many.failed and names(tmp_path / "clean") == ["one.h5", "two.h5"]
    assert "rank 3 of 24" in many.facts()[str(tmp_path / "one.h5")]
    mapped = dataclasses.replace(settings, map=str(tmp_path / "map.h5"))
    with pytest.raises(SettingsError, match="`map` is one file"):
        denoise_many(tmp_path, tmp_path / "mapped", mapped, run)


def compilations(run):
    """How many programs a call compiles."""
    found = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: found.append(event)
    )
    run()
    number = found.count("/jax/core/compile/backend_compile_duration")
    found = []
    return number


def test_frames_of_one_shape_are_compiled_for_once(tmp_path):
    for name, width in (("a", 23), ("b", 23), ("c", 25)):
        counts = np.random.default_rng(0).poisson(3.0 + width, (2, 21, width))
        save_frames(tmp_path / f"{name}.h5", counts.astype(np.uint32))
    counted = []
    settings = Settings(alpha=0.5, noise="poisson:1")

    def run(job):
        outcomes = []
        counted.append(
            compilations(
                lambda: outcomes.append(
                    denoise_files(job.source.names, job.output, settings)
                )
            )
        )
        return outcomes[0]

    many = denoise_many(tmp_path, tmp_path / "clean", settings, run)
    assert len(many.done) == 3
    assert counted[0] > 0 and counted[1] == 0 and counted[2] > 0
