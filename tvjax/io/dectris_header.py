"""What do the lines that DECTRIS detectors write before an image say?"""

import re
from dataclasses import replace

from tvjax.io.encoding import Encoding
from tvjax.io.series import Metadata

_NUMBER = r"([-+]?\d[\d.]*(?:[eE][-+]?\d+)?)"
_QUANTITIES = {
    "wavelength": rf"Wavelength\s+{_NUMBER}",
    "distance": rf"Detector_distance\s+{_NUMBER}",
    "exposure": rf"Exposure_time\s+{_NUMBER}",
    "two_theta": rf"Detector_2theta\s+{_NUMBER}",
    "start_angle": rf"Start_angle\s+{_NUMBER}",
    "angle_increment": rf"Angle_increment\s+{_NUMBER}",
    "sensor_thickness": rf"sensor, thickness\s+{_NUMBER}",
    "saturation": rf"Count_cutoff\s+{_NUMBER}",
}
_DENOISED = re.compile(r"# Denoised_by ([^,\n]+)")
_INTENSITIES = re.compile(r"(loop_\s+(?:_array_intensities\.\S+\s+)+)([^\r\n]+)")


def parse(text: str) -> Metadata:
    """Return what the header lines in `text` tell."""
    found = {name: re.search(rule, text) for name, rule in _QUANTITIES.items()}
    metadata = Metadata(**{name: float(m[1]) for name, m in found.items() if m})
    if detector := re.search(r"# Detector: (.+)", text):
        metadata = replace(metadata, detector=detector[1].strip())
    if material := re.search(r"# (\w+) sensor, thickness", text):
        metadata = replace(metadata, sensor_material=material[1])
    if size := re.search(rf"Pixel_size\s+{_NUMBER} m x {_NUMBER} m", text):
        # The file names the fast direction first.
        metadata = replace(metadata, pixel_size=(float(size[2]), float(size[1])))
    if beam := re.search(rf"Beam_xy\s+\({_NUMBER}, {_NUMBER}\)", text):
        metadata = replace(metadata, beam_center=(float(beam[2]), float(beam[1])))
    return metadata


def denoised_by(text: str) -> str | None:
    """Return the program that denoised the image of this header, if any did."""
    found = _DENOISED.search(text)
    return found[1] if found else None


def compose(metadata: Metadata, index: int) -> str:
    """Return header lines for frame `index` of a series with this metadata."""
    lines = [f"# Detector: {metadata.detector or 'unknown'}"]
    if metadata.pixel_size:
        height, width = metadata.pixel_size
        lines.append(f"# Pixel_size {width:g} m x {height:g} m")
    if metadata.sensor_thickness is not None:
        material = metadata.sensor_material or "Silicon"
        lines.append(f"# {material} sensor, thickness {metadata.sensor_thickness:f} m")
    start = metadata.start_angle
    if start is not None:
        start += index * (metadata.angle_increment or 0)
    if metadata.beam_center:
        row, column = metadata.beam_center
        lines.append(f"# Beam_xy ({column:.2f}, {row:.2f}) pixels")
    for name, value, unit in (
        ("Exposure_time", metadata.exposure, "s"),
        ("Count_cutoff", metadata.saturation, "counts"),
        ("Wavelength", metadata.wavelength, "A"),
        ("Detector_distance", metadata.distance, "m"),
        ("Detector_2theta", metadata.two_theta, "deg."),
        ("Start_angle", start, "deg."),
        ("Angle_increment", metadata.angle_increment, "deg."),
    ):
        if value is not None:
            lines.append(f"# {name} {value:.10g} {unit}")
    return "\n".join(lines) + "\n"


def amend(text: str, encoding: Encoding, program: str | None) -> str:
    """Return `text` with its limits as stored and a line that names `program`."""

    def cutoff(match: re.Match) -> str:
        return f"{match[1]}{encoding.limit(float(match[2])):.10g}"

    text = re.sub(rf"(# Count_cutoff\s+){_NUMBER}", cutoff, text)
    text = _INTENSITIES.sub(lambda match: _scale_intensities(match, encoding), text)
    if program is None:
        return text
    line = f"# Denoised_by {program}, stored = {encoding.scale} x counts"
    place = re.search(r"^# [^\r\n]*(\r?\n)", text, re.MULTILINE)
    if place is None:
        return f"{text}{line}\n"
    return f"{text[: place.end()]}{line}{place[1]}{text[place.end() :]}"


def _scale_intensities(match: re.Match, encoding: Encoding) -> str:
    """Return an imgCIF loop of intensities with gain and overload as stored."""
    names = re.findall(r"_array_intensities\.(\S+)", match[1])
    values = match[2].split()
    if len(names) != len(values):
        return match[0]
    row = dict(zip(names, values, strict=True))
    for name, change in (
        ("gain", lambda gain: gain * encoding.scale),
        ("overload", encoding.limit),
    ):
        if re.fullmatch(_NUMBER, row.get(name, "")):
            row[name] = f"{change(float(row[name])):.10g}"
    return match[1] + " ".join(row.values())
