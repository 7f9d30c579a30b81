"""The header lines that DECTRIS detectors write before an image."""

import dataclasses
import math
import re

from tvjax.io.encoding import Encoding
from tvjax.io.series import Frame, Metadata, Series

_NUMBER = r"([-+]?\d[\d.]*(?:[eE][-+]?\d+)?)"
_DENOISED = re.compile(r"# Denoised_by ([^,\n]+)")
_INTENSITIES = re.compile(r"(loop_\s+(?:_array_intensities\.\S+\s+)+)([^\r\n]+)")


def parse_header(text: str) -> Metadata:
    """Return what the header lines in `text` tell."""
    # both pairs name the fast direction first
    return Metadata(
        detector=_text(text, r"# Detector: (.+)"),
        wavelength=_number(text, "Wavelength"),
        distance=_number(text, "Detector_distance"),
        exposure=_number(text, "Exposure_time"),
        pixel_size=_pair(text, rf"Pixel_size\s+{_NUMBER} m x {_NUMBER} m"),
        beam_centre=_pair(text, rf"Beam_xy\s+\({_NUMBER}, {_NUMBER}\)"),
        two_theta=_number(text, "Detector_2theta"),
        start_angle=_number(text, "Start_angle"),
        angle_increment=_number(text, "Angle_increment"),
        sensor_material=_text(text, r"# (\w+) sensor, thickness"),
        sensor_thickness=_number(text, "sensor, thickness"),
        saturation=_number(text, "Count_cutoff"),
    )


def read_denoised_by(text: str) -> str | None:
    """Return the program that denoised the image of this header, if any did."""
    found = _DENOISED.search(text)
    return found[1] if found else None


def start_angle(series: Series, frame: Frame) -> float | None:
    """Return the angle of a frame: its own header's, its file's, or by its place."""
    told = _number(frame.header, "Start_angle")
    if told is None and series.angles is not None:
        angle = float(series.angles[frame.index])
        return None if math.isnan(angle) else angle
    first = series.metadata.start_angle
    if told is not None or first is None:
        return told
    return first + series.place(frame.index) * (series.metadata.angle_increment or 0)


def compose_header(series: Series, frame: Frame) -> str:
    """Return header lines for a frame of a series that has none."""
    metadata = dataclasses.replace(
        series.metadata, start_angle=start_angle(series, frame)
    )
    lines = [f"# Detector: {metadata.detector or 'unknown'}"]
    if metadata.pixel_size:
        height, width = metadata.pixel_size
        lines.append(f"# Pixel_size {width:g} m x {height:g} m")
    if metadata.sensor_thickness is not None:
        material = metadata.sensor_material or "Silicon"
        lines.append(f"# {material} sensor, thickness {metadata.sensor_thickness:f} m")
    if metadata.beam_centre:
        row, column = metadata.beam_centre
        lines.append(f"# Beam_xy ({column:.2f}, {row:.2f}) pixels")
    for name, value, unit in (
        ("Exposure_time", metadata.exposure, "s"),
        ("Count_cutoff", metadata.saturation, "counts"),
        ("Wavelength", metadata.wavelength, "A"),
        ("Detector_distance", metadata.distance, "m"),
        ("Detector_2theta", metadata.two_theta, "deg."),
        ("Start_angle", metadata.start_angle, "deg."),
        ("Angle_increment", metadata.angle_increment, "deg."),
    ):
        if value is not None:
            lines.append(f"# {name} {value:.10g} {unit}")
    return "\n".join(lines) + "\n"


def amend_header(text: str, encoding: Encoding, program: str | None) -> str:
    """Return `text` with its limits as stored and a line that names `program`."""

    def cutoff(match: re.Match[str]) -> str:
        return f"{match[1]}{_limit(float(match[2]), encoding):.10g}"

    text = re.sub(rf"(# Count_cutoff\s+){_NUMBER}", cutoff, text)
    text = _INTENSITIES.sub(lambda match: _scale_intensities(match, encoding), text)
    if program is None:
        return text
    line = f"# Denoised_by {program}, stored = {encoding.scale} x counts"
    place = re.search(r"^# [^\r\n]*(\r?\n)", text, re.MULTILINE)
    if place is None:
        return f"{text}{line}\n"
    return f"{text[: place.end()]}{line}{place[1]}{text[place.end() :]}"


def _text(text: str, rule: str) -> str | None:
    found = re.search(rule, text)
    return found[1].strip() if found else None


def _number(text: str, name: str) -> float | None:
    found = re.search(rf"{name}\s+{_NUMBER}", text)
    return float(found[1]) if found else None


def _pair(text: str, rule: str) -> tuple[float, float] | None:
    """Return the second number of a rule, which is along rows, and the first."""
    found = re.search(rule, text)
    return (float(found[2]), float(found[1])) if found else None


def _scale_intensities(match: re.Match[str], encoding: Encoding) -> str:
    """Return an imgCIF loop of intensities with gain and overload as stored."""
    names = re.findall(r"_array_intensities\.(\S+)", match[1])
    values = match[2].split()
    if len(names) != len(values):
        return match[0]
    row = dict(zip(names, values, strict=True))
    if re.fullmatch(_NUMBER, row.get("gain", "")):
        row["gain"] = f"{float(row['gain']) * encoding.scale:.10g}"
    if re.fullmatch(_NUMBER, row.get("overload", "")):
        row["overload"] = f"{_limit(float(row['overload']), encoding):.10g}"
    return match[1] + " ".join(row.values())


def _limit(counts: float, encoding: Encoding) -> float:
    return float(encoding.limit(counts))
